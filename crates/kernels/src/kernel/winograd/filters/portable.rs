//! The transforms of filters in plain words, which no machine that has a choice runs.

use super::{FilterCall, OfFour, OfFourStrided, transform_filters};
use crate::vector::portable::Portable;

/// As [`OfFour`].
///
/// # Safety
/// As for every kernel (`kernel.rs`).
pub(crate) unsafe fn four(call: &FilterCall) {
    // SAFETY: the caller's promise.
    unsafe { transform_filters::<Portable, OfFour>(call) }
}

/// As [`OfFourStrided`].
///
/// # Safety
/// As for every kernel (`kernel.rs`).
pub(crate) unsafe fn four_strided(call: &FilterCall) {
    // SAFETY: the caller's promise.
    unsafe { transform_filters::<Portable, OfFourStrided>(call) }
}
