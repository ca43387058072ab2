//! How a function runs: contained or not, and as whom (A-30 to A-32, contract G3).

use crate::document::{Field, Object, Unknown};

/// Whether a function runs in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsolationMode {
    /// In an isolated namespace, the default.
    GreengrassContainer,
    /// As a plain process.
    NoContainer,
}

impl IsolationMode {
    const NAMES: [(&'static str, Self); 2] =
        [("GreengrassContainer", Self::GreengrassContainer), ("NoContainer", Self::NoContainer)];
}

/// The numbers of the user and group that a function runs as. What is absent falls back to the group's default, and from
/// there to `ggc_user` and `ggc_group`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunAs {
    /// The user.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
}

impl RunAs {
    /// Whether either is root's.
    pub fn is_root(self) -> bool {
        self.uid == Some(0) || self.gid == Some(0)
    }

    /// These numbers, with the absent ones from `default`.
    pub(super) fn or(self, default: Self) -> Self {
        Self { uid: self.uid.or(default.uid), gid: self.gid.or(default.gid) }
    }
}

/// An `Execution` object, as it stands on a function or as the group's default.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Execution {
    pub(super) isolation: Option<IsolationMode>,
    pub(super) run_as: RunAs,
}

impl Execution {
    /// Reads an `Execution` object; `invalid` is the guide's text for a mode that is none.
    pub(super) fn read(mut object: Object<'_>, invalid: &str) -> Self {
        let mode = object.field("IsolationMode");
        let isolation = mode.text().and_then(|text| {
            let found = IsolationMode::NAMES.iter().find(|(name, _)| *name == text).map(|&(_, mode)| mode);
            if found.is_none() {
                mode.refuse(invalid, "write GreengrassContainer or NoContainer");
            }
            found
        });
        let mut run_as = object.field("RunAs").section();
        let uid = read_number(&run_as.field("Uid"));
        let gid = read_number(&run_as.field("Gid"));
        run_as.finish(Unknown::Warn);
        object.finish(Unknown::Warn);
        Self { isolation, run_as: RunAs { uid, gid } }
    }
}

/// A user's or group's number; an empty string falls back like an absent one.
fn read_number(field: &Field<'_>) -> Option<u32> {
    if field.is_empty_text() {
        return None;
    }
    field.integer(0..=u64::from(u32::MAX), "").and_then(|number| u32::try_from(number).ok())
}
