//! From bytes to the elements of a tensor.

/// The arithmetic of one channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// Factor applied to the byte first.
    pub scale: f32,
    /// Subtracted after scaling.
    pub mean: f32,
    /// Divides last.
    pub deviation: f32,
}

impl Scaling {
    /// The element that a byte becomes.
    #[must_use]
    #[inline(always)]
    pub fn apply(self, byte: u8) -> f32 {
        (f32::from(byte) * self.scale - self.mean) / self.deviation
    }
}

#[inline(always)]
pub(super) fn normalise(bytes: &[u8], scaling: Scaling, out: &mut [f32]) {
    for (out, &byte) in out.iter_mut().zip(bytes) {
        *out = scaling.apply(byte);
    }
}

#[inline(always)]
pub(super) fn interleave([first, second, third]: [&[u8]; 3], out: &mut [u8]) {
    for (((out, &a), &b), &c) in out.as_chunks_mut::<3>().0.iter_mut().zip(first).zip(second).zip(third) {
        *out = [a, b, c];
    }
}
