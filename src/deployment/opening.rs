//! What a starting core is to run: what was confirmed last, what was staged for this start, and what the group
//! document's file says.

use std::io;

use super::shelf::{Active, Pending, Shelf, ShelfError, file_digest};
use super::version::GroupVersion;
use crate::config::Config;
use crate::document::{LoadError, read_file};
use crate::group;
use crate::problem::{Document, Problems};

/// What a starting core finds.
#[derive(Debug)]
pub struct Opening {
    pub(super) active: Active,
    pub(super) pending: Option<Pending>,
    /// The file's text, where it is an order: it reads well and is not what was deployed already.
    pub(super) file: Option<String>,
    /// What is to be said of the files.
    pub(super) warning: Option<String>,
}

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// The records of deployments cannot be used.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// The group document cannot be read, and nothing was ever confirmed.
    #[error(transparent)]
    Load(LoadError),
    /// The group document is refused, and nothing was ever confirmed.
    #[error("the group document is refused")]
    Refused(Problems),
}

impl Opening {
    /// Looks at the records and at the file.
    ///
    /// # Errors
    /// [`OpeningError`]; where something was confirmed, a file that cannot be used is only a warning.
    pub fn find(config: &Config) -> Result<Self, OpeningError> {
        let shelf = Shelf::at(config.directories.deployments());
        shelf.prepare()?;
        let active = match shelf.active() {
            Err(error @ ShelfError::Damaged { .. }) => {
                tracing::error!(%error, "what was confirmed last is not known");
                Active::default()
            }
            other => other?,
        };
        let pending = shelf.pending().unwrap_or_else(|error| {
            tracing::error!(%error, "the deployment that was under way is forgotten");
            None
        });
        let mut opening = Self { active, pending, file: None, warning: None };
        match read_file(Document::Group, &config.directories.group_document, group::SIZE_LIMIT) {
            Ok(text) => opening.look_at(text, config)?,
            Err(error) if opening.has_another() => {
                let absent =
                    matches!(&error, LoadError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound);
                opening.warning = (!absent).then(|| opening.passed_over(&error.to_string()));
            }
            Err(error) => return Err(OpeningError::Load(error)),
        }
        Ok(opening)
    }

    /// The group that the core begins with, without its packages.
    pub fn first_group(&self, config: &Config) -> GroupVersion {
        let confirmed = self.active.current.as_ref().map(|current| current.document.as_str());
        let document = confirmed.or(self.file.as_deref());
        let group = document.and_then(|document| GroupVersion::read(document, config).ok());
        group.unwrap_or_else(|| GroupVersion::empty(config))
    }

    fn look_at(&mut self, text: String, config: &Config) -> Result<(), OpeningError> {
        let digest = file_digest(&text);
        let deployed = self.active.current.as_ref().map(|current| file_digest(&current.document));
        if self.active.current.is_some()
            && (self.active.file.as_ref() == Some(&digest) || deployed.as_ref() == Some(&digest))
        {
            return Ok(());
        }
        match GroupVersion::read(&text, config) {
            Ok(_) => self.file = Some(text),
            Err(problems) if self.has_another() => {
                let problems: Vec<String> = problems.errors().map(ToString::to_string).collect();
                self.warning = Some(self.passed_over(&problems.join("; ")));
            }
            Err(problems) => return Err(OpeningError::Refused(problems)),
        }
        Ok(())
    }

    fn has_another(&self) -> bool {
        self.active.current.is_some() || self.pending.is_some()
    }

    fn passed_over(&self, why: &str) -> String {
        let instead = match &self.active.current {
            Some(current) => format!("the group confirmed at {} by {} runs", current.confirmed, current.source),
            None => "the deployment that was staged runs".to_owned(),
        };
        format!("the group document's file is not used, and {instead}: {why}")
    }
}
