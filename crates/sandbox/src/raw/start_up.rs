//! Memory that a process needed to start, and not to go on.

use std::ffi::CStr;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::slice;

use libc::{PF_W, PT_LOAD};

#[cfg(target_pointer_width = "64")]
type Header = libc::Elf64_Phdr;
#[cfg(target_pointer_width = "32")]
type Header = libc::Elf32_Phdr;

/// In an entry of `/proc/self/pagemap`: the page is there, and is the file's own.
const PRESENT: u64 = 1 << 63;
const OF_FILE: u64 = 1 << 61;

/// Bytes of an entry of `/proc/self/pagemap`.
const ENTRY: usize = size_of::<u64>();

/// Lets go of code and constants that are mapped from files, and of free pages inside the heap.
///
/// What is used again comes back from the page cache, sixteen pages at a time, without a word. Pages that anybody has
/// written to are not touched.
pub(crate) fn release() {
    StartUpMemory::look().release();
}

/// The memory to be let go of, for a process that is about to give up opening files.
pub(crate) struct StartUpMemory {
    /// Which pages were written to; not there for a process that may not look at itself.
    map: Option<File>,
}

impl StartUpMemory {
    /// Opens what tells the pages apart.
    pub fn look() -> Self {
        Self { map: File::open("/proc/self/pagemap").ok() }
    }

    /// Does what [`release`] does.
    pub fn release(self) {
        // First, because it goes through pages of the C library.
        #[cfg(target_env = "gnu")]
        // SAFETY: it has no conditions, and takes the allocator's own locks.
        unsafe {
            libc::malloc_trim(0);
        }
        // SAFETY: it only asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        if let Ok(page @ 1..) = usize::try_from(page) {
            let mut release = Release { page, map: self.map };
            // SAFETY: the callback is given this value's address for as long as the call lasts, and nothing else uses it.
            unsafe { libc::dl_iterate_phdr(Some(release_object), (&raw mut release).cast()) };
        }
    }
}

/// What the loader's list is gone through with.
struct Release {
    /// Bytes of a page.
    page: usize,
    /// Which pages were written to; not there for a process that may not look at itself.
    map: Option<File>,
}

unsafe extern "C" fn release_object(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: dl_iterate_phdr passes the pointer that release gave it, and a valid description, whose headers lie in
    // memory for as long as the object does: until this returns, because the loader's lock is held.
    let (release, info, headers) = unsafe {
        let info = &*info;
        let headers = slice::from_raw_parts(info.dlpi_phdr.cast::<Header>(), usize::from(info.dlpi_phnum));
        (&*data.cast::<Release>(), info, headers)
    };
    let is_program = info.dlpi_name.is_null() || {
        // SAFETY: a zero-terminated string that belongs to the loader and lives as long as the library.
        unsafe { CStr::from_ptr(info.dlpi_name) }.is_empty()
    };
    for header in headers.iter().filter(|header| header.p_type == PT_LOAD && header.p_flags & PF_W == 0) {
        let begin = info.dlpi_addr as usize + header.p_vaddr as usize;
        // Whole pages of this segment only.
        let pages = begin.div_ceil(release.page)..(begin + header.p_filesz as usize) / release.page;
        release.segment(pages, is_program);
    }
    0
}

impl Release {
    /// Lets go of a constant segment of an object, given as pages of the address space.
    fn segment(&self, pages: Range<usize>, is_program: bool) {
        match self.entries(&pages) {
            Some(entries) => {
                let from_file = |entry: &u64| *entry & (PRESENT | OF_FILE) == PRESENT | OF_FILE;
                let mut first = pages.start;
                for run in entries.chunk_by(|one, next| from_file(one) == from_file(next)) {
                    if from_file(&run[0]) {
                        self.drop_pages(first..first + run.len());
                    }
                    first += run.len();
                }
            }
            // This program never writes to its code, and its linker refuses relocations in it; of a library nobody knows.
            None if is_program => self.drop_pages(pages),
            None => {}
        }
    }

    /// An entry of the kernel's map for each page.
    fn entries(&self, pages: &Range<usize>) -> Option<Vec<u64>> {
        let mut bytes = vec![0; pages.len() * ENTRY];
        self.map.as_ref()?.read_exact_at(&mut bytes, (pages.start * ENTRY) as u64).ok()?;
        Some(bytes.as_chunks().0.iter().map(|entry| u64::from_ne_bytes(*entry)).collect())
    }

    fn drop_pages(&self, pages: Range<usize>) {
        let (start, length) = (pages.start * self.page, pages.len() * self.page);
        // SAFETY: the pages belong to a segment that may not be written to, and hold what its file holds, so that they
        // read the same when they are mapped again. The loader's lock keeps the segment where it is. Failing changes
        // nothing.
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// KiB of this process's pages that are mapped from files, and of those that it wrote to.
    fn resident() -> (u64, u64) {
        let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let field = |name: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        (field("Rss:") - field("Anonymous:"), field("Anonymous:"))
    }

    static CONSTANTS: [u8; 1 << 20] = [7; 1 << 20];

    static TABLE: [&str; 3] = ["relocated", "by the", "loader"];

    /// In one test, because what one lets go of would be missed by another.
    #[test]
    fn what_is_constant_and_what_is_free_leaves_memory_and_nothing_else_changes() {
        let sum = || std::hint::black_box(&CONSTANTS).iter().map(|&byte| u64::from(byte)).sum::<u64>();
        // Smaller than what the allocator maps by itself, and with something alive between the free ones.
        let mut pieces: Vec<Vec<u8>> = (0..2048_u32).map(|number| vec![number as u8; 16 << 10]).collect();
        let mut number = 0;
        pieces.retain(|_| {
            number += 1;
            number % 64 == 0
        });
        let before = sum();
        let (mapped, written) = resident();
        release();
        let (mapped_after, written_after) = resident();
        assert!(mapped_after + 1024 <= mapped, "{mapped} KiB became {mapped_after} KiB; 1024 are constants");
        if cfg!(target_env = "gnu") {
            assert!(written_after + 24_000 <= written, "{written} KiB became {written_after} KiB; 32,256 were free");
        }
        assert_eq!(sum(), before);
        assert_eq!(std::hint::black_box(&TABLE).concat(), "relocatedby theloader");
        assert!(pieces.iter().enumerate().all(|(at, piece)| piece.iter().all(|&byte| byte == (at * 64 + 63) as u8)));
    }
}
