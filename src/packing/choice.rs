//! What a model is fed and what comes out: the packer's words, held against what the graph says of itself.
//!
//! What the graph says is not asked again, what it cannot say (how pixels are normalised) is never guessed, and words
//! that contradict it are refused, each with what to write instead.

use margay_inference::spec::input::short_side_for;
use margay_inference::{
    ColorOrder, Element, InputSpec, Layout, ModelSpec, ModelSummary, OutputKind, OutputSpec, Quantisation, ResizeRule,
};

/// The newest operator set whose operators mean what the engines take them for (docs/package-format.md).
pub const NEWEST_OPSET: i64 = 18;

/// The preprocessing of a family of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// torchvision's, for float models: NCHW, the ImageNet mean and deviation.
    Imagenet,
    /// Quantised TensorFlow's: NHWC, the pixel's bytes.
    U8Nhwc,
}

impl Preset {
    /// As it is written on the command line and in `model.toml`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Imagenet => "imagenet",
            Self::U8Nhwc => "u8-nhwc",
        }
    }

    fn spec(self, size: u32) -> InputSpec {
        match self {
            Self::Imagenet => InputSpec::imagenet(size),
            Self::U8Nhwc => InputSpec::u8_nhwc(size),
        }
    }
}

/// What the packer says; what is `None` is taken from the preset or the graph.
#[derive(Debug, Clone, Default)]
pub struct Words {
    /// A family's preprocessing.
    pub preset: Option<Preset>,
    /// Width and height in pixels.
    pub size: Option<(u32, u32)>,
    /// Order of the tensor's axes.
    pub layout: Option<Layout>,
    /// Order of the colour channels.
    pub color: Option<ColorOrder>,
    /// Factor for each byte.
    pub scale: Option<f32>,
    /// Subtracted, per channel.
    pub mean: Option<[f32; 3]>,
    /// Divides, per channel.
    pub std: Option<[f32; 3]>,
    /// Resize and crop.
    pub resize: Option<ResizeRule>,
    /// What the numbers are.
    pub kind: Option<OutputKind>,
    /// How bytes stand for numbers.
    pub quantisation: Option<Quantisation>,
    /// Leading outputs without a label.
    pub index_offset: Option<u32>,
}

/// The specification of a model with `labels` labels.
///
/// # Errors
/// Every contradiction, as a sentence with the field, the value, the rule and the remedy.
pub fn choose(words: &Words, summary: &ModelSummary, labels: usize) -> Result<ModelSpec, Vec<String>> {
    let mut problems = Vec::new();
    if summary.opset > NEWEST_OPSET {
        problems.push(format!(
            "the model uses operator set {}, and this version reads up to {NEWEST_OPSET}: export it with \
             opset_version={NEWEST_OPSET}, or convert it with onnx.version_converter",
            summary.opset
        ));
    }
    let input = choose_input(words, summary).map_err(|problem| problems.push(problem)).ok();
    let output = choose_output(words, summary, labels).map_err(|problem| problems.push(problem)).ok();
    match (input, output) {
        (Some(input), Some(output)) if problems.is_empty() => Ok(ModelSpec { input, output }),
        _ => Err(problems),
    }
}

/// The one image input as the graph declares it.
struct Graph {
    /// As it is shown to people.
    shown: String,
    element: Element,
    layout: Layout,
    /// `None` where the graph leaves it open.
    width: Option<u32>,
    height: Option<u32>,
}

fn choose_input(words: &Words, summary: &ModelSummary) -> Result<InputSpec, String> {
    let graph = read_graph(words, summary)?;
    if let Some(preset) = words.preset {
        check_preset(preset, words, &graph)?;
    }
    let (width, height) = choose_size(words.size, &graph)?;
    let larger = width.max(height);
    let normalised = words.preset.is_some() || words.mean.is_some() || words.std.is_some() || words.scale.is_some();
    let base = match (words.preset, graph.element) {
        (Some(preset), _) => preset.spec(larger),
        (None, Element::U8) => InputSpec::u8_nhwc(larger),
        (None, Element::F32) if normalised => {
            InputSpec { mean: [0.0; 3], std: [1.0; 3], ..InputSpec::imagenet(larger) }
        }
        (None, Element::F32) => {
            return Err(format!(
                "nothing says how pixels become the floats of {}: write --preset imagenet for models of torchvision, \
                 or --mean, --std and --scale as it was trained",
                graph.shown
            ));
        }
    };
    if graph.element == Element::U8 && (words.mean.is_some() || words.std.is_some() || words.scale.is_some()) {
        return Err(format!("{} takes bytes as they are: leave --mean, --std and --scale out", graph.shown));
    }
    Ok(InputSpec {
        layout: graph.layout,
        element: graph.element,
        width,
        height,
        color: words.color.unwrap_or(base.color),
        scale: words.scale.unwrap_or(base.scale),
        mean: words.mean.unwrap_or(base.mean),
        std: words.std.unwrap_or(base.std),
        resize: words.resize.unwrap_or(ResizeRule::ShortSide { short_side: short_side_for(larger) }),
        jpeg: base.jpeg,
    })
}

fn read_graph(words: &Words, summary: &ModelSummary) -> Result<Graph, String> {
    let [input] = summary.inputs.as_slice() else {
        let names: Vec<&str> = summary.inputs.iter().map(|input| input.name.as_str()).collect();
        let (count, names) = (names.len(), names.join(", "));
        return Err(format!(
            "the model has {count} inputs ({names}), and a classifier takes one image: export it with that one alone"
        ));
    };
    let shown = format!("the input {input}");
    let element = match input.element.as_str() {
        "float" => Element::F32,
        "uint8" => Element::U8,
        other => return Err(format!("{shown} takes {other}: only float and uint8 images can be made from frames")),
    };
    let no_image = || {
        format!("{shown} is no image of 3 channels ([1, 3, height, width] or [1, height, width, 3]): pack a classifier")
    };
    let shape = input.shape.as_deref().unwrap_or_default();
    let [batch, rest @ ..] = shape else { return Err(no_image()) };
    let [first, middle, last] = rest else { return Err(no_image()) };
    if batch.fixed().is_some_and(|batch| batch != 1) {
        return Err(format!("{shown} takes batches of {batch}: export it with a batch of 1, or an open one"));
    }
    let admits = |layout| match layout {
        Layout::Nchw => first.fixed().is_none_or(|length| length == 3),
        Layout::Nhwc => last.fixed().is_none_or(|length| length == 3),
    };
    let layout = match (admits(Layout::Nchw), admits(Layout::Nhwc)) {
        (true, false) => Layout::Nchw,
        (false, true) => Layout::Nhwc,
        (false, false) => return Err(no_image()),
        (true, true) => words.layout.or(words.preset.map(|preset| preset.spec(1).layout)).ok_or_else(|| {
            format!("{shown} leaves open where its channels are: write --layout nchw or --layout nhwc")
        })?,
    };
    if words.layout.is_some_and(|asked| asked != layout) {
        let (asked, is) = if layout == Layout::Nchw { ("nhwc", "nchw") } else { ("nchw", "nhwc") };
        return Err(format!("--layout is {asked}, but {shown} is {is}: leave it out"));
    }
    let (row, column) = match layout {
        Layout::Nchw => (middle, last),
        Layout::Nhwc => (first, middle),
    };
    let side = |axis: &margay_inference::engine::signature::Axis| axis.fixed().and_then(|n| u32::try_from(n).ok());
    Ok(Graph { shown, element, layout, width: side(column), height: side(row) })
}

fn check_preset(preset: Preset, words: &Words, graph: &Graph) -> Result<(), String> {
    let asked = preset.spec(1);
    let (name, shown) = (preset.as_str(), &graph.shown);
    if asked.element != graph.element {
        let (feeds, other) = match asked.element {
            Element::F32 => ("floats", Preset::U8Nhwc.as_str()),
            Element::U8 => ("bytes", Preset::Imagenet.as_str()),
        };
        return Err(format!("--preset {name} feeds {feeds}, but {shown} takes others: write --preset {other}"));
    }
    if words.layout.is_none() && asked.layout != graph.layout {
        let (feeds, is) = match asked.layout {
            Layout::Nchw => ("nchw", "nhwc"),
            Layout::Nhwc => ("nhwc", "nchw"),
        };
        return Err(format!(
            "--preset {name} feeds {feeds}, but {shown} is {is}: add --layout {is}, if it was trained with that \
             preset's normalisation, or write --mean, --std and --scale"
        ));
    }
    Ok(())
}

fn choose_size(asked: Option<(u32, u32)>, graph: &Graph) -> Result<(u32, u32), String> {
    let shown = &graph.shown;
    if let Some((width, height)) = asked {
        let fits = graph.width.is_none_or(|w| w == width) && graph.height.is_none_or(|h| h == height);
        return if fits {
            Ok((width, height))
        } else {
            Err(format!("--size is {width}x{height}, but {shown} is of another: leave it out"))
        };
    }
    graph.width.zip(graph.height).ok_or_else(|| {
        format!("{shown} leaves its size open: write --size with the pixels that it was trained with, such as 224")
    })
}

fn choose_output(words: &Words, summary: &ModelSummary, labels: usize) -> Result<OutputSpec, String> {
    let [output] = summary.outputs.as_slice() else {
        let count = summary.outputs.len();
        return Err(format!(
            "the model has {count} outputs, and a classifier has one: export it with the scores alone"
        ));
    };
    let lengths = output.shape.iter().flatten().skip(1).filter_map(|axis| axis.fixed());
    if lengths.filter(|&length| length != 1).count() > 1 {
        return Err(format!("the output {output} is no list of scores, one a class: pack a classifier"));
    }
    let is_normalised = summary.scored_by.as_deref().map(|operator| operator == "Softmax");
    let kind = match (words.kind, is_normalised) {
        (Some(OutputKind::Logits), Some(true)) => {
            return Err("--output-kind is logits, but the graph ends in a Softmax: leave it out".to_owned());
        }
        (Some(kind), _) => kind,
        (None, Some(true)) => OutputKind::Probabilities,
        // Quantised classifiers mostly end in one, though converters may hide it in a table.
        (None, _) if output.element == "uint8" => OutputKind::Probabilities,
        (None, _) => OutputKind::Logits,
    };
    let is_stored_as_bytes = matches!(output.element.as_str(), "uint8" | "int8");
    let quantisation = match (words.quantisation, summary.quantisation) {
        (Some(_), _) if !is_stored_as_bytes => {
            return Err(format!("--quantisation is given, but the output {output} holds numbers: leave it out"));
        }
        (Some(given), _) => Some(given),
        (None, found) if is_stored_as_bytes => Some(found.ok_or_else(|| {
            format!("the output {output} does not say what its bytes stand for: write --quantisation 0.00390625,0")
        })?),
        (None, _) => None,
    };
    let index_offset = match words.index_offset {
        Some(offset) => offset,
        None => background(summary.scores, labels)?,
    };
    Ok(OutputSpec { kind, quantisation, index_offset })
}

/// Leading outputs without a label: one more output than labels is the background class of TensorFlow's models.
fn background(scores: Option<u64>, labels: usize) -> Result<u32, String> {
    let Some(scores) = scores else { return Ok(0) };
    match scores.checked_sub(labels as u64) {
        Some(0) => Ok(0),
        Some(1) => Ok(1),
        _ => Err(format!(
            "there are {labels} labels for {scores} outputs: give a label file of {scores} lines, or one less where \
             the first output is a background"
        )),
    }
}

#[cfg(test)]
mod tests;
