//! A group's functions with what the host and the configuration add to them: V1's places for code and logs, what is hidden.

use std::path::{Path, PathBuf};

use margay_sandbox::Account;

use crate::config::Config;
use crate::deployment::GroupVersion;
use crate::function::{Attached, ModulesError, Settings, default_account, install_modules};
use crate::group::{CodePackage, Function, FunctionCode, LogComponent, LogLevel, LogTarget, Logger, Permission};

/// V1's space for a function's log (contract E1), in bytes.
const LOG_SPACE: u64 = 128 << 10;

/// Makes the settings of functions.
#[derive(Debug)]
pub(super) struct FunctionSettings<'c> {
    config: &'c Config,
}

impl<'c> FunctionSettings<'c> {
    /// For the core of `config`.
    pub(super) fn new(config: &'c Config) -> Self {
        Self { config }
    }

    /// Puts the modules in place that functions find beside their own.
    pub(super) fn install_modules(&self) -> Result<(), ModulesError> {
        install_modules(&self.modules())
    }

    fn modules(&self) -> PathBuf {
        self.config.directories.state.join("functions")
    }

    /// The functions of `group`, in its order.
    pub(super) fn of_group(&self, group: &GroupVersion) -> Vec<Settings> {
        let default = default_account();
        let hidden = self.hidden();
        let functions = group.deployable.group.functions.iter();
        functions.map(|function| self.of_function(function, group, default, &hidden)).collect()
    }

    fn of_function(&self, function: &Function, group: &GroupVersion, default: Account, hidden: &[PathBuf]) -> Settings {
        let directories = &self.config.directories;
        let (log_space, log_level) = log_limits(&group.deployable.group.loggers);
        let mut parts = function.arn.as_str().split(':').skip(3);
        let (region, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let log = directories.logs().join("user").join(region).join(account);
        Settings {
            function: function.clone(),
            code: self.code(function, group),
            resources: resources(function, group),
            account: Account {
                uid: function.run_as.uid.unwrap_or(default.uid),
                gid: function.run_as.gid.unwrap_or(default.gid),
            },
            environment: self.environment(group),
            hidden: hidden.to_vec(),
            modules: self.modules(),
            log: log.join(format!("{}.log", function.arn.name())),
            log_space,
            log_level,
        }
    }

    /// The folder of its code: V1's place, unless the document names another. A package that is missing is missed there.
    fn code(&self, function: &Function, group: &GroupVersion) -> PathBuf {
        let installed =
            |package: &CodePackage| Some(group.packages.get(&package.resource)?.installed.directory().to_owned());
        let named = match &function.code {
            Some(FunctionCode::Folder(folder)) => Some(folder.clone()),
            Some(FunctionCode::Package(package)) => installed(package),
            None => None,
        };
        named.unwrap_or_else(|| self.config.directories.function_code(function.arn.as_str()))
    }

    fn environment(&self, group: &GroupVersion) -> Vec<(&'static str, String)> {
        let thing = &self.config.core_thing.thing_arn;
        let region = thing.region().to_string();
        vec![
            ("AWS_REGION", region.clone()),
            ("AWS_DEFAULT_REGION", region),
            ("AWS_IOT_THING_NAME", thing.thing().to_string()),
            ("GROUP_ID", group.deployable.group.id.clone().unwrap_or_default()),
        ]
    }

    /// Everything of the core: keys, configuration, store, state, other functions' code, sockets. Outermost folders only,
    /// with their symbolic links followed.
    fn hidden(&self) -> Vec<PathBuf> {
        let Config { directories, crypto, packages: _, .. } = self.config;
        let sockets = [&directories.status_socket, &directories.control_socket()].map(|path| path.clone());
        let named = [
            &directories.root,
            &directories.write,
            &directories.state,
            &directories.group_document,
            &crypto.certificate_path,
            &crypto.private_key_path,
        ];
        let all = named.into_iter().cloned().chain(sockets);
        let mut found: Vec<PathBuf> =
            all.filter_map(|path| without_links(&path)).filter(|path| path != Path::new("/")).collect();
        found.sort();
        found.dedup_by(|inner, outer| inner.starts_with(outer));
        found
    }
}

/// A path with its folder's symbolic links followed; its own too, if it exists. Sockets come into being after the first
/// functions, which are to be the same functions then.
fn without_links(path: &Path) -> Option<PathBuf> {
    let folder = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(folder)
}

fn resources(function: &Function, group: &GroupVersion) -> Vec<Attached> {
    let attached = function.attachments.iter().filter_map(|attachment| {
        let resource = group.deployable.group.resource(&attachment.resource)?.clone();
        let package = group.packages.get(&attachment.resource).map(|staged| staged.installed.directory().to_owned());
        Some(Attached { writable: attachment.permission == Some(Permission::ReadWrite), resource, package })
    });
    attached.collect()
}

/// The space and the level of functions' logs on this device.
pub(super) fn log_limits(loggers: &[Logger]) -> (u64, LogLevel) {
    let of_functions = loggers.iter().filter(|logger| logger.component == LogComponent::Lambda);
    let on_files = of_functions.filter_map(|logger| match logger.target {
        LogTarget::FileSystem(space) => Some((space.bytes(), logger.level)),
        LogTarget::CloudWatch => None,
    });
    on_files.fold((LOG_SPACE, LogLevel::Info), |_, limits| limits)
}
