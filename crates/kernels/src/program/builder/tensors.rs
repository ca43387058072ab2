//! A builder's tensors and views of them: what steps ask of them, and how long each lives.

use super::ProgramBuilder;
use crate::error::PlanError;
use crate::layout::{Element, LANES, Layout, MAX_FLOATS, Shape};
use crate::program::arena::Life;

/// A tensor of a builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorId(usize);

/// Some neighbouring channels of a tensor, from the beginning of a block on: what steps read and write. Tensors that are
/// concatenated are views of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    pub(super) tensor: usize,
    pub(super) first: usize,
    pub(super) channels: usize,
}

/// A tensor, and which of its blocks are written by now.
#[derive(Debug)]
pub(super) struct Tensor {
    pub(super) layout: Layout,
    pub(super) written: Vec<bool>,
}

impl ProgramBuilder {
    /// A tensor that steps will write.
    ///
    /// # Errors
    /// [`PlanError::Shape`]: the shape is beyond the limits.
    pub fn tensor(&mut self, shape: Shape) -> Result<TensorId, PlanError> {
        self.add(shape, false, Element::Float)
    }

    /// All channels of a tensor.
    ///
    /// # Panics
    /// The tensor is another builder's.
    #[must_use]
    pub fn whole(&self, tensor: TensorId) -> View {
        View { tensor: tensor.0, first: 0, channels: self.tensors[tensor.0].layout.shape.channels }
    }

    /// Some channels of a tensor. `first` must be a multiple of [`LANES`], and so must `channels`, but for the last.
    ///
    /// # Errors
    /// [`PlanError::Step`]: they are not the tensor's, or do not begin or end with a block.
    pub fn part(&self, tensor: TensorId, first: usize, channels: usize) -> Result<View, PlanError> {
        match self.tensors.get(tensor.0) {
            Some(_) => self.part_of(self.whole(tensor), first, channels),
            None => Err(PlanError::step("view", "its tensor is another builder's")),
        }
    }

    /// Some channels of a view, which begin and end with blocks as for [`Self::part`].
    ///
    /// # Errors
    /// As for [`Self::part`].
    pub fn part_of(&self, whole: View, first: usize, channels: usize) -> Result<View, PlanError> {
        let all = whole.channels;
        let end = first.saturating_add(channels);
        if channels == 0 || end > all || !first.is_multiple_of(LANES) || (end != all && !end.is_multiple_of(LANES)) {
            let reason = format!("channels {first} to {end} of {all} are no whole blocks");
            return Err(PlanError::step("view", reason));
        }
        Ok(View { first: whole.first + first, channels, ..whole })
    }

    /// The shape of what a view shows.
    #[must_use]
    pub fn shape(&self, view: View) -> Shape {
        Shape { channels: view.channels, ..self.tensors[view.tensor].layout.shape }
    }

    pub(super) fn add(&mut self, shape: Shape, is_planar: bool, element: Element) -> Result<TensorId, PlanError> {
        let layout = Layout { shape, halo: 0, is_planar, element };
        layout.floats()?;
        self.tensors.push(Tensor { layout, written: vec![false; layout.blocks()] });
        Ok(TensorId(self.tensors.len() - 1))
    }

    /// Has a tensor have a halo at least so wide.
    pub(super) fn pad(&mut self, view: View, halo: usize) -> Result<(), PlanError> {
        let layout = &mut self.tensors[view.tensor].layout;
        layout.halo = layout.halo.max(halo);
        layout.floats().map(|_| ())
    }

    pub(super) fn blocks(&self, view: View) -> std::ops::Range<usize> {
        let of_block = self.tensors[view.tensor].layout.of_block();
        view.first / of_block..(view.first + view.channels).div_ceil(of_block)
    }

    pub(super) fn readable(&self, step: &'static str, view: View) -> Result<(), PlanError> {
        let written = self.tensors[view.tensor].written.get(self.blocks(view));
        if written.is_some_and(|blocks| blocks.iter().all(|&written| written)) {
            return Ok(());
        }
        Err(PlanError::step(step, "it reads a tensor that nothing writes before it"))
    }

    pub(super) fn same_shape(&self, step: &'static str, input: View, output: View) -> Result<(), PlanError> {
        let (input, output) = (self.shape(input), self.shape(output));
        if input == output { Ok(()) } else { Err(PlanError::step(step, format!("{input:?} is not {output:?}"))) }
    }

    pub(super) fn same_channels(&self, step: &'static str, input: View, output: View) -> Result<(), PlanError> {
        if input.channels == output.channels {
            return Ok(());
        }
        Err(PlanError::step(step, format!("{} channels are not {}", input.channels, output.channels)))
    }

    pub(super) fn vector(&self, step: &'static str, view: View) -> Result<(), PlanError> {
        let shape = self.shape(view);
        if shape.pixels() == 1 { Ok(()) } else { Err(PlanError::step(step, format!("{shape:?} is no vector"))) }
    }

    /// Sizes of the tensors, and the stages in which they live: the output until the end, the others until they are read
    /// last.
    pub(super) fn lives(&self, output: View) -> Result<Vec<Life>, PlanError> {
        let mut lives = Vec::with_capacity(self.tensors.len());
        for tensor in &self.tensors {
            lives.push(Life { floats: tensor.layout.floats()?, first: usize::MAX, last: 0 });
        }
        for (stage, plan) in self.plans.iter().enumerate() {
            for view in plan.inputs.iter().chain([&plan.output]) {
                let life = &mut lives[view.tensor];
                (life.first, life.last) = (life.first.min(stage), life.last.max(stage));
            }
        }
        lives[output.tensor].last = self.plans.len();
        // Tensors that no step touches, such as those between joined convolutions, need no memory.
        lives.iter_mut().filter(|life| life.first == usize::MAX).for_each(|life| life.floats = 0);
        debug_assert!(lives.iter().all(|life| life.floats <= MAX_FLOATS), "{lives:?}");
        Ok(lives)
    }
}
