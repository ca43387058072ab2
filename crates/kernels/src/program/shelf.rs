//! Where packed weights come from: they are packed, or were at an earlier start and lie in a file.
//!
//! A builder asks for packed weights in the order of its steps, each time for as many as the step's shapes want. What an
//! earlier start kept is used only in that order and in those sizes: the proof of a program rests on shapes and lengths,
//! which are settled anew, and never on what the weights are.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::error::PlanError;
use crate::floats::Floats;
use crate::layout::LANES;
use crate::mapping::Mapping;

/// The version of how weights are packed. **Whoever changes what a packer writes, or in which order, raises it**, so that
/// what an earlier program kept is passed over; `tests/kernels/kept.rs` notices.
pub const PACKING: u32 = 9;

/// Where packed weights begin in a file, in bytes: a multiple of it.
pub const KEPT_ALIGNMENT: usize = 64;

/// Bytes of a float.
const FLOAT: usize = size_of::<f32>();

/// Packed weights: floats, or what lies in the place of some.
#[derive(Debug, Clone)]
pub(crate) enum Weights {
    /// Packed by this program.
    Packed(Arc<Floats>),
    /// Of an earlier start, from this byte on so many floats.
    Kept { mapping: Arc<Mapping>, first: usize, floats: usize },
}

impl Weights {
    /// Floats: whole cache lines.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Packed(floats) => floats.len(),
            Self::Kept { floats, .. } => *floats,
        }
    }

    /// Its place in memory, for a checked run: the address of the first float, and how many there are.
    pub(crate) fn place(&self) -> (usize, usize) {
        (self.as_ptr().addr(), self.len())
    }

    pub(crate) fn as_ptr(&self) -> *const f32 {
        match self {
            Self::Packed(floats) => floats.as_ptr(),
            Self::Kept { .. } => self.bytes().as_ptr().cast(),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Packed(floats) => floats.as_bytes(),
            Self::Kept { mapping, first, floats } => &mapping.bytes()[*first..first + floats * FLOAT],
        }
    }
}

/// Packed weights of an earlier start, in the order in which they were packed.
#[derive(Debug)]
pub struct KeptWeights {
    mapping: Arc<Mapping>,
    sections: VecDeque<Range<usize>>,
}

impl KeptWeights {
    /// Those that lie in `sections` of the mapped bytes.
    ///
    /// # Errors
    /// [`PlanError::Step`]: a section begins or ends on no cache line, or ends behind the mapping.
    pub fn new(mapping: Arc<Mapping>, sections: Vec<Range<usize>>) -> Result<Self, PlanError> {
        let length = mapping.bytes().len();
        let is_fit = |section: &Range<usize>| {
            let ends = [section.start, section.end];
            ends.iter().all(|end| end.is_multiple_of(KEPT_ALIGNMENT))
                && section.start <= section.end
                && section.end <= length
        };
        match sections.iter().find(|section| !is_fit(section)) {
            Some(section) => Err(PlanError::step("kept weights", format!("{section:?} of {length} bytes"))),
            None => Ok(Self { mapping, sections: sections.into() }),
        }
    }
}

/// Packed weights of a program, in the order in which they were packed, for whoever keeps them.
#[derive(Debug)]
pub struct PackedWeights(Vec<Weights>);

impl PackedWeights {
    /// Each as bytes, a multiple of [`KEPT_ALIGNMENT`] of them.
    pub fn sections(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Weights::bytes)
    }
}

/// Where a builder takes packed weights from, and puts them.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    kept: Option<KeptWeights>,
    /// What was packed so far, where somebody wants to keep it.
    packed: Option<Vec<Weights>>,
}

impl Shelf {
    pub(crate) fn of(kept: KeptWeights) -> Self {
        Self { kept: Some(kept), packed: None }
    }

    /// Whether weights were packed at an earlier start, so that there are none to pack.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Has what is packed from now on be remembered.
    pub(crate) fn remember(&mut self) {
        self.packed = Some(Vec::new());
    }

    /// What was remembered; an error where more was kept than was asked for.
    pub(crate) fn finish(self) -> Result<Option<PackedWeights>, PlanError> {
        match self.kept {
            Some(kept) if !kept.sections.is_empty() => {
                Err(PlanError::step("kept weights", format!("{} are left over", kept.sections.len())))
            }
            _ => Ok(self.packed.map(PackedWeights)),
        }
    }

    /// The next weights of an earlier start, which must be `floats` rounded up to cache lines; `None` where they are to be
    /// packed.
    pub(crate) fn take(&mut self, floats: usize) -> Result<Option<Weights>, PlanError> {
        let Some(kept) = &mut self.kept else { return Ok(None) };
        let floats = floats.next_multiple_of(LANES);
        match kept.sections.pop_front() {
            Some(section) if section.len() == floats * FLOAT => {
                Ok(Some(Weights::Kept { mapping: Arc::clone(&kept.mapping), first: section.start, floats }))
            }
            found => Err(PlanError::step("kept weights", format!("{found:?} for {floats} floats"))),
        }
    }

    /// Takes in weights that were packed.
    pub(crate) fn put(&mut self, floats: Floats) -> Weights {
        let weights = Weights::Packed(Arc::new(floats));
        if let Some(packed) = &mut self.packed {
            packed.push(weights.clone());
        }
        weights
    }

    /// The next few numbers of an earlier start; `None` where they are to be found.
    pub(crate) fn take_numbers(&mut self, count: usize) -> Result<Option<Vec<i32>>, PlanError> {
        let Some(weights) = self.take(count)? else { return Ok(None) };
        let (words, _) = weights.bytes().as_chunks::<FLOAT>();
        Ok(Some(words[..count].iter().copied().map(i32::from_ne_bytes).collect()))
    }

    /// Takes in numbers that depend on weights.
    pub(crate) fn put_numbers(&mut self, numbers: &[i32]) {
        if self.packed.is_some() {
            let mut floats = Floats::zeroed(numbers.len());
            for (to, number) in floats.as_mut_bytes().as_chunks_mut::<FLOAT>().0.iter_mut().zip(numbers) {
                *to = number.to_ne_bytes();
            }
            self.put(floats);
        }
    }
}
