//! Users' functions: programs of a Greengrass V1 group, each in a sandbox over the host's root, started, watched and
//! restarted here (A-29 to A-37, B-42).
//!
//! ```text
//! router → Porter → Handle → Supervisor ── Work ──► Interface ◄── HTTP on loopback ── the function's program
//!                                 ▲                    │
//!                                 └──────── Said ──────┘ publish, invoke → Hub → router, other Handles
//! ```
//!
//! A function speaks HTTP to the core: the AWS Lambda Runtime API to take work and give answers, and V1's daemon
//! interface to publish and to invoke others (`interface`). The listener is the function's own, in its network
//! namespace where it has one.
//!
//! Refuses to run what the host cannot contain; [`FunctionStatus`] says so. A function without a container (A-32) has the
//! same lifecycle, and everything that it starts ends with it all the same.

mod account;
mod code;
mod fleet;
mod hub;
mod interface;
mod invocation;
mod learning;
mod listener;
mod log;
mod modules;
mod permission;
mod plan;
mod reach;
mod settings;
mod status;
mod supervisor;
mod worker;

pub use account::default_account;
pub use code::{Code, CodeError, Language, Places};
pub use fleet::Functions;
pub use hub::Hub;
pub(crate) use invocation::draw_id;
pub use invocation::{FunctionError, Invocation, Outcome};
pub use learning::{Answering, FeedbackRequest, InferenceRequest, Learning, LearningError, MAX_INPUT_BYTES};
pub use modules::{ModulesError, install as install_modules};
pub use permission::{Miss, Misses, misses};
pub use settings::{Attached, Settings};
pub use status::{FunctionState, FunctionStatus, FunctionWorker};
