//! What runs a function: its folder, and how its handler names a program in it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// Where a function finds its own code (Lambda's `LAMBDA_TASK_ROOT`).
pub(super) const TASK_ROOT: &str = "/lambda";

/// The device's Python, in the order in which it is looked for.
const INTERPRETERS: [&str; 2] = ["/usr/bin/python3", "/usr/local/bin/python3"];

/// AWS's own runtime client for Python. A function that brings it is run by it.
const RUNTIME_CLIENT: &str = "awslambdaric/__main__.py";

/// A function's code, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The program, by its path inside the sandbox.
    pub program: PathBuf,
    /// Its arguments, without those of the group document.
    pub arguments: Vec<String>,
    /// Whether it is Python.
    pub python: bool,
}

/// Why a function cannot be started as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// There is no folder.
    #[error("its code is not on this device: {} is no folder; put the unpacked package there", path.display())]
    NoFolder {
        /// Where it should be.
        path: PathBuf,
    },
    /// The group document names no handler.
    #[error(
        "FunctionConfiguration.Executable is required: write the handler, module.function, or the name of a program"
    )]
    NoHandler,
    /// The handler names nothing.
    #[error(
        "the handler {handler:?} is neither a program nor the function of a Python module: {} has neither the file \
         {handler} nor {module}", folder.display()
    )]
    Missing {
        /// As the group document has it.
        handler: String,
        /// The folder of the code.
        folder: PathBuf,
        /// The module's file that was looked for.
        module: String,
    },
    /// The file may not be executed.
    #[error("the program {} may not be executed: chmod 755 it", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// The device has no Python.
    #[error("the handler is Python, and this device has neither {} nor {}", INTERPRETERS[0], INTERPRETERS[1])]
    NoInterpreter,
}

impl Code {
    /// The code in `folder` that `handler` names: a program by its file name, or a Python function as `module.function`,
    /// with `/` or `.` between packages.
    ///
    /// # Errors
    /// [`CodeError`] says what is missing.
    pub fn find(folder: &Path, handler: Option<&str>) -> Result<Self, CodeError> {
        if !folder.is_dir() {
            return Err(CodeError::NoFolder { path: folder.to_owned() });
        }
        let handler = handler.filter(|text| !text.is_empty()).ok_or(CodeError::NoHandler)?;
        let plain = Path::new(handler).components().all(|part| matches!(part, Component::Normal(_)));
        let program = folder.join(handler);
        if plain && program.is_file() {
            let mode = program.metadata().map_or(0, |found| found.permissions().mode());
            if mode & 0o111 == 0 {
                return Err(CodeError::NotExecutable { path: program });
            }
            return Ok(Self { program: Path::new(TASK_ROOT).join(handler), arguments: Vec::new(), python: false });
        }
        let (module, _) = handler.rsplit_once('.').unwrap_or((handler, ""));
        let module = module.replace('.', "/");
        let file = format!("{module}.py");
        let package = folder.join(&module).join("__init__.py");
        let found = handler.contains('.') && plain && (folder.join(&file).is_file() || package.is_file());
        if !found {
            return Err(CodeError::Missing { handler: handler.to_owned(), folder: folder.to_owned(), module: file });
        }
        let interpreter = INTERPRETERS.into_iter().find(|path| Path::new(path).is_file());
        let interpreter = interpreter.ok_or(CodeError::NoInterpreter)?;
        let run: [&str; 2] = match folder.join(RUNTIME_CLIENT).is_file() {
            true => ["-m", "awslambdaric"],
            false => ["-u", "/margay/python/margay_function.py"],
        };
        let arguments = run.into_iter().chain([handler]).map(str::to_owned).collect();
        Ok(Self { program: PathBuf::from(interpreter), arguments, python: true })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(files: &[(&str, u32)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        folder
    }

    #[test]
    fn a_handler_names_a_program_or_a_function_of_a_module() {
        let folder = folder(&[("run.exe", 0o755), ("count.py", 0o644), ("a/b.py", 0o644), ("data", 0o644)]);
        let found = |handler: &str| Code::find(folder.path(), Some(handler));
        assert_eq!(found("run.exe").unwrap().program, Path::new("/lambda/run.exe"));
        for handler in ["count.handler", "a/b.handler", "a.b.handler"] {
            match found(handler) {
                Ok(code) => assert_eq!(code.arguments[1..], ["/margay/python/margay_function.py", handler]),
                Err(error) => assert_eq!(error, CodeError::NoInterpreter),
            }
        }
        assert!(matches!(found("data"), Err(CodeError::NotExecutable { .. })));
        for missing in ["count", "other.handler", "../count.handler", "/count.handler", "..", "."] {
            assert!(matches!(found(missing), Err(CodeError::Missing { .. })), "{missing}");
        }
        assert_eq!(Code::find(folder.path(), None), Err(CodeError::NoHandler));
        let absent = folder.path().join("absent");
        assert_eq!(Code::find(&absent, Some("x")), Err(CodeError::NoFolder { path: absent }));
    }

    #[test]
    fn a_function_that_brings_awss_runtime_client_is_run_by_it() {
        let folder = folder(&[("count.py", 0o644), ("awslambdaric/__main__.py", 0o644)]);
        if let Ok(code) = Code::find(folder.path(), Some("count.handler")) {
            assert_eq!(code.arguments, ["-m", "awslambdaric", "count.handler"]);
        }
    }
}
