//! How a stored picture must be turned to stand upright: by its EXIF data, and by how its camera is mounted.

use serde::{Deserialize, Serialize};

/// One of the eight ways in which a rectangle can be laid on itself.
///
/// A pixel of the upright picture is looked up in the stored one: its coordinates change places where the picture is
/// transposed, then each is counted from the other end where the stored picture is reversed along it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Orientation {
    pub(crate) transposed: bool,
    /// Stored columns run from right to left.
    pub(crate) reversed_x: bool,
    /// Stored rows run from the bottom to the top.
    pub(crate) reversed_y: bool,
}

/// How far a picture is turned, clockwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Rotation {
    /// Not at all.
    #[default]
    #[serde(rename = "0")]
    None,
    /// By a quarter.
    #[serde(rename = "90")]
    Quarter,
    /// By half a turn.
    #[serde(rename = "180")]
    Half,
    /// By three quarters.
    #[serde(rename = "270")]
    ThreeQuarters,
}

impl Orientation {
    /// As it is stored.
    pub const UPRIGHT: Self = Self { transposed: false, reversed_x: false, reversed_y: false };

    /// What the tag `Orientation` says (Exif 2.32, 4.6.4, tag 0112); `None` for a number that means nothing.
    #[must_use]
    pub const fn from_exif(value: u16) -> Option<Self> {
        let (transposed, reversed_x, reversed_y) = match value {
            1 => (false, false, false),
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, false, true),
            7 => (true, true, true),
            8 => (true, true, false),
            _ => return None,
        };
        Some(Self { transposed, reversed_x, reversed_y })
    }

    /// A picture that is to be turned clockwise, and then mirrored left to right where `mirrored` says so.
    #[must_use]
    pub fn turned(rotation: Rotation, mirrored: bool) -> Self {
        let exif = match rotation {
            Rotation::None => 1,
            Rotation::Quarter => 6,
            Rotation::Half => 3,
            Rotation::ThreeQuarters => 8,
        };
        let turned = Self::from_exif(exif).unwrap_or_default();
        turned.then(Self { reversed_x: mirrored, ..Self::UPRIGHT })
    }

    /// This one, and `next` applied to what comes out of it.
    #[must_use]
    pub const fn then(self, next: Self) -> Self {
        let (x, y) =
            if self.transposed { (next.reversed_y, next.reversed_x) } else { (next.reversed_x, next.reversed_y) };
        Self {
            transposed: self.transposed != next.transposed,
            reversed_x: self.reversed_x != x,
            reversed_y: self.reversed_y != y,
        }
    }

    /// Where the pixel at column `x`, row `y` of the upright picture lies in the stored one of `width` × `height`.
    #[must_use]
    pub const fn stored(self, (x, y): (usize, usize), (width, height): (usize, usize)) -> (usize, usize) {
        let (x, y) = if self.transposed { (y, x) } else { (x, y) };
        (if self.reversed_x { width - 1 - x } else { x }, if self.reversed_y { height - 1 - y } else { y })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (usize, usize) = (3, 2);

    /// The letters of the stored rows `abc`, `def` as they stand upright.
    fn upright(orientation: Orientation) -> String {
        let (width, height) = if orientation.transposed { (2, 3) } else { SIZE };
        let letter = |x, y| {
            let (x, y) = orientation.stored((x, y), SIZE);
            ["abc", "def"][y].as_bytes()[x] as char
        };
        (0..height).map(|y| (0..width).map(|x| letter(x, y)).collect::<String>() + "/").collect()
    }

    #[test]
    fn the_eight_exif_orientations_stand_upright() {
        let expected =
            ["abc/def/", "cba/fed/", "fed/cba/", "def/abc/", "ad/be/cf/", "da/eb/fc/", "fc/eb/da/", "cf/be/ad/"];
        let found: Vec<_> = (1..=8).map(|value| upright(Orientation::from_exif(value).unwrap())).collect();
        assert_eq!(found, expected);
        assert_eq!(Orientation::from_exif(0), None);
        assert_eq!(Orientation::from_exif(9), None);
    }

    #[test]
    fn a_turned_and_mirrored_picture_is_turned_first() {
        assert_eq!(upright(Orientation::turned(Rotation::Quarter, false)), "da/eb/fc/");
        assert_eq!(upright(Orientation::turned(Rotation::Quarter, true)), "ad/be/cf/");
        assert_eq!(upright(Orientation::turned(Rotation::Half, true)), "def/abc/");
        assert_eq!(upright(Orientation::turned(Rotation::ThreeQuarters, false)), "cf/be/ad/");
    }

    #[test]
    fn two_turns_are_one() {
        let quarter = Orientation::turned(Rotation::Quarter, false);
        assert_eq!(quarter.then(quarter), Orientation::turned(Rotation::Half, false));
        for first in (1..=8).filter_map(Orientation::from_exif) {
            assert_eq!(first.then(Orientation::UPRIGHT), first);
            assert_eq!(Orientation::UPRIGHT.then(first), first);
            let both = first.then(quarter);
            let (width, height) = if first.transposed { (2, 3) } else { SIZE };
            for (x, y) in (0..height).flat_map(|x| (0..width).map(move |y| (x, y))) {
                let between = quarter.stored((x, y), (width, height));
                assert_eq!(both.stored((x, y), SIZE), first.stored(between, SIZE), "{first:?}");
            }
        }
    }
}
