//! An ONNX file in memory: read within a limit, decoded, not yet interpreted.

pub(crate) mod sparse;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tract_onnx::pb::{ModelProto, tensor_proto};
use tract_onnx::prelude::Framework;

use self::sparse::Weights;
use super::reason::{ENGINE, one_line};
use super::signature::TensorSignature;
use super::{LoadError, Stage};
use crate::spec::SpecProblem;
use crate::spec::input::InputSpec;

/// Largest model file, in bytes. ResNet-50 has about 100 MB; while a model is loaded it is held up to three times.
pub const MAX_MODEL_BYTES: u64 = 512 << 20;

/// A decoded file, with where it came from.
#[derive(Debug)]
pub struct OnnxFile {
    pub(crate) path: PathBuf,
    pub(crate) proto: ModelProto,
    /// The weights that are not in `proto`, of a file that was read without them.
    pub(crate) weights: Option<Arc<Weights>>,
}

impl OnnxFile {
    /// Reads and decodes a file of at most [`MAX_MODEL_BYTES`].
    ///
    /// # Errors
    /// [`LoadError::Read`], [`LoadError::TooLarge`], or [`LoadError::Refused`] at the stage `parse`.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        Self::decode(path, &read_bounded(path, MAX_MODEL_BYTES)?)
    }

    /// As [`Self::read`], but leaves large weights in the file until they are asked for, where its structure allows that:
    /// for an engine that takes them one by one.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub(crate) fn read_without_weights(path: &Path) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if length > MAX_MODEL_BYTES {
            return Err(LoadError::TooLarge { path: path.to_owned(), limit: MAX_MODEL_BYTES });
        }
        match sparse::read(file, length) {
            Some((rest, weights)) => Ok(Self { weights: Some(Arc::new(weights)), ..Self::decode(path, &rest)? }),
            None => Self::read(path),
        }
    }

    /// As [`Self::read`], with the bytes for whoever decodes them again.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn read_with_bytes(path: &Path) -> Result<(Self, Vec<u8>), LoadError> {
        let bytes = read_bounded(path, MAX_MODEL_BYTES)?;
        Ok((Self::decode(path, &bytes)?, bytes))
    }

    /// Decodes a file that is in memory; `path` says where it came from.
    ///
    /// # Errors
    /// [`LoadError::Refused`] at the stage `parse`.
    pub fn decode(path: &Path, mut bytes: &[u8]) -> Result<Self, LoadError> {
        let proto =
            tract_onnx::onnx().proto_model_for_read(&mut bytes).map_err(|error| refused(path, one_line(&error)))?;
        let file = Self { path: path.to_owned(), proto, weights: None };
        file.check_graph()?;
        Ok(file)
    }

    /// Inputs that a caller has to supply: those without an initial value.
    #[must_use]
    pub fn inputs(&self) -> Vec<TensorSignature> {
        let Some(graph) = &self.proto.graph else { return Vec::new() };
        let given = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
        graph.input.iter().filter(|input| !given(&input.name)).map(TensorSignature::from_proto).collect()
    }

    /// Compares the one input with what a specification says of it.
    pub(crate) fn check_input(&self, spec: &InputSpec) -> Result<(), LoadError> {
        let inputs = self.inputs();
        let problems = match inputs.as_slice() {
            [input] => input.differences(spec),
            _ => vec![SpecProblem::new("the number of inputs", inputs.len(), "a classifier takes one image")],
        };
        if problems.is_empty() { Ok(()) } else { Err(LoadError::Mismatch { path: self.path.clone(), problems }) }
    }

    /// Outputs as the file declares them; their shapes are often missing.
    #[must_use]
    pub fn outputs(&self) -> Vec<TensorSignature> {
        let Some(graph) = &self.proto.graph else { return Vec::new() };
        graph.output.iter().map(TensorSignature::from_proto).collect()
    }

    /// Version of the standard operator set; 0 when the file does not say.
    #[must_use]
    pub fn opset(&self) -> i64 {
        let mut sets = self.proto.opset_import.iter();
        sets.find(|set| set.domain.is_empty() || set.domain == "ai.onnx").map_or(0, |set| set.version)
    }

    fn check_graph(&self) -> Result<(), LoadError> {
        let Some(graph) = self.proto.graph.as_ref().filter(|graph| !graph.node.is_empty()) else {
            return Err(refused(&self.path, "the file holds no graph".to_owned()));
        };
        let external = tensor_proto::DataLocation::External as i32;
        match graph.initializer.iter().find(|tensor| tensor.data_location == Some(external)) {
            Some(tensor) => {
                let reason = format!("the weights of `{}` are kept in another file", tensor.name);
                Err(refused(&self.path, reason))
            }
            None => Ok(()),
        }
    }
}

fn refused(path: &Path, reason: String) -> LoadError {
    LoadError::Refused { path: path.to_owned(), engine: ENGINE, stage: Stage::Parse, reason }
}

fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let expected = file.metadata().map_err(failed)?.len().min(limit);
    let mut bytes = Vec::with_capacity(expected as usize);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(LoadError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_beyond_the_limit_is_refused_without_being_parsed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.onnx");
        fs::write(&path, [0; 100]).unwrap();
        assert_eq!(read_bounded(&path, 100).unwrap().len(), 100);
        assert!(matches!(read_bounded(&path, 99), Err(LoadError::TooLarge { limit: 99, .. })));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = OnnxFile::read(Path::new("/nowhere/model.onnx")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/model.onnx"), "{error}");
    }

    #[test]
    fn bytes_that_are_no_model_are_refused_at_the_stage_parse() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.onnx");
        for bytes in [&b""[..], b"not a model at all", &[0xff; 64]] {
            fs::write(&path, bytes).unwrap();
            let error = OnnxFile::read(&path).unwrap_err();
            assert!(matches!(error, LoadError::Refused { stage: Stage::Parse, .. }), "{error}");
        }
    }
}
