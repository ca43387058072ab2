//! What the provider remembers: the credentials held, the last failure, the fetch under way. No I/O, and no clock of
//! its own, so that every rule about time can be tested without one.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;

use super::error::CredentialsError;
use super::{Credentials, ProviderState};
use crate::backoff::Backoff;
use crate::config::CredentialRetry;

/// The shortest pause after a connection failure.
const CONNECTION_FLOOR: Duration = Duration::from_secs(1);
/// The longest one: a device that was offline for a day asks at least every five minutes.
const CONNECTION_CEILING: Duration = Duration::from_secs(300);

/// Credentials are renewed when this much of their life is over …
const RENEW_AT_PART: f64 = 0.7;
/// … and always this long before its end, if they live long enough.
const RENEW_BEFORE_END: Duration = Duration::from_secs(300);
/// A fleet that started together must not renew together: up to this part of the life earlier.
const RENEWAL_JITTER: f64 = 0.05;

/// What to do for somebody who wants credentials.
#[derive(Debug)]
pub(super) enum Decision {
    /// These are valid.
    Serve(Credentials),
    /// The provider refused a moment ago; here is why.
    Refuse(CredentialsError),
    /// A fetch is under way.
    Wait(watch::Receiver<()>),
    /// Nothing is held, nothing under way, no pause.
    Fetch,
}

#[derive(Debug)]
struct Held {
    credentials: Credentials,
    renew_at: Duration,
}

#[derive(Debug)]
struct Failure {
    error: CredentialsError,
    at: OffsetDateTime,
    retry_at: Duration,
}

/// What a changed configuration makes of the credentials that are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// They are of another role or thing: nobody may have them any more.
    Role,
    /// They are what would be fetched now, too: they are served until they have been renewed, which is due at once.
    Identity,
}

/// All times are CLOCK_BOOTTIME.
#[derive(Debug)]
pub(super) struct State {
    held: Option<Held>,
    /// When credentials were last granted, whatever became of them.
    last_fetch: Option<OffsetDateTime>,
    failure: Option<Failure>,
    under_way: Option<watch::Receiver<()>>,
    /// Counts changes; a fetch that began under an earlier one lands nowhere.
    epoch: u64,
    retry: CredentialRetry,
    backoff: Backoff,
    fetches: u64,
    failures: u64,
    failures_by_class: BTreeMap<&'static str, u64>,
}

impl State {
    pub(super) fn new(retry: CredentialRetry) -> Self {
        Self {
            held: None,
            last_fetch: None,
            failure: None,
            under_way: None,
            epoch: 0,
            retry,
            backoff: Backoff::new(CONNECTION_FLOOR, CONNECTION_CEILING),
            fetches: 0,
            failures: 0,
            failures_by_class: BTreeMap::new(),
        }
    }

    pub(super) fn decide(&self, boottime: Duration) -> Decision {
        match self.held.as_ref().filter(|held| held.credentials.is_valid_at(boottime)) {
            Some(held) => Decision::Serve(held.credentials.clone()),
            None => self.decide_without_held(boottime),
        }
    }

    fn decide_without_held(&self, boottime: Duration) -> Decision {
        if let Some(landing) = self.under_way() {
            return Decision::Wait(landing);
        }
        match &self.failure {
            Some(failure) if boottime < failure.retry_at => Decision::Refuse(failure.error.clone()),
            _ => Decision::Fetch,
        }
    }

    /// The same for somebody to whom the credentials of `access_key_id` are of no use, although they are valid: a service
    /// does not know them. They are still served to others, who may have another service.
    pub(super) fn decide_other_than(&self, access_key_id: &str, boottime: Duration) -> Decision {
        match &self.held {
            Some(held) if held.credentials.access_key_id == access_key_id => self.decide_without_held(boottime),
            _ => self.decide(boottime),
        }
    }

    /// When the background task has something to do.
    pub(super) fn due(&self) -> Duration {
        let renewal = self.held.as_ref().map_or(Duration::ZERO, |held| held.renew_at);
        let pause = self.failure.as_ref().map_or(Duration::ZERO, |failure| failure.retry_at);
        renewal.max(pause)
    }

    pub(super) fn under_way(&self) -> Option<watch::Receiver<()>> {
        // A receiver whose sender is gone belongs to a fetch that has landed, or whose task died.
        self.under_way.clone().filter(|landing| landing.has_changed().is_ok())
    }

    /// Notes a fetch under way; gives the epoch that it belongs to.
    pub(super) fn took_off(&mut self, landing: watch::Receiver<()>) -> u64 {
        self.fetches += 1;
        self.under_way = Some(landing);
        self.epoch
    }

    /// The certificate, a key, the authorities or what is asked for is another one from now on.
    pub(super) fn changed(&mut self, change: Change, retry: CredentialRetry) {
        self.epoch += 1;
        self.under_way = None;
        self.failure = None;
        self.backoff.reset();
        self.retry = retry;
        match change {
            Change::Role => self.held = None,
            Change::Identity => {
                if let Some(held) = &mut self.held {
                    held.renew_at = Duration::ZERO;
                }
            }
        }
    }

    pub(super) fn landed(
        &mut self,
        epoch: u64,
        outcome: Result<Credentials, CredentialsError>,
        (boottime, now): (Duration, OffsetDateTime),
    ) {
        if epoch != self.epoch {
            return;
        }
        self.under_way = None;
        match outcome {
            Ok(credentials) => {
                let life = credentials.expires_at.saturating_sub(boottime);
                let renew_at = boottime + renewal_after(life, fastrand::f64());
                self.held = Some(Held { credentials, renew_at });
                self.last_fetch = Some(now);
                self.failure = None;
                self.backoff.reset();
            }
            Err(error) => {
                self.failures += 1;
                *self.failures_by_class.entry(error.class()).or_default() += 1;
                let pause = error.pause(&self.retry).unwrap_or_else(|| self.backoff.next());
                self.failure = Some(Failure { error, at: now, retry_at: boottime + pause });
            }
        }
    }

    pub(super) fn forget_connection_failure(&mut self) {
        if self.failure.as_ref().is_some_and(|failure| failure.error.pause(&self.retry).is_none()) {
            self.failure = None;
            self.backoff.reset();
        }
    }

    pub(super) fn describe(&self, boottime: Duration) -> ProviderState {
        let valid = self.held.as_ref().filter(|held| held.credentials.is_valid_at(boottime));
        ProviderState {
            access_key_id: valid.map(|held| held.credentials.access_key_id.clone()),
            expiration: valid.map(|held| held.credentials.expiration),
            expires_in: valid.map(|held| held.credentials.expires_at.saturating_sub(boottime)),
            last_fetch: self.last_fetch,
            error: self.failure.as_ref().map(|failure| failure.error.clone()),
            failed: self.failure.as_ref().map(|failure| failure.at),
            fetching: self.under_way().is_some(),
            next_try_in: (self.fetches > 0).then(|| self.due().saturating_sub(boottime)),
            fetches: self.fetches,
            failures: self.failures,
            failures_by_class: self.failures_by_class.clone(),
        }
    }
}

/// How long after the fetch credentials that live for `life` are renewed; `luck` is between 0 and 1.
fn renewal_after(life: Duration, luck: f64) -> Duration {
    let part = life.mul_f64(RENEW_AT_PART);
    let latest = match life.checked_sub(RENEW_BEFORE_END) {
        Some(latest) if life >= RENEW_BEFORE_END * 2 => part.min(latest),
        _ => part,
    };
    latest.saturating_sub(life.mul_f64(RENEWAL_JITTER * luck))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Refusal;
    use crate::secret::Secret;

    const BOOT: Duration = Duration::from_secs(1000);
    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn credentials(expires_at: Duration) -> Credentials {
        Credentials {
            access_key_id: "ASIA1".to_owned(),
            secret_access_key: Secret::new("s"),
            session_token: Secret::new("t"),
            expiration: NOW,
            expires_at,
        }
    }

    fn refused(status: u16) -> CredentialsError {
        CredentialsError::Refused {
            role_alias: "alias".to_owned(),
            thing: "core".to_owned(),
            refusal: Refusal { status, message: None },
        }
    }

    #[test]
    fn an_hour_is_renewed_after_seventy_percent_and_never_within_five_minutes_of_the_end() {
        assert_eq!(renewal_after(seconds(3600), 0.0), seconds(2520));
        assert_eq!(renewal_after(seconds(3600), 1.0), seconds(2340));
        assert_eq!(renewal_after(seconds(900), 0.0), seconds(600));
        assert_eq!(renewal_after(seconds(100), 0.0), seconds(70), "too short a life for five minutes");
    }

    #[test]
    fn each_class_of_refusal_has_its_pause() {
        for (status, pause) in [(400, 120), (403, 120), (499, 120), (500, 60), (503, 60), (301, 300), (204, 300)] {
            let mut state = State::new(CredentialRetry::default());
            state.landed(0, Err(refused(status)), (BOOT, NOW));
            let last = BOOT + seconds(pause) - Duration::from_millis(1);
            assert!(matches!(state.decide(last), Decision::Refuse(_)), "{status} is remembered");
            assert!(matches!(state.decide(BOOT + seconds(pause)), Decision::Fetch), "{status} is forgotten");
            assert_eq!(state.due(), BOOT + seconds(pause));
        }
    }

    #[test]
    fn valid_credentials_are_served_to_their_last_moment_while_the_provider_is_down() {
        let mut state = State::new(CredentialRetry::default());
        state.landed(0, Ok(credentials(BOOT + seconds(3600))), (BOOT, NOW));
        let late = BOOT + seconds(3599);
        state.landed(0, Err(refused(503)), (late, NOW));
        assert!(matches!(state.decide(late), Decision::Serve(_)));
        assert!(matches!(state.decide(BOOT + seconds(3600)), Decision::Refuse(_)));
    }

    #[test]
    fn credentials_that_a_service_refused_are_replaced_for_its_client_and_served_to_others() {
        let mut state = State::new(CredentialRetry::default());
        state.landed(0, Ok(credentials(BOOT + seconds(3600))), (BOOT, NOW));
        assert!(matches!(state.decide_other_than("ASIA2", BOOT), Decision::Serve(_)), "these are others");
        assert!(matches!(state.decide_other_than("ASIA1", BOOT), Decision::Fetch));
        state.landed(0, Err(refused(503)), (BOOT, NOW));
        assert!(matches!(state.decide_other_than("ASIA1", BOOT), Decision::Refuse(_)), "the provider is left alone");
        assert!(matches!(state.decide(BOOT), Decision::Serve(_)));
    }

    #[test]
    fn a_fetch_whose_task_died_does_not_block_the_next() {
        let mut state = State::new(CredentialRetry::default());
        let (aloft, landing) = watch::channel(());
        state.took_off(landing);
        assert!(matches!(state.decide(BOOT), Decision::Wait(_)));
        drop(aloft);
        assert!(matches!(state.decide(BOOT), Decision::Fetch));
    }

    #[test]
    fn a_changed_role_drops_what_is_held_and_a_changed_certificate_renews_it() {
        let mut state = State::new(CredentialRetry::default());
        state.landed(0, Ok(credentials(BOOT + seconds(3600))), (BOOT, NOW));
        state.changed(Change::Identity, CredentialRetry::default());
        assert!(matches!(state.decide(BOOT), Decision::Serve(_)), "still of use");
        assert_eq!(state.due(), Duration::ZERO, "renewed at once");
        state.changed(Change::Role, CredentialRetry::default());
        assert!(matches!(state.decide(BOOT), Decision::Fetch));
    }

    #[test]
    fn a_fetch_that_began_before_a_change_lands_nowhere() {
        let mut state = State::new(CredentialRetry::default());
        let (_aloft, landing) = watch::channel(());
        let epoch = state.took_off(landing);
        state.changed(Change::Role, CredentialRetry::default());
        assert!(matches!(state.decide(BOOT), Decision::Fetch), "a new fetch need not wait for the old one");
        state.landed(epoch, Ok(credentials(BOOT + seconds(3600))), (BOOT, NOW));
        assert!(matches!(state.decide(BOOT), Decision::Fetch));
    }

    #[test]
    fn pauses_are_as_long_as_configured() {
        let retry =
            CredentialRetry { client_error: seconds(10), server_error: seconds(20), unknown_error: seconds(42_900) };
        for (status, pause) in [(403, 10), (503, 20), (302, 42_900)] {
            let mut state = State::new(retry);
            state.landed(0, Err(refused(status)), (BOOT, NOW));
            assert_eq!(state.due(), BOOT + seconds(pause), "{status}");
        }
    }
}
