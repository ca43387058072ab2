//! What can be wrong with a program that delivers frames.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::complaint::Complaint;

/// A program does not deliver frames.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// None of the programs that would do is installed.
    #[error("{programs} is not installed: {how}")]
    NotInstalled {
        /// What was looked for.
        programs: &'static str,
        /// How it is installed.
        how: &'static str,
    },
    /// The program cannot be run.
    #[error("cannot run {}: check that it is there and may be executed", .program.display())]
    NotStarted {
        /// The program.
        program: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The program ended.
    #[error("{program} ended ({how}): {complaint}; it said: {said}")]
    Ended {
        /// The program's name.
        program: String,
        /// Its exit code or signal.
        how: String,
        /// What is wrong, as far as its words tell.
        complaint: Complaint,
        /// Its last words.
        said: String,
    },
    /// The program runs and brings no frame; it has been ended.
    #[error("{program} brought no frame for {seconds:.1} s and was ended: {complaint}; it said: {said}")]
    Stalled {
        /// The program's name.
        program: String,
        /// How long there was no frame.
        seconds: f64,
        /// What is wrong, as far as its words tell.
        complaint: Complaint,
        /// Its last words.
        said: String,
    },
    /// What it writes is no stream of pictures; it has been ended.
    #[error(
        "{program} wrote {bytes} bytes without a JPEG picture among them and was ended; they begin with \"{begins}\": \
         check the format that it is asked for"
    )]
    Garbage {
        /// The program's name.
        program: String,
        /// How many bytes.
        bytes: u64,
        /// The first of all that it wrote.
        begins: String,
    },
    /// A size that raw images cannot have without padding between their rows.
    #[error(
        "raw images of {width}x{height} would have padded rows: give a width that is a multiple of {step} and an even height, or take mjpeg"
    )]
    Padded {
        /// Width asked for, in pixels.
        width: u32,
        /// Height asked for, in pixels.
        height: u32,
        /// What the width has to be a multiple of.
        step: u32,
    },
    /// The pipeline or the options are not usable.
    #[error("{what} {text:?} {rule}")]
    Text {
        /// The pipeline, or the options.
        what: &'static str,
        /// As given, cut.
        text: String,
        /// What is wrong with it, and what to do.
        rule: &'static str,
    },
    /// Reading what it writes failed.
    #[error("reading from {program}")]
    Reading {
        /// The program's name.
        program: String,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl CommandError {
    /// Whether the same may work later without anybody changing the settings.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Padded { .. } | Self::Text { .. } => false,
            Self::Ended { complaint, .. } => complaint.may_pass(),
            _ => true,
        }
    }
}
