//! What the demo says about the chain: a few lines a person can follow and check with other tools.

use std::path::Path;

use margay_localcloud::LocalCloud;

use super::provision::{Folder, Provisioned, THING};
use crate::app::status::{self, CameraStatus, CoreStatus};
use crate::cli::output;
use crate::payload::Prediction;

/// How much of the core's log is shown when the demo fails, in lines.
const LOG_TAIL: usize = 20;

/// Tells the story on standard error when standard output is for JSON.
#[derive(Debug)]
pub(super) struct Narration {
    json: bool,
}

impl Narration {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    fn say(&self, text: &str) {
        if self.json {
            output::complain(text);
        } else {
            // A reader that closed standard output ends the demo at the next prediction.
            let _ = output::line(text);
        }
    }

    /// The cloud runs and the device is provisioned.
    pub(super) fn cloud(&self, cloud: &LocalCloud, provisioned: &Provisioned) {
        self.say(&format!(
            "cloud        on loopback: credentials provider {}, S3 {}, MQTT localhost:{}",
            cloud.credentials_endpoint(),
            cloud.s3_endpoint(),
            cloud.mqtt_port()
        ));
        self.say(&format!("thing        {THING}, {}", provisioned.config.display()));
        let viewer = &provisioned.viewer;
        self.say(&format!(
            "subscribe    mosquitto_sub -h localhost -p {} --cafile {} --cert {} --key {} -t '{}'",
            cloud.mqtt_port(),
            viewer.ca.display(),
            viewer.certificate.display(),
            viewer.private_key.display(),
            provisioned.topic
        ));
    }

    /// The first prediction is here: what stands behind it.
    pub(super) fn chain(&self, provisioned: &Provisioned) -> anyhow::Result<()> {
        let core = status::ask(&provisioned.status_socket)?;
        let credentials = &core.credentials;
        self.say(&format!(
            "credentials  role alias {} at {}, until {}",
            credentials.core.role_alias,
            credentials.core.endpoint,
            credentials.core.valid_until.as_deref().unwrap_or("unknown")
        ));
        for camera in &core.cameras {
            self.camera(provisioned, camera);
        }
        self.core(&core);
        if core.page.is_some() {
            self.say(&format!("page         {}", crate::cli::status::page_address(&core, &provisioned.state)?));
        }
        self.say("");
        Ok(())
    }

    fn camera(&self, provisioned: &Provisioned, camera: &CameraStatus) {
        let Some(classifier) = &camera.classifier else { return };
        if let Some(model) = &classifier.model {
            self.say(&format!(
                "package      {}, {} {} {}",
                provisioned.package, model.name, model.version, model.digest
            ));
        }
        for worker in &classifier.workers {
            self.say(&format!("worker       {}", crate::cli::status::worker_line(worker)));
        }
        self.say(&format!("camera       {} plays {}", provisioned.frames.display(), classifier.camera));
        self.say(&format!("topic        {}", camera.topic));
    }

    fn core(&self, core: &CoreStatus) {
        self.say(&format!("core         pid {}, margay {}", core.pid, core.version));
    }

    /// How many were right.
    pub(super) fn score(&self, right: u64, seen: u64) {
        self.say(&format!("\n{right} of {seen} predictions name the sign that is in the picture"));
    }

    /// Where things are, if they stay.
    pub(super) fn end(&self, folder: &Folder) {
        if folder.is_kept() {
            self.say(&format!("kept         {}", folder.path().display()));
        }
    }
}

/// A prediction for people.
pub(super) fn prediction(prediction: &Prediction, truth: &str) -> String {
    let best = prediction.predictions.first();
    let label = best.map_or("nothing", |best| best.label.as_str());
    let probability = best.map_or(0.0, |best| best.probability);
    let verdict = if label == truth { "right" } else { "wrong" };
    let milliseconds = prediction.latency_us.total as f64 / 1000.0;
    format!(
        "frame {:>5}  {label:<22} {probability:>5.2}  {verdict}  ({truth}; {milliseconds:.1} ms from capture)",
        prediction.frame
    )
}

/// Shows the end of the core's log, where the reason usually stands.
pub(super) fn tail_of_log(log: &Path) {
    let Ok(text) = std::fs::read_to_string(log) else { return };
    let lines: Vec<&str> = text.lines().collect();
    output::complain(&format!("the end of {}:", log.display()));
    for line in &lines[lines.len().saturating_sub(LOG_TAIL)..] {
        output::complain(&format!("  {line}"));
    }
}
