//! The broker as mosquitto's own tools see it, in MQTT 3.1.1 and 5.

use std::process::{Output, Stdio};

use margay_localcloud::DeviceFiles;
use tokio::process::Command;

use crate::{Scene, skipped};

fn installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join("mosquitto_sub").exists());
    found || skipped("mosquitto's clients", "apt install mosquitto-clients")
}

fn tool(scene: &Scene, name: &str, files: &DeviceFiles, version: &str) -> Command {
    let mut command = Command::new(name);
    command.args(["-h", "localhost", "-p", &scene.cloud.mqtt_port().to_string(), "-V", version, "-q", "1"]);
    command.arg("--cafile").arg(&files.ca).arg("--cert").arg(&files.certificate).arg("--key").arg(&files.private_key);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn publish(scene: &Scene, files: &DeviceFiles, version: &str, topic: &str) -> Output {
    let mut publisher = tool(scene, "mosquitto_pub", files, version);
    publisher.args(["-i", "cat", "-t", topic, "-m", "tabby"]).output().await.unwrap()
}

#[tokio::test]
async fn mosquitto_publishes_and_subscribes_in_both_versions() {
    if !installed() {
        return;
    }
    for version in ["mqttv311", "mqttv5"] {
        let scene = Scene::open().await;
        let cat = scene.cloud.provision_thing("cat", &scene.path().join("cat")).unwrap();
        let screen = scene.cloud.issue_viewer("screen").unwrap();
        let mut subscriber = tool(&scene, "mosquitto_sub", &screen, version);
        let subscriber = subscriber.args(["-t", "margay/#", "-v", "-C", "1", "-W", "20"]).spawn().unwrap();
        scene.cloud.counters().wait_until(|served| served.subscriptions == 1).await;
        let published = publish(&scene, &cat, version, "margay/cat/x").await;
        assert!(published.status.success(), "{version}: {}", String::from_utf8_lossy(&published.stderr));
        let seen = subscriber.wait_with_output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&seen.stdout), "margay/cat/x tabby\n", "{version}");
    }
}

#[tokio::test]
async fn mosquitto_is_told_what_is_refused() {
    if !installed() {
        return;
    }
    for version in ["mqttv311", "mqttv5"] {
        let scene = Scene::open().await;
        let cat = scene.cloud.provision_thing("cat", &scene.path().join("cat")).unwrap();
        let screen = scene.cloud.issue_viewer("screen").unwrap();
        let mut subscriber = tool(&scene, "mosquitto_sub", &screen, version);
        let refused = subscriber.args(["-t", "#", "-W", "20"]).output().await.unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
        assert!(said.contains("denied"), "{version}: {said}");
        assert!(!publish(&scene, &cat, version, "margay/dog/x").await.status.success(), "{version}");
    }
}
