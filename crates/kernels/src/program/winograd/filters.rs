//! Winograd's filters, packed as they are, and transformed in every run.
//!
//! Transformed weights of many channels are no cache's: they are read from memory for each picture, four times those of the
//! direct convolution. Where the transform takes less time than that, filters of nine numbers are read.

use super::cutting::Cutting;
use crate::activation::Activation;
use crate::error::PlanError;
use crate::floats::Floats;
use crate::kernel::set::KernelSet;
use crate::kernel::winograd::Ends;
use crate::kernel::winograd::filters::{FilterKernel, NUMBERS, PARTS, Recipe};
use crate::layout::{LANES, MAX_FLOATS, Shape};
use crate::program::convolution::Convolution;
use crate::program::shelf::{Shelf, Weights};

/// Floats of transformed filters up to which they are kept so: half of a second cache of 1 MiB, as many cores have. Where there are
/// more, batches of patches that leave them there are small, and larger ones read them from memory each time.
const MOST_TRANSFORMED: usize = 128 << 10;

/// Floats of a part's numbers, the other half of such a cache's.
const PART_FLOATS: usize = 128 << 10;

/// Parts of a picture at most, for each of which all filters are read and transformed: of more, they would be read as often as
/// transformed ones are longer.
const MOST_PARTS: usize = 4;

/// What does not depend on where the tensors lie.
#[derive(Debug)]
pub(crate) struct PackedFilters {
    pub(super) padding: [usize; 2],
    /// Channel blocks of the input and of the output.
    pub(super) blocks: [usize; 2],
    /// For each block of output channels, for each part of a filter's rows, for each input channel, the parts of its columns,
    /// each of the block's channels.
    pub(crate) weights: Weights,
    pub(super) bias: Floats,
    /// What the products begin with.
    pub(super) zeros: Floats,
    pub(super) clamp: Option<(f32, f32)>,
    /// Patches of a tile at most.
    pub(super) pixels: usize,
    /// Parts of the picture, and patches of each at most.
    pub(super) parts: usize,
    pub(super) batch: usize,
    pub(super) ends: &'static Ends,
    pub(super) recipe: &'static Recipe,
    pub(super) transform: FilterKernel,
}

impl PackedFilters {
    /// Numbers of a transformed patch.
    pub(super) fn planes(&self) -> usize {
        self.ends.size.planes()
    }

    /// Floats from a plane of so many patches to the next, of the input's blocks or of one; a line more than it holds, as for
    /// [`PackedWinograd`](super::PackedWinograd).
    pub(super) fn plane(&self, blocks: usize, patches: usize) -> usize {
        blocks * patches * LANES + LANES
    }

    /// Floats of a row's part of a band's filters.
    pub(super) fn part(&self) -> usize {
        self.blocks[0] * LANES * PARTS * LANES
    }

    /// Floats from a column of a transformed row of filters to the next.
    pub(super) fn column(&self) -> usize {
        self.blocks[0] * LANES * LANES + LANES
    }

    /// Floats of the planes of a part, which all threads share.
    pub(super) fn shared(&self) -> usize {
        self.planes() * self.plane(self.blocks[0], self.batch)
    }

    /// Floats that a thread needs for one part: the planes, of which the first thread's are used, the products of a band, and a
    /// row of its filters.
    pub(crate) fn scratch(&self) -> usize {
        self.shared() + self.planes() * self.plane(1, self.batch) + NUMBERS * self.column()
    }
}

/// In how many parts of the picture filters would be transformed in every run; `None` where that does not pay.
pub(crate) fn parts([input, output]: [Shape; 2], ends: &Ends) -> Option<usize> {
    let cutting = Cutting::new(output, ends);
    let parts = (cutting.numbers(ends.size) * input.channels).div_ceil(PART_FLOATS);
    let transformed = ends.size.filters() * input.channels * output.channels;
    (ends.filters.is_some() && parts <= MOST_PARTS && transformed > MOST_TRANSFORMED).then_some(parts)
}

/// Packs the weights, for so many parts of the picture.
pub(crate) fn pack(
    layer: &Convolution<'_>,
    [input, output]: [Shape; 2],
    (ends, parts): (&'static Ends, usize),
    (set, shelf): (&KernelSet, &mut Shelf),
) -> Result<PackedFilters, PlanError> {
    let missing = || PlanError::step("Winograd convolution", "there is no transform of filters");
    let (recipe, transform) = ends.filters.ok_or_else(missing)?;
    let blocks = [input, output].map(|shape| shape.channels.div_ceil(LANES));
    let floats = (blocks[1] * LANES).saturating_mul(PARTS * PARTS * input.channels);
    if floats > MAX_FLOATS {
        return Err(PlanError::Memory { floats, limit: MAX_FLOATS });
    }
    let weights = match shelf.take(floats)? {
        Some(kept) => kept,
        None => shelf.put(fill(layer, input.channels, recipe, floats)),
    };
    let mut bias = Floats::zeroed(blocks[1] * LANES);
    bias.as_mut_slice()[..layer.bias.len()].copy_from_slice(layer.bias);
    let clamp = match layer.activation {
        Activation::Clamp { low, high } => Some((low, high)),
        _ => None,
    };
    let batch = Cutting::new(output, ends).patches().div_ceil(parts);
    let (zeros, padding, pixels) = (Floats::zeroed(LANES), layer.window.padding, set.pixels(1));
    Ok(PackedFilters { padding, blocks, weights, bias, zeros, clamp, pixels, parts, batch, ends, recipe, transform })
}

/// The parts of all filters.
fn fill(layer: &Convolution<'_>, inputs: usize, recipe: &Recipe, floats: usize) -> Floats {
    let mut weights = Floats::zeroed(floats);
    let packed = weights.as_mut_slice();
    for (number, filter) in layer.weights.as_chunks::<9>().0.iter().enumerate() {
        let (output, input) = (number / inputs, number % inputs);
        let band = output / LANES * PARTS * inputs * PARTS * LANES;
        for (row, column) in (0..PARTS).flat_map(|row| (0..PARTS).map(move |column| (row, column))) {
            let place = band + ((row * inputs + input) * PARTS + column) * LANES + output % LANES;
            packed[place] = part_of(filter, [&recipe.parts[row], &recipe.parts[column]]);
        }
    }
    weights
}

/// One part of a filter, of its rows and its columns.
fn part_of(filter: &[f32; 9], [row, column]: [&[f64; 3]; 2]) -> f32 {
    (0..9).map(|at| row[at / 3] * f64::from(filter[at]) * column[at % 3]).sum::<f64>() as f32
}
