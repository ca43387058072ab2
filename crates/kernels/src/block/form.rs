//! How weights of bytes are packed, and which fit.

use crate::layout::LANES;

/// The order of one block's weights for four input bytes, two of sixteen bits, or eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For each channel, four bytes.
    Bytes,
    /// Without -128, so that two products fit sixteen bits. For each four channels, two bytes for each of them, then the
    /// other two.
    #[cfg_attr(not(target_arch = "aarch64"), allow(dead_code, reason = "NEON's"))]
    SymmetricBytes,
    /// As [`Form::Bytes`], where in each half of four no two weights of one sign exceed 128 together, so that two
    /// products fit sixteen bits.
    NarrowBytes,
    /// Sixteen bits each; for channels 0 to 7 the first and third weight, then the second and fourth; then for 8 to 15.
    Words,
    /// For each channel, two of sixteen bits, for inputs of sixteen bits.
    Pairs,
    /// As [`Form::Pairs`], the first of all channels before the second ones.
    #[cfg_attr(not(target_arch = "aarch64"), allow(dead_code, reason = "NEON's"))]
    Halves,
    /// For each channel, eight bytes, for two words of the input and two pixels at a time.
    #[cfg_attr(not(target_arch = "aarch64"), allow(dead_code, reason = "i8mm's"))]
    Eights,
}

impl Form {
    /// Bytes of one block's weights for the input channels that are multiplied at once.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Bytes | Self::SymmetricBytes | Self::NarrowBytes | Self::Pairs | Self::Halves => 64,
            Self::Words | Self::Eights => 128,
        }
    }

    /// Input channels of one word: those that [`Block::dot`] multiplies at once. Of [`Form::Eights`], of two words.
    pub(crate) const fn of_word(self) -> usize {
        match self {
            Self::Pairs | Self::Halves => 2,
            Self::Eights => 8,
            _ => 4,
        }
    }

    /// Words of a pixel that are multiplied at once.
    pub(crate) const fn words(self) -> usize {
        if matches!(self, Self::Eights) { 2 } else { 1 }
    }

    /// Pixels that are multiplied at once: a tile of another number of them is as slow as one of the next multiple.
    pub(crate) const fn pixels(self) -> usize {
        if matches!(self, Self::Eights) { 2 } else { 1 }
    }

    /// Least and greatest weight.
    pub(crate) const fn limits(self) -> [i16; 2] {
        match self {
            Self::Bytes | Self::NarrowBytes | Self::Eights => [-128, 127],
            Self::SymmetricBytes => [-127, 127],
            Self::Words | Self::Pairs | Self::Halves => [-255, 255],
        }
    }

    /// Whether four weights can be packed.
    pub(crate) fn takes(self, four: [i16; 4]) -> bool {
        let [low, high] = self.limits();
        let is_narrow = |a: i16, b: i16| a.max(0) + b.max(0) <= 128 && a.min(0) + b.min(0) >= -128;
        four.iter().all(|weight| (low..=high).contains(weight))
            && (self != Self::NarrowBytes || (is_narrow(four[0], four[1]) && is_narrow(four[2], four[3])))
    }

    /// Where the two weights of a channel of a block are, in bytes, if each has sixteen bits and they are neither widened.
    pub(crate) fn of_sixteen(self, lane: usize) -> Option<[usize; 2]> {
        match self {
            Self::Pairs => Some([lane * 4, lane * 4 + 2]),
            Self::Halves => Some([lane * 2, (LANES + lane) * 2]),
            _ => None,
        }
    }

    /// Puts the weights of a channel of a block for one word into their places: the first [`Self::of_word`] of four. Of
    /// [`Form::Eights`], those for the second word are put in the same way four bytes further on.
    pub(crate) fn put(self, packed: &mut [u8], lane: usize, four: [i16; 4]) {
        let mut put = |place: usize, weight: i16| packed[place..place + 2].copy_from_slice(&weight.to_le_bytes());
        if self == Self::Words {
            let first = lane / 8 * 64 + lane % 8 * 4;
            for (place, weight) in [(0, four[0]), (2, four[2]), (32, four[1]), (34, four[3])] {
                put(first + place, weight);
            }
        } else if let Some([first, second]) = self.of_sixteen(lane) {
            put(first, four[0]);
            put(second, four[1]);
        } else if self == Self::SymmetricBytes {
            let of_two = |a: i16, b: i16| i16::from_le_bytes([a, b].map(|weight| (weight as i8).cast_unsigned()));
            let first = lane / 4 * 16 + lane % 4 * 2;
            put(first, of_two(four[0], four[1]));
            put(first + 8, of_two(four[2], four[3]));
        } else {
            let first = lane * 4 * self.words();
            let to = packed[first..first + 4].iter_mut();
            to.zip(four).for_each(|(byte, weight)| *byte = (weight as i8).cast_unsigned());
        }
    }
}
