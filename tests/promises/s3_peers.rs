//! S3 as other servers speak it, over bad lines, and in little memory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use margay::app::Services;
use margay::config;
use margay::name::S3Uri;
use margay::package::Sha256Digest;
use margay::s3::{DownloadError, Problem, Replace, S3Client, Wanted};
use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::python::{self, python_with};
use crate::support::relay::Relay;
use crate::support::server::{Server, free_port};
use crate::support::{has_tool, scaled, skipped};

/// Keys that a wrong encoding or signature would miss.
const KEYS: [&str; 6] =
    ["dir/a b+c=ü.zip", "100%.zip", "(1)~_-.!*'.zip", "a?b&c=d#e.zip", "日本/モデル.zip", "a//b.zip"];

/// A device whose S3 is the server on this port of loopback, and its client.
fn client_of(port: u16) -> (Device, S3Client) {
    let mut device = Device::new();
    let settings =
        json!({ "endpoint": format!("http://127.0.0.1:{port}"), "addressing": "path", "region": "eu-central-1" });
    device.config["margay"]["s3"] = settings;
    device.write();
    let config = config::load(&device.config_path()).unwrap().document;
    let pause = Duration::from_millis(1);
    let client = Services::build(&config).unwrap().s3.with_pauses(pause, pause);
    (device, client)
}

fn target(device: &Device) -> PathBuf {
    device.folder.path().join("download")
}

fn uri(key: &str) -> S3Uri {
    format!("s3://models/{key}").parse().unwrap()
}

/// Bytes that are the same for the same length and nowhere repeat.
fn content(length: usize) -> Vec<u8> {
    let mut state = length as u64 | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(length).collect()
}

/// Makes a user, a role that may read the bucket `models` only, both buckets and their objects; prints the role's
/// credentials and the versions of the object `versioned`.
const MOTO_SETUP: &str = r#"
import sys, json, boto3
endpoint, keys = sys.argv[1], json.loads(sys.argv[2])
def client(name, **credentials):
    return boto3.client(name, endpoint_url=endpoint, region_name="eu-central-1", **credentials)
anyone = dict(aws_access_key_id="none", aws_secret_access_key="none")
def allow(actions, resource):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resource}]})
iam = client("iam", **anyone)
iam.create_user(UserName="owner")
iam.put_user_policy(UserName="owner", PolicyName="all", PolicyDocument=allow("*", "*"))
key = iam.create_access_key(UserName="owner")["AccessKey"]
owner = dict(aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
iam = client("iam", **owner)
trust = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]})
role = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
iam.put_role_policy(RoleName="reader", PolicyName="read", PolicyDocument=allow(
    ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"], "arn:aws:s3:::models/*"))
s3 = client("s3", **owner)
for bucket in ["models", "others"]:
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket=bucket, Key="object", Body=b"0123456789")
for name in keys:
    s3.put_object(Bucket="models", Key=name, Body=name.encode())
s3.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
versions = [s3.put_object(Bucket="models", Key="versioned", Body=body)["VersionId"] for body in (b"old", b"newer")]
session = client("sts", **owner).assume_role(RoleArn=role, RoleSessionName="device")["Credentials"]
print(json.dumps({"owner": owner, "versions": versions, "key": session["AccessKeyId"],
                  "secret": session["SecretAccessKey"], "token": session["SessionToken"]}))
"#;

/// Puts bytes that the test made, as the owner.
const PUT: &str = r#"
import sys, json, boto3
endpoint, owner, name, path = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], sys.argv[4]
s3 = boto3.client("s3", endpoint_url=endpoint, region_name="eu-central-1", **owner)
s3.put_object(Bucket="models", Key=name, Body=open(path, "rb").read())
"#;

struct Moto {
    server: Server,
    python: String,
    setup: Value,
}

impl Moto {
    fn start() -> Option<Self> {
        // Earlier ones take boto3's own signatures for wrong.
        let python = python_with("boto3, moto.server; assert moto.__version__.split('.') >= ['5', '2', '5']")?;
        let port = free_port();
        let mut command = Command::new(&python);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
        // The user, its policy and its key; every call after these is checked against IAM.
        command.env("INITIAL_NO_AUTH_ACTION_COUNT", "3");
        let server = Server::start(&mut command, port);
        let keys = serde_json::to_string(&KEYS).unwrap();
        let setup = python::run(&python, MOTO_SETUP, &[&format!("http://127.0.0.1:{port}"), &keys]);
        Some(Self { server, python, setup: serde_json::from_str(&setup).unwrap() })
    }

    fn hand_out(&self, device: &Device) {
        let text = |key: &str| self.setup[key].as_str().unwrap();
        device.cloud.hand_out(text("key"), text("secret"), text("token"));
    }

    fn put(&self, device: &Device, key: &str, bytes: &[u8]) {
        let file = device.folder.path().join("put");
        std::fs::write(&file, bytes).unwrap();
        let endpoint = format!("http://127.0.0.1:{}", self.server.port);
        python::run(&self.python, PUT, &[&endpoint, &self.setup["owner"].to_string(), key, file.to_str().unwrap()]);
    }
}

#[test]
fn against_moto_a_roles_session_reads_what_it_may_by_any_key_and_version() {
    let Some(moto) = Moto::start() else { return };
    let (device, client) = client_of(moto.server.port);
    moto.hand_out(&device);
    let fetch = |uri: &S3Uri, version_id: Option<&str>| {
        let wanted = Wanted { version_id, ..Wanted::newest(uri) };
        let fetched = device.runtime.block_on(client.fetch(&wanted, &target(&device), |_| {}));
        fetched.map(|fetched| (fetched.unwrap(), std::fs::read(target(&device)).unwrap()))
    };
    for key in KEYS {
        assert_eq!(
            fetch(&uri(key), None).unwrap_or_else(|error| panic!("{key}: {error:?}")).1,
            key.as_bytes(),
            "{key}"
        );
    }
    let (first, second) = (moto.setup["versions"][0].as_str(), moto.setup["versions"][1].as_str());
    let (fetched, bytes) = fetch(&uri("versioned"), None).unwrap();
    assert_eq!((fetched.version_id.as_deref(), bytes.as_slice()), (second, &b"newer"[..]));
    assert_eq!(fetch(&uri("versioned"), first).unwrap().1, b"old");

    let versioned = uri("versioned");
    let known = Wanted { unless_etag: fetched.download.etag.as_deref(), ..Wanted::newest(&versioned) };
    assert_eq!(device.runtime.block_on(client.fetch(&known, &target(&device), |_| {})).unwrap(), None);
    let denied = fetch(&"s3://others/object".parse().unwrap(), None).unwrap_err();
    assert_eq!(denied.problem(), Some(Problem::AccessDenied), "{denied}");
    assert_eq!(fetch(&uri("absent"), None).unwrap_err().problem(), Some(Problem::NoSuchKey));

    let source = device.folder.path().join("source");
    std::fs::write(&source, content(100_000)).unwrap();
    let new = uri("up load+ü");
    let upload = client.upload(&source, &new, Replace::Allowed, |_| {});
    device.runtime.block_on(upload).unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(fetch(&new, None).unwrap().1, content(100_000));

    // Credentials that moto never issued are refused, and others asked for once.
    device.cloud.hand_out("ASIAUNKNOWNUNKNOWN00", "secret", "token");
    let (_device, stranger) =
        (&device, Services::build(&config::load(&device.config_path()).unwrap().document).unwrap().s3);
    let refused = device.runtime.block_on(stranger.fetch(&Wanted::newest(&uri("object")), &target(&device), |_| {}));
    assert_eq!(refused.unwrap_err().problem(), Some(Problem::CredentialsRefused));
}

#[test]
fn against_moto_twenty_cuts_and_a_change_in_the_middle_neither_repeat_nor_mix() {
    let Some(moto) = Moto::start() else { return };
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let bytes = content(6_000_000);
    let cuts = random_cuts(seed, 20, bytes.len() as u64 / 21);
    let (outer, _) = client_of(1);
    let relay = outer.runtime.block_on(Relay::start(moto.server.port, cuts));
    let (device, client) = client_of(relay.port);
    moto.hand_out(&device);
    moto.put(&device, "large", &bytes);
    let download = device.runtime.block_on(client.download(&uri("large"), &target(&device), None, |_| {}));
    assert_eq!(download.unwrap().unwrap().sha256, Sha256Digest::of(&bytes));
    assert_eq!(relay.connections(), 21);
    let twice = relay.passed() - bytes.len() as u64;
    println!("{twice} bytes, answers' heads included, beyond {} in 20 cuts", bytes.len());
    assert!(twice <= 20 * 64 * 1024, "{twice}");

    let relay = outer.runtime.block_on(Relay::start(moto.server.port, vec![2_000_000]));
    let (device, client) = client_of(relay.port);
    moto.hand_out(&device);
    let changed = content(6_000_001);
    let mut done = false;
    let change = |_| {
        if !std::mem::replace(&mut done, true) {
            moto.put(&device, "large", &changed);
        }
    };
    let outcome = device.runtime.block_on(client.download(&uri("large"), &target(&device), None, change));
    let digest = outcome.unwrap_or_else(|error| panic!("{error:?}")).unwrap().sha256;
    assert_eq!(digest, Sha256Digest::of(&changed), "the new object whole, and nothing of the old one");
}

fn random_cuts(seed: u64, count: usize, below: u64) -> Vec<u64> {
    let bytes = content(usize::try_from(seed % 1000).unwrap() + 8 * (count + 1));
    // Far enough in that the answer's head has passed.
    bytes.chunks_exact(8).take(count).map(|word| 4096 + u64::from_le_bytes(word.try_into().unwrap()) % below).collect()
}

#[test]
fn against_s3s_fs_uploads_and_downloads_are_signed_and_hashed_as_it_checks() {
    if !has_s3s_fs() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("models")).unwrap();
    let port = free_port();
    let mut command = Command::new("s3s-fs");
    command.args(["--access-key", "AKTEST", "--secret-key", "SKTEST", "--host", "127.0.0.1", "--port"]);
    let server = Server::start(command.arg(port.to_string()).arg(root.path()), port);

    let bytes = content(3_000_000);
    let (outer, _) = client_of(1);
    let relay = outer.runtime.block_on(Relay::start(server.port, vec![]));
    let (device, client) = client_of(relay.port);
    device.cloud.hand_out("AKTEST", "SKTEST", "ignored-there");
    let source = device.folder.path().join("source");
    std::fs::write(&source, &bytes).unwrap();
    // A file system has no empty names in its paths.
    let mut etags = BTreeMap::new();
    for key in KEYS.into_iter().filter(|key| !key.contains("//")) {
        let object = uri(key);
        let upload = client.upload(&source, &object, Replace::Allowed, |_| {});
        device.runtime.block_on(upload).unwrap_or_else(|error| panic!("{key}: {error:?}"));
        let download = device.runtime.block_on(client.download(&uri(key), &target(&device), None, |_| {}));
        let download = download.unwrap_or_else(|error| panic!("{key}: {error:?}")).unwrap();
        assert_eq!(download.sha256, Sha256Digest::of(&bytes), "{key}");
        etags.insert(key, download.etag);
    }
    let (key, etag) = etags.first_key_value().unwrap();
    if let Some(etag) = etag {
        let again = device.runtime.block_on(client.download(&uri(key), &target(&device), Some(etag), |_| {}));
        assert_eq!(again.unwrap(), None, "although this server heeds no If-None-Match");
    }

    let cuts = random_cuts(7, 20, bytes.len() as u64 / 21 - 4096);
    let relay = outer.runtime.block_on(Relay::start(server.port, cuts));
    let (device, client) = client_of(relay.port);
    device.cloud.hand_out("AKTEST", "SKTEST", "ignored-there");
    let download = device.runtime.block_on(client.download(&uri(key), &target(&device), None, |_| {}));
    assert_eq!(download.unwrap().unwrap().sha256, Sha256Digest::of(&bytes));
    let twice = relay.passed() - bytes.len() as u64;
    println!("{twice} bytes, answers' heads included, beyond {} in 20 cuts", bytes.len());
    assert!(twice <= 20 * 64 * 1024, "{twice}");

    let (device, client) = client_of(server.port);
    device.cloud.hand_out("AKTEST", "another-secret", "ignored-there");
    let refused = device.runtime.block_on(client.download(&uri(key), &target(&device), None, |_| {})).unwrap_err();
    assert_eq!(refused.problem(), Some(Problem::SignatureRefused), "{refused}");
}

pub fn has_s3s_fs() -> bool {
    has_tool("s3s-fs", "nothing; cargo install s3s-fs --version 0.14.1 --features binary --profile dev")
}

/// Set in the process of its own that measures memory.
const MEASURING: &str = "MARGAY_TEST_MEASURING_S3";

#[test]
fn an_object_of_any_size_is_downloaded_in_constant_memory() {
    // Other tests of this process have memory of their own, so one is started for this test alone.
    if std::env::var_os(MEASURING).is_none() {
        let this = std::env::current_exe().unwrap();
        let name = "s3_peers::an_object_of_any_size_is_downloaded_in_constant_memory";
        let output = Command::new(this).args([name, "--exact", "--nocapture"]).env(MEASURING, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        println!("{}", text.lines().filter(|line| line.contains("MiB")).collect::<Vec<_>>().join("\n"));
        return;
    }
    let mebibytes = usize::try_from(scaled(64).min(1024)).unwrap();
    let device = Device::new();
    // The object lives in the same process, and before the first look.
    let bytes = content(1 << 20).repeat(mebibytes);
    let expected = Sha256Digest::of(&bytes);
    device.cloud.put_object("models", "large", bytes);
    let config = config::load(&device.config_path()).unwrap().document;
    let client = Services::build(&config).unwrap().s3;
    let small: S3Uri = "s3://models/road-signs.tar.gz".parse().unwrap();
    device.runtime.block_on(client.download(&small, &target(&device), None, |_| {})).unwrap();
    let (before, mut most) = (resident(), 0);
    let download = device.runtime.block_on(client.download(&uri("large"), &target(&device), None, |progress| {
        if progress.received % (1 << 20) < 64 * 1024 {
            most = most.max(resident());
        }
    }));
    assert_eq!(download.unwrap().unwrap().sha256, expected);
    let growth = most.saturating_sub(before);
    println!("{mebibytes} MiB downloaded: resident memory grew by {:.1} MiB", growth as f64 / 1048576.0);
    assert!(growth <= 24 << 20, "{growth} bytes for {mebibytes} MiB");
}

/// Bytes of resident memory of this process (proc(5), `VmRSS`).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Set in the process of its own that sees a small file system; its value is where.
const SMALL_DISK: &str = "MARGAY_TEST_SMALL_DISK";

#[test]
fn a_disk_that_is_too_small_is_told_before_the_first_byte_and_one_that_fills_up_while_it_does() {
    if let Some(folder) = std::env::var_os(SMALL_DISK) {
        return on_a_small_disk(PathBuf::from(folder));
    }
    if !rustix::process::geteuid().is_root() {
        skipped("root", "run as root: mounting a small file system takes CAP_SYS_ADMIN");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // In a mount namespace of its own, so that nothing is left mounted.
    let mount = "mount -t tmpfs -o size=1m small \"$1\" && exec \"$0\" \"$2\" --exact --nocapture";
    let name = "s3_peers::a_disk_that_is_too_small_is_told_before_the_first_byte_and_one_that_fills_up_while_it_does";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", mount])
        .arg(std::env::current_exe().unwrap())
        .args([folder.path().to_str().unwrap(), name])
        .env(SMALL_DISK, folder.path())
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn on_a_small_disk(folder: PathBuf) {
    let device = Device::new();
    let config = config::load(&device.config_path()).unwrap().document;
    let client = Services::build(&config).unwrap().s3;
    let target = folder.join("download");
    device.cloud.put_object("models", "large", content(2 << 20));
    let refused = device.runtime.block_on(client.download(&uri("large"), &target, None, |_| {})).unwrap_err();
    let DownloadError::DiskFull { source, .. } = &refused else { panic!("{refused:?}") };
    assert!(source.to_string().contains("2.0 MiB needed"), "{source}");
    assert_eq!(std::fs::metadata(&target).unwrap().len(), 0, "not a byte was written");

    device.cloud.put_object("models", "fits", content(900_000));
    let fill = |_| {
        let _ = std::fs::write(folder.join("filler"), vec![1; 600_000]);
    };
    let refused = device.runtime.block_on(client.download(&uri("fits"), &target, None, fill)).unwrap_err();
    assert!(matches!(&refused, DownloadError::DiskFull { .. }), "{refused:?}");
    assert!(!refused.is_retryable());
}
