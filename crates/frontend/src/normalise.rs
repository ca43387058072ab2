//! From rows of red, green and blue to the tensor: channel order, layout, scale, mean and deviation in one pass.

use margay_kernels::pixels::{Pixels, Scaling};

use crate::input::{ColorOrder, Element, InputSpec, Layout};
use crate::tensor::{InputTensor, TensorData};

/// One value for each of the 256 bytes a channel can hold.
type Table = [f32; 256];

/// Writes rows into tensors of one specification, or the pixels of one.
///
/// A float is bit for bit `(byte × scale − mean) ÷ std`: computed where a channel's elements lie side by side, looked up
/// where the channels take turns.
#[derive(Debug, Clone)]
pub struct Normaliser {
    layout: Layout,
    pixels: Pixels,
    /// Which of red, green and blue each channel of the tensor is.
    colours: [usize; 3],
    width: usize,
    height: usize,
    scalings: [Scaling; 3],
    /// Only for floats that take turns.
    tables: Option<Box<[Table; 3]>>,
}

impl Normaliser {
    /// Prepares the arithmetic of a validated specification.
    #[must_use]
    pub fn new(spec: &InputSpec, pixels: Pixels) -> Self {
        let scalings = spec.scalings();
        let table = |scaling: Scaling| std::array::from_fn(|byte| scaling.apply(byte as u8));
        let looked_up = spec.element == Element::F32 && spec.layout == Layout::Nhwc;
        Self {
            layout: spec.layout,
            pixels,
            colours: match spec.color {
                ColorOrder::Rgb => [0, 1, 2],
                ColorOrder::Bgr => [2, 1, 0],
            },
            width: spec.width as usize,
            height: spec.height as usize,
            scalings,
            tables: looked_up.then(|| Box::new(scalings.map(table))),
        }
    }

    /// Writes `row` (red, green and blue, of one length) into `tensor`, from column and row `at` on. The tensor must be
    /// of the specification that this normaliser was made for, and the row must fit.
    ///
    /// # Panics
    /// Where the row does not fit.
    pub fn write_row(&self, row: [&[u8]; 3], at: (usize, usize), tensor: &mut InputTensor) {
        let row = self.colours.map(|colour| row[colour]);
        let first = at.1 * self.width + at.0;
        match (self.layout, &mut tensor.data) {
            (Layout::Nchw, TensorData::F32(elements)) => {
                for (channel, bytes) in row.into_iter().enumerate() {
                    let to = self.plane(channel) + first;
                    self.pixels.normalise(bytes, self.scalings[channel], &mut elements[to..][..bytes.len()]);
                }
            }
            (Layout::Nchw, TensorData::U8(elements) | TensorData::Pixels(elements)) => {
                for (channel, bytes) in row.into_iter().enumerate() {
                    elements[self.plane(channel) + first..][..bytes.len()].copy_from_slice(bytes);
                }
            }
            (Layout::Nhwc, TensorData::U8(elements) | TensorData::Pixels(elements)) => {
                self.pixels.interleave(row, &mut elements[first * 3..][..row[0].len() * 3]);
            }
            (Layout::Nhwc, TensorData::F32(elements)) => {
                let Some(tables) = &self.tables else { return };
                for (x, pixel) in elements[first * 3..][..row[0].len() * 3].chunks_exact_mut(3).enumerate() {
                    for channel in 0..3 {
                        pixel[channel] = tables[channel][usize::from(row[channel][x])];
                    }
                }
            }
        }
    }

    fn plane(&self, channel: usize) -> usize {
        channel * self.width * self.height
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pixels: red 10, green 20, blue 30, then 40, 50, 60.
    const ROW: [&[u8]; 3] = [&[10, 40], &[20, 50], &[30, 60]];

    fn tensor_of(spec: &InputSpec) -> TensorData {
        let mut tensor = InputTensor::zeroed(spec);
        Normaliser::new(spec, Pixels::default()).write_row(ROW, (0, 0), &mut tensor);
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
        for (layout, place) in [(Layout::Nhwc, 1), (Layout::Nchw, 2)] {
            let TensorData::F32(floats) = tensor_of(&spec(layout, ColorOrder::Rgb, preset.clone())) else {
                panic!("a float specification makes a float tensor")
            };
            let expected = (20.0 * preset.scale - preset.mean[1]) / preset.std[1];
            assert_eq!(floats[place].to_bits(), expected.to_bits());
        }
    }
}
