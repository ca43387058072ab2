//! What the local cloud promises its clients, checked over the wire by clients that share no code with it: HTTP is
//! written by hand here, MQTT is spoken by rumqttc and, where it is installed, by mosquitto's tools.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says what it skipped")]

mod boto3;
mod broker;
mod credentials;
mod https;
mod mosquitto;
mod mqtt;
mod objects;
mod signatures;
mod signed;

use std::path::Path;

use margay_localcloud::{LocalCloud, Settings};
use tempfile::TempDir;

/// Says that a tier is skipped and how to enable it; fails where it is required.
fn skipped(tier: &str, how: &str) -> bool {
    assert!(std::env::var_os("MARGAY_TEST_REQUIRE").is_none(), "{tier} is required here: {how}");
    println!("skipped: {tier}: {how}");
    false
}

/// A cloud in a directory that goes when it does.
struct Scene {
    cloud: LocalCloud,
    dir: TempDir,
}

impl Scene {
    async fn open() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(dir.path().join("cloud"));
        change(&mut settings);
        Self { cloud: LocalCloud::start(settings).await.unwrap(), dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}
