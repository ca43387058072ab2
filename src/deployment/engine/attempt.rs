//! One attempt at a deployment: stage, test, activate, watch, confirm; or go back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Done, Engine, Task, Wanted};
use crate::causes::explain;
use crate::classifier::one_shot::OneShot;
use crate::classifier::{CaptureState, Engines};
use crate::deployment::function_health::FunctionWatch;
use crate::deployment::health::{HealthWatch, Verdict};
use crate::deployment::report::{Failure, FailureKind, Fetching, Step};
use crate::deployment::runner::Runner;
use crate::deployment::stager::DeploymentError;
use crate::deployment::version::GroupVersion;

/// How often a group that is to be confirmed is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// The same may succeed later without anybody's help.
    pub(super) may_pass: bool,
}

impl From<DeploymentError> for Failed {
    fn from(error: DeploymentError) -> Self {
        Self { may_pass: error.is_retryable(), failure: Failure::new(error.kind(), explain(&error)) }
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure, may_pass: false }
    }
}

impl<R: Runner> Engine<R> {
    /// Stages and activates what is wanted. Whatever fails, what ran before runs afterwards.
    pub(super) async fn attempt(&mut self, task: &Task, wanted: &Wanted) -> Result<Done, Failed> {
        let board = self.board.clone();
        let group = tokio::select! {
            staged = self.stage(wanted) => staged?,
            failure = board.cancellation(&task.request.id) => return Err(failure.into()),
        };
        let packages = group.package_versions();
        self.board.tell(|report| report.packages = packages);
        if self.active.current.is_some() && group.is_same_as(&self.running) {
            self.confirm_again(task, &group)?;
            return Ok(Done::Same);
        }
        self.board.set_yields(false);
        self.step(Step::Activating);
        let excused = self.cameras_that_fail_anyway(&group).await;
        let functions = FunctionWatch::after(&self.runner.functions());
        if let Err(error) = self.runner.switch(&group).await {
            self.go_back().await;
            return Err(error.into());
        }
        let before = self.running.clone();
        self.run_now(group.clone());
        let first = self.active.current.is_none();
        if first {
            // There is nothing to go back to, and a restart without a network must find this.
            self.confirm(task, &group)?;
        }
        let mut outcome = self.watch(task, excused, &functions).await;
        if first {
            return outcome.map(|()| Done::Changed).map_err(Failed::from);
        }
        if outcome.is_ok() {
            outcome = self.confirm(task, &group);
        }
        if let Err(failure) = outcome {
            self.running = before;
            self.go_back().await;
            self.board.set_running(self.running.clone());
            return Err(failure.into());
        }
        Ok(Done::Changed)
    }

    /// Every package fetched, verified and unpacked; models whose classifier will be a new one tested. Nothing that
    /// runs is touched. A classifier that goes on tests its new model by itself before it takes it over.
    async fn stage(&self, wanted: &Wanted) -> Result<GroupVersion, DeploymentError> {
        let mut group = wanted.group.clone();
        for (resource, source) in group.sources() {
            let name = resource.to_string();
            let arriving = |received| self.board.tell(|report| report.fetching = Some(Fetching::of(&name, received)));
            let pin = wanted.pins.as_ref().and_then(|pins| pins.get(&resource));
            let purpose = group.purpose_of(&resource);
            let staged = match pin {
                Some(release) => self.parts.stager.stage_again(release, purpose, arriving).await?,
                None => self.parts.stager.stage(&resource, &source, purpose, arriving).await?,
            };
            group.packages.insert(resource, staged);
        }
        let restarted = group.deployable.image_classifiers.iter().filter(|c| !self.running.keeps(c));
        let engines = Engines::configured(&self.parts.config);
        for connector in restarted {
            let Some(staged) = group.packages.get(&connector.model_resource) else { continue };
            self.step(Step::Testing);
            let running = engines.running(&staged.model.identity.digest, connector.threads);
            let (directory, memory) = (&staged.model.directory, connector.memory_limit.bytes());
            OneShot::load(directory, memory, connector.identity(), &running).await.map_err(|source| {
                DeploymentError::Test { uri: staged.installed.origin().clone(), source: Box::new(source) }
            })?;
        }
        Ok(group)
    }

    /// Cameras that the group leaves as they are, and that do not deliver now.
    async fn cameras_that_fail_anyway(&self, group: &GroupVersion) -> BTreeSet<String> {
        let mut failing = BTreeSet::new();
        for status in self.runner.classifiers().await {
            let find = |version: &GroupVersion| {
                let mut classifiers = version.deployable.image_classifiers.iter();
                classifiers.find(|c| c.camera_name.as_str() == status.camera).map(|c| c.camera.clone())
            };
            let delivers =
                matches!(status.capture, CaptureState::Capturing | CaptureState::Ended | CaptureState::Waiting);
            if !delivers && find(&self.running) == find(group) {
                failing.insert(status.camera);
            }
        }
        failing
    }

    /// Watches the new group for the window.
    async fn watch(
        &mut self,
        task: &Task,
        excused: BTreeSet<String>,
        functions: &FunctionWatch,
    ) -> Result<(), Failure> {
        let window = self.parts.config.deployments.health_window;
        if window.is_zero() {
            return Ok(());
        }
        self.step(Step::Confirming);
        let begun = tokio::time::Instant::now();
        let health = HealthWatch::begin(window, &self.runner.classifiers().await, excused);
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK.min(window)) => {}
                failure = self.board.cancellation(&task.request.id) => return Err(failure),
            }
            if let Some(why) = functions.judge(&self.runner.functions()) {
                return Err(Failure::new(FailureKind::Unhealthy, why));
            }
            match health.judge(&self.runner.classifiers().await, begun.elapsed()) {
                Verdict::Healthy => return Ok(()),
                Verdict::Open => {}
                Verdict::Unhealthy(why) => return Err(Failure::new(FailureKind::Unhealthy, why)),
            }
        }
    }

    /// Runs what ran before the attempt.
    async fn go_back(&mut self) {
        self.step(Step::RollingBack);
        let running = Arc::clone(&self.running);
        self.runner.insist(&running).await;
        self.runner.settled().await;
    }
}
