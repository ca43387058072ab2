//! A product of tokens and packed keys or values, tile by tile: a convolution of 1 × 1 whose weights are computed, too.

use std::ops::Range;

use crate::activation::Activation;
use crate::kernel::ahead::Ahead;
use crate::kernel::set::KernelSet;
use crate::kernel::tile::{Run, TileCall, TileKernel, TilePlace};
use crate::layout::LANES;
use crate::program::convolution::whole;
use crate::program::packed::heights;
use crate::program::tiles::{cut, of_one_size};

/// Output channels that are computed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Band {
    /// First block of the product.
    pub(super) block: usize,
    pub(super) blocks: usize,
    /// Where its packed weights begin, for each input the channels of its blocks.
    pub(super) weights: usize,
}

/// The bands of so many output channels, in whole blocks, of so many inputs, for so many pixels at a time.
pub(super) fn bands([inputs, outputs]: [usize; 2], pixels: usize, set: &KernelSet) -> Vec<Band> {
    let all = outputs.div_ceil(LANES);
    let sizes = heights(all * LANES, [1, pixels], set);
    let (mut bands, mut block) = (Vec::new(), 0);
    while block < all {
        let blocks = sizes.iter().copied().find(|&size| size <= all - block).unwrap_or(1);
        bands.push(Band { block, blocks, weights: block * LANES * inputs });
        block += blocks;
    }
    bands
}

/// Tiles of so many pixels.
#[derive(Debug)]
struct Cut {
    pixels: usize,
    /// Those of one size after each other.
    places: Vec<TilePlace>,
    /// Tiles of one size, and the pixels of each.
    groups: Vec<(Range<usize>, usize)>,
    /// For each band, the kernel of each group.
    kernels: Vec<Vec<TileKernel>>,
}

/// A product of so many inputs and outputs.
#[derive(Debug)]
pub(super) struct Product {
    bands: Vec<Band>,
    runs: Vec<Run>,
    whole: usize,
    /// One for each number of pixels that occurs.
    cuts: Vec<Cut>,
}

/// Where a product reads and writes.
pub(super) struct Place {
    pub(super) input: *const f32,
    pub(super) weights: *const f32,
    /// As many as a band has channels.
    pub(super) zeros: *const f32,
    pub(super) output: *mut f32,
    /// Floats from a block to the next.
    pub(super) output_block: usize,
}

impl Product {
    /// Of inputs whose blocks lie `block` floats apart, for parts of so many pixels; `None` where there is no kernel.
    pub(super) fn new(
        [inputs, outputs]: [usize; 2],
        block: usize,
        parts: &[(usize, usize)],
        set: &KernelSet,
    ) -> Option<Self> {
        let most = parts.iter().map(|part| part.1).max()?;
        let bands = bands([inputs, outputs], most, set);
        let run = |number: usize| {
            let length = (inputs - number * LANES).min(LANES);
            Some(Run { offset: u32::try_from(number * block).ok()?, length: length as u32 })
        };
        let runs = (0..inputs.div_ceil(LANES)).map(run).collect::<Option<Vec<_>>>()?;
        let mut sizes: Vec<usize> = parts.iter().map(|part| part.1).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let cuts = sizes.into_iter().map(|pixels| Cut::new(pixels, &bands, set)).collect::<Option<Vec<_>>>()?;
        Some(Self { whole: whole(&runs), bands, runs, cuts })
    }

    /// Channels of a band at most.
    pub(super) fn lanes(&self) -> usize {
        self.bands.iter().map(|band| band.blocks * LANES).max().unwrap_or(0)
    }

    /// Whether it reads so many inputs in blocks that lie so far apart, writes so many blocks, and has weights in so many floats.
    pub(super) fn is_within(&self, inputs: usize, [read, written]: [usize; 2], apart: usize, weights: usize) -> bool {
        let is_of_block =
            |(number, run): (usize, &Run)| run.offset as usize == number * apart && run.length as usize <= LANES;
        let elements: usize = self.runs.iter().map(|run| run.length as usize).sum();
        let is_inside = |band: &Band| {
            band.block + band.blocks <= written && band.weights + band.blocks * LANES * elements <= weights
        };
        self.runs.len() == read
            && elements == inputs
            && self.whole <= self.runs.len()
            && self.runs.iter().enumerate().all(is_of_block)
            && self.bands.iter().all(is_inside)
    }

    /// Whether there are tiles for so many pixels, and none of another.
    pub(super) fn cuts(&self, pixels: usize) -> bool {
        self.cuts.iter().any(|cut| cut.pixels == pixels && cut.is_within())
    }

    /// The products of so many pixels.
    ///
    /// # Safety
    /// The places are as large as [`Self::is_within`] and [`Self::cuts`] say; nobody else writes there.
    pub(super) unsafe fn multiply(&self, pixels: usize, place: &Place) {
        let Some(cut) = self.cuts.iter().find(|cut| cut.pixels == pixels) else { return };
        for (band, kernels) in self.bands.iter().zip(&cut.kernels) {
            for ((tiles, pixels), kernel) in cut.groups.iter().zip(kernels) {
                // SAFETY: the caller's promise.
                unsafe {
                    kernel(&TileCall {
                        tiles: &cut.places[tiles.clone()],
                        pixels: *pixels,
                        channels: band.blocks * LANES,
                        input: place.input,
                        runs: &self.runs,
                        whole: self.whole,
                        reads_on: false,
                        step: LANES,
                        weights: place.weights.add(band.weights),
                        ahead: Ahead::NOTHING,
                        bias: place.zeros,
                        goes_on: false,
                        output: place.output.add(band.block * place.output_block),
                        output_block: place.output_block,
                        residual: None,
                        residual_block: 0,
                        activation: Activation::Identity,
                    });
                }
            }
        }
    }
}

impl Cut {
    fn new(pixels: usize, bands: &[Band], set: &KernelSet) -> Option<Self> {
        let blocks = bands.iter().map(|band| band.blocks).max()?;
        let mut tiles = cut(1, pixels, set.pixels(blocks));
        tiles.sort_by_key(|tile| tile.pixels);
        let place = |tile: &crate::program::tiles::Tile| {
            let place = tile.halves.map(|(_, x)| x * LANES);
            TilePlace { input: place, output: place, residual: [0; 2] }
        };
        let groups: Vec<(Range<usize>, usize)> = of_one_size(tiles.iter().map(|tile| tile.pixels), tiles.len())
            .into_iter()
            .map(|group| (group.clone(), tiles[group.start].pixels))
            .collect();
        let kernels = |band: &Band| {
            groups.iter().map(|(_, pixels)| (set.tile)(band.blocks * LANES, *pixels, LANES)).collect::<Option<Vec<_>>>()
        };
        let kernels = bands.iter().map(kernels).collect::<Option<Vec<_>>>()?;
        Some(Self { pixels, places: tiles.iter().map(place).collect(), groups, kernels })
    }

    /// Whether all tiles are of its pixels.
    fn is_within(&self) -> bool {
        self.groups.iter().all(|(tiles, pixels)| {
            let halves = [pixels / 2, pixels - pixels / 2];
            self.places.get(tiles.clone()).is_some_and(|places| {
                let ends = |place: &TilePlace| {
                    let is_inside = |(at, length): (usize, usize)| at + length * LANES <= self.pixels * LANES;
                    place.input == place.output && place.input.into_iter().zip(halves).all(is_inside)
                };
                places.iter().all(ends)
            })
        })
    }
}
