//! Resized pictures: what their steps want of tensors and samples.

use super::{ProgramBuilder, View, Work};
use crate::error::PlanError;
use crate::program::bytes::ByteWork;
use crate::program::resize::{STEP, Samples};

impl ProgramBuilder {
    /// A picture of other rows and columns.
    ///
    /// # Errors
    /// [`PlanError::Step`]: the channels differ, there are more or fewer samples than rows and columns of the output, or
    /// one is beyond the input or has a weight beyond 0 to 1.
    pub fn resize(&mut self, input: View, output: View, samples: &Samples) -> Result<(), PlanError> {
        self.fit_samples(input, output, samples)?;
        self.push(Work::Resize(samples.clone()), vec![input], output)
    }

    /// The same of bytes, all of which are copied. Input and output have one byte that stands for 0.
    ///
    /// # Errors
    /// As for [`Self::resize`], and where a pixel is no copy or the bytes that stand for 0 differ.
    pub fn byte_resize(&mut self, input: View, output: View, samples: &Samples) -> Result<(), PlanError> {
        self.fit_samples(input, output, samples)?;
        if !samples.are_copies() {
            return Err(PlanError::step(STEP, "bytes are only copied, not blended"));
        }
        let zeros = [self.stored_zero(STEP, input)?, self.stored_zero(STEP, output)?];
        if zeros[0] != zeros[1] {
            return Err(PlanError::step(STEP, format!("the bytes that stand for 0 differ: {zeros:?}")));
        }
        self.push(Work::Bytes(ByteWork::Resize(samples.clone())), vec![input], output)
    }

    fn fit_samples(&self, input: View, output: View, samples: &Samples) -> Result<(), PlanError> {
        self.same_channels(STEP, input, output)?;
        let (from, to) = (self.shape(input), self.shape(output));
        if samples.fit(from, to) {
            return Ok(());
        }
        let (rows, columns) = (samples.rows.len(), samples.columns.len());
        let reason = format!("samples of {rows} rows and {columns} columns do not make {to} of {from}");
        Err(PlanError::step(STEP, reason))
    }
}
