//! A function in Rust: of the predictions that a classifier sends it, it passes on those whose label is another than before.
//!
//! It speaks to the core over HTTP on loopback: the AWS Lambda Runtime API for its work, V1's daemon interface to publish.

#![allow(clippy::print_stdout, reason = "what a function prints is its log")]

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader, Error, Read, Result, Write};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

fn main() -> Result<()> {
    let mut core = Core::connect()?;
    let mut last = None;
    loop {
        let work = core.ask("GET", "/2018-06-01/runtime/invocation/next", &[], b"")?;
        let answer = match handle(&work.body, &mut last) {
            Some((topic, message)) => core.publish(&topic, message.as_bytes())?.status,
            None => 200,
        };
        let id = work.headers.get("lambda-runtime-aws-request-id").map(String::as_str).unwrap_or_default();
        let (outcome, said) = if answer == 200 { ("response", "{}") } else { ("error", "the core took no message") };
        core.ask("POST", &format!("/2018-06-01/runtime/invocation/{id}/{outcome}"), &[], said.as_bytes())?;
    }
}

/// What there is to say of a prediction: topic and message, if its label is not the `last` one.
fn handle(payload: &[u8], last: &mut Option<String>) -> Option<(String, String)> {
    let prediction: Value = serde_json::from_slice(payload).ok()?;
    let label = prediction.pointer("/predictions/0/label")?.as_str()?.to_owned();
    let (thing, camera) = (prediction["thing"].as_str()?, prediction["camera"].as_str()?);
    if last.as_deref() == Some(label.as_str()) {
        return None;
    }
    // Standard output is the function's log.
    println!("[INFO]-main.rs,{camera} shows {label}");
    let message = json!({ "was": last, "is": label, "frame": prediction["frame"] });
    *last = Some(label);
    Some((format!("margay/{thing}/{camera}/changes"), message.to_string()))
}

/// The core's interface, on a connection that is kept.
struct Core {
    connection: BufReader<TcpStream>,
    /// This function's own ARN and token.
    arn: String,
    token: String,
}

struct Answer {
    status: u16,
    /// Names in lower case.
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Core {
    fn connect() -> Result<Self> {
        let variable = |name: &str| env::var(name).map_err(|_| Error::other(format!("{name} is not set")));
        let connection = BufReader::new(TcpStream::connect(variable("AWS_LAMBDA_RUNTIME_API")?)?);
        let token = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")?;
        Ok(Self { connection, arn: variable("MY_FUNCTION_ARN")?, token })
    }

    fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<Answer> {
        let context = json!({ "custom": { "source": self.arn, "subject": topic } });
        let headers = [
            ("Authorization", self.token.clone()),
            ("X-Amz-Client-Context", STANDARD.encode(context.to_string())),
            ("X-Amz-Invocation-Type", "Event".to_owned()),
        ];
        self.ask("POST", "/2016-11-01/functions/arn:aws:lambda:::function:GGRouter", &headers, payload)
    }

    fn ask(&mut self, method: &str, path: &str, headers: &[(&str, String)], body: &[u8]) -> Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: core\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        let request = [request.as_bytes(), b"\r\n", body].concat();
        self.connection.get_mut().write_all(&request)?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer> {
        let status = self.line()?.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| Error::other("the core ended the conversation"))?;
        let mut headers = HashMap::new();
        while let Some((name, value)) = self.line()?.split_once(": ") {
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.connection.read_exact(&mut body)?;
        Ok(Answer { status, headers, body })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.connection.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}
