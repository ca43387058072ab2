//! The lines of `/proc/<pid>/status` that say what a process may do (proc(5)).

use std::collections::HashMap;

use super::{Expected, differs};
use crate::containment::Finding;
use crate::order::Confinement;

/// The five capability sets, in the order of the file.
const CAPABILITY_SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

/// Mode of a process with seccomp filters.
const SECCOMP_MODE_FILTER: &str = "2";

/// The fields of one process.
#[derive(Debug)]
pub(super) struct ProcessStatus(HashMap<String, String>);

impl ProcessStatus {
    pub fn parse(text: &str) -> Self {
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        Self(fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Every capability set is empty. A kernel before 4.3 has no ambient set.
    pub fn capabilities(&self) -> Finding {
        let filled: Vec<String> = CAPABILITY_SETS
            .into_iter()
            .filter_map(|set| Some((set, self.field(set)?)))
            .filter(|(_, mask)| mask.chars().any(|digit| digit != '0'))
            .map(|(set, mask)| format!("{set} is {mask}"))
            .collect();
        if self.field("CapEff").is_none() {
            return Finding::Absent("the kernel shows no capability sets".to_owned());
        }
        if filled.is_empty() {
            return Finding::Holds("all capability sets are empty".to_owned());
        }
        Finding::Absent(filled.join(", "))
    }

    /// `NoNewPrivs` is shown since Linux 4.10.
    pub fn no_new_privs(&self) -> Finding {
        match self.field("NoNewPrivs") {
            Some("1") => Finding::Holds("set".to_owned()),
            Some(_) => Finding::Absent("not set".to_owned()),
            None => Finding::Absent("the kernel does not show it (before 4.10)".to_owned()),
        }
    }

    pub fn seccomp(&self) -> Finding {
        match (self.field("Seccomp"), self.field("Seccomp_filters")) {
            (Some(SECCOMP_MODE_FILTER), Some("1")) => Finding::Holds("1 filter".to_owned()),
            (Some(SECCOMP_MODE_FILTER), Some(count)) => Finding::Holds(format!("{count} filters")),
            (Some(SECCOMP_MODE_FILTER), None) => Finding::Holds("filters".to_owned()),
            (Some(mode), _) => Finding::Absent(format!("mode {mode}")),
            (None, _) => Finding::Absent("the kernel has no seccomp".to_owned()),
        }
    }

    /// A user that is not the core's, or a user namespace around it; and which groups it really has.
    pub fn user(&self, pid: i32, expected: &Expected<'_>) -> Finding {
        let (Some(uid), Some(gid)) = (self.same_ids("Uid"), self.same_ids("Gid")) else {
            return Finding::Absent("its user or group ids differ among themselves".to_owned());
        };
        let who = format!("uid {uid}, gid {gid}{}", self.describe_groups(expected));
        let own_namespace = differs(pid, "user").unwrap_or(false);
        let account = expected.plan.account;
        match expected.confinement {
            _ if uid == 0 => Finding::Absent(format!("{who}: root, as the core sees it")),
            Confinement::UserNamespace if own_namespace => {
                Finding::Holds(format!("a user namespace; on the host it is {who}, the core's own user"))
            }
            _ if (uid, gid) == (account.uid, account.gid) && uid != nix::unistd::geteuid().as_raw() => {
                Finding::Holds(who)
            }
            _ => Finding::Absent(format!("{who}: the core's own user")),
        }
    }

    /// The id, if the real, effective, saved and file system ids are all the same.
    fn same_ids(&self, name: &str) -> Option<u32> {
        let ids: Vec<&str> = self.field(name)?.split_whitespace().collect();
        let first = ids.first()?;
        if ids.iter().any(|id| id != first) {
            return None;
        }
        first.parse().ok()
    }

    fn describe_groups(&self, expected: &Expected<'_>) -> String {
        let groups: Vec<u32> =
            self.field("Groups").unwrap_or_default().split_whitespace().filter_map(|id| id.parse().ok()).collect();
        let missing: Vec<u32> =
            expected.supplementary.iter().copied().filter(|group| !groups.contains(group)).collect();
        let mut text = String::new();
        if !groups.is_empty() {
            text.push_str(&format!(", groups {}", join(&groups)));
        }
        if !missing.is_empty() {
            text.push_str(&format!(", without group {}, which the core may not give it", join(&missing)));
        }
        text
    }
}

fn join(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(lines: &str) -> ProcessStatus {
        ProcessStatus::parse(lines)
    }

    #[test]
    fn one_capability_in_any_set_is_one_too_many() {
        let empty = "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n";
        assert!(status(empty).capabilities().holds());
        let bounded = format!("{empty}CapBnd:\t000001ffffffffff\n");
        assert_eq!(status(&bounded).capabilities(), Finding::Absent("CapBnd is 000001ffffffffff".to_owned()));
        assert!(!status("").capabilities().holds());
    }

    #[test]
    fn what_the_kernel_does_not_show_does_not_hold() {
        assert!(!status("").no_new_privs().holds());
        assert!(!status("").seccomp().holds());
        assert!(!status("Seccomp:\t1\n").seccomp().holds());
        assert_eq!(status("Seccomp:\t2\nSeccomp_filters:\t2\n").seccomp(), Finding::Holds("2 filters".to_owned()));
        assert!(status("NoNewPrivs:\t1\n").no_new_privs().holds());
    }

    #[test]
    fn ids_have_to_agree() {
        assert_eq!(status("Uid:\t900\t900\t900\t900\n").same_ids("Uid"), Some(900));
        assert_eq!(status("Uid:\t900\t0\t900\t900\n").same_ids("Uid"), None);
    }
}
