//! `margay subscribe`: what topics carry, with the device's own identity.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::exit::{Code, Failed, OrFail};
use super::{output, topic_argument};
use crate::app;
use crate::config;
use crate::mqtt::message::Received;
use crate::mqtt::viewer::{Viewer, ViewerError};
use crate::topic::TopicFilter;

/// Messages that wait to be printed; past it, the broker waits.
const WAITING: usize = 64;

/// Print what arrives on topic filters, connected with this device's certificate.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:  margay subscribe 'margay/+/+/predictions'\n           \
    margay subscribe --json --count 10 --timeout 60 'margay/#' '$aws/things/+/shadow/#'\n\
    Each filter has a connection of its own; what two of them select comes twice. The broker must allow this certificate\n\
    to subscribe; AWS IoT asks for iot:Subscribe and iot:Receive, and for iot:Connect as clients of its own (thing name,\n\
    -subscribe-, process id).")]
pub(super) struct Arguments {
    /// Topic filters; + stands for one level, # for all that follow
    #[arg(required = true, num_args = 1..=8, value_parser = topic_argument::parser::<TopicFilter>())]
    filters: Vec<TopicFilter>,
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Stop after this many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Stop after this many seconds; a failure if fewer messages came than --count asks for
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Print a JSON object a message: topic, and payload where it is JSON, text where it is other text, hex otherwise
    #[arg(long)]
    json: bool,
}

/// The time was over first.
#[derive(Debug, thiserror::Error)]
#[error("{seen} of {wanted} messages came within {seconds} s")]
struct TooFew {
    seen: u64,
    wanted: u64,
    seconds: u64,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failed> {
    let config = super::check::load(&arguments.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_fail(Code::Failure)?;
    runtime.block_on(async {
        let (sender, mut messages) = mpsc::channel(WAITING);
        for (number, filter) in arguments.filters.iter().enumerate() {
            // A client id of its own: the core's would throw the core off its connection.
            let client_id = format!("{}-subscribe-{}-{number}", config.mqtt.client_id, std::process::id());
            let settings = app::connection_as(&config, &client_id)?;
            let viewer = Viewer::connect(settings, filter.clone()).await.or_fail(Code::Broker)?;
            tokio::spawn(pass_on(viewer, sender.clone()));
        }
        drop(sender);
        let mut seen = 0;
        tokio::select! {
            outcome = print(&arguments, &mut messages, &mut seen) => outcome,
            () = over(arguments.timeout) => match (arguments.count, arguments.timeout) {
                (Some(wanted), Some(seconds)) => Err(TooFew { seen, wanted, seconds }).or_fail(Code::Failure),
                _ => Ok(()),
            },
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

/// Waiting for a message must not be broken off, so each connection has a task.
async fn pass_on(mut viewer: Viewer, messages: mpsc::Sender<Result<Received, ViewerError>>) {
    loop {
        let message = viewer.next().await;
        let ended = message.is_err();
        if messages.send(message).await.is_err() || ended {
            return;
        }
    }
}

async fn over(timeout: Option<u64>) {
    match timeout {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

async fn print(
    arguments: &Arguments,
    messages: &mut mpsc::Receiver<Result<Received, ViewerError>>,
    seen: &mut u64,
) -> Result<(), Failed> {
    while arguments.count.is_none_or(|count| *seen < count) {
        let Some(message) = messages.recv().await else { return Ok(()) };
        let message = message.or_fail(Code::Broker)?;
        *seen += 1;
        let printed = if arguments.json { output::json(&document(&message)) } else { output::line(&text(&message)) };
        printed.or_fail(Code::Failure)?;
    }
    Ok(())
}

fn document(message: &Received) -> Value {
    let payload = &message.payload;
    match (serde_json::from_slice::<Value>(payload), std::str::from_utf8(payload)) {
        (Ok(json), _) => json!({ "topic": message.topic, "payload": json }),
        (_, Ok(text)) => json!({ "topic": message.topic, "text": text }),
        _ => json!({ "topic": message.topic, "hex": hex(payload) }),
    }
}

fn text(message: &Received) -> String {
    match std::str::from_utf8(&message.payload) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("({} bytes on {} that are no text; --json shows them)", message.payload.len(), message.topic),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(payload: &'static [u8]) -> Received {
        Received { topic: "a/b".to_owned(), payload: payload.into(), duplicate: false, retained: false }
    }

    #[test]
    fn a_payload_is_shown_as_what_it_is() {
        for (payload, shown) in [
            (&b"{\"a\": [1]}"[..], json!({ "topic": "a/b", "payload": { "a": [1] } })),
            (b"7", json!({ "topic": "a/b", "payload": 7 })),
            (b"plain", json!({ "topic": "a/b", "text": "plain" })),
            (b"", json!({ "topic": "a/b", "text": "" })),
            (b"\xff\x00", json!({ "topic": "a/b", "hex": "ff00" })),
        ] {
            assert_eq!(document(&received(payload)), shown);
        }
        assert_eq!(text(&received(b"\xff\x00")), "(2 bytes on a/b that are no text; --json shows them)");
    }
}
