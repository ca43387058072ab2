//! Which 3 × 3 convolutions go by Winograd's method, by which patches, and their weights, transformed and packed.

pub(crate) mod bands;
pub(crate) mod batch;
pub(crate) mod cutting;
pub(crate) mod filters;
pub(crate) mod patchwork;

use cutting::Cutting;

use super::convolution::Convolution;
use super::packed::heights;
use super::shelf::{Shelf, Weights};
use super::window::Window;
use crate::activation::Activation;
use crate::error::PlanError;
use crate::floats::Floats;
use crate::kernel::set::KernelSet;
use crate::kernel::winograd::{Ends, Size};
use crate::layout::{LANES, MAX_FLOATS, Shape};

/// Floats of the planes of one batch: 600 KiB, a part of the second cache. Where there are more weights, which are read once
/// for every batch, it is as large as they are.
const BATCH_FLOATS: usize = 150 << 10;

/// Input channels below which the transforms outweigh the products.
const LEAST_CHANNELS: usize = 16;

/// Input channels beyond which vectors of sixteen floats multiply directly before the weights of patches have come from memory:
/// they are two to four times those of the direct convolution.
const MOST_CHANNELS_IF_WIDE: usize = 256;

/// The same with narrower vectors, where the products take the time: at 512 channels and 7 × 7 pixels the direct convolution
/// takes 1.6 times as long with AVX2, and 2.9 times the instructions with NEON.
const MOST_CHANNELS: usize = 512;

/// Input channels up to which larger patches are faster.
const FEW_CHANNELS: usize = 128;

/// Pixels up to which larger patches are no faster, because many of them reach past the edge: 14 × 14.
const SMALL_PICTURE: usize = 14 * 14;

/// By which patches a convolution can, and should, be computed this way.
pub(crate) fn suits(
    layer: &Convolution<'_>,
    [input, output]: [Shape; 2],
    set: &'static KernelSet,
) -> Option<&'static Ends> {
    let stride = layer.window.stride[0];
    let window = Window { padding: layer.window.padding, ..Window::square(3, stride, 0) };
    let (four, two) = match stride {
        1 => (&set.four, &set.two),
        2 => (&set.four_strided, &set.two_strided),
        _ => return None,
    };
    let is_wide = set.lanes == LANES;
    let channels = LEAST_CHANNELS..=if is_wide { MOST_CHANNELS_IF_WIDE } else { MOST_CHANNELS };
    let suits = layer.window == window
        && layer.groups == 1
        && channels.contains(&input.channels)
        && input.channels.is_multiple_of(LANES)
        && output.channels >= LANES
        && output.height >= four.size.output
        && output.width >= four.size.output
        && matches!(layer.activation, Activation::Identity | Activation::Clamp { .. });
    // Where sides may be short, large patches take fewer instructions there, too; no machine has told their time.
    let may_be_small = four.filters.is_none();
    let is_small = may_be_small && (input.channels > FEW_CHANNELS || output.pixels() <= SMALL_PICTURE);
    // Small patches of stride 2 save less than a third of the products.
    let pays = !(is_wide && is_small && stride == 2);
    (suits && pays).then_some(if is_small { two } else { four })
}

/// Output channels that are computed together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Band {
    pub(super) block: usize,
    pub(super) blocks: usize,
    /// Where its weights begin in a plane.
    pub(super) weights: usize,
}

/// One plane of patches times one number of a band's filters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    pub(super) plane: usize,
    pub(super) band: usize,
    /// Where its weights begin.
    pub(super) weights: usize,
}

/// What does not depend on where the tensors lie.
#[derive(Debug)]
pub(crate) struct PackedWinograd {
    pub(super) padding: [usize; 2],
    /// Channel blocks of the input and of the output.
    pub(super) blocks: [usize; 2],
    pub(super) bands: Vec<Band>,
    /// Of every plane with every band, those that share weights after each other.
    pub(super) products: Vec<Product>,
    /// For each number of a filter, for each band, for each input channel, the channels of the band.
    pub(crate) weights: Weights,
    pub(super) bias: Floats,
    /// What the products begin with.
    pub(super) zeros: Floats,
    pub(super) clamp: Option<(f32, f32)>,
    /// Patches of a tile at most.
    pub(super) pixels: usize,
    pub(super) batch: usize,
    pub(super) ends: &'static Ends,
}

impl PackedWinograd {
    /// Numbers of a transformed patch.
    pub(super) fn planes(&self) -> usize {
        self.ends.size.planes()
    }

    /// Floats of one number of all filters.
    pub(super) fn plane(&self) -> usize {
        self.blocks[0] * self.blocks[1] * LANES * LANES
    }

    /// Floats from a plane of so many patches to the next: a line more than it holds, so that the planes do not all fall
    /// into the same sets of the cache.
    pub(super) fn stride(&self, end: usize, patches: usize) -> usize {
        self.blocks[end] * patches * LANES + LANES
    }

    /// Floats that a thread needs for one batch.
    pub(crate) fn scratch(&self) -> usize {
        self.planes() * (self.stride(0, self.batch) + self.stride(1, self.batch))
    }
}

/// Transforms and packs the weights.
pub(crate) fn pack(
    layer: &Convolution<'_>,
    [input, output]: [Shape; 2],
    (set, ends): (&KernelSet, &'static Ends),
    shelf: &mut Shelf,
) -> Result<PackedWinograd, PlanError> {
    let inputs = input.channels;
    let blocks = [inputs, output.channels].map(|channels| channels.div_ceil(LANES));
    let patches = Cutting::new(output, ends).patches();
    let sizes = heights(output.channels, [1, patches], set);
    let mut bands = Vec::new();
    let (mut block, mut at) = (0, 0);
    while block < blocks[1] {
        let size = sizes.iter().copied().find(|&size| size <= blocks[1] - block).unwrap_or(1);
        bands.push(Band { block, blocks: size, weights: at });
        (block, at) = (block + size, at + size * LANES * inputs);
    }
    let planes = ends.size.planes();
    let floats = at.saturating_mul(ends.size.filters());
    if floats > MAX_FLOATS {
        return Err(PlanError::Memory { floats, limit: MAX_FLOATS });
    }
    let weights = match shelf.take(floats)? {
        Some(kept) => kept,
        None => shelf.put(fill(layer, inputs, &bands, (at, ends.size))),
    };
    let mut bias = Floats::zeroed(blocks[1] * LANES);
    bias.as_mut_slice()[..layer.bias.len()].copy_from_slice(layer.bias);
    let clamp = match layer.activation {
        Activation::Clamp { low, high } => Some((low, high)),
        _ => None,
    };
    let fitting = BATCH_FLOATS.max(floats) / (planes * LANES * (blocks[0] + blocks[1]));
    // No band has more blocks than these.
    let pixels = set.pixels(sizes[0]);
    let batch = (fitting / pixels * pixels).max(pixels).min(patches);
    let zeros = Floats::zeroed(sizes[0] * LANES);
    let padding = layer.window.padding;
    let product = |plane: usize, number: usize, band: &Band| Product {
        plane,
        band: number,
        weights: number_of(ends.size, plane) * at + band.weights,
    };
    let of_plane = |plane| bands.iter().enumerate().map(move |(number, band)| product(plane, number, band));
    let mut products: Vec<Product> = (0..planes).flat_map(of_plane).collect();
    products.sort_by_key(|product| product.weights);
    Ok(PackedWinograd { padding, blocks, bands, products, weights, bias, zeros, clamp, pixels, batch, ends })
}

/// The transformed weights of all bands, in planes of `at` floats.
fn fill(layer: &Convolution<'_>, inputs: usize, bands: &[Band], (at, size): (usize, &Size)) -> Floats {
    let mut weights = Floats::zeroed(at * size.filters());
    let packed = weights.as_mut_slice();
    for (number, filter) in layer.weights.as_chunks::<9>().0.iter().enumerate() {
        let (output, input) = (number / inputs, number % inputs);
        let Some(band) = bands.iter().rfind(|band| band.block * LANES <= output) else { continue };
        let place = band.weights + input * band.blocks * LANES + output - band.block * LANES;
        for plane in 0..size.filters() {
            packed[plane * at + place] = transformed(filter, size, plane);
        }
    }
    weights
}

/// The number of a filter that a number of a patch is multiplied with.
fn number_of(size: &Size, plane: usize) -> usize {
    let [row, column] = size.filter_of(plane);
    row * size.filter.len() + column
}

/// One number of a transformed 3 × 3 filter.
fn transformed(filter: &[f32; 9], size: &Size, plane: usize) -> f32 {
    let [row, column] = [plane / size.filter.len(), plane % size.filter.len()].map(|side| size.filter[side]);
    (0..9).map(|at| row[at / 3] * f64::from(filter[at]) * column[at % 3]).sum::<f64>() as f32
}
