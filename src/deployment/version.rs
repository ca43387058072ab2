//! A group that can run: its document, what the document says, and the packages that it runs with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::report::PackageVersion;
use super::stager::{Purpose, Staged};
use crate::config::Config;
use crate::connector::image_classifier::ImageClassifier;
use crate::documents::{self, Deployable};
use crate::group::{CodePackage, Function, ModelSource};
use crate::name::ResourceId;
use crate::problem::{Accepted, Problems};
use crate::store::Release;

/// The document that deploys nothing.
pub(super) const EMPTY: &str = "{}";

/// A group document with the exact packages of its models.
#[derive(Debug, Clone)]
pub struct GroupVersion {
    /// The document's text.
    pub document: Arc<str>,
    /// What it says.
    pub deployable: Deployable,
    /// What it asks for and this version does not do.
    pub warnings: Vec<String>,
    /// The packages of its models and of its functions' code, as far as they are there.
    pub packages: BTreeMap<ResourceId, Staged>,
    /// The functions whose code was on the device when the document was read, or comes with it; only their models are
    /// fetched.
    functions_here: BTreeSet<String>,
}

impl GroupVersion {
    /// Reads `document` for the core of `config`; without packages yet.
    ///
    /// # Errors
    /// Every problem of the document.
    pub fn read(document: &str, config: &Config) -> Result<Self, Problems> {
        let Accepted { document: deployable, warnings } = documents::check_group(document, Some(config))?;
        let warnings = warnings.iter().map(ToString::to_string).collect();
        let functions = deployable.group.functions.iter();
        let here = functions.filter(|function| {
            function.code.is_some() || config.directories.function_code(function.arn.as_str()).is_dir()
        });
        let functions_here = here.map(|function| function.arn.as_str().to_owned()).collect();
        Ok(Self { document: document.into(), deployable, warnings, packages: BTreeMap::new(), functions_here })
    }

    /// The group that deploys nothing.
    pub fn empty(config: &Config) -> Self {
        Self::read(EMPTY, config).expect("the empty document breaks no rule")
    }

    /// Whether a group with the classifier `wanted` can go on with one of this group's, changing its model at most.
    pub fn keeps(&self, wanted: &ImageClassifier) -> bool {
        self.deployable.image_classifiers.iter().any(|ours| ours.differs_only_in_model_source(wanted))
    }

    /// The packages that something of the group runs, with their sources: machine learning resources and functions' code.
    pub fn sources(&self) -> Vec<(ResourceId, ModelSource)> {
        let used = self.deployable.image_classifiers.iter();
        let mut models: Vec<_> = used.map(|c| (c.model_resource.clone(), c.model_source.clone())).collect();
        models.dedup();
        let services = self.deployable.services.iter();
        let services = services.map(|service| (service.model_resource.clone(), service.model_source.clone()));
        for (resource, source) in services.chain(self.models_of_functions()) {
            if !models.iter().any(|(known, _)| *known == resource) {
                models.push((resource, source));
            }
        }
        models.extend(self.code().map(|(_, code)| (code.resource.clone(), code.source.clone())));
        models
    }

    /// The functions whose code is a package.
    fn code(&self) -> impl Iterator<Item = (&Function, &CodePackage)> {
        let functions = self.deployable.group.functions.iter();
        functions.filter_map(|function| Some((function, function.code.as_ref()?.package()?)))
    }

    /// What the package of `resource` has to be.
    pub fn purpose_of(&self, resource: &ResourceId) -> Purpose {
        if let Some((function, code)) = self.code().find(|(_, code)| code.resource == *resource) {
            let (arn, handler) = (function.arn.to_string(), function.executable.clone());
            return Purpose::Code { function: arn, handler, sha256: code.sha256 };
        }
        let Deployable { image_classifiers, services, .. } = &self.deployable;
        let classified = image_classifiers.iter().any(|c| c.model_resource == *resource)
            || services.iter().any(|service| service.model_resource == *resource);
        if classified { Purpose::Model } else { Purpose::Files }
    }

    /// The machine learning resources of functions that can run, with their code on the device.
    fn models_of_functions(&self) -> impl Iterator<Item = (ResourceId, ModelSource)> {
        let group = &self.deployable.group;
        let here = group.functions.iter().filter(|function| self.functions_here.contains(function.arn.as_str()));
        let attached = here.flat_map(|function| &function.attachments);
        attached.filter_map(|attachment| {
            let model = group.resource(&attachment.resource)?.model()?;
            Some((attachment.resource.clone(), model.source.clone()))
        })
    }

    /// Whether every package is there.
    pub fn is_complete(&self) -> bool {
        self.sources().iter().all(|(resource, _)| self.packages.contains_key(resource))
    }

    /// Whether `other` runs the same document with the same packages.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let digests = |version: &Self| -> BTreeMap<ResourceId, _> {
            version.packages.iter().map(|(resource, staged)| (resource.clone(), staged.installed.digest())).collect()
        };
        self.document == other.document && digests(self) == digests(other)
    }

    /// Where each package came from.
    pub fn releases(&self) -> BTreeMap<ResourceId, Release> {
        self.packages.iter().map(|(resource, staged)| (resource.clone(), staged.installed.release().clone())).collect()
    }

    /// The packages' versions, for people.
    pub fn package_versions(&self) -> BTreeMap<String, PackageVersion> {
        let version = |staged: &Staged| {
            let model = &staged.model.identity;
            PackageVersion { name: model.name.clone(), version: model.version.clone(), digest: model.digest.clone() }
        };
        self.packages.iter().map(|(resource, staged)| (resource.to_string(), version(staged))).collect()
    }
}
