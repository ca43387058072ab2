//! A manifest in the making: what a packer has decided, written as `model.toml`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use margay_inference::spec::input::Anchor;
use margay_inference::{ColorOrder, Element, InputSpec, Jpeg, Layout, ModelSpec, OutputKind, OutputSpec, ResizeRule};

use super::{EngineHint, FORMAT, Golden, PackagePath, Sha256Digest};
use crate::units::Probability;

/// Everything that a manifest of a packed model says. [`Manifest::parse`](super::Manifest::parse) checks its text like
/// any other, so nothing is checked here.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Name of the model.
    pub name: String,
    /// Version of the model.
    pub version: String,
    /// The model file.
    pub model: PackagePath,
    /// Which engine is to run it.
    pub engine: EngineHint,
    /// What its tensors look like.
    pub spec: ModelSpec,
    /// The label file.
    pub labels: PackagePath,
    /// The least probability that is reported.
    pub threshold: Option<Probability>,
    /// The longest that a frame may take on the device.
    pub latency_ceiling: Option<Duration>,
    /// Every file and its digest.
    pub files: BTreeMap<PackagePath, Sha256Digest>,
    /// The pictures on which the model has to prove itself.
    pub golden: Vec<Golden>,
}

impl Draft {
    /// The text of `model.toml`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "# Written by margay; docs/package-format.md explains every key.\n\nformat = {FORMAT}\n\n[model]\n\
             name = {}\nversion = {}\nfile = {}\n{}\n[input]\n{}\n[output]\n{}\n[labels]\nfile = {}\n",
            quoted(&self.name),
            quoted(&self.version),
            quoted(self.model.as_str()),
            engine(self.engine),
            input(&self.spec.input),
            output(&self.spec.output),
            quoted(self.labels.as_str()),
        );
        if self.threshold.is_some() || self.latency_ceiling.is_some() {
            text.push_str("\n[thresholds]\n");
        }
        if let Some(threshold) = self.threshold {
            let _ = writeln!(text, "minimum_probability = {:?}", threshold.get());
        }
        if let Some(ceiling) = self.latency_ceiling {
            let _ = writeln!(text, "maximum_latency_ms = {:?}", ceiling.as_secs_f64() * 1e3);
        }
        text.push_str("\n[files]\n");
        for (path, digest) in &self.files {
            let digest = digest.to_string();
            let digits = digest.rsplit(':').next().unwrap_or_default();
            let _ = writeln!(text, "{} = {}", quoted(path.as_str()), quoted(digits));
        }
        for golden in &self.golden {
            let (image, class) = (quoted(golden.image.as_str()), golden.class);
            let least = golden.minimum_probability.get();
            let _ = write!(text, "\n[[golden]]\nimage = {image}\nclass = {class}\nminimum_probability = {least:?}\n");
            if let Some(label) = &golden.label {
                let _ = writeln!(text, "label = {}", quoted(label));
            }
        }
        text
    }
}

/// The line of the engine, where one is named.
fn engine(hint: EngineHint) -> &'static str {
    match hint {
        EngineHint::Auto => "",
        EngineHint::Tract => "engine = \"tract\"\n",
        EngineHint::Compiled => "engine = \"compiled\"\n",
        EngineHint::OnnxRuntime => "engine = \"onnxruntime\"\n",
    }
}

fn input(spec: &InputSpec) -> String {
    let &InputSpec { layout, element, width, height, color, scale, mean, std, resize, jpeg } = spec;
    let layout = match layout {
        Layout::Nchw => "nchw",
        Layout::Nhwc => "nhwc",
    };
    let color = match color {
        ColorOrder::Rgb => "rgb",
        ColorOrder::Bgr => "bgr",
    };
    let resize = match resize {
        ResizeRule::ShortSide { short_side } => format!("{{ rule = \"short-side\", short_side = {short_side} }}"),
        ResizeRule::Squash => "{ rule = \"squash\" }".to_owned(),
        ResizeRule::Letterbox { pad, anchor } => {
            let anchor = match anchor {
                Anchor::TopLeft => "top-left",
                Anchor::Center => "center",
            };
            format!("{{ rule = \"letterbox\", pad = {pad}, anchor = \"{anchor}\" }}")
        }
    };
    let jpeg = match jpeg {
        Jpeg::Reduced => "",
        Jpeg::Full => "jpeg = \"full\"\n",
    };
    let (element, normalisation) = match element {
        Element::F32 => ("f32", format!("scale = {scale:?}\nmean = {mean:?}\nstd = {std:?}\n")),
        Element::U8 => ("u8", String::new()),
    };
    format!(
        "width = {width}\nheight = {height}\nlayout = \"{layout}\"\nelement = \"{element}\"\ncolor = \"{color}\"\n\
         {normalisation}resize = {resize}\n{jpeg}"
    )
}

fn output(spec: &OutputSpec) -> String {
    let kind = match spec.kind {
        OutputKind::Logits => "logits",
        OutputKind::Probabilities => "probabilities",
    };
    let mut text = format!("kind = \"{kind}\"\n");
    if let Some(quantisation) = spec.quantisation {
        let (scale, zero_point) = (quantisation.scale, quantisation.zero_point);
        let _ = writeln!(text, "quantisation = {{ scale = {scale:?}, zero_point = {zero_point} }}");
    }
    if spec.index_offset > 0 {
        let _ = writeln!(text, "index_offset = {}", spec.index_offset);
    }
    text
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use margay_inference::Quantisation;
    use proptest::prelude::*;

    use super::*;
    use crate::package::Manifest;

    fn path(text: &str) -> PackagePath {
        text.parse().unwrap()
    }

    fn draft(spec: ModelSpec, engine: EngineHint) -> Draft {
        let digest = Sha256Digest::of(b"");
        Draft {
            name: "a \"quoted\" näme".to_owned(),
            version: "1.0.0".to_owned(),
            model: path("m.onnx"),
            engine,
            spec,
            labels: path("labels.txt"),
            threshold: Probability::new(0.25).ok(),
            latency_ceiling: Some(Duration::from_millis(40)),
            files: ["m.onnx", "labels.txt", "golden/a b.jpg"].map(|name| (path(name), digest)).into(),
            golden: vec![Golden::at_least(path("golden/a b.jpg"), 3, Probability::new(0.71).unwrap())],
        }
    }

    fn rules() -> impl Strategy<Value = ResizeRule> {
        prop_oneof![
            (224_u32..512).prop_map(|short_side| ResizeRule::ShortSide { short_side }),
            Just(ResizeRule::Squash),
            any::<u8>().prop_map(|pad| ResizeRule::Letterbox { pad, anchor: Anchor::Center }),
            any::<u8>().prop_map(|pad| ResizeRule::Letterbox { pad, anchor: Anchor::TopLeft }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(
            resize in rules(),
            is_bytes in any::<bool>(),
            is_bgr in any::<bool>(),
            is_full in any::<bool>(),
            scale in 1e-6_f32..300.0,
            mean in prop::array::uniform3(-300.0_f32..300.0),
            std in prop::array::uniform3(1e-5_f32..300.0),
            quantisation in prop::option::of((1e-6_f32..10.0, -128_i32..=255)),
            index_offset in 0_u32..=16,
            engine in prop::sample::select(vec![
                EngineHint::Auto, EngineHint::Tract, EngineHint::Compiled, EngineHint::OnnxRuntime,
            ]),
        ) {
            let base = if is_bytes { InputSpec::u8_nhwc(224) } else { InputSpec::imagenet(224) };
            let color = if is_bgr { ColorOrder::Bgr } else { ColorOrder::Rgb };
            let jpeg = if is_full { Jpeg::Full } else { Jpeg::Reduced };
            let input = InputSpec { resize, color, jpeg, ..base };
            let input = if is_bytes { input } else { InputSpec { scale, mean, std, ..input } };
            let quantisation = quantisation.map(|(scale, zero_point)| Quantisation { scale, zero_point });
            let kind = if is_bytes { OutputKind::Probabilities } else { OutputKind::Logits };
            let spec = ModelSpec { input, output: OutputSpec { kind, quantisation, index_offset } };
            let draft = draft(spec.clone(), engine);
            let manifest = Manifest::parse(&draft.text()).unwrap();
            prop_assert_eq!(manifest.model_spec(), spec);
            prop_assert_eq!(manifest.engine(), engine);
            prop_assert_eq!(manifest.name(), &draft.name);
            prop_assert_eq!(manifest.golden(), &draft.golden[..]);
            prop_assert_eq!(manifest.files(), &draft.files);
            prop_assert_eq!(manifest.threshold(), draft.threshold);
            prop_assert_eq!(manifest.latency_ceiling(), draft.latency_ceiling);
        }
    }
}
