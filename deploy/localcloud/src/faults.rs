//! The switches with which a test makes the cloud misbehave. A fault is taken once per request, before any check, and
//! counts down; what it does is the business of the service that takes it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use time::{Duration, OffsetDateTime};

use crate::cloud_clock::CloudClock;
use crate::lock::lock;
use crate::policy;

/// What the credentials provider does instead of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialsFault {
    /// Answers with this HTTP status and a JSON message.
    Status(u16),
    /// Takes the request and never answers.
    Hang,
    /// Answers 200 with a body that is not JSON.
    Garbage,
}

/// What S3 does instead of, or in addition to, its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Fault {
    /// Answers with this HTTP status and the error code S3 uses with it.
    Status(u16),
    /// Takes the request and never answers.
    Hang,
    /// Says that the session token has expired, whether or not it has.
    ExpiredToken,
    /// Announces the whole body and closes the connection after this many bytes of it.
    Truncate {
        /// Bytes of the answer's body that are still sent; a client that reads slowly may get fewer.
        after: u64,
    },
    /// Inverts the byte at this offset of the object, under an unchanged ETag.
    Corrupt {
        /// Offset from the start of the object.
        offset: u64,
    },
    /// Sends the body at this pace.
    Slow {
        /// Bytes a second.
        bytes_per_second: u32,
    },
}

/// How long a fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// For the next so many requests.
    Next(u32),
    /// Until [`Faults::clear`] or another fault of the same service.
    UntilCleared,
}

/// The switches of one cloud; clones switch together.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    switches: Arc<Mutex<Switches>>,
    clock: CloudClock,
}

#[derive(Debug, Default)]
struct Switches {
    credentials: Option<(CredentialsFault, Lasting)>,
    s3: Option<(S3Fault, Lasting)>,
    /// Taken before `s3`, one a request.
    s3_in_turn: VecDeque<S3Fault>,
    refused_topics: Vec<String>,
    silent_jobs: bool,
}

impl Faults {
    /// Makes the credentials provider misbehave.
    pub fn credentials(&self, fault: CredentialsFault, lasting: Lasting) {
        lock(&self.switches).credentials = Some((fault, lasting));
    }

    /// Makes S3 misbehave.
    pub fn s3(&self, fault: S3Fault, lasting: Lasting) {
        lock(&self.switches).s3 = Some((fault, lasting));
    }

    /// Makes S3 misbehave by one of `faults` for each of the next requests, in this order.
    pub fn s3_in_turn(&self, faults: impl IntoIterator<Item = S3Fault>) {
        lock(&self.switches).s3_in_turn.extend(faults);
    }

    /// Makes the broker refuse publishing to, and subscribing to, what the filter matches, whatever the policies say.
    pub fn refuse_topic(&self, filter: impl Into<String>) {
        lock(&self.switches).refused_topics.push(filter.into());
    }

    /// Makes Jobs take requests and not answer, or answer again.
    pub fn silence_jobs(&self, silent: bool) {
        lock(&self.switches).silent_jobs = silent;
    }

    pub(crate) fn jobs_are_silent(&self) -> bool {
        lock(&self.switches).silent_jobs
    }

    /// Sets the cloud's clock to the machine's plus `offset`, which may be negative.
    pub fn set_clock_offset(&self, offset: Duration) {
        self.clock.set_offset(offset);
    }

    /// The cloud's time.
    pub fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// Turns every switch off, and sets the clock right.
    pub fn clear(&self) {
        *lock(&self.switches) = Switches::default();
        self.clock.set_offset(Duration::ZERO);
    }

    pub(crate) fn take_credentials(&self) -> Option<CredentialsFault> {
        take(&mut lock(&self.switches).credentials)
    }

    pub(crate) fn take_s3(&self) -> Option<S3Fault> {
        let mut switches = lock(&self.switches);
        switches.s3_in_turn.pop_front().or_else(|| take(&mut switches.s3))
    }

    pub(crate) fn refuses_topic(&self, topic_or_filter: &str) -> bool {
        let switches = lock(&self.switches);
        switches.refused_topics.iter().any(|refused| policy::covers(refused, topic_or_filter))
    }
}

/// Counts one use of the fault in `slot`, if there is one.
fn take<F: Copy>(slot: &mut Option<(F, Lasting)>) -> Option<F> {
    let (fault, lasting) = slot.as_mut()?;
    let fault = *fault;
    match lasting {
        Lasting::UntilCleared => return Some(fault),
        Lasting::Next(0) => *slot = None,
        Lasting::Next(left) => {
            *left -= 1;
            return Some(fault);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_lasts_for_as_many_requests_as_asked() {
        let faults = Faults::default();
        faults.credentials(CredentialsFault::Status(503), Lasting::Next(2));
        let taken: Vec<_> = (0..3).map(|_| faults.take_credentials().is_some()).collect();
        assert_eq!(taken, [true, true, false]);
    }

    #[test]
    fn a_lasting_fault_ends_when_it_is_cleared() {
        let faults = Faults::default();
        faults.s3(S3Fault::Hang, Lasting::UntilCleared);
        assert!(faults.take_s3().is_some() && faults.take_s3().is_some());
        faults.clear();
        assert_eq!(faults.take_s3(), None);
    }
}
