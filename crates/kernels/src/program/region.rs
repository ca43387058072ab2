//! A view of a tensor that has its place in the arena.

use crate::layout::{Layout, SLACK, Shape};

/// Some channel blocks of a tensor, in floats from the arena's first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Region {
    /// The whole tensor's.
    pub(crate) layout: Layout,
    /// The view's first block.
    pub(crate) first: usize,
    /// Channels of the view, the first of which begins a block.
    pub(crate) channels: usize,
}

impl Region {
    pub(crate) fn shape(&self) -> Shape {
        Shape { channels: self.channels, ..self.layout.shape }
    }

    /// Blocks (or planar channels) of the view.
    pub(crate) fn blocks(&self) -> usize {
        Layout { shape: self.shape(), ..self.layout }.blocks()
    }

    /// Past the view's last float.
    fn end(&self) -> usize {
        self.first + self.blocks() * self.layout.block()
    }

    /// A pixel of a block.
    pub(crate) fn at(&self, block: usize, y: usize, x: usize) -> usize {
        self.first + block * self.layout.block() + self.layout.at(y, x)
    }

    /// One element.
    pub(crate) fn element(&self, channel: usize, y: usize, x: usize) -> usize {
        self.first + self.layout.element(channel, y, x)
    }

    /// The first float of a window that begins `top` rows and `left` columns before a pixel of the first block; `None`
    /// where that lies beyond the halo.
    pub(crate) fn window(&self, y: usize, x: usize, top: usize, left: usize) -> Option<usize> {
        let row = (y + self.layout.halo).checked_sub(top)?;
        let column = (x + self.layout.halo).checked_sub(left)?;
        Some(self.first + row * self.layout.row() + column * self.layout.pixel())
    }

    /// All floats of the view, halo included.
    pub(crate) fn floats(&self) -> std::ops::Range<usize> {
        self.first..self.end()
    }

    /// The same, and the slack behind a view of bytes.
    pub(crate) fn reach(&self) -> std::ops::Range<usize> {
        let slack = if self.layout.is_bytes() { SLACK } else { 0 };
        self.first..self.end() + slack
    }

    /// Whether floats `from..to` of the arena are all the view's.
    pub(crate) fn holds(&self, from: usize, to: usize) -> bool {
        self.first <= from && from <= to && to <= self.end()
    }

    /// Whether floats `from..to` of the arena are the view's but for the last `slack`, which lie behind it: in the next
    /// blocks of its tensor, or in the slack that every tensor of bytes has.
    pub(crate) fn holds_but_for(&self, from: usize, to: usize, slack: usize) -> bool {
        self.first <= from && from <= to && to <= self.end() + slack
    }
}
