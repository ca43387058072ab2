//! `margay camera snap`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use margay_camera::clock::{BootClock, Clock};
use margay_camera::v4l2::{Camera, FormatWish, Shot};
use margay_camera::{Capture, PixelFormat, picture};
use margay_inference::FrameView;
use margay_inference::decode::Decoder;

use super::source::{self, Asked, Given};
use crate::cli::exit::{Code, Failed, OrFail};
use crate::cli::output;

/// How long the frames before the one that is kept may take altogether.
const SETTLING: Duration = Duration::from_secs(10);

/// Take one picture.
///
/// The ending says how: .jpg keeps what the camera encoded, .png is made of the camera's pixels.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  margay camera snap /dev/video0 -o photo.jpg\n          margay camera snap /dev/video0 -o photo.png --width 1280 --height 720\nExit codes: 0 the picture is written; 2 another ending; 8 the camera cannot be opened, or has no format for the ending; 1 the file cannot be written"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    asked: Asked,
    /// The file to write, .jpg or .png; one that is there is replaced
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Frames to let pass first, while the camera finds its exposure
    #[arg(long, value_name = "N", default_value_t = 10)]
    skip: u32,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let format = format_for(&arguments.output).or_fail(Code::Usage)?;
    let (capture, bytes) = match arguments.asked.device() {
        Some(path) => {
            let mut camera = super::open_device(path, &arguments.asked, format).or_fail(Code::Source)?;
            let shot = settled(&mut camera, arguments.skip)?;
            let mut bytes = Vec::new();
            shot.bytes.copy_to(&mut bytes);
            (shot.capture, bytes)
        }
        None => of_source(&arguments.asked, format, arguments.skip)?,
    };
    let (width, height) = (capture.width, capture.height);
    let file = encode(&capture, bytes, format).or_fail(Code::Source)?;
    write(&arguments.output, &file)
        .map_err(|error| anyhow::Error::from(error).context(format!("writing {}", arguments.output.display())))
        .or_fail(Code::Failure)?;
    output::complain(&format!("{} is {width}x{height}, {} bytes", arguments.output.display(), file.len()));
    Ok(())
}

/// The camera's formats that a file of this name can hold.
fn format_for(path: &Path) -> anyhow::Result<FormatWish> {
    match path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("jpg" | "jpeg") => Ok(FormatWish::Mjpeg),
        Some("png") => Ok(FormatWish::Raw),
        _ => anyhow::bail!("{} ends in neither .jpg nor .png", path.display()),
    }
}

/// The first frame after some, or after some time: not every camera is fast.
fn settled(camera: &mut Camera, skip: u32) -> Result<Shot<'_>, Failed> {
    const PATIENCE: Duration = Duration::from_millis(250);
    let end = BootClock.boottime() + SETTLING;
    let mut left = skip;
    while left > 0 && BootClock.boottime() < end {
        left -= u32::from(camera.next(PATIENCE).or_fail(Code::Source)?.is_some());
    }
    // A camera that delivers nothing ends this by its own error.
    while camera.next(PATIENCE).or_fail(Code::Source)?.is_none() {}
    camera.last().ok_or_else(|| Failed::new(Code::Source, anyhow::anyhow!("the camera delivered no frame")))
}

/// The same of a source that is no device.
fn of_source(asked: &Asked, format: FormatWish, skip: u32) -> Result<(Capture, Vec<u8>), Failed> {
    let config = asked.config(format).or_fail(Code::Usage)?;
    let mut source = margay_camera::source::open(&config).or_fail(Code::Source)?;
    let end = BootClock.boottime() + SETTLING;
    let (mut bytes, mut taken) = (Vec::new(), 0);
    loop {
        let given = source::next(source.as_mut(), &mut bytes).or_fail(Code::Source)?;
        let over = BootClock.boottime() >= end;
        match given {
            Given::Frame(capture) if taken >= skip || over => return Ok((capture, bytes)),
            Given::Frame(_) => taken += 1,
            // What does not deliver ends this by its own error, but for a folder without pictures.
            _ if over => return Err(Failed::new(Code::Source, anyhow::anyhow!("the source delivered no frame"))),
            _ => {}
        }
    }
}

/// The picture as a file: what came encoded stays so for a .jpg.
fn encode(capture: &Capture, bytes: Vec<u8>, format: FormatWish) -> anyhow::Result<Vec<u8>> {
    if capture.format == PixelFormat::Jpeg && format == FormatWish::Mjpeg {
        return Ok(bytes);
    }
    anyhow::ensure!(format != FormatWish::Mjpeg, "the source delivers pixels: write a .png");
    let mut decoder = Decoder::new();
    let &Capture { format, width, height, stride, .. } = capture;
    let rgb = decoder.decode(&FrameView { format, width, height, stride, region: None, bytes: &bytes })?;
    let (size, mut file) = (rgb.size(), Vec::new());
    picture::write_png(size.width, size.height, rgb.pixels(), &mut file)?;
    Ok(file)
}

/// Writes the file whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let readable = std::fs::Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().prefix(".snap").permissions(readable).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_what_the_camera_is_asked_for() {
        let wish = |path: &str| format_for(Path::new(path)).ok();
        assert_eq!(wish("a.jpg"), Some(FormatWish::Mjpeg));
        assert_eq!(wish("b/a.JPEG"), Some(FormatWish::Mjpeg));
        assert_eq!(wish("a.PNG"), Some(FormatWish::Raw));
        assert_eq!([wish("a.bmp"), wish("a"), wish("png")], [None; 3]);
    }

    #[test]
    fn a_picture_replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photo.jpg");
        for bytes in [&b"one"[..], b"another"] {
            write(&path, bytes).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write(&folder.path().join("none/photo.jpg"), b"").is_err());
    }
}
