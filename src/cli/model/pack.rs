//! `margay model pack`: a package of an ONNX file and its labels.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use margay_inference::spec::input::Anchor;
use margay_inference::{ColorOrder, Layout, OutputKind, Quantisation, ResizeRule};

use super::super::exit::{Code, Failed, OrFail};
use super::{code_of, output, progress};
use crate::package::MAX_LATENCY_MS;
use crate::packing::{Order, PackError, Packed, Preset, Sample, Words, pack};
use crate::units::Probability;

/// Make a package of an ONNX classifier and its labels, and try it in a sandbox.
///
/// What the graph says of itself (size, layout, element type, softmax, quantisation) need not be said again. How pixels
/// are normalised it cannot say: name a preset, or write --mean, --std and --scale. Golden samples are pictures with
/// their labels on which every device will try the model before it takes over.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  margay model pack squeezenet.onnx --labels synset.txt --preset imagenet --golden parrot.jpg=macaw --output squeezenet.tar.gz\n  margay model pack signs.onnx --labels signs.txt --mean 0.5,0.5,0.5 --std 0.25,0.25,0.25 --output signs.tar.gz"
)]
pub(super) struct Arguments {
    /// The model: an .onnx file
    model: PathBuf,
    /// The labels: a line a class, in the order of the outputs; a V1 synset.txt will do
    #[arg(long, value_name = "FILE")]
    labels: PathBuf,
    /// Where the package goes: a .tar.gz
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Name of the model in every prediction [default: the file's name]
    #[arg(long)]
    name: Option<String>,
    /// Version of the model
    #[arg(long = "model-version", value_name = "VERSION", default_value = "1.0.0")]
    version: String,
    /// How the model's family is fed
    #[arg(long, value_enum)]
    preset: Option<PresetName>,
    /// Input size in pixels, where the graph leaves it open: 224 or 320x240
    #[arg(long, value_parser = parse_size, value_name = "SIZE")]
    size: Option<(u32, u32)>,
    /// Order of the tensor's axes, where the graph leaves it open
    #[arg(long, value_enum)]
    layout: Option<LayoutName>,
    /// Order of the colour channels; bgr for Caffe and OpenCV models
    #[arg(long, value_enum)]
    color: Option<ColorName>,
    /// An element is (byte × SCALE − mean) ÷ std [default: 1/255]
    #[arg(long, value_name = "SCALE")]
    scale: Option<f32>,
    /// Subtracted from each channel after scaling
    #[arg(long, value_parser = parse_three, value_name = "R,G,B")]
    mean: Option<[f32; 3]>,
    /// Divides each channel last
    #[arg(long, value_parser = parse_three, value_name = "R,G,B")]
    std: Option<[f32; 3]>,
    /// How a frame becomes the input's size: short-side:PIXELS, squash, letterbox[:PAD[:top-left]] [default: short-side of size ÷ 0.875, then the centre]
    #[arg(long, value_parser = parse_resize, value_name = "RULE")]
    resize: Option<ResizeRule>,
    /// What the outputs are [default: probabilities after a Softmax, else logits]
    #[arg(long, value_enum)]
    output_kind: Option<KindName>,
    /// What the bytes of a quantised output stand for, where the graph does not say
    #[arg(long, value_parser = parse_quantisation, value_name = "SCALE,ZERO")]
    quantisation: Option<Quantisation>,
    /// Leading outputs without a label, such as a background [default: 1 where there is one label too few]
    #[arg(long, value_name = "N")]
    index_offset: Option<u32>,
    /// Predictions below are not reported, unless the group says otherwise
    #[arg(long, value_name = "PROBABILITY")]
    threshold: Option<Probability>,
    /// The longest that a frame of 640x480 may take on a device, in milliseconds; a slower model is refused there
    #[arg(long, value_name = "MS", value_parser = parse_latency)]
    max_latency_ms: Option<Duration>,
    /// A golden sample: a picture and the label that the model must find on it; may be repeated
    #[arg(long, value_name = "PICTURE=LABEL")]
    golden: Vec<Sample>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PresetName {
    /// float NCHW, torchvision's mean and deviation
    Imagenet,
    /// bytes NHWC, quantised TensorFlow
    U8Nhwc,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LayoutName {
    Nchw,
    Nhwc,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ColorName {
    Rgb,
    Bgr,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindName {
    Logits,
    Probabilities,
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failed> {
    let order = arguments.order();
    let mut line = progress::Progress::new();
    let packed = pack(&order, &mut |doing| line.show(doing)).await.map_err(|error| {
        let code = match &error {
            PackError::Trial(error) => code_of(error),
            PackError::Read { .. } | PackError::Write { .. } => Code::Failure,
            _ => Code::Model,
        };
        Failed::new(code, error)
    })?;
    line.clear();
    packed.remark.as_deref().into_iter().for_each(output::complain);
    if arguments.json { output::json(&document(&order, &packed)) } else { show(&order, &packed) }.or_fail(Code::Failure)
}

impl Arguments {
    fn order(&self) -> Order {
        let stem = self.model.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let words = Words {
            preset: self.preset.map(|preset| match preset {
                PresetName::Imagenet => Preset::Imagenet,
                PresetName::U8Nhwc => Preset::U8Nhwc,
            }),
            size: self.size,
            layout: self.layout.map(|layout| match layout {
                LayoutName::Nchw => Layout::Nchw,
                LayoutName::Nhwc => Layout::Nhwc,
            }),
            color: self.color.map(|color| match color {
                ColorName::Rgb => ColorOrder::Rgb,
                ColorName::Bgr => ColorOrder::Bgr,
            }),
            scale: self.scale,
            mean: self.mean,
            std: self.std,
            resize: self.resize,
            kind: self.output_kind.map(|kind| match kind {
                KindName::Logits => OutputKind::Logits,
                KindName::Probabilities => OutputKind::Probabilities,
            }),
            quantisation: self.quantisation,
            index_offset: self.index_offset,
        };
        Order {
            model: self.model.clone(),
            labels: self.labels.clone(),
            name: self.name.clone().unwrap_or(stem),
            version: self.version.clone(),
            words,
            threshold: self.threshold,
            latency_ceiling: self.max_latency_ms,
            samples: self.golden.clone(),
            output: self.output.clone(),
        }
    }
}

fn document(order: &Order, packed: &Packed) -> serde_json::Value {
    let golden = packed.samples.iter().map(|sample| {
        serde_json::json!({
            "picture": sample.picture,
            "label": sample.label,
            "probability": sample.probability,
            "minimum_probability": sample.golden.minimum_probability.get(),
        })
    });
    serde_json::json!({
        "package": order.output,
        "bytes": packed.bytes,
        "digest": packed.digest.to_string(),
        "name": packed.manifest.name(),
        "version": packed.manifest.version(),
        "spec": packed.manifest.model_spec(),
        "golden": golden.collect::<Vec<_>>(),
        "summary": packed.summary,
        "remark": packed.remark,
    })
}

fn show(order: &Order, packed: &Packed) -> std::io::Result<()> {
    let spec = packed.manifest.model_spec();
    let (width, height) = (spec.input.width, spec.input.height);
    output::line(&format!("package     {}, {} bytes, {}", order.output.display(), packed.bytes, packed.digest))?;
    output::line(&format!("model       {} {}", packed.manifest.name(), packed.manifest.version()))?;
    output::line(&format!("input       {width}x{height}, {:?}, {:?}", spec.input.layout, spec.input.element))?;
    output::line(&format!("output      {:?}, {} without a label", spec.output.kind, spec.output.index_offset))?;
    for sample in &packed.samples {
        let least = sample.golden.minimum_probability;
        let (picture, label) = (sample.picture.display(), &sample.label);
        output::line(&format!("golden      {picture}  {label} {:.2}; devices must reach {least}", sample.probability))?;
    }
    if packed.samples.is_empty() {
        output::line(
            "golden      none: with --golden PICTURE=LABEL every device would try the model before it takes over",
        )?;
    }
    let name = order.output.file_name().unwrap_or_default().to_string_lossy();
    output::line(&format!("next        margay classify --model {} PICTURE…", order.output.display()))?;
    output::line(&format!("            aws s3 cp {} s3://BUCKET/{name}", order.output.display()))
}

/// `40`, in milliseconds.
fn parse_latency(text: &str) -> Result<Duration, String> {
    let milliseconds = text.parse::<f64>().ok().filter(|ms| (0.001..=MAX_LATENCY_MS).contains(ms));
    let milliseconds = milliseconds.ok_or_else(|| format!("write 0.001 to {MAX_LATENCY_MS} milliseconds"))?;
    Ok(Duration::from_secs_f64(milliseconds / 1e3))
}

/// `224` or `320x240`.
fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let pixels =
        |text: &str| text.parse::<u32>().map_err(|_| format!("{text:?} is no number of pixels: write 224 or 320x240"));
    match text.split_once('x') {
        Some((width, height)) => Ok((pixels(width)?, pixels(height)?)),
        None => pixels(text).map(|side| (side, side)),
    }
}

/// `0.485,0.456,0.406`, or one number for all three channels.
fn parse_three(text: &str) -> Result<[f32; 3], String> {
    let numbers: Vec<f32> = text.split(',').filter_map(|number| number.trim().parse().ok()).collect();
    match *numbers.as_slice() {
        [all] if !text.contains(',') => Ok([all; 3]),
        [first, second, third] if text.split(',').count() == 3 => Ok([first, second, third]),
        _ => Err("write three numbers, one a channel, such as 0.485,0.456,0.406".to_owned()),
    }
}

/// `0.00390625,0`.
fn parse_quantisation(text: &str) -> Result<Quantisation, String> {
    let wrong = || "write the value of one step and the byte that means zero, such as 0.00390625,0".to_owned();
    let (scale, zero_point) = text.split_once(',').ok_or_else(wrong)?;
    let scale = scale.trim().parse().map_err(|_| wrong())?;
    Ok(Quantisation { scale, zero_point: zero_point.trim().parse().map_err(|_| wrong())? })
}

/// `short-side:256`, `squash`, `letterbox:114:top-left`.
fn parse_resize(text: &str) -> Result<ResizeRule, String> {
    let wrong = || "write short-side:PIXELS, squash, letterbox, letterbox:PAD or letterbox:PAD:top-left".to_owned();
    let mut parts = text.split(':');
    let rule = match (parts.next(), parts.next(), parts.next()) {
        (Some("short-side"), Some(pixels), None) => {
            ResizeRule::ShortSide { short_side: pixels.parse().map_err(|_| wrong())? }
        }
        (Some("squash"), None, None) => ResizeRule::Squash,
        (Some("letterbox"), pad, anchor) => ResizeRule::Letterbox {
            pad: pad.map_or(Ok(0), str::parse).map_err(|_| wrong())?,
            anchor: match anchor {
                None | Some("center") => Anchor::Center,
                Some("top-left") => Anchor::TopLeft,
                Some(_) => return Err(wrong()),
            },
        },
        _ => return Err(wrong()),
    };
    if parts.next().is_none() { Ok(rule) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_rules_and_numbers_are_read_or_refused_with_an_example() {
        assert_eq!(parse_latency("40"), Ok(Duration::from_millis(40)));
        for text in ["0", "-1", "NaN", "inf", "60001", "fast"] {
            assert!(parse_latency(text).is_err(), "{text}");
        }
        assert_eq!(parse_size("224"), Ok((224, 224)));
        assert_eq!(parse_size("320x240"), Ok((320, 240)));
        assert!(parse_size("big").unwrap_err().contains("320x240"));
        assert_eq!(parse_three("0.5"), Ok([0.5; 3]));
        assert_eq!(parse_three("1,2,3"), Ok([1.0, 2.0, 3.0]));
        for text in ["1,2", "1,2,x", "", "1,2,3,4"] {
            assert!(parse_three(text).is_err(), "{text}");
        }
        assert_eq!(parse_resize("short-side:256"), Ok(ResizeRule::ShortSide { short_side: 256 }));
        assert_eq!(parse_resize("letterbox"), Ok(ResizeRule::Letterbox { pad: 0, anchor: Anchor::Center }));
        let top_left = ResizeRule::Letterbox { pad: 114, anchor: Anchor::TopLeft };
        assert_eq!(parse_resize("letterbox:114:top-left"), Ok(top_left));
        for text in ["short-side", "squash:1", "letterbox:999", "letterbox:1:left", "letterbox:1:center:2", "crop"] {
            assert!(parse_resize(text).is_err(), "{text}");
        }
        assert_eq!(parse_quantisation("0.5, -3"), Ok(Quantisation { scale: 0.5, zero_point: -3 }));
        assert!(parse_quantisation("0.5").is_err());
    }
}
