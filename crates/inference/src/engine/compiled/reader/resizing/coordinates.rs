//! Which rows and columns of a picture those of a resized one come from, in single precision, as ONNX Runtime computes it:
//! where a coordinate is almost half a pixel, rounding decides which one is near.

use margay_kernels::Sample;
use tract_onnx::pb::NodeProto;

use super::MAX_SIDE;
use crate::engine::compiled::attributes::Attributes;
use crate::engine::compiled::declined::Declined;

/// A side before and after.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) scale: f32,
}

impl Axis {
    pub(super) fn unchanged(length: usize) -> Self {
        Self { from: length, to: length, scale: 1.0 }
    }

    pub(super) fn is_unchanged(&self) -> bool {
        *self == Self::unchanged(self.from)
    }

    /// A side by a factor, rounded down.
    pub(super) fn scaled(from: usize, scale: f32) -> Result<Self, String> {
        let to = (from as f32 * scale).floor();
        let is_fit = scale == 1.0 || (scale > 0.0 && to >= 1.0 && to <= MAX_SIDE as f32);
        // What is no number is not greater than 0.
        if !is_fit {
            return Err(format!("scales has {scale} for a length of {from}: lengths must become 1 to {MAX_SIDE}"));
        }
        Ok(Self { from, to: if scale == 1.0 { from } else { to as usize }, scale })
    }

    pub(super) fn sized(from: usize, to: i64) -> Result<Self, String> {
        match usize::try_from(to) {
            Ok(to) if to == from => Ok(Self::unchanged(from)),
            Ok(to) if (1..=MAX_SIDE).contains(&to) => Ok(Self { from, to, scale: to as f32 / from as f32 }),
            _ => Err(format!("sizes has {to}: a resized length must be 1 to {MAX_SIDE}")),
        }
    }
}

/// How places of the output become places of the input.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Coordinates {
    Asymmetric,
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
}

impl Coordinates {
    fn place(self, axis: &Axis, at: usize) -> f32 {
        let &Axis { from, to, scale } = axis;
        let at = at as f32;
        match self {
            _ if scale == 1.0 => at,
            Self::Asymmetric => at / scale,
            Self::HalfPixel => (at + 0.5) / scale - 0.5,
            Self::HalfPixelSymmetric => {
                let whole = scale * from as f32;
                let offset = from as f32 / 2.0 * (1.0 - to as f32 / whole);
                offset + (at + 0.5) / scale - 0.5
            }
            Self::PytorchHalfPixel if to > 1 => (at + 0.5) / scale - 0.5,
            Self::AlignCorners if to > 1 => at * (from - 1) as f32 / (to - 1) as f32,
            Self::PytorchHalfPixel | Self::AlignCorners => 0.0,
        }
    }
}

/// Which of two pixels is near.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Near {
    Floor,
    Ceil,
    RoundPreferFloor,
    RoundPreferCeil,
    /// Before operator set 11, where a picture becomes larger.
    Unnamed,
}

impl Near {
    fn of(self, place: f32) -> f32 {
        let is_half = place == place.floor() + 0.5;
        match self {
            Self::Floor | Self::Unnamed => place.floor(),
            Self::Ceil => place.ceil(),
            Self::RoundPreferFloor if is_half => place.floor(),
            Self::RoundPreferCeil if is_half => place.ceil(),
            Self::RoundPreferFloor | Self::RoundPreferCeil => place.round(),
        }
    }
}

/// How pixels are computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method {
    coordinates: Coordinates,
    /// `None`: between two pixels, by their distance.
    near: Option<Near>,
}

impl Method {
    pub(super) fn read(node: &NodeProto, attributes: &Attributes<'_>, opset: i64) -> Result<Self, Declined> {
        let refuse =
            |name: &str, found: &str| Err(Declined::node(node, format!("its {name} {found:.40} is not covered")));
        let mode = attributes.text("mode", "nearest");
        let is_nearest = match mode {
            "nearest" => true,
            "linear" => false,
            _ => return refuse("mode", mode),
        };
        if opset < 11 {
            return Ok(Self { coordinates: Coordinates::Asymmetric, near: is_nearest.then_some(Near::Unnamed) });
        }
        let name = attributes.text("coordinate_transformation_mode", "half_pixel");
        let coordinates = match name {
            "asymmetric" => Coordinates::Asymmetric,
            "half_pixel" => Coordinates::HalfPixel,
            "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
            "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
            "align_corners" => Coordinates::AlignCorners,
            _ => return refuse("coordinate_transformation_mode", name),
        };
        let name = attributes.text("nearest_mode", "round_prefer_floor");
        let near = match name {
            "floor" => Near::Floor,
            "ceil" => Near::Ceil,
            "round_prefer_floor" => Near::RoundPreferFloor,
            "round_prefer_ceil" => Near::RoundPreferCeil,
            _ => return refuse("nearest_mode", name),
        };
        let policy = attributes.text("keep_aspect_ratio_policy", "stretch");
        if policy != "stretch" {
            return refuse("keep_aspect_ratio_policy", policy);
        }
        for name in ["antialias", "exclude_outside"] {
            if attributes.int(name, 0) != 0 {
                return refuse(name, "1");
            }
        }
        // Of other modes, which are not covered.
        attributes.get("cubic_coeff_a");
        attributes.get("extrapolation_value");
        Ok(Self { coordinates, near: is_nearest.then_some(near) })
    }

    /// Where each place of the resized axis comes from; the reason where that is not known.
    pub(super) fn samples(&self, axis: &Axis) -> Result<Vec<Sample>, String> {
        if self.near == Some(Near::Unnamed) && axis.scale < 1.0 {
            return Err("which pixels a smaller picture has is not defined before operator set 11".to_owned());
        }
        let last = (axis.from - 1) as f32;
        let sample = |at: usize| {
            let place = self.coordinates.place(axis, at);
            let Some(near) = self.near else {
                let place = place.clamp(0.0, last);
                let (first, second) = (place.floor(), (place.floor() + 1.0).min(last));
                return Sample { first: first as u32, second: second as u32, weight: place - first };
            };
            Sample::copy_of(near.of(place).clamp(0.0, last) as u32)
        };
        Ok((0..axis.to).map(sample).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(coordinates: Coordinates, near: Near, axis: Axis) -> Vec<u32> {
        let samples = Method { coordinates, near: Some(near) }.samples(&axis).unwrap();
        samples.iter().map(|sample| sample.first).collect()
    }

    #[test]
    fn halves_go_where_the_nearest_mode_says() {
        let half = Axis::scaled(6, 0.5).unwrap();
        // Places 0.5, 2.5 and 4.5.
        assert_eq!(near(Coordinates::HalfPixel, Near::RoundPreferFloor, half), [0, 2, 4]);
        assert_eq!(near(Coordinates::HalfPixel, Near::RoundPreferCeil, half), [1, 3, 5]);
        assert_eq!(near(Coordinates::HalfPixel, Near::Floor, half), [0, 2, 4]);
        assert_eq!(near(Coordinates::HalfPixel, Near::Ceil, half), [1, 3, 5]);
        let double = Axis::sized(2, 4).unwrap();
        assert_eq!(near(Coordinates::Asymmetric, Near::Floor, double), [0, 0, 1, 1]);
        assert_eq!(near(Coordinates::AlignCorners, Near::RoundPreferFloor, double), [0, 0, 1, 1]);
    }

    #[test]
    fn places_between_two_have_a_part_of_either() {
        let method = Method { coordinates: Coordinates::HalfPixel, near: None };
        let samples = method.samples(&Axis::sized(2, 4).unwrap()).unwrap();
        let found: Vec<_> = samples.iter().map(|sample| (sample.first, sample.second, sample.weight)).collect();
        assert_eq!(found, [(0, 1, 0.0), (0, 1, 0.25), (0, 1, 0.75), (1, 1, 0.0)]);
    }

    #[test]
    fn scales_and_sizes_that_make_no_picture_are_refused() {
        for scale in [0.0, -1.0, 1e9, 1e-9, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let reason = Axis::scaled(8, scale).unwrap_err();
            assert!(reason.contains(&format!("scales has {scale} for a length of 8")), "{reason}");
            assert!(reason.contains("1 to 16384"), "{reason}");
        }
        for size in [0, -1, i64::MIN, i64::MAX, 16385] {
            assert!(Axis::sized(8, size).unwrap_err().contains(&format!("sizes has {size}: ")));
        }
        assert_eq!(Axis::scaled(8, 1.3).map(|axis| axis.to), Ok(10));
    }
}
