//! The worker goes on without the core: what it accounts for waits in the socket.

use std::os::fd::AsFd;
use std::sync::mpsc;

use margay_camera::ring::{self, RingGeometry, RingWriter};
use margay_camera::{Capture, PixelFormat, TimestampSource};
use margay_inference::{Engine, EngineError, InputSpec, InputTensor, Labels, ModelSpec, OutputSpec};

use super::*;
use crate::clock::SystemClock;
use crate::ipc::{self, CoreChannel};

/// No test waits longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells of each frame that it gets.
#[derive(Debug)]
struct Herald(mpsc::Sender<()>);

impl Engine for Herald {
    fn name(&self) -> &str {
        "herald"
    }

    fn outputs(&self) -> usize {
        2
    }

    fn run(&mut self, _input: &InputTensor, output: &mut Vec<f32>) -> Result<(), EngineError> {
        *output = vec![1.0, 0.0];
        let _ = self.0.send(());
        Ok(())
    }
}

/// Serves on `channel` with thumbnails of at most `limit` bytes until the core hangs up.
fn serve(channel: &WorkerChannel, heard: mpsc::Sender<()>, limit: usize) {
    let spec = ModelSpec { input: InputSpec::imagenet(8), output: OutputSpec::logits() };
    let labels = Labels::new(["cat", "dog"]).unwrap();
    let mut server = Server {
        channel,
        clock: &SystemClock::new(),
        pipeline: Pipeline::with_engine(Box::new(Herald(heard)), &spec, labels).unwrap(),
        classes: 2,
        threshold: 0.5,
        thumbnailer: Some(Thumbnailer::new(32, limit)),
        rings: VecDeque::new(),
        next: None,
        last: u64::MAX,
        bytes: Vec::new(),
        glance: Glance::new(Shades { dark_below: 20, bright_above: 245 }),
    };
    // The core may hang up while the worker is still telling something.
    let ended = server.serve();
    assert!(matches!(ended, Ok(()) | Err(InferenceWorkerError::Channel(_))), "{ended:?}");
}

/// A ring whose writer is here, and its memory for the worker.
fn ring() -> (RingWriter, std::os::fd::OwnedFd) {
    let memory = ring::create(RingGeometry { slots: 4, slot_bytes: 64 * 1024 }, 0).unwrap();
    (RingWriter::map(&memory).unwrap(), memory)
}

fn publish(writer: &mut RingWriter, item: u64) {
    let (width, height) = (64, 48);
    let capture = Capture {
        captured_ns: 0,
        timestamp_source: TimestampSource::Arrival,
        format: PixelFormat::Rgb24,
        width,
        height,
        stride: width * 3,
        region: None,
        item,
    };
    let pixels = vec![7_u8; (width * height * 3) as usize];
    writer.publish(&capture, pixels.as_slice()).unwrap();
}

/// The next account; looks at frames come between.
async fn account(core: &CoreChannel) -> Account {
    loop {
        match core.receive::<FromInference>().await.unwrap().expect("an account").message {
            FromInference::Accounted(account) => return account,
            FromInference::Looked(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn frames_are_classified_while_the_core_reads_nothing() {
    const FRAMES: u64 = 32;
    let (ours, theirs) = ipc::pair().unwrap();
    let core = CoreChannel::new(ours, "worker").unwrap();
    let (herald, heard) = mpsc::channel();
    let worker = std::thread::spawn(move || serve(&WorkerChannel::new(theirs), herald, 24 * 1024));
    let (mut writer, memory) = ring();
    core.send(&ToInference::Ring, &[memory.as_fd()]).await.unwrap();
    core.send(&ToInference::ServeFrom { frame: 0 }, &[]).await.unwrap();
    for item in 0..FRAMES {
        publish(&mut writer, item);
        // The engine has had the frame before the next one comes; nobody has read an account.
        heard.recv_timeout(PATIENCE).expect("the engine gets every frame");
    }
    for frame in 0..FRAMES {
        let Account { from, through, outcome } = account(&core).await;
        assert_eq!((from, through), (frame, frame));
        let Outcome::Inferred(inferred) = outcome else { panic!("it was classified: {outcome:?}") };
        assert_eq!((inferred.item, inferred.predictions.len(), inferred.threshold), (frame, 2, 0.5));
        let thumbnail = inferred.thumbnail.expect("a thumbnail");
        assert_eq!((thumbnail.width, thumbnail.height), (32, 24));
    }
    drop(core);
    worker.join().unwrap();
}

#[tokio::test]
async fn a_thumbnail_that_cannot_be_made_costs_no_prediction() {
    let (ours, theirs) = ipc::pair().unwrap();
    let core = CoreChannel::new(ours, "worker").unwrap();
    let (herald, _heard) = mpsc::channel();
    let worker = std::thread::spawn(move || serve(&WorkerChannel::new(theirs), herald, 10));
    let (mut writer, memory) = ring();
    core.send(&ToInference::Ring, &[memory.as_fd()]).await.unwrap();
    core.send(&ToInference::ServeFrom { frame: 0 }, &[]).await.unwrap();
    publish(&mut writer, 0);
    let Account { outcome: Outcome::Inferred(inferred), .. } = account(&core).await else {
        panic!("it was classified")
    };
    assert_eq!((inferred.thumbnail, inferred.predictions.len()), (None, 2));
    drop(core);
    worker.join().unwrap();
}
