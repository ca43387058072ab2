//! `margay model verify`: whether a package would be taken, tried as a device tries it.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

use super::super::exit::{Code, Failed, OrFail};
use super::sign::signature_path;
use super::{Package, output};
use crate::classifier::Running;
use crate::package::{MAX_SIGNATURE_BYTES, Manifest, SignatureError, Signed, TrustedKey, verify_signature};

/// Try a package as a device does before it lets the model take over: digests, load, shape, labels, golden samples.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  margay model verify road-signs-1.0.0.tar.gz && aws s3 cp road-signs-1.0.0.tar.gz s3://…"
)]
pub(super) struct Arguments {
    /// The package: a .tar.gz or .zip, or the directory that it unpacks to
    package: PathBuf,
    /// Ask for a signature of this public key, too: the line that begins with RW in its .pub file
    #[arg(long, value_name = "RW…")]
    trust: Vec<TrustedKey>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was tried.
#[derive(Debug, Serialize)]
struct Verified<'a> {
    name: &'a str,
    version: &'a str,
    /// Files whose digests were compared.
    files: usize,
    labels: usize,
    engine: &'a str,
    /// That the model runs otherwise than was to be expected, and why.
    remark: Option<&'a str>,
    golden: Vec<Golden<'a>>,
    /// The key that signed it, where one was asked for.
    signed_by: Option<String>,
}

#[derive(Debug, Serialize)]
struct Golden<'a> {
    image: &'a str,
    label: String,
    probability: f32,
    minimum_probability: f32,
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), Failed> {
    let signed = arguments.check_signature().or_fail(Code::Model)?;
    let package = Package::open(&arguments.package)?;
    package.check_digests()?;
    let worker = package.load_aloud(&Running::default()).await?;
    let manifest = &package.contents.manifest;
    let mut golden = Vec::new();
    for sample in manifest.golden() {
        let image = sample.image.as_str();
        let result = worker.classify(&package.directory.join(image), 1).await.or_fail(Code::Model)?;
        let first = result.predictions.into_iter().next();
        let (label, probability) = first.map_or((String::new(), 0.0), |first| (first.label, first.probability));
        let minimum_probability = sample.minimum_probability.get();
        golden.push(Golden { image, label, probability, minimum_probability });
    }
    let verified = Verified {
        name: manifest.name(),
        version: manifest.version(),
        files: manifest.files().len(),
        labels: package.contents.labels.count(),
        engine: &worker.engine,
        remark: worker.remark.as_deref(),
        golden,
        signed_by: signed.map(|signed| signed.key),
    };
    if arguments.json {
        return output::json(&verified).or_fail(Code::Failure);
    }
    show(&verified, manifest).or_fail(Code::Failure)
}

impl Arguments {
    /// The signature beside the package, where keys are named.
    fn check_signature(&self) -> anyhow::Result<Option<Signed>> {
        if self.trust.is_empty() {
            return Ok(None);
        }
        let path = signature_path(&self.package);
        let mut text = String::new();
        match File::open(&path) {
            Ok(file) => file.take(MAX_SIGNATURE_BYTES).read_to_string(&mut text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(SignatureError::Missing.into()),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        Ok(Some(verify_signature(&self.trust, &text, File::open(&self.package)?)?))
    }
}

fn show(verified: &Verified<'_>, manifest: &Manifest) -> std::io::Result<()> {
    output::line(&format!("package     {} {}", verified.name, verified.version))?;
    if let Some(key) = &verified.signed_by {
        output::line(&format!("signature   good, of the key {key}"))?;
    }
    match verified.files {
        0 => output::line("digests     none: the package has no manifest")?,
        files => output::line(&format!("digests     {files} files are what the manifest says"))?,
    }
    output::line(&format!(
        "model       {} loads in {}, {} labels",
        manifest.model_file(),
        verified.engine,
        verified.labels
    ))?;
    if verified.golden.is_empty() {
        output::line("golden      none: nothing tells whether the model is fed as it was trained")?;
    }
    for Golden { image, label, probability, minimum_probability } in &verified.golden {
        output::line(&format!("golden      {image}  {label} {probability:.2} (at least {minimum_probability})"))?;
    }
    output::line("a device would take it")
}
