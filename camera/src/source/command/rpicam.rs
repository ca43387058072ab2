//! `rpicam-vid` of Raspberry Pi's camera applications (`libcamera-vid` before 2023) for cameras on the CSI connector.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::child::Frames;
use super::error::CommandError;
use super::{Order, RawShape, find, raw_shape};
use crate::format::PixelFormat;
use crate::v4l2::FormatWish;

pub(super) const PROGRAMS: &[&str] = &["rpicam-vid", "libcamera-vid"];
pub(super) const HOW: &str = "apt install rpicam-apps-lite (libcamera-apps-lite before Debian 12)";

/// Raspberry Pi's processors align rows of raw images to so many pixels, and the program writes them as they are.
const ALIGNMENT: u32 = 64;

/// A camera on a Raspberry Pi's CSI connector, by `rpicam-vid`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RpicamSource {
    /// The program; by default `rpicam-vid` or `libcamera-vid`, whichever is installed.
    #[serde(default)]
    pub program: Option<PathBuf>,
    /// Which camera, as `rpicam-hello --list-cameras` counts them.
    #[serde(default)]
    pub camera: u32,
    /// `auto`, `yuv420` (also `raw`) or `mjpeg`. `auto` is `yuv420`, which is neither encoded nor decoded, where the
    /// width is a multiple of 64 and the height even; otherwise `mjpeg`.
    #[serde(default)]
    pub format: FormatWish,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames a second.
    pub frames_per_second: f64,
    /// More options of the program, such as `--hflip`.
    #[serde(default)]
    pub arguments: Vec<String>,
}

impl RpicamSource {
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
        find(self.program.as_deref(), PROGRAMS, "rpicam-vid (or libcamera-vid)", HOW)
    }
}

pub(super) fn order(config: &RpicamSource) -> Result<Order, CommandError> {
    let (arguments, raw) = asked(config)?;
    let (program, rate) = (config.find_program()?, config.frames_per_second);
    Ok(Order { program, arguments, output: Frames::StandardOutput, raw, rate })
}

/// The program's options, and the shape of raw images.
fn asked(config: &RpicamSource) -> Result<(Vec<OsString>, Option<RawShape>), CommandError> {
    let &RpicamSource { camera, format, width, height, frames_per_second: rate, .. } = config;
    let raw = raw_shape(PixelFormat::Yuv420, width, height, ALIGNMENT);
    let raw = match format {
        FormatWish::Mjpeg => None,
        FormatWish::Auto => raw.ok(),
        FormatWish::Raw | FormatWish::Yuv420 => Some(raw?),
        other => {
            let rule = "is no format of rpicam-vid that is read here: write auto, yuv420 or mjpeg";
            return Err(CommandError::Text { what: "the format", text: other.name().to_owned(), rule });
        }
    };
    let codec = if raw.is_some() { "yuv420" } else { "mjpeg" };
    let fixed = format!(
        "--nopreview --timeout 0 --flush --camera {camera} --width {width} --height {height} --framerate {rate} \
         --codec {codec} --output -"
    );
    let arguments = fixed.split(' ').map(OsString::from).chain(config.arguments.iter().map(OsString::from)).collect();
    Ok((arguments, raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(format: FormatWish, width: u32) -> RpicamSource {
        RpicamSource {
            program: Some("/opt/rpicam-vid".into()),
            camera: 1,
            format,
            width,
            height: 480,
            frames_per_second: 7.5,
            arguments: vec!["--hflip".to_owned()],
        }
    }

    #[test]
    fn the_program_is_asked_for_what_the_settings_say() {
        let order = order(&config(FormatWish::Auto, 640)).unwrap();
        assert_eq!(
            order.arguments.join(std::ffi::OsStr::new(" ")),
            "--nopreview --timeout 0 --flush --camera 1 --width 640 --height 480 --framerate 7.5 --codec yuv420 \
             --output - --hflip"
        );
        assert_eq!(order.raw.unwrap().bytes, 640 * 480 * 3 / 2);
    }

    #[test]
    fn widths_with_padding_are_encoded_or_refused() {
        assert_eq!(order(&config(FormatWish::Auto, 648)).unwrap().raw, None);
        let error = order(&config(FormatWish::Yuv420, 648)).unwrap_err();
        assert!(error.to_string().contains("a multiple of 64"), "{error}");
        let error = order(&config(FormatWish::Nv12, 640)).unwrap_err();
        assert!(error.to_string().contains("\"nv12\" is no format of rpicam-vid"), "{error}");
    }
}
