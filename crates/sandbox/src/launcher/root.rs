//! The worker's file tree: a small file system in memory with bind mounts for what the plan names, and nothing else.
//!
//! Every source is opened before the new root hides the host, and bound through its descriptor, so that what was looked
//! at is what appears inside.

mod host_tree;
mod mounting;

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, pivot_root, sethostname};

use super::init::Prepared;
use super::landlock::{Allowance, Grant};
use super::program::{Executable, Resolved};
use crate::order::{During, Failure, Order, Step};
use crate::plan::{Access, Content, Program, Tree};
use mounting::{Kind, Mounting};

/// Folders of which one exists on every host, for the new root to be put together on. Nothing of it remains.
const STAGING: [&str; 4] = ["/tmp", "/run", "/var", "/mnt"];

/// The device nodes of every sandbox. Those that a minimal host lacks are left out.
const STANDARD_DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// What holds for everything that is mounted, unless it has to be otherwise.
const GUARDED: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// Room for folders, links and mount points in the root; it holds no files.
const ROOT_OPTIONS: &str = "mode=755,size=1m";

/// Hides PID 1 from the worker, unless its group is root's: no other can be named inside a user namespace.
const PROC_OPTIONS: &str = "hidepid=2";

/// Builds the tree and enters it for good.
pub(super) fn enter(order: &Order, program: Resolved) -> Result<Prepared, Failure> {
    // Nothing that is mounted here may reach the host, nor the other way round.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .during(Step::Isolate)?;
    let mountings = open_sources(order, &program)?;
    if let Tree::Host(tree) = &order.plan.tree {
        host_tree::refuse_hidden(tree, &mountings)?;
    }
    let allowances = allowances(order, &mountings);
    umask(Mode::from_bits_truncate(0o022));
    let staging = staging();
    let root = match &order.plan.tree {
        Tree::Bare | Tree::Shared => new_root(staging)?,
        Tree::Host(tree) => host_tree::build(tree, staging)?,
    };
    // First: something of the host may appear in the sandbox's own /tmp.
    mount_own(order, &root)?;
    if let Tree::Host(tree) = &order.plan.tree {
        host_tree::hide(tree, &root)?;
    }
    for mounting in &mountings {
        let place = match &order.plan.tree {
            Tree::Bare | Tree::Shared => within(&root, &mounting.destination),
            Tree::Host(_) => host_tree::resolve(&root, &mounting.destination)?,
        };
        mounting.attach(&place)?;
        if let (Tree::Host(tree), Some(real)) = (&order.plan.tree, &mounting.real) {
            host_tree::hide_within(tree, real, &place)?;
        }
    }
    for (link, target) in &program.links {
        make_link(&root, link, target)?;
    }
    pivot(&root)?;
    match &order.plan.tree {
        Tree::Bare | Tree::Shared => make_read_only(GUARDED)?,
        Tree::Host(tree) if tree.read_only => make_read_only(host_tree::FLAGS)?,
        Tree::Host(_) => {}
    }
    sethostname(&order.plan.name).during(Step::Host)?;
    Ok(Prepared { executable: program.executable, allowances })
}

fn open_sources(order: &Order, program: &Resolved) -> Result<Vec<Mounting>, Failure> {
    let mut mountings = Vec::new();
    let Executable { host, inside, nameless, .. } = &program.executable;
    let of_the_tree = order.plan.tree != Tree::Bare && matches!(order.plan.program, Program::Path(_));
    if nameless.is_none() && !of_the_tree {
        mountings.push(Mounting::open(host, inside, Kind::Code(Access::ReadOnly))?);
    }
    for path in &program.needs {
        mountings.push(Mounting::open(path, path, Kind::Code(Access::ReadOnly))?);
    }
    for bind in &order.plan.binds {
        let kind = match bind.content {
            Content::Data => Kind::Data(bind.access),
            Content::Code => Kind::Code(bind.access),
        };
        mountings.push(Mounting::open_named(&bind.source, &bind.destination, kind, bind.named_by)?);
    }
    for path in STANDARD_DEVICES.map(Path::new) {
        let named = order.plan.devices.iter().any(|device| device.path == path);
        if !named && path.exists() {
            mountings.push(Mounting::open(path, path, Kind::StandardDevice)?);
        }
    }
    for device in &order.plan.devices {
        mountings.push(Mounting::open(&device.path, &device.path, Kind::Device(device.access))?);
    }
    Ok(mountings)
}

fn allowances(order: &Order, mountings: &[Mounting]) -> Vec<Allowance> {
    let own = match &order.plan.tree {
        Tree::Bare | Tree::Shared => vec![("/".into(), Grant::Read), ("/tmp".into(), Grant::ReadWrite)],
        Tree::Host(_) => host_tree::grants(&order.plan.devices),
    };
    let own = own.into_iter().map(|(path, grant)| Allowance { path, grant });
    let mounted =
        mountings.iter().map(|mounting| Allowance { path: mounting.destination.clone(), grant: mounting.kind.grant() });
    own.chain(mounted).collect()
}

fn staging() -> &'static Path {
    STAGING.into_iter().map(Path::new).find(|path| path.is_dir()).unwrap_or(Path::new(STAGING[0]))
}

fn new_root(staging: &Path) -> Result<PathBuf, Failure> {
    mount(Some("margay"), staging, Some("tmpfs"), GUARDED, Some(ROOT_OPTIONS)).during_at(Step::NewRoot, staging)?;
    Ok(staging.to_owned())
}

/// A path of the new tree, while it is still being put together.
fn within(staging: &Path, path: &Path) -> PathBuf {
    staging.join(path.strip_prefix("/").unwrap_or(path))
}

fn make_link(staging: &Path, link: &Path, target: &Path) -> Result<(), Failure> {
    let place = within(staging, link);
    make_folder(place.parent().unwrap_or(staging))?;
    symlink(target, &place).during_at(Step::Mount, link)
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).during_at(Step::Mount, path)
}

/// What the worker has to itself: `/proc` and `/tmp`.
fn mount_own(order: &Order, staging: &Path) -> Result<(), Failure> {
    let (proc, temporary) = (staging.join("proc"), staging.join("tmp"));
    make_folder(&proc)?;
    make_folder(&temporary)?;
    let flags = GUARDED | MsFlags::MS_RDONLY;
    // Inside some containers the kernel refuses a new /proc, because the container's own has parts covered. The worker
    // can do without; the containment table says so.
    let _ = mount(Some("proc"), &proc, Some("proc"), flags, Some(PROC_OPTIONS));
    let options = format!("mode=1777,size={}", order.plan.temporary_bytes);
    mount(Some("tmp"), &temporary, Some("tmpfs"), GUARDED, Some(options.as_str()))
        .during_at(Step::Mount, Path::new("/tmp"))
}

/// Makes the new tree the root and lets go of the host's (pivot_root(2), "pivot_root(".", ".")").
fn pivot(staging: &Path) -> Result<(), Failure> {
    chdir(staging).during(Step::EnterRoot)?;
    pivot_root(".", ".").during(Step::EnterRoot)?;
    umount2(".", MntFlags::MNT_DETACH).during(Step::EnterRoot)?;
    chdir("/").during(Step::EnterRoot)
}

/// Nothing can be written to the root itself any more; what is mounted below it is as it is.
fn make_read_only(flags: MsFlags) -> Result<(), Failure> {
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | flags;
    mount(None::<&str>, "/", None::<&str>, read_only, None::<&str>).during_at(Step::EnterRoot, Path::new("/"))
}
