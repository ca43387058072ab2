//! Fleet deployments by AWS IoT Jobs: takes the jobs of this thing one after the other, has each deployed, and tells the
//! cloud what became of it.
//!
//! * [`document`]: what a job may ask for
//! * [`execution`]: who says what when; pure
//! * [`agent`]: the task between link and deployments
//! * [`Deploys`]: who carries out what a job asks for; [`GroupDeployer`] in a core
//!
//! It refuses jobs that it does not understand (REJECTED), and keeps nothing on disk: after a restart the cloud offers
//! the job in progress again, and a deployment of the same id is not carried out twice.

pub mod agent;
mod deployer;
mod deploys;
pub mod document;
pub mod execution;

pub use deployer::GroupDeployer;
pub use deploys::{Deploys, Outcome};
