//! What can be wrong with a source, and with one item of it.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use thiserror::Error;

use super::command::CommandError;
use super::http::HttpError;
use super::jpeg::DamagedJpeg;
use crate::picture::PictureError;
use crate::v4l2::CameraError;

/// A source cannot be opened, or cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The folder or file does not exist.
    #[error("{} does not exist: create it, or name another in the source's \"path\"", .path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// The folder cannot be listed, or the file cannot be read.
    #[error(
        "cannot read the {expected} {}: check that user {user} may read it and search the folders above it",
        .path.display()
    )]
    Unreadable {
        /// What was to be read.
        path: PathBuf,
        /// What it should be: a folder or a file.
        expected: &'static str,
        /// The user number that this process runs as.
        user: u32,
        /// What the kernel answered.
        source: io::Error,
    },
    /// What is there is of another kind: a folder where a file must be, or a device.
    #[error("{} is not a {expected}: name another in the source's \"path\"", .path.display())]
    WrongKind {
        /// What was to be read.
        path: PathBuf,
        /// What it should be: a folder or a file.
        expected: &'static str,
    },
    /// There is nothing to deliver.
    #[error("{} holds no {wanted}", .path.display())]
    Empty {
        /// Where was looked.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },
    /// The folder has more images than a source keeps track of.
    #[error("{} holds more than {most} images: divide it into several folders", .path.display())]
    TooManyItems {
        /// The folder.
        path: PathBuf,
        /// The limit.
        most: usize,
    },
    /// The rate is outside its limits.
    #[error("{given} frames a second cannot be kept: give more than 0 and at most {most}")]
    Rate {
        /// The rate given.
        given: f64,
        /// The limit.
        most: f64,
    },
    /// The size of the test pattern is outside its limits.
    #[error("a test pattern of {width}x{height} cannot be drawn: give {least_width}x{least_height} to {most}x{most}")]
    PatternSize {
        /// Width asked for, in pixels.
        width: u32,
        /// Height asked for, in pixels.
        height: u32,
        /// The smallest width.
        least_width: u32,
        /// The smallest height.
        least_height: u32,
        /// The largest side.
        most: u32,
    },
    /// The size asked of a camera is outside the limits.
    #[error("no camera is asked for {width}x{height}: give 1x1 to {most}x{most}")]
    CameraSize {
        /// Width asked for, in pixels.
        width: u32,
        /// Height asked for, in pixels.
        height: u32,
        /// The largest side.
        most: u32,
    },
    /// The camera cannot be had, or cannot go on.
    #[error(transparent)]
    Camera(#[from] CameraError),
    /// The program that should deliver frames does not.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The camera of the network does not deliver frames.
    #[error(transparent)]
    Http(#[from] HttpError),
}

impl SourceError {
    /// The error of an operation on the whole of `path`, which should be a folder or a file.
    pub(super) fn unreadable(path: &Path, expected: &'static str, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => Self::WrongKind { path, expected },
            _ => Self::Unreadable { path, expected, user: geteuid().as_raw(), source },
        }
    }

    /// Whether the same source may work later without anybody changing its settings: a folder may be mounted, a file
    /// may be written.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Missing { .. } | Self::Unreadable { .. } | Self::Empty { .. } => true,
            Self::Camera(error) => error.is_retryable(),
            Self::Command(error) => error.is_retryable(),
            Self::Http(error) => error.is_retryable(),
            Self::WrongKind { .. }
            | Self::TooManyItems { .. }
            | Self::Rate { .. }
            | Self::PatternSize { .. }
            | Self::CameraSize { .. } => false,
        }
    }
}

/// Why an item of a source was skipped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// The file is gone, or may not be read.
    #[error("cannot read {}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// It is a directory, a device, a pipe: reading it could block, or never end.
    #[error("{} is no regular file", .path.display())]
    NotAFile {
        /// What it is called.
        path: PathBuf,
    },
    /// The file is larger than an item may be.
    #[error("{} has {bytes} bytes, the limit is {most}", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// The file changed while it was read.
    #[error("{} was changed while it was read", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The file does not begin as any image that is known here.
    #[error("{} is no JPEG, PNG or BMP file", .path.display())]
    NotAnImage {
        /// The file.
        path: PathBuf,
    },
    /// The image cannot be decoded, or is too large when decoded.
    #[error("cannot decode {}", .path.display())]
    Undecodable {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: PictureError,
    },
    /// A JPEG of a Motion-JPEG file is damaged.
    #[error("the picture at byte {at} of {} is damaged", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file the picture begins.
        at: u64,
        /// What is wrong with it.
        #[source]
        fault: DamagedJpeg,
    },
    /// A picture of a stream is damaged.
    #[error("a picture of {from} is damaged")]
    Broken {
        /// The program or address that it came from.
        from: String,
        /// What is wrong with it.
        #[source]
        fault: DamagedJpeg,
    },
    /// Frames of a camera were lost.
    #[error(
        "frames were lost: {missed} before they could be fetched, {damaged} damaged, {passed_over} passed over for \
         newer ones"
    )]
    Lost {
        /// Frames that the driver counted and never handed over.
        missed: u64,
        /// Frames that it marked as damaged, or that are incomplete.
        damaged: u64,
        /// Frames that were handed back unread, because this process was late.
        passed_over: u64,
    },
}

impl SkipReason {
    /// How many items it concerns.
    #[must_use]
    pub const fn items(&self) -> u64 {
        match self {
            Self::Lost { missed, damaged, passed_over } => *missed + *damaged + *passed_over,
            _ => 1,
        }
    }
}
