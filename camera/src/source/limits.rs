//! How large the things may be that sources read. A source that meets something larger skips it or refuses it; it
//! never reads first and looks afterwards.

/// The most bytes of one item, as it lies in its file and as a frame: 64 MiB, a 22-megapixel image in RGB.
pub const MOST_ITEM_BYTES: u64 = 64 << 20;

/// The most pixels that an image may be wide or high.
pub const MOST_SIDE: u32 = 16_384;

/// The most images in a folder: their names are kept in memory.
pub const MOST_ITEMS: usize = 100_000;

/// The fastest that a source can be asked to be, in frames a second.
pub const MOST_FRAMES_PER_SECOND: f64 = 1000.0;
