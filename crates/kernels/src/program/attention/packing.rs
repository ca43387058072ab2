//! Keys and values as the weights of tiles, packed anew in every run.

use super::product::{Band, bands};
use super::{Heads, STEP};
use crate::bounds::{Access, Touched};
use crate::error::PlanError;
use crate::kernel::set::KernelSet;
use crate::layout::LANES;
use crate::program::region::Region;
use crate::program::step::{Step, Worker, proven};

/// Packs the keys, scaled, and the values of every head, one head behind the other.
#[derive(Debug)]
pub(crate) struct PackStep {
    heads: Heads,
    scale: f32,
    keys: Region,
    values: Region,
    packed: Region,
    /// Of a head's keys and of its values.
    bands: [Vec<Band>; 2],
}

impl PackStep {
    pub(crate) fn new((heads, scale): (Heads, f32), [keys, values, packed]: [Region; 3], set: &KernelSet) -> Self {
        let most = heads.parts().iter().map(|part| part.1).max().unwrap_or(1);
        let sizes = [[heads.channels, heads.keys], [heads.keys, heads.channels]];
        Self { heads, scale, keys, values, packed, bands: sizes.map(|sizes| bands(sizes, most, set)) }
    }

    /// A block of a head's keys: for each channel those of the block, and zeros for those that there are not.
    ///
    /// # Safety
    /// As for [`Step::run`]; nobody else packs this block.
    unsafe fn pack_keys(&self, worker: &Worker<'_>, head: usize, block: usize) {
        let Some(band) = self.bands[0].iter().rfind(|band| band.block <= block) else { return };
        let (first, lanes) = (block * LANES, band.blocks * LANES);
        let count = (self.heads.keys - first).min(LANES);
        let packed = self.packed.first + head * self.heads.packed_head() + band.weights + (block - band.block) * LANES;
        for of_head in 0..self.heads.blocks() {
            let from = self.keys.at(head * self.heads.blocks() + of_head, 0, first);
            // SAFETY: check() has proven that these keys are the region's.
            let from = unsafe { worker.span(from, count * LANES, Access::Read) };
            for channel in 0..LANES {
                let to = packed + (of_head * LANES + channel) * lanes;
                // SAFETY: check() has proven that the channel's weights are the packed region's; keys are read within the span.
                unsafe {
                    let to = worker.span(to, LANES, Access::Write);
                    if count == LANES {
                        for key in 0..LANES {
                            *to.add(key) = self.scale * *from.add(key * LANES + channel);
                        }
                        continue;
                    }
                    for key in 0..count {
                        *to.add(key) = self.scale * *from.add(key * LANES + channel);
                    }
                    to.add(count).write_bytes(0, LANES - count);
                }
            }
        }
    }

    /// The values of a block of tokens: for each token the channels of a band.
    ///
    /// # Safety
    /// As for [`Step::run`]; nobody else packs these.
    unsafe fn pack_values(&self, worker: &Worker<'_>, head: usize, block: usize) {
        let packed = self.packed.first + head * self.heads.packed_head() + self.heads.packed_keys();
        let (first, end) = (block * LANES, self.heads.keys.min((block + 1) * LANES));
        for band in &self.bands[1] {
            let lanes = band.blocks * LANES;
            for of_band in 0..band.blocks {
                let from = self.values.at(head * self.heads.blocks() + band.block + of_band, 0, first);
                for token in first..end {
                    // SAFETY: check() has proven that both are the regions', which lie apart.
                    unsafe {
                        let from = worker.span(from + (token - first) * LANES, LANES, Access::Read);
                        let to = packed + band.weights + token * lanes + of_band * LANES;
                        worker.span(to, LANES, Access::Write).copy_from_nonoverlapping(from, LANES);
                    }
                }
            }
        }
    }
}

impl Step for PackStep {
    fn check(&self) -> Result<(), PlanError> {
        let Heads { count, channels, keys, .. } = self.heads;
        for (region, access) in [(&self.keys, "keys"), (&self.values, "values")] {
            let shape = region.shape();
            proven(shape.channels == count * channels && (shape.height, shape.width) == (1, keys), STEP, access)?;
            let last = region.at(region.blocks() - 1, 0, keys - 1) + LANES;
            proven(region.holds(region.at(0, 0, 0), last), STEP, access)?;
        }
        let [of_keys, of_values] = &self.bands;
        let is_within = |bands: &[Band], inputs: usize, blocks: usize, floats: usize| {
            let is_inside = |band: &Band| {
                band.block + band.blocks <= blocks && band.weights + inputs * band.blocks * LANES <= floats
            };
            bands.iter().all(is_inside)
        };
        let values = self.heads.packed_head() - self.heads.packed_keys();
        proven(is_within(of_keys, channels, self.heads.key_blocks(), self.heads.packed_keys()), STEP, "packed keys")?;
        proven(is_within(of_values, keys, self.heads.blocks(), values), STEP, "packed values")?;
        // A block of keys is one of the band that begins last before it.
        let is_covered = |block: usize| {
            of_keys.iter().rfind(|band| band.block <= block).is_some_and(|band| block < band.block + band.blocks)
        };
        proven((0..self.heads.key_blocks()).all(is_covered), STEP, "blocks of keys")?;
        let end = self.packed.first + self.heads.packed();
        proven(self.packed.holds(self.packed.first, end), STEP, "packed keys and values")
    }

    fn touches(&self) -> Touched {
        Touched {
            reads: vec![self.keys.floats(), self.values.floats()],
            writes: vec![self.packed.floats()],
            ..Touched::default()
        }
    }

    fn describe(&self) -> String {
        format!("{STEP}, keys and values of {}", self.keys.shape())
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let blocks = self.heads.key_blocks();
        for item in worker.share(self.heads.count * blocks).flatten() {
            let (head, block) = (item / blocks, item % blocks);
            // SAFETY: the caller's promise; no other thread packs this block of this head.
            unsafe {
                self.pack_keys(worker, head, block);
                self.pack_values(worker, head, block);
            }
        }
    }
}
