//! Convolutions and fully connected layers.

use std::sync::Arc;

use margay_kernels::{Activation, Shape, Window};
use tract_onnx::pb::NodeProto;

use super::quantised::Geometry;
use super::{Known, Reader, Tensor};
use crate::engine::compiled::attributes::Attributes;
use crate::engine::compiled::constant::{Constant, Elements};
use crate::engine::compiled::declined::Declined;
use crate::engine::compiled::network::Layer;
use crate::engine::compiled::quantised::weights::StoredConstant;
use crate::engine::compiled::weights::{FloatsInFile, LayerWeights, in_rows};

/// A window, and the padding below and to the right of the picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Padded {
    pub(super) window: Window,
    pub(super) after: [usize; 2],
}

impl Padded {
    /// Reads a window's attributes for a picture of `height` × `width`.
    pub(super) fn read(
        node: &NodeProto,
        attributes: &Attributes<'_>,
        kernel: [usize; 2],
        sides: [usize; 2],
    ) -> Result<Self, Declined> {
        let kernel =
            attributes.lengths::<2>("kernel_shape", 0).map(|given| if given == [0; 2] { kernel } else { given })?;
        let stride = attributes.lengths::<2>("strides", 1)?;
        let dilation = attributes.lengths::<2>("dilations", 1)?;
        let [top, left, bottom, right] = attributes.lengths::<4>("pads", 0)?;
        if [kernel, stride, dilation].iter().flatten().any(|&length| length == 0) {
            return Err(Declined::node(node, "its window has no length"));
        }
        let window = Window { kernel, stride, padding: [0; 2], dilation };
        let same = |axis: usize| {
            let windows = sides[axis].div_ceil(stride[axis]);
            window.span(axis).saturating_add((windows - 1) * stride[axis]).saturating_sub(sides[axis])
        };
        let (padding, after) = match attributes.text("auto_pad", "NOTSET") {
            "NOTSET" | "" => ([top, left], [bottom, right]),
            "VALID" => ([0; 2], [0; 2]),
            "SAME_UPPER" => ([same(0) / 2, same(1) / 2], [same(0).div_ceil(2), same(1).div_ceil(2)]),
            "SAME_LOWER" => ([same(0).div_ceil(2), same(1).div_ceil(2)], [same(0) / 2, same(1) / 2]),
            _ => return Err(Declined::node(node, "its auto_pad is not covered")),
        };
        Ok(Self { window: Window { padding, ..window }, after })
    }

    /// Windows along an axis of a length, and what is left of it behind the last; `None` where there is none.
    pub(super) fn count(&self, axis: usize, length: usize) -> Option<(usize, usize)> {
        let room = (length + self.window.padding[axis] + self.after[axis]).checked_sub(self.window.span(axis))?;
        Some((room / self.window.stride[axis] + 1, room % self.window.stride[axis]))
    }
}

/// The weights of a convolution or a product.
#[derive(Debug)]
pub(super) enum Filters {
    Floats(Arc<Constant>),
    /// Floats that are still in the file.
    InFile(FloatsInFile),
    /// Of a tensor that was bytes.
    Bytes(Arc<StoredConstant>),
}

impl Filters {
    fn dims(&self) -> &[usize] {
        match self {
            Self::Floats(constant) => &constant.dims,
            Self::InFile(floats) => floats.dims(),
            Self::Bytes(stored) => stored.dims(),
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn convolution(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let tensor = self.any_tensor(node, 0)?;
        let filters = self.filters(node, &tensor)?;
        self.convolution_of(node, &tensor, &filters, 2)
    }

    /// The weights of a node that reads a tensor: as bytes where the tensor was bytes, too.
    fn filters(&self, node: &NodeProto, tensor: &Tensor) -> Result<Filters, Declined> {
        match self.stored(node, 1) {
            Some(stored) if self.dequantised(tensor.value).is_some() => Ok(Filters::Bytes(stored)),
            _ => match self.in_file(node, 1) {
                Some(floats) => Ok(Filters::InFile(floats)),
                None => self.floats(node, 1).map(Filters::Floats),
            },
        }
    }

    /// An input whose floats are still in the file.
    fn in_file(&self, node: &NodeProto, input: usize) -> Option<FloatsInFile> {
        let &Known::Stored(number) = self.known.get(node.input.get(input)?.as_str())? else { return None };
        FloatsInFile::new(self.stored?, number, self.graph.initializer.get(number)?)
    }

    /// A convolution with filters, and a bias as one of the node's inputs.
    pub(super) fn convolution_of(
        &mut self,
        node: &'a NodeProto,
        tensor: &Tensor,
        filters: &Filters,
        bias: usize,
    ) -> Result<Tensor, Declined> {
        if tensor.is_channels_last {
            return Err(Declined::node(node, "it reads a picture with the channels last"));
        }
        let shape = self.checked_shape(node, tensor)?;
        let [outputs, inputs, rows, columns] = filters.dims()[..] else {
            return Err(Declined::node(node, format!("its weights are {:?}", filters.dims())));
        };
        let attributes = Attributes::of(node);
        let groups = usize::try_from(attributes.int("group", 1)).unwrap_or(0);
        let [top, left, bottom, right] = tensor.padding;
        let sides = [shape.height + top + bottom, shape.width + left + right];
        let mut padded = Padded::read(node, &attributes, [rows, columns], sides)?;
        attributes.finish()?;
        if padded.window.kernel != [rows, columns] || inputs.checked_mul(groups) != Some(shape.channels) {
            return Err(Declined::node(node, format!("weights of {:?} for {shape:?}", filters.dims())));
        }
        padded.window.padding = [padded.window.padding[0] + top, padded.window.padding[1] + left];
        padded.after = [padded.after[0] + bottom, padded.after[1] + right];
        let (Some((height, _)), Some((width, _))) = (padded.count(0, shape.height), padded.count(1, shape.width))
        else {
            return Err(Declined::node(node, "its window is larger than the picture"));
        };
        let output = Shape { channels: outputs, height, width };
        let geometry = Geometry { window: padded.window, groups, output, bias };
        let weights = match filters {
            Filters::Floats(constant) => LayerWeights::Floats(constant.floats().unwrap_or_default().to_vec()),
            Filters::InFile(floats) => {
                LayerWeights::InFile { floats: floats.clone(), columns: None, factors: Vec::new() }
            }
            Filters::Bytes(stored) => {
                let weights = stored.centred().unwrap_or_default();
                match self.byte_convolution(node, tensor, (stored, weights, 0), geometry)? {
                    Some(tensor) => return Ok(tensor),
                    None => LayerWeights::Floats(dequantised(node, stored)?),
                }
            }
        };
        let bias =
            if Self::has(node, bias) { self.floats(node, bias)?.floats().unwrap_or_default().to_vec() } else { vec![] };
        if !bias.is_empty() && bias.len() != outputs {
            return Err(Declined::node(node, format!("{} biases for {outputs} channels", bias.len())));
        }
        self.spend(node, weights.len())?;
        let (window, activation) = (padded.window, Activation::Identity);
        let layer = Layer::Convolution { weights, bias, window, groups, activation };
        let value = self.network.add(layer, vec![tensor.value], output);
        Ok(Tensor::plain(value, vec![1, outputs, height, width]))
    }

    /// `Gemm` and `MatMul` with constants: of a vector, a window of the whole picture; of a picture or tokens with the channels last,
    /// one of a pixel.
    pub(super) fn fully_connected(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let any = self.elements(node, 0)?;
        let tensor = if node.op_type == "MatMul" || any.dims.len() == 2 { any } else { self.tensor(node, 0)? };
        let filters = self.filters(node, &tensor)?;
        let attributes = Attributes::of(node);
        let is_gemm = node.op_type == "Gemm";
        let is_transposed = is_gemm && attributes.int("transB", 0) != 0;
        let is_plain = !is_gemm
            || (attributes.float("alpha", 1.0) == 1.0
                && attributes.float("beta", 1.0) == 1.0
                && attributes.int("transA", 0) == 0);
        attributes.finish()?;
        if !is_plain {
            return Err(Declined::node(node, "its factors or its first input's transposition are not covered"));
        }
        self.product_of(node, &tensor, (&filters, 2), is_transposed)
    }

    /// The product of a vector, or of each pixel of a picture with the channels last, and a matrix, and a bias as one of the node's inputs.
    pub(super) fn product_of(
        &mut self,
        node: &'a NodeProto,
        tensor: &Tensor,
        (filters, bias): (&Filters, usize),
        is_transposed: bool,
    ) -> Result<Tensor, Declined> {
        let shape = self.network.shapes[tensor.value];
        let [rows, columns] = filters.dims()[..] else {
            return Err(Declined::node(node, format!("its weights are {:?}", filters.dims())));
        };
        let (inputs, outputs) = if is_transposed { (columns, rows) } else { (rows, columns) };
        let of_pixels = tensor.is_channels_last;
        let fits =
            if of_pixels { inputs == shape.channels } else { tensor.dims == [1, inputs] && inputs == shape.elements() };
        if !fits || outputs == 0 {
            let reason = format!("a tensor of {:?} by {:?} in this way", tensor.dims, filters.dims());
            return Err(Declined::node(node, reason));
        }
        let (window, output, dims) = if of_pixels {
            let output = Shape { channels: outputs, ..shape };
            let before = tensor.dims.split_last().map_or(&[][..], |(_, before)| before);
            (Window::square(1, 1, 0), output, [before, &[outputs]].concat())
        } else {
            let window = Window { kernel: [shape.height, shape.width], ..Window::square(1, 1, 0) };
            (window, Shape::vector(outputs), vec![1, outputs])
        };
        let rows = |values: &[f32]| if is_transposed { values.to_vec() } else { in_rows(values, outputs) };
        let weights = match filters {
            Filters::Floats(constant) => LayerWeights::Floats(rows(constant.floats().unwrap_or_default())),
            Filters::InFile(floats) => {
                let columns = (!is_transposed).then_some(outputs);
                LayerWeights::InFile { floats: floats.clone(), columns, factors: Vec::new() }
            }
            Filters::Bytes(stored) => {
                let weights = stored.centred().unwrap_or_default();
                let weights = if is_transposed { weights } else { in_rows(&weights, outputs) };
                let weights = (stored.as_ref(), weights, usize::from(!is_transposed));
                let geometry = Geometry { window, groups: 1, output, bias };
                match self.byte_convolution(node, tensor, weights, geometry)? {
                    Some(tensor) => return Ok(Tensor { dims, is_channels_last: of_pixels, ..tensor }),
                    None => LayerWeights::Floats(rows(&dequantised(node, stored)?)),
                }
            }
        };
        self.spend(node, weights.len())?;
        let bias = match Self::has(node, bias) {
            true => self.broadcast(node, bias, outputs)?,
            false => Vec::new(),
        };
        let layer = Layer::Convolution { weights, bias, window, groups: 1, activation: Activation::Identity };
        let value = self.network.add(layer, vec![tensor.value], output);
        Ok(Tensor { is_channels_last: of_pixels, ..Tensor::plain(value, dims) })
    }

    /// A constant input of `length` floats, or of one that stands for all.
    pub(super) fn broadcast(&self, node: &NodeProto, input: usize, length: usize) -> Result<Vec<f32>, Declined> {
        let constant = self.floats(node, input)?;
        let values = constant.floats().unwrap_or_default();
        let is_row = constant.dims.last().is_none_or(|&last| last == values.len());
        match values {
            [value] => Ok(vec![*value; length]),
            values if is_row && values.len() == length => Ok(values.to_vec()),
            _ => Err(Declined::node(node, format!("its input {input} is {:?}", constant.dims))),
        }
    }

    /// Zeros around a picture, which the convolution behind it takes over.
    pub(super) fn pad(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let (tensor, _) = self.picture(node, 0)?;
        let attributes = Attributes::of(node);
        let mode = attributes.text("mode", "constant");
        let (pads, value) = if self.opset < 11 {
            let pads = attributes.get("pads").map(|attribute| attribute.ints.clone());
            (pads, Some(attributes.float("value", 0.0)))
        } else {
            let pads = self.constant(node, 1).and_then(|pads| pads.as_integers().map(<[i64]>::to_vec));
            let value =
                if Self::has(node, 2) { self.constant(node, 2).and_then(|value| value.scalar()) } else { Some(0.0) };
            (pads.filter(|_| !Self::has(node, 3)), value)
        };
        attributes.finish()?;
        let pads: Option<Vec<usize>> = pads
            .unwrap_or_default()
            .iter()
            .map(|&pad| usize::try_from(pad).ok().filter(|&pad| pad <= 1 << 16))
            .collect();
        match pads.as_deref() {
            Some(&[0, 0, top, left, 0, 0, bottom, right]) if mode == "constant" && value == Some(0.0) => {
                let padding = [top, left, bottom, right];
                // The window's size follows from the picture's own; the padding is added to the window's.
                Ok(Tensor { padding, ..tensor })
            }
            _ => Err(Declined::node(node, "only zeros around the picture are covered")),
        }
    }
}

/// The floats that bytes stand for.
fn dequantised(node: &NodeProto, stored: &StoredConstant) -> Result<Vec<f32>, Declined> {
    let floats = stored.floats().and_then(|constant| match constant.elements {
        Elements::Floats(floats) => Some(floats),
        Elements::Integers(_) | Elements::Bytes { .. } => None,
    });
    floats.ok_or_else(|| Declined::node(node, "its weights"))
}
