//! Headless Chromium, driven over its debugging pipe: JSON messages that end with a zero byte, on its descriptors 3
//! and 4 (`--remote-debugging-pipe`).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// No wait for the browser is longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one tab.
pub struct Browser {
    process: Child,
    orders: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    last: u64,
    /// What the tab complained of: errors of scripts, refusals of the content security policy.
    pub complaints: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// Starts Chromium with an empty profile.
    pub fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The shell puts the pipe's ends where Chromium looks for them.
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh"])
            .args(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut pipe = BufReader::new(process.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while pipe.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                let parsed = serde_json::from_slice(message.strip_suffix(&[0]).unwrap_or(&message));
                if sender.send(parsed.unwrap()).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let orders = process.stdin.take().unwrap();
        let complaints = Vec::new();
        let mut browser = Self { process, orders, messages, session: None, last: 0, complaints, _profile: profile };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }))["targetId"].clone();
        let session = browser.call("Target.attachToTarget", &json!({ "targetId": target, "flatten": true }));
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        browser.call("Log.enable", &json!({}));
        browser.call("Runtime.enable", &json!({}));
        browser
    }

    /// Opens `address`.
    pub fn open(&mut self, address: &str) {
        self.call("Page.navigate", &json!({ "url": address }));
    }

    /// What a JavaScript expression comes to, by its JSON.
    pub fn look(&mut self, expression: &str) -> Value {
        let expression = format!("JSON.stringify({expression})");
        let found = self.call("Runtime.evaluate", &json!({ "expression": expression }));
        match found["result"]["value"].as_str() {
            Some(text) => serde_json::from_str(text).unwrap(),
            None => Value::Null,
        }
    }

    /// Looks until `wanted`.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, expression: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.look(expression);
            if wanted(&found) {
                return found;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}; last: {found}; {:?}", self.complaints);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes the window `width` × `height` pixels large, by day or by night.
    pub fn dress(&mut self, (width, height): (u32, u32), scheme: &str) {
        let mobile = width < 500;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &features);
    }

    /// The tab as PNG.
    pub fn screenshot(&mut self) -> Vec<u8> {
        let taken = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        BASE64_STANDARD.decode(taken["data"].as_str().unwrap()).unwrap()
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.last += 1;
        let mut order = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            order["sessionId"] = session.as_str().into();
        }
        self.orders.write_all(format!("{order}\0").as_bytes()).unwrap();
        loop {
            let message = self.messages.recv_timeout(PATIENCE).expect("the browser answers");
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            if message["method"] == "Runtime.exceptionThrown" || message["method"] == "Log.entryAdded" {
                self.complaints.push(message["params"].clone());
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
