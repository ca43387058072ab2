//! A frame in small, inside the message.

use serde::{Deserialize, Serialize};

/// The largest JPEG that goes into a message, in bytes: as base64 it takes a quarter of a message's 128 KB, and half of
/// what one packet between the processes of a core holds.
pub const MAX_THUMBNAIL_BYTES: usize = 24 * 1024;

/// A picture of a frame, reduced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumbnail {
    /// `image/jpeg`.
    pub media_type: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// The JPEG in base64, with padding (RFC 4648, section 4).
    pub data: String,
}
