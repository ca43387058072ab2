//! The pictures of one camera, out of its ring, while somebody looks.
//!
//! What is shown is the frame of the newest prediction, so that picture and label belong together; where no prediction
//! comes, the newest frame by itself. A JPEG is passed on as it is.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use margay_camera::ring::RingReader;
use margay_camera::{FrameMeta, PixelFormat};
use margay_inference::FrameView;
use margay_inference::decode::Decoder;
use tokio::sync::watch;

use super::bitmap::bitmap;
use crate::payload::Prediction;

/// Frames are copied for this long after somebody last asked.
const INTEREST: Duration = Duration::from_secs(10);

/// The shortest time between two pictures.
const PACE: Duration = Duration::from_millis(40);

/// A camera whose predictions pause for this long is shown without.
const WITHOUT: Duration = Duration::from_millis(700);

/// A JPEG over this many bytes is not shown.
const MAX_PICTURE: usize = 8 << 20;

/// A frame as a browser gets it.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) frame: u64,
    pub(super) item: u64,
    pub(super) media_type: &'static str,
    pub(super) bytes: Bytes,
    /// What the model made of it, if it is known.
    pub(super) prediction: Option<Arc<Prediction>>,
}

/// The pictures of one camera.
#[derive(Debug)]
pub(super) struct Frames {
    wanted: Mutex<Wanted>,
    changed: Condvar,
    newest: watch::Sender<Option<Arc<Picture>>>,
}

#[derive(Debug, Default)]
struct Wanted {
    ring: Option<Arc<RingReader>>,
    until: Option<Instant>,
    prediction: Option<Arc<Prediction>>,
}

impl Default for Frames {
    fn default() -> Self {
        Self { wanted: Mutex::default(), changed: Condvar::new(), newest: watch::channel(None).0 }
    }
}

impl Frames {
    pub(super) fn take_ring(&self, ring: RingReader) {
        self.wanted().ring = Some(Arc::new(ring));
        self.changed.notify_all();
    }

    pub(super) fn predicted(&self, prediction: Arc<Prediction>) {
        let mut wanted = self.wanted();
        wanted.prediction = Some(prediction);
        if wanted.until.is_some_and(|until| Instant::now() < until) {
            self.changed.notify_all();
        }
    }

    /// The newest picture, as soon as it is another one than that of frame `after`; `None` if none comes within
    /// `patience`.
    pub(super) async fn newer(&self, after: Option<u64>, patience: Duration) -> Option<Arc<Picture>> {
        self.wanted().until = Some(Instant::now() + INTEREST);
        self.changed.notify_all();
        let mut newest = self.newest.subscribe();
        let is_new = |picture: &Option<Arc<Picture>>| picture.as_ref().is_some_and(|p| Some(p.frame) != after);
        let waited = tokio::time::timeout(patience, newest.wait_for(is_new)).await;
        waited.ok()?.ok()?.clone()
    }

    /// The thread that copies frames.
    pub(super) fn follow(&self) {
        let mut decoder = Decoder::new();
        let mut shown_at = Instant::now();
        loop {
            let (ring, prediction) = self.next(shown_at);
            let picture = match &prediction {
                Some(prediction) => show(&ring, prediction.frame, &mut decoder),
                None => ring.head().and_then(|frame| show(&ring, frame, &mut decoder)),
            };
            shown_at = Instant::now();
            if let Some(picture) = picture {
                self.newest.send_replace(Some(Arc::new(Picture { prediction, ..picture })));
            }
            std::thread::sleep(PACE);
        }
    }

    /// Waits until there is something to show: the ring, and the prediction whose frame is to be shown, if there is one.
    fn next(&self, shown_at: Instant) -> (Arc<RingReader>, Option<Arc<Prediction>>) {
        let mut wanted = self.wanted();
        loop {
            let is_wanted = wanted.until.is_some_and(|until| Instant::now() < until);
            let shown = self.shown();
            if is_wanted && let Some(ring) = wanted.ring.clone() {
                match wanted.prediction.take() {
                    Some(prediction) => return (ring, Some(prediction)),
                    None if shown_at.elapsed() > WITHOUT && ring.head() != shown => return (ring, None),
                    None => {}
                }
            }
            let pause = if is_wanted { WITHOUT } else { INTEREST };
            wanted = self.changed.wait_timeout(wanted, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn shown(&self) -> Option<u64> {
        self.newest.borrow().as_ref().map(|picture| picture.frame)
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The picture of `frame`, if the ring still has it and it is one.
fn show(ring: &RingReader, frame: u64, decoder: &mut Decoder) -> Option<Picture> {
    let mut bytes = Vec::new();
    let meta = ring.read_into(frame, &mut bytes).ok()?;
    let (media_type, bytes) = encode(&meta, bytes, decoder)?;
    Some(Picture { frame, item: meta.item, media_type, bytes, prediction: None })
}

fn encode(meta: &FrameMeta, bytes: Vec<u8>, decoder: &mut Decoder) -> Option<(&'static str, Bytes)> {
    if meta.format == PixelFormat::Jpeg {
        let fits = bytes.len() <= MAX_PICTURE && bytes.starts_with(&[0xff, 0xd8]);
        return fits.then(|| ("image/jpeg", bytes.into()));
    }
    let view = decoder.decode(&FrameView::new(meta, &bytes)).ok()?;
    Some(("image/bmp", bitmap(&view)))
}

#[cfg(test)]
mod tests {
    use margay_camera::ring::{RingGeometry, RingWriter, create};
    use margay_camera::{Capture, TimestampSource};

    use super::*;

    fn capture(format: PixelFormat, item: u64) -> Capture {
        let (width, height, stride) = if format == PixelFormat::Jpeg { (0, 0, 0) } else { (2, 2, 2) };
        let timestamp_source = TimestampSource::Replay;
        Capture { captured_ns: 0, timestamp_source, format, width, height, stride, region: None, item }
    }

    #[test]
    fn a_jpeg_is_passed_on_as_it_is_and_raw_pixels_become_a_bitmap() {
        let memory = create(RingGeometry { slots: 4, slot_bytes: 100 }, 7).unwrap();
        let ring = RingReader::map(&memory).unwrap();
        let mut writer = RingWriter::map(&memory).unwrap();
        writer.publish(&capture(PixelFormat::Jpeg, 3), &[0xff, 0xd8, 1]).unwrap();
        writer.publish(&capture(PixelFormat::Gray8, 4), &[9; 4]).unwrap();
        writer.publish(&capture(PixelFormat::Jpeg, 5), b"<html>").unwrap();
        let mut decoder = Decoder::new();
        let jpeg = show(&ring, 7, &mut decoder).unwrap();
        assert_eq!((jpeg.frame, jpeg.item, jpeg.media_type), (7, 3, "image/jpeg"));
        assert_eq!(&jpeg.bytes[..], [0xff, 0xd8, 1]);
        let raw = show(&ring, 8, &mut decoder).unwrap();
        assert_eq!((raw.item, raw.media_type, &raw.bytes[..2]), (4, "image/bmp", b"BM".as_slice()));
        assert!(show(&ring, 9, &mut decoder).is_none(), "what does not begin as a JPEG is none");
        assert!(show(&ring, 10, &mut decoder).is_none(), "there is no such frame yet");
    }
}
