//! The image side of a specification: tensor layout, element type, channel order, normalisation, resize rule.

use serde::{Deserialize, Serialize};

use margay_kernels::pixels::Scaling;

use crate::problem::SpecProblem;

/// Largest width or height of a model's input, in pixels. Classifiers use 96 to 600; the bound keeps a wrong
/// manifest from asking for gigabytes.
pub const MAX_INPUT_SIDE: u32 = 2048;

/// Largest short side that an image is resized to before its middle is cut out, in pixels.
pub const MAX_SHORT_SIDE: u32 = 2 * MAX_INPUT_SIDE;

/// Share of the resized image that the centre crop keeps in the ImageNet presets: 224 of 256.
pub const IMAGENET_CROP: f64 = 0.875;

/// Order of the tensor's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// batch, channel, row, column: PyTorch, MXNet.
    Nchw,
    /// batch, row, column, channel: TensorFlow.
    Nhwc,
}

/// Type of one tensor element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// 32-bit float, normalised.
    F32,
    /// The pixel's byte, as it is.
    U8,
}

/// Order of the colour channels in the tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColorOrder {
    /// Red first.
    Rgb,
    /// Blue first: Caffe and OpenCV models.
    Bgr,
}

/// How much of a JPEG's resolution is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Jpeg {
    /// A half, a quarter or an eighth of it where that is still no less than the tensor needs.
    #[default]
    Reduced,
    /// All of it, always.
    Full,
}

/// How an image of any size becomes the tensor's width × height. Always bilinear with antialiasing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum ResizeRule {
    /// The short side becomes `short_side` pixels, the long side follows (truncated), and the centre is cropped.
    ShortSide {
        /// Pixels, at least the larger side of the tensor.
        short_side: u32,
    },
    /// The whole image is stretched to the tensor; the aspect ratio is lost.
    Squash,
    /// The whole image keeps its aspect ratio and the rest of the tensor is filled.
    Letterbox {
        /// Byte used in every channel of the border, before normalisation.
        pad: u8,
        /// Where the image lies.
        anchor: Anchor,
    },
}

/// Where a letterboxed image lies in its tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// Against the top left corner (YOLOX).
    TopLeft,
    /// In the middle; an odd remainder goes to the right and the bottom.
    Center,
}

/// What the image input of a model looks like.
///
/// A float element is `(byte × scale − mean) ÷ std`, with `mean` and `std` in the tensor's own channel order. A byte
/// element is the pixel itself, and then `scale`, `mean` and `std` must be 1, 0 and 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Order of the axes.
    pub layout: Layout,
    /// Element type.
    pub element: Element,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Order of the three channels.
    pub color: ColorOrder,
    /// Factor applied to the byte first; 1/255 for models trained on 0..1.
    pub scale: f32,
    /// Subtracted after scaling, per channel.
    pub mean: [f32; 3],
    /// Divides last, per channel.
    pub std: [f32; 3],
    /// Resize and crop.
    pub resize: ResizeRule,
    /// How much of a JPEG's resolution is decoded.
    #[serde(default)]
    pub jpeg: Jpeg,
}

impl InputSpec {
    /// Preset `imagenet`: the float NCHW preprocessing of torchvision, for a square input of `size` pixels.
    #[must_use]
    pub fn imagenet(size: u32) -> Self {
        Self {
            layout: Layout::Nchw,
            element: Element::F32,
            width: size,
            height: size,
            color: ColorOrder::Rgb,
            scale: 1.0 / 255.0,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            resize: ResizeRule::ShortSide { short_side: short_side_for(size) },
            jpeg: Jpeg::default(),
        }
    }

    /// Preset `u8-nhwc`: raw RGB bytes, as quantised TensorFlow classifiers take them, for a square input.
    #[must_use]
    pub fn u8_nhwc(size: u32) -> Self {
        Self {
            layout: Layout::Nhwc,
            element: Element::U8,
            scale: 1.0,
            mean: [0.0; 3],
            std: [1.0; 3],
            ..Self::imagenet(size)
        }
    }

    /// The tensor's shape, with a batch of one.
    #[must_use]
    pub fn shape(&self) -> [usize; 4] {
        let (width, height) = (self.width as usize, self.height as usize);
        match self.layout {
            Layout::Nchw => [1, 3, height, width],
            Layout::Nhwc => [1, height, width, 3],
        }
    }

    /// The arithmetic of each of the tensor's channels, in their order.
    #[must_use]
    pub fn scalings(&self) -> [Scaling; 3] {
        [0, 1, 2].map(|channel| Scaling { scale: self.scale, mean: self.mean[channel], deviation: self.std[channel] })
    }

    /// Adds a problem for each rule that the specification breaks.
    pub fn collect_problems(&self, problems: &mut Vec<SpecProblem>) {
        self.collect_size_problems(problems);
        self.collect_normalisation_problems(problems);
        let larger = self.width.max(self.height);
        if let ResizeRule::ShortSide { short_side } = self.resize
            && !(larger..=MAX_SHORT_SIDE).contains(&short_side)
        {
            let rule = format!("must be {larger} (the tensor's larger side) to {MAX_SHORT_SIDE}");
            problems.push(SpecProblem::new("input.resize.short_side", short_side, rule));
        }
    }

    fn collect_size_problems(&self, problems: &mut Vec<SpecProblem>) {
        for (field, value) in [("input.width", self.width), ("input.height", self.height)] {
            if !(1..=MAX_INPUT_SIDE).contains(&value) {
                problems.push(SpecProblem::new(field, value, format!("must be 1 to {MAX_INPUT_SIDE} pixels")));
            }
        }
    }

    fn collect_normalisation_problems(&self, problems: &mut Vec<SpecProblem>) {
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        if self.element == Element::U8 {
            let rule = "a u8 tensor holds raw bytes: leave scale, mean and std out";
            if self.scale != 1.0 {
                problems.push(SpecProblem::new("input.scale", self.scale, rule));
            }
            if self.mean != [0.0; 3] {
                problems.push(SpecProblem::new("input.mean", format!("{:?}", self.mean), rule));
            }
            if self.std != [1.0; 3] {
                problems.push(SpecProblem::new("input.std", format!("{:?}", self.std), rule));
            }
            return;
        }
        if !(self.scale.is_finite() && self.scale > 0.0) {
            problems.push(SpecProblem::new("input.scale", self.scale, "must be a finite number above 0"));
        }
        if !finite(&self.mean) {
            problems.push(SpecProblem::new("input.mean", format!("{:?}", self.mean), "must be three finite numbers"));
        }
        if !finite(&self.std) || self.std.iter().any(|&value| value <= 0.0) {
            let rule = "must be three finite numbers above 0";
            problems.push(SpecProblem::new("input.std", format!("{:?}", self.std), rule));
        }
    }
}

/// Short side from which a centre crop of `size` keeps [`IMAGENET_CROP`]: 256 for 224, 146 for 128.
#[must_use]
pub fn short_side_for(size: u32) -> u32 {
    (f64::from(size) / IMAGENET_CROP).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_resize_as_the_models_were_trained() {
        assert_eq!(short_side_for(224), 256);
        assert_eq!(short_side_for(128), 146);
        assert_eq!(InputSpec::imagenet(224).shape(), [1, 3, 224, 224]);
        assert_eq!(InputSpec::u8_nhwc(128).shape(), [1, 128, 128, 3]);
    }
}
