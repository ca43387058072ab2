//! What a program needs in order to run: its executable, its libraries, its dynamic loader.

mod elf;

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, open, statx};
use rustix::io::Errno;

use crate::order::{During, Failure, Step};
use crate::plan::{PlanParts, Program, Tree};
use crate::raw;

/// The core's own executable, as the kernel names it.
const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// Where the core's own executable appears inside.
const OWN_PLACE: &str = "/program";

/// The loader's list of libraries; without it only its built-in folders are searched (ld.so(8)).
const LOADER_CACHE: &str = "/etc/ld.so.cache";

/// The folders in which distributions keep libraries and loaders.
const LIBRARY_FOLDERS: [&str; 5] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"];

/// As many interpreters in a row as the kernel follows, and the loader of the last one.
const MOST_INTERPRETERS: u32 = 6;

/// Bytes of a script that the kernel looks at.
const LONGEST_FIRST_LINE: u64 = 256;

/// A program and what has to be in its file tree.
#[derive(Debug)]
pub(super) struct Resolved {
    pub executable: Executable,
    /// Files and folders that appear at the path they have on the host, read-only.
    pub needs: Vec<PathBuf>,
    /// Symbolic links to make, each with what it points to.
    pub links: Vec<(PathBuf, PathBuf)>,
}

/// An executable to be run.
#[derive(Debug)]
pub(super) struct Executable {
    /// Its first argument.
    pub name: String,
    /// Its path on the host.
    pub host: PathBuf,
    /// Its path in a file tree of its own.
    pub inside: PathBuf,
    /// Set when the file has no name any more, because it was replaced while the core runs. Such a file cannot be
    /// bind-mounted, and is executed by its descriptor.
    pub nameless: Option<OwnedFd>,
}

/// The path of this program's own file. To be asked before there is a mount namespace: afterwards the kernel answers
/// relative to the mounts that were left, which in a chroot is no path of ours.
pub(super) fn own_path() -> Result<PathBuf, Failure> {
    fs::read_link(OWN_EXECUTABLE).during_at(Step::OpenSource, Path::new(OWN_EXECUTABLE))
}

/// Finds out what a plan's program needs; `own` is where this program's own file is.
pub(super) fn resolve(plan: &PlanParts, own: &Path) -> Result<Resolved, Failure> {
    match &plan.program {
        Program::This => this(own.to_owned(), &plan.libraries),
        Program::Path(path) if plan.tree != Tree::Bare => Ok(in_host_tree(path)),
        Program::Path(path) => other(path),
    }
}

/// This very program: what it has loaded is what it needs, beside the libraries that it is going to load.
fn this(host: PathBuf, libraries: &[PathBuf]) -> Result<Resolved, Failure> {
    let own = Path::new(OWN_EXECUTABLE);
    let opened = open(own, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).during_at(Step::OpenSource, own)?;
    let is_nameless = rustix::fs::fstat(&opened).during_at(Step::OpenSource, own)?.st_nlink == 0;
    let mut needs = raw::loaded_objects();
    if !needs.is_empty() {
        needs.extend(existing(LOADER_CACHE));
    }
    needs.sort();
    needs.dedup();
    let executable =
        Executable { name: name_of(&host), host, inside: OWN_PLACE.into(), nameless: is_nameless.then_some(opened) };
    let mut resolved = Resolved { executable, needs, links: Vec::new() };
    if !libraries.is_empty() {
        resolved.add_library_folders();
        resolved.add_libraries(libraries);
    }
    Ok(resolved)
}

impl Resolved {
    /// The folders of the distribution's libraries, in the place of single files in them.
    fn add_library_folders(&mut self) {
        self.needs.retain(|path| !in_library_folder(path));
        for folder in LIBRARY_FOLDERS.map(Path::new) {
            match fs::read_link(folder) {
                Ok(target) => self.links.push((folder.to_owned(), target)),
                Err(_) => self.needs.extend(existing(folder)),
            }
        }
    }

    /// The folders of `libraries`: what they load in turn often lies beside them.
    fn add_libraries(&mut self, libraries: &[PathBuf]) {
        let folders =
            libraries.iter().filter_map(|library| library.parent()).filter(|folder| !in_library_folder(folder));
        self.needs.extend(folders.filter_map(existing));
        self.needs.sort();
        self.needs.dedup();
    }
}

fn in_library_folder(path: &Path) -> bool {
    LIBRARY_FOLDERS.iter().any(|folder| path.starts_with(folder))
}

/// A program in the host's own tree finds there what it needs.
fn in_host_tree(path: &Path) -> Resolved {
    let executable = Executable { name: name_of(path), host: path.to_owned(), inside: path.to_owned(), nameless: None };
    Resolved { executable, needs: Vec::new(), links: Vec::new() }
}

/// A program of the host: its loader, and the folders where that looks.
fn other(path: &Path) -> Result<Resolved, Failure> {
    let executable = Executable { name: name_of(path), host: path.to_owned(), inside: path.to_owned(), nameless: None };
    let interpreter = elf::interpreter(path).during_at(Step::OpenSource, path)?;
    let mut resolved = Resolved { executable, needs: Vec::new(), links: Vec::new() };
    let Some(interpreter) = interpreter else { return Ok(resolved) };
    resolved.add_library_folders();
    if !in_library_folder(&interpreter) {
        resolved.needs.push(interpreter);
    }
    resolved.needs.extend(existing(LOADER_CACHE));
    Ok(resolved)
}

/// Refuses a program that is, or is run by, the executable that this launcher runs from: by way of `/proc/self/exe` a script
/// would become it, and could hold on to a file of the host that no mount of the sandbox guards.
pub(super) fn refuse_own(path: &Path) -> Result<(), Failure> {
    // The mount as well: what the plan binds is guarded by its own mount. A kernel before 5.8 does not tell mounts apart.
    let identity = |path: &Path| {
        let found = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?;
        Ok::<_, Errno>((found.stx_dev_major, found.stx_dev_minor, found.stx_ino, found.stx_mnt_id))
    };
    let Ok(own) = identity(Path::new(OWN_EXECUTABLE)) else { return Ok(()) };
    let mut program = path.to_owned();
    for _ in 0..MOST_INTERPRETERS {
        if identity(&program).is_ok_and(|found| found == own) {
            return Err(Failure { step: Step::Execute, path: Some(path.to_owned()), errno: libc::EACCES });
        }
        let Some(interpreter) = script_interpreter(&program).or_else(|| elf::interpreter(&program).ok().flatten())
        else {
            return Ok(());
        };
        program = interpreter;
    }
    Ok(())
}

/// What the first line of a script names (execve(2), "Interpreter scripts").
fn script_interpreter(program: &Path) -> Option<PathBuf> {
    let mut line = Vec::new();
    fs::File::open(program).ok()?.take(LONGEST_FIRST_LINE).read_to_end(&mut line).ok()?;
    let line = line.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?.trim_ascii();
    let name = line.split(|byte| byte.is_ascii_whitespace()).next()?;
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

fn existing(path: impl AsRef<Path>) -> Option<PathBuf> {
    let path = path.as_ref();
    path.exists().then(|| path.to_owned())
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
