//! AWS IoT Jobs, as a thing sees it over MQTT: a queue of executions for each thing, their versions, transitions and
//! timeouts, and the rejections that AWS gives. The operator's side (CreateJob, CancelJob, DescribeJobExecution) is
//! called in process.
//!
//! [`Executions`](executions::Executions) is pure; [`wire`] speaks its JSON; [`service`] sits in the broker.

mod executions;
mod service;
mod wire;

pub use executions::{Execution, JobStatus};
pub(crate) use service::JobsService;
