//! Some patches of a Winograd convolution, cut into tiles for each kind of number that they have.

use std::ops::Range;

use super::cutting::Cutting;
use crate::activation::Activation;
use crate::kernel::ahead::Ahead;
use crate::kernel::set::KernelSet;
use crate::kernel::tile::{Run, TileCall, TileKernel, TilePlace};
use crate::layout::LANES;
use crate::program::tiles::{Tile, cut, of_one_size};

/// Patches whose planes lie in scratch memory together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The first of them.
    pub(crate) first: usize,
    pub(crate) patches: usize,
    runs: Vec<Run>,
    /// Of each of the cutting's kinds of numbers.
    kinds: Vec<Tiles>,
}

/// The patches of a batch that have a number.
#[derive(Debug)]
struct Tiles {
    /// Those of one size after each other.
    tiles: Vec<Tile>,
    /// Where each lies in its plane.
    places: Vec<TilePlace>,
    /// Tiles of one size.
    groups: Vec<Range<usize>>,
    /// For each height of bands, in channel blocks, the kernel of each group.
    kernels: Vec<(usize, Vec<TileKernel>)>,
}

/// What a plane of a batch is multiplied with, and where that happens.
#[derive(Debug)]
pub(crate) struct Factor {
    /// For each input channel, the channels of the band.
    pub(crate) weights: *const f32,
    /// Channel blocks of the band.
    pub(crate) blocks: usize,
    /// As many zeros.
    pub(crate) zeros: *const f32,
    /// The plane, and the band's of the products.
    pub(crate) input: *const f32,
    pub(crate) output: *mut f32,
    /// Whether the next band's weights lie behind these, and are far away.
    pub(crate) asks: bool,
}

impl Batch {
    /// So many patches from the first on, of so many blocks, in tiles of so many at most, with bands of so many blocks. `None`
    /// where a kernel is missing.
    pub(crate) fn new(
        (first, patches): (usize, usize),
        cutting: &Cutting,
        (blocks, pixels): (usize, usize),
        heights: &[usize],
        set: &KernelSet,
    ) -> Option<Self> {
        let run = |block: usize| Run { offset: (block * patches * LANES) as u32, length: LANES as u32 };
        let inside =
            |range: &Range<usize>| range.start.clamp(first, first + patches)..range.end.clamp(first, first + patches);
        let of_range = |range| {
            let range = inside(range);
            Tiles::new(range.start - first..range.end - first, pixels, heights, set)
        };
        let kinds = cutting.ranges().iter().map(of_range).collect::<Option<Vec<_>>>()?;
        Some(Self { first, patches, runs: (0..blocks).map(run).collect(), kinds })
    }

    /// Multiplies those patches of a plane that have a number of this kind.
    ///
    /// # Safety
    /// The factor's places are those of the batch's planes, which hold as many blocks and patches as the batch has.
    pub(crate) unsafe fn multiply(&self, kind: usize, factor: &Factor) {
        let Tiles { tiles, places, groups, kernels } = &self.kinds[kind];
        let Some((_, kernels)) = kernels.iter().find(|(blocks, _)| *blocks == factor.blocks) else { return };
        let (inputs, channels) = (self.runs.len() * LANES, factor.blocks * LANES);
        for (group, kernel) in groups.iter().zip(kernels) {
            let ahead = if factor.asks {
                Ahead::next_band(factor.weights, [inputs, channels], [group.start, tiles.len()])
            } else {
                Ahead::NOTHING
            };
            // SAFETY: the caller's promise; tiles lie inside the batch.
            unsafe {
                kernel(&TileCall {
                    tiles: &places[group.clone()],
                    pixels: tiles[group.start].pixels,
                    channels,
                    input: factor.input,
                    runs: &self.runs,
                    whole: self.runs.len(),
                    reads_on: false,
                    step: LANES,
                    weights: factor.weights,
                    ahead,
                    bias: factor.zeros,
                    goes_on: false,
                    output: factor.output,
                    output_block: self.patches * LANES,
                    residual: None,
                    residual_block: 0,
                    activation: Activation::Identity,
                });
            }
        }
    }
}

impl Tiles {
    fn new(range: Range<usize>, pixels: usize, heights: &[usize], set: &KernelSet) -> Option<Self> {
        let mut tiles = if range.is_empty() { Vec::new() } else { cut(1, range.len(), pixels) };
        tiles.sort_by_key(|tile| tile.pixels);
        let place = |tile: &Tile| {
            let place = tile.halves.map(|(_, x)| (range.start + x) * LANES);
            TilePlace { input: place, output: place, residual: [0; 2] }
        };
        let places = tiles.iter().map(place).collect();
        let groups = of_one_size(tiles.iter().map(|tile| tile.pixels), tiles.len());
        let kernel = |blocks: usize, group: &Range<usize>| (set.tile)(blocks * LANES, tiles[group.start].pixels, LANES);
        let of_height =
            |&blocks: &usize| Some((blocks, groups.iter().map(|group| kernel(blocks, group)).collect::<Option<_>>()?));
        let kernels = heights.iter().map(of_height).collect::<Option<Vec<_>>>()?;
        Some(Self { tiles, places, groups, kernels })
    }
}
