//! Sixteen sums in plain Rust, with every access to memory checked: what interprets a program over bytes to test its kernels.

use std::marker::PhantomData;

use super::portable::Portable;
use super::{Block, Form, Joint, Pairs, Range};
use crate::bounds::{Asked, Memory};

/// In what an instruction set differs from others: how it wants weights, and bytes.
pub(crate) trait Kind: Copy {
    const FORM: Form;
    const SIGNED: bool;
}

/// Names for the kinds that there are.
macro_rules! kinds {
    ($($(#[$text:meta])* $name:ident: $form:ident, $signed:literal;)*) => {
        $(
            $(#[$text])*
            #[derive(Debug, Clone, Copy)]
            pub(crate) struct $name;

            impl Kind for $name {
                const FORM: Form = Form::$form;
                const SIGNED: bool = $signed;
            }
        )*
    };
}

kinds! {
    /// Of x86's instructions over bytes.
    Unsigned: Bytes, false;
    /// Of AVX2, where weights are small.
    Narrow: NarrowBytes, false;
    /// Of AVX2, where they are not.
    Wide: Words, false;
    /// Of products of sixteen bits.
    OfSixteen: Pairs, false;
    /// Of those on NEON.
    OfHalves: Halves, true;
    /// Of NEON with dot products.
    Signed: Bytes, true;
    /// Of NEON without.
    Symmetric: SymmetricBytes, true;
}

/// Sixteen sums.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checked<K>([i32; 16], PhantomData<K>);

impl<K: Kind> Checked<K> {
    fn sums(sums: [i32; 16]) -> Self {
        Self(sums, PhantomData)
    }

    /// The arithmetic of rounding is the portable kernels'.
    fn portable(self) -> Portable {
        Portable(self.0)
    }

    fn number(byte: u8) -> i32 {
        if K::SIGNED { i32::from(byte.cast_signed()) } else { i32::from(byte) }
    }

    /// Four numbers, or two of sixteen bits.
    fn numbers(bytes: [u8; 4]) -> [i32; 4] {
        match K::FORM {
            Form::Pairs | Form::Halves => {
                let [a, b, c, d] = bytes;
                [i32::from(i16::from_le_bytes([a, b])), i32::from(i16::from_le_bytes([c, d])), 0, 0]
            }
            _ => bytes.map(Self::number),
        }
    }
}

impl<K: Kind> Block for Checked<K> {
    type Input = [[i32; 4]; 16];
    type Weights = [[i32; 4]; 16];

    const FORM: Form = K::FORM;
    const SIGNED: bool = K::SIGNED;

    unsafe fn load(from: *const i32) -> Self {
        // SAFETY: every access is asked for.
        Self::sums(unsafe { Asked::read(from.cast()) })
    }

    unsafe fn of(sums: &[i32; 16]) -> Self {
        Self::sums(*sums)
    }

    unsafe fn weights(from: *const u8) -> Self::Weights {
        let of_two = |bytes: [u8; 2]| i32::from(i16::from_le_bytes(bytes));
        // SAFETY: every access is asked for.
        unsafe {
            match K::FORM {
                Form::Words => {
                    let halves: [[[[u8; 2]; 2]; 8]; 4] = Asked::read(from.cast());
                    std::array::from_fn(|lane| {
                        let (first, lane) = (lane / 8 * 2, lane % 8);
                        let [[a, c], [b, d]] = [halves[first][lane], halves[first + 1][lane]];
                        [a, b, c, d].map(of_two)
                    })
                }
                Form::Pairs => {
                    let pairs: [[[u8; 2]; 2]; 16] = Asked::read(from.cast());
                    pairs.map(|[a, b]| [of_two(a), of_two(b), 0, 0])
                }
                Form::Halves => {
                    let halves: [[[u8; 2]; 16]; 2] = Asked::read(from.cast());
                    std::array::from_fn(|lane| [of_two(halves[0][lane]), of_two(halves[1][lane]), 0, 0])
                }
                Form::SymmetricBytes => {
                    let halves: [[[[u8; 2]; 4]; 2]; 4] = Asked::read(from.cast());
                    std::array::from_fn(|lane| {
                        let [[a, b], [c, d]] = halves[lane / 4].map(|half| half[lane % 4]);
                        [a, b, c, d].map(|byte| i32::from(byte.cast_signed()))
                    })
                }
                // Eights are read by the tile itself.
                Form::Bytes | Form::NarrowBytes | Form::Eights => {
                    let fours: [[u8; 4]; 16] = Asked::read(from.cast());
                    fours.map(|four| four.map(|byte| i32::from(byte.cast_signed())))
                }
            }
        }
    }

    unsafe fn broadcast(from: *const i32) -> Self::Input {
        // SAFETY: every access is asked for.
        [Self::numbers(unsafe { Asked::read(from.cast()) }); 16]
    }

    unsafe fn neighbours(from: *const u8) -> Self::Input {
        // SAFETY: every access is asked for.
        let pixels: [[u8; 16]; 4] = unsafe { Asked::read(from.cast()) };
        std::array::from_fn(|lane| std::array::from_fn(|pixel| Self::number(pixels[pixel][lane])))
    }

    unsafe fn dot(mut self, input: Self::Input, weights: Self::Weights) -> Self {
        for lane in 0..16 {
            for place in 0..4 {
                self.0[lane] = self.0[lane].wrapping_add(input[lane][place] * weights[lane][place]);
            }
        }
        self
    }

    unsafe fn scaled(self, factors: *const f32) -> Self {
        // SAFETY: every access is asked for; the numbers are read from here.
        unsafe {
            let factors: [f32; 16] = Asked::read(factors.cast());
            Self::sums(self.portable().scaled(factors.as_ptr()).0)
        }
    }

    unsafe fn joined(self, joint: &Joint, with: *const u8) -> Self {
        // SAFETY: every access is asked for; the numbers are read from here.
        unsafe {
            let bytes: [u8; 16] = Asked::read(with.cast());
            let numbers = bytes.map(Self::number);
            Self::sums(self.portable().joined_with(joint, numbers).0)
        }
    }

    unsafe fn store(self, range: &Range, to: *mut u8) {
        // SAFETY: every access is asked for.
        unsafe { Asked::write(self.portable().bytes(range), to.cast()) }
    }

    unsafe fn store_sums(self, to: *mut i32) {
        // SAFETY: every access is asked for.
        unsafe { Asked::write(self.0, to.cast()) }
    }

    unsafe fn store_floats(self, factors: *const f32, addends: *const f32, to: *mut f32) {
        // SAFETY: every access is asked for.
        unsafe {
            let [factors, addends] = [factors, addends].map(|from| Asked::read(from.cast::<[f32; 16]>()));
            let floats: [f32; 16] = std::array::from_fn(|lane| self.0[lane] as f32 * factors[lane] + addends[lane]);
            Asked::write(floats, to.cast());
        }
    }
}

impl<K: Kind> Pairs for Checked<K> {
    unsafe fn rows(first: *const u8, second: *const u8) -> Self::Input {
        // SAFETY: every access is asked for.
        let [first, second]: [[u8; 16]; 2] = [first, second].map(|from| unsafe { Asked::read(from.cast()) });
        std::array::from_fn(|lane| [Self::number(first[lane]), Self::number(second[lane]), 0, 0])
    }

    unsafe fn row(first: *const u8) -> Self::Input {
        // SAFETY: every access is asked for.
        let first: [u8; 16] = unsafe { Asked::read(first.cast()) };
        first.map(|byte| [Self::number(byte), 0, 0, 0])
    }

    unsafe fn dot_pairs(self, input: Self::Input, weights: Self::Weights) -> Self {
        // SAFETY: the caller's promise.
        unsafe { self.dot(input, weights) }
    }
}
