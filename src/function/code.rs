//! What runs a function: its folder, and how its handler names a program in it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// Where a contained function finds its own code (Lambda's `LAMBDA_TASK_ROOT`).
const TASK_ROOT: &str = "/lambda";

/// Where it finds our modules.
const MODULES: &str = "/margay";

/// The device's Python and Node, in the order in which they are looked for.
const PYTHONS: [&str; 2] = ["/usr/bin/python3", "/usr/local/bin/python3"];
const NODES: [&str; 2] = ["/usr/bin/node", "/usr/local/bin/node"];

/// AWS's own runtime client for Python. A function that brings it is run by it.
const RUNTIME_CLIENT: &str = "awslambdaric/__main__.py";

/// Where a function finds code, by the paths that it sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Its own.
    pub code: PathBuf,
    /// What [`super::install_modules`] wrote.
    pub modules: PathBuf,
}

impl Places {
    /// In a container, whatever the host's paths are.
    pub fn contained() -> Self {
        Self { code: TASK_ROOT.into(), modules: MODULES.into() }
    }
}

/// What a program is written in, as far as its environment depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// A program of its own.
    Executable,
    /// Python 3.
    Python,
    /// JavaScript.
    Node,
}

/// A function's code, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The program, by the path that the function sees.
    pub program: PathBuf,
    /// Its arguments, without those of the group document.
    pub arguments: Vec<String>,
    /// What it is written in.
    pub language: Language,
    /// Where it is.
    pub places: Places,
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
        "the handler {handler:?} is neither a program nor the function of a Python or Node module: {} has neither the \
         file {handler} nor {module}.py nor {module}.js", folder.display()
    )]
    Missing {
        /// As the group document has it.
        handler: String,
        /// The folder of the code.
        folder: PathBuf,
        /// The module's file that was looked for, without its extension.
        module: String,
    },
    /// The file may not be executed.
    #[error("the program {} may not be executed: chmod 755 it", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// The device has no interpreter.
    #[error("the handler is {language}, and this device has neither {} nor {}", looked_for[0], looked_for[1])]
    NoInterpreter {
        /// Of which language.
        language: &'static str,
        /// Where it was looked for.
        looked_for: [&'static str; 2],
    },
}

impl Code {
    /// The code in `folder` that `handler` names: a program by its file name, or a function of a Python or Node module as
    /// `module.function`, with `/` or, in Python, `.` between packages. The function sees it at `places`.
    ///
    /// # Errors
    /// [`CodeError`] says what is missing.
    pub fn find(folder: &Path, handler: Option<&str>, places: Places) -> Result<Self, CodeError> {
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
            let program = places.code.join(handler);
            return Ok(Self { program, arguments: Vec::new(), language: Language::Executable, places });
        }
        let (module, _) = handler.rsplit_once('.').unwrap_or((handler, ""));
        let package = module.replace('.', "/");
        let named = handler.contains('.') && plain;
        let has = |file: String| folder.join(file).is_file();
        if named && (has(format!("{package}.py")) || has(format!("{package}/__init__.py"))) {
            return python(folder, handler, places);
        }
        if named && ["js", "mjs", "cjs"].iter().any(|extension| has(format!("{module}.{extension}"))) {
            return node(handler, places);
        }
        Err(CodeError::Missing { handler: handler.to_owned(), folder: folder.to_owned(), module: package })
    }
}

fn python(folder: &Path, handler: &str, places: Places) -> Result<Code, CodeError> {
    let program = interpreter("Python", PYTHONS)?;
    let own = places.modules.join("python/margay_function.py").to_string_lossy().into_owned();
    let run = match folder.join(RUNTIME_CLIENT).is_file() {
        true => ["-m".to_owned(), "awslambdaric".to_owned()],
        false => ["-u".to_owned(), own],
    };
    let arguments = run.into_iter().chain([handler.to_owned()]).collect();
    Ok(Code { program, arguments, language: Language::Python, places })
}

fn node(handler: &str, places: Places) -> Result<Code, CodeError> {
    let program = interpreter("JavaScript", NODES)?;
    let own = places.modules.join("node/margay_function.js").to_string_lossy().into_owned();
    Ok(Code { program, arguments: vec![own, handler.to_owned()], language: Language::Node, places })
}

fn interpreter(language: &'static str, looked_for: [&'static str; 2]) -> Result<PathBuf, CodeError> {
    let found = looked_for.into_iter().find(|path| Path::new(path).is_file());
    found.map(PathBuf::from).ok_or(CodeError::NoInterpreter { language, looked_for })
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
        let folder =
            folder(&[("run.exe", 0o755), ("count.py", 0o644), ("a/b.py", 0o644), ("index.js", 0o644), ("data", 0o644)]);
        let found = |handler: &str| Code::find(folder.path(), Some(handler), Places::contained());
        assert_eq!(found("run.exe").unwrap().program, Path::new("/lambda/run.exe"));
        for handler in ["count.handler", "a/b.handler", "a.b.handler"] {
            match found(handler) {
                Ok(code) => assert_eq!(code.arguments[1..], ["/margay/python/margay_function.py", handler]),
                Err(error) => assert!(matches!(error, CodeError::NoInterpreter { language: "Python", .. })),
            }
        }
        match found("index.handler") {
            Ok(code) => assert_eq!(code.arguments, ["/margay/node/margay_function.js", "index.handler"]),
            Err(error) => assert!(matches!(error, CodeError::NoInterpreter { language: "JavaScript", .. })),
        }
        assert!(matches!(found("data"), Err(CodeError::NotExecutable { .. })));
        for missing in ["count", "other.handler", "../count.handler", "/count.handler", "..", "."] {
            assert!(matches!(found(missing), Err(CodeError::Missing { .. })), "{missing}");
        }
        assert_eq!(Code::find(folder.path(), None, Places::contained()), Err(CodeError::NoHandler));
        let absent = folder.path().join("absent");
        assert_eq!(Code::find(&absent, Some("x"), Places::contained()), Err(CodeError::NoFolder { path: absent }));
    }

    #[test]
    fn a_function_that_brings_awss_runtime_client_is_run_by_it() {
        let folder = folder(&[("count.py", 0o644), ("awslambdaric/__main__.py", 0o644)]);
        if let Ok(code) = Code::find(folder.path(), Some("count.handler"), Places::contained()) {
            assert_eq!(code.arguments, ["-m", "awslambdaric", "count.handler"]);
        }
    }

    #[test]
    fn a_function_without_a_container_is_run_by_the_hosts_paths() {
        let folder = folder(&[("run", 0o755), ("count.py", 0o644)]);
        let places = Places { code: folder.path().to_owned(), modules: "/state/functions".into() };
        let code = Code::find(folder.path(), Some("run"), places.clone()).unwrap();
        assert_eq!(code.program, folder.path().join("run"));
        if let Ok(code) = Code::find(folder.path(), Some("count.handler"), places) {
            assert_eq!(code.arguments[1], "/state/functions/python/margay_function.py");
        }
    }
}
