//! A network that is ready to run: its memory, its steps, its threads.

pub(crate) mod arena;
pub(crate) mod attention;
pub(crate) mod builder;
pub(crate) mod bytes;
pub(crate) mod channels;
pub(crate) mod convolution;
pub(crate) mod depthwise;
pub(crate) mod expansion;
pub(crate) mod halo;
pub(crate) mod input;
pub(crate) mod levels;
pub(crate) mod normalisation;
pub(crate) mod options;
pub(crate) mod order;
pub(crate) mod packed;
mod parts;
pub(crate) mod patches;
pub(crate) mod picture;
pub(crate) mod pointwise;
pub(crate) mod pooling;
pub(crate) mod region;
pub(crate) mod resize;
pub(crate) mod share;
pub(crate) mod shelf;
pub(crate) mod softmax;
pub(crate) mod step;
pub(crate) mod tiles;
pub(crate) mod tokens;
pub(crate) mod window;
pub(crate) mod winograd;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::floats::Floats;
use crate::layout::Shape;
use crate::threads::Threads;
use region::Region;
use share::Shares;
use shelf::PackedWeights;
use step::{ArenaPointer, Picture, Step, Worker};

/// Floats of all of a program's tensors together at most: 512 MiB.
pub const MAX_ARENA_FLOATS: usize = 1 << 27;

/// Steps that do not wait for one another.
pub(crate) type Stage = Vec<Box<dyn Step>>;

/// A network that is ready to run. Made by [`crate::ProgramBuilder::build`].
pub struct Program {
    arena: Floats,
    stages: Vec<Stage>,
    input: Shape,
    /// Whether pictures are bytes.
    takes_bytes: bool,
    /// Whether it knows what pixels stand for, and takes them instead of floats.
    takes_pixels: bool,
    output: Region,
    threads: Threads,
    shares: Shares,
    /// Stages of all runs until now, which tells those that are at hand from those before.
    turn: u32,
    poisons: bool,
    checks: bool,
    /// Packed weights that somebody wants to keep.
    packed: Option<PackedWeights>,
}

/// What one stage of a run was, and took.
#[derive(Debug, Clone)]
pub struct StageTime {
    /// What its first step is, in a few words with its sizes.
    pub name: String,
    /// From its beginning until all threads were done.
    pub took: Duration,
    /// What the threads waited for one another, together.
    pub waited: Duration,
}

/// Numbers that do not fit the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunError {
    /// Too many or too few.
    Count {
        /// Numbers that the program takes.
        expected: usize,
        /// Numbers that were given.
        found: usize,
    },
    /// Floats where it takes bytes, or the other way round.
    Kind {
        /// Whether the program takes bytes.
        takes_bytes: bool,
    },
    /// Pixels where it was not told what they stand for.
    Pixels,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { expected, found } => {
                write!(f, "the program takes {expected} numbers, and {found} were given")
            }
            Self::Kind { takes_bytes: true } => f.write_str("the program takes bytes, and floats were given"),
            Self::Kind { takes_bytes: false } => f.write_str("the program takes floats, and bytes were given"),
            Self::Pixels => f.write_str("the program does not know what pixels stand for"),
        }
    }
}

impl std::error::Error for RunError {}

impl Program {
    /// What the program takes.
    #[must_use]
    pub fn input(&self) -> Shape {
        self.input
    }

    /// Whether pictures may be [`Picture::Pixels`], besides floats.
    #[must_use]
    pub fn takes_pixels(&self) -> bool {
        self.takes_pixels
    }

    /// What comes out.
    #[must_use]
    pub fn output(&self) -> Shape {
        self.output.shape()
    }

    /// Memory of all tensors and packed weights, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let weights = self.stages.iter().flatten().map(|step| step.weights()).sum::<usize>();
        (self.arena.len() + weights) * size_of::<f32>()
    }

    /// The packed weights, once, where the builder was told to remember them.
    pub fn take_packed(&mut self) -> Option<PackedWeights> {
        self.packed.take()
    }

    /// Runs the network on one picture, in the order that the builder was told. `output` is cleared and filled with the
    /// output's elements, channel by channel.
    ///
    /// # Errors
    /// [`RunError`] when the picture has another number of elements, or other elements.
    pub fn run<'a>(&mut self, picture: impl Into<Picture<'a>>, output: &mut Vec<f32>) -> Result<(), RunError> {
        let picture = self.admitted(picture.into())?;
        if self.poisons {
            self.arena.fill(f32::NAN);
        }
        let Self { arena, stages, shares, checks, .. } = self;
        let (arena, checks) = (ArenaPointer(arena.as_mut_ptr()), *checks);
        let turns = turns(&mut self.turn, stages);
        self.threads.run(&|number, barrier| {
            let worker = Worker { arena, picture, number, shares, at: (0, 0), checks };
            for (stage, turn) in stages.iter().zip(turns..) {
                // SAFETY: every step was checked against this arena when the program was built; the stages before
                // are finished by all threads, and steps of one stage write to places of their own.
                unsafe { worker.take(stage, turn) };
                barrier.wait();
            }
        });
        self.read_output(output);
        Ok(())
    }

    /// Runs the network on one picture, and says what each stage is and how long it took. For whoever wants to know where the
    /// time goes; otherwise as [`Self::run`].
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub fn profile<'a>(&mut self, picture: impl Into<Picture<'a>>) -> Result<Vec<StageTime>, RunError> {
        let picture = self.admitted(picture.into())?;
        let times: Vec<Mutex<Vec<[Instant; 3]>>> = (0..self.threads.count()).map(|_| Mutex::default()).collect();
        let Self { arena, stages, shares, checks, .. } = self;
        let (arena, checks) = (ArenaPointer(arena.as_mut_ptr()), *checks);
        let turns = turns(&mut self.turn, stages);
        self.threads.run(&|number, barrier| {
            let worker = Worker { arena, picture, number, shares, at: (0, 0), checks };
            let mut of_thread = Vec::with_capacity(stages.len());
            barrier.wait();
            for (stage, turn) in stages.iter().zip(turns..) {
                let started = Instant::now();
                // SAFETY: as in run().
                unsafe { worker.take(stage, turn) };
                let done = Instant::now();
                barrier.wait();
                of_thread.push([started, done, Instant::now()]);
            }
            *times[number].lock().unwrap_or_else(PoisonError::into_inner) = of_thread;
        });
        let times: Vec<_> =
            times.into_iter().map(|one| one.into_inner().unwrap_or_else(PoisonError::into_inner)).collect();
        let stage = |(number, stage): (usize, &Stage)| {
            let name = stage.first().map(|step| step.describe()).unwrap_or_default();
            let [started, _, ended] = times[0][number];
            let waited = times.iter().map(|of_thread| of_thread[number][2] - of_thread[number][1]).sum();
            StageTime { name, took: ended - started, waited }
        };
        Ok(stages.iter().enumerate().map(stage).collect())
    }

    /// A picture that fits the program.
    fn admitted<'a>(&self, picture: Picture<'a>) -> Result<Picture<'a>, RunError> {
        let expected = self.input.elements();
        if picture.len() != expected {
            return Err(RunError::Count { expected, found: picture.len() });
        }
        match picture {
            Picture::Pixels(_) if self.takes_pixels => Ok(picture),
            Picture::Pixels(_) => Err(RunError::Pixels),
            Picture::Floats(_) if !self.takes_bytes => Ok(picture),
            Picture::Bytes(_) if self.takes_bytes => Ok(picture),
            _ => Err(RunError::Kind { takes_bytes: self.takes_bytes }),
        }
    }

    fn read_output(&self, output: &mut Vec<f32>) {
        output.clear();
        let (Shape { channels, height, width }, arena) = (self.output.shape(), self.arena.as_slice());
        for channel in 0..channels {
            for y in 0..height {
                output.extend((0..width).map(|x| arena[self.output.element(channel, y, x)]));
            }
        }
    }
}

/// The first of a run's turns, one for each stage and never 0.
fn turns(last: &mut u32, stages: &[Stage]) -> u32 {
    let count = stages.len() as u32;
    let first = last.checked_add(count + 1).map_or(1, |end| end - count);
    *last = first + count - 1;
    first
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("input", &self.input)
            .field("output", &self.output())
            .field("stages", &self.stages.len())
            .field("bytes", &self.bytes())
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}
