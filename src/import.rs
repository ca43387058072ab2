//! A V1 deployment taken over from the device's own disk, the last copy there is since its cloud closed: `config.json`,
//! the group, the models and what lies beside them are read and never written; what becomes of each is reported; and a
//! configuration, a group document, packages and a store that holds them go into a folder of their own.
//!
//! [`survey`] reads, [`plan`] decides without touching anything, [`write()`] writes, whole or not at all.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::identity::IdentityError;
use crate::name::ResourceId;
use crate::problem::Problems;

mod candidate;
mod definitions;
mod group_form;
mod models;
mod plan;
mod report;
mod rows;
mod settings;
mod survey;
mod tree;
mod write;

pub use definitions::DefinitionError;
pub use plan::{Plan, plan};
pub use report::{Finding, Verdict};
pub use survey::{Survey, survey};
pub use tree::TreeError;
pub use write::{REPORT_FILE, WriteError, output_of, write};

/// What is to be imported.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// V1's greengrass-root.
    pub root: Option<PathBuf>,
    /// A folder of exported definition versions, in place of the group on the disk.
    pub definitions: Option<PathBuf>,
    /// A JSON file with what is to stand under `margay`.
    pub additions: Option<PathBuf>,
    /// Packages, or folders of V1's models, that belong to these resources.
    pub models: BTreeMap<ResourceId, PathBuf>,
    /// The bucket that packages will be pushed to, if not V1's.
    pub bucket: Option<String>,
}

/// Something for which nothing can be imported.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    /// A part of the source cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Exported definitions make no group.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// A file is no JSON.
    #[error("{} is not JSON, or was cut off", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },
    /// A document breaks rules.
    #[error("{} breaks a rule:\n{}", path.display(), errors(problems))]
    Refused {
        /// Where it lies, or will lie.
        path: PathBuf,
        /// Which rules.
        problems: Problems,
    },
    /// The group deploys nothing.
    #[error(
        "{} deploys nothing: {{}} is what the guide has an operator write to recover; bring back the group from a backup, \
         or export its definitions and name their folder with --definitions",
        path.display()
    )]
    EmptyGroup {
        /// Where it lies.
        path: PathBuf,
    },
    /// `--model` names what is no model of the group.
    #[error("--model names {resource}, which is no machine learning resource of the group")]
    NoModel {
        /// The name.
        resource: ResourceId,
    },
    /// The device's certificate, key or authorities cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// There is no room to work in.
    #[error("making a temporary folder")]
    Scratch {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Obstacle {
    /// The obstacle with its causes.
    #[must_use]
    pub fn explained(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {}", models::spoken(cause)),
            None => self.to_string(),
        }
    }
}

/// Everything for which nothing can be imported. Nothing was written.
#[derive(Debug)]
pub struct Obstacles(pub Vec<Obstacle>);

impl fmt::Display for Obstacles {
    /// One obstacle after the other, each with its causes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let explained: Vec<String> = self.0.iter().map(Obstacle::explained).collect();
        f.write_str(&explained.join("\n"))
    }
}

impl std::error::Error for Obstacles {}

fn errors(problems: &Problems) -> String {
    problems.errors().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}
