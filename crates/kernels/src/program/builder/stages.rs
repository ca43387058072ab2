//! From a plan to the steps that do it.

use std::sync::Arc;

use super::{Plan, View, Work};
use crate::error::PlanError;
use crate::kernel::bytes::set::ByteSet;
use crate::kernel::set::KernelSet;
use crate::layout::Layout;
use crate::program::Stage;
use crate::program::attention::AttentionStep;
use crate::program::attention::packing::PackStep;
use crate::program::channels::ChannelStep;
use crate::program::convolution::{ConvolutionStep, Source};
use crate::program::depthwise::DepthwiseStep;
use crate::program::expansion::{self, ExpansionStep};
use crate::program::halo::Halo;
use crate::program::input::{InputStep, Reading};
use crate::program::levels::Levels;
use crate::program::normalisation::NormalisationStep;
use crate::program::patches::WinogradStep;
use crate::program::picture::{PictureRows, PictureStrips};
use crate::program::pointwise::{Other, PointwiseStep};
use crate::program::pooling::{AverageStep, PoolStep};
use crate::program::region::Region;
use crate::program::resize::ResizeStep;
use crate::program::softmax::SoftmaxStep;
use crate::program::step::Step;
use crate::program::tokens::TokenStep;
use crate::program::winograd::bands::Bands;

/// The stages of a plan, with every offset settled. `scratch` is where its scratch memory begins, and how many threads
/// share it; `levels` are what pixels stand for.
pub(super) fn planned(
    plan: Plan,
    (region, layouts): (&dyn Fn(View) -> Region, &[Layout]),
    scratch: [usize; 2],
    (set, bytes, levels): (&'static KernelSet, &'static ByteSet, Option<&Arc<Levels>>),
) -> Result<Vec<Stage>, PlanError> {
    let output = region(plan.output);
    let inputs: Vec<Region> = plan.inputs.iter().map(|&view| region(view)).collect();
    let input = inputs.first().copied().unwrap_or(output);
    let second = inputs.get(1).copied();
    let operand = second.unwrap_or(input);
    let pointwise = |other, activation| Box::new(PointwiseStep { input, other, activation, output, set });
    let reading = |order, shape| Reading { order, shape, levels: levels.cloned() };
    let step: Box<dyn Step> = match plan.work {
        Work::Input(order) => Box::new(InputStep { output, reading: reading(order, output.shape()) }),
        Work::Convolution(packed) => {
            Box::new(ConvolutionStep::new(packed, Source::Tensor(input), output, second, (scratch[1], set))?)
        }
        Work::Picture(order, picture, packed) => {
            let height = output.shape().height;
            let reading = reading(order, layouts[picture].shape);
            let rows = PictureRows::new(reading, packed.window, &layouts[picture], height, scratch[0]);
            let strips = PictureStrips::new(rows, height, scratch[1]);
            Box::new(ConvolutionStep::new(packed, Source::Picture(strips), output, None, (scratch[1], set))?)
        }
        Work::PictureExpansion(order, picture, dense, filter, between) => {
            let (between, [first, threads]) = (layouts[between], scratch);
            let first = first + threads * expansion::buffer(&dense, &filter, &between, true).1;
            let reading = reading(order, layouts[picture].shape);
            let rows = PictureRows::new(reading, dense.window, &layouts[picture], between.shape.height, first);
            let source = expansion::Source::Picture(rows);
            Box::new(ExpansionStep::new((dense, filter), (source, output), between, scratch, set)?)
        }
        Work::Depthwise(packed) => Box::new(DepthwiseStep::new(packed, input, output, set)?),
        Work::Winograd(packed) => {
            let step = WinogradStep::new(packed, [input, output], second, scratch, set)?;
            return Ok(apart(step.stages(scratch[1]), output));
        }
        Work::Bands(packed) => {
            return Ok(apart(Bands::new(packed, [input, output], second, scratch[0], set)?.stages(), output));
        }
        Work::Expansion(dense, filter, between) => {
            let source = expansion::Source::Tensor(input);
            Box::new(ExpansionStep::new((dense, filter), (source, output), layouts[between], scratch, set)?)
        }
        Work::Pool(kind, window) => Box::new(PoolStep { kind, window, input, output, set }),
        Work::Average => Box::new(AverageStep { input, output, set }),
        Work::Combine(how, activation) => pointwise(Other::Tensor(operand, how), activation),
        Work::ByChannel(how, activation) => pointwise(Other::Channels(operand, how), activation),
        Work::Affine(factors, addends, activation) => pointwise(Other::Affine(factors, addends), activation),
        Work::Normalise(by) => Box::new(NormalisationStep { input, by, output, set }),
        Work::Channels(order) => Box::new(ChannelStep { inputs, output, order }),
        Work::Resize(samples) => Box::new(ResizeStep { samples, input, output, set }),
        Work::Softmax => Box::new(SoftmaxStep { input, output }),
        Work::Tokens(first, addends) => Box::new(TokenStep { first, addends, input, output, set }),
        Work::Pack(heads, scale) => Box::new(PackStep::new((heads, scale), [input, operand, output], set)),
        Work::Attention(heads) => Box::new(AttentionStep::new(heads, [input, operand, output], scratch, set)?),
        Work::Bytes(work) => work.step(inputs, output, scratch, (bytes, levels.map(Arc::as_ref)))?,
    };
    Ok(vec![[step].into_iter().chain(Halo::of(output)).collect()])
}

/// Each step as a stage, with the output's halo in the first.
fn apart(steps: Vec<Box<dyn Step>>, output: Region) -> Vec<Stage> {
    let mut stages: Vec<Stage> = steps.into_iter().map(|step| vec![step]).collect();
    stages.iter_mut().take(1).for_each(|first| first.extend(Halo::of(output)));
    stages
}
