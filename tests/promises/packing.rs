//! A model from the zoo becomes a package that a device would take, with what the graph does not say said by the
//! packer; what cannot be packed is refused with the remedy, and nothing is written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::protobuf::{Graph, UINT8, node, tensor, tensor_of};
use crate::support::{has_shared_models, program};

const MODELS: &str = "../shared/models";

/// The photographs, in the order of the tables below.
const PHOTOS: [&str; 11] = [
    "coral_bird.bmp",
    "coral_cat_720p.jpg",
    "coral_dragonfly.bmp",
    "coral_hot_dog.jpg",
    "coral_parrot.jpg",
    "coral_grace_hopper.bmp",
    "skimage_rocket.jpg",
    "skimage_chelsea.png",
    "skimage_coffee.png",
    "wonnx_pelican.jpg",
    "wonnx_bald_eagle.jpg",
];

/// What ONNX Runtime says of each photograph: class and probability. `None` where its first class leads by less than a
/// rounding can turn.
type Answers = [Option<(u64, f64)>; 11];

fn pack(folder: &Path, model: &Path, labels: &Path, more: &[&str]) -> (PathBuf, Output) {
    let package = folder.join("model.tar.gz");
    let fixed = ["model", "pack", model.to_str().unwrap(), "--labels", labels.to_str().unwrap(), "--output"];
    let output = program::run(&[&fixed[..], &[package.to_str().unwrap()], more].concat());
    (package, output)
}

/// Packs a real model with the 1000 labels, and classifies the photographs with the package.
#[track_caller]
fn check_photographs(model: &str, more: &[&str], slack: f64, answers: &Answers) {
    if !has_shared_models() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let model = Path::new(MODELS).join("onnx").join(model);
    let labels = Path::new(MODELS).join("labels/synset.txt");
    let (package, output) = pack(folder.path(), &model, &labels, more);
    program::assert_code(&output, 0);
    let photos: Vec<String> = PHOTOS.iter().map(|photo| format!("{MODELS}/photos/{photo}")).collect();
    let photos: Vec<&str> = photos.iter().map(String::as_str).collect();
    let classify = ["classify", "--json", "--top-k", "5", "--model", package.to_str().unwrap()];
    let output = program::run(&[&classify[..], &photos].concat());
    program::assert_code(&output, 0);
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), PHOTOS.len());
    for ((line, photo), answer) in lines.lines().zip(PHOTOS).zip(answers) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["picture"].as_str().unwrap().ends_with(photo));
        assert_eq!(line["predictions"].as_array().unwrap().len(), 5);
        let first = &line["predictions"][0];
        if let Some((class, probability)) = answer {
            assert_eq!(first["class"], *class, "{photo}: {first}");
            let found = first["probability"].as_f64().unwrap();
            assert!((found - probability).abs() <= slack, "{photo}: {first}, expected {probability}");
        }
    }
}

#[test]
fn squeezenet_from_the_zoo_sees_what_onnx_runtime_sees() {
    let answers = [
        Some((19, 0.99)),
        Some((285, 0.66)),
        Some((319, 0.60)),
        Some((934, 0.91)),
        Some((88, 0.99)),
        None,
        Some((657, 0.47)),
        Some((285, 0.55)),
        Some((967, 0.87)),
        Some((144, 0.69)),
        Some((21, 0.36)),
    ];
    check_photographs("squeezenet1.1_fp32.onnx", &["--preset", "imagenet"], 0.03, &answers);
}

#[test]
fn mobilenet_from_the_zoo_sees_what_onnx_runtime_sees() {
    let answers = [
        Some((19, 0.99)),
        Some((285, 0.72)),
        Some((319, 0.84)),
        Some((934, 0.74)),
        Some((88, 0.99)),
        Some((457, 0.49)),
        Some((540, 0.35)),
        Some((285, 0.73)),
        Some((967, 0.99)),
        Some((144, 0.99)),
        Some((22, 0.99)),
    ];
    // Two cats that are nearly even: decoding 1280 × 720 at half its size moves the first of them by 0.04.
    check_photographs("mobilenetv2_fp32.onnx", &["--preset", "imagenet"], 0.05, &answers);
}

/// Its batch is a symbol; with that fixed, its own annotations contradict it. Near ties are left out.
#[test]
fn a_quantised_mobilenet_with_a_symbolic_batch_loads_and_sees_the_same() {
    let answers = [
        Some((19, 0.99)),
        Some((285, 0.79)),
        Some((319, 0.81)),
        Some((934, 0.68)),
        Some((88, 0.99)),
        None,
        None,
        Some((285, 0.52)),
        Some((967, 0.99)),
        Some((144, 0.99)),
        Some((22, 0.99)),
    ];
    check_photographs("mobilenetv2-12-qdq.onnx", &["--preset", "imagenet"], 0.15, &answers);
}

#[test]
fn a_model_of_bytes_needs_no_word_about_its_input_and_sees_the_same() {
    let answers = [
        Some((19, 0.60)),
        Some((285, 0.49)),
        Some((300, 0.27)),
        Some((38, 0.34)),
        Some((88, 0.57)),
        Some((400, 0.46)),
        Some((668, 0.62)),
        Some((285, 0.57)),
        Some((967, 0.80)),
        Some((693, 0.32)),
        Some((21, 0.47)),
    ];
    check_photographs("mobilenet_v1_0.25_128_qdq.onnx", &[], 0.15, &answers);
}

/// tract on its own refuses this model, over the type of a table it makes itself.
#[test]
fn a_model_that_goes_from_u8_to_i8_loads_and_sees_the_same() {
    let answers = [
        Some((19, 0.94)),
        Some((285, 0.92)),
        None,
        Some((934, 0.65)),
        Some((88, 0.98)),
        Some((667, 0.57)),
        Some((657, 0.63)),
        Some((285, 0.52)),
        Some((967, 0.80)),
        Some((144, 0.97)),
        Some((21, 0.79)),
    ];
    check_photographs("tf2_mobilenet_v2_1.0_224_ptq.onnx", &[], 0.08, &answers);
}

#[test]
fn a_golden_sample_is_measured_kept_and_asked_of_every_device() {
    if !has_shared_models() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let model = Path::new(MODELS).join("onnx/squeezenet1.1_fp32.onnx");
    let labels = Path::new(MODELS).join("labels/imagenet_classes.txt");
    let golden = format!("{MODELS}/photos/coral_parrot.jpg=macaw");
    let more = ["--preset", "imagenet", "--golden", &golden, "--json"];
    let (package, output) = pack(folder.path(), &model, &labels, &more);
    program::assert_code(&output, 0);
    let packed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(packed["golden"][0]["label"], "macaw");
    assert_eq!(packed["summary"]["scores"], 1000);
    assert!(packed["summary"]["multiply_accumulates"].as_u64().unwrap() > 300_000_000);

    let output = program::run(&["model", "verify", "--json", package.to_str().unwrap()]);
    program::assert_code(&output, 0);
    let verified: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verified["files"], 3);
    assert!(verified["golden"][0]["probability"].as_f64().unwrap() > 0.9);

    let (again, _) = pack(&folder.path().join("."), &model, &labels, &more);
    assert_eq!(fs::read(&again).unwrap(), fs::read(&package).unwrap(), "the same files make the same package");

    fs::remove_file(&package).unwrap();
    let golden = format!("{MODELS}/photos/coral_parrot.jpg=tench");
    let (package, output) = pack(folder.path(), &model, &labels, &["--preset", "imagenet", "--golden", &golden]);
    refused(&output, &package, &["shows \"tench\"", "macaw", "--preset"]);
}

/// A classifier of 2 × 2 pixels whose 12 numbers are its classes, of element `element` and shape `shape`.
fn small(element: u64, shape: &[u64]) -> Graph {
    let input = if element == UINT8 { tensor_of(UINT8, "image", shape) } else { tensor("image", shape) };
    Graph {
        inputs: vec![input],
        outputs: vec![tensor("classes", &[1, 12])],
        nodes: vec![node("Flatten", &["image"], "classes")],
        weights: Vec::new(),
    }
}

/// The package is refused with those words, and nothing lies where it would have been, nor beside it.
#[track_caller]
fn refused(output: &Output, package: &Path, words: &[&str]) {
    program::assert_code(output, 7);
    let message = String::from_utf8_lossy(&output.stderr);
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    assert!(!package.exists(), "{} was written", package.display());
    let left = fs::read_dir(package.parent().unwrap()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).filter(|name| name != "m.onnx").collect();
    assert!(left.iter().all(|name| name == "labels.txt"), "left behind: {left:?}");
}

#[track_caller]
fn small_is_refused(file: &[u8], labels: &str, more: &[&str], words: &[&str]) {
    let folder = TempDir::new().unwrap();
    let (model, label_file) = (folder.path().join("m.onnx"), folder.path().join("labels.txt"));
    fs::write(&model, file).unwrap();
    fs::write(&label_file, labels).unwrap();
    let (package, output) = pack(folder.path(), &model, &label_file, more);
    refused(&output, &package, words);
}

#[test]
fn what_cannot_be_packed_is_named_with_the_remedy_and_nothing_is_written() {
    let twelve = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\n";
    let float = 1;
    let imagenet = ["--preset", "imagenet"];
    let nchw = small(float, &[1, 3, 2, 2]).file();
    small_is_refused(&nchw, "a\nb\n", &imagenet, &["2 labels for 12 outputs", "give a label file of 12 lines"]);
    small_is_refused(&nchw, twelve, &[], &["nothing says how pixels become the floats", "--preset imagenet"]);
    small_is_refused(&nchw, twelve, &["--preset", "u8-nhwc"], &["feeds bytes", "write --preset imagenet"]);
    small_is_refused(&small(float, &[1, 12]).file(), twelve, &imagenet, &["is no image of 3 channels"]);
    small_is_refused(&small(float, &[0, 3, 0, 0]).file(), twelve, &imagenet, &["leaves its size open", "--size"]);
    small_is_refused(
        &small(float, &[1, 2, 2, 3]).file(),
        twelve,
        &imagenet,
        &["feeds nchw", "is nhwc", "--layout nhwc"],
    );
    small_is_refused(&small(UINT8, &[1, 2, 2, 3]).file(), twelve, &imagenet, &["feeds floats", "--preset u8-nhwc"]);
    let mut several = small(float, &[1, 3, 2, 2]);
    several.inputs.push(tensor("mask", &[1]));
    small_is_refused(&several.file(), twelve, &imagenet, &["2 inputs (image, mask)", "takes one image"]);
    let newer = small(float, &[1, 3, 2, 2]).file_of(23);
    small_is_refused(&newer, twelve, &imagenet, &["operator set 23", "up to 18", "opset_version=18"]);
    let unknown = Graph { nodes: vec![node("Frobnicate", &["image"], "classes")], ..small(float, &[1, 3, 2, 2]) };
    small_is_refused(&unknown.file(), twelve, &imagenet, &["Frobnicate"]);
    small_is_refused(b"no model", twelve, &imagenet, &["m.onnx"]);
    small_is_refused(&nchw, "a\n\nb", &imagenet, &["labels.txt", "line 2"]);
}

#[test]
fn a_tampered_package_does_not_verify() {
    let folder = TempDir::new().unwrap();
    let mut package = crate::support::package::Package::bundled();
    package.0.insert("labels.txt".to_owned(), b"tampered\n".to_vec());
    let path = folder.path().join("tampered.tar.gz");
    fs::write(&path, package.pack()).unwrap();
    let output = program::run(&["model", "verify", path.to_str().unwrap()]);
    program::assert_code(&output, 7);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("labels.txt") && message.contains("digest"), "{message}");
}
