//! What a source is asked to be, as it stands in a document: `{"kind": "folder", "path": …}`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::command::{GstreamerSource, RpicamSource};
use super::glob::NamePattern;
use super::http::HttpSource;
use super::limits::MOST_ITEM_BYTES;
use crate::format::PixelFormat;
use crate::v4l2::{Adjustments, FormatWish};

/// A source and its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SourceConfig {
    /// Images in a folder.
    Folder(FolderSource),
    /// Pictures in a Motion-JPEG file.
    MjpegFile(MjpegFileSource),
    /// A drawn picture with a counter.
    TestPattern(TestPatternSource),
    /// A camera.
    V4l2(V4l2Source),
    /// A camera of a Raspberry Pi's CSI connector.
    Rpicam(RpicamSource),
    /// A pipeline of GStreamer.
    Gstreamer(GstreamerSource),
    /// A camera of the network.
    HttpMjpeg(HttpSource),
}

/// JPEG, PNG and BMP files in a folder (not in folders within it), by their names' endings; hidden files are left out. A
/// path that leads to such a file is taken for a folder with this one.
///
/// Whoever adds files while the folder is played should write them under another ending and rename them. One that is
/// caught being written is skipped; a JPEG that is overwritten in place by another of the same length is noticed by its
/// time of change only, which some file systems keep to 10 ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderSource {
    /// The folder.
    pub path: PathBuf,
    /// Frames a second, above 0 and at most [`super::MOST_FRAMES_PER_SECOND`].
    pub frames_per_second: f64,
    /// Whether to begin again after the last file. The folder is listed anew each time, and may be empty meanwhile.
    #[serde(default)]
    pub repeat: bool,
    /// In which order the files come.
    #[serde(default)]
    pub order: FolderOrder,
    /// Which files: those whose names it stands for, of those that are images; by default all.
    #[serde(default)]
    pub pattern: Option<NamePattern>,
}

/// In which order the files of a folder come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FolderOrder {
    /// By name, numbers in it by value: `frame2.jpg` before `frame10.jpg`.
    #[default]
    Natural,
    /// By the time of the last change, the oldest first; by name where the times are the same.
    Modified,
    /// As if by chance, the same each time for the same number, in another order after each repetition.
    Shuffled {
        /// The number.
        seed: u64,
    },
}

/// JPEG pictures one after the other in a file, as `ffmpeg -f mjpeg` and many cameras write them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MjpegFileSource {
    /// The file.
    pub path: PathBuf,
    /// Frames a second, above 0 and at most [`super::MOST_FRAMES_PER_SECOND`].
    pub frames_per_second: f64,
    /// Whether to begin again after the last picture.
    #[serde(default)]
    pub repeat: bool,
    /// As if by chance, the same each time for this number, in another order after each repetition; by default as they lie
    /// in the file. Pictures that are damaged are left out.
    #[serde(default)]
    pub shuffled: Option<u64>,
}

/// A picture drawn anew for each frame, with the frame's counter in digits and as a bar code
/// ([`super::barcode::read`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestPatternSource {
    /// Width in pixels, from [`super::barcode::LEAST_WIDTH`] to [`super::MOST_SIDE`].
    pub width: u32,
    /// Height in pixels, from [`super::barcode::LEAST_HEIGHT`] to [`super::MOST_SIDE`].
    pub height: u32,
    /// Frames a second, above 0 and at most [`super::MOST_FRAMES_PER_SECOND`].
    pub frames_per_second: f64,
    /// How many frames to draw; `None`: no end.
    #[serde(default)]
    pub frames: Option<u64>,
}

/// A camera of the kernel's video interface, set to the nearest it has to what is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct V4l2Source {
    /// The device node, or a link to it: those under `/dev/v4l/by-id` stay the same whatever else is plugged in.
    pub path: PathBuf,
    /// The format.
    #[serde(default)]
    pub format: FormatWish,
    /// Width in pixels, from 1 to [`super::MOST_SIDE`].
    pub width: u32,
    /// Height in pixels, from 1 to [`super::MOST_SIDE`].
    pub height: u32,
    /// Frames a second, above 0 and at most [`super::MOST_FRAMES_PER_SECOND`]. Of a camera that only has faster rates,
    /// as many are let through; a slower one delivers what it can.
    pub frames_per_second: f64,
    /// Controls and crop.
    #[serde(default)]
    pub adjustments: Adjustments,
}

impl SourceConfig {
    /// How many frames a second are asked of it.
    #[must_use]
    pub const fn frames_per_second(&self) -> f64 {
        match self {
            Self::Folder(source) => source.frames_per_second,
            Self::MjpegFile(source) => source.frames_per_second,
            Self::TestPattern(source) => source.frames_per_second,
            Self::V4l2(source) => source.frames_per_second,
            Self::Rpicam(source) => source.frames_per_second,
            Self::Gstreamer(source) => source.frames_per_second,
            Self::HttpMjpeg(source) => source.frames_per_second,
        }
    }

    /// The bytes that a ring's slot needs so that no frame of the source is too large for it.
    ///
    /// For files and cameras this is the most that any source delivers; a ring takes memory only for what was written.
    #[must_use]
    pub fn slot_bytes(&self) -> u32 {
        let most = u32::try_from(MOST_ITEM_BYTES).unwrap_or(u32::MAX);
        let Self::TestPattern(pattern) = self else { return most };
        let bytes =
            PixelFormat::Rgb24.packed_len(pattern.width, pattern.height, pattern.width.saturating_mul(3)).unwrap_or(1);
        u32::try_from(bytes).unwrap_or(most).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_say_the_kind_and_leave_out_what_is_usual() {
        let folder = r#"{"kind": "folder", "path": "/frames", "frames_per_second": 2.5}"#;
        let expected = FolderSource {
            path: "/frames".into(),
            frames_per_second: 2.5,
            repeat: false,
            order: FolderOrder::Natural,
            pattern: None,
        };
        assert_eq!(serde_json::from_str::<SourceConfig>(folder).unwrap(), SourceConfig::Folder(expected));
        let shuffled = r#"{"kind": "folder", "path": "/frames", "frames_per_second": 1, "order": {"shuffled": {"seed": 7}},
            "pattern": "gate-*.jpg"}"#;
        let SourceConfig::Folder(shuffled) = serde_json::from_str(shuffled).unwrap() else { panic!("a folder") };
        assert_eq!(shuffled.order, FolderOrder::Shuffled { seed: 7 });
        assert_eq!(shuffled.pattern.unwrap().to_string(), "gate-*.jpg");
        let pattern = r#"{"kind": "test_pattern", "width": 640, "height": 480, "frames_per_second": 30, "frames": 3}"#;
        let pattern: SourceConfig = serde_json::from_str(pattern).unwrap();
        assert_eq!(pattern.slot_bytes(), 640 * 480 * 3);
        let camera = r#"{"kind": "v4l2", "path": "/dev/video0", "width": 640, "height": 480, "frames_per_second": 5}"#;
        let SourceConfig::V4l2(camera) = serde_json::from_str(camera).unwrap() else { panic!("a camera") };
        assert_eq!((camera.format, camera.width), (FormatWish::Auto, 640));
        let written = serde_json::to_string(&pattern).unwrap();
        assert_eq!(serde_json::from_str::<SourceConfig>(&written).unwrap(), pattern);
    }

    #[test]
    fn unknown_kinds_and_keys_are_refused() {
        for document in [
            r#"{"kind": "webcam", "path": "/dev/video0"}"#,
            r#"{"path": "/frames", "frames_per_second": 1}"#,
            r#"{"kind": "v4l2", "path": "/dev/video0", "width": 640, "height": 480, "frames_per_second": 5, "format": "h264"}"#,
            r#"{"kind": "mjpeg_file", "path": "/x", "frames_per_second": 1, "loop": true}"#,
        ] {
            assert!(serde_json::from_str::<SourceConfig>(document).is_err(), "{document}");
        }
    }
}
