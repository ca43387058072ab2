//! What the bytes of a picture stand for where a network takes floats.

use super::bytes::Quantised;
use crate::kernel::bytes::rows::quantised;
use crate::pixels::{Pixels, Scaling};

/// The float that each byte of each channel stands for: bit for bit what [`Scaling::apply`] makes of it.
#[derive(Debug)]
pub(crate) struct Levels {
    scalings: Vec<Scaling>,
    tables: Vec<[f32; 256]>,
    loops: Pixels,
}

impl Levels {
    /// One scaling for each channel.
    pub(crate) fn new(scalings: Vec<Scaling>, loops: Pixels) -> Self {
        let table = |scaling: &Scaling| std::array::from_fn(|byte| scaling.apply(byte as u8));
        Self { tables: scalings.iter().map(table).collect(), scalings, loops }
    }

    /// For how many channels.
    pub(crate) fn channels(&self) -> usize {
        self.scalings.len()
    }

    /// The loops over pixels.
    pub(crate) fn loops(&self) -> Pixels {
        self.loops
    }

    /// The arithmetic of each channel.
    pub(crate) fn scalings(&self) -> &[Scaling] {
        &self.scalings
    }

    /// The floats of one channel's bytes, as many as there is room for.
    pub(crate) fn write(&self, channel: usize, bytes: &[u8], floats: &mut [f32]) {
        self.loops.normalise(bytes, self.scalings[channel], floats);
    }

    /// The float of one byte of a channel.
    pub(crate) fn float(&self, channel: usize, byte: u8) -> f32 {
        self.tables[channel][usize::from(byte)]
    }

    /// For each channel and byte, the unsigned byte that its float becomes.
    pub(crate) fn as_bytes(&self, Quantised { scale, zero }: Quantised) -> Vec<[u8; 256]> {
        self.tables.iter().map(|table| table.map(|float| quantised(float, scale, zero))).collect()
    }
}
