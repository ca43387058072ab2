//! V1 packages: weights and a `synset.txt`, no manifest (B-23, B-24).
//!
//! What V1 left to the function's code is fixed here as the guide's own models have it: 224 × 224 RGB, normalised as
//! ImageNet models are, float logits, one for each line of `synset.txt`.

use std::collections::BTreeMap;

use margay_inference::{InputSpec, ModelSpec, OutputSpec};

use super::{EngineHint, LabelSource, MAX_NAME_CHARS, Manifest, PackagePath, SYNSET_FILE, V1_VERSION};

/// Width and height of a V1 model's input, in pixels.
pub const V1_INPUT_SIZE: u32 = 224;

/// Why the files of a package without a manifest cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum V1Error {
    /// No file is a model of any known kind.
    #[error("no file is a model: a package has an .onnx file, with model.toml or synset.txt beside it")]
    NoModel,
    /// There is more than one model, and nothing says which.
    #[error("there are {} models ({}): keep one, or write a model.toml that names it", files.len(), files.join(", "))]
    SeveralModels {
        /// The ONNX files.
        files: Vec<String>,
    },
    /// There is a model, but nothing names its classes.
    #[error("there is no synset.txt beside {model}: add one, with a line a class, or write a model.toml")]
    NoLabels {
        /// The ONNX file.
        model: String,
    },
    /// MXNet's weights (B-23). No maintained runtime reads them.
    #[error(
        "{file} holds MXNet weights, which this version does not run: on a workstation with MXNet 1.9 convert them with \
         mxnet.onnx.export_model (symbol .json and .params to .onnx), and package the .onnx with synset.txt"
    )]
    Mxnet {
        /// The weights, or the graph.
        file: String,
    },
    /// A model compiled by SageMaker Neo for the DLR runtime (B-24): machine code for one kind of device.
    #[error(
        "{file} was compiled by SageMaker Neo, which cannot be undone: export the model that it was compiled from to \
         ONNX, and package the .onnx with synset.txt"
    )]
    Neo {
        /// The library, or its companion.
        file: String,
    },
    /// A TensorFlow graph (B-19).
    #[error(
        "{file} is a TensorFlow model, which this version does not run: convert it with tf2onnx, and package the .onnx \
         with a model.toml"
    )]
    Tensorflow {
        /// The graph.
        file: String,
    },
}

/// Derives a manifest from the names of a package's files.
pub(super) fn derive<T: AsRef<str>>(files: &[T]) -> Result<Manifest, V1Error> {
    let files: Vec<PackagePath> = files.iter().filter_map(|file| file.as_ref().parse().ok()).collect();
    let models: Vec<&PackagePath> = files.iter().filter(|file| file.as_str().ends_with(".onnx")).collect();
    let model = match models.as_slice() {
        [] => return Err(foreign(&files)),
        [model] => *model,
        _ => return Err(V1Error::SeveralModels { files: models.iter().map(ToString::to_string).collect() }),
    };
    let beside = |file: &&PackagePath| file.directory() == model.directory() && file.file_name() == SYNSET_FILE;
    let Some(synset) = files.iter().find(beside) else {
        return Err(V1Error::NoLabels { model: model.to_string() });
    };
    let name = model.file_name().trim_end_matches(".onnx");
    Ok(Manifest {
        name: if name.is_empty() { "model".to_owned() } else { name.chars().take(MAX_NAME_CHARS).collect() },
        version: V1_VERSION.to_owned(),
        model: model.clone(),
        engine: EngineHint::Auto,
        spec: ModelSpec { input: InputSpec::imagenet(V1_INPUT_SIZE), output: OutputSpec::logits() },
        labels: LabelSource::File(synset.clone()),
        threshold: None,
        latency_ceiling: None,
        files: BTreeMap::new(),
        golden: Vec::new(),
    })
}

/// What the files are, where none is ONNX. Neo's packages hold a `.params` too, so its library is looked for first.
fn foreign(files: &[PackagePath]) -> V1Error {
    let ending = |endings: &[&str]| {
        files.iter().find(|file| endings.iter().any(|ending| file.as_str().ends_with(ending))).map(ToString::to_string)
    };
    if let Some(file) = ending(&[".so"]) {
        return V1Error::Neo { file };
    }
    if let Some(file) = ending(&[".params", "-symbol.json"]) {
        return V1Error::Mxnet { file };
    }
    match ending(&[".pb", ".tflite"]) {
        Some(file) => V1Error::Tensorflow { file },
        None => V1Error::NoModel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_onnx_file_beside_synset_txt_is_a_package() {
        for (model, synset) in [("squeezenet1.1.onnx", "synset.txt"), ("squeezenet/a.onnx", "squeezenet/synset.txt")] {
            let manifest = derive(&["README", model, synset]).unwrap();
            assert_eq!(manifest.model_file(), model);
            assert_eq!(manifest.labels_file(), Some(synset));
            assert_eq!(manifest.version(), "v1");
            manifest.model_spec().validate().unwrap();
        }
        assert_eq!(derive(&["squeezenet1.1.onnx", "synset.txt"]).unwrap().name(), "squeezenet1.1");
    }

    #[test]
    fn the_guides_own_packages_say_what_to_convert() {
        let mxnet = derive(&["squeezenet_v1.1-0000.params", "squeezenet_v1.1-symbol.json", "synset.txt"]).unwrap_err();
        assert!(matches!(&mxnet, V1Error::Mxnet { file } if file == "squeezenet_v1.1-0000.params"), "{mxnet}");
        assert!(mxnet.to_string().contains("mxnet.onnx.export_model"), "{mxnet}");
        let neo = derive(&["model.json", "model.params", "model.so", "synset.txt"]).unwrap_err();
        assert!(matches!(&neo, V1Error::Neo { file } if file == "model.so"), "{neo}");
        let tensorflow = derive(&["frozen.pb", "labels.txt"]).unwrap_err();
        assert!(matches!(tensorflow, V1Error::Tensorflow { .. }), "{tensorflow}");
    }

    #[test]
    fn an_ambiguous_or_incomplete_package_is_refused() {
        assert_eq!(derive::<&str>(&[]), Err(V1Error::NoModel));
        assert!(matches!(derive(&["a.onnx", "b.onnx", "synset.txt"]), Err(V1Error::SeveralModels { .. })));
        assert!(matches!(derive(&["a.onnx", "labels/synset.txt"]), Err(V1Error::NoLabels { .. })));
        assert_eq!(derive(&["../a.onnx", "synset.txt"]), Err(V1Error::NoModel));
    }
}
