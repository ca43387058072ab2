//! The worker's file tree, as `/proc/<pid>/mountinfo` shows it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::containment::Finding;
use crate::plan::{Access, Plan, Tree};

/// Folders that a sandbox over the host's root has of its own.
const OWN_FOLDERS: [&str; 4] = ["/proc", "/dev", "/run", "/tmp"];

/// One mount of the worker.
#[derive(Debug)]
struct Mount {
    path: PathBuf,
    options: Vec<String>,
}

impl Mount {
    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|found| found == option)
    }
}

/// Holds when the root and every read-only bind are read-only, when nothing but device nodes can be used as a device, and
/// when no mount honours set-user-ID bits.
pub(super) fn judge(pid: i32, plan: &Plan) -> Finding {
    let path = format!("/proc/{pid}/mountinfo");
    match fs::read_to_string(&path) {
        Ok(text) => judge_mounts(&parse(&text), plan),
        Err(error) => Finding::Absent(format!("{path} could not be read: {error}")),
    }
}

fn judge_mounts(mounts: &[Mount], plan: &Plan) -> Finding {
    let at = |path: &Path| mounts.iter().rfind(|mount| mount.path == path);
    let read_only = plan.binds.iter().filter(|bind| bind.access == Access::ReadOnly);
    let has_layer = matches!(&plan.tree, Tree::Host(tree) if !tree.read_only);
    let root = (!has_layer).then_some(Path::new("/"));
    let read_only = read_only.map(|bind| bind.destination.as_path()).chain(root);
    for path in read_only {
        match at(path) {
            None => return Finding::Absent(format!("{} is not mounted", path.display())),
            Some(mount) if !mount.has("ro") => return Finding::Absent(format!("{} is writable", path.display())),
            Some(_) => {}
        }
    }
    for mount in mounts {
        let required: &[&str] = if mount.path.starts_with("/dev") { &["nosuid"] } else { &["nosuid", "nodev"] };
        for option in required {
            if !mount.has(option) {
                return Finding::Absent(format!("{} is mounted without {option}", mount.path.display()));
            }
        }
    }
    let Tree::Host(tree) = &plan.tree else {
        return Finding::Holds(format!("a tree of its own, root read-only, {}", describe(mounts, plan)));
    };
    // What lies in a folder that the sandbox has of its own is not there in the first place.
    let covered = |path: &Path| OWN_FOLDERS.iter().any(|folder| path.starts_with(folder)) || at(path).is_some();
    if let Some(shown) = tree.hidden.iter().find(|path| path.exists() && !covered(path)) {
        return Finding::Absent(format!("{} is not hidden", shown.display()));
    }
    let hidden = tree.hidden.len();
    let root = if has_layer { "a private layer over the host's root" } else { "the host's root read-only" };
    Finding::Holds(format!("{root}, {hidden} paths hidden, {}", describe(mounts, plan)))
}

fn describe(mounts: &[Mount], plan: &Plan) -> String {
    let writable = plan.binds.iter().filter(|bind| bind.access == Access::ReadWrite).count();
    let devices = mounts.iter().filter(|mount| mount.path.starts_with("/dev")).count();
    let own_proc = if mounts.iter().any(|mount| mount.path == Path::new("/proc")) { "" } else { ", no /proc" };
    format!(
        "{} of {} binds read-only, {devices} device nodes, {} mounts{own_proc}",
        plan.binds.len() - writable,
        plan.binds.len(),
        mounts.len()
    )
}

fn parse(text: &str) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(4);
            let (path, options) = (fields.next()?, fields.next()?);
            let options = options.split(',').map(str::to_owned).collect();
            Some(Mount { path: PathBuf::from(unescape(path)), options })
        })
        .collect()
}

/// Spaces, tabs, line ends and backslashes in a path appear as three octal digits after a backslash.
fn unescape(path: &str) -> String {
    let mut parts = path.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if byte.is_ascii() => {
                text.push(char::from(byte));
                text.push_str(&part[3..]);
            }
            _ => {
                text.push('\\');
                text.push_str(part);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::{Bind, PlanParts};

    fn judged(model: &str, device: &str) -> Finding {
        let text = format!(
            "1 0 0:1 / / ro,nosuid,nodev - tmpfs margay rw\n\
             2 1 8:1 /m /my\\040model {model} - ext4 /dev/root rw\n\
             3 1 0:5 /null /dev/null {device} - devtmpfs devtmpfs rw\n"
        );
        let plan = Plan::new(PlanParts {
            name: "inference".to_owned(),
            binds: vec![Bind::read_only("/srv/m", "/my model")],
            ..PlanParts::default()
        });
        judge_mounts(&parse(&text), &plan.unwrap())
    }

    #[test]
    fn a_read_only_model_among_guarded_mounts_holds() {
        let finding = judged("ro,nosuid,nodev,noexec", "ro,nosuid,noexec");
        assert!(finding.holds(), "{finding:?}");
        assert!(finding.detail().contains("1 of 1 binds read-only, 1 device nodes, 3 mounts, no /proc"), "{finding:?}");
    }

    #[test]
    fn one_missing_flag_is_named() {
        let writable = judged("rw,nosuid,nodev", "ro,nosuid");
        assert_eq!(writable, Finding::Absent("/my model is writable".to_owned()));
        let devices = judged("ro,nosuid", "ro,nosuid");
        assert_eq!(devices, Finding::Absent("/my model is mounted without nodev".to_owned()));
        let set_user_id = judged("ro,nosuid,nodev", "ro");
        assert_eq!(set_user_id, Finding::Absent("/dev/null is mounted without nosuid".to_owned()));
    }

    proptest! {
        #[test]
        fn every_path_that_the_kernel_escapes_is_read_back(path in r"/[a-z\\ \t\n0-7]{0,20}") {
            let escape = |c: char| match c {
                ' ' | '\t' | '\n' | '\\' => format!("\\{:03o}", u32::from(c)),
                other => other.to_string(),
            };
            prop_assert_eq!(unescape(&path.chars().map(escape).collect::<String>()), path);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            parse(&text);
            unescape(&text);
        }
    }

    #[test]
    fn escaped_paths_are_read_back() {
        assert_eq!(unescape(r"/a\040b\134c"), r"/a b\c");
        assert_eq!(unescape(r"/a\zz"), r"/a\zz");
    }
}
