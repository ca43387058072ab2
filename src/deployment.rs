//! The life of a group deployment: planned, staged, activated as a whole, watched, and confirmed or rolled back.
//!
//! * [`Deployments`]: the handle that takes requests; whoever has one may deploy
//! * `engine`: the one task that carries them out, one after the other
//! * [`Runner`]: what runs a group; the core's own is in `app`
//! * [`Stager`]: packages from S3 into the store, looked at and signed as the configuration asks
//! * `health`: what must hold before a deployment is confirmed
//! * [`Shelf`]: what of all this lies on the disk; docs/deployments.md describes the files
//! * [`plan`]: what a document would change
//!
//! What was confirmed last runs until something better is confirmed: a deployment that fails, and a power cut in the
//! middle of one, leave it in place. A core that starts without a network runs it first.

mod board;
mod engine;
mod function_health;
mod handle;
mod health;
mod opening;
pub mod plan;
mod provenance;
mod report;
mod request;
mod runner;
mod shelf;
mod stager;
mod version;

pub use engine::{Engine, Parts};
pub use handle::{Deployments, SubmitError};
pub use opening::{Opening, OpeningError};
pub use provenance::{Provenance, ProvenanceError};
pub use report::{Failure, FailureKind, Fetching, PackageVersion, Report, State, Status, Step};
pub use request::{DeploymentId, DeploymentIdError, Kind, Order, Request};
pub use runner::Runner;
pub use shelf::{Active, Confirmed, Past, Pending, Shelf, ShelfError};
pub use stager::{DeploymentError, Purpose, Staged, Stager};
pub use version::GroupVersion;
