//! The blocks of a scan, one unit after the other (ITU-T T.81, annex F.2).

use margay_kernels::pixels::Pixels;

use super::Fault;
use super::bits::{Bits, Data};
use super::header::Header;
use super::huffman::{END, Table, Tables};
use super::window::{Area, Window};

/// Place of each coefficient of the zigzag order in its block (T.81, figure A.6).
const PLACES: [u8; 64] = places();

const fn places() -> [u8; 64] {
    let mut places = [0; 64];
    let (mut x, mut y, mut index) = (0_usize, 0_usize, 0);
    while index < 64 {
        places[index] = (y * 8 + x) as u8;
        let upwards = (x + y) % 2 == 0;
        if upwards && x == 7 || !upwards && y == 7 {
            if upwards { y += 1 } else { x += 1 }
        } else if upwards && y == 0 {
            x += 1;
        } else if !upwards && x == 0 {
            y += 1;
        } else if upwards {
            (x, y) = (x + 1, y - 1);
        } else {
            (x, y) = (x - 1, y + 1);
        }
        index += 1;
    }
    places
}

/// A component on its way.
struct Lane<'a> {
    across: usize,
    down: usize,
    dc: &'a Table,
    ac: &'a Table,
    /// By place in the zigzag order.
    quantisation: [i32; 64],
    area: Area,
    level: i32,
}

/// Decodes every block, and turns those of the window into samples.
pub(super) fn decode(
    header: &Header<'_>,
    window: &Window,
    data: &Data,
    tables: &Tables,
    (pixels, planes): (Pixels, &mut [Vec<u8>; 3]),
) -> Result<(), Fault> {
    let areas = window.areas(header);
    let lane = |index: usize| {
        let component = header.components().get(index)?;
        let (dc, ac) = tables.of(component.dc, component.ac)?;
        let quantisation = header.quantisation[component.quantisation]?.map(i32::from);
        let (across, down) = (component.across, component.down);
        Some(Lane { across, down, dc, ac, quantisation, area: areas[index]?, level: 0 })
    };
    let mut lanes = [lane(0), lane(1), lane(2)];
    let units = window.across * window.down;
    let interval = if header.restart_interval == 0 { units } else { header.restart_interval };
    if data.stretches() != units.div_ceil(interval) {
        return Err(Fault::Restarts);
    }
    let mut block = Block { numbers: [0; 64], pixels };
    for stretch in 0..data.stretches() {
        let mut bits = data.bits(stretch);
        lanes.iter_mut().flatten().for_each(|lane| lane.level = 0);
        for unit in stretch * interval..units.min((stretch + 1) * interval) {
            let (x, y) = (unit % window.across, unit / window.across);
            let place = (window.columns.contains(&x) && window.rows.contains(&y))
                .then(|| (x - window.columns.start, y - window.rows.start));
            for (lane, plane) in lanes.iter_mut().zip(planes.iter_mut()) {
                let Some(lane) = lane else { continue };
                match place {
                    Some(place) => lane.decode_unit(place, &mut bits, &mut block, plane)?,
                    None => lane.skip_unit(&mut bits)?,
                }
            }
            if bits.overrun() {
                return Err(Fault::DataEnd);
            }
        }
        bits.end()?;
    }
    Ok(())
}

impl Lane<'_> {
    fn decode_unit(
        &mut self,
        (x, y): (usize, usize),
        bits: &mut Bits<'_>,
        block: &mut Block,
        plane: &mut [u8],
    ) -> Result<(), Fault> {
        let Area { side, stride, .. } = self.area;
        for row in 0..self.down {
            for column in 0..self.across {
                let at = (y * self.down + row) * side * stride + (x * self.across + column) * side;
                let flat = self.read_block(bits, &mut block.numbers)?;
                block.write(flat, side, &mut plane[at..], stride);
            }
        }
        Ok(())
    }

    fn skip_unit(&mut self, bits: &mut Bits<'_>) -> Result<(), Fault> {
        for _ in 0..self.down * self.across {
            self.read_level(bits)?;
            let mut index = 1;
            while index < 64 {
                bits.refill();
                index += skip(self.ac, bits, index)?;
                if index < 64 {
                    index += skip(self.ac, bits, index)?;
                }
            }
        }
        Ok(())
    }

    fn read_level(&mut self, bits: &mut Bits<'_>) -> Result<(), Fault> {
        bits.refill();
        let step = self.dc.step(bits)?;
        if step.advance != 0 && step.advance != END {
            return Err(Fault::Code);
        }
        self.level = self.level.wrapping_add(step.value);
        Ok(())
    }

    /// Reads a block into `numbers`, which hold zeros; tells whether it has but one level.
    #[inline(always)]
    fn read_block(&mut self, bits: &mut Bits<'_>, numbers: &mut [i32; 64]) -> Result<bool, Fault> {
        self.read_level(bits)?;
        numbers[0] = self.level.wrapping_mul(self.quantisation[0]);
        let mut index = 1;
        while index < 64 {
            bits.refill();
            index += self.put(bits, index, numbers)?;
            if index < 64 {
                index += self.put(bits, index, numbers)?;
            }
        }
        Ok(index == 1 + END)
    }

    /// Puts the next number where it belongs; gives how far to go on.
    #[inline(always)]
    fn put(&self, bits: &mut Bits<'_>, index: usize, numbers: &mut [i32; 64]) -> Result<usize, Fault> {
        let step = self.ac.step(bits)?;
        let place = index + step.advance;
        if place >= 64 {
            return if step.advance == END { Ok(END) } else { Err(Fault::Block) };
        }
        numbers[usize::from(PLACES[place] & 63)] = step.value.wrapping_mul(self.quantisation[place]);
        Ok(step.advance + 1)
    }
}

#[inline(always)]
fn skip(table: &Table, bits: &mut Bits<'_>, index: usize) -> Result<usize, Fault> {
    let step = table.step(bits)?;
    if index + step.advance >= 64 {
        return if step.advance == END { Ok(END) } else { Err(Fault::Block) };
    }
    Ok(step.advance + 1)
}

/// The coefficients of one block, in rows.
struct Block {
    numbers: [i32; 64],
    pixels: Pixels,
}

impl Block {
    /// Writes the block's samples, of which there are `side` × `side`, and leaves zeros behind.
    #[inline(always)]
    fn write(&mut self, flat: bool, side: usize, out: &mut [u8], stride: usize) {
        match side {
            _ if flat || side == 1 => {
                let level = ((self.numbers[0].wrapping_add(4) >> 3).wrapping_add(128)).clamp(0, 255) as u8;
                (0..side).for_each(|y| out[y * stride..][..side].fill(level));
                if flat {
                    self.numbers[0] = 0;
                    return;
                }
            }
            8 => self.pixels.block8(&self.numbers, out, stride),
            4 => self.pixels.block4(&self.numbers, out, stride),
            _ => self.pixels.block2(&self.numbers, out, stride),
        }
        self.numbers = [0; 64];
    }
}
