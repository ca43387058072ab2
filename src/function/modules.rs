//! The modules that functions find beside their own: those that V1's SDKs for Python and Node import and that no registry
//! has, V1's machine learning SDK, and what runs a handler. Written by us; nothing of V1's is in them.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

const FILES: [(&str, &str); 15] = [
    ("python/margay_function.py", include_str!("python/margay_function.py")),
    ("python/greengrass_common/__init__.py", include_str!("python/greengrass_common/__init__.py")),
    ("python/greengrass_common/env_vars.py", include_str!("python/greengrass_common/env_vars.py")),
    (
        "python/greengrass_common/function_arn_fields.py",
        include_str!("python/greengrass_common/function_arn_fields.py"),
    ),
    ("python/greengrass_ipc_python_sdk/__init__.py", include_str!("python/greengrass_ipc_python_sdk/__init__.py")),
    ("python/greengrass_ipc_python_sdk/ipc_client.py", include_str!("python/greengrass_ipc_python_sdk/ipc_client.py")),
    (
        "python/greengrass_machine_learning_sdk/__init__.py",
        include_str!("python/greengrass_machine_learning_sdk/__init__.py"),
    ),
    ("python/greengrass_machine_learning_sdk/core.py", include_str!("python/greengrass_machine_learning_sdk/core.py")),
    (
        "python/greengrass_machine_learning_sdk/exceptions.py",
        include_str!("python/greengrass_machine_learning_sdk/exceptions.py"),
    ),
    (
        "python/greengrass_machine_learning_sdk/feedback.py",
        include_str!("python/greengrass_machine_learning_sdk/feedback.py"),
    ),
    (
        "python/greengrass_machine_learning_sdk/inference.py",
        include_str!("python/greengrass_machine_learning_sdk/inference.py"),
    ),
    ("node/margay_function.js", include_str!("node/margay_function.js")),
    ("node/aws-greengrass-common-js.js", include_str!("node/aws-greengrass-common-js.js")),
    ("node/aws-greengrass-ipc-sdk-js.js", include_str!("node/aws-greengrass-ipc-sdk-js.js")),
    ("node/aws-greengrass-core-sdk.js", include_str!("node/aws-greengrass-core-sdk.js")),
];

/// The modules could not be written.
#[derive(Debug, thiserror::Error)]
#[error("writing functions' modules to {}", path.display())]
pub struct ModulesError {
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Writes them to `folder`, for every user to read, in the place of those of another version.
///
/// # Errors
/// When the disk refuses.
pub fn install(folder: &Path) -> Result<(), ModulesError> {
    for (name, text) in FILES {
        let path = folder.join(name);
        let write = || {
            if let Some(parent) = path.parent() {
                DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
                fs::set_permissions(parent, Permissions::from_mode(0o755))?;
            }
            if fs::read_to_string(&path).is_ok_and(|present| present == text) {
                return Ok(());
            }
            let beside = path.with_extension("new");
            fs::write(&beside, text)?;
            fs::set_permissions(&beside, Permissions::from_mode(0o644))?;
            fs::rename(&beside, &path)
        };
        write().map_err(|source| ModulesError { path: path.clone(), source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modules_are_written_whole_over_those_of_another_version() {
        let folder = tempfile::tempdir().unwrap();
        install(folder.path()).unwrap();
        let file = folder.path().join("python/greengrass_common/env_vars.py");
        fs::write(&file, "another version").unwrap();
        install(folder.path()).unwrap();
        assert!(fs::read_to_string(&file).unwrap().contains("ROUTER_FUNCTION_ARN"));
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    }
}
