//! Reading `model.toml`: TOML to a document, the document to a [`Manifest`], every mistake noted on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use margay_inference::ModelSpec;
use serde_json::Value;

use super::golden::Golden;
use super::labels::LabelSource;
use super::{
    EngineHint, FORMAT, MANIFEST_FILE, MAX_FILES, MAX_LATENCY_MS, MAX_MANIFEST_BYTES, MAX_NAME_CHARS,
    MAX_VERSION_CHARS, Manifest, PackagePath, Sha256Digest, golden, input, labels, output,
};
use crate::document::{Field, Notes, Object, Unknown};
use crate::problem::{Document, Problems};
use crate::units::Probability;

const ENGINES: &[(&str, EngineHint)] = &[
    ("auto", EngineHint::Auto),
    ("tract", EngineHint::Tract),
    ("compiled", EngineHint::Compiled),
    ("onnxruntime", EngineHint::OnnxRuntime),
];

/// Reads a manifest.
pub(super) fn parse(text: &str) -> Result<Manifest, Problems> {
    let notes = Notes::of(Document::Manifest);
    let document = parse_toml(text, &notes);
    let manifest = document.as_ref().and_then(|document| Object::root(document, &notes)).and_then(read);
    notes.conclude(manifest).map(|accepted| accepted.document)
}

fn parse_toml(text: &str, notes: &Notes) -> Option<Value> {
    if text.len() > MAX_MANIFEST_BYTES {
        let rule = format!("has {} bytes, and is read up to {MAX_MANIFEST_BYTES} bytes", text.len());
        notes.error("", None, rule, "keep long lists of labels in a label file");
        return None;
    }
    match text.parse::<toml::Table>() {
        Ok(table) => Some(document_of(toml::Value::Table(table))),
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(start).filter(|&byte| byte == b'\n').count() + 1;
            notes.error("", None, "is TOML 1.0", format!("correct line {line}: {}", error.message()));
            None
        }
    }
}

/// The same document as JSON. Numbers that JSON does not have, and dates, become texts, which no reading takes.
fn document_of(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) if number.is_finite() => number.into(),
        toml::Value::Float(number) => Value::String(number.to_string()),
        toml::Value::Boolean(truth) => Value::Bool(truth),
        toml::Value::Datetime(date) => Value::String(date.to_string()),
        toml::Value::Array(elements) => elements.into_iter().map(document_of).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, document_of(value))).collect(),
    }
}

fn read(mut manifest: Object<'_>) -> Option<Manifest> {
    let format = manifest.field("format").required("write format = 1");
    // The keys of another format are not this one's: they would all be noted as mistakes.
    format.integer(FORMAT..=FORMAT, "")?;
    let model = read_model(&mut manifest);
    let (input, output) = (input::read(&mut manifest), output::read(&mut manifest));
    let spec = input.zip(output).and_then(|(input, output)| checked(ModelSpec { input, output }, manifest.notes()));
    let labels = labels::read(&mut manifest);
    let (threshold, latency_ceiling) = read_thresholds(&mut manifest).unwrap_or_default();
    let files = read_files(&mut manifest);
    let golden = golden::read(&mut manifest);
    let notes = manifest.notes();
    manifest.finish(Unknown::Refuse);

    let (Model { name, version, file, engine }, labels, files) = (model?, labels?, files?);
    let manifest =
        Manifest { name, version, model: file, engine, spec: spec?, labels, threshold, latency_ceiling, files, golden };
    check_digests(&manifest, notes);
    check_golden_classes(&manifest, notes);
    Some(manifest)
}

/// `[model]`.
struct Model {
    name: String,
    version: String,
    file: PackagePath,
    engine: EngineHint,
}

fn read_model(manifest: &mut Object<'_>) -> Option<Model> {
    let mut section = manifest.field("model").required("add [model] with name, version and file").object()?;
    let name = word(&section.field("name").required("name the model"), MAX_NAME_CHARS);
    let version = word(&section.field("version").required("give a version, such as \"1.0.0\""), MAX_VERSION_CHARS);
    let file = section.field("file").required("name the model's .onnx file");
    let onnx = file.parsed::<PackagePath>().filter(|path| {
        let known = path.as_str().ends_with(".onnx");
        if !known {
            file.refuse("is an ONNX file, ending in .onnx", "convert the model to ONNX");
        }
        known
    });
    let engine = section.field("engine");
    let engine = if engine.is_present() { engine.choice(ENGINES) } else { Some(EngineHint::Auto) };
    section.finish(Unknown::Refuse);
    Some(Model { name: name?, version: version?, file: onnx?, engine: engine? })
}

/// A text of 1 to `limit` characters that travels in every prediction: no control characters, no space at its ends.
fn word(field: &Field<'_>, limit: usize) -> Option<String> {
    let text = field.text()?;
    let sound = (1..=limit).contains(&text.chars().count()) && text.trim() == text;
    if sound && !text.chars().any(char::is_control) {
        return Some(text.to_owned());
    }
    let rule = format!("has 1 to {limit} characters, none of them a control character, and no space at its ends");
    field.refuse(rule, "shorten or correct it");
    None
}

/// Notes what the specification breaks of its own rules.
fn checked(spec: ModelSpec, notes: &Notes) -> Option<ModelSpec> {
    let Err(error) = spec.validate() else { return Some(spec) };
    for problem in error.problems {
        notes.error(problem.field, Some(problem.value), problem.rule, "correct it to what the model was trained with");
    }
    None
}

fn read_thresholds(manifest: &mut Object<'_>) -> Option<(Option<Probability>, Option<Duration>)> {
    let mut section = manifest.field("thresholds").object()?;
    let field = section.field("minimum_probability");
    let threshold = golden::probability(field.number(), |rule| field.refuse(rule, "write such a number"));
    let field = section.field("maximum_latency_ms");
    let ceiling = field.number().filter(|&milliseconds| {
        let sound = (0.001..=MAX_LATENCY_MS).contains(&milliseconds);
        if !sound {
            field.refuse(format!("is 0.001 to {MAX_LATENCY_MS} milliseconds"), "write what the slowest device needs");
        }
        sound
    });
    section.finish(Unknown::Refuse);
    Some((threshold, ceiling.map(|milliseconds| Duration::from_secs_f64(milliseconds / 1e3))))
}

fn read_files(manifest: &mut Object<'_>) -> Option<BTreeMap<PackagePath, Sha256Digest>> {
    let field = manifest.field("files").required("add [files] with the SHA-256 digest of every file, by sha256sum");
    let entries: Vec<_> = field.object()?.into_entries().collect();
    if entries.len() > MAX_FILES {
        field.refuse(format!("lists at most {MAX_FILES} files"), "list those that the model needs");
        return None;
    }
    let mut files = BTreeMap::new();
    for (name, field) in entries {
        let path =
            name.parse::<PackagePath>().map_err(|error| field.refuse(error.to_string(), "correct the path")).ok();
        files.extend(path.zip(field.parsed()));
    }
    Some(files)
}

/// Every file that the manifest names has a digest; the manifest itself cannot have one.
fn check_digests(manifest: &Manifest, notes: &Notes) {
    let labels = match &manifest.labels {
        LabelSource::File(path) => Some(("labels.file".to_owned(), path)),
        LabelSource::Inline(_) => None,
    };
    let golden = manifest.golden.iter().enumerate().map(|(n, sample)| (format!("golden[{n}].image"), &sample.image));
    for (key, path) in [("model.file".to_owned(), &manifest.model)].into_iter().chain(labels).chain(golden) {
        if !manifest.files.contains_key(path) {
            let value = Some(format!("{:?}", path.as_str()));
            notes.error(&key, value, "is listed in [files] with its digest", "add the line that sha256sum gives");
        }
    }
    if manifest.files.keys().any(|path| path.as_str() == MANIFEST_FILE) {
        notes.error("files", None, "does not list model.toml, which cannot hold its own digest", "take it out");
    }
}

/// Where the labels are known already, every golden class has one.
fn check_golden_classes(manifest: &Manifest, notes: &Notes) {
    let LabelSource::Inline(labels) = &manifest.labels else { return };
    for (n, Golden { class, .. }) in manifest.golden.iter().enumerate() {
        if *class as usize >= labels.count() {
            let rule = format!("is the index of one of the {} labels, from 0", labels.count());
            notes.error(&format!("golden[{n}].class"), Some(class.to_string()), rule, "correct it");
        }
    }
}

#[cfg(test)]
mod tests {
    use margay_inference::{Element, InputSpec, Layout, OutputKind, Quantisation, ResizeRule};
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = include_str!("../../docs/model.example.toml");
    const REFERENCE: &str = include_str!("../../docs/package-format.md");

    /// The shortest manifest, with `[input]` and what follows `[output]` left to the test.
    fn manifest(input: &str, output: &str) -> String {
        format!(
            "format = 1\n[model]\nname = 'm'\nversion = '1'\nfile = 'm.onnx'\n[input]\n{input}\n\
             [output]\nkind = 'logits'\n{output}\n[labels]\nnames = ['a', 'b']\n[files]\n'm.onnx' = '{:064}'\n",
            0
        )
    }

    fn parsed(text: &str) -> Manifest {
        parse(text).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
    }

    /// The paths at which problems were found, in order.
    fn problems(text: &str) -> Vec<String> {
        let problems = parse(text).expect_err("the manifest is refused");
        assert!(problems.refuse());
        problems.iter().map(|problem| problem.path.clone()).collect()
    }

    #[test]
    fn the_example_in_the_documentation_is_the_preset_written_out() {
        let manifest = parsed(EXAMPLE);
        assert_eq!((manifest.name(), manifest.version()), ("squeezenet", "1.1.0"));
        assert_eq!(manifest.model_file(), "squeezenet1.1.onnx");
        assert_eq!(manifest.labels_file(), Some("labels.txt"));
        assert_eq!(manifest.model_spec().input, InputSpec::imagenet(224));
        assert_eq!(manifest.threshold().map(Probability::get), Some(0.25));
        assert_eq!(manifest.files().len(), 3);
        assert_eq!(manifest.golden().len(), 1);
    }

    #[test]
    fn the_bundled_packages_keep_their_own_manifests() {
        for folder in ["package", "package-int8"] {
            let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/signs").join(folder);
            let manifest = parsed(&std::fs::read_to_string(package.join(MANIFEST_FILE)).unwrap());
            for (path, digest) in manifest.files() {
                assert_eq!(Sha256Digest::of(&std::fs::read(package.join(path.as_str())).unwrap()), *digest, "{path}");
            }
            let labels = std::fs::read_to_string(package.join(manifest.labels_file().unwrap())).unwrap();
            let labels = manifest.parse_labels(&labels).unwrap();
            assert!(manifest.golden().iter().all(|sample| labels.get(sample.class).is_some()));
        }
    }

    #[test]
    fn every_manifest_in_the_reference_is_accepted() {
        let blocks: Vec<&str> =
            REFERENCE.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert_eq!(blocks.len(), 2);
        for block in blocks {
            parsed(block);
        }
    }

    #[test]
    fn the_preset_for_bytes_and_its_quantisation_are_read() {
        let text =
            manifest("preset = 'u8-nhwc'\nsize = 128", "quantisation = { scale = 0.00390625 }\nindex_offset = 1");
        let spec = parsed(&text).model_spec();
        assert_eq!(spec.input, InputSpec::u8_nhwc(128));
        assert_eq!(spec.output.quantisation, Some(Quantisation { scale: 1.0 / 256.0, zero_point: 0 }));
        assert_eq!((spec.output.kind, spec.output.index_offset), (OutputKind::Logits, 1));
    }

    #[test]
    fn keys_stand_over_the_preset() {
        let text = manifest("preset = 'imagenet'\nwidth = 160\nheight = 128\nmean = [0, 0, 0]\ncolor = 'bgr'", "");
        let input = parsed(&text).model_spec().input;
        assert_eq!((input.width, input.height, input.mean), (160, 128, [0.0; 3]));
        assert_eq!(input.std, InputSpec::imagenet(224).std);
        assert_eq!(input.resize, ResizeRule::ShortSide { short_side: 183 });
    }

    #[test]
    fn without_a_preset_bytes_are_scaled_to_one_and_the_rest_must_be_said() {
        let text = manifest("size = 32\nlayout = 'nhwc'\nelement = 'f32'\nresize = { rule = 'squash' }", "");
        let input = parsed(&text).model_spec().input;
        assert_eq!((input.layout, input.element, input.std), (Layout::Nhwc, Element::F32, [1.0; 3]));
        assert!((input.scale * 255.0 - 1.0).abs() < 1e-6);
        assert_eq!(problems(&manifest("size = 32", "")), ["input.layout", "input.element", "input.resize"]);
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_its_key() {
        let text = "format = 1\nsurplus = 1\n[model]\nname = ''\nfile = '../m.onnx'\nengine = 'warp'\n[input]\nsize = 0\n\
                    preset = 'imagnet'\nlayout = 'chwn'\nmean = [0.1, 'x']\nresize = { rule = 'short-side', pad = 3 }\n\
                    [output]\nkind = 'logit'\nquantisation = { scale = nan, zero_point = 0.5 }\nindex_offset = 17\n\
                    [labels]\nfile = 'a'\nnames = ['b']\n[thresholds]\nminimum_probability = 2\n[files]\n'm.onnx' = 'abc'\n\
                    [[golden]]\nimage = '/x'\nclass = -1\nminimum_probability = 1.5\n";
        assert_eq!(
            problems(text),
            [
                "model.name",
                "model.version",
                "model.file",
                "model.engine",
                "input.size",
                "input.preset",
                "input.layout",
                "input.resize.short_side",
                "input.resize.pad",
                "input.mean[1]",
                "output.kind",
                "output.quantisation.scale",
                "output.quantisation.zero_point",
                "output.index_offset",
                "labels",
                "thresholds.minimum_probability",
                "files.m.onnx",
                "golden[0].image",
                "golden[0].class",
                "golden[0].minimum_probability",
                "surplus",
            ]
        );
    }

    #[test]
    fn a_specification_that_breaks_its_own_rules_is_refused_at_its_keys() {
        let input =
            "preset = 'u8-nhwc'\nsize = 128\nmean = [1, 1, 1]\nresize = { rule = 'short-side', short_side = 100 }";
        assert_eq!(problems(&manifest(input, "")), ["input.mean", "input.resize.short_side"]);
        let zero = manifest("preset = 'imagenet'\nsize = 9\nstd = [1, 0, 1]", "quantisation = { scale = 0 }");
        assert_eq!(problems(&zero), ["input.std", "output.quantisation.scale"]);
    }

    #[test]
    fn files_without_a_digest_and_golden_classes_without_a_label_are_refused() {
        let golden = "[[golden]]\nimage = 'g.jpg'\nclass = 2\n";
        let text = manifest("preset = 'imagenet'\nsize = 9", "") + "'model.toml' = 'x'\n" + golden;
        assert_eq!(problems(&text), ["files.model.toml", "golden[0].image", "golden[0].class"]);
        let text = text.replace("'x'", &format!("'{:064}'", 1));
        assert_eq!(problems(&text), ["golden[0].image", "files", "golden[0].class"]);
    }

    #[test]
    fn another_format_is_refused_without_reading_on() {
        assert_eq!(problems("format = 2\nwhatever = 1"), ["format"]);
        assert_eq!(problems("[model]\nname = 'x'"), ["format"]);
    }

    #[test]
    fn a_text_that_is_no_toml_is_refused_with_its_line() {
        let error = parse("format = 1\n[model\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        let large = "# ".to_owned() + &"x".repeat(MAX_MANIFEST_BYTES);
        assert!(parse(&large).unwrap_err().to_string().contains("is read up to 262144 bytes"));
    }

    #[test]
    fn a_mistyped_key_finds_the_one_that_was_meant() {
        let text = manifest("preset = 'imagenet'\nsize = 9\ncolour = 'rgb'", "");
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains("model.toml: input.colour") && error.contains("did you mean color?"), "{error}");
    }

    /// Values of every kind TOML has, for keys that expect another.
    fn any_value() -> impl Strategy<Value = &'static str> {
        let values =
            ["1", "-7", "0.5", "nan", "inf", "''", "'nchw'", "true", "1979-05-27", "[]", "[[1], {}]", "{ a = 1 }"];
        prop::sample::select(values.to_vec())
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[ -~\n]{0,300}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_value_of_the_wrong_kind_makes_the_reader_panic_or_passes_unnoticed(
            line in 0usize..40, value in any_value(), other_line in 0usize..40, other in any_value(),
        ) {
            let mut lines: Vec<String> = EXAMPLE.lines().map(str::to_owned).collect();
            for (line, value) in [(line, value), (other_line, other)] {
                if let Some((key, _)) = lines[line].clone().split_once(" = ") {
                    lines[line] = format!("{key} = {value}");
                }
            }
            if let Ok(manifest) = parse(&lines.join("\n")) {
                prop_assert!(manifest.model_spec().validate().is_ok());
            }
        }
    }
}
