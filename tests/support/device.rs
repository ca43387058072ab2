//! A device against a local cloud: its files, its documents, the cloud's switches, and waits for what it should become.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use margay::app::status::{self, CoreStatus};
use margay_localcloud::{DeviceFiles, LocalCloud, Settings};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::program::Core;

pub const THING: &str = "core-1";
pub const TOPIC: &str = "margay/core-1/road/predictions";
pub const CONNECTOR: &str = "arn:aws:greengrass:eu-central-1::/connectors/MargayImageClassifier/versions/1";
pub const BUCKET: &str = "models";
pub const KEY: &str = "road-signs.tar.gz";

/// The bundled package, which every test deploys unless it says otherwise.
pub const PACKAGE: &[u8] = include_bytes!("../../models/signs/road-signs-1.0.0.tar.gz");

/// No wait in a test is longer; what is waited for is a state, never a time.
const PATIENCE: Duration = Duration::from_secs(120);

/// A device and its cloud.
pub struct Device {
    pub runtime: Runtime,
    pub cloud: LocalCloud,
    pub folder: TempDir,
    pub files: DeviceFiles,
    /// Parameters of the classifier's connector, to be changed before `write`.
    pub parameters: Value,
    /// The folder or file that plays the camera, or the node of one.
    pub camera: PathBuf,
    /// What the core may send to the cloud: the subscription's subject.
    pub subject: String,
    /// Subscriptions besides that one, to be changed before `write`.
    pub more_subscriptions: Vec<Value>,
    /// config.json as written, to be changed before `write`.
    pub config: Value,
    /// The group's functions, and resources besides model and camera, to be changed before `write`.
    pub functions: Vec<Value>,
    pub resources: Vec<Value>,
    /// Connectors besides the classifier, to be changed before `write`.
    pub connectors: Vec<Value>,
    /// Variables of the spooler function, if the test sets any.
    pub spooler: Option<Value>,
}

impl Device {
    /// A provisioned device whose camera is the folder of held-out pictures at 20 frames a second.
    pub fn new() -> Self {
        Self::of(&std::env::temp_dir(), |_| {})
    }

    /// The same in another folder than the temporary one, of which every sandbox has its own.
    pub fn below(parent: &Path) -> Self {
        Self::of(parent, |_| {})
    }

    /// The same in a cloud whose settings `change` changes.
    pub fn in_cloud(change: impl FnOnce(&mut Settings)) -> Self {
        Self::of(&std::env::temp_dir(), change)
    }

    fn of(parent: &Path, change: impl FnOnce(&mut Settings)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = tempfile::Builder::new().prefix("margay-test-").tempdir_in(parent).unwrap();
        let mut settings = Settings::new(folder.path().join("cloud"));
        settings.writable = vec![format!("{BUCKET}/fleet/*")];
        change(&mut settings);
        let cloud = runtime.block_on(LocalCloud::start(settings)).unwrap();
        let files = cloud.provision_thing(THING, &folder.path().join("greengrass/certs")).unwrap();
        cloud.put_object(BUCKET, KEY, PACKAGE);
        let config = config(&cloud, &files, folder.path());
        let device = Self {
            parameters: json!({
                "MLModelResourceId": "model", "MLModelDestinationPath": "/models/signs", "CameraResourceId": "camera",
                "CameraName": "road", "FramesPerSecond": if super::emulated() { "1" } else { "20" }, "Repeat": "true",
                "TopK": "3", "MemoryLimitKB": "262144"
            }),
            camera: Path::new("models/signs/frames").canonicalize().unwrap(),
            subject: format!("margay/{THING}/#"),
            more_subscriptions: Vec::new(),
            runtime,
            cloud,
            folder,
            files,
            config,
            functions: Vec::new(),
            resources: Vec::new(),
            connectors: Vec::new(),
            spooler: None,
        };
        device.write();
        device
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("greengrass")
    }

    pub fn config_path(&self) -> PathBuf {
        self.root().join("config/config.json")
    }

    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("core.log")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Writes both documents.
    pub fn write(&self) {
        write_json(&self.config_path(), &self.config);
        write_json(&self.root().join("ggc/deployment/group/group.json"), &self.group());
    }

    pub fn group(&self) -> Value {
        let functions: Vec<Value> = self
            .spooler
            .iter()
            .map(|variables| {
                json!({ "Id": "spooler", "FunctionArn": "arn:aws:lambda:::function:GGCloudSpooler:1",
                    "FunctionConfiguration": { "Executable": "spooler", "MemorySize": 32768, "Pinned": true,
                        "Timeout": 3, "Environment": { "Variables": variables } } })
            })
            .chain(self.functions.iter().cloned())
            .collect();
        let mut resources = vec![
            json!({ "Id": "model", "Name": "model", "ResourceDataContainer": { "S3MachineLearningModelResourceData": {
                "S3Uri": format!("s3://{BUCKET}/{KEY}"), "DestinationPath": "/models/signs" } } }),
            json!({ "Id": "camera", "Name": "camera", "ResourceDataContainer": self.camera_resource() }),
        ];
        resources.extend(self.resources.iter().cloned());
        let classifier = json!({ "Id": "classifier", "ConnectorArn": CONNECTOR, "Parameters": self.parameters });
        let connectors: Vec<&Value> = std::iter::once(&classifier).chain(&self.connectors).collect();
        let out = json!({ "Id": "out", "Source": CONNECTOR, "Target": "cloud", "Subject": self.subject });
        let subscriptions: Vec<&Value> = std::iter::once(&out).chain(&self.more_subscriptions).collect();
        json!({
            "Group": { "Id": "test", "Name": "test" },
            "CoreDefinitionVersion": { "Cores": [{ "Id": "core", "ThingArn": self.cloud.thing_arn(THING),
                "CertificateArn": "arn:aws:iot:eu-central-1:123456789012:cert/test", "SyncShadow": false }] },
            "FunctionDefinitionVersion": { "Functions": functions },
            "ResourceDefinitionVersion": { "Resources": resources },
            "ConnectorDefinitionVersion": { "Connectors": connectors },
            "SubscriptionDefinitionVersion": { "Subscriptions": subscriptions }
        })
    }

    fn camera_resource(&self) -> Value {
        let group = json!({ "AutoAddGroupOwner": true });
        if self.camera.starts_with("/dev") {
            return json!({ "LocalDeviceResourceData": { "SourcePath": self.camera, "GroupOwnerSetting": group } });
        }
        json!({ "LocalVolumeResourceData": {
            "SourcePath": self.camera, "DestinationPath": "/camera/road", "GroupOwnerSetting": group } })
    }

    /// Starts the core.
    pub fn start(&self) -> Core {
        Core::start(&self.config_path(), &self.log_path())
    }

    /// Starts the core with variables of the environment.
    pub fn start_with(&self, variables: &[(&str, &str)]) -> Core {
        Core::start_with(&self.config_path(), &self.log_path(), variables)
    }

    /// The core's status, if it answers.
    pub fn status(&self) -> Option<CoreStatus> {
        status::ask(&self.folder.path().join("status.sock")).ok()
    }

    /// Waits until the core's status satisfies `wanted`; shows the log if it never does.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&CoreStatus) -> bool) -> CoreStatus {
        let deadline = Instant::now() + Duration::from_secs(super::scaled(PATIENCE.as_secs()));
        let mut last = None;
        while Instant::now() < deadline {
            if let Some(status) = self.status() {
                if wanted(&status) {
                    return status;
                }
                last = Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("waited in vain for {what}; the last status: {last:#?}\nthe log:\n{}", self.log());
    }

    /// Waits until predictions flow.
    #[track_caller]
    pub fn wait_for_predictions(&self) -> CoreStatus {
        self.wait_for("delivered predictions", |status| status.link.delivered > 0)
    }
}

fn config(cloud: &LocalCloud, files: &DeviceFiles, folder: &Path) -> Value {
    let uri = |path: &Path| format!("file://{}", path.display());
    json!({
        "coreThing": { "thingArn": cloud.thing_arn(THING), "iotHost": "localhost", "ggHost": "localhost", "keepAlive": 60 },
        "runtime": { "cgroup": { "useSystemd": "yes" } },
        "crypto": { "caPath": uri(&files.ca), "principals": { "IoTCertificate": {
            "certificatePath": uri(&files.certificate), "privateKeyPath": uri(&files.private_key) } } },
        "margay": {
            "credentials": { "endpoint": cloud.credentials_endpoint(), "roleAlias": cloud.role_alias() },
            "s3": { "endpoint": cloud.s3_endpoint(), "addressing": "path", "caPath": uri(&files.ca) },
            "mqtt": { "port": cloud.mqtt_port() },
            "deployments": { "healthWindowSeconds": 1 },
            "statusSocket": folder.join("status.sock")
        }
    })
}

fn write_json(path: &Path, document: &Value) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, serde_json::to_vec_pretty(document).unwrap()).unwrap();
}

/// The only worker of a kind in a status.
#[track_caller]
pub fn worker_pid(status: &CoreStatus, role: margay::classifier::Role) -> i32 {
    let classifier = status.cameras[0].classifier.as_ref().expect("a classifier");
    classifier.workers.iter().find(|worker| worker.role == role).expect("such a worker").pid
}
