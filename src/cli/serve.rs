//! `margay serve`: packages for other programs on this machine, by the Open Inference Protocol.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::engine::EngineArguments;
use super::exit::{Code, Failed, OrFail};
use super::{model, output};
use crate::serving::{self, Model};

/// Serve model packages on loopback by the Open Inference Protocol (KServe v2), without a core or a cloud.
///
/// NAME takes pictures, NAME.tensor the model's input tensor. Ends with SIGTERM or SIGINT.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  margay serve --model road-signs-1.0.0.tar.gz\n          curl http://localhost:8000/v2/models/road-signs"
)]
pub(super) struct Arguments {
    /// A package: a .tar.gz or .zip, or the directory that it unpacks to; can be given several times
    #[arg(long, value_name = "PACKAGE", required = true)]
    model: Vec<PathBuf>,
    #[command(flatten)]
    engine: EngineArguments,
    /// Port on 127.0.0.1; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    port: u16,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_fail(Code::Failure)?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: &Arguments) -> Result<(), Failed> {
    let mut packages = Vec::new();
    let mut models: Vec<Arc<Model>> = Vec::new();
    for path in &arguments.model {
        let package = model::Package::open(path)?;
        let forms = package.serve(arguments.engine.running(package.digest())?).await?;
        if let Some(twin) = models.iter().find(|model| model.name == forms[0].name) {
            let error = anyhow::anyhow!("{}: another package is called {} too", path.display(), twin.name);
            return Err(Failed::new(Code::Model, error));
        }
        forms[0].remark.as_deref().into_iter().for_each(output::complain);
        models.extend(forms.into_iter().map(Arc::new));
        packages.push(package);
    }
    let port = arguments.port;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener
        .with_context(|| format!("listening on 127.0.0.1:{port}; choose another --port"))
        .or_fail(Code::Failure)?;
    let address = listener.local_addr().or_fail(Code::Failure)?;
    for model in &models {
        let (input, output) = (&model.input, &model.output);
        let ports = format!("{} {} {:?} → {} {:?}", input.name, input.datatype, input.shape, output.name, output.shape);
        output::line(&format!("http://{address}/v2/models/{}  {ports}", model.name)).or_fail(Code::Failure)?;
    }
    let mut terminate = signal(SignalKind::terminate()).or_fail(Code::Failure)?;
    tokio::select! {
        outcome = serving::serve(listener, models) => outcome.or_fail(Code::Failure),
        _ = terminate.recv() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}
