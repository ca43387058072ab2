//! Where the pixels of an image land in a tensor: pure arithmetic, no pixels.
//!
//! Resize and crop are one resampling. That equals resizing first and cropping afterwards only when the source box is
//! exact, so the box is computed from the integer sizes that the two-step way would have used.

use crate::input::{Anchor, ResizeRule};

/// A rectangle of the source image, in source pixels, with fractions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SourceBox {
    /// Distance from the left edge.
    pub left: f64,
    /// Distance from the top edge.
    pub top: f64,
    /// Width, more than 0.
    pub width: f64,
    /// Height, more than 0.
    pub height: f64,
}

/// A rectangle of the tensor, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TargetBox {
    /// Distance from the left edge.
    pub left: u32,
    /// Distance from the top edge.
    pub top: u32,
    /// Width, at least 1.
    pub width: u32,
    /// Height, at least 1.
    pub height: u32,
}

/// One resampling: this part of the image goes to that part of the tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placement {
    /// Read from here.
    pub source: SourceBox,
    /// Written to here.
    pub target: TargetBox,
}

/// Width and height in pixels, both at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl ResizeRule {
    /// The resampling that this rule asks for, from an image to a tensor. Both sizes must be at least 1 × 1, and a
    /// short-side rule must be one that [`crate::InputSpec::collect_problems`] finds nothing wrong with.
    #[must_use]
    pub fn place(&self, image: Size, tensor: Size) -> Placement {
        let whole = TargetBox { left: 0, top: 0, width: tensor.width, height: tensor.height };
        match *self {
            ResizeRule::ShortSide { short_side } => {
                Placement { source: centre_crop(image, tensor, short_side), target: whole }
            }
            ResizeRule::Squash => Placement { source: everything(image), target: whole },
            ResizeRule::Letterbox { anchor, .. } => {
                Placement { source: everything(image), target: letterbox(image, tensor, anchor) }
            }
        }
    }
}

fn everything(image: Size) -> SourceBox {
    SourceBox { left: 0.0, top: 0.0, width: f64::from(image.width), height: f64::from(image.height) }
}

fn centre_crop(image: Size, tensor: Size, short_side: u32) -> SourceBox {
    let short = image.width.min(image.height);
    let resized = |side: u32| u64::from(side) * u64::from(short_side) / u64::from(short);
    let (left, width) = crop_axis(image.width, resized(image.width), tensor.width);
    let (top, height) = crop_axis(image.height, resized(image.height), tensor.height);
    SourceBox { left, top, width, height }
}

/// Start and length, in source pixels, of a crop of `keep` pixels from the middle of `resized` pixels.
fn crop_axis(source: u32, resized: u64, keep: u32) -> (f64, f64) {
    let offset = half_to_even(resized.saturating_sub(u64::from(keep)));
    let (source, resized) = (f64::from(source), resized as f64);
    let start = offset as f64 * source / resized;
    let end = ((offset + u64::from(keep)) as f64 * source / resized).min(source);
    (start, end - start)
}

/// `n / 2`, with halves rounded to the even neighbour.
fn half_to_even(n: u64) -> u64 {
    let half = n / 2;
    if n % 2 == 1 && half % 2 == 1 { half + 1 } else { half }
}

fn letterbox(image: Size, tensor: Size, anchor: Anchor) -> TargetBox {
    let ratio =
        (f64::from(tensor.width) / f64::from(image.width)).min(f64::from(tensor.height) / f64::from(image.height));
    let fit = |side: u32, limit: u32| ((f64::from(side) * ratio) as u32).clamp(1, limit);
    let (width, height) = (fit(image.width, tensor.width), fit(image.height, tensor.height));
    let (left, top) = match anchor {
        Anchor::TopLeft => (0, 0),
        Anchor::Center => ((tensor.width - width) / 2, (tensor.height - height) / 2),
    };
    TargetBox { left, top, width, height }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TENSOR: Size = Size { width: 224, height: 224 };
    const IMAGENET: ResizeRule = ResizeRule::ShortSide { short_side: 256 };

    #[test]
    fn the_source_box_is_the_exact_one_of_resize_then_crop() {
        // 512x343 resizes to 382x256; 158/2 = 79 on the long axis, 16 on the short one.
        let placement = IMAGENET.place(Size { width: 512, height: 343 }, TENSOR);
        let source = placement.source;
        assert!((source.left - 79.0 * 512.0 / 382.0).abs() < 1e-9, "{source:?}");
        assert!((source.top - 16.0 * 343.0 / 256.0).abs() < 1e-9, "{source:?}");
        assert!((source.width - 224.0 * 512.0 / 382.0).abs() < 1e-9, "{source:?}");
        assert!((source.height - 224.0 * 343.0 / 256.0).abs() < 1e-9, "{source:?}");
    }

    #[test]
    fn a_half_pixel_offset_goes_to_the_even_neighbour() {
        assert_eq!([0, 1, 2, 3, 4, 5, 7].map(half_to_even), [0, 0, 1, 2, 2, 2, 4]);
    }

    #[test]
    fn a_letterbox_keeps_the_aspect_ratio_and_the_anchor() {
        let tensor = Size { width: 416, height: 416 };
        let image = Size { width: 1280, height: 720 };
        let top_left = ResizeRule::Letterbox { pad: 114, anchor: Anchor::TopLeft }.place(image, tensor);
        assert_eq!(top_left.target, TargetBox { left: 0, top: 0, width: 416, height: 234 });
        let center = ResizeRule::Letterbox { pad: 0, anchor: Anchor::Center }.place(image, tensor);
        assert_eq!(center.target, TargetBox { left: 0, top: 91, width: 416, height: 234 });
    }

    proptest! {
        #[test]
        fn every_placement_stays_inside_image_and_tensor(
            width in 1u32..20_000, height in 1u32..20_000, tensor_width in 1u32..512, tensor_height in 1u32..512,
            rule in 0usize..4, extra in 0u32..64,
        ) {
            let tensor = Size { width: tensor_width, height: tensor_height };
            let rule = [
                ResizeRule::ShortSide { short_side: tensor_width.max(tensor_height) + extra },
                ResizeRule::Squash,
                ResizeRule::Letterbox { pad: 0, anchor: Anchor::TopLeft },
                ResizeRule::Letterbox { pad: 0, anchor: Anchor::Center },
            ][rule];
            let Placement { source, target } = rule.place(Size { width, height }, tensor);
            prop_assert!(source.left >= 0.0 && source.top >= 0.0 && source.width > 0.0 && source.height > 0.0);
            prop_assert!(source.left + source.width <= f64::from(width));
            prop_assert!(source.top + source.height <= f64::from(height));
            prop_assert!(target.width >= 1 && target.left + target.width <= tensor_width);
            prop_assert!(target.height >= 1 && target.top + target.height <= tensor_height);
        }
    }
}
