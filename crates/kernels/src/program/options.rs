//! How a program is planned and run.

use crate::byte_isa::ByteIsa;
use crate::isa::Isa;

/// How a program is to run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Instruction set; one that the machine has not is replaced by the fastest that it has.
    pub isa: Isa,
    /// Instruction set of quantised steps, in the same way.
    pub byte_isa: ByteIsa,
    /// Threads, the caller's included.
    pub threads: usize,
    /// Whether 3 × 3 convolutions may be computed by Winograd's method, which is faster. Of floats it takes two to four
    /// times the memory for their weights, and rounds more: results differ in the sixth digit. Of bytes it is exact, and takes up to
    /// eight times the memory.
    pub winograd: bool,
    /// Whether the memory is filled with numbers that are none before every run, so that nothing that was not computed
    /// goes unnoticed.
    pub poisons: bool,
    /// Whether every access to memory is checked, one float or sixteen bytes at a time: the program is planned for the instruction set,
    /// which the machine need not have, and interpreted, thousands of times slower, with the same results. Memory beyond
    /// the step's own ends the run with a panic. For tests; one thread.
    pub checks: bool,
}

impl Default for Options {
    fn default() -> Self {
        let (isa, byte_isa) = (Isa::best(), ByteIsa::best());
        Self { isa, byte_isa, threads: 1, winograd: true, poisons: cfg!(debug_assertions), checks: false }
    }
}

impl Options {
    /// The same with instruction sets that the machine has. An interpreter needs none.
    #[must_use]
    pub fn resolved(self) -> Self {
        let is_there = self.checks || Isa::available().contains(&self.isa);
        let isa = if is_there { self.isa } else { Isa::best() };
        let is_there = self.checks || ByteIsa::available().contains(&self.byte_isa);
        let byte_isa = if is_there { self.byte_isa } else { ByteIsa::best() };
        Self { isa, byte_isa, threads: if self.checks { 1 } else { self.threads }, ..self }
    }
}
