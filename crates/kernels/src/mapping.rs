//! Memory that holds a file, for reading: the packed weights of an earlier start, used where they lie.

use std::fmt;
use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use crate::floats::Floats;

/// The bytes of a file, mapped read-only, or a copy of some bytes; either begins on a cache line.
pub struct Mapping {
    first: NonNull<u8>,
    bytes: usize,
    /// The memory, where it is no file's.
    copy: Option<Floats>,
}

// SAFETY: nobody writes to the memory while it lives, so that any thread may read it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a whole file. Nobody may change it in place or shorten it while it is mapped: whoever writes such files
    /// writes another one and renames it. All of it is read at once where the kernel can say that the disk does not give a
    /// page (Linux 5.14, madvise(2)); one that it does not give later ends the process, like one of the program.
    ///
    /// # Errors
    /// The file is empty, no regular file, or the system or the disk refuses.
    pub fn of_file(file: &File) -> io::Result<Arc<Self>> {
        let metadata = file.metadata()?;
        let bytes = usize::try_from(metadata.len()).ok().filter(|&bytes| bytes > 0 && metadata.is_file());
        let bytes = bytes.ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: the kernel chooses a place where nothing lies.
        let first = unsafe { mmap(std::ptr::null_mut(), bytes, ProtFlags::READ, MapFlags::PRIVATE, file, 0)? };
        let first = NonNull::new(first.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mapping = Self { first, bytes, copy: None };
        // SAFETY: the memory is this mapping's, and what is in it stays as it is.
        match unsafe { madvise(first.as_ptr().cast(), bytes, Advice::LinuxPopulateRead) } {
            Err(error @ (Errno::FAULT | Errno::IO | Errno::HWPOISON)) => Err(error.into()),
            // An older kernel does not know the advice.
            _ => Ok(Arc::new(mapping)),
        }
    }

    /// A copy of `bytes`, for tests and for what lies in no file.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Arc<Self> {
        let mut copy = Floats::zeroed(bytes.len().div_ceil(size_of::<f32>()));
        copy.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        let first = NonNull::new(copy.as_mut_ptr().cast()).unwrap_or(NonNull::dangling());
        Arc::new(Self { first, bytes: bytes.len(), copy: Some(copy) })
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes lie there for as long as this lives, and nobody writes to them (`of_file`).
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.bytes) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.copy.is_none() {
            // SAFETY: the memory is this mapping's, and nothing borrows it any more. It can only fail for another place.
            let _ = unsafe { munmap(self.first.as_ptr().cast(), self.bytes) };
        }
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("bytes", &self.bytes).field("is_file", &self.copy.is_none()).finish()
    }
}
