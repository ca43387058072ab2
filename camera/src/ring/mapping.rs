//! With `v4l2/kernel.rs` the only unsafe code of the crate: mapping a ring's memory and touching it through atomics.
//!
//! Everything outside sees a [`Mapping`]: a piece of memory that other processes change at any time, read and written
//! in words by offset. It refuses offsets outside the memory and ones that are not aligned, and memory that could
//! shrink (touching a page past the end of a file kills the process).
//!
//! Why this is sound although other processes write: nothing here ever makes a `&[u8]` or `&u32` of the memory, only
//! references to atomics, which may change under a shared reference; and all accesses are relaxed loads and stores of
//! at most a machine word. Relaxed loads of up to that size are what the standard library guarantees to work on
//! read-only memory (`std::sync::atomic`, "Atomic accesses to read-only memory"): there, an acquire load is a relaxed
//! load and a fence, which is how the reader does it on every processor.
#![allow(unsafe_code, reason = "memory shared between processes has no safe interface")]

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::fd::AsFd;
use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::thread::futex;

use super::RingGeometry;
use crate::clock::timespec;
use crate::shared::{SharedBytes, WORD};

/// What a mapping allows.
pub(super) trait Access {
    /// The protection that the kernel is asked for.
    const PROTECTION: ProtFlags;
}

/// Loads only; a store would be a fault of the processor, so there is no method for it.
#[derive(Debug)]
pub(super) enum ReadOnly {}

/// Loads and stores.
#[derive(Debug)]
pub(super) enum ReadWrite {}

impl Access for ReadOnly {
    const PROTECTION: ProtFlags = ProtFlags::READ;
}

impl Access for ReadWrite {
    const PROTECTION: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);
}

/// Why memory was not mapped.
#[derive(Debug)]
pub(super) enum MapFault {
    /// A system call failed.
    System(io::Error),
    /// The file can still shrink, or is no memfd at all.
    CanShrink,
    /// The file's length is none that a ring can have.
    Length(u64),
}

/// Memory shared with other processes.
pub(super) struct Mapping<A> {
    start: NonNull<u8>,
    bytes: usize,
    access: PhantomData<A>,
}

// SAFETY: the memory belongs to the mapping until it is dropped, not to a thread, and is only touched atomically.
unsafe impl<A> Send for Mapping<A> {}
// SAFETY: as above; every method takes `&self` and does nothing but atomic accesses.
unsafe impl<A> Sync for Mapping<A> {}

impl<A: Access> Mapping<A> {
    /// Maps the whole of `file`, which must be a memfd sealed against shrinking.
    pub(super) fn new(file: impl AsFd) -> Result<Self, MapFault> {
        let file = file.as_fd();
        match fcntl_get_seals(file) {
            Ok(seals) if seals.contains(SealFlags::SHRINK) => {}
            Ok(_) | Err(Errno::INVAL) => return Err(MapFault::CanShrink),
            Err(error) => return Err(MapFault::System(error.into())),
        }
        let length = fstat(file).map_err(|error| MapFault::System(error.into()))?.st_size;
        let length = u64::try_from(length).unwrap_or(0);
        if length == 0 || length > RingGeometry::MOST_BYTES {
            return Err(MapFault::Length(length));
        }
        let bytes = usize::try_from(length).map_err(|_| MapFault::Length(length))?;
        // SAFETY: the address is left to the kernel, so that no existing memory is replaced.
        let start = unsafe { mmap(ptr::null_mut(), bytes, A::PROTECTION, MapFlags::SHARED, file, 0) };
        let start = start.map_err(|error| MapFault::System(error.into()))?;
        let start = NonNull::new(start.cast()).ok_or(MapFault::Length(length))?;
        Ok(Self { start, bytes, access: PhantomData })
    }

    /// The length of the memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The word at `offset`, as it is at some moment during the call (relaxed).
    pub(super) fn load(&self, offset: usize) -> u32 {
        self.word(offset).load(Ordering::Relaxed)
    }

    /// Copies the bytes from `offset` on. They may change meanwhile: each machine word is of one moment, no more.
    pub(super) fn copy_out(&self, offset: usize, into: &mut [u8]) {
        let words = self.words(offset, into.len());
        let (chunks, rest) = into.as_chunks_mut::<WORD>();
        for (chunk, word) in chunks.iter_mut().zip(words) {
            *chunk = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        if let Some(last) = words.last() {
            rest.copy_from_slice(&last.load(Ordering::Relaxed).to_ne_bytes()[..rest.len()]);
        }
    }

    /// Sleeps until somebody wakes the word, unless it is not `expected` any more; or until `timeout` has passed, or
    /// for no reason. Works on read-only memory and between processes (futex(2): waiting only reads the word, and a
    /// word of a shared file is known by the file and the offset in it).
    pub(super) fn wait(&self, offset: usize, expected: u32, timeout: Duration) {
        let timeout = timespec(timeout);
        // Whatever the outcome, the caller looks at the words again.
        let _ = futex::wait(self.word(offset), futex::Flags::empty(), expected, Some(&timeout));
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        let end = offset.checked_add(size_of::<AtomicU32>());
        assert!(end.is_some_and(|end| end <= self.bytes), "the word lies inside the memory");
        assert!(offset.is_multiple_of(align_of::<AtomicU32>()), "the word is aligned");
        // SAFETY: the word lies inside the mapping, which lives as long as `self`, and is aligned, because the mapping
        // starts at a page. No reference to it is made here but to atomics; on a read-only mapping only `load`,
        // `copy_out` and `wait` exist, which do no stores.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    /// The machine words that hold `length` bytes from `offset` on, the last of them perhaps only in part.
    fn words(&self, offset: usize, length: usize) -> &[AtomicUsize] {
        let count = length.div_ceil(WORD);
        let end = count.checked_mul(WORD).and_then(|length| offset.checked_add(length));
        assert!(end.is_some_and(|end| end <= self.bytes), "the words lie inside the memory");
        assert!(offset.is_multiple_of(WORD), "the words are aligned");
        // SAFETY: `count` words from `offset` on lie inside the mapping, which lives as long as `self`, and are
        // aligned. An atomic has the layout of its integer, any bytes are a valid one, and memory that others change
        // may be referred to as atomics.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset).cast::<AtomicUsize>(), count) }
    }
}

impl Mapping<ReadWrite> {
    /// Stores a word (relaxed).
    pub(super) fn store(&self, offset: usize, value: u32) {
        self.word(offset).store(value, Ordering::Relaxed);
    }

    /// Stores a word such that whoever sees it sees everything stored before it (release).
    pub(super) fn publish(&self, offset: usize, value: u32) {
        self.word(offset).store(value, Ordering::Release);
    }

    /// Stores a word and returns what it was before.
    pub(super) fn swap(&self, offset: usize, value: u32) -> u32 {
        self.word(offset).swap(value, Ordering::AcqRel)
    }

    /// Copies bytes to `offset`; where they do not fill the last machine word, zeros follow.
    pub(super) fn copy_in(&self, offset: usize, bytes: &[u8]) {
        let words = self.words(offset, bytes.len());
        let (chunks, rest) = bytes.as_chunks::<WORD>();
        for (word, chunk) in words.iter().zip(chunks) {
            word.store(usize::from_ne_bytes(*chunk), Ordering::Relaxed);
        }
        if let Some(last) = words.get(chunks.len()) {
            let mut padded = [0; WORD];
            padded[..rest.len()].copy_from_slice(rest);
            last.store(usize::from_ne_bytes(padded), Ordering::Relaxed);
        }
    }

    /// Copies bytes that others may change meanwhile to `offset`; what follows in the last machine word is undefined.
    pub(super) fn copy_across(&self, offset: usize, bytes: SharedBytes<'_>) {
        for (word, from) in self.words(offset, bytes.len()).iter().zip(bytes.words()) {
            word.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Wakes everybody, in whatever process, who waits on the word.
    pub(super) fn wake_all(&self, offset: usize) {
        // Fails only where the address is no memory, and ours is.
        let _ = futex::wake(self.word(offset), futex::Flags::empty(), i32::MAX as u32);
    }
}

impl<A> Drop for Mapping<A> {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` mapped; references into it cannot outlive `self`.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "a whole mapping can be unmapped");
    }
}

impl<A> fmt::Debug for Mapping<A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mapping").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
