//! Which blocks of a JPEG a tensor is made of, and at which size they are decoded.

use std::ops::Range;

use super::header::{Component, Header};
use crate::frame::Region;
use crate::geometry::SourceBox;
use crate::input::Jpeg;
use crate::orientation::Orientation;
use crate::picture::{Filling, Samples, Sheet};
use crate::plan::stored_box;
use crate::prepare::Need;

/// The units (T.81, A.2.3) that are decoded to samples, and how small.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) columns: Range<usize>,
    pub(super) rows: Range<usize>,
    /// Units of the whole image.
    pub(super) across: usize,
    pub(super) down: usize,
    /// 1, 2, 4 or 8: what the first component's resolution is divided by.
    reduction: usize,
}

/// Where a component's samples lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    /// Samples of a block's side.
    pub(super) side: usize,
    pub(super) stride: usize,
    pub(super) lines: usize,
    pub(super) sheet: Sheet,
}

impl Window {
    pub(super) fn of(header: &Header<'_>, place: (Region, Orientation), need: &Need) -> Self {
        let (source, (columns, rows)) = stored_box(place, need.place(place));
        let reduction = match need.jpeg {
            Jpeg::Full => 1,
            Jpeg::Reduced => reduction(&source, (columns, rows)),
        };
        let (factors, region) = (header.factors(), place.0);
        let units = |side: u32, factor: usize| (side as usize).div_ceil(8 * factor);
        let (across, down) = (units(header.size.width, factors.0), units(header.size.height, factors.1));
        // A weight reaches as far as pixels of the tensor are apart, or samples of the coarsest plane.
        let needed = |start: f64, length: f64, out: usize, edge: (u32, u32), factor: usize, units: usize| {
            let reach = (length / out as f64).max((2 * reduction) as f64) + 4.0;
            let (low, high) = (f64::from(edge.0), f64::from(edge.0 + edge.1));
            let side = (8 * factor) as f64;
            let first = ((start - reach).max(low) / side) as usize;
            let end = ((start + length + reach).min(high) / side).ceil() as usize;
            first.min(units - 1)..end.clamp(1, units)
        };
        let SourceBox { left, top, width, height } = source;
        Self {
            columns: needed(left, width, columns, (region.x, region.width), factors.0, across),
            rows: needed(top, height, rows, (region.y, region.height), factors.1, down),
            across,
            down,
            reduction,
        }
    }

    /// What the samples of each component take.
    pub(super) fn areas(&self, header: &Header<'_>) -> [Option<Area>; 3] {
        let component = |index: usize| header.components().get(index).map(|component| self.area(header, component));
        [component(0), component(1), component(2)]
    }

    fn area(&self, header: &Header<'_>, component: &Component) -> Area {
        let factors = header.factors();
        let (thin, flat) = (factors.0 / component.across, factors.1 / component.down);
        // Colour that is stored at half the resolution in both directions need not be halved.
        let side = 8 / (self.reduction / thin.min(flat)).max(1);
        let samples = |units: &Range<usize>, factor: usize, sparse: usize, pixels: u32| {
            let density = side as f64 / (8 * sparse) as f64;
            let (first, end) = (units.start * factor * side, units.end * factor * side);
            let there = ((pixels as usize * side).div_ceil(8 * sparse)).min(end);
            // As many samples as the first component has, or half as many.
            let sparse = density * (self.reduction as f64) < 1.0;
            let filling = if sparse { Filling::Blended } else { Filling::Own };
            Samples { density, first, length: there - first, filling }
        };
        let columns = samples(&self.columns, component.across, thin, header.size.width);
        let rows = samples(&self.rows, component.down, flat, header.size.height);
        let stride = self.columns.len() * component.across * side;
        let lines = self.rows.len() * component.down * side;
        Area { side, stride, lines, sheet: Sheet::plane(stride, rows, columns) }
    }
}

/// What the resolution may be divided by, and how many times the tensor's side the crop's must be for that. Where they
/// were of one length after it, each pixel of the tensor would be one sample, as sharp as it is, instead of the mean over
/// a triangle that antialiasing asks for; measured, a photograph at most 0.03 normalised units from that in the mean.
const REDUCTIONS: [(usize, f64); 3] = [(8, 12.0), (4, 5.5), (2, 2.5)];

/// The largest that both sides of the crop are long enough for.
fn reduction(source: &SourceBox, (columns, rows): (usize, usize)) -> usize {
    let times = (source.width / columns as f64).min(source.height / rows as f64);
    REDUCTIONS.iter().find(|(_, least)| times >= *least).map_or(1, |(reduction, _)| *reduction)
}
