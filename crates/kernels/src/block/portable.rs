//! Sixteen sums in plain Rust: what the others are compared with.

use super::{Block, Form, Joint, Pairs, Range};

/// Sixteen sums.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable(pub(super) [i32; 16]);

/// Beyond this, a number is saturated by every byte's range.
const FAR: f32 = 1_048_576.0;

/// The nearest whole number of what is at most [`FAR`] away from 0, ties to even: adding 1.5 · 2²³ leaves it in the low
/// bits. `f32::round_ties_even` is a call on old x86.
#[inline(always)]
pub(crate) fn nearest(number: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    (number + SHIFT).to_bits().cast_signed().wrapping_sub(SHIFT.to_bits().cast_signed())
}

impl Portable {
    /// [`Block::joined`], with numbers that have been read.
    #[inline(always)]
    pub(super) fn joined_with(mut self, joint: &Joint, with: [i32; 16]) -> Self {
        let Joint { range, zero, ratios } = *joint;
        for lane in 0..16 {
            let first = self.0[lane].max(range.low - range.zero).min(range.high - range.zero);
            let second = with[lane] - zero;
            let sum = first as f32 * ratios[0] + second as f32 * ratios[1];
            self.0[lane] = nearest(sum.clamp(-FAR, FAR));
        }
        self
    }

    /// [`Block::store`]'s bytes.
    #[inline(always)]
    pub(super) fn bytes(self, range: &Range) -> [u8; 16] {
        let Range { zero, low, high } = *range;
        std::array::from_fn(|lane| (self.0[lane] + zero).max(low).min(high) as u8)
    }
}

impl Block for Portable {
    type Input = [[u8; 4]; 16];
    type Weights = [[u8; 4]; 16];

    const FORM: Form = Form::Bytes;
    const SIGNED: bool = false;

    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        // SAFETY: sixteen sums stand behind the pointer.
        Self(unsafe { from.cast::<[i32; 16]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn weights(from: *const u8) -> Self::Weights {
        // SAFETY: 64 weights stand behind the pointer.
        unsafe { from.cast::<Self::Weights>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn broadcast(from: *const i32) -> Self::Input {
        // SAFETY: four bytes stand behind the pointer.
        [unsafe { from.cast::<[u8; 4]>().read_unaligned() }; 16]
    }

    #[inline(always)]
    unsafe fn neighbours(from: *const u8) -> Self::Input {
        // SAFETY: 64 bytes stand behind the pointer.
        let pixels = unsafe { from.cast::<[[u8; 16]; 4]>().read_unaligned() };
        std::array::from_fn(|lane| std::array::from_fn(|pixel| pixels[pixel][lane]))
    }

    #[inline(always)]
    unsafe fn dot(mut self, input: Self::Input, weights: Self::Weights) -> Self {
        for lane in 0..16 {
            for place in 0..4 {
                let weight = i32::from(weights[lane][place].cast_signed());
                self.0[lane] = self.0[lane].wrapping_add(i32::from(input[lane][place]) * weight);
            }
        }
        self
    }

    #[inline(always)]
    unsafe fn scaled(mut self, factors: *const f32) -> Self {
        // SAFETY: sixteen factors stand behind the pointer.
        let factors = unsafe { factors.cast::<[f32; 16]>().read_unaligned() };
        for lane in 0..16 {
            self.0[lane] = nearest((self.0[lane] as f32 * factors[lane]).clamp(-FAR, FAR));
        }
        self
    }

    #[inline(always)]
    unsafe fn joined(self, joint: &Joint, with: *const u8) -> Self {
        // SAFETY: sixteen bytes stand behind the pointer.
        let with = unsafe { with.cast::<[u8; 16]>().read_unaligned() };
        self.joined_with(joint, std::array::from_fn(|lane| i32::from(with[lane])))
    }

    #[inline(always)]
    unsafe fn store(self, range: &Range, to: *mut u8) {
        // SAFETY: sixteen bytes stand behind the pointer.
        unsafe { to.cast::<[u8; 16]>().write_unaligned(self.bytes(range)) }
    }

    #[inline(always)]
    unsafe fn store_sums(self, to: *mut i32) {
        // SAFETY: there is room for sixteen sums behind the pointer.
        unsafe { to.cast::<[i32; 16]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn store_floats(self, factors: *const f32, addends: *const f32, to: *mut f32) {
        // SAFETY: sixteen numbers stand behind each pointer.
        unsafe {
            let factors = factors.cast::<[f32; 16]>().read_unaligned();
            let addends = addends.cast::<[f32; 16]>().read_unaligned();
            let floats: [f32; 16] = std::array::from_fn(|lane| self.0[lane] as f32 * factors[lane] + addends[lane]);
            to.cast::<[f32; 16]>().write_unaligned(floats);
        }
    }
}

impl Pairs for Portable {
    #[inline(always)]
    unsafe fn rows(first: *const u8, second: *const u8) -> Self::Input {
        // SAFETY: sixteen bytes stand behind each pointer.
        let (first, second) =
            unsafe { (first.cast::<[u8; 16]>().read_unaligned(), second.cast::<[u8; 16]>().read_unaligned()) };
        std::array::from_fn(|lane| [first[lane], 0, second[lane], 0])
    }

    #[inline(always)]
    unsafe fn row(first: *const u8) -> Self::Input {
        // SAFETY: sixteen bytes stand behind the pointer.
        let first = unsafe { first.cast::<[u8; 16]>().read_unaligned() };
        std::array::from_fn(|lane| [first[lane], 0, 0, 0])
    }

    #[inline(always)]
    unsafe fn dot_pairs(mut self, input: Self::Input, weights: Self::Weights) -> Self {
        for lane in 0..16 {
            let [[a, b, c, d], [e, f, g, h]] = [input[lane], weights[lane]];
            let (first, second) = (i16::from_le_bytes([a, b]), i16::from_le_bytes([c, d]));
            let (one, other) = (i16::from_le_bytes([e, f]), i16::from_le_bytes([g, h]));
            let sum = self.0[lane].wrapping_add(i32::from(first) * i32::from(one));
            self.0[lane] = sum.wrapping_add(i32::from(second) * i32::from(other));
        }
        self
    }
}
