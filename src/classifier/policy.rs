//! Which classified frames become messages, and why the others do not.
//!
//! Pure and deterministic: frames and times in, decisions out. Every classified frame is decided on once, so that
//! *inferred = published + withheld by reason*. It outlives the model: what was said last, the pace and the requests that
//! wait stay over a swap; the votes and scores of another model do not.
//!
//! ```text
//! classes of a frame → labels that may be said → smoothing, hysteresis → the stable label → sure enough?
//!                                                    → due? (each, change, interval, request, heartbeat) → pace
//! ```

mod counters;
mod labels;
mod settings;
mod smoothing;
mod stable;
mod triggers;

use std::time::Duration;

pub use self::counters::{PolicyCounters, Withheld};
pub use self::labels::LabelRule;
pub use self::settings::{PolicySettings, Smoothing, When};
use self::stable::Steady;
use self::triggers::Triggers;
pub use self::triggers::{MAX_TRIGGER_ID, MAX_TRIGGERS, Trigger, TriggerError};
use crate::payload::{Publication, Ranked, Reason, Stable};

/// A classified frame as the policy sees it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The classes that the worker reported, most probable first.
    pub predictions: &'a [Ranked],
    /// Classes below it are not said, all but the best one.
    pub threshold: f32,
    /// The digest of the model that classified it.
    pub model: &'a str,
    /// When it was captured, on CLOCK_BOOTTIME.
    pub captured: Duration,
    /// The present, on the same clock.
    pub now: Duration,
}

/// What becomes of a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The classes that may be said of it, most probable first.
    pub predictions: Vec<Ranked>,
    /// What holds over several frames, where the settings ask for that.
    pub stable: Option<Stable>,
    /// How it is published, or why not.
    pub outcome: Result<Publication, Withheld>,
    /// The requests that it answers, one message each.
    pub answers: Vec<Trigger>,
}

/// The policy of one classifier.
#[derive(Debug)]
pub struct Policy {
    settings: PolicySettings,
    steady: Steady,
    triggers: Triggers,
    counters: PolicyCounters,
    /// The label said last, until it does not hold any more.
    said: Option<String>,
    /// When a message was published last.
    published: Option<Duration>,
    /// When the interval's next message is due.
    due: Option<Duration>,
    /// Frames since the last message.
    withheld: u64,
    model: String,
}

impl Policy {
    /// A policy that has seen nothing.
    pub fn new(settings: PolicySettings) -> Self {
        Self {
            steady: Steady::new(&settings),
            triggers: Triggers::default(),
            counters: PolicyCounters::default(),
            said: None,
            published: None,
            due: None,
            withheld: 0,
            model: String::new(),
            settings,
        }
    }

    /// Asks for a message about the first frame that is captured at `now` or later.
    ///
    /// # Errors
    /// [`MAX_TRIGGERS`] wait already; the request is counted as refused.
    pub fn ask(&mut self, trigger: Trigger, now: Duration) -> Result<(), TriggerError> {
        let asked = self.triggers.ask(trigger, now);
        match asked {
            Ok(()) => self.counters.triggers_taken += 1,
            Err(_) => self.refuse_trigger(),
        }
        asked
    }

    /// Counts a request that could not be understood.
    pub fn refuse_trigger(&mut self) {
        self.counters.triggers_refused += 1;
    }

    /// What was decided so far.
    pub fn counters(&self) -> PolicyCounters {
        PolicyCounters { triggers_waiting: self.triggers.len() as u64, ..self.counters.clone() }
    }

    /// Decides on the next frame. Frames come in order; a time before the last one counts as that.
    pub fn decide(&mut self, seen: Seen<'_>) -> Decision {
        if self.model != seen.model {
            seen.model.clone_into(&mut self.model);
            self.steady.forget();
        }
        let allowed = self.settings.labels.pick(seen.predictions);
        self.steady.see(&allowed);
        if !self.steady.holds(self.said.as_deref()) {
            self.said = None;
        }
        let outcome = self.judge(&seen, allowed.is_empty());
        let answers = match &outcome {
            Ok(Reason::Trigger) => self.triggers.answer(seen.captured, self.settings.least_gap.is_some()),
            _ => Vec::new(),
        };
        let outcome = self.enter(outcome, seen.now, answers.len());
        let stable = self.settings.tells_stable().then(|| self.steady.stable()).flatten();
        Decision { predictions: self.said_of(allowed, seen.threshold), stable, outcome, answers }
    }

    /// Whether the frame is published, and what for.
    fn judge(&self, seen: &Seen<'_>, nothing_allowed: bool) -> Result<Reason, Withheld> {
        if nothing_allowed {
            return Err(Withheld::Label);
        }
        let due = match self.due_by_mode(seen.now) {
            _ if self.triggers.any_for(seen.captured) => Ok(Reason::Trigger),
            Ok(reason) if self.steady.is_sure() => Ok(reason),
            _ if self.is_silent_too_long(seen.now) => Ok(Reason::Heartbeat),
            Ok(_) => Err(Withheld::Unsure),
            Err(withheld) => Err(withheld),
        };
        match (due, self.published.zip(self.settings.least_gap)) {
            (Ok(_), Some((published, gap))) if seen.now < published.saturating_add(gap) => Err(Withheld::Rate),
            (due, _) => due,
        }
    }

    fn due_by_mode(&self, now: Duration) -> Result<Reason, Withheld> {
        match self.settings.when {
            When::EveryFrame => Ok(Reason::EveryFrame),
            When::OnChange if self.steady.label() == self.said.as_deref() => Err(Withheld::Unchanged),
            When::OnChange => Ok(Reason::Change),
            When::OnInterval(_) if self.due.is_some_and(|due| now < due) => Err(Withheld::NotDue),
            When::OnInterval(_) => Ok(Reason::Interval),
            When::OnTrigger => Err(Withheld::NotAsked),
        }
    }

    /// Before the first message, any frame ends the silence.
    fn is_silent_too_long(&self, now: Duration) -> bool {
        match (self.settings.heartbeat, self.published) {
            (Some(heartbeat), Some(published)) => now >= published.saturating_add(heartbeat),
            (heartbeat, None) => heartbeat.is_some(),
            (None, _) => false,
        }
    }

    /// Takes note of what was decided.
    fn enter(
        &mut self,
        outcome: Result<Reason, Withheld>,
        now: Duration,
        answers: usize,
    ) -> Result<Publication, Withheld> {
        let reason = match outcome {
            Ok(reason) => reason,
            Err(withheld) => {
                self.withheld += 1;
                *self.counters.withheld.entry(withheld).or_default() += 1;
                return Err(withheld);
            }
        };
        if let When::OnInterval(interval) = self.settings.when
            && self.due.is_none_or(|due| now >= due)
            && self.steady.is_sure()
        {
            self.due = Some(next_due(self.due, interval, now));
        }
        self.counters.published += 1;
        *self.counters.by_reason.entry(reason).or_default() += 1;
        self.counters.triggers_answered += answers as u64;
        self.published = Some(now);
        self.said = self.steady.label().filter(|_| self.steady.is_sure()).map(str::to_owned);
        Ok(Publication { reason, withheld: std::mem::take(&mut self.withheld) })
    }

    /// The classes that a message tells.
    fn said_of(&self, mut allowed: Vec<Ranked>, threshold: f32) -> Vec<Ranked> {
        let mut rank = 0;
        allowed.retain(|class| {
            rank += 1;
            rank == 1 || class.probability >= threshold
        });
        allowed.truncate(self.settings.top_k);
        allowed
    }
}

/// The moment after `now` on the grid that began with the first message: late frames do not make the next ones late.
fn next_due(due: Option<Duration>, interval: Duration, now: Duration) -> Duration {
    let Some(due) = due else { return now.saturating_add(interval) };
    let late = now.saturating_sub(due).as_nanos();
    let behind = u64::try_from(late % interval.as_nanos().max(1)).unwrap_or(0);
    now.saturating_sub(Duration::from_nanos(behind)).saturating_add(interval)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
