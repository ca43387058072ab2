//! An RGB picture to draw rectangles on; what lies outside the picture is not drawn.

/// Red, green, blue.
pub(super) type Color = [u8; 3];

/// A part of the picture, in pixels from its upper left corner.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rectangle {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// A picture of packed RGB rows in somebody's buffer.
#[derive(Debug)]
pub(super) struct Canvas<'a> {
    width: u32,
    height: u32,
    pixels: &'a mut [u8],
}

impl<'a> Canvas<'a> {
    /// A picture of that size in `buffer`, whose length is made to fit.
    pub(super) fn new(width: u32, height: u32, buffer: &'a mut Vec<u8>) -> Self {
        buffer.resize(width as usize * height as usize * 3, 0);
        Self { width, height, pixels: buffer }
    }

    pub(super) fn width(&self) -> u32 {
        self.width
    }

    pub(super) fn height(&self) -> u32 {
        self.height
    }

    /// Fills a rectangle with one colour.
    pub(super) fn fill(&mut self, area: Rectangle, color: Color) {
        let across = |start: u32, length: u32, side: u32| {
            let end = start.saturating_add(length).min(side) as usize;
            (start as usize).min(end)..end
        };
        let columns = across(area.x, area.width, self.width);
        let rows = across(area.y, area.height, self.height);
        let stride = self.width as usize * 3;
        for row in self.pixels.chunks_exact_mut(stride).skip(rows.start).take(rows.len()) {
            let (pixels, _) = row[columns.start * 3..columns.end * 3].as_chunks_mut::<3>();
            pixels.fill(color);
        }
    }
}
