//! The table of what holds a worker, as it was found, for status output and logs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One way in which a worker is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Its own file tree, read-only, with only what the plan names.
    Mount,
    /// Its own process tree; it sees no others, and it ends with its first process.
    Pid,
    /// Its own System V and POSIX message queues.
    Ipc,
    /// Its own host name.
    Uts,
    /// Its own, empty network.
    Net,
    /// A user of its own, or a user namespace.
    User,
    /// No capability is left or can be regained.
    Capabilities,
    /// No program it executes can raise its privileges.
    NoNewPrivs,
    /// Only listed system calls.
    Seccomp,
    /// A second lock on files, with rules by path.
    Landlock,
    /// A limit on its memory.
    Memory,
    /// A limit on its processes and threads.
    Pids,
    /// A share of the processors, where its plan asks for one.
    Cpu,
    /// No descriptor of the core but those passed on purpose.
    Descriptors,
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Mount => "mount",
            Self::Pid => "pid",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Net => "net",
            Self::User => "user",
            Self::Capabilities => "capabilities",
            Self::NoNewPrivs => "no_new_privs",
            Self::Seccomp => "seccomp",
            Self::Landlock => "landlock",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::Descriptors => "descriptors",
        })
    }
}

/// What was found about one [`Aspect`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It holds; how.
    Holds(String),
    /// It does not hold, or could not be confirmed; why.
    Absent(String),
}

impl Finding {
    /// Whether it holds.
    pub fn holds(&self) -> bool {
        matches!(self, Self::Holds(_))
    }

    /// How it holds, or why it does not.
    pub fn detail(&self) -> &str {
        match self {
            Self::Holds(detail) | Self::Absent(detail) => detail,
        }
    }
}

/// Every [`Aspect`] once, in order; [`Aspect::Cpu`] only where it was asked for. Displays as a table of one line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containment {
    rows: Vec<(Aspect, Finding)>,
}

impl Containment {
    pub(crate) fn new(rows: Vec<(Aspect, Finding)>) -> Self {
        Self { rows }
    }

    /// The rows, in the order of [`Aspect`].
    pub fn rows(&self) -> &[(Aspect, Finding)] {
        &self.rows
    }

    /// What was found about one aspect.
    pub fn finding(&self, aspect: Aspect) -> Option<&Finding> {
        self.rows.iter().find(|(row, _)| *row == aspect).map(|(_, finding)| finding)
    }

    /// Whether this aspect holds.
    pub fn holds(&self, aspect: Aspect) -> bool {
        self.finding(aspect).is_some_and(Finding::holds)
    }

    /// The aspects that do not hold; empty when everything does.
    pub fn absent(&self) -> impl Iterator<Item = (Aspect, &str)> {
        self.rows.iter().filter(|(_, finding)| !finding.holds()).map(|(aspect, finding)| (*aspect, finding.detail()))
    }
}

impl fmt::Display for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (aspect, finding) in &self.rows {
            let word = if finding.holds() { "holds" } else { "ABSENT" };
            writeln!(f, "{aspect:<13} {word:<7} {}", finding.detail())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_at_a_glance_what_is_missing() {
        let table = Containment::new(vec![
            (Aspect::Mount, Finding::Holds("14 mounts".to_owned())),
            (Aspect::Landlock, Finding::Absent("not in this kernel".to_owned())),
        ]);
        let expected = "mount         holds   14 mounts\nlandlock      ABSENT  not in this kernel\n";
        assert_eq!(table.to_string(), expected);
        assert_eq!(table.absent().collect::<Vec<_>>(), [(Aspect::Landlock, "not in this kernel")]);
        assert!(table.holds(Aspect::Mount) && !table.holds(Aspect::Landlock) && !table.holds(Aspect::Pid));
    }
}
