//! What a step of a program is, and what it is given to run.

use std::fmt;

use crate::bounds::{self, Access, Touched};
use crate::error::PlanError;
use crate::program::share::{Chunks, Shares};

/// The arena's first float, which all threads know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArenaPointer(pub(crate) *mut f32);

// SAFETY: the arena belongs to the program that runs, and outlives the run; who may write where is settled by the steps.
unsafe impl Send for ArenaPointer {}
// SAFETY: as above.
unsafe impl Sync for ArenaPointer {}

/// What a network is run on.
#[derive(Debug, Clone, Copy)]
pub enum Picture<'a> {
    /// Floats.
    Floats(&'a [f32]),
    /// Bytes, of a network whose input are bytes.
    Bytes(&'a [u8]),
    /// The bytes that stand for the floats of a network whose input are floats
    /// ([`ProgramBuilder::take_pixels`](crate::ProgramBuilder::take_pixels)), in the order of those.
    Pixels(&'a [u8]),
}

impl Picture<'_> {
    /// How many numbers.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Floats(floats) => floats.len(),
            Self::Bytes(bytes) | Self::Pixels(bytes) => bytes.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> From<&'a [f32]> for Picture<'a> {
    fn from(floats: &'a [f32]) -> Self {
        Self::Floats(floats)
    }
}

impl<'a> From<&'a Vec<f32>> for Picture<'a> {
    fn from(floats: &'a Vec<f32>) -> Self {
        Self::Floats(floats)
    }
}

impl<'a> From<&'a [u8]> for Picture<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

/// One thread's view of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worker<'a> {
    pub(crate) arena: ArenaPointer,
    /// What the network is run on.
    pub(crate) picture: Picture<'a>,
    /// Which of the threads this is, from 0.
    pub(crate) number: usize,
    /// How they divide the work.
    pub(crate) shares: &'a Shares,
    /// Which step of its stage is at hand, and the turn that the stage has.
    pub(crate) at: (usize, u32),
    /// Whether accesses are checked.
    pub(crate) checks: bool,
}

impl Worker<'_> {
    /// This thread's chunks of a step's `items` pieces of work. A step asks once, or the others' work is done by then.
    #[inline]
    pub(crate) fn share(&self, items: usize) -> Chunks<'_> {
        self.shares.chunks(self.at, self.number, items)
    }

    /// Does this thread's share of the stage that has this turn.
    ///
    /// # Safety
    /// As for [`Step::run`], of every step.
    pub(crate) unsafe fn take(&self, stage: &[Box<dyn Step>], turn: u32) {
        for (number, step) in stage.iter().enumerate() {
            self.enter(step.as_ref());
            // SAFETY: the caller's promise.
            unsafe { step.run(&Worker { at: (number, turn), ..*self }) };
        }
    }

    /// Before a step runs: what it touches is settled for a checked run.
    fn enter(&self, step: &dyn Step) {
        if self.checks {
            bounds::enter(step.describe(), step.touches(), self.arena.0);
        }
    }

    /// Some floats of the arena that are read or written other than by a kernel.
    ///
    /// # Safety
    /// As for [`Self::at`].
    #[inline]
    pub(crate) unsafe fn span(&self, offset: usize, floats: usize, access: Access) -> *mut f32 {
        // SAFETY: the caller's promise.
        let first = unsafe { self.at(offset) };
        if self.checks {
            bounds::touch(first, floats, access);
        }
        first
    }

    /// A place in the arena.
    ///
    /// # Safety
    /// The arena has more than `offset` floats, or just as many if nothing is read or written there.
    #[inline]
    pub(crate) unsafe fn at(&self, offset: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.arena.0.add(offset) }
    }
}

/// One piece of a program, with every offset settled.
pub(crate) trait Step: fmt::Debug + Send + Sync {
    /// Proves that no call of [`Step::run`] reaches beyond the step's regions. The builder has settled that regions lie
    /// inside the arena, and that those written at the same time lie apart.
    ///
    /// # Errors
    /// [`PlanError::Extent`], which says which access would.
    fn check(&self) -> Result<(), PlanError>;

    /// Does one thread's share.
    ///
    /// # Safety
    /// [`Step::check`] passed, the arena is the one that the regions were placed in, all threads of the run take the
    /// same step, and the stages that it reads from are finished.
    unsafe fn run(&self, worker: &Worker<'_>);

    /// All that [`Step::run`] may touch, which a checked run holds it to.
    fn touches(&self) -> Touched;

    /// What it is, in a few words with its sizes.
    fn describe(&self) -> String {
        std::any::type_name::<Self>().rsplit("::").next().unwrap_or_default().to_owned()
    }

    /// Floats of packed weights.
    fn weights(&self) -> usize {
        0
    }
}

/// An error of the proof, unless `holds`.
pub(crate) fn proven(holds: bool, step: &'static str, access: &'static str) -> Result<(), PlanError> {
    if holds { Ok(()) } else { Err(PlanError::Extent { step, access }) }
}
