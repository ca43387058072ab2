//! `margay subscribe`: what a topic carries, with the device's own identity.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use serde_json::Value;

use super::exit::{Code, Failed, OrFail};
use super::output;
use crate::app;
use crate::clock::SystemClock;
use crate::config;
use crate::identity::Identity;
use crate::mqtt::viewer::Viewer;
use crate::topic::TopicFilter;

/// Print what arrives on a topic filter, connected with this device's certificate.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  margay subscribe 'margay/+/+/predictions'\nThe broker must allow this certificate to subscribe; AWS IoT asks for iot:Subscribe and iot:Receive."
)]
pub(super) struct Arguments {
    /// The topic filter; + stands for one level, # for all that follow
    filter: TopicFilter,
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Stop after this many messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Print {"topic","payload"} objects instead of the payloads alone
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failed> {
    let config = super::check::load(&arguments.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_fail(Code::Failure)?;
    runtime.block_on(async {
        let identity = Identity::load(&app::identity_files(&config)).or_fail(Code::Identity)?;
        // A client id of its own: the core's would throw the core off its connection.
        let client_id = format!("{}-subscribe-{}", config.mqtt.client_id, std::process::id());
        let settings = app::connection(&config, &identity, Arc::new(SystemClock::new()), &client_id);
        let mut viewer = Viewer::connect(settings, arguments.filter.clone()).await.or_fail(Code::Broker)?;
        tokio::select! {
            outcome = print(&arguments, &mut viewer) => outcome,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

async fn print(arguments: &Arguments, viewer: &mut Viewer) -> Result<(), Failed> {
    let mut seen = 0;
    while arguments.count.is_none_or(|count| seen < count) {
        let message = viewer.next().await.or_fail(Code::Broker)?;
        seen += 1;
        if arguments.json {
            let payload = serde_json::from_slice(&message.payload)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&message.payload).into_owned()));
            output::json(&serde_json::json!({ "topic": message.topic, "payload": payload })).or_fail(Code::Failure)?;
        } else {
            let text = std::str::from_utf8(&message.payload)
                .with_context(|| format!("a message on {} is not text; try --json", message.topic))
                .or_fail(Code::Failure)?;
            output::line(text).or_fail(Code::Failure)?;
        }
    }
    Ok(())
}
