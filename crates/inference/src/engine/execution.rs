//! How a model is run: on which engine, on how many threads, and the words for it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most threads that a model may run on.
pub const MAX_THREADS: usize = 16;

/// The engine that runs a model. Its text is the one of manifests, options and reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum EngineChoice {
    /// The compiled engine where it covers the model and computes what tract computes; tract otherwise.
    #[default]
    Auto,
    /// tract.
    Tract,
    /// The compiled engine; a model that it does not cover is refused. tract is not loaded at all.
    Compiled,
    /// ONNX Runtime, whose library is found at run time.
    OnnxRuntime(Provider),
}

/// What ONNX Runtime computes with: its execution providers, as far as classifiers have a use for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Provider {
    /// Its own kernels, which every build of the library has.
    #[default]
    Cpu,
    /// XNNPACK, mostly for Arm.
    Xnnpack,
    /// The Arm Compute Library.
    Acl,
    /// NVIDIA's GPUs.
    Cuda,
    /// NVIDIA's GPUs by TensorRT.
    TensorRt,
}

impl Provider {
    /// Every provider.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Xnnpack, Self::Acl, Self::Cuda, Self::TensorRt];
}

impl EngineChoice {
    /// Every engine, by its text.
    pub const ALL: [(&'static str, Self); 8] = [
        ("auto", Self::Auto),
        ("tract", Self::Tract),
        ("compiled", Self::Compiled),
        ("onnxruntime", Self::OnnxRuntime(Provider::Cpu)),
        ("onnxruntime-xnnpack", Self::OnnxRuntime(Provider::Xnnpack)),
        ("onnxruntime-acl", Self::OnnxRuntime(Provider::Acl)),
        ("onnxruntime-cuda", Self::OnnxRuntime(Provider::Cuda)),
        ("onnxruntime-tensorrt", Self::OnnxRuntime(Provider::TensorRt)),
    ];

    /// Its text.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, choice)| *choice == self).map_or("auto", |(name, _)| name)
    }

    /// Whether the engine can use more threads than one. tract's kernels run on one.
    #[must_use]
    pub fn is_threaded(self) -> bool {
        self != Self::Tract
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<EngineChoice> for String {
    fn from(choice: EngineChoice) -> Self {
        choice.name().to_owned()
    }
}

/// A text that names no engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' names no engine: write one of {}", EngineChoice::ALL.map(|(name, _)| name).join(", "))]
pub struct UnknownEngine {
    text: String,
}

impl FromStr for EngineChoice {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, UnknownEngine> {
        let named = Self::ALL.iter().find(|(name, _)| *name == text);
        named.map(|(_, choice)| *choice).ok_or_else(|| UnknownEngine { text: text.chars().take(40).collect() })
    }
}

impl TryFrom<String> for EngineChoice {
    type Error = UnknownEngine;

    fn try_from(text: String) -> Result<Self, UnknownEngine> {
        text.parse()
    }
}

/// How a model is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The engine.
    pub engine: EngineChoice,
    /// Threads, the caller's included: 1 to [`MAX_THREADS`]. tract uses one.
    pub threads: usize,
    /// ONNX Runtime's library, an absolute path; only [`EngineChoice::OnnxRuntime`] loads it.
    pub library: Option<PathBuf>,
}

impl From<EngineChoice> for Execution {
    /// On one thread, and without a library.
    fn from(engine: EngineChoice) -> Self {
        Self { engine, threads: 1, library: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_is_told_by_its_text() {
        for (name, choice) in EngineChoice::ALL {
            assert_eq!((name.parse(), choice.to_string()), (Ok(choice), name.to_owned()));
        }
        for provider in Provider::ALL {
            assert!(EngineChoice::OnnxRuntime(provider).name().starts_with("onnxruntime"));
        }
        let error = "warp".parse::<EngineChoice>().unwrap_err().to_string();
        assert!(error.contains("'warp'") && error.contains("compiled, onnxruntime"), "{error}");
        assert!(serde_json::from_str::<EngineChoice>("\"warp\"").is_err());
    }
}
