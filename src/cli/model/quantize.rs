//! `margay model quantize`: a package with a quantised model made of one with a float model.

use std::path::PathBuf;

use margay_inference::quantise::Method;

use super::super::exit::{Code, Failed, OrFail};
use super::super::{output, progress};
use super::{Package, code_of};
use crate::packing::PackError;
use crate::packing::quantising::comparison::{Answers, Comparison};
use crate::packing::quantising::{
    DEFAULT_AGREEMENT, DEFAULT_PICTURES, MAX_PICTURES, MIN_PICTURES, Order, Packed, QuantisingError, Report, quantise,
};

/// Layers that are shown, those that lose most.
const SHOWN_LAYERS: usize = 5;

/// Make a package of bytes (int8) from one of floats: a quarter of the size, and faster.
///
/// Pictures as the camera sees them tell which numbers each layer meets; 100 to 500 do, without labels. The new model is
/// compared with the float one on them, or on other pictures (--validate), and is packed only where both name the same class
/// on enough of them. The package's input, output, labels and golden samples stay what they are.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  margay model quantize signs-1.0.0.tar.gz --calibrate pictures/\n  margay model quantize signs-1.0.0.tar.gz --calibrate pictures/ --validate labelled/ --min-agreement 0.99\n  margay model quantize signs-1.0.0.tar.gz --calibrate pictures/ --keep-float /features/conv0/Conv"
)]
pub(super) struct Arguments {
    /// The package: a .tar.gz or .zip, or the directory that it unpacks to
    package: PathBuf,
    /// The folder with the pictures that ranges are taken from: JPEG, PNG or BMP, folders within included
    #[arg(long, value_name = "FOLDER")]
    calibrate: PathBuf,
    /// The folder with pictures to compare both models on; where its folders are named after labels, accuracy is counted,
    /// too [default: those of --calibrate]
    #[arg(long, value_name = "FOLDER")]
    validate: Option<PathBuf>,
    /// The most pictures of each folder, taken evenly from all of it
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PICTURES, value_parser = parse_pictures)]
    pictures: usize,
    /// How ranges are found: minmax, entropy, mse, or auto, which tries all and takes the best
    #[arg(long, value_name = "METHOD", default_value = "auto", value_parser = parse_method)]
    method: Chosen,
    /// A layer that stays in float, by the name of its node or its output; may be repeated
    #[arg(long, value_name = "NODE")]
    keep_float: Vec<String>,
    /// The share of pictures on which both models must name the same class
    #[arg(long, value_name = "SHARE", default_value_t = DEFAULT_AGREEMENT, value_parser = parse_share)]
    min_agreement: f64,
    /// Write the package even below --min-agreement
    #[arg(long)]
    force: bool,
    /// Where the package goes: a .tar.gz [default: NAME-VERSION.tar.gz, here]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name of the model in every prediction [default: the package's, with -int8 behind it]
    #[arg(long)]
    name: Option<String>,
    /// Version of the model [default: the package's]
    #[arg(long = "model-version", value_name = "VERSION")]
    version: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A method, or the better one.
#[derive(Debug, Clone, Copy)]
struct Chosen(Option<Method>);

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failed> {
    let package = Package::open(&arguments.package)?;
    package.check_digests()?;
    let order = arguments.order(&package);
    let mut line = progress::Progress::new();
    let (report, packed) = quantise(&order, &mut |doing| line.show(doing)).await.map_err(failed)?;
    line.clear();
    let shown = match arguments.json {
        true => output::json(&document(&order, &report, packed.as_ref())),
        false => show(&order, &package, &report, packed.as_ref()),
    };
    shown.or_fail(Code::Failure)?;
    if packed.is_some() {
        return Ok(());
    }
    output::complain(&format!(
        "nothing was written: both models name the same class on {} of {} pictures, and --min-agreement asks for {}; keep the \
         layers that lose most in float (--keep-float), take more pictures, or write it all the same (--force)",
        report.comparison.agreeing, report.comparison.pictures, report.minimum_agreement
    ));
    Err(Failed::said(Code::Accuracy))
}

fn failed(error: QuantisingError) -> Failed {
    let code = match &error {
        QuantisingError::Trial(error) | QuantisingError::Pack(PackError::Trial(error)) => code_of(error),
        QuantisingError::Pictures(_) | QuantisingError::TooFew { .. } | QuantisingError::Unreadable { .. } => {
            Code::Source
        }
        QuantisingError::Pack(PackError::Read { .. } | PackError::Write { .. }) => Code::Failure,
        QuantisingError::Golden { .. } => Code::Accuracy,
        _ => Code::Model,
    };
    Failed::new(code, error)
}

impl Arguments {
    fn order(&self, package: &Package) -> Order {
        let (name, version) = package.name_and_version();
        let name = self.name.clone().unwrap_or_else(|| format!("{name}-int8"));
        let version = self.version.clone().unwrap_or_else(|| version.to_owned());
        let plain = |text: &str| text.replace(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)), "-");
        let output = format!("{}-{}.tar.gz", plain(&name), plain(&version));
        Order {
            directory: package.directory.clone(),
            digest: package.digest().map(str::to_owned),
            calibrate: self.calibrate.clone(),
            validate: self.validate.clone(),
            pictures: self.pictures,
            method: self.method.0,
            keep: self.keep_float.clone(),
            minimum_agreement: self.min_agreement,
            force: self.force,
            output: self.output.clone().unwrap_or_else(|| output.into()),
            name,
            version,
        }
    }
}

fn document(order: &Order, report: &Report, packed: Option<&Packed>) -> serde_json::Value {
    let package = packed.map(|packed| {
        let golden = packed.samples.iter().map(|sample| {
            serde_json::json!({
                "image": sample.golden.image.as_str(),
                "label": sample.label,
                "probability": sample.probability,
                "minimum_probability": sample.golden.minimum_probability.get(),
            })
        });
        serde_json::json!({
            "path": order.output,
            "bytes": packed.bytes,
            "digest": packed.digest.to_string(),
            "name": packed.manifest.name(),
            "version": packed.manifest.version(),
            "golden": golden.collect::<Vec<_>>(),
        })
    });
    serde_json::json!({ "report": report, "package": package })
}

fn show(order: &Order, package: &Package, report: &Report, packed: Option<&Packed>) -> std::io::Result<()> {
    let Report { scope, comparison, speed, .. } = report;
    let said = |title: &str, text: String| output::line(&format!("{title:<12}{text}"));
    let pictures = &order.calibrate.display();
    said("calibrated", format!("{} pictures of {pictures}, by {}", report.calibrated, report.method))?;
    for (picture, why) in &report.unreadable {
        said("unreadable", format!("{}: {why}", picture.display()))?;
    }
    said("bytes", format!("{} layers with weights, {} tensors between layers", scope.layers, scope.tensors))?;
    for layer in &scope.floats {
        said("float", format!("{} ({}): {}", layer.node, layer.operator, layer.reason))?;
    }
    for (method, tried) in &report.tried {
        said("tried", format!("{method:<8} {}", sentence(tried)))?;
    }
    said("agreement", sentence(comparison))?;
    if comparison.labelled > 0 {
        let share = |right: usize| 100.0 * right as f64 / comparison.labelled as f64;
        let (float, int8) = (comparison.float_right, comparison.int8_right);
        let of = comparison.labelled;
        said("accuracy", format!("float {float} of {of} ({:.1} %), int8 {int8} ({:.1} %)", share(float), share(int8)))?;
    }
    for answers in &comparison.worst {
        said("  worst", answer(answers, package))?;
    }
    for layer in report.layers.iter().take(SHOWN_LAYERS) {
        said("  loses", format!("{:>6.1} dB  {} ({})", layer.sqnr_db, layer.node, layer.operator))?;
    }
    let [float, int8] = report.model_bytes;
    said("size", format!("{float} bytes became {int8}, {:.2} of them", int8 as f64 / float.max(1) as f64))?;
    let (float, int8) = (f64::from(speed.float_us) / 1e3, f64::from(speed.int8_us) / 1e3);
    let [first, second] = &speed.engines;
    said(
        "speed",
        format!("{float:.3} ms ({first}) became {int8:.3} ms ({second}), {:.2} times as fast here", speed.ratio),
    )?;
    let Some(packed) = packed else { return Ok(()) };
    for sample in &packed.samples {
        let least = sample.golden.minimum_probability;
        let (image, label) = (&sample.golden.image, &sample.label);
        said("golden", format!("{image}  {label} {:.2}; devices must reach {least}", sample.probability))?;
    }
    said("package", format!("{}, {} bytes, {}", order.output.display(), packed.bytes, packed.digest))?;
    if !report.passed {
        said("forced", format!("it is below the {} that --min-agreement asks for", report.minimum_agreement))?;
    }
    said("next", format!("margay model tune {}", order.output.display()))
}

fn sentence(comparison: &Comparison) -> String {
    let Comparison { pictures, agreeing, agreement, mean_difference, max_difference, .. } = comparison;
    format!(
        "{agreeing} of {pictures} pictures ({:.1} %) named alike; probabilities differ by {mean_difference:.4} on average, \
         {max_difference:.4} at most",
        100.0 * agreement
    )
}

fn answer(answers: &Answers, package: &Package) -> String {
    let offset = package.contents.manifest.model_spec().output.index_offset as usize;
    let label = |class: usize| {
        let class = class.checked_sub(offset).and_then(|class| u32::try_from(class).ok());
        class.and_then(|class| package.contents.labels.get(class)).map_or("nothing", |label| label)
    };
    let Answers { picture, float_class, float_probability, int8_class, int8_probability, .. } = answers;
    let (float, int8) = (label(*float_class), label(*int8_class));
    format!("{}: {float} {float_probability:.2}, int8 {int8} {int8_probability:.2}", picture.display())
}

fn parse_pictures(text: &str) -> Result<usize, String> {
    let pictures = text.parse().ok().filter(|pictures| (MIN_PICTURES..=MAX_PICTURES).contains(pictures));
    pictures.ok_or_else(|| format!("write {MIN_PICTURES} to {MAX_PICTURES}"))
}

fn parse_method(text: &str) -> Result<Chosen, String> {
    if text == "auto" {
        return Ok(Chosen(None));
    }
    text.parse().map(|method| Chosen(Some(method))).map_err(|_| "write auto, minmax, entropy or mse".to_owned())
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "write a share from 0 to 1, such as 0.98".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_shares_and_counts_are_read_or_refused_with_what_to_write() {
        assert!(parse_method("auto").unwrap().0.is_none());
        assert_eq!(parse_method("entropy").unwrap().0, Some(Method::Entropy));
        assert!(parse_method("kl").unwrap_err().contains("minmax"));
        assert_eq!(parse_share("0.9"), Ok(0.9));
        for text in ["1.5", "-1", "NaN", "98%"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
        assert_eq!(parse_pictures("100"), Ok(100));
        for text in ["7", "10001", "many"] {
            assert!(parse_pictures(text).is_err(), "{text}");
        }
    }
}
