//! Why a network cannot be made into a program.

use std::fmt;

use crate::layout::Shape;

/// A step that is refused, before anything runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanError {
    /// A tensor without elements, or with more than the limits allow ([`crate::layout::MAX_FLOATS`]).
    Shape(Shape),
    /// A step's tensors, weights or parameters do not fit each other.
    Step {
        /// The kind of step.
        step: &'static str,
        /// What does not fit, with the numbers.
        reason: String,
    },
    /// The program needs more memory than the limit.
    Memory {
        /// Floats that it needs.
        floats: usize,
        /// Floats allowed.
        limit: usize,
    },
    /// A step would reach beyond its tensors: an error of this crate, found before anything ran.
    Extent {
        /// The kind of step.
        step: &'static str,
        /// Which access.
        access: &'static str,
    },
}

impl PlanError {
    pub(crate) fn step(step: &'static str, reason: impl Into<String>) -> Self {
        Self::Step { step, reason: reason.into() }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(Shape { channels, height, width }) => {
                write!(f, "a tensor of {channels} × {height} × {width} is empty or beyond the limits")
            }
            Self::Step { step, reason } => write!(f, "the {step} cannot be planned: {reason}"),
            Self::Memory { floats, limit } => {
                write!(f, "the program needs {floats} floats, more than the limit of {limit}")
            }
            Self::Extent { step, access } => write!(f, "the {step} would reach beyond its tensors: {access}"),
        }
    }
}

impl std::error::Error for PlanError {}
