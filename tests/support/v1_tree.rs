//! A Greengrass V1 device's disk as the guide describes it (A-06, A-08, A-16, B-13), with certificates of a local cloud.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use super::device::{Device, PACKAGE, THING};
use super::program;

/// The machine learning resource of the device.
pub const MODEL: &str = "signs-model";
/// The topic on which the device's function published.
pub const TOPIC: &str = "margay/core-1/gate/signs";
/// The function in a container, which has the model and the folder that plays the camera.
pub const CONTAINED: &str = "arn:aws:lambda:eu-central-1:123456789012:function:signs:1";
/// The function without a container, which has the model alone.
pub const UNCONTAINED: &str = "arn:aws:lambda:eu-central-1:123456789012:function:audit:prod";

/// The disk, and the cloud that its certificates are good for.
pub struct V1Tree {
    pub device: Device,
    pub root: PathBuf,
    /// config.json, to be changed before `write`.
    pub config: Value,
    /// group.json, to be changed before `write`.
    pub group: Value,
}

impl V1Tree {
    /// The device with both functions, its model in V1's layout.
    pub fn new() -> Self {
        let device = Device::new();
        let root = device.folder.path().join("v1/greengrass");
        let files = device.cloud.provision_thing(THING, &root.join("certs")).unwrap();
        let uri = |path: &Path| format!("file://{}", path.display());
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let key = uri(&files.private_key);
        let config = json!({
            "coreThing": { "caPath": name(&files.ca), "certPath": name(&files.certificate),
                "keyPath": name(&files.private_key), "thingArn": device.cloud.thing_arn(THING),
                "iotHost": "localhost", "ggHost": "localhost", "keepAlive": 600 },
            "runtime": { "maxWorkItemCount": 1024, "cgroup": { "useSystemd": "yes" } },
            "managedRespawn": false,
            "crypto": { "principals": { "SecretsManager": { "privateKeyPath": key },
                    "IoTCertificate": { "privateKeyPath": key, "certificatePath": uri(&files.certificate) } },
                "caPath": uri(&files.ca) }
        });
        let group = group(&device);
        let tree = Self { device, root, config, group };
        tree.add(
            "ggc/deployment/mlmodel/3f6c1d5e-8c5b/signs/signs.onnx",
            &fs::read("models/signs/package/signs.onnx").unwrap(),
        );
        let labels = fs::read_to_string("models/signs/package/labels.txt").unwrap();
        tree.add("ggc/deployment/mlmodel/3f6c1d5e-8c5b/signs/synset.txt", labels.as_bytes());
        tree.add(&format!("ggc/deployment/lambda/{CONTAINED}/inference.py"), b"def handler(event, context): pass\n");
        tree.add("ggc/packages/1.10.1/bin/daemon", b"\x7fELF");
        tree.add("ggc/var/log/system/runtime.log", b"");
        tree.write();
        tree
    }

    /// Writes a file of the disk.
    pub fn add(&self, name: &str, content: &[u8]) {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Writes both documents.
    pub fn write(&self) {
        self.add("config/config.json", self.config.to_string().as_bytes());
        self.add("ggc/deployment/group/group.json", self.group.to_string().as_bytes());
    }

    /// A folder beside the disk, for what is written.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.device.folder.path().join(name)
    }

    /// `margay import ROOT` to `output` with `more` and what the local cloud needs under `margay`.
    pub fn import(&self, output: &Path, more: &[&str]) -> Output {
        let additions = self.beside("additions.json");
        fs::write(&additions, self.device.config["margay"].to_string()).unwrap();
        let (root, output) = (self.root.to_str().unwrap(), output.to_str().unwrap());
        let fixed = ["import", root, "--output", output, "--additions", additions.to_str().unwrap()];
        program::run(&[&fixed[..], more].concat())
    }

    /// The bundled package as the device's owner would have made it, as `--model` takes it.
    pub fn package(&self) -> String {
        let path = self.beside("signs.tar.gz");
        fs::write(&path, PACKAGE).unwrap();
        format!("{MODEL}={}", path.display())
    }

    /// Every file, folder and link of the disk: kind, mode, time of change and content.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, (u32, i64, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let mut pending = vec![self.root.clone()];
        while let Some(path) = pending.pop() {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = match () {
                () if metadata.is_dir() => {
                    pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                    Vec::new()
                }
                () if metadata.is_file() => fs::read(&path).unwrap(),
                () => fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
            };
            found.insert(path, (metadata.mode(), metadata.mtime_nsec() + metadata.mtime() * 1_000_000_000, content));
        }
        found
    }
}

fn group(device: &Device) -> Value {
    let frames = Path::new("models/signs/frames").canonicalize().unwrap();
    json!({
        "CoreDefinitionVersion": { "Cores": [{ "Id": "core", "ThingArn": device.cloud.thing_arn(THING),
            "CertificateArn": "arn:aws:iot:eu-central-1:123456789012:cert/0f1e", "SyncShadow": false }] },
        "FunctionDefinitionVersion": { "Functions": [
            { "Id": "signs", "FunctionArn": CONTAINED, "FunctionConfiguration": { "Executable": "inference.handler",
                "MemorySize": 98304, "Pinned": true, "Timeout": 10, "Environment": { "AccessSysfs": true,
                    "ResourceAccessPolicies": [{ "ResourceId": MODEL, "Permission": "ro" },
                        { "ResourceId": "frames", "Permission": "ro" }] } } },
            { "Id": "audit", "FunctionArn": UNCONTAINED, "FunctionConfiguration": { "Executable": "audit.handler",
                "Pinned": true, "Timeout": 10, "Environment": { "Execution": { "IsolationMode": "NoContainer" },
                    "ResourceAccessPolicies": [{ "ResourceId": MODEL }] } } },
        ] },
        "ResourceDefinitionVersion": { "Resources": [
            { "Id": MODEL, "Name": "signs_model", "ResourceDataContainer": { "S3MachineLearningModelResourceData": {
                "S3Uri": "s3://models/fleet/signs.zip", "DestinationPath": "/greengrass-machine-learning/signs",
                "OwnerSetting": { "GroupOwner": "65533", "GroupPermission": "ro" } } } },
            { "Id": "frames", "Name": "frames", "ResourceDataContainer": { "LocalVolumeResourceData": {
                "SourcePath": frames, "DestinationPath": "/frames", "GroupOwnerSetting": { "AutoAddGroupOwner": true } } } },
        ] },
        "SubscriptionDefinitionVersion": { "Subscriptions": [
            { "Id": "out", "Source": CONTAINED, "Subject": TOPIC, "Target": "cloud" },
            { "Id": "trigger", "Source": "cloud", "Subject": "signs/trigger", "Target": CONTAINED },
        ] },
        "LoggerDefinitionVersion": { "Loggers": [
            { "Id": "log", "Component": "Lambda", "Level": "INFO", "Type": "FileSystem", "Space": 128 },
            { "Id": "own", "Component": "GreengrassSystem", "Level": "INFO", "Type": "FileSystem", "Space": 128 },
            { "Id": "cloud", "Component": "Lambda", "Level": "INFO", "Type": "AWSCloudWatch" }] }
    })
}
