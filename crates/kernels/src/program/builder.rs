//! From tensors and steps to a program: everything is checked here, once.

pub(crate) mod attention;
pub(crate) mod bytes;
mod join;
mod layers;
mod resize;
mod stages;
mod tensors;

use std::sync::Arc;

use super::Program;
use super::arena::{Life, place};
use super::attention::Heads;
use super::bytes::ByteWork;
use super::bytes::edges::Arrival;
use super::convolution::{CONVOLUTION, Convolution};
use super::depthwise::{self, PackedDepthwise};
use super::expansion::{self, Follower};
use super::input::InputOrder;
use super::levels::Levels;
use super::normalisation::Normalisation;
use super::options::Options;
use super::packed::{self, Packed};
use super::region::Region;
use super::resize::Samples;
use super::share::Shares;
use super::shelf::{KeptWeights, Shelf, Weights};
use super::window::Window;
use super::winograd::filters::{self, PackedFilters};
use super::winograd::{self, PackedWinograd};
use crate::activation::Activation;
use crate::error::PlanError;
use crate::floats::Floats;
use crate::kernel::bytes::interpreter as byte_interpreter;
use crate::kernel::bytes::set::ByteSet;
use crate::kernel::interpreter;
use crate::kernel::pointwise::Combination;
use crate::kernel::pool::PoolKind;
use crate::kernel::set::KernelSet;
use crate::layout::{Element, Layout, Shape};
use crate::pixels::{Pixels, Scaling};
use crate::threads::Threads;
use stages::planned;
use tensors::Tensor;
pub use tensors::{TensorId, View};

/// Packed weights of all steps together at most, in floats: 1 GiB. They may be larger than those of the file.
const MAX_WEIGHTS: usize = 1 << 28;

/// The kind of a step, with what it computes by.
#[derive(Debug)]
enum Work {
    Input(InputOrder),
    Convolution(Packed),
    Depthwise(PackedDepthwise),
    Winograd(PackedWinograd),
    /// The same whose filters are transformed in every run.
    Bands(PackedFilters),
    /// A dense convolution of the picture that the network is run on, whose tensor lies nowhere.
    Picture(InputOrder, usize, Packed),
    /// A dense convolution and what follows it, and the tensor between them.
    Expansion(Packed, Follower, usize),
    /// The same of the picture: the order of its numbers, and its tensor.
    PictureExpansion(InputOrder, usize, Packed, Follower, usize),
    Pool(PoolKind, Window),
    Average,
    Combine(Combination, Activation),
    ByChannel(Combination, Activation),
    Affine(Floats, Floats, Activation),
    Normalise(Normalisation),
    Channels(Vec<(usize, usize)>),
    Resize(Samples),
    Softmax,
    /// Tokens before those of the picture, and what is added to each.
    Tokens(usize, Weights),
    /// Keys and values as attention reads them, scaled.
    Pack(Heads, f32),
    Attention(Heads),
    Bytes(ByteWork),
}

impl Work {
    /// Whether the step reads bytes, and whether it writes them.
    fn bytes(&self) -> [bool; 2] {
        match self {
            Self::Bytes(work) => work.bytes(),
            _ => [false, false],
        }
    }

    /// Whether the step reads a planar tensor as it reads others.
    fn reads_planar(&self) -> bool {
        matches!(self, Self::Convolution(_) | Self::Bytes(ByteWork::Convolution(_) | ByteWork::Matrix(_)))
    }
}

/// A step before its tensors have places.
#[derive(Debug)]
struct Plan {
    work: Work,
    inputs: Vec<View>,
    output: View,
}

/// Collects tensors and steps, in the order in which they run.
#[derive(Debug)]
pub struct ProgramBuilder {
    options: Options,
    set: &'static KernelSet,
    bytes: &'static ByteSet,
    tensors: Vec<Tensor>,
    plans: Vec<Plan>,
    /// What pixels of the picture stand for, where it may be made of them.
    levels: Option<Arc<Levels>>,
    /// Floats of packed weights so far.
    weights: usize,
    /// Where packed weights come from.
    shelf: Shelf,
}

impl ProgramBuilder {
    /// A program without steps.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let options = options.resolved();
        let set = if options.checks { interpreter::set(options.isa) } else { KernelSet::of(options.isa) };
        let bytes =
            if options.checks { byte_interpreter::set(options.byte_isa) } else { ByteSet::of(options.byte_isa) };
        let shelf = Shelf::default();
        Self { options, set, bytes, tensors: Vec::new(), plans: Vec::new(), levels: None, weights: 0, shelf }
    }

    /// A program without steps whose weights were packed at an earlier start, by the same version ([`crate::PACKING`])
    /// and for the same instruction sets. Convolutions are added without their weights, which are taken in the order in
    /// which they were packed.
    #[must_use]
    pub fn with_kept(options: Options, kept: KeptWeights) -> Self {
        Self { shelf: Shelf::of(kept), ..Self::new(options) }
    }

    /// Has packed weights be remembered for [`Program::take_packed`].
    pub fn remember_packed(&mut self) {
        self.shelf.remember();
    }

    /// The program's input, in the order in which the caller gives it. A planar one can be read by dense convolutions
    /// only, which then read it faster.
    ///
    /// # Errors
    /// [`PlanError`]: the shape is beyond the limits, or there is an input already.
    pub fn input(&mut self, shape: Shape, order: InputOrder, is_planar: bool) -> Result<View, PlanError> {
        if !self.plans.is_empty() {
            return Err(PlanError::step("input", "it must be the first step"));
        }
        let id = self.add(shape, is_planar, Element::Float)?;
        let output = self.whole(id);
        self.push(Work::Input(order), vec![], output)?;
        Ok(output)
    }

    /// Has the program of floats take [`Picture::Pixels`](crate::Picture::Pixels) as well, of which each byte stands for the
    /// float that its channel's scaling makes of it. It computes the same of them, bit for bit, as of those floats.
    ///
    /// # Errors
    /// [`PlanError::Step`]: there is no input yet, it takes bytes, or has another number of channels.
    pub fn take_pixels(&mut self, scalings: &[Scaling]) -> Result<(), PlanError> {
        let refuse = |reason: String| Err(PlanError::step("input", reason));
        let channels = match self.plans.first() {
            Some(Plan { work: Work::Input(_), output, .. }) => output.channels,
            Some(Plan { work: Work::Bytes(ByteWork::Picture(_, Arrival::Floats(_))), output, .. }) => output.channels,
            _ => return refuse("it takes no floats".to_owned()),
        };
        if scalings.len() != channels {
            return refuse(format!("pixels of {} channels for {channels}", scalings.len()));
        }
        self.levels = Some(Arc::new(Levels::new(scalings.to_vec(), Pixels::new(self.options.isa))));
        Ok(())
    }

    /// A convolution, or a fully connected layer.
    ///
    /// # Errors
    /// [`PlanError`]: shapes, weights and window do not fit each other, or are beyond the limits.
    pub fn convolution(&mut self, layer: &Convolution<'_>) -> Result<(), PlanError> {
        let (input, output) = (self.shape(layer.input), self.shape(layer.output));
        let refuse = |reason: String| Err(PlanError::step(CONVOLUTION, reason));
        layer.window.check(CONVOLUTION)?;
        let groups = layer.groups;
        if groups == 0 || !input.channels.is_multiple_of(groups) || !output.channels.is_multiple_of(groups) {
            return refuse(format!("{} to {} channels in {groups} groups", input.channels, output.channels));
        }
        let [rows, columns] = layer.window.kernel;
        let expected = [input.channels / groups, rows, columns]
            .iter()
            .try_fold(output.channels, |product, &length| product.checked_mul(length));
        let found = if self.shelf.is_kept() { expected } else { Some(layer.weights.len()) };
        if expected.is_none() || expected != found || ![0, output.channels].contains(&layer.bias.len()) {
            return refuse(format!("it has {} weights and {} biases", layer.weights.len(), layer.bias.len()));
        }
        if layer.residual.is_some_and(|residual| self.shape(residual) != output) {
            return refuse("the residual has another shape than the output".to_owned());
        }
        let is_planar = self.tensors[layer.input.tensor].layout.is_planar;
        let by_channel = groups == input.channels && groups == output.channels;
        let inputs: Vec<View> = [layer.input].into_iter().chain(layer.residual).collect();
        let may = self.options.winograd && !is_planar;
        let by_patches = if may { winograd::suits(layer, [input, output], self.set) } else { None };
        let work = if by_channel && !is_planar && layer.residual.is_none() {
            Work::Depthwise(depthwise::pack(layer, groups, &mut self.shelf)?)
        } else if let Some(ends) = by_patches {
            match filters::parts([input, output], ends) {
                Some(parts) => {
                    let by = (self.set, &mut self.shelf);
                    Work::Bands(filters::pack(layer, [input, output], (ends, parts), by)?)
                }
                None => Work::Winograd(winograd::pack(layer, [input, output], (self.set, ends), &mut self.shelf)?),
            }
        } else {
            let channels = [input.channels, output.channels];
            let pixels = [output.height, output.width];
            Work::Convolution(packed::pack(layer, channels, is_planar, pixels, (self.set, &mut self.shelf))?)
        };
        if let Work::Convolution(Packed { weights, .. })
        | Work::Depthwise(PackedDepthwise { weights, .. })
        | Work::Winograd(PackedWinograd { weights, .. })
        | Work::Bands(PackedFilters { weights, .. }) = &work
        {
            self.spend(weights.len())?;
        }
        self.pad(layer.input, layer.window.halo(input, output))?;
        self.push(work, inputs, layer.output)
    }

    /// Gives every tensor its place, settles every offset, and proves that no step reaches beyond its tensors.
    ///
    /// # Errors
    /// [`PlanError`]: there is no input, or the memory is beyond the limit.
    pub fn build(mut self, output: View) -> Result<Program, PlanError> {
        let (input, takes_bytes) = match self.plans.first() {
            Some(Plan { work: Work::Input(_), output, .. }) => (output, false),
            Some(Plan { work: Work::Bytes(ByteWork::Picture(_, arrival)), output, .. }) => {
                (output, matches!(arrival, Arrival::Bytes(_)))
            }
            _ => return Err(PlanError::step("program", "it has no input")),
        };
        self.readable("program", output)?;
        if self.tensors[output.tensor].layout.is_bytes() {
            return Err(PlanError::step("program", "its output are bytes"));
        }
        let input = self.shape(*input);
        self.join_expansions(output);
        self.join_picture(output);
        let threads = Threads::new(self.options.threads);
        let (mut lives, tensors) = (self.lives(output)?, self.tensors.len());
        for (stage, plan) in self.plans.iter().enumerate() {
            // Every stage has its scratch memory, if only of no floats.
            let floats = self.scratch(plan)?.saturating_mul(threads.count());
            lives.push(Life { floats, first: stage, last: stage });
        }
        let (places, floats) = place(&lives)?;
        let layouts: Vec<Layout> = self.tensors.iter().map(|tensor| tensor.layout).collect();
        let region = |view: View| {
            let layout = layouts[view.tensor];
            let block = view.first / layout.of_block();
            Region { layout, first: places[view.tensor] + block * layout.block(), channels: view.channels }
        };
        let mut stages = Vec::with_capacity(self.plans.len());
        for (number, plan) in self.plans.into_iter().enumerate() {
            let scratch = [places[tensors + number], threads.count()];
            let kinds = (self.set, self.bytes, self.levels.as_ref());
            for stage in planned(plan, (&region, &layouts), scratch, kinds)? {
                stage.iter().try_for_each(|step| step.check())?;
                stages.push(stage);
            }
        }
        let Options { poisons, checks, .. } = self.options;
        let (arena, output, packed) = (Floats::zeroed(floats), region(output), self.shelf.finish()?);
        let steps = stages.iter().map(Vec::len).max().unwrap_or(0);
        let shares = Shares::new(steps, threads.count());
        let takes_pixels = self.levels.is_some();
        Ok(Program {
            arena,
            stages,
            input,
            takes_bytes,
            takes_pixels,
            output,
            threads,
            shares,
            turn: 0,
            poisons,
            checks,
            packed,
        })
    }

    /// Floats of scratch memory for each thread.
    fn scratch(&self, plan: &Plan) -> Result<usize, PlanError> {
        Ok(match &plan.work {
            Work::Winograd(packed) => packed.scratch(),
            Work::Bands(packed) => packed.scratch(),
            Work::Attention(heads) => heads.scratch(),
            Work::Bytes(work) => work.scratch(),
            Work::Expansion(dense, filter, between) => {
                expansion::buffer(dense, filter, &self.tensors[*between].layout, false).1
            }
            Work::Picture(_, picture, packed) => {
                self.rows_of_picture(*picture, packed, self.shape(plan.output).height)?
            }
            Work::PictureExpansion(_, picture, dense, filter, between) => {
                let between = &self.tensors[*between].layout;
                expansion::buffer(dense, filter, between, true).1
                    + self.rows_of_picture(*picture, dense, between.shape.height)?
            }
            _ => 0,
        })
    }

    /// Adds to the packed weights.
    fn spend(&mut self, floats: usize) -> Result<(), PlanError> {
        self.weights += floats;
        if self.weights > MAX_WEIGHTS {
            return Err(PlanError::Memory { floats: self.weights, limit: MAX_WEIGHTS });
        }
        Ok(())
    }

    /// Adds a step, whose inputs must be written and whose output must not.
    fn push(&mut self, work: Work, inputs: Vec<View>, output: View) -> Result<(), PlanError> {
        let [reads, writes] = work.bytes();
        for (place, &input) in inputs.iter().enumerate() {
            self.readable("step", input)?;
            let layout = &self.tensors[input.tensor].layout;
            if layout.is_planar && !(work.reads_planar() && place == 0) {
                return Err(PlanError::step("step", "only a dense convolution can read a planar tensor"));
            }
            if layout.is_bytes() != reads {
                return Err(PlanError::step("step", "it reads floats for bytes, or bytes for floats"));
            }
        }
        if self.tensors.get(output.tensor).is_some_and(|tensor| tensor.layout.is_bytes() != writes) {
            return Err(PlanError::step("step", "it writes floats for bytes, or bytes for floats"));
        }
        let blocks = self.blocks(output);
        let Some(written) = self.tensors.get_mut(output.tensor).and_then(|tensor| tensor.written.get_mut(blocks))
        else {
            return Err(PlanError::step("step", "its output is no tensor of this program"));
        };
        if written.contains(&true) {
            return Err(PlanError::step("step", "its output is written already"));
        }
        written.fill(true);
        self.plans.push(Plan { work, inputs, output });
        Ok(())
    }
}
