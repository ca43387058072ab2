//! What attention, and the rows of tokens that it reads, want of their tensors.

use super::{ProgramBuilder, View, Work};
use crate::error::PlanError;
use crate::floats::Floats;
use crate::layout::{LANES, MAX_FLOATS, Shape};
use crate::program::attention::{ATTENTION, Heads};
use crate::program::tokens::TOKENS;

/// Tokens of an attention at most: its scores are as many as their square.
pub const MAX_TOKENS: usize = 4096;

impl ProgramBuilder {
    /// The pixels of a picture as one row of tokens, behind `first` others: `addends`, `[tokens][channels]`, are added to them, and
    /// are the ones before.
    ///
    /// # Errors
    /// [`PlanError`]: the output is no such row, or there are more or fewer addends than elements.
    pub fn tokens(&mut self, input: View, output: View, first: usize, addends: &[f32]) -> Result<(), PlanError> {
        let (from, to) = (self.shape(input), self.shape(output));
        let expected = first.checked_add(from.pixels());
        if to.channels != from.channels || to.height != 1 || Some(to.width) != expected {
            return Err(PlanError::step(TOKENS, format!("{from} behind {first} tokens to {to}")));
        }
        if !self.shelf.is_kept() && addends.len() != to.elements() {
            return Err(PlanError::step(TOKENS, format!("{} addends for {to}", addends.len())));
        }
        let blocks = to.channels.div_ceil(LANES);
        let floats = blocks * to.width * LANES;
        let addends = match self.shelf.take(floats)? {
            Some(kept) => kept,
            None => {
                let mut packed = Floats::zeroed(floats);
                for (place, pixel) in packed.as_mut_slice()[..floats].chunks_exact_mut(LANES).enumerate() {
                    let (block, token) = (place / to.width, place % to.width);
                    let channels = block * LANES..to.channels.min((block + 1) * LANES);
                    let row = &addends[token * to.channels..][channels];
                    pixel[..row.len()].copy_from_slice(row);
                }
                self.shelf.put(packed)
            }
        };
        self.spend(addends.len())?;
        self.push(Work::Tokens(first, addends), vec![input], output)
    }

    /// Attention of so many heads, of tokens in one row: the mean of the values `[heads · channels, 1, keys]` for each of the queries
    /// `[heads · channels, 1, queries]`, weighted by the softmax of `scale` times its products with the keys.
    ///
    /// # Errors
    /// [`PlanError`]: the shapes differ, there are more than [`MAX_TOKENS`], or a head's channels are no whole blocks.
    pub fn attention(
        &mut self,
        [queries, keys, values]: [View; 3],
        output: View,
        heads: usize,
        scale: f32,
    ) -> Result<(), PlanError> {
        let [of_queries, of_keys] = [queries, keys].map(|view| self.shape(view));
        let is_row = |shape: Shape| shape.height == 1 && shape.width <= MAX_TOKENS;
        self.same_shape(ATTENTION, values, keys)?;
        self.same_shape(ATTENTION, queries, output)?;
        self.same_channels(ATTENTION, queries, keys)?;
        if !is_row(of_queries) || !is_row(of_keys) {
            let reason = format!("{of_queries} and {of_keys} are no rows of at most {MAX_TOKENS} tokens");
            return Err(PlanError::step(ATTENTION, reason));
        }
        let channels = of_keys.channels.checked_div(heads).unwrap_or(0);
        if channels == 0 || !channels.is_multiple_of(LANES) || channels * heads != of_keys.channels {
            let reason = format!("{heads} heads of {} channels are no multiples of {LANES} each", of_keys.channels);
            return Err(PlanError::step(ATTENTION, reason));
        }
        let heads = Heads { count: heads, channels, keys: of_keys.width, queries: of_queries.width };
        let floats = heads.packed();
        if floats > MAX_FLOATS {
            return Err(PlanError::Memory { floats, limit: MAX_FLOATS });
        }
        // Packed keys and values lie in a tensor that no other step knows.
        let packed = self.tensor(Shape { channels: LANES, height: 1, width: floats / LANES })?;
        let packed = self.whole(packed);
        self.push(Work::Pack(heads, scale), vec![keys, values], packed)?;
        self.push(Work::Attention(heads), vec![queries, packed], output)
    }
}
