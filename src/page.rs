//! The page at `http://127.0.0.1:PORT/`: for one who would rather look than read. It shows the picture, what the model
//! makes of it, and the state of the core.
//!
//! The core only binds the port. Browsers are served by a process of its own, the *viewer*, in a sandbox: it has the
//! listening socket, a read-only view of the cameras' rings and the messages of the core, and no network, no model, no
//! file. Its death disturbs nobody; another takes its place. It parses no picture: a JPEG goes to the browser as it is,
//! and of raw pixels it makes a bitmap.
//!
//! * [`supervisor`]: the core's side; [`Page`] is its handle, [`feed`] what it is told
//! * [`token`]: who may look
//! * [`message`]: what core and viewer say to each other
//! * [`viewer`]: the program inside the sandbox

pub mod feed;
pub mod message;
pub mod supervisor;
pub mod token;
pub mod viewer;

pub use feed::Feed;
pub use supervisor::{BindError, Page, PageStatus, RingSource};
pub use token::TokenError;
