//! Cameras through the kernel's video interface, V4L2: which there are, what they offer, and streaming from one.
//!
//! Spoken to directly, by system calls (`abi`, `kernel`): the interface is stable, and little of it is needed. A driver
//! is not trusted to keep its word: what it says is bounded and checked, it is never waited for without an end, and a
//! device that goes away is an error and not a hang. Devices of the multi-planar interface are refused.

mod abi;
mod adjust;
mod camera;
mod choice;
mod device;
mod error;
#[cfg(test)]
mod fake;
mod identity;
mod kernel;
mod listing;
mod offer;
mod stream;
mod timestamp;
mod wish;

pub use adjust::{Adjustments, Control};
pub use camera::{Camera, Shot};
pub use error::CameraError;
pub use identity::Identity;
pub use listing::{Found, Places, nodes};
pub use offer::{FormatOffer, FourCc, Interval, Rates, SizeOffer};
pub use stream::{Lost, Negotiated};
pub use wish::{FormatWish, Wish};
