//! `margay publish`: one message to the broker, with the device's own identity.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use super::exit::{Code, Failed, OrFail};
use super::{output, topic_argument};
use crate::app;
use crate::config::{self, Config};
use crate::mqtt::single::{self, Quality, Single, SingleError};
use crate::router::MAX_PAYLOAD_BYTES;
use crate::topic::{Topic, TopicError};
use bytes::Bytes;

/// Publish one message, connected with this device's certificate.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:  margay publish margay/core/commands '{\"rate\": 5}' --json\n           \
    uptime | margay publish margay/core/notes -\n           \
    margay publish margay/core/site '{\"gate\": \"north\"}' --retain\n           \
    margay publish margay/core/site '' --retain    # the broker forgets what it kept\n\
    Ends when the broker has acknowledged the message; with --qos 0, when it was sent. The broker must allow it to this certificate; AWS IoT asks for\n\
    iot:Publish on the topic (iot:RetainPublish for --retain), and for iot:Connect as a client of its own (thing name, -publish-, process id).")]
pub(super) struct Arguments {
    /// Where to publish; no wildcards
    #[arg(value_parser = topic_argument::parser::<Topic>())]
    topic: Topic,
    /// The message; - reads it from standard input
    #[arg(required_unless_present = "file", conflicts_with = "file", allow_hyphen_values = true)]
    message: Option<OsString>,
    /// Read the message from this file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The message is JSON: refuse it if it is not
    #[arg(long)]
    json: bool,
    /// 1: the broker acknowledges it, as what the core publishes; 0: it is sent once, and nobody says whether it arrived
    #[arg(long, value_name = "QOS", default_value = "1", value_parser = quality)]
    qos: Quality,
    /// The broker keeps the message for later subscribers, in the place of the one that it kept for the topic
    #[arg(long)]
    retain: bool,
    /// Give up after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

/// Why a message is not published.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("reading the message from {from}")]
    Read {
        from: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "the message has more than {MAX_PAYLOAD_BYTES} bytes (128 KB), which no target takes; publish where it can be \
         found instead, such as an S3 URI"
    )]
    TooLarge,
    #[error("the message is no JSON; leave out --json to publish it as it is")]
    NotJson(#[source] serde_json::Error),
    #[error("publishing at AWS IoT Core; use fewer levels")]
    Levels(#[source] TopicError),
}

/// Why a message was not delivered.
#[derive(Debug, thiserror::Error)]
enum Undelivered {
    #[error(
        "publishing on {topic}; the certificate's policy must allow iot:Publish on this topic, and iot:Connect as {client_id}"
    )]
    Failed {
        topic: Topic,
        client_id: String,
        #[source]
        source: SingleError,
    },
    #[error("publishing on {topic}: {broker} did not take the message within {seconds} s")]
    Late { topic: Topic, broker: String, seconds: u64 },
}

/// QoS 2 is refused with the reason: people who know MQTT will try it.
fn quality(text: &str) -> Result<Quality, &'static str> {
    match text {
        "0" => Ok(Quality::AtMostOnce),
        "1" => Ok(Quality::AtLeastOnce),
        "2" => Err("AWS IoT Core has no QoS 2; use 1"),
        _ => Err("0 or 1"),
    }
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failed> {
    let payload = message(&arguments).or_fail(Code::Usage)?;
    let config = super::check::load(&arguments.config)?;
    if config.mqtt.host.as_str().ends_with(".amazonaws.com") {
        arguments.topic.check_aws_levels().map_err(Refused::Levels).or_fail(Code::Usage)?;
    }
    let bytes = payload.len();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_fail(Code::Failure)?;
    runtime.block_on(deliver(&arguments, &config, payload))?;
    let taken = match arguments.qos {
        Quality::AtLeastOnce => "acknowledged by",
        Quality::AtMostOnce => "sent to",
    };
    let kept = if arguments.retain { ", to be kept" } else { "" };
    output::complain(&format!("published {bytes} bytes on {}, {taken} {}{kept}", arguments.topic, broker(&config)));
    Ok(())
}

fn broker(config: &Config) -> String {
    format!("{}:{}", config.mqtt.host, config.mqtt.port)
}

fn message(arguments: &Arguments) -> Result<Bytes, Refused> {
    let payload = match (&arguments.message, &arguments.file) {
        (_, Some(path)) => {
            let from = path.display().to_string();
            let file = File::open(path).map_err(|source| Refused::Read { from: from.clone(), source })?;
            read(file, from)?
        }
        (Some(message), None) if message == "-" => read(io::stdin().lock(), "standard input".to_owned())?,
        (message, None) => message.clone().unwrap_or_default().into_vec(),
    };
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(Refused::TooLarge);
    }
    if arguments.json {
        serde_json::from_slice::<serde::de::IgnoredAny>(&payload).map_err(Refused::NotJson)?;
    }
    Ok(payload.into())
}

/// Reads one byte more than may be published, at most.
fn read(source: impl Read, from: String) -> Result<Vec<u8>, Refused> {
    let mut payload = Vec::new();
    let read = source.take(MAX_PAYLOAD_BYTES as u64 + 1).read_to_end(&mut payload);
    read.map_err(|source| Refused::Read { from, source })?;
    Ok(payload)
}

async fn deliver(arguments: &Arguments, config: &Config, payload: Bytes) -> Result<(), Failed> {
    // A client id of its own: the core's would throw the core off its connection.
    let client_id = format!("{}-publish-{}", config.mqtt.client_id, std::process::id());
    let settings = app::connection_as(config, &client_id)?;
    let topic = arguments.topic.clone();
    let message = Single { topic: topic.clone(), payload, quality: arguments.qos, retain: arguments.retain };
    let patience = Duration::from_secs(arguments.timeout);
    let undelivered = match tokio::time::timeout(patience, single::publish(settings, message)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(source)) => Undelivered::Failed { topic, client_id, source },
        Err(_) => Undelivered::Late { topic, broker: broker(config), seconds: arguments.timeout },
    };
    Err(undelivered).or_fail(Code::Broker)
}
