//! Plays a folder of images through a ring, and says for each frame that comes out what it is.
//!
//! ```sh
//! cargo run -p margay-camera --example watch_folder -- path/to/images 10
//! ```
//!
//! Writer and reader are threads here; between two processes the only difference is that the descriptor travels.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is what the example is for")]

use std::error::Error;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use margay_camera::ring::{self, EndReason, ReadError, RingGeometry, RingReader, RingWriter, Wait};
use margay_camera::source::{self, FolderOrder, FolderSource, FrameSource, Next, SourceConfig};

/// How long either side waits before it looks around.
const PATIENCE: Duration = Duration::from_millis(500);

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match play() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn play() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("name a folder of images, and perhaps how many a second")?;
    let frames_per_second = arguments.next().map_or(Ok(5.0), |rate| rate.parse())?;
    let order = FolderOrder::Natural;
    let config = SourceConfig::Folder(FolderSource {
        path: path.into(),
        frames_per_second,
        repeat: false,
        order,
        pattern: None,
    });

    let source = source::open(&config)?;
    let memory = ring::create(RingGeometry { slots: 8, slot_bytes: config.slot_bytes() }, 0)?;
    let writer = RingWriter::map(&memory)?;
    let reader = RingReader::map(ring::seal_against_new_writers(&memory)?)?;
    thread::scope(|scope| {
        let writing = scope.spawn(|| write(source, writer));
        read(&reader)?;
        writing.join().map_err(|_| "the writer panicked")?
    })
}

fn write(mut source: Box<dyn FrameSource>, mut writer: RingWriter) -> Outcome {
    let mut bytes = Vec::new();
    loop {
        match source.next(PATIENCE, &mut bytes)? {
            Next::Frame(capture) => {
                writer.publish(&capture, &bytes)?;
            }
            Next::Skipped { item, why } => println!("item {item} skipped: {why}"),
            Next::Idle => {}
            Next::End => {
                writer.close(EndReason::SourceEnded);
                return Ok(());
            }
        }
    }
}

fn read(reader: &RingReader) -> Outcome {
    let (mut bytes, mut next) = (Vec::new(), reader.first());
    loop {
        match reader.read_into(next, &mut bytes) {
            Ok(meta) => println!("{meta:?}"),
            Err(ReadError::NotYet { .. }) => match reader.wait_newer(next.checked_sub(1), PATIENCE) {
                Wait::Closed(reason) => {
                    println!("no more frames: {reason:?}");
                    return Ok(());
                }
                Wait::Frame(_) | Wait::TimedOut => continue,
            },
            Err(lost) => println!("{lost}"),
        }
        next += 1;
    }
}
