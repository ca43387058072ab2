//! What follows the dense convolution of an expansion, one row of a channel block at a time: a depthwise convolution or a pooling.

use crate::bounds::Touched;
use crate::error::PlanError;
use crate::kernel::depthwise::DepthwiseCall;
use crate::kernel::pool::{PoolCall, PoolKind};
use crate::kernel::set::KernelSet;
use crate::layout::{LANES, Layout};
use crate::program::convolution::activate_rows;
use crate::program::depthwise::{PackedDepthwise, Part, parts};
use crate::program::pooling::clipped;
use crate::program::region::Region;
use crate::program::step::{Worker, proven};
use crate::program::window::Window;

const STEP: &str = "expansion";

/// What follows, before it is known where tensors lie.
#[derive(Debug)]
pub(crate) enum Follower {
    Depthwise(PackedDepthwise),
    Pool(PoolKind, Window),
}

impl Follower {
    /// How it looks at the tensor between.
    pub(crate) fn window(&self) -> &Window {
        match self {
            Self::Depthwise(packed) => &packed.window,
            Self::Pool(_, window) => window,
        }
    }

    /// Floats of its weights.
    pub(super) fn weights(&self) -> usize {
        match self {
            Self::Depthwise(packed) => packed.weights.len() + packed.bias.len(),
            Self::Pool(..) => 0,
        }
    }
}

/// What follows, with every offset settled.
#[derive(Debug)]
pub(super) struct Following {
    follower: Follower,
    between: Layout,
    output: Region,
    /// Of a depthwise convolution: parts of a row with their kernels, and where its elements lie.
    parts: Vec<Part>,
    taps: Vec<u32>,
    set: &'static KernelSet,
}

/// A row of a block of the output, and where its first window's row of the tensor between begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) block: usize,
    pub(super) y: usize,
    pub(super) from: usize,
}

impl Following {
    pub(super) fn new(
        follower: Follower,
        between: Layout,
        output: Region,
        set: &'static KernelSet,
    ) -> Result<Self, PlanError> {
        let (parts, taps) = match &follower {
            Follower::Depthwise(packed) => parts(packed, between.row(), output.shape().width, set)?,
            Follower::Pool(..) => (Vec::new(), Vec::new()),
        };
        Ok(Self { follower, between, output, parts, taps, set })
    }

    pub(super) fn follower(&self) -> &Follower {
        &self.follower
    }

    /// Computes a row.
    ///
    /// # Safety
    /// As for [`Step::run`](crate::program::step::Step::run); the rows that its windows see are there.
    pub(super) unsafe fn row(&self, worker: &Worker<'_>, row: Row) {
        // SAFETY: the caller's promise.
        unsafe {
            match &self.follower {
                Follower::Depthwise(packed) => self.depthwise(worker, packed, row),
                Follower::Pool(kind, window) => self.pool(worker, (*kind, window), row),
            }
        }
    }

    /// # Safety
    /// As for [`Self::row`].
    unsafe fn depthwise(&self, worker: &Worker<'_>, packed: &PackedDepthwise, Row { block, y, from }: Row) {
        let step = packed.window.stride[1] * LANES;
        let first = from + (self.between.halo - packed.window.padding[1]) * LANES;
        for part in &self.parts {
            // SAFETY: check() has proven every place that the kernel reaches.
            unsafe {
                (part.kernel)(&DepthwiseCall {
                    pixels: part.pixels,
                    input: worker.at(first + part.x * step),
                    row: self.between.row(),
                    step,
                    taps: &self.taps,
                    weights: packed.weights.as_ptr().add(block * self.taps.len() * LANES),
                    bias: packed.bias.as_ptr().add(block * LANES),
                    output: worker.at(self.output.at(block, y, part.x)),
                    activation: packed.activation,
                });
            }
        }
        // SAFETY: the row is the one that was just written.
        unsafe {
            let place = worker.at(self.output.at(block, y, 0));
            activate_rows(self.set, packed.activation, place, self.output.shape().width);
        }
    }

    /// # Safety
    /// As for [`Self::row`].
    unsafe fn pool(&self, worker: &Worker<'_>, (kind, window): (PoolKind, &Window), Row { block, y, from }: Row) {
        let (is_average, counts_padding) = match kind {
            PoolKind::Maximum => (false, false),
            PoolKind::Average { counts_padding } => (true, counts_padding),
        };
        let whole = (window.kernel[0] * window.kernel[1]) as f32;
        // SAFETY: check() has proven that clipped windows are not empty, and every place that the kernel reaches.
        unsafe {
            (self.set.pool)(&PoolCall {
                input: worker.at(from + self.between.halo * LANES),
                row: self.between.row(),
                rows: self.rows(window, y),
                width: self.between.shape.width,
                window: window.kernel[1],
                stride: window.stride[1],
                padding: window.padding[1],
                divisor: counts_padding.then_some(whole),
                is_average,
                output: worker.at(self.output.at(block, y, 0)),
                pixels: self.output.shape().width,
            });
        }
    }

    /// Which of a window's rows are inside the picture: first, and one past the last.
    fn rows(&self, window: &Window, y: usize) -> (usize, usize) {
        let from = y * window.stride[0];
        let (first, last) = clipped(window, 0, y, self.between.shape.height);
        (first + window.padding[0] - from, last + window.padding[0] - from)
    }

    /// Proves that rows of so many blocks, of windows of so many rows each, stay inside.
    pub(super) fn check(&self, blocks: usize) -> Result<(), PlanError> {
        let (shape, between, output) = (self.output.shape(), &self.between, &self.output);
        proven(blocks <= output.blocks() && !between.is_planar, STEP, "output blocks")?;
        let end = output.at(output.blocks() - 1, shape.height - 1, shape.width - 1) + LANES;
        proven(output.holds(output.at(0, 0, 0), end), STEP, "output")?;
        match &self.follower {
            Follower::Depthwise(packed) => self.check_depthwise(packed, blocks),
            Follower::Pool(_, window) => {
                proven(window.dilation == [1, 1], STEP, "dilated windows")?;
                let sides = [(between.shape.height, shape.height), (between.shape.width, shape.width)];
                for (axis, (length, outputs)) in sides.into_iter().enumerate() {
                    for place in 0..outputs {
                        let (first, last) = clipped(window, axis, place, length);
                        proven(first < last, STEP, "a window outside the picture")?;
                    }
                }
                Ok(())
            }
        }
    }

    fn check_depthwise(&self, packed: &PackedDepthwise, blocks: usize) -> Result<(), PlanError> {
        let (between, window) = (&self.between, &packed.window);
        proven(blocks * self.taps.len() * LANES <= packed.weights.len(), STEP, "filter weights")?;
        proven(blocks * LANES <= packed.bias.len(), STEP, "filter bias")?;
        proven(between.halo >= window.padding[1], STEP, "halo")?;
        let last = self.taps.iter().max().map_or(0, |&tap| tap as usize) + LANES;
        for part in &self.parts {
            let first = (part.x * window.stride[1] + between.halo - window.padding[1]) * LANES;
            let end = first + (part.pixels - 1) * window.stride[1] * LANES + last;
            proven(end <= window.span(0) * between.row(), STEP, "window")?;
            proven(part.x + part.pixels <= self.output.shape().width, STEP, "columns")?;
        }
        Ok(())
    }

    /// Its weights, for a checked run.
    pub(super) fn touch(&self, touched: &mut Touched) {
        if let Follower::Depthwise(packed) = &self.follower {
            touched.weights.extend([packed.weights.place(), packed.bias.place()]);
        }
    }

    pub(super) fn describe(&self) -> String {
        let [rows, columns] = self.follower.window().kernel;
        match self.follower {
            Follower::Depthwise(_) => format!("depthwise {rows} × {columns}"),
            Follower::Pool(..) => format!("pooling {rows} × {columns}"),
        }
    }
}
