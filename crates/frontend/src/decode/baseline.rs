//! Baseline JPEGs (ITU-T T.81) decoded to their planes of Y, Cb and Cr, no larger than a tensor needs them.
//!
//! All data are read, whatever is needed of them: a damaged picture is refused wherever the damage is. But only blocks
//! of the crop are transformed, and where the tensor is much smaller than the crop, only to a half, a quarter or an
//! eighth of their size, from their lowest frequencies. Nothing is made RGB here.
//!
//! One scan with all components, 8 bits, Huffman codes, one component or Y, Cb and Cr, with factors of 1 and 2: that is
//! what cameras and phones write. Everything else, progressive files above all, is left to zune-jpeg as a whole.

mod bits;
mod header;
mod huffman;
mod scan;
mod window;

pub(super) use header::{Header, Parsed, parse};

use margay_kernels::pixels::{FULL_RANGE, Pixels};

use super::DecodeError;
use crate::frame::Region;
use crate::geometry::Size;
use crate::orientation::Orientation;
use crate::picture::{Colours, Picture};
use crate::prepare::Need;
use bits::Data;
use huffman::Tables;
use window::Window;

/// Why the data of a scan are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The file ends before its end-of-image marker.
    #[error("it ends early")]
    Truncated,
    #[error("the marker {0:#04x} stands among its data")]
    Marker(u8),
    #[error("its restart markers are out of order")]
    Restarts,
    #[error("its data hold a code that none of its tables has")]
    Code,
    #[error("a block has more than 64 coefficients")]
    Block,
    #[error("its data end before its last block")]
    DataEnd,
    #[error("data are left over behind its last block")]
    LeftOver,
    #[error("its tables make no code")]
    Tables,
}

/// Decodes one file after the other; keeps its memory.
#[derive(Debug, Default)]
pub(super) struct BaselineDecoder {
    pixels: Pixels,
    data: Data,
    tables: Tables,
    planes: [Vec<u8>; 3],
}

impl BaselineDecoder {
    /// Decodes what `need` takes of `region`, which lies in the image, to planes.
    pub(super) fn decode(
        &mut self,
        file: &[u8],
        header: &Header<'_>,
        (region, orientation): (Region, Orientation),
        need: &Need,
    ) -> Result<Picture<'_>, DecodeError> {
        let refused = |fault| match fault {
            Fault::Truncated => DecodeError::Truncated { bytes: file.len() },
            fault => DecodeError::Jpeg { bytes: file.len(), reason: fault.to_string() },
        };
        self.data.read(&file[header.scan..], header.restart_interval != 0).map_err(refused)?;
        self.tables.renew(header).map_err(refused)?;
        let window = Window::of(header, (region, orientation), need);
        for (plane, area) in self.planes.iter_mut().zip(window.areas(header)) {
            // What was there before is overwritten, block by block.
            plane.resize(area.map_or(0, |area| area.stride * area.lines), 0);
        }
        scan::decode(header, &window, &self.data, &self.tables, (self.pixels, &mut self.planes)).map_err(refused)?;
        Ok(self.picture(header, &window, (header.size, region, orientation)))
    }

    fn picture(&self, header: &Header<'_>, window: &Window, place: (Size, Region, Orientation)) -> Picture<'_> {
        let colours = if header.components().len() == 1 { Colours::Grey } else { Colours::Ycc(FULL_RANGE) };
        let areas = window.areas(header);
        let sheet = |index: usize| (areas[index].map(|area| area.sheet), self.planes[index].as_slice());
        Picture::new(place, colours, [sheet(0), sheet(1), sheet(2)])
    }
}
