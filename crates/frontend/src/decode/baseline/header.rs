//! What stands before a JPEG's data: frame, tables, orientation (ITU-T T.81, annex B).

use crate::decode::exif;
use crate::geometry::Size;
use crate::orientation::Orientation;

/// One component of the frame and of its scan.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::decode) struct Component {
    id: u8,
    /// Sampling factors, 1 or 2.
    pub(super) across: usize,
    pub(super) down: usize,
    pub(super) quantisation: usize,
    pub(super) dc: usize,
    pub(super) ac: usize,
}

/// A table of codes as it stands in the file: how many there are of each length, and what they mean.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codes<'a> {
    pub(super) counts: &'a [u8; 16],
    pub(super) symbols: &'a [u8],
}

/// The header of a file that is decoded here.
#[derive(Debug)]
pub(in crate::decode) struct Header<'a> {
    pub(in crate::decode) size: Size,
    components: [Component; 3],
    count: usize,
    /// In zigzag order.
    pub(super) quantisation: [Option<[u8; 64]>; 4],
    pub(super) dc: [Option<Codes<'a>>; 4],
    pub(super) ac: [Option<Codes<'a>>; 4],
    /// Units between two restart markers; 0: there are none.
    pub(super) restart_interval: usize,
    pub(in crate::decode) orientation: Orientation,
    /// Where the data begin.
    pub(super) scan: usize,
}

/// What a file is.
#[derive(Debug)]
pub(in crate::decode) enum Parsed<'a> {
    /// One that is decoded here.
    Baseline(Box<Header<'a>>),
    /// Another one, or none at all, for whoever decodes the rest.
    Other(Orientation),
}

impl Header<'_> {
    pub(super) fn components(&self) -> &[Component] {
        &self.components[..self.count]
    }

    /// The largest sampling factors.
    pub(super) fn factors(&self) -> (usize, usize) {
        let components = self.components().iter();
        components.fold((1, 1), |(across, down), c| (across.max(c.across), down.max(c.down)))
    }

    fn is_decoded_here(&self) -> bool {
        let components = self.components();
        let (across, down) = self.factors();
        let known = |c: &Component| {
            self.quantisation[c.quantisation].is_some() && self.dc[c.dc].is_some() && self.ac[c.ac].is_some()
        };
        // The first component decides the grid that the picture is described by.
        components.iter().all(known)
            && (components.len() == 1 || (components[0].across, components[0].down) == (across, down))
    }
}

/// Reads the header. What is not understood makes the file one of the others: its decoder says what is wrong with it.
pub(in crate::decode) fn parse(file: &[u8]) -> Parsed<'_> {
    let mut header = Header {
        size: Size { width: 0, height: 0 },
        components: [Component::default(); 3],
        count: 0,
        quantisation: [None; 4],
        dc: [None; 4],
        ac: [None; 4],
        restart_interval: 0,
        orientation: Orientation::UPRIGHT,
        scan: 0,
    };
    match read(file, &mut header) {
        Some(()) if header.is_decoded_here() => Parsed::Baseline(Box::new(header)),
        _ => Parsed::Other(header.orientation),
    }
}

const START_OF_IMAGE: [u8; 2] = [0xff, 0xd8];

/// `None` as soon as something is met that is not decoded here.
fn read<'a>(file: &'a [u8], header: &mut Header<'a>) -> Option<()> {
    file.starts_with(&START_OF_IMAGE).then_some(())?;
    let mut at = 2;
    loop {
        // Any number of fill bytes may stand before a marker.
        while file.get(at..at + 2)? == [0xff, 0xff] {
            at += 1;
        }
        let &[0xff, marker, high, low] = file.get(at..at + 4)? else { return None };
        let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
        let segment = file.get(at + 4..end)?;
        match marker {
            0xc0 | 0xc1 if header.count == 0 => read_frame(segment, header)?,
            0xc4 => read_codes(segment, header)?,
            0xdb => read_quantisation(segment, header)?,
            0xdd => header.restart_interval = usize::from(u16::from_be_bytes(segment.try_into().ok()?)),
            0xe1 => header.orientation = exif::orientation(segment).unwrap_or(header.orientation),
            // Adobe's segment says what the components are; 1 is Y, Cb and Cr.
            0xee if segment.starts_with(b"Adobe") && segment.get(11).is_some_and(|&transform| transform != 1) => {
                return None;
            }
            0xe0..=0xef | 0xfe => {}
            0xda => {
                header.scan = end;
                return read_scan(segment, header);
            }
            _ => return None,
        }
        at = end;
    }
}

fn read_frame(segment: &[u8], header: &mut Header<'_>) -> Option<()> {
    let (&[8, h1, h2, w1, w2, count], components) = segment.split_first_chunk()? else { return None };
    header.size =
        Size { width: u32::from(u16::from_be_bytes([w1, w2])), height: u32::from(u16::from_be_bytes([h1, h2])) };
    let count = usize::from(count);
    if !(count == 1 || count == 3) || components.len() != 3 * count || header.size.width == 0 || header.size.height == 0
    {
        return None;
    }
    header.count = count;
    for (component, &[id, factors, table]) in header.components.iter_mut().zip(components.as_chunks().0) {
        let (across, down) = (usize::from(factors >> 4), usize::from(factors & 15));
        // A component alone has no factors: its blocks lie row by row (A.2.2).
        let (across, down) = if count == 1 { (1, 1) } else { (across, down) };
        if !(1..=2).contains(&across) || !(1..=2).contains(&down) || table > 3 {
            return None;
        }
        *component = Component { id, across, down, quantisation: usize::from(table), dc: 0, ac: 0 };
    }
    // Encoders that store red, green and blue name them so.
    (header.components.map(|component| component.id) != *b"RGB").then_some(())
}

fn read_scan(segment: &[u8], header: &mut Header<'_>) -> Option<()> {
    let (&count, rest) = segment.split_first()?;
    let (selectors, &[0, 63, 0]) = rest.split_last_chunk()? else { return None };
    let selectors = selectors.as_chunks::<2>().0;
    if header.count == 0 || usize::from(count) != header.count || selectors.len() != header.count {
        return None;
    }
    for (component, &[id, tables]) in header.components.iter_mut().zip(selectors) {
        let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 15));
        if component.id != id || dc > 3 || ac > 3 {
            return None;
        }
        (component.dc, component.ac) = (dc, ac);
    }
    // Cameras leave out the tables of annex K.3.
    let missing = header.dc.iter().chain(&header.ac).all(Option::is_none);
    if missing {
        header.dc[..2].copy_from_slice(&[Some(standard::DC_LUMA), Some(standard::DC_CHROMA)]);
        header.ac[..2].copy_from_slice(&[Some(standard::AC_LUMA), Some(standard::AC_CHROMA)]);
    }
    Some(())
}

fn read_quantisation(mut segment: &[u8], header: &mut Header<'_>) -> Option<()> {
    while let Some((&number, rest)) = segment.split_first() {
        // A number above 3 is one of 16 bits, which baseline files do not have.
        let (table, rest) = rest.split_first_chunk::<64>()?;
        *header.quantisation.get_mut(usize::from(number))? = Some(*table);
        segment = rest;
    }
    Some(())
}

fn read_codes<'a>(mut segment: &'a [u8], header: &mut Header<'a>) -> Option<()> {
    while let Some((&number, rest)) = segment.split_first() {
        let (counts, rest) = rest.split_first_chunk::<16>()?;
        let total = counts.iter().map(|&count| usize::from(count)).sum();
        let (symbols, rest) = rest.split_at_checked(total)?;
        let tables = if number >> 4 == 0 { &mut header.dc } else { &mut header.ac };
        (number >> 4 <= 1 && total <= 256).then_some(())?;
        *tables.get_mut(usize::from(number & 15))? = Some(Codes { counts, symbols });
        segment = rest;
    }
    Some(())
}

/// The tables of ITU-T T.81, K.3.3: what a Motion-JPEG picture without tables means.
mod standard {
    use super::Codes;

    const DC_SYMBOLS: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

    pub(super) const DC_LUMA: Codes<'_> =
        Codes { counts: &[0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], symbols: &DC_SYMBOLS };
    pub(super) const DC_CHROMA: Codes<'_> =
        Codes { counts: &[0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], symbols: &DC_SYMBOLS };
    pub(super) const AC_LUMA: Codes<'_> = Codes {
        counts: &[0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d],
        symbols: &[
            0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
            0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72,
            0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37,
            0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
            0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
            0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3,
            0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
            0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
            0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
        ],
    };
    pub(super) const AC_CHROMA: Codes<'_> = Codes {
        counts: &[0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77],
        symbols: &[
            0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
            0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1,
            0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36,
            0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
            0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
            0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
            0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
            0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
            0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
        ],
    };
}
