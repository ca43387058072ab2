//! Every output of a model for one input, without ranking: what a server passes on. Input and outputs cross in memory
//! that the asking process made, because they may be larger than a message.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};

use margay_inference::{Pipeline, StageTimings};
use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};

use super::{Answer, MAX_PICTURE, OneShot, OneShotError, Question, another_question, ask, read_still};
use crate::causes::explain;

/// A model has no more outputs than this.
pub const MAX_OUTPUTS: usize = 1 << 20;

/// What the outputs are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scored {
    /// An encoded picture, which the package's own rules bring to the model's input; probabilities come out.
    Picture,
    /// The model's input tensor, its elements little-endian in the model's layout; its raw outputs come out.
    Tensor,
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// f32, `[outputs]`.
    pub outputs: Vec<f32>,
    /// Where the time went.
    pub timings: StageTimings,
}

impl OneShot {
    /// Every output of the model for `input`, which is what `scored` says.
    ///
    /// # Errors
    /// [`OneShotError`]; the worker can go on with another input after `Refused`.
    pub async fn scores(&self, scored: Scored, input: &[u8]) -> Result<Scores, OneShotError> {
        let lend = || -> io::Result<(File, File)> {
            let mut given = memory("margay-input")?;
            given.write_all(input)?;
            given.rewind()?;
            Ok((given, memory("margay-outputs")?))
        };
        let (given, mut wanted) = lend().map_err(OneShotError::Channel)?;
        self.channel.send(&Question::Score(scored), &[given.as_fd(), wanted.as_fd()]).await?;
        match ask(&self.channel, &self.sandboxed).await? {
            Answer::Scored { outputs, timings } if outputs <= MAX_OUTPUTS => {
                let outputs = read_outputs(&mut wanted, outputs).map_err(OneShotError::Channel)?;
                Ok(Scores { outputs, timings })
            }
            Answer::Refused { why } => Err(OneShotError::Refused { why }),
            _ => Err(another_question()),
        }
    }
}

/// Memory without a name in the file system, to be lent to a worker.
pub(super) fn memory(name: &str) -> io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?))
}

fn read_outputs(memory: &mut File, outputs: usize) -> io::Result<Vec<f32>> {
    let mut bytes = vec![0; 4 * outputs];
    memory.rewind()?;
    memory.read_exact(&mut bytes)?;
    Ok(bytes.as_chunks().0.iter().map(|element| f32::from_le_bytes(*element)).collect())
}

/// The worker's part: what is in the first descriptor, scored, into the second.
pub(super) fn answer(pipeline: &mut Pipeline, scored: Scored, mut descriptors: Vec<OwnedFd>) -> Result<Answer, String> {
    let mut wanted = File::from(descriptors.pop().ok_or("the question came without memory for its answer")?);
    let (outputs, timings) = match scored {
        Scored::Picture => {
            let still = read_still(descriptors)?;
            pipeline.probabilities(&still.frame()).map_err(|error| explain(&error))?
        }
        Scored::Tensor => {
            let given = descriptors.pop().ok_or("the question came without its tensor")?;
            let mut elements = Vec::new();
            let read = File::from(given).take(MAX_PICTURE).read_to_end(&mut elements);
            read.map_err(|error| format!("reading the tensor: {error}"))?;
            pipeline.run_tensor(&elements).map_err(|error| explain(&error))?
        }
    };
    let bytes: Vec<u8> = outputs.iter().flat_map(|output| output.to_le_bytes()).collect();
    wanted.write_all(&bytes).map_err(|error| format!("writing the outputs: {error}"))?;
    Ok(Answer::Scored { outputs: outputs.len(), timings })
}
