//! What a function may see and do: the plan of its sandbox.
//!
//! In a container: the host's root, read-only below a private layer, with the core's files hidden; its code at `/lambda`; its
//! resources where the group document says; the host's network, as in V1, unless the group document asks for less. Without
//! one: the host's own root, and its machine learning resources as links (B-14).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use margay_sandbox::{
    Access, Bind, Calls, Content, Cpu, Device, GroupRule, HostTree, NamedBy, Network, Plan, PlanError, PlanParts,
    Program, Tree,
};

use super::code::{Code, Language};
use super::settings::{Attached, Settings};
use crate::credentials::Lease;
use crate::group::{Encoding, FunctionNetwork, FunctionRoot, GroupOwner, ResourceData};

/// Processes and threads of a function, PID 1 included.
const PIDS: u32 = 256;

/// Descriptors of each of its processes.
const OPEN_FILES: u64 = 1024;

/// What it may write to its private layer, and to `/tmp`, in bytes; both count against its memory limit.
const WRITABLE: u64 = 64 << 20;

/// Where the host's resolver is configured, which may lie below `/run`.
const RESOLVER: &str = "/etc/resolv.conf";

/// Where the kernel shows devices (B-07).
const SYSFS: &str = "/sys";

/// Why a function has no sandbox.
#[derive(Debug, thiserror::Error)]
pub(super) enum FunctionPlanError {
    /// A rule of the sandbox is broken.
    #[error("planning its sandbox")]
    Plan(#[from] PlanError),
    /// A model package is not there.
    #[error("its machine learning resource {resource} is not on this device")]
    NoPackage { resource: String },
    /// There is no secrets manager.
    #[error("its resource {resource} is a secret, and this version has no secrets manager")]
    Secret { resource: String },
}

/// Whether the function has a network of its own, with nothing but the core in it.
pub(super) fn is_without_network(settings: &Settings) -> bool {
    settings.function.own.network == FunctionNetwork::None
}

/// A machine learning resource of the function whose files are not there.
pub(super) fn missing_package(settings: &Settings) -> Option<String> {
    let mut attached = settings.resources.iter();
    let missing = attached.find(|attached| attached.resource.model().is_some() && attached.package.is_none())?;
    Some(missing.resource.id.to_string())
}

/// The sandbox of one process of the function, which finds the core's interface at `interface`.
pub(super) fn plan(
    settings: &Settings,
    code: &Code,
    lease: &Lease,
    interface: SocketAddr,
) -> Result<Plan, FunctionPlanError> {
    let function = &settings.function;
    let contained = settings.is_contained();
    let mut binds = match contained {
        true => vec![of_code(&settings.code, &code.places.code), of_code(&settings.modules, &code.places.modules)],
        false => Vec::new(),
    };
    let mut devices = Vec::new();
    for attached in &settings.resources {
        attach(attached, &mut binds, &mut devices)?;
    }
    if function.access_sysfs {
        binds.push(Bind::read_only(SYSFS, SYSFS));
    }
    let without_network = is_without_network(settings);
    binds.extend(resolver().filter(|_| contained && !without_network));
    let tree = match contained {
        true => Tree::Host(HostTree {
            hidden: settings.hidden.clone(),
            writable_bytes: WRITABLE,
            read_only: function.own.root == FunctionRoot::ReadOnly,
        }),
        false => Tree::Shared,
    };
    let own = function.exec_args.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned);
    let parts = PlanParts {
        name: sandbox_name(function.arn.name()),
        program: Program::Path(code.program.clone()),
        arguments: code.arguments.iter().cloned().chain(own).collect(),
        environment: environment(settings, code, lease, interface),
        binds,
        devices,
        account: settings.account,
        memory_bytes: settings.memory_limit(),
        cpu: Cpu { weight: function.own.cpu.weight, quota: function.own.cpu.quota },
        pids: Some(PIDS),
        open_files: Some(OPEN_FILES),
        temporary_bytes: WRITABLE,
        network: if without_network { Network::None } else { Network::Host },
        tree,
        calls: Calls::Function,
        folder: code.places.code.clone(),
        ..PlanParts::default()
    };
    Ok(Plan::new(parts)?)
}

fn of_code(source: &Path, destination: &Path) -> Bind {
    Bind { content: Content::Code, ..Bind::read_only(source, destination) }
}

fn attach(attached: &Attached, binds: &mut Vec<Bind>, devices: &mut Vec<Device>) -> Result<(), FunctionPlanError> {
    let access = if attached.writable { Access::ReadWrite } else { Access::ReadOnly };
    let resource = || attached.resource.id.to_string();
    match &attached.resource.data {
        ResourceData::LocalVolume(volume) => binds.push(Bind {
            source: volume.source.clone(),
            destination: volume.destination.clone(),
            access,
            content: Content::Code,
            group: group_rule(&volume.group_owner),
            named_by: NamedBy::Group,
        }),
        ResourceData::LocalDevice(device) => {
            devices.push(Device { path: device.source.clone(), access, group: group_rule(&device.group_owner) });
        }
        // Other functions and the store share the files: they are never written.
        ResourceData::S3Model(model) => {
            let package = attached.package.as_ref();
            let package = package.ok_or_else(|| FunctionPlanError::NoPackage { resource: resource() })?;
            let group = model.owner.map_or(GroupRule::None, |owner| GroupRule::Id(owner.gid));
            binds.push(Bind { group, ..Bind::read_only(package, &model.destination) });
        }
        ResourceData::Secret(_) => return Err(FunctionPlanError::Secret { resource: resource() }),
    }
    Ok(())
}

fn group_rule(owner: &GroupOwner) -> GroupRule {
    match owner {
        GroupOwner::None => GroupRule::None,
        GroupOwner::Automatic => GroupRule::OwnerOfSource,
        GroupOwner::Named(name) => GroupRule::Name(name.clone()),
    }
}

/// The resolver's configuration where it lies in a folder that the sandbox has of its own.
fn resolver() -> Option<Bind> {
    let file = Path::new(RESOLVER).canonicalize().ok()?;
    file.starts_with("/run").then(|| Bind::read_only(&file, &file))
}

/// A function's name as a host name: `[a-z0-9-]`, beginning with a letter.
fn sandbox_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    format!("fn-{}", name.chars().map(plain).take(40).collect::<String>())
}

/// The function's variables, under those that the core sets: a function cannot pretend to be another.
fn environment(settings: &Settings, code: &Code, lease: &Lease, interface: SocketAddr) -> BTreeMap<String, String> {
    let function = &settings.function;
    let defaults = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/tmp"), ("LANG", "C.UTF-8"), ("TZ", ":UTC")];
    let mut variables: BTreeMap<String, String> =
        defaults.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    variables.extend(function.variables.clone());
    add_search_path(&mut variables, code);
    let encoding = if function.encoding == Encoding::Binary { "binary" } else { "json" };
    let memory = settings.memory_limit().map(|bytes| (bytes >> 20).to_string()).unwrap_or_default();
    let (arn, port) = (settings.arn(), interface.port().to_string());
    let ours = [
        ("MY_FUNCTION_ARN", arn),
        ("ROUTER_FUNCTION_ARN", "arn:aws:lambda:::function:GGRouter"),
        ("SHADOW_FUNCTION_ARN", "arn:aws:lambda:::function:GGShadowService"),
        ("SECRETS_MANAGER_FUNCTION_ARN", "arn:aws:lambda:::function:GGSecretManager:1"),
        ("ENCODING_TYPE", encoding),
        ("GG_DAEMON_PORT", &port),
        ("AWS_LAMBDA_RUNTIME_API", &interface.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", function.arn.name()),
        ("AWS_LAMBDA_FUNCTION_VERSION", function.arn.qualifier()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &format!("/aws/lambda/{}", function.arn.name())),
        ("AWS_LAMBDA_LOG_STREAM_NAME", function.arn.qualifier()),
        ("LAMBDA_TASK_ROOT", &code.places.code.to_string_lossy()),
        ("_HANDLER", function.executable.as_deref().unwrap_or_default()),
    ];
    variables.extend(ours.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    variables.extend(settings.environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    variables.extend(lease.environment().map(|(name, value)| (name.to_owned(), value.to_owned())));
    variables
}

/// Where the interpreter finds our modules, after the function's own.
fn add_search_path(variables: &mut BTreeMap<String, String>, code: &Code) {
    let (name, folder) = match code.language {
        Language::Executable => return,
        Language::Python => ("PYTHONPATH", "python"),
        Language::Node => ("NODE_PATH", "node"),
    };
    let theirs = variables.get(name).map(|path| format!("{path}:")).unwrap_or_default();
    variables.insert(name.to_owned(), format!("{theirs}{}", code.places.modules.join(folder).display()));
    if code.language == Language::Python {
        // Its code cannot be written.
        variables.insert("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned());
        variables.insert("PYTHONUNBUFFERED".to_owned(), "1".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_functions_name_becomes_a_host_name() {
        assert_eq!(sandbox_name("Greengrass_HelloWorld-2"), "fn-greengrass-helloworld-2");
        assert!(sandbox_name(&"X".repeat(64)).len() <= 48);
    }
}
