//! `margay model push` and `margay model pull`: packages to and from the bucket, with the device's own credentials.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::super::exit::{Code, Failed, OrFail};
use super::super::{check, output, progress};
use super::Package;
use super::sign::signature_path;
use crate::app::Services;
use crate::config;
use crate::name::S3Uri;
use crate::package::SIGNATURE_SUFFIX;
use crate::s3::{Progress, Replace, Wanted};

/// Upload a package, and the signature beside it, with this device's credentials.
///
/// The signature goes first, so that no core finds the package without it. The role needs s3:PutObject.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  margay model push road-signs-1.0.0.tar.gz s3://my-models/road-signs-1.0.0.tar.gz")]
pub(super) struct Push {
    /// The package: a .tar.gz or .zip
    package: PathBuf,
    /// Where it goes: s3://BUCKET/KEY
    uri: S3Uri,
    /// Replace an object of that name; without it an existing one is left alone
    #[arg(long)]
    replace: bool,
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

/// Download a package, and its signature where there is one, with this device's credentials.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  margay model pull s3://my-models/road-signs-1.0.0.tar.gz && margay model verify road-signs-1.0.0.tar.gz"
)]
pub(super) struct Pull {
    /// The package: s3://BUCKET/KEY
    uri: S3Uri,
    /// Where it goes [default: the key's last part]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

pub(super) async fn push(arguments: &Push) -> Result<(), Failed> {
    // Nobody uploads what no device would take.
    Package::open(&arguments.package)?.check_digests()?;
    let services = services(&arguments.config)?;
    let replace = if arguments.replace { Replace::Allowed } else { Replace::Never };
    let signature = signature_path(&arguments.package);
    if signature.exists() {
        upload(&services, &signature, &signature_of(&arguments.uri)?, replace).await?;
    }
    upload(&services, &arguments.package, &arguments.uri, replace).await
}

async fn upload(services: &Services, from: &Path, uri: &S3Uri, replace: Replace) -> Result<(), Failed> {
    let mut line = progress::Progress::new();
    let told = |sent: Progress| line.show(&shown(uri, sent));
    let uploaded = services.s3.upload(from, uri, replace, told).await.or_fail(Code::Download)?;
    line.clear();
    output::line(&format!("{uri}  {} bytes, {}", uploaded.bytes, uploaded.sha256)).or_fail(Code::Failure)
}

pub(super) async fn pull(arguments: &Pull) -> Result<(), Failed> {
    let services = services(&arguments.config)?;
    let name = arguments.uri.key().rsplit('/').next().unwrap_or_default();
    let to = arguments.output.clone().unwrap_or_else(|| name.into());
    download(&services, &arguments.uri, &to).await?.context("there is nothing").or_fail(Code::Download)?;
    // Most packages are not signed, and then there is nothing beside them.
    download(&services, &signature_of(&arguments.uri)?, &signature_path(&to)).await.map(drop)
}

/// Downloads to a temporary name beside `to`, and gives it its name once it is whole; `None` where nothing is there.
async fn download(services: &Services, uri: &S3Uri, to: &Path) -> Result<Option<()>, Failed> {
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(folder).with_context(|| format!("writing to {}", folder.display()));
    let file = file.or_fail(Code::Failure)?;
    let mut line = progress::Progress::new();
    let told = |received: Progress| line.show(&shown(uri, received));
    let fetched = match services.s3.fetch(&Wanted::newest(uri), file.path(), told).await {
        Ok(fetched) => fetched,
        Err(error) if error.is_missing() && uri.key().ends_with(SIGNATURE_SUFFIX) => return Ok(None),
        Err(error) => return Err(Failed::new(Code::Download, error)),
    };
    line.clear();
    let Some(fetched) = fetched else { return Ok(None) };
    file.persist(to).with_context(|| format!("writing {}", to.display())).or_fail(Code::Failure)?;
    let (bytes, digest) = (fetched.download.bytes, fetched.download.sha256);
    output::line(&format!("{}  {bytes} bytes, {digest}", to.display())).or_fail(Code::Failure)?;
    Ok(Some(()))
}

fn signature_of(uri: &S3Uri) -> Result<S3Uri, Failed> {
    format!("{uri}{SIGNATURE_SUFFIX}").parse::<S3Uri>().or_fail(Code::Usage)
}

fn services(config: &Path) -> Result<Services, Failed> {
    let config = check::load(config)?;
    Ok(Services::build(&config)?)
}

fn shown(uri: &S3Uri, progress: Progress) -> String {
    match progress.total {
        Some(total) if total > 0 => format!("{uri}: {} of {total} bytes", progress.received),
        _ => format!("{uri}: {} bytes", progress.received),
    }
}
