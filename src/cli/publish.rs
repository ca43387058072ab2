//! `margay publish`: one message to the broker, with the device's own identity.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::exit::{Code, Failed, OrFail};
use super::{output, topic_argument};
use crate::app;
use crate::clock::SystemClock;
use crate::config::{self, Config};
use crate::identity::Identity;
use crate::mqtt::failure::LinkFailure;
use crate::mqtt::link::{Link, LinkSettings, LinkState};
use crate::router::MAX_PAYLOAD_BYTES;
use crate::topic::{Topic, TopicError};

/// How long the broker may take to read the farewell, once the message is acknowledged.
const FAREWELL: Duration = Duration::from_secs(2);

/// Publish one message, connected with this device's certificate; QoS 1, not retained, as the core publishes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:  margay publish margay/core/commands '{\"rate\": 5}' --json\n           \
    uptime | margay publish margay/core/notes -\n\
    Ends when the broker has acknowledged the message. The broker must allow it to this certificate; AWS IoT asks for\n\
    iot:Publish on the topic, and for iot:Connect as a client of its own (thing name, -publish-, process id).")]
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
    Link {
        topic: Topic,
        client_id: String,
        #[source]
        failure: Arc<LinkFailure>,
    },
    #[error("publishing on {topic}: {broker} did not acknowledge the message within {seconds} s")]
    Late { topic: Topic, broker: String, seconds: u64 },
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
    output::complain(&format!("published {bytes} bytes on {}, acknowledged by {}", arguments.topic, broker(&config)));
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
    let identity = Identity::load(&app::identity_files(config)).or_fail(Code::Identity)?;
    // A client id of its own: the core's would throw the core off its connection.
    let client_id = format!("{}-publish-{}", config.mqtt.client_id, std::process::id());
    let mut settings = LinkSettings::new(app::connection(config, &identity, Arc::new(SystemClock::new()), &client_id));
    let acknowledged = Arc::new(Notify::new());
    let told = acknowledged.clone();
    settings.on_acknowledged = Some(Arc::new(move |_| told.notify_one()));
    let link = Link::start(settings);
    link.accept(arguments.topic.clone(), payload).or_fail(Code::Usage)?;
    let topic = arguments.topic.clone();
    tokio::select! {
        () = acknowledged.notified() => {}
        failure = failed(&link) => return Err(Undelivered::Link { topic, client_id, failure }).or_fail(Code::Broker),
        () = tokio::time::sleep(Duration::from_secs(arguments.timeout)) => {
            let (broker, seconds) = (broker(config), arguments.timeout);
            return Err(Undelivered::Late { topic, broker, seconds }).or_fail(Code::Broker);
        }
    }
    link.drain(FAREWELL).await;
    Ok(())
}

/// Waits until the first connection has failed: the link would try again for ever, and a person can see why at once.
async fn failed(link: &Link) -> Arc<LinkFailure> {
    let mut state = link.state();
    loop {
        if let LinkState::Waiting { failure, .. } = &*state.borrow_and_update() {
            return failure.clone();
        }
        if state.changed().await.is_err() {
            // The link has ended without a word, which only the timeout can tell.
            std::future::pending::<()>().await;
        }
    }
}
