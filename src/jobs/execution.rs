//! Who says what when, between AWS IoT Jobs and the deployments of this thing. Pure: events go in, commands come out.
//!
//! One job at a time, one request at a time. The cloud is told by updates that name the version that is known here, so
//! that an update which comes twice, late, or after a cancellation changes nothing; what its rejection says is believed.
//! Whatever was not answered on a connection is said again on the next.
//!
//! ```text
//! start-next → offer ─ refused ────────────────→ REJECTED ┐
//!                    └ deploy → IN_PROGRESS … → SUCCEEDED ├→ noted → start-next
//!                                             └ FAILED    ┘
//! ```

use std::time::{Duration, Instant};

use super::deploys::Outcome;
use super::document::{self, Order};
use crate::deployment::DeploymentId;
use crate::mqtt::jobs::{Ask, Details, MAX_DETAIL, Offer, Said, Status, Why};

/// How long a request waits for its answer before it is made again.
const ANSWER: Duration = Duration::from_secs(30);

/// Pauses after requests that the cloud puts off, from the first to the longest.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The link was connected.
    Connected,
    /// The link is not connected any more.
    Disconnected,
    /// The cloud said something.
    Said(Said),
    /// A job's deployment stands otherwise than before.
    Deployment {
        /// The job.
        job_id: String,
        /// How it stands.
        outcome: Outcome,
    },
    /// Time went by.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Ask the cloud, and tell [`Agent::sent`] or [`Agent::not_sent`].
    Ask(Ask),
    /// Deploy, and tell how it goes.
    Deploy(Order),
    /// The cloud ended the job before its deployment did: break that off.
    Withdraw(DeploymentId),
}

/// What is to be told of a job.
#[derive(Debug, Clone, PartialEq)]
struct News {
    status: Status,
    details: Details,
}

/// The job that is worked on.
#[derive(Debug)]
struct Current {
    job_id: String,
    /// Its deployment; none where the job was rejected.
    deployment: Option<DeploymentId>,
    /// As the cloud told it last.
    version: i64,
    /// What the cloud has not noted yet.
    news: Option<News>,
    /// What was said last.
    last: News,
    /// When it was said.
    told: Instant,
}

#[derive(Debug)]
enum Question {
    StartNext,
    Update(News),
}

#[derive(Debug)]
struct Asked {
    question: Question,
    token: Option<u64>,
    since: Instant,
}

/// The state of the conversation.
#[derive(Debug)]
pub struct Agent {
    /// Minutes within which the cloud wants to hear of a job in progress.
    step_timeout: u16,
    connected: bool,
    asked: Option<Asked>,
    current: Option<Current>,
    /// Whether there may be a job to start.
    look: bool,
    /// Until when nothing is asked, and how long the next such pause is.
    rest_until: Option<Instant>,
    rest: Duration,
}

impl Agent {
    /// Nothing known, not connected. A job in progress times out in the cloud when nothing is heard of it for
    /// `step_timeout` minutes; it is told of itself in half that time.
    pub fn new(step_timeout: u16) -> Self {
        let rest = REST.0;
        Self { step_timeout, connected: false, asked: None, current: None, look: true, rest_until: None, rest }
    }

    /// The job that is worked on.
    pub fn current(&self) -> Option<&str> {
        self.current.as_ref().map(|current| current.job_id.as_str())
    }

    /// The last [`Command::Ask`] went out under this number.
    pub fn sent(&mut self, token: u64) {
        if let Some(asked) = &mut self.asked {
            asked.token = Some(token);
        }
    }

    /// The last [`Command::Ask`] did not go out.
    pub fn not_sent(&mut self, now: Instant) {
        self.take_back();
        self.take_a_rest(now);
    }

    /// Takes note of `event`; gives what is to be done, a question at the end if there is one.
    pub fn on(&mut self, event: Event, now: Instant) -> Vec<Command> {
        let mut commands = Vec::new();
        match event {
            Event::Connected => {
                self.take_back();
                self.connected = true;
                self.rest_until = None;
                self.look |= self.current.is_none();
                // It may have been cancelled meanwhile: the answer tells.
                self.say_again();
            }
            Event::Disconnected => {
                self.connected = false;
                self.take_back();
            }
            Event::Said(said) => commands.extend(self.hear(said, now)),
            Event::Deployment { job_id, outcome } => self.learn(&job_id, outcome),
            Event::Tick => self.tick(now),
        }
        commands.extend(self.ask(now));
        commands
    }

    fn hear(&mut self, said: Said, now: Instant) -> Option<Command> {
        match said {
            Said::Started(offer) => {
                self.answered(|asked| matches!(asked.question, Question::StartNext))?;
                self.rest = REST.0;
                self.take_on(offer?, now)
            }
            Said::Updated { token, version } => {
                let Question::Update(news) = self.answered(|asked| asked.token == Some(token))? else { return None };
                self.rest = REST.0;
                let current = self.current.as_mut()?;
                current.version = version.unwrap_or(current.version + 1);
                if news.status.is_terminal() {
                    self.finish();
                }
                None
            }
            Said::Rejected { token, why, message } => {
                let question = self.answered(|asked| token.is_none() || asked.token == token)?;
                tracing::warn!(?why, message, "AWS IoT Jobs rejects a request");
                self.be_rejected(question, why, now)
            }
            Said::NextChanged(next) => {
                self.next_changed(next.as_deref());
                None
            }
        }
    }

    /// The question that was waiting for this answer, if it was.
    fn answered(&mut self, is_it: impl FnOnce(&Asked) -> bool) -> Option<Question> {
        self.asked.take_if(|asked| is_it(asked)).map(|asked| asked.question)
    }

    fn take_on(&mut self, offer: Offer, now: Instant) -> Option<Command> {
        let Offer { job_id, document, version } = offer;
        let (news, order) = match document::read(&job_id, &document) {
            Ok(order) => (None, Some(order)),
            Err(problems) => {
                let reason: Vec<String> = problems.errors().map(ToString::to_string).collect();
                (Some(News { status: Status::Rejected, details: detail("reason", &reason.join("; ")) }), None)
            }
        };
        let last = News { status: Status::InProgress, details: detail("step", "started") };
        let deployment = order.as_ref().map(|order| order.id.clone());
        self.current = Some(Current { job_id, deployment, version, news, last, told: now });
        order.map(Command::Deploy)
    }

    fn be_rejected(&mut self, question: Question, why: Why, now: Instant) -> Option<Command> {
        let news = match (question, why) {
            (Question::StartNext, _) => {
                self.look = true;
                self.take_a_rest(now);
                return None;
            }
            (Question::Update(news), Why::Over) => return self.be_ended(&news),
            (Question::Update(news), Why::VersionMismatch { status, .. }) if status.is_terminal() => {
                return self.be_ended(&news);
            }
            (Question::Update(news), Why::VersionMismatch { version, .. }) => {
                if let Some(current) = &mut self.current {
                    current.version = version;
                }
                news
            }
            (Question::Update(news), Why::Later) => {
                self.take_a_rest(now);
                news
            }
            // Only what is told can be wrong with it, and the status is worth more.
            (Question::Update(news), Why::Wrong) if !news.details.is_empty() => {
                News { details: Details::new(), ..news }
            }
            (Question::Update(_), Why::Wrong) => {
                self.take_a_rest(now);
                self.finish();
                return None;
            }
        };
        self.restore(news);
        None
    }

    /// The cloud has ended the job, of which it did not note `news`.
    fn be_ended(&mut self, news: &News) -> Option<Command> {
        let current = self.current.take();
        self.look = true;
        let deployment = current.filter(|_| !news.status.is_terminal())?.deployment?;
        Some(Command::Withdraw(deployment))
    }

    fn next_changed(&mut self, next: Option<&str>) {
        match &self.current {
            None => self.look |= next.is_some(),
            // Either it is at its end as we said, or the cloud ended it: the answer to an update tells.
            Some(current) if next != Some(&current.job_id) => {
                let farewell =
                    |question: &Question| matches!(question, Question::Update(news) if news.status.is_terminal());
                if !self.asked.as_ref().is_some_and(|asked| farewell(&asked.question)) {
                    self.say_again();
                }
            }
            Some(_) => {}
        }
    }

    fn learn(&mut self, job_id: &str, outcome: Outcome) {
        let (status, details) = match outcome {
            Outcome::Working(details) => (Status::InProgress, details),
            Outcome::Succeeded(details) => (Status::Succeeded, details),
            Outcome::Failed(details) => (Status::Failed, details),
            Outcome::Rejected(details) => (Status::Rejected, details),
        };
        let Some(current) = self.current.as_mut().filter(|current| current.job_id == job_id) else { return };
        let final_already =
            current.news.as_ref().is_some_and(|news| news.status.is_terminal()) || current.last.status.is_terminal();
        if !final_already {
            current.news = Some(News { status, details: bounded(details) });
        }
    }

    fn tick(&mut self, now: Instant) {
        if self.asked.as_ref().is_some_and(|asked| now >= asked.since + ANSWER) {
            self.take_back();
        }
        let half = Duration::from_secs(u64::from(self.step_timeout) * 30);
        if self.current.as_ref().is_some_and(|current| now >= current.told + half) {
            self.say_again();
        }
    }

    /// The next question, if one may be asked now.
    fn ask(&mut self, now: Instant) -> Option<Command> {
        if !self.connected || self.asked.is_some() || self.rest_until.is_some_and(|until| now < until) {
            return None;
        }
        let step_timeout = self.step_timeout;
        let (question, ask) = match &mut self.current {
            None if self.look => {
                self.look = false;
                (Question::StartNext, Ask::StartNext { step_timeout })
            }
            None => return None,
            Some(current) => {
                let news = current.news.take()?;
                current.last = news.clone();
                current.told = now;
                let update = Ask::Update {
                    job_id: current.job_id.clone(),
                    status: news.status,
                    details: news.details.clone(),
                    expected_version: current.version,
                    step_timeout,
                };
                (Question::Update(news), update)
            }
        };
        self.asked = Some(Asked { question, token: None, since: now });
        Some(Command::Ask(ask))
    }

    /// What was asked last is not answered any more.
    fn take_back(&mut self) {
        match self.asked.take().map(|asked| asked.question) {
            Some(Question::StartNext) => self.look = true,
            Some(Question::Update(news)) => self.restore(news),
            None => {}
        }
    }

    /// `news` were not noted: unless there are newer ones, they are said again.
    fn restore(&mut self, news: News) {
        if let Some(current) = &mut self.current
            && (current.news.is_none() || news.status.is_terminal())
        {
            current.news = Some(news);
        }
    }

    fn say_again(&mut self) {
        if let Some(current) = &mut self.current
            && current.news.is_none()
            && !matches!(&self.asked, Some(Asked { question: Question::Update(_), .. }))
        {
            current.news = Some(current.last.clone());
        }
    }

    fn finish(&mut self) {
        self.current = None;
        self.look = true;
    }

    fn take_a_rest(&mut self, now: Instant) {
        self.rest_until = Some(now + self.rest);
        self.rest = (self.rest * 2).min(REST.1);
    }
}

/// One detail.
pub(super) fn detail(name: &str, value: &str) -> Details {
    bounded(Details::from([(name.to_owned(), value.to_owned())]))
}

/// As Jobs takes them: no empty values, none too long.
fn bounded(details: Details) -> Details {
    let cut = |value: String| value.chars().take(MAX_DETAIL).collect::<String>();
    details.into_iter().map(|(name, value)| (name, cut(value))).filter(|(_, value)| !value.is_empty()).collect()
}

#[cfg(test)]
mod tests;
