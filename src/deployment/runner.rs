//! What runs a group, as deployments need it.

use super::stager::DeploymentError;
use super::version::GroupVersion;
use crate::classifier::ClassifierStatus;
use crate::function::FunctionStatus;

/// Runs one group at a time.
pub trait Runner: Send + Sync + 'static {
    /// Runs `group` in the place of what runs now. Classifiers that the group does not change go on; messages that wait
    /// for the cloud stay.
    ///
    /// # Errors
    /// The first thing that does not run. What runs then is neither the old group nor the new one: follow with
    /// [`Runner::insist`].
    fn switch(&mut self, group: &GroupVersion) -> impl Future<Output = Result<(), DeploymentError>> + Send;

    /// Runs what can be run of `group`, and tries the rest again by itself until it runs or another group is to run.
    /// Models whose package is missing wait for the next switch.
    fn insist(&mut self, group: &GroupVersion) -> impl Future<Output = ()> + Send;

    /// Returns when everything that was insisted on runs, or has failed once.
    fn settled(&mut self) -> impl Future<Output = ()> + Send;

    /// The classifiers that run now.
    fn classifiers(&self) -> impl Future<Output = Vec<ClassifierStatus>> + Send;

    /// The functions as they stand now.
    fn functions(&self) -> Vec<FunctionStatus>;
}
