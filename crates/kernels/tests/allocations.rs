//! How often the front-end asks for memory: once its buffers have grown, never for a raw frame, and a constant number of
//! times for a JPEG. The test stands here because a counting allocator takes `unsafe`, which the front-end forbids.
#![allow(unsafe_code, reason = "an allocator is unsafe to implement; this one passes everything on")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use margay_frontend::{Decoder, FrameView, InputSpec, PixelFormat, Preparer};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts what each thread asks for.
struct Counting;

// SAFETY: every call goes to the system's allocator as it came; the counter is a plain cell that allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of each of a few frames, after two that fill the buffers.
fn counts(frame: &FrameView<'_>) -> Vec<usize> {
    let mut decoder = Decoder::new();
    let mut preparer = Preparer::new(&InputSpec::imagenet(64));
    let mut one = || {
        let before = ALLOCATIONS.get();
        let need = preparer.need();
        preparer.prepare(decoder.open(frame, &need).unwrap()).unwrap();
        ALLOCATIONS.get() - before
    };
    let first = [one(), one()];
    assert!(first[0] > 0, "the counter counts");
    (0..5).map(|_| one()).collect()
}

#[test]
fn raw_frames_take_no_memory_once_the_buffers_have_grown() {
    let bytes: Vec<u8> = (0..320 * 240 * 3).map(|n| (n * 7 % 251) as u8).collect();
    for format in PixelFormat::ALL.into_iter().filter(|&format| format != PixelFormat::Jpeg) {
        let stride = format.smallest_stride(320) as u32;
        let frame = FrameView { format, width: 320, height: 240, stride, region: None, bytes: &bytes };
        assert_eq!(counts(&frame), [0; 5], "{format:?}");
    }
}

#[test]
fn jpegs_take_memory_a_constant_number_of_times() {
    for (name, file) in [
        ("baseline", include_bytes!("../../frontend/tests/front_end/corpus/baseline-420.jpg").as_slice()),
        ("turned", include_bytes!("../../frontend/tests/front_end/corpus/exif-quarter.jpg")),
        ("progressive", include_bytes!("../../frontend/tests/front_end/corpus/progressive.jpg")),
    ] {
        let counts = counts(&FrameView::jpeg(file));
        println!("{name}: {counts:?}");
        assert_eq!(counts, [counts[0]; 5], "{name}");
        assert!(name == "progressive" || counts[0] <= 1, "{name}: the header's place and nothing else, {counts:?}");
    }
}
