//! The ring: shared memory through which one writer hands frames to any number of readers without waiting for them.
//!
//! ```text
//! core                             capture worker            inference workers, preview page
//! create ───── read-write fd ────▶ RingWriter::map
//! seal_against_new_writers ─────── reader's fd ────────────▶ RingReader::map
//!                                  publish, publish, …       wait_newer, read_into, …
//! ```
//!
//! The memory is a memfd that can neither shrink nor grow, laid out in 32-bit words: a header written once by
//! [`create`], the writer's count of published frames, and `slots` slots. Frame `n` of the ring lies in slot
//! `n % slots` until frame `n + slots` is written over it. A slot says which frame the writer last began to write
//! there; a reader that has copied a published frame looks at that word afterwards, and so knows whether what it copied
//! was whole (a sequence lock). A frame that was written over is [`ReadError::Overwritten`], never half of one and half
//! of another.
//!
//! Readers do not trust the writer, which runs beside a camera driver or a decoder: they map the memory read-only,
//! take the geometry once, bound every length by it, and check every description ([`crate::frame::FrameFault`]). A
//! writer gone wrong can deliver wrong pictures, or none; it cannot make a reader read elsewhere, write, or wait
//! longer than it wanted to.
//!
//! When a writer dies, its ring stays as it is: everything below its head can still be read. The next writer gets a
//! new ring whose first sequence is the old head plus one, so that each frame of a camera keeps a number of its own
//! and captured = read + overwritten can be counted over all the rings.

mod geometry;
mod header;
mod layout;
mod mapping;
mod memory;
mod reader;
mod slot;
mod writer;

pub use geometry::{GeometryFault, RingGeometry};
pub use header::HeaderFault;
pub use memory::{Exclusion, ReaderHandle, RingError, create, seal_against_new_writers};
pub use reader::{MalformedFrame, ReadError, RingReader, Wait};
pub use writer::{EndReason, PublishError, RingWriter};
