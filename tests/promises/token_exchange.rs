//! A function finds its credentials by AWS's own client, unchanged, and as quickly as that gives up.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use margay::app::Services;
use margay::config;
use margay::credentials::token_exchange::{Lender, TokenExchange};
use margay::credentials::{Lease, TokenRegistry, namespace};
use margay_localcloud::{CredentialsFault, Lasting};

use crate::support::device::{Device, KEY, PACKAGE};
use crate::support::python::python_with;
use crate::support::{has_tool, skipped};

/// The endpoint in front of a device's provider.
struct Scene {
    device: Device,
    services: Services,
    lender: Lender,
}

impl Scene {
    fn new() -> Self {
        let device = Device::new();
        let config = config::load(&device.config_path()).unwrap().document;
        let services = Services::build(&config).unwrap();
        let bound = TokenExchange::bind(0, services.roles.clone(), Arc::new(TokenRegistry::new()));
        let exchange = device.runtime.block_on(bound).unwrap();
        let lender = exchange.lender();
        device.runtime.spawn(exchange.serve());
        Self { device, services, lender }
    }

    fn python(&self, python: &str, environment: &[(&str, &str)]) -> Python {
        let mut command = Command::new(python);
        command.args(["-u", "-c", SCRIPT, &self.device.cloud.s3_endpoint(), KEY]).arg(self.device.cloud.ca());
        for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"] {
            command.env_remove(variable);
        }
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", self.device.folder.path());
        command.envs(environment.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python starts");
        let answers = BufReader::new(child.stdout.take().unwrap());
        Python { child, answers }
    }
}

/// Reads the object whenever it is told to; prints the key that it was signed with and the object's size, or the error.
const SCRIPT: &str = r#"
import sys, boto3
from botocore.config import Config
endpoint, key, ca = sys.argv[1:]
session = boto3.Session(region_name="eu-central-1")
s3 = None
for line in sys.stdin:
    try:
        s3 = s3 or session.client("s3", endpoint_url=endpoint, verify=ca,
                                  config=Config(s3={"addressing_style": "path"}, proxies={}))
        body = s3.get_object(Bucket="models", Key=key)["Body"].read()
        print(session.get_credentials().get_frozen_credentials().access_key, len(body))
    except Exception as error:
        print("error", type(error).__name__, str(error).replace("\n", " "))
"#;

struct Python {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Python {
    fn read_object(&mut self) -> String {
        self.child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn boto3_reads_s3_before_and_after_a_refresh_and_while_the_provider_is_down() {
    let Some(python) = python_with("boto3") else { return };
    let scene = Scene::new();
    // botocore asks for new ones before each request where less than ten minutes are left.
    scene.device.cloud.set_credential_lifetime(Duration::from_secs(590));
    let lease = scene.lender.lend("arn:aws:lambda:eu-central-1:123456789012:function:f:1").unwrap();
    let mut boto3 = scene.python(&python, &lease.environment());
    let read = |boto3: &mut Python| {
        let line = boto3.read_object();
        let (key, size) = line.trim().split_once(' ').expect("a key and a size");
        assert_eq!(size, PACKAGE.len().to_string(), "{line}");
        key.to_owned()
    };
    let before = read(&mut boto3);
    assert_eq!(read(&mut boto3), before, "kept");

    let core = &scene.services.credentials;
    let runtime = &scene.device.runtime;
    let held = runtime.block_on(core.get()).unwrap();
    let renewed = runtime.block_on(core.get_other_than(&held)).unwrap();
    let after = read(&mut boto3);
    assert_eq!(
        (after.as_str(), after == before),
        (renewed.access_key_id.as_str(), false),
        "a new key after the refresh"
    );

    scene.device.cloud.faults().credentials(CredentialsFault::Hang, Lasting::UntilCleared);
    assert_eq!(read(&mut boto3), after, "what is valid is served while the provider is down");
}

#[test]
fn boto3_finds_the_token_in_its_file_and_a_wrong_token_is_a_403() {
    let Some(python) = python_with("boto3") else { return };
    let scene = Scene::new();
    let lease: Lease = scene.lender.lend("function").unwrap();
    let file = scene.device.folder.path().join("token");
    lease.write_token(&file, None).unwrap();
    let mut boto3 = scene.python(&python, &lease.environment_with_file(file.to_str().unwrap()));
    assert!(boto3.read_object().starts_with("ASIA"));

    let wrong = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", lease.uri()), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "wrong")];
    let refused = scene.python(&python, &wrong).read_object();
    assert!(refused.starts_with("error") && refused.contains("403"), "{refused}");
    assert_eq!(scene.device.cloud.counters().served().s3_refused, 0, "S3 was never asked");
}

/// A process in a network namespace of its own.
struct Elsewhere(Child);

impl Elsewhere {
    /// By `unshare` with these options; none where the kernel or the container does not allow it.
    fn new(options: &[&str]) -> Option<Self> {
        let sleep = ["sleep", "600"];
        let child = Command::new("unshare").args(options).args(sleep).stderr(Stdio::null()).spawn().ok()?;
        let own = std::fs::read_link("/proc/self/ns/net").ok()?;
        let mut elsewhere = Self(child);
        // Until the namespace exists, the link is still ours.
        while elsewhere.0.try_wait().ok()?.is_none() {
            let theirs = std::fs::read_link(format!("/proc/{}/ns/net", elsewhere.0.id()));
            if theirs.is_ok_and(|theirs| theirs != own) {
                return Some(elsewhere);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Runs `script` by bash inside; gives what it printed.
    fn run(&self, options: &[&str], script: &str) -> String {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.0.id().to_string()]).args(options).args(["bash", "-c", script]);
        let output = command.output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lends to a function in namespaces made with these options of `unshare`, and asks from inside.
fn lends_into(unshare: &[&str], nsenter: &[&str]) {
    if !has_tool("nsenter", "util-linux") {
        return;
    }
    let Some(elsewhere) = Elsewhere::new(unshare) else {
        skipped("network namespaces", "a kernel and a container that allow `unshare --user --net`");
        return;
    };
    let scene = Scene::new();
    let program = Path::new(env!("CARGO_BIN_EXE_margay"));
    let listener = namespace::listen_in(program, elsewhere.0.id(), 0).unwrap();
    let address = listener.local_addr().unwrap();
    let lease = scene.lender.lend_on(address, "function").unwrap();
    let lender = scene.lender.clone();
    scene.device.runtime.spawn(async move { lender.serve_on(listener).await });

    let (port, token) = (address.port(), lease.token().expose());
    let head =
        format!("GET /2016-11-01/credentialprovider/ HTTP/1.1\\r\\nhost: h\\r\\nauthorization: {token}\\r\\n\\r\\n");
    let request = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; printf '{head}' >&3; cat <&3");
    let answer = elsewhere.run(nsenter, &request);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("SecretAccessKey"), "{answer}");
    assert!(std::net::TcpStream::connect(address).is_err(), "the host's loopback is another one");
}

#[test]
fn a_function_in_a_network_namespace_of_its_own_finds_the_endpoint_on_its_own_loopback() {
    if !rustix::process::geteuid().is_root() {
        skipped("root", "run as root: a network namespace of the host's own takes CAP_SYS_ADMIN");
        return;
    }
    lends_into(&["--net"], &["--net"]);
}

#[test]
fn so_does_one_whose_namespaces_belong_to_an_ordinary_users_core() {
    lends_into(&["--user", "--net"], &["--user", "--preserve-credentials", "--net"]);
}

#[test]
fn the_process_that_enters_for_an_ordinary_users_core_passes_a_socket_back() {
    let Some(elsewhere) = Elsewhere::new(&["--user", "--net"]) else {
        skipped("network namespaces", "a kernel and a container that allow `unshare --user --net`");
        return;
    };
    let program = Path::new(env!("CARGO_BIN_EXE_margay"));
    let listener = namespace::entrant::listen_by(program, elsewhere.0.id(), 0).unwrap();
    assert!(listener.local_addr().unwrap().ip().is_loopback());
    let gone = namespace::entrant::listen_by(program, u32::MAX, 0).unwrap_err();
    assert!(gone.source.to_string().contains("the core could not open it"), "{gone:?}");
}
