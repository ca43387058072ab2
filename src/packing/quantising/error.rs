//! Why a package was not quantised.

use std::path::PathBuf;

use super::pictures::PicturesError;
use super::{MIN_PICTURES, READABLE};
use crate::classifier::model_directory::ModelDirectoryError;
use crate::classifier::one_shot::OneShotError;
use crate::packing::PackError;

/// Why there is no quantised package. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum QuantisingError {
    /// The package cannot be read.
    #[error("the package to quantise")]
    Source(#[from] ModelDirectoryError),
    /// A folder of pictures cannot be read.
    #[error("the pictures")]
    Pictures(#[from] PicturesError),
    /// There are too few pictures.
    #[error(
        "{} holds {found} pictures (.jpg, .jpeg, .png, .bmp), and at least {MIN_PICTURES} are needed, better 100 or more, \
         as the camera sees them",
        folder.display()
    )]
    TooFew {
        /// The folder.
        folder: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// Too many pictures cannot be read.
    #[error(
        "{unreadable} of {pictures} pictures in {} cannot be read, and one of {READABLE} may be, with {MIN_PICTURES} left; the \
         first is {}: {why}",
        folder.display(), picture.display()
    )]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// How many cannot be read.
        unreadable: usize,
        /// Of how many.
        pictures: usize,
        /// The first of them.
        picture: PathBuf,
        /// Why not.
        why: String,
    },
    /// A golden sample of the package is another class to the quantised model.
    #[error(
        "the quantised model misses the package's golden sample {image}, so that every device would refuse it: keep the layers \
         that lose most in float, with --keep-float, or take more pictures"
    )]
    Golden {
        /// The picture.
        image: String,
    },
    /// No way of finding ranges was tried.
    #[error("no method was tried")]
    NoMethod,
    /// The worker refused the model, or could not be started.
    #[error(transparent)]
    Trial(#[from] OneShotError),
    /// The package could not be made.
    #[error(transparent)]
    Pack(#[from] PackError),
}
