//! A device for the demo: certificate, pictures, group document and config.json, as an operator would lay them out.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use margay_localcloud::{DeviceFiles, LocalCloud};
use serde_json::{Value, json};

use super::assets;
use crate::clock::SystemClock;
use crate::identity::{Identity, IdentityFiles};
use crate::mqtt::connection::{BrokerAddress, ConnectionSettings};
use crate::mqtt::viewer::Viewer;
use crate::name::Host;

/// The demo's thing.
pub(super) const THING: &str = "margay-demo";

/// The demo's camera.
const CAMERA: &str = "road";

/// The demo's bucket.
pub(super) const BUCKET: &str = "margay-demo-models";

/// The connector that classifies.
const CONNECTOR: &str = "arn:aws:greengrass:eu-central-1::/connectors/MargayImageClassifier/versions/1";

/// The demo's directory, removed at the end unless it is to be kept.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    /// Makes `asked`, or a directory of its own among the temporary files.
    pub(super) fn make(asked: Option<PathBuf>, keep: bool) -> anyhow::Result<Self> {
        let keep = keep || asked.is_some();
        let path = asked.unwrap_or_else(|| temporary().join(format!("margay-demo-{}", std::process::id())));
        fs::create_dir(&path).with_context(|| format!("making the directory {}", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("finding {}", path.display()))?;
        Ok(Self { path, keep })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the directory outlives the demo.
    pub(super) fn is_kept(&self) -> bool {
        self.keep
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // A file that cannot be removed is left to whoever cleans temporary files.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The folder for temporary files; never one below /var, where a local resource may not lie (B-02).
fn temporary() -> PathBuf {
    let folder = std::env::temp_dir();
    if folder.starts_with("/var") { PathBuf::from("/tmp") } else { folder }
}

/// What was laid out.
#[derive(Debug)]
pub(super) struct Provisioned {
    /// config.json.
    pub(super) config: PathBuf,
    /// The core's status socket.
    pub(super) status_socket: PathBuf,
    /// What the core keeps over restarts, the page's token among it.
    pub(super) state: PathBuf,
    /// The folder that plays the camera.
    pub(super) frames: PathBuf,
    /// The package's place in S3.
    pub(super) package: String,
    /// Where predictions are published.
    pub(super) topic: String,
    /// The viewer's identity.
    pub(super) viewer: DeviceFiles,
}

impl Provisioned {
    /// A subscriber with a certificate of its own, as a user's program would be.
    pub(super) async fn viewer(&self, cloud: &LocalCloud) -> anyhow::Result<Viewer> {
        let identity = Identity::load(&IdentityFiles {
            certificate: self.viewer.certificate.clone(),
            private_key: self.viewer.private_key.clone(),
            ca: self.viewer.ca.clone(),
        })?;
        let broker = BrokerAddress { host: Host::new("localhost")?, port: cloud.mqtt_port() };
        let tls = identity.client_config(&[], Arc::new(SystemClock::new()));
        let settings = ConnectionSettings::new(broker, "margay-viewer", tls);
        Viewer::connect(settings, self.topic.parse()?).await.context("subscribing to the predictions")
    }
}

/// Lays out a device in `folder` and uploads the bundled package.
pub(super) fn provision(cloud: &LocalCloud, folder: &Path, fps: f64, page: bool) -> anyhow::Result<Provisioned> {
    let root = folder.join("greengrass");
    let device = cloud.provision_thing(THING, &root.join("certs"))?;
    let viewer = cloud.issue_viewer("margay-viewer")?;
    cloud.put_object(BUCKET, assets::PACKAGE_NAME, assets::PACKAGE);
    let frames = folder.join("frames");
    write_frames(&frames)?;
    let package = format!("s3://{BUCKET}/{}", assets::PACKAGE_NAME);
    let status_socket = folder.join("status.sock");
    let group = root.join("ggc/deployment/group/group.json");
    write_json(&group, &group_document(cloud, &package, &frames, fps))?;
    let config = root.join("config/config.json");
    write_json(&config, &config_document(cloud, &device, &status_socket, page))?;
    let state = root.join("ggc/var/state");
    let topic = format!("margay/{THING}/{CAMERA}/predictions");
    Ok(Provisioned { config, status_socket, state, frames, package, topic, viewer })
}

fn write_frames(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    for (name, bytes) in assets::FRAMES {
        let path = folder.join(name);
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn write_json(path: &Path, document: &Value) -> anyhow::Result<()> {
    let writing = || format!("writing {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(writing)?;
    }
    fs::write(path, serde_json::to_string_pretty(document)?).with_context(writing)
}

/// A V1 config.json, with the local cloud's addresses under `margay`.
fn config_document(cloud: &LocalCloud, device: &DeviceFiles, status_socket: &Path, page: bool) -> Value {
    let uri = |path: &Path| format!("file://{}", path.display());
    json!({
        "coreThing": {
            "thingArn": cloud.thing_arn(THING),
            "iotHost": "localhost",
            "ggHost": "localhost",
            "keepAlive": 600
        },
        "runtime": { "cgroup": { "useSystemd": "yes" } },
        "crypto": {
            "caPath": uri(&device.ca),
            "principals": {
                "IoTCertificate": {
                    "certificatePath": uri(&device.certificate),
                    "privateKeyPath": uri(&device.private_key)
                }
            }
        },
        "margay": {
            "credentials": { "endpoint": cloud.credentials_endpoint(), "roleAlias": cloud.role_alias() },
            "s3": { "endpoint": cloud.s3_endpoint(), "addressing": "path", "caPath": uri(&device.ca) },
            "mqtt": { "port": cloud.mqtt_port() },
            "page": page.then(|| json!({ "port": 0 })),
            "statusSocket": status_socket
        }
    })
}

/// A V1 group: the package as a machine learning resource, the folder as a local resource, our connector, and
/// the subscription that lets its predictions out.
fn group_document(cloud: &LocalCloud, package: &str, frames: &Path, fps: f64) -> Value {
    json!({
        "Group": { "Id": "demo", "Name": "margay-demo" },
        "CoreDefinitionVersion": { "Cores": [{
            "Id": "core", "ThingArn": cloud.thing_arn(THING), "SyncShadow": false,
            "CertificateArn": format!("arn:aws:iot:{}:123456789012:cert/demo", cloud.region())
        }] },
        "ResourceDefinitionVersion": { "Resources": [
            { "Id": "road-signs", "Name": "road-signs", "ResourceDataContainer": {
                "S3MachineLearningModelResourceData": { "S3Uri": package, "DestinationPath": "/models/road-signs" } } },
            { "Id": "frames", "Name": "frames", "ResourceDataContainer": {
                "LocalVolumeResourceData": { "SourcePath": frames, "DestinationPath": "/camera/road" } } }
        ] },
        "ConnectorDefinitionVersion": { "Connectors": [{
            "Id": "classifier", "ConnectorArn": CONNECTOR, "Parameters": {
                "MLModelResourceId": "road-signs", "MLModelDestinationPath": "/models/road-signs",
                "CameraResourceId": "frames", "CameraName": CAMERA,
                "FramesPerSecond": fps.to_string(), "Repeat": "true", "TopK": "3", "MemoryLimitKB": "262144"
            }
        }] },
        "SubscriptionDefinitionVersion": { "Subscriptions": [{
            "Id": "predictions-to-cloud", "Source": CONNECTOR, "Target": "cloud",
            "Subject": format!("margay/{THING}/+/predictions")
        }] }
    })
}
