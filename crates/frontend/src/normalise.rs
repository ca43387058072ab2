//! From the resized RGB canvas to the tensor: channel order, layout, scale, mean and deviation in one pass.

use crate::input::{ColorOrder, Element, InputSpec, Layout};
use crate::tensor::{InputTensor, TensorData};

/// One value for each of the 256 bytes a channel can hold.
type Table<T> = [T; 256];

/// Writes canvases into tensors of one specification.
///
/// A byte has 256 values, so each channel's arithmetic is done once, here, and looked up for every pixel: the result
/// is bit for bit `(byte × scale − mean) ÷ std`, without a division a pixel.
#[derive(Debug, Clone)]
pub struct Normaliser {
    layout: Layout,
    color: ColorOrder,
    tables: Tables,
}

#[derive(Debug, Clone)]
enum Tables {
    F32(Box<[Table<f32>; 3]>),
    U8(Box<Table<u8>>),
}

impl Normaliser {
    /// Prepares the tables of a validated specification.
    #[must_use]
    pub fn new(spec: &InputSpec) -> Self {
        let tables = match spec.element {
            Element::F32 => Tables::F32(Box::new(std::array::from_fn(|channel| {
                std::array::from_fn(|byte| (byte as f32 * spec.scale - spec.mean[channel]) / spec.std[channel])
            }))),
            Element::U8 => Tables::U8(Box::new(std::array::from_fn(|byte| byte as u8))),
        };
        Self { layout: spec.layout, color: spec.color, tables }
    }

    /// Writes `canvas` (packed RGB, the tensor's width × height) into `tensor`, which must be of the specification
    /// that this normaliser was made for.
    pub fn write(&self, canvas: &[u8], tensor: &mut InputTensor) {
        match (&self.tables, &mut tensor.data) {
            (Tables::F32(tables), TensorData::F32(elements)) => {
                self.scatter(canvas, elements, [&tables[0], &tables[1], &tables[2]]);
            }
            (Tables::U8(table), TensorData::U8(elements)) => self.scatter(canvas, elements, [table, table, table]),
            _ => debug_assert!(false, "the tensor was made for another specification"),
        }
    }

    fn scatter<T: Copy>(&self, canvas: &[u8], elements: &mut [T], tables: [&Table<T>; 3]) {
        let byte_of = match self.color {
            ColorOrder::Rgb => [0, 1, 2],
            ColorOrder::Bgr => [2, 1, 0],
        };
        match self.layout {
            Layout::Nhwc => {
                for (pixel, out) in canvas.chunks_exact(3).zip(elements.chunks_exact_mut(3)) {
                    for channel in 0..3 {
                        out[channel] = tables[channel][usize::from(pixel[byte_of[channel]])];
                    }
                }
            }
            Layout::Nchw => {
                let plane = elements.len() / 3;
                for (channel, out) in elements.chunks_exact_mut(plane.max(1)).enumerate().take(3) {
                    for (pixel, out) in canvas.chunks_exact(3).zip(out) {
                        *out = tables[channel][usize::from(pixel[byte_of[channel]])];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pixels: red 10, green 20, blue 30, then 40, 50, 60.
    const CANVAS: [u8; 6] = [10, 20, 30, 40, 50, 60];

    fn tensor_of(spec: &InputSpec) -> TensorData {
        let mut tensor = InputTensor::zeroed(spec);
        Normaliser::new(spec).write(&CANVAS, &mut tensor);
        tensor.data
    }

    fn spec(layout: Layout, color: ColorOrder, preset: InputSpec) -> InputSpec {
        InputSpec { layout, color, width: 2, height: 1, ..preset }
    }

    #[test]
    fn layout_and_colour_order_put_each_byte_where_the_model_wants_it() {
        let bytes = |layout, color| tensor_of(&spec(layout, color, InputSpec::u8_nhwc(1)));
        assert_eq!(bytes(Layout::Nhwc, ColorOrder::Rgb), TensorData::U8(vec![10, 20, 30, 40, 50, 60]));
        assert_eq!(bytes(Layout::Nhwc, ColorOrder::Bgr), TensorData::U8(vec![30, 20, 10, 60, 50, 40]));
        assert_eq!(bytes(Layout::Nchw, ColorOrder::Rgb), TensorData::U8(vec![10, 40, 20, 50, 30, 60]));
        assert_eq!(bytes(Layout::Nchw, ColorOrder::Bgr), TensorData::U8(vec![30, 60, 20, 50, 10, 40]));
    }

    #[test]
    fn mean_and_deviation_are_in_the_tensors_channel_order() {
        let preset = InputSpec { scale: 1.0, mean: [30.0, 0.0, 0.0], std: [1.0, 2.0, 5.0], ..InputSpec::imagenet(1) };
        let floats = tensor_of(&spec(Layout::Nhwc, ColorOrder::Bgr, preset));
        assert_eq!(floats, TensorData::F32(vec![0.0, 10.0, 2.0, 30.0, 25.0, 8.0]));
    }

    #[test]
    fn a_float_element_is_the_formula_to_the_last_bit() {
        let preset = InputSpec::imagenet(1);
        let TensorData::F32(floats) = tensor_of(&spec(Layout::Nhwc, ColorOrder::Rgb, preset.clone())) else {
            panic!("a float specification makes a float tensor")
        };
        assert_eq!(floats[1].to_bits(), ((20.0 * preset.scale - preset.mean[1]) / preset.std[1]).to_bits());
    }
}
