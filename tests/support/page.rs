//! The page as a plain HTTP client meets it: one request a connection, no browser.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::device::Device;
use super::program;

/// No answer takes longer; the page itself waits ten seconds for news.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn frame(&self) -> u64 {
        self.headers["margay-frame"].parse().unwrap()
    }
}

/// Where a core's page is, and what opens it.
#[derive(Debug, Clone)]
pub struct Page {
    /// The whole address, as `margay status --page` prints it.
    pub address: String,
    pub port: u16,
    pub token: String,
}

impl Page {
    /// Asks for a page in the device's configuration.
    pub fn configure(device: &mut Device) {
        device.config["margay"]["page"] = json!({ "port": 0 });
        device.write();
    }

    /// The page of a running core.
    pub fn of(device: &Device) -> Self {
        let output = program::run(&["status", "--page", "--config", device.config_path().to_str().unwrap()]);
        program::assert_code(&output, 0);
        let address = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
        let (url, token) = address.split_once("/?token=").unwrap();
        let port = url.strip_prefix("http://127.0.0.1:").unwrap().parse().unwrap();
        Self { token: token.to_owned(), port, address: address.clone() }
    }

    /// The cookie that opens the page.
    pub fn cookie(&self) -> String {
        format!("margay-page-{}={}", self.port, self.token)
    }

    /// `GET path` by a browser that has the cookie.
    pub fn get(&self, path: &str) -> Answer {
        let host = format!("127.0.0.1:{}", self.port);
        self.ask("GET", path, &[("Host", &host), ("Cookie", &self.cookie())])
    }

    /// Any request.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut stream = self.connect();
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        parse(&answer)
    }

    /// A connection on which nothing has been said.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

fn parse(answer: &[u8]) -> Answer {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer with a head");
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Answer { status, headers, body: answer[end + 4..].to_vec() }
}
