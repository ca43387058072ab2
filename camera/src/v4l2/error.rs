//! What can be wrong with a camera, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::geteuid;
use thiserror::Error;

use super::offer::FourCc;

/// A camera cannot be opened, or cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CameraError {
    /// There is no such device node.
    #[error("there is no {}: is the camera plugged in? `margay camera list` shows those that are", .path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// This user may not open it.
    #[error(
        "user {user} may not open {}: `sudo usermod -aG video $USER` and a new login let you; a worker of the core \
         needs AutoAddGroupOwner on the device's resource",
        .path.display()
    )]
    Permission {
        /// The device node.
        path: PathBuf,
        /// The user number that this process runs as.
        user: u32,
    },
    /// Another program captures from it.
    #[error("{} is in use by another program: `fuser -v {}` names it", .path.display(), .path.display())]
    Busy {
        /// The device node.
        path: PathBuf,
    },
    /// It is a file, or a device of another kind.
    #[error("{} is no V4L2 device: `margay camera list` shows the cameras", .path.display())]
    NotVideo {
        /// What was named.
        path: PathBuf,
    },
    /// It is a V4L2 device that delivers no pictures.
    #[error("{} is no camera but {what}: `margay camera list` shows the cameras", .path.display())]
    NotACamera {
        /// The device node.
        path: PathBuf,
        /// What it is for.
        what: &'static str,
    },
    /// It delivers pictures by an interface that this version does not have.
    #[error("{} {how}, which this version cannot: use a USB camera, or a program that writes pictures", .path.display())]
    Unsupported {
        /// The device node.
        path: PathBuf,
        /// What it wants of a program.
        how: &'static str,
    },
    /// It has none of the formats asked for.
    #[error("{} does not deliver {wanted}; it has {offered}", .path.display())]
    NoSuchFormat {
        /// The device node.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
        /// What it has.
        offered: String,
    },
    /// It has no control of that name.
    #[error("{} has no control {name:?}; it has {known}", .path.display())]
    NoSuchControl {
        /// The device node.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// What it has.
        known: String,
    },
    /// The control cannot have that value.
    #[error("{}'s control {name} cannot be {value}: it takes {least} to {most} in steps of {step}", .path.display())]
    ControlValue {
        /// The device node.
        path: PathBuf,
        /// The control.
        name: String,
        /// The value asked for.
        value: i32,
        /// The least.
        least: i32,
        /// The greatest.
        most: i32,
        /// From a value to the next.
        step: i32,
    },
    /// The control cannot be set now.
    #[error("{}'s control {name} cannot be set: {why}", .path.display())]
    ControlRefused {
        /// The device node.
        path: PathBuf,
        /// The control.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// The driver cannot crop.
    #[error("{} cannot deliver a part of its picture: take the crop out", .path.display())]
    NoCrop {
        /// The device node.
        path: PathBuf,
    },
    /// The driver put another crop in force.
    #[error("{} was asked for {asked} and took {got}: ask for that, or for a part that it can deliver", .path.display())]
    Crop {
        /// The device node.
        path: PathBuf,
        /// The part asked for.
        asked: String,
        /// The part in force.
        got: String,
    },
    /// The driver put another format in force than the one asked for, which it had offered.
    #[error("{} was asked for {asked} and set itself to {got}: name another format", .path.display())]
    Substituted {
        /// The device node.
        path: PathBuf,
        /// The format asked for.
        asked: FourCc,
        /// The format in force.
        got: FourCc,
    },
    /// The driver describes images that cannot be.
    #[error(
        "{} describes {fourcc} images of {width}x{height} with rows of {stride} bytes and {bytes} in all, which cannot \
         be: name another format or size",
        .path.display()
    )]
    Shape {
        /// The device node.
        path: PathBuf,
        /// The format in force.
        fourcc: FourCc,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes a row.
        stride: u32,
        /// Bytes an image.
        bytes: u32,
    },
    /// The bus has no room for the stream.
    #[error(
        "the USB bus of {} has no bandwidth left for {mode}: name MJPEG, a smaller size or fewer frames a second, or \
         move the camera to another port",
        .path.display()
    )]
    Bandwidth {
        /// The device node.
        path: PathBuf,
        /// What was to be streamed.
        mode: String,
    },
    /// The device is gone.
    #[error("{} was unplugged, or its driver is gone", .path.display())]
    Unplugged {
        /// The device node.
        path: PathBuf,
    },
    /// Frames do not come any more, or never did.
    #[error("{} has delivered no frame for {seconds:.1} s: check its cable and power", .path.display())]
    Stalled {
        /// The device node.
        path: PathBuf,
        /// How long was waited, in seconds.
        seconds: f64,
    },
    /// A request failed otherwise.
    #[error("{doing} {}", .path.display())]
    System {
        /// The device node.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl CameraError {
    /// The error of opening the node.
    pub(super) fn opening(path: &Path, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Missing { path },
            Errno::ACCESS | Errno::PERM => Self::Permission { path, user: geteuid().as_raw() },
            Errno::NOTTY => Self::NotVideo { path },
            _ => Self::failed(&path, "opening", errno),
        }
    }

    /// The error of a request on an open node.
    pub(super) fn failed(path: &Path, doing: &'static str, errno: Errno) -> Self {
        let path = path.to_owned();
        match errno {
            Errno::NODEV | Errno::NXIO => Self::Unplugged { path },
            Errno::BUSY => Self::Busy { path },
            _ => Self::System { path, doing, source: errno.into() },
        }
    }

    /// Whether the same camera may work later without anybody changing its settings.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Missing { .. }
            | Self::Permission { .. }
            | Self::Busy { .. }
            | Self::Bandwidth { .. }
            | Self::Unplugged { .. }
            | Self::Stalled { .. }
            | Self::ControlRefused { .. }
            | Self::System { .. } => true,
            Self::NotVideo { .. }
            | Self::NotACamera { .. }
            | Self::Unsupported { .. }
            | Self::NoSuchFormat { .. }
            | Self::NoSuchControl { .. }
            | Self::ControlValue { .. }
            | Self::NoCrop { .. }
            | Self::Crop { .. }
            | Self::Substituted { .. }
            | Self::Shape { .. } => false,
        }
    }
}
