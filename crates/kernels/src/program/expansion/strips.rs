//! What a strip of the output takes, row by row: settled when the program is built, followed when it runs.

use std::ops::Range;

use crate::program::window::Window;

/// What happens in a strip, one after the other. Slots are rows of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Rows from this slot on become the first ones.
    Shift { from: usize, rows: usize },
    /// A row outside the picture.
    Zero { slot: usize },
    /// A row of the tensor between.
    Expand { row: usize, slot: usize },
    /// A row of the output, whose window begins in this slot.
    Filter { row: usize, slot: usize },
}

/// Some rows of the output. Either list ends with the same rows in the buffer.
#[derive(Debug)]
pub(super) struct Strip {
    /// What has to be done with a buffer of other rows.
    pub(super) anew: Vec<Action>,
    /// What has to be done where the strip above it, of the same band, was the last.
    pub(super) on: Vec<Action>,
}

/// What has to be done for each of some strips of the output, from the top down.
pub(super) fn strips(
    filter: &Window,
    height: usize,
    slots: usize,
    outputs: impl Iterator<Item = (usize, usize)>,
) -> Vec<Strip> {
    let mut strips: Vec<Strip> = Vec::new();
    let mut above: Option<Rows> = None;
    for (first, length) in outputs {
        let rows = Rows { base: first * filter.stride[0], next: first * filter.stride[0] };
        let strip = |rows| strip(filter, height, slots, first..first + length, rows);
        let (anew, end) = strip(rows);
        let on = match above {
            Some(above) if above.next > rows.base => {
                let moved = Rows { base: rows.base, next: above.next };
                let shift = Action::Shift { from: rows.base - above.base, rows: above.next - rows.base };
                [shift].into_iter().chain(strip(moved).0).collect()
            }
            _ => anew.clone(),
        };
        strips.push(Strip { anew, on });
        above = Some(end);
    }
    strips
}

/// Rows that are in the buffer, counted from the first of the padding: `base` lies in slot 0, and those below `next` are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rows {
    base: usize,
    next: usize,
}

/// What has to be done for some rows of the output, of which each needs some rows of `height`, and the rows that are in the
/// buffer then.
fn strip(
    filter: &Window,
    height: usize,
    slots: usize,
    outputs: Range<usize>,
    Rows { mut base, mut next }: Rows,
) -> (Vec<Action>, Rows) {
    let (stride, padding) = (filter.stride[0], filter.padding[0]);
    let span = filter.span(0);
    let mut actions = Vec::new();
    for row in outputs {
        let (first, end) = (row * stride, row * stride + span);
        // Windows may lie further apart than they are long: what lies between is not needed.
        next = next.max(first);
        if end - base > slots {
            if next > first {
                actions.push(Action::Shift { from: first - base, rows: next - first });
            }
            base = first;
        }
        while next < end {
            let slot = next - base;
            match next.checked_sub(padding).filter(|&row| row < height) {
                Some(row) => actions.push(Action::Expand { row, slot }),
                None => actions.push(Action::Zero { slot }),
            }
            next += 1;
        }
        actions.push(Action::Filter { row, slot: first - base });
    }
    (actions, Rows { base, next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::tiles::even;

    /// What a slot holds: nothing that is known, a row outside the picture, or one of it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Slot {
        Unknown,
        Outside,
        Row(usize),
    }

    /// Follows a list, and returns the rows of the output that saw the right window.
    fn follow(actions: &[Action], buffer: &mut [Slot], window: &Window, height: usize) -> Vec<usize> {
        let mut done = Vec::new();
        for &action in actions {
            match action {
                Action::Shift { from, rows } => buffer.copy_within(from..from + rows, 0),
                Action::Zero { slot } => buffer[slot] = Slot::Outside,
                Action::Expand { row, slot } => buffer[slot] = Slot::Row(row),
                Action::Filter { row, slot } => {
                    for tap in 0..window.kernel[0] {
                        let at = (row * window.stride[0] + tap * window.dilation[0]).checked_sub(window.padding[0]);
                        let wanted = at.filter(|&at| at < height).map_or(Slot::Outside, Slot::Row);
                        assert_eq!(buffer[slot + tap * window.dilation[0]], wanted, "row {row}, tap {tap}, {window:?}");
                    }
                    done.push(row);
                }
            }
        }
        done
    }

    #[test]
    fn a_strip_finds_its_rows_in_a_buffer_of_others_and_in_that_of_the_strip_above() {
        let sizes =
            [(3, 1, 1, 14), (3, 2, 1, 15), (5, 1, 2, 9), (5, 2, 2, 13), (3, 3, 0, 12), (1, 2, 0, 7), (3, 4, 1, 21)];
        for (kernel, stride, padding, height) in sizes {
            let window = Window::square(kernel, stride, padding);
            let outputs = (height + 2 * padding - kernel) / stride + 1;
            for (slots, count) in [(kernel + stride, 1), (kernel + stride, 3), (kernel + stride + 2, 4), (40, outputs)]
            {
                let strips = strips(&window, height, slots, even(outputs, count));
                let mut kept = vec![Slot::Unknown; slots];
                let (mut anew, mut on) = (Vec::new(), Vec::new());
                for (number, strip) in strips.iter().enumerate() {
                    let mut other = vec![Slot::Unknown; slots];
                    anew.extend(follow(&strip.anew, &mut other, &window, height));
                    let actions = if number == 0 { &strip.anew } else { &strip.on };
                    on.extend(follow(actions, &mut kept, &window, height));
                }
                let all: Vec<usize> = (0..outputs).collect();
                assert_eq!([&anew, &on], [&all, &all], "{window:?}, {slots} slots, {count} strips");
            }
        }
    }
}
