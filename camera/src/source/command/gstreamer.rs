//! A GStreamer pipeline, run by `gst-launch-1.0`: for a Jetson's CSI cameras, and for whatever else has a plugin.
//!
//! The frames come through a descriptor of their own: `nvarguscamerasrc` prints to standard output.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::child::{FRAMES_FD, Frames};
use super::error::CommandError;
use super::{Order, RawShape, find, raw_shape, words};
use crate::format::PixelFormat;
use crate::v4l2::FormatWish;

pub(super) const PROGRAMS: &[&str] = &["gst-launch-1.0"];
pub(super) const HOW: &str = "apt install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good";

/// GStreamer pads rows to four bytes; at multiples of eight pixels no format has any padding.
const ALIGNMENT: u32 = 8;

/// A pipeline of GStreamer that ends in pictures of one format and size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GstreamerSource {
    /// The program; by default `gst-launch-1.0`.
    #[serde(default)]
    pub program: Option<PathBuf>,
    /// The pipeline in gst-launch's words, without a sink: what follows on it is added here.
    pub pipeline: String,
    /// What the pipeline ends in: `mjpeg`, or a raw format, which is then demanded of its last element. `auto` and `raw`
    /// are `nv12`.
    #[serde(default)]
    pub format: FormatWish,
    /// Width in pixels; for `mjpeg` the pictures say.
    pub width: u32,
    /// Height in pixels; for `mjpeg` the pictures say.
    pub height: u32,
    /// Frames a second that are taken of those that come.
    pub frames_per_second: f64,
}

/// The pipeline for camera `sensor` of a Jetson. Argus takes the sensor's mode for 1920 × 1080 at 30 frames a second,
/// which every supported sensor has; the picture is scaled by the hardware.
#[must_use]
pub fn jetson_pipeline(sensor: u32, width: u32, height: u32) -> String {
    format!(
        "nvarguscamerasrc sensor-id={sensor} ! \
         video/x-raw(memory:NVMM),width=1920,height=1080,framerate=30/1 ! \
         nvvidconv ! video/x-raw,format=NV12,width={width},height={height}"
    )
}

impl GstreamerSource {
    /// Checks what is asked for, whether the program is installed or not.
    ///
    /// # Errors
    /// [`CommandError::Padded`] and [`CommandError::Text`].
    pub fn check(&self) -> Result<(), CommandError> {
        asked(self).map(drop)
    }

    /// Where the program is.
    ///
    /// # Errors
    /// [`CommandError::NotInstalled`].
    pub fn find_program(&self) -> Result<PathBuf, CommandError> {
        find(self.program.as_deref(), PROGRAMS, "gst-launch-1.0", HOW)
    }
}

pub(super) fn order(config: &GstreamerSource) -> Result<Order, CommandError> {
    let (arguments, raw) = asked(config)?;
    let (program, rate) = (config.find_program()?, config.frames_per_second);
    Ok(Order { program, arguments, output: Frames::Apart, raw, rate })
}

/// The program's arguments, and the shape of raw images.
fn asked(config: &GstreamerSource) -> Result<(Vec<OsString>, Option<RawShape>), CommandError> {
    let &GstreamerSource { width, height, .. } = config;
    let mut arguments = words("the pipeline", &config.pipeline)?;
    if arguments.is_empty() {
        let rule = "has no element: write for example videotestsrc is-live=true";
        return Err(CommandError::Text { what: "the pipeline", text: String::new(), rule });
    }
    let raw = match caps_name(config.format) {
        None => None,
        Some((format, name)) => {
            let shape = raw_shape(format, width, height, ALIGNMENT)?;
            // As an element: a pipeline may end in capabilities itself, on which no others can follow.
            let caps = format!("caps=video/x-raw,format={name},width={width},height={height}");
            arguments.extend(["!".to_owned(), "capsfilter".to_owned(), caps]);
            Some(shape)
        }
    };
    let sink = format!("! fdsink fd={FRAMES_FD} sync=false");
    arguments.extend(sink.split(' ').map(str::to_owned));
    Ok((["--quiet".to_owned()].into_iter().chain(arguments).map(OsString::from).collect(), raw))
}

/// A raw format and GStreamer's name for it; `None`: JPEG.
fn caps_name(wish: FormatWish) -> Option<(PixelFormat, &'static str)> {
    Some(match wish {
        FormatWish::Mjpeg => return None,
        FormatWish::Auto | FormatWish::Raw | FormatWish::Nv12 => (PixelFormat::Nv12, "NV12"),
        FormatWish::Yuyv => (PixelFormat::Yuyv, "YUY2"),
        FormatWish::Uyvy => (PixelFormat::Uyvy, "UYVY"),
        FormatWish::Rgb24 => (PixelFormat::Rgb24, "RGB"),
        FormatWish::Grey => (PixelFormat::Gray8, "GRAY8"),
        FormatWish::Nv21 => (PixelFormat::Nv21, "NV21"),
        FormatWish::Yuv420 => (PixelFormat::Yuv420, "I420"),
        FormatWish::Bgr24 => (PixelFormat::Bgr24, "BGR"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pipeline: &str, format: FormatWish) -> GstreamerSource {
        GstreamerSource {
            program: Some("/usr/bin/gst-launch-1.0".into()),
            pipeline: pipeline.to_owned(),
            format,
            width: 640,
            height: 480,
            frames_per_second: 30.0,
        }
    }

    #[test]
    fn format_and_sink_are_added_to_the_pipeline() {
        let shown = |config: &GstreamerSource| {
            let arguments = order(config).unwrap().arguments;
            arguments.join(std::ffi::OsStr::new(" ")).into_string().unwrap()
        };
        assert_eq!(
            shown(&config("videotestsrc ! jpegenc", FormatWish::Mjpeg)),
            "--quiet videotestsrc ! jpegenc ! fdsink fd=3 sync=false"
        );
        assert_eq!(
            shown(&config(&jetson_pipeline(1, 640, 480), FormatWish::Auto)),
            "--quiet nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1920,height=1080,framerate=30/1 ! \
             nvvidconv ! video/x-raw,format=NV12,width=640,height=480 ! \
             capsfilter caps=video/x-raw,format=NV12,width=640,height=480 ! fdsink fd=3 sync=false"
        );
    }

    #[test]
    fn pipelines_that_cannot_be_meant_are_refused() {
        for (config, expected) in [
            (config(" ", FormatWish::Auto), "has no element"),
            (config("videotestsrc pattern=\"ball", FormatWish::Auto), "a quote that is not closed"),
            (GstreamerSource { width: 641, ..config("videotestsrc", FormatWish::Auto) }, "a multiple of 8"),
        ] {
            let error = order(&config).unwrap_err();
            assert!(error.to_string().contains(expected) && !error.is_retryable(), "{error}");
        }
    }
}
