//! Attention: of every query the mean of all tokens' values, each weighted by how well its key fits the query.
//!
//! ```text
//! scores[key][query]     = scale · Σ keys[channel][key] · queries[channel][query]       keys are a convolution's weights
//! scores[…][query]       = softmax over the keys
//! output[channel][query] = Σ values[channel][key] · scores[key][query]                  values are a convolution's weights
//! ```
//!
//! A token is a pixel of one row, and a head some neighbouring blocks of channels, `[heads · channels, 1, tokens]`. Both products are
//! the tile kernel's; keys and values are packed for it first ([`packing`]), and the scores of some queries at a time lie in a
//! thread's scratch memory.

pub(crate) mod packing;
mod product;

use self::product::Product;
use super::region::Region;
use super::step::{Step, Worker, proven};
use super::tiles::even;
use crate::bounds::Touched;
use crate::error::PlanError;
use crate::floats::Floats;
use crate::kernel::set::KernelSet;
use crate::kernel::softmax::SoftmaxCall;
use crate::layout::LANES;

pub(crate) const ATTENTION: &str = "attention";
const STEP: &str = ATTENTION;

/// Queries whose scores are held at a time at most: whole tiles of every set, whose scores of some hundred keys stay in the first
/// caches.
const QUERIES: usize = 42;

/// The sizes of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) count: usize,
    /// Of a head: whole blocks.
    pub(crate) channels: usize,
    /// Tokens that have keys and values.
    pub(crate) keys: usize,
    /// Tokens that have queries.
    pub(crate) queries: usize,
}

impl Heads {
    /// Blocks of a head's channels.
    fn blocks(&self) -> usize {
        self.channels / LANES
    }

    /// Blocks of keys, the last perhaps not full.
    fn key_blocks(&self) -> usize {
        self.keys.div_ceil(LANES)
    }

    /// Floats of a head's packed keys, of whole blocks.
    fn packed_keys(&self) -> usize {
        self.channels * self.key_blocks() * LANES
    }

    /// Floats of a head's packed keys and values.
    fn packed_head(&self) -> usize {
        self.packed_keys() + self.channels * self.keys
    }

    /// Floats of all packed keys and values.
    pub(crate) fn packed(&self) -> usize {
        self.count * self.packed_head()
    }

    /// Queries of which scores are held at a time, in their order: first one and count.
    fn parts(&self) -> Vec<(usize, usize)> {
        even(self.queries, self.queries.div_ceil(QUERIES)).collect()
    }

    /// Floats from a block of scores to the next.
    fn score_block(&self) -> usize {
        QUERIES.min(self.queries) * LANES
    }

    /// Floats of the scores that a thread holds.
    pub(crate) fn scratch(&self) -> usize {
        self.key_blocks() * self.score_block()
    }
}

/// An attention over packed keys and values, with every offset settled.
#[derive(Debug)]
pub(crate) struct AttentionStep {
    heads: Heads,
    queries: Region,
    packed: Region,
    output: Region,
    /// The first thread's scores; the others' follow.
    scratch: usize,
    threads: usize,
    parts: Vec<(usize, usize)>,
    /// Of queries and keys; of scores and values.
    products: [Product; 2],
    /// What sums begin with.
    zeros: Floats,
    set: &'static KernelSet,
}

impl AttentionStep {
    pub(crate) fn new(
        heads: Heads,
        [queries, packed, output]: [Region; 3],
        [scratch, threads]: [usize; 2],
        set: &'static KernelSet,
    ) -> Result<Self, PlanError> {
        let parts = heads.parts();
        let missing = PlanError::Extent { step: STEP, access: "there is no kernel of its size" };
        let [of_keys, of_values] = [
            Product::new([heads.channels, heads.keys], queries.layout.block(), &parts, set),
            Product::new([heads.keys, heads.channels], heads.score_block(), &parts, set),
        ];
        let (Some(of_keys), Some(of_values)) = (of_keys, of_values) else { return Err(missing) };
        let zeros = Floats::zeroed(of_keys.lanes().max(of_values.lanes()));
        let products = [of_keys, of_values];
        Ok(Self { heads, queries, packed, output, scratch, threads, parts, products, zeros, set })
    }

    /// Some queries of a head.
    ///
    /// # Safety
    /// As for [`Step::run`]; nobody else computes these.
    unsafe fn compute(&self, worker: &Worker<'_>, head: usize, part: usize) {
        let (first, queries) = self.parts[part];
        let (block, packed) = (head * self.heads.blocks(), self.packed.first + head * self.heads.packed_head());
        let scratch = self.scratch + worker.number * self.heads.scratch();
        let [of_keys, of_values] = &self.products;
        // SAFETY: check() has proven every place that the kernels reach; the scratch memory is this thread's.
        unsafe {
            let scores = worker.at(scratch);
            let place = product::Place {
                input: worker.at(self.queries.at(block, 0, first)),
                weights: worker.at(packed),
                zeros: self.zeros.as_ptr(),
                output: scores,
                output_block: self.heads.score_block(),
            };
            of_keys.multiply(queries, &place);
            let (block, channels) = (self.heads.score_block(), self.heads.keys);
            (self.set.softmax)(&SoftmaxCall { scores, block, channels, pixels: queries });
            let place = product::Place {
                input: scores,
                weights: worker.at(packed + self.heads.packed_keys()),
                zeros: self.zeros.as_ptr(),
                output: worker.at(self.output.at(head * self.heads.blocks(), 0, first)),
                output_block: self.output.layout.block(),
            };
            of_values.multiply(queries, &place);
        }
    }

    /// All threads' scores.
    fn scores(&self) -> std::ops::Range<usize> {
        self.scratch..self.scratch + self.threads * self.heads.scratch()
    }
}

impl Step for AttentionStep {
    fn check(&self) -> Result<(), PlanError> {
        let Heads { count, channels, keys, queries } = self.heads;
        proven(channels.is_multiple_of(LANES) && channels > 0 && keys > 0, STEP, "heads")?;
        for (region, access) in [(&self.queries, "queries"), (&self.output, "output")] {
            let shape = region.shape();
            proven(shape.channels == count * channels && (shape.height, shape.width) == (1, queries), STEP, access)?;
            // A head's last block begins so far behind its first, and so do those of a product's runs and bands.
            let last = region.at(region.blocks() - 1, 0, queries - 1) + LANES;
            proven(region.holds(region.at(0, 0, 0), last), STEP, access)?;
        }
        let packed = self.packed.first + self.heads.packed();
        proven(self.packed.holds(self.packed.first, packed), STEP, "keys and values")?;
        let is_one_behind_another = self.parts.iter().try_fold(0, |next, &(first, length)| {
            (first == next && length > 0 && length * LANES <= self.heads.score_block()).then_some(first + length)
        });
        proven(is_one_behind_another == Some(queries), STEP, "scores")?;
        let [of_keys, of_values] = &self.products;
        let blocks = [self.heads.blocks(), self.heads.key_blocks()];
        let values = self.heads.packed_head() - self.heads.packed_keys();
        proven(
            of_keys.is_within(channels, blocks, self.queries.layout.block(), self.heads.packed_keys()),
            STEP,
            "keys",
        )?;
        let [of_head, of_keys_blocks] = blocks;
        let fits = of_values.is_within(keys, [of_keys_blocks, of_head], self.heads.score_block(), values);
        proven(fits, STEP, "values")?;
        let lanes = of_keys.lanes().max(of_values.lanes());
        proven(self.zeros.len() >= lanes, STEP, "zeros")?;
        let sizes = self.parts.iter().map(|&(_, length)| length);
        proven(sizes.into_iter().all(|size| self.products.iter().all(|product| product.cuts(size))), STEP, "tiles")
    }

    fn touches(&self) -> Touched {
        Touched {
            reads: vec![self.queries.floats(), self.packed.floats()],
            writes: vec![self.output.floats(), self.scores()],
            weights: vec![self.zeros.place()],
        }
    }

    fn describe(&self) -> String {
        let Heads { count, channels, keys, queries } = self.heads;
        format!("{STEP} {count} × {channels}, {queries} to {keys}")
    }

    unsafe fn run(&self, worker: &Worker<'_>) {
        let parts = self.parts.len();
        for item in worker.share(self.heads.count * parts).flatten() {
            // SAFETY: the caller's promise; no other thread computes these queries of this head.
            unsafe { self.compute(worker, item / parts, item % parts) };
        }
    }
}
