//! The real models, photographs and reference vectors beside the repository, where they are present.

use std::fs;
use std::path::{Path, PathBuf};

use margay_inference::{EngineChoice, Labels, ModelSpec, Pipeline, Still};

/// The folder `../shared/models` of the repository; `None`, and a line that says so, where it is absent.
///
/// # Panics
/// Where it is absent and `MARGAY_TEST_REQUIRE` is 1.
pub fn models() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models");
    if folder.join("onnx").is_dir() {
        return Some(folder);
    }
    println!("skipped: shared models: put them at ../shared/models, beside the repository");
    let required = std::env::var("MARGAY_TEST_REQUIRE").is_ok_and(|value| value == "1");
    assert!(!required, "../shared/models is absent, and MARGAY_TEST_REQUIRE is 1");
    None
}

/// The thousand ImageNet labels.
pub fn labels(models: &Path) -> Labels {
    let text = fs::read_to_string(models.join("labels/imagenet_classes.txt")).unwrap();
    Labels::new(text.lines()).unwrap()
}

/// A model, loaded with the ImageNet labels.
pub fn pipeline(models: &Path, model: &str, spec: &ModelSpec) -> Pipeline {
    Pipeline::load(&models.join("onnx").join(model), spec, labels(models), EngineChoice::Auto).unwrap()
}

/// A photograph.
pub fn photo(models: &Path, name: &str) -> Still {
    Still::from_bytes(fs::read(models.join("photos").join(name)).unwrap()).unwrap()
}

/// A little-endian `f32` array of NumPy's format 1.0 in C order, without its shape.
pub fn npy(models: &Path, name: &str) -> Vec<f32> {
    let bytes = fs::read(models.join("golden").join(name)).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00", "{name}");
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = std::str::from_utf8(&bytes[10..10 + header]).unwrap();
    assert!(text.contains("'<f4'") && text.contains("'fortran_order': False"), "{name}: {text}");
    bytes[10 + header..].chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}
