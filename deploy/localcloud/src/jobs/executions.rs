//! What Jobs keeps and decides, without any transport. Follows the AWS IoT Core developer guide, "Jobs workflow" and
//! "Jobs device MQTT API".

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use time::{Duration, OffsetDateTime};

/// The status of a job on one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// Waits for the thing.
    Queued,
    /// The thing works on it.
    InProgress,
    /// The thing says that it is done.
    Succeeded,
    /// The thing says that it failed.
    Failed,
    /// The thing did not report in time.
    TimedOut,
    /// The thing says that it will not do it.
    Rejected,
    /// The operator took it back.
    Canceled,
}

impl JobStatus {
    const NAMES: [(&'static str, Self); 7] = [
        ("QUEUED", Self::Queued),
        ("IN_PROGRESS", Self::InProgress),
        ("SUCCEEDED", Self::Succeeded),
        ("FAILED", Self::Failed),
        ("TIMED_OUT", Self::TimedOut),
        ("REJECTED", Self::Rejected),
        ("CANCELED", Self::Canceled),
    ];

    /// As the wire writes it.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, status)| *status == self).map_or("", |(name, _)| name)
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, status)| *status)
    }

    /// Whether nothing can change it any more.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::InProgress)
    }
}

/// One job on one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// The job.
    pub job_id: String,
    /// What is to be done.
    pub document: Value,
    /// How it stands.
    pub status: JobStatus,
    /// What the thing says of it.
    pub details: BTreeMap<String, String>,
    /// Counts its changes, from 1.
    pub version: i64,
    /// When it was created.
    pub queued_at: OffsetDateTime,
    /// When the thing began.
    pub started_at: Option<OffsetDateTime>,
    /// When it last changed.
    pub updated_at: OffsetDateTime,
    deadline: Option<OffsetDateTime>,
}

/// Why a request is rejected: the code and a message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rejection {
    pub(super) code: &'static str,
    pub(super) message: String,
    /// How the execution stands, where that is what the request is wrong about.
    pub(super) state: Option<Box<Execution>>,
}

impl Rejection {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), state: None }
    }
}

/// What a thing asks to change.
#[derive(Debug, Clone, Default)]
pub(super) struct Change {
    pub(super) status: Option<JobStatus>,
    pub(super) details: Option<BTreeMap<String, String>>,
    pub(super) expected_version: Option<i64>,
    pub(super) step_timeout_minutes: Option<i64>,
}

/// The executions of every thing, oldest first.
#[derive(Debug, Default)]
pub(super) struct Executions(HashMap<String, Vec<Execution>>);

impl Executions {
    pub(super) fn create(&mut self, thing: &str, job_id: &str, document: Value, now: OffsetDateTime) {
        self.0.entry(thing.to_owned()).or_default().push(Execution {
            job_id: job_id.to_owned(),
            document,
            status: JobStatus::Queued,
            details: BTreeMap::new(),
            version: 1,
            queued_at: now,
            started_at: None,
            updated_at: now,
            deadline: None,
        });
    }

    pub(super) fn things(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    pub(super) fn get(&self, thing: &str, job_id: &str) -> Option<&Execution> {
        self.0.get(thing)?.iter().find(|execution| execution.job_id == job_id)
    }

    /// Those that are not at their end: in progress first, then in the order of creation.
    pub(super) fn pending(&self, thing: &str) -> Vec<&Execution> {
        let all = self.0.get(thing).map(Vec::as_slice).unwrap_or_default();
        let with = |status| all.iter().filter(move |execution: &&Execution| execution.status == status);
        with(JobStatus::InProgress).chain(with(JobStatus::Queued)).collect()
    }

    /// The one that a thing would work on next.
    pub(super) fn next(&self, thing: &str) -> Option<&Execution> {
        self.pending(thing).first().copied()
    }

    fn find(&mut self, thing: &str, job_id: &str) -> Result<&mut Execution, Rejection> {
        let found = self.0.get_mut(thing).and_then(|all| all.iter_mut().find(|one| one.job_id == job_id));
        found.ok_or_else(|| Rejection::new("ResourceNotFound", format!("no execution of job {job_id} for {thing}")))
    }

    /// StartNextPendingJobExecution: the one in progress as it is, else the oldest that waits.
    pub(super) fn start_next(
        &mut self,
        thing: &str,
        change: Change,
        now: OffsetDateTime,
    ) -> Result<Option<Execution>, Rejection> {
        let Some(job_id) = self.next(thing).map(|next| next.job_id.clone()) else { return Ok(None) };
        let execution = self.find(thing, &job_id)?;
        if execution.status == JobStatus::Queued {
            execution.status = JobStatus::InProgress;
            execution.started_at = Some(now);
            execution.advance(&change, now);
        }
        Ok(Some(execution.clone()))
    }

    /// UpdateJobExecution.
    pub(super) fn update(
        &mut self,
        thing: &str,
        job_id: &str,
        change: Change,
        now: OffsetDateTime,
    ) -> Result<Execution, Rejection> {
        let execution = self.find(thing, job_id)?;
        let status = change.status.unwrap_or(execution.status);
        let wrong = |code, message: String| Err(Rejection { code, message, state: Some(Box::new(execution.clone())) });
        if execution.status.is_terminal() {
            return wrong("InvalidStateTransition", format!("the execution is {}", execution.status.as_str()));
        }
        if matches!(status, JobStatus::Queued | JobStatus::Canceled | JobStatus::TimedOut) {
            return wrong("InvalidRequest", format!("a thing cannot set {}", status.as_str()));
        }
        if let Some(expected) = change.expected_version.filter(|expected| *expected != execution.version) {
            return wrong("VersionMismatch", format!("expected version {expected}, it is {}", execution.version));
        }
        if execution.started_at.is_none() {
            execution.started_at = Some(now);
        }
        execution.status = status;
        execution.advance(&change, now);
        Ok(execution.clone())
    }

    /// CancelJob: what waits is cancelled; what is in progress only by `force`. Gives the things concerned.
    pub(super) fn cancel(&mut self, job_id: &str, force: bool, now: OffsetDateTime) -> Vec<String> {
        let mut concerned = Vec::new();
        for (thing, all) in &mut self.0 {
            for execution in all.iter_mut().filter(|execution| execution.job_id == job_id) {
                let cancel = match execution.status {
                    JobStatus::Queued => true,
                    JobStatus::InProgress => force,
                    _ => false,
                };
                if cancel {
                    execution.status = JobStatus::Canceled;
                    execution.advance(&Change::default(), now);
                    concerned.push(thing.clone());
                }
            }
        }
        concerned
    }

    /// Ends what is overdue. Gives the things concerned.
    pub(super) fn expire(&mut self, now: OffsetDateTime) -> Vec<String> {
        let mut concerned = Vec::new();
        for (thing, all) in &mut self.0 {
            for execution in all.iter_mut().filter(|execution| execution.is_overdue(now)) {
                execution.status = JobStatus::TimedOut;
                execution.advance(&Change::default(), now);
                concerned.push(thing.clone());
            }
        }
        concerned
    }
}

impl Execution {
    fn is_overdue(&self, now: OffsetDateTime) -> bool {
        self.status == JobStatus::InProgress && self.deadline.is_some_and(|deadline| now >= deadline)
    }

    fn advance(&mut self, change: &Change, now: OffsetDateTime) {
        if let Some(details) = &change.details {
            self.details.clone_from(details);
        }
        match change.step_timeout_minutes {
            Some(minutes) if minutes > 0 => self.deadline = Some(now + Duration::minutes(minutes)),
            Some(_) => self.deadline = None,
            None => {}
        }
        self.version += 1;
        self.updated_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> Executions {
        let (mut jobs, now) = (Executions::default(), OffsetDateTime::UNIX_EPOCH);
        jobs.create("cat", "one", Value::Null, now);
        jobs.create("cat", "two", Value::Null, now);
        let minute = Change { step_timeout_minutes: Some(1), ..Change::default() };
        assert_eq!(jobs.start_next("cat", minute, now).unwrap().unwrap().job_id, "one");
        jobs
    }

    fn to(status: JobStatus, expected_version: i64) -> Change {
        Change { status: Some(status), expected_version: Some(expected_version), ..Change::default() }
    }

    #[test]
    fn the_one_in_progress_comes_first_and_versions_must_match() {
        let (mut jobs, now) = (started(), OffsetDateTime::UNIX_EPOCH);
        assert_eq!(jobs.start_next("cat", Change::default(), now).unwrap().unwrap().version, 2);
        let refused = jobs.update("cat", "one", to(JobStatus::Succeeded, 1), now).unwrap_err();
        assert_eq!((refused.code, refused.state.unwrap().version), ("VersionMismatch", 2));
        assert_eq!(jobs.update("cat", "one", to(JobStatus::Succeeded, 2), now).unwrap().version, 3);
        let refused = jobs.update("cat", "one", to(JobStatus::Failed, 3), now).unwrap_err();
        assert_eq!(refused.code, "InvalidStateTransition");
        assert_eq!(jobs.next("cat").unwrap().job_id, "two");
        assert_eq!(jobs.update("cat", "none", Change::default(), now).unwrap_err().code, "ResourceNotFound");
        assert_eq!(jobs.update("cat", "two", to(JobStatus::Canceled, 1), now).unwrap_err().code, "InvalidRequest");
    }

    #[test]
    fn what_is_overdue_or_cancelled_is_at_its_end() {
        let (mut jobs, now) = (started(), OffsetDateTime::UNIX_EPOCH);
        assert!(jobs.cancel("one", false, now).is_empty());
        assert_eq!(jobs.expire(now + Duration::minutes(1)), ["cat"]);
        assert_eq!(jobs.get("cat", "one").unwrap().status, JobStatus::TimedOut);
        assert_eq!(jobs.cancel("two", false, now), ["cat"]);
        assert_eq!(jobs.next("cat"), None);
    }
}
