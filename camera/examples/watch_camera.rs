//! Streams from a camera and prints a line for each frame, until it is unplugged or enough have come.
//!
//! ```sh
//! cargo run -p margay-camera --example watch_camera -- /dev/video0 100
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is what the example is for")]

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use margay_camera::clock::BootClock;
use margay_camera::v4l2::{Camera, FormatWish, Wish};

fn main() -> ExitCode {
    match watch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn watch() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("name a camera, and perhaps how many frames to take")?;
    let frames: u64 = arguments.next().map_or(Ok(u64::MAX), |count| count.parse())?;

    let wish = Wish { format: FormatWish::Auto, width: 640, height: 480, frames_per_second: 30.0 };
    let mut camera = Camera::open(path.as_ref(), &wish, Arc::new(BootClock))?;
    println!("{:?}", camera.negotiated());
    let mut taken = 0;
    while taken < frames {
        // Nothing for a while is no error yet; a camera that stalls, or is unplugged, becomes one.
        if let Some(shot) = camera.next(Duration::from_secs(1))? {
            println!("{:?}, {} bytes", shot.capture, shot.bytes.len());
            taken += 1;
        }
    }
    println!("{:?}", camera.lost());
    Ok(())
}
