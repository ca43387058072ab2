//! Huffman codes (ITU-T T.81, annexes C and F.2), looked up together with the number that follows them.

use super::Fault;
use super::bits::Bits;
use super::header::{Codes, Header};

/// Bits that are looked up at once: most codes with their numbers are no longer.
const LOOK: u32 = 11;
/// Set in [`Step::advance`] by the code that ends a block.
pub(super) const END: usize = 128;

/// A code and the number behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Coefficients of zero before the number; [`END`]: there are no more.
    pub(super) advance: usize,
    pub(super) value: i32,
}

/// One table.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// By the next bits: length of code and number, [`Step::advance`], [`Step::value`], in 8, 8 and 16 bits; 0 where they
    /// do not fit.
    look: Box<[u32; 1 << LOOK]>,
    /// For each length, the first code of the next length, left-aligned in 16 bits, and what to add to a code to find
    /// its symbol.
    limits: [(u32, i32); 17],
    symbols: Vec<u8>,
    /// The file's own, to see whether the next file has the same.
    counts: [u8; 16],
}

/// The tables of a file, kept for the next one.
#[derive(Debug, Default)]
pub(super) struct Tables {
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
}

impl Tables {
    /// Makes those that `header` has and that are not those of the last file.
    pub(super) fn renew(&mut self, header: &Header<'_>) -> Result<(), Fault> {
        for (kept, codes) in self.dc.iter_mut().chain(&mut self.ac).zip(header.dc.iter().chain(&header.ac)) {
            let Some(codes) = codes else { continue };
            let same = |table: &Table| table.counts == *codes.counts && table.symbols == codes.symbols;
            if !kept.as_ref().is_some_and(same) {
                *kept = Some(Table::of(codes)?);
            }
        }
        Ok(())
    }

    /// The tables of a component; they are there once [`Self::renew`] has seen its header.
    pub(super) fn of(&self, dc: usize, ac: usize) -> Option<(&Table, &Table)> {
        Some((self.dc[dc].as_ref()?, self.ac[ac].as_ref()?))
    }
}

impl Table {
    fn of(codes: &Codes<'_>) -> Result<Self, Fault> {
        let mut table = Self {
            look: Box::new([0; 1 << LOOK]),
            limits: [(0, 0); 17],
            symbols: codes.symbols.to_vec(),
            counts: *codes.counts,
        };
        let (mut code, mut index) = (0_u32, 0_usize);
        for length in 1..=16_u32 {
            table.limits[length as usize].1 = index as i32 - code as i32;
            for _ in 0..codes.counts[length as usize - 1] {
                table.enter(code, length, codes.symbols[index]);
                (code, index) = (code + 1, index + 1);
            }
            if code > 1 << length {
                return Err(Fault::Tables);
            }
            table.limits[length as usize].0 = code << (16 - length);
            code <<= 1;
        }
        Ok(table)
    }

    /// Enters a code with every number that may follow it, as far as both fit.
    fn enter(&mut self, code: u32, length: u32, symbol: u8) {
        let size = u32::from(symbol & 15);
        let total = length + size;
        if total > LOOK || code >= 1 << length {
            return;
        }
        let Some(advance) = advance(symbol) else { return };
        let free = LOOK - total;
        for number in 0..1_u32 << size {
            let value = extended(number as i32, size);
            let entry = total | (advance as u32) << 8 | (value as u32) << 16;
            let first = ((code << size | number) << free) as usize;
            self.look[first..first + (1 << free)].fill(entry);
        }
    }

    /// Takes the next code and its number, of at most 32 bits, which must be available.
    #[inline(always)]
    pub(super) fn step(&self, bits: &mut Bits<'_>) -> Result<Step, Fault> {
        let entry = self.look[bits.peek(LOOK)];
        if entry == 0 {
            return self.long_step(bits);
        }
        bits.skip(entry & 0xff);
        Ok(Step { advance: (entry >> 8 & 0xff) as usize, value: entry as i32 >> 16 })
    }

    #[cold]
    fn long_step(&self, bits: &mut Bits<'_>) -> Result<Step, Fault> {
        let next = bits.peek(16) as u32;
        let length = (1..=16).find(|&length| next < self.limits[length].0).ok_or(Fault::Code)?;
        let place = (next >> (16 - length)) as i32 + self.limits[length].1;
        let symbol = usize::try_from(place).ok().and_then(|place| self.symbols.get(place)).ok_or(Fault::Code)?;
        let size = u32::from(symbol & 15);
        bits.skip(length as u32);
        let number = if size == 0 { 0 } else { bits.peek(size) as i32 };
        bits.skip(size);
        Ok(Step { advance: advance(*symbol).ok_or(Fault::Code)?, value: extended(number, size) })
    }
}

/// How far a symbol goes on before its number; `None` for those that baseline files do not have. A DC table's symbols are
/// sizes alone.
fn advance(symbol: u8) -> Option<usize> {
    match (symbol >> 4, symbol & 15) {
        (0, 0) => Some(END),
        (15, 0) => Some(15),
        (_, 0) => None,
        (run, _) => Some(usize::from(run)),
    }
}

/// A number of `size` bits with its sign (T.81, F.2.2.1, EXTEND).
fn extended(number: i32, size: u32) -> i32 {
    if size > 0 && number < 1 << (size - 1) { number - (1 << size) + 1 } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_signs_of_annex_f() {
        assert_eq!([0, 1].map(|number| extended(number, 1)), [-1, 1]);
        assert_eq!([0, 1, 2, 3].map(|number| extended(number, 2)), [-3, -2, 2, 3]);
        assert_eq!(extended(0, 0), 0);
    }

    #[test]
    fn a_table_with_more_codes_than_bits_can_tell_apart_is_refused() {
        let mut counts = [0; 16];
        counts[0] = 3;
        let codes = Codes { counts: &counts, symbols: &[1, 2, 3] };
        assert_eq!(Table::of(&codes).unwrap_err(), Fault::Tables);
    }
}
