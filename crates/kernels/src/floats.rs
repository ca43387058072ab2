//! Floats on cache lines, and many of them on large pages.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::layout::LANES;

/// Bytes of a cache line, on which all begin.
const LINE: usize = LANES * size_of::<f32>();

/// Bytes of a large page with pages of 4 KiB. Memory of as much, or more, begins on one and has the kernel use them: weights of
/// 100 MiB are 25,000 small pages, more than the processor keeps the places of.
const LARGE_PAGE: usize = 2 << 20;

/// Floats that begin on a cache line, zero at first.
pub(crate) struct Floats {
    first: NonNull<f32>,
    count: usize,
}

// SAFETY: the memory is this value's alone.
unsafe impl Send for Floats {}
// SAFETY: as above.
unsafe impl Sync for Floats {}

impl Floats {
    /// At least `count` floats: whole cache lines. Many take no memory before they are written.
    pub(crate) fn zeroed(count: usize) -> Self {
        let count = count.next_multiple_of(LANES);
        let Some(layout) = layout(count) else { return Self { first: NonNull::dangling(), count: 0 } };
        let first = if layout.align() == LARGE_PAGE {
            map(layout)
        } else {
            // SAFETY: the layout has a size.
            NonNull::new(unsafe { alloc_zeroed(layout) })
        };
        let Some(first) = first else { handle_alloc_error(layout) };
        Self { first: first.cast(), count }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Its place in memory, for a checked run: the address of the first float, and how many there are.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.as_ptr().addr(), self.len())
    }

    pub(crate) fn fill(&mut self, value: f32) {
        self.as_mut_slice().fill(value);
    }

    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.first.as_ptr()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.first.as_ptr()
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: so many floats lie there for as long as this lives.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        // SAFETY: floats are bytes without gaps.
        unsafe { std::slice::from_raw_parts(self.as_ptr().cast(), size_of::<f32>() * self.len()) }
    }

    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8] {
        let length = size_of::<f32>() * self.len();
        // SAFETY: as above, any bytes are floats, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr().cast(), length) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        let length = self.len();
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), length) }
    }
}

/// The memory of so many floats; nothing for none.
fn layout(count: usize) -> Option<Layout> {
    let bytes = count.checked_mul(size_of::<f32>()).filter(|&bytes| bytes > 0)?;
    let is_mapped = cfg!(not(miri)) && bytes >= LARGE_PAGE;
    Layout::from_size_align(bytes, if is_mapped { LARGE_PAGE } else { LINE }).ok()
}

/// Bytes that are mapped for it: the rest behind it is never touched.
fn mapped(layout: Layout) -> usize {
    layout.size().next_multiple_of(LARGE_PAGE)
}

/// Memory from the kernel, which begins on a large page. Nothing where it gives none.
fn map(layout: Layout) -> Option<NonNull<u8>> {
    let (bytes, protection) = (mapped(layout), ProtFlags::READ | ProtFlags::WRITE);
    // SAFETY: the kernel chooses a place where nothing lies.
    let found =
        unsafe { mmap_anonymous(std::ptr::null_mut(), bytes + LARGE_PAGE, protection, MapFlags::PRIVATE) }.ok()?;
    let found = found.cast::<u8>();
    let before = found.align_offset(LARGE_PAGE);
    // SAFETY: what is given back, and what is advised, is a part of the memory that was just mapped. Advice that the kernel
    // does not know, or may not follow, changes nothing, and it takes no more memory: large pages lie in the memory whole.
    unsafe {
        let first = found.add(before);
        unmap(found, before);
        unmap(first.add(bytes), LARGE_PAGE - before);
        let _ = madvise(first.cast(), layout.size() / LARGE_PAGE * LARGE_PAGE, Advice::LinuxHugepage);
        NonNull::new(first)
    }
}

/// Gives whole pages back.
///
/// # Safety
/// They were mapped by this module, and nothing uses them any more.
unsafe fn unmap(first: *mut u8, bytes: usize) {
    if bytes > 0 {
        // SAFETY: the caller's promise. It can only fail for another place.
        let _ = unsafe { munmap(first.cast(), bytes) };
    }
}

impl Drop for Floats {
    fn drop(&mut self) {
        let Some(layout) = layout(self.count) else { return };
        let first = self.first.as_ptr().cast::<u8>();
        // SAFETY: it was taken with this layout, and nothing borrows it any more.
        unsafe {
            if layout.align() == LARGE_PAGE {
                unmap(first, mapped(layout));
            } else {
                dealloc(first, layout);
            }
        }
    }
}

impl Default for Floats {
    fn default() -> Self {
        Self::zeroed(0)
    }
}

impl fmt::Debug for Floats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Floats").field("count", &self.count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "megabytes, one float after the other, and none of them mapped")]
    fn floats_of_any_number_begin_on_a_line_and_are_zeros() {
        for count in
            [0, 1, LANES, 1000, LARGE_PAGE / size_of::<f32>(), (LARGE_PAGE + LARGE_PAGE / 2) / size_of::<f32>()]
        {
            let mut floats = Floats::zeroed(count);
            assert_eq!(floats.len(), count.next_multiple_of(LANES));
            assert!(floats.as_ptr().addr().is_multiple_of(size_of::<f32>()));
            assert!(count == 0 || floats.as_ptr().addr().is_multiple_of(LINE), "{count}");
            assert!(floats.as_slice().iter().all(|&float| float.to_bits() == 0));
            floats.fill(1.5);
            assert_eq!(floats.as_bytes().len(), 4 * floats.len());
            assert!(floats.as_slice().iter().all(|&float| float == 1.5));
        }
    }
}
