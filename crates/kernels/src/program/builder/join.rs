//! Plans that become one where that is faster, whoever wrote them.

use super::{Plan, ProgramBuilder, View, Work};
use crate::error::PlanError;
use crate::program::expansion::{self, Follower};
use crate::program::packed::Packed;
use crate::program::picture;

impl ProgramBuilder {
    /// Makes one step of each dense convolution whose whole output only the depthwise one or the pooling behind it reads, where
    /// that is faster.
    pub(super) fn join_expansions(&mut self, output: View) {
        let mut readers = vec![0; self.tensors.len()];
        readers[output.tensor] += 1;
        self.plans.iter().flat_map(|plan| &plan.inputs).for_each(|view| readers[view.tensor] += 1);
        let mut joined: Vec<Plan> = Vec::with_capacity(self.plans.len());
        for plan in std::mem::take(&mut self.plans) {
            let Plan { work, inputs, output } = plan;
            let follower = match work {
                Work::Depthwise(filter) => Follower::Depthwise(filter),
                Work::Pool(kind, window) if window.dilation == [1, 1] => Follower::Pool(kind, window),
                work => {
                    joined.push(Plan { work, inputs, output });
                    continue;
                }
            };
            let between = inputs[0];
            let shape = self.tensors[between.tensor].layout.shape;
            let is_whole = between.channels == shape.channels && readers[between.tensor] == 1;
            match joined.pop() {
                Some(Plan { work: Work::Convolution(dense), inputs, output: found })
                    if found == between
                        && is_whole
                        && inputs.len() == 1
                        && expansion::suits(&dense, follower.window(), self.shape(inputs[0]), shape) =>
                {
                    joined.push(Plan { work: Work::Expansion(dense, follower, between.tensor), inputs, output });
                }
                other => {
                    joined.extend(other);
                    let work = match follower {
                        Follower::Depthwise(filter) => Work::Depthwise(filter),
                        Follower::Pool(kind, window) => Work::Pool(kind, window),
                    };
                    joined.push(Plan { work, inputs, output });
                }
            }
        }
        self.plans = joined;
    }

    /// Has a convolution that alone reads the picture, channel by channel, do so without a copy of the whole.
    pub(super) fn join_picture(&mut self, output: View) {
        let [Plan { work: Work::Input(order), output: picture, .. }, reader, rest @ ..] = self.plans.as_slice() else {
            return;
        };
        let (order, picture) = (*order, *picture);
        let is_read =
            rest.iter().flat_map(|plan| &plan.inputs).chain([&output]).any(|view| view.tensor == picture.tensor);
        let (packed, rows) = match &reader.work {
            Work::Convolution(packed) => (packed, self.shape(reader.output).height),
            Work::Expansion(packed, _, between) => (packed, self.tensors[*between].layout.shape.height),
            _ => return,
        };
        let suits = packed.is_planar && picture::suits(&packed.window, &self.tensors[picture.tensor].layout, rows);
        if is_read || !suits || reader.inputs != [picture] {
            return;
        }
        self.plans.remove(0);
        let first = &mut self.plans[0];
        first.inputs.clear();
        let picture = picture.tensor;
        first.work = match std::mem::replace(&mut first.work, Work::Softmax) {
            Work::Convolution(packed) => Work::Picture(order, picture, packed),
            Work::Expansion(dense, filter, between) => Work::PictureExpansion(order, picture, dense, filter, between),
            other => other,
        };
    }

    /// Floats of the rows of a picture that a convolution holds at a time, of which so many rows come out.
    pub(super) fn rows_of_picture(&self, picture: usize, packed: &Packed, outputs: usize) -> Result<usize, PlanError> {
        picture::fitting(&packed.window, &self.tensors[picture].layout, outputs).1.floats()
    }
}
