//! The machine learning connectors of the group that runs, as functions ask them: local inference services by their names,
//! and the feedback connector.

use std::sync::{PoisonError, RwLock};

use serde_json::Map;

use crate::classifier::Engines;
use crate::connector::image_classification::ClassificationService;
use crate::deployment::{DeploymentError, GroupVersion, Staged};
use crate::feedback::{self, Feedback, FeedbackError};
use crate::function::{Answering, FeedbackRequest, InferenceRequest, Learning, LearningError};
use crate::inference_service::{InferenceService, ServiceSettings, ServiceStatus, StartError, written};

/// A service that runs, and where what it classifies goes besides.
#[derive(Debug, Clone)]
pub(super) struct RunningService {
    service: InferenceService,
    feedback: Option<String>,
}

/// Who answers functions.
#[derive(Debug)]
pub(super) struct MachineLearning {
    services: RwLock<Vec<RunningService>>,
    feedback: Feedback,
}

impl MachineLearning {
    /// No service yet, and no feedback connector.
    pub(super) fn new(feedback: Feedback) -> Self {
        Self { services: RwLock::default(), feedback }
    }

    /// The services that `group` wants: those that run as it wants them, and others, whose models are loaded when this
    /// returns. Nothing changes yet.
    ///
    /// # Errors
    /// A model does not load.
    pub(super) async fn prepare(
        &self,
        group: &GroupVersion,
        engines: &Engines,
    ) -> Result<Vec<RunningService>, DeploymentError> {
        let mut services = Vec::new();
        for (connector, staged) in wanted(group) {
            let settings = settings(connector, staged, engines);
            let service = match self.running(&settings) {
                Some(service) => service,
                None => InferenceService::start(settings).await.map_err(|error| failed(staged, error))?,
            };
            services.push(RunningService { service, feedback: connector.feedback.clone() });
        }
        Ok(services)
    }

    /// The same, with models that ran before: they are loaded when they can be.
    pub(super) fn prepare_again(&self, group: &GroupVersion, engines: &Engines) -> Vec<RunningService> {
        let started = wanted(group).filter_map(|(connector, staged)| {
            let settings = settings(connector, staged, engines);
            let service = self.running(&settings).map_or_else(|| InferenceService::start_again(settings), Ok);
            let service = service.inspect_err(|error| {
                let (name, service) = (connector.arn.name(), &connector.service);
                tracing::error!(connector = name, service, %error, "a local inference service does not run");
            });
            Some(RunningService { service: service.ok()?, feedback: connector.feedback.clone() })
        });
        started.collect()
    }

    /// Answers by `services` and by the feedback connector of `group` from now on; other services end.
    pub(super) fn replace(&self, services: Vec<RunningService>, group: &GroupVersion) {
        self.feedback.configure(group.deployable.feedback.clone());
        *self.services.write().unwrap_or_else(PoisonError::into_inner) = services;
    }

    /// Ends the services.
    pub(super) fn stop(&self) {
        self.services.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How the services stand.
    pub(super) fn services(&self) -> Vec<ServiceStatus> {
        self.list().iter().map(|running| running.service.status()).collect()
    }

    /// The feedback connector.
    pub(super) fn feedback(&self) -> &Feedback {
        &self.feedback
    }

    fn list(&self) -> Vec<RunningService> {
        self.services.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn running(&self, settings: &ServiceSettings) -> Option<InferenceService> {
        let running = self.list().into_iter().find(|running| running.service.settings() == settings);
        running.map(|running| running.service)
    }

    fn find(&self, name: &str) -> Result<RunningService, LearningError> {
        let services = self.list();
        if let Some(found) = services.iter().find(|running| running.service.settings().name == name) {
            return Ok(found.clone());
        }
        let names: Vec<&str> = services.iter().map(|running| running.service.settings().name.as_str()).collect();
        let known = if names.is_empty() {
            "none: deploy an ML Image Classification connector".into()
        } else {
            names.join(", ")
        };
        let name: String = name.chars().take(64).collect();
        Err(LearningError::Dependency(format!("no local inference service is called {name:?}; there is {known}")))
    }
}

impl Learning for MachineLearning {
    fn infer(&self, request: InferenceRequest) -> Answering<String> {
        let (found, feedback) = (self.find(&request.service), self.feedback.clone());
        Box::pin(async move {
            let RunningService { service, feedback: configuration } = found?;
            let InferenceRequest { algorithm, content_type, body, .. } = request;
            let answer = service.classify(&algorithm, &content_type, body.clone()).await;
            let probabilities = answer.map_err(|error| match error.is_of_the_service() {
                true => LearningError::Dependency(error.to_string()),
                false => LearningError::Inference(error.to_string()),
            })?;
            if let Some(config_id) = configuration {
                let prediction = probabilities.iter().copied().map(f64::from).collect();
                let sample = feedback::Request { config_id, input: body, prediction, metadata: Map::new() };
                // Whoever asked for a prediction gets it, whatever becomes of the sample.
                if let Err(error) = feedback.take(sample).await {
                    tracing::warn!(connector = feedback::CONNECTOR, %error, "what was classified is no sample");
                }
            }
            Ok(written(&probabilities))
        })
    }

    fn take_sample(&self, request: FeedbackRequest) -> Answering<()> {
        let feedback = self.feedback.clone();
        Box::pin(async move {
            let FeedbackRequest { config_id, input, prediction, metadata } = request;
            let taken = feedback.take(feedback::Request { config_id, input, prediction, metadata }).await;
            taken.map_err(|error| match error {
                FeedbackError::NoConnector => LearningError::Dependency(error.to_string()),
                _ => LearningError::Argument(error.to_string()),
            })
        })
    }
}

/// The services of `group` whose package is there.
fn wanted(group: &GroupVersion) -> impl Iterator<Item = (&ClassificationService, &Staged)> {
    let services = group.deployable.services.iter();
    services.filter_map(|service| Some((service, group.packages.get(&service.model_resource)?)))
}

fn settings(connector: &ClassificationService, staged: &Staged, engines: &Engines) -> ServiceSettings {
    let digest = staged.model.identity.digest.clone();
    ServiceSettings {
        running: engines.running(&digest, None),
        package: staged.model.directory.clone(),
        digest,
        ..connector.settings()
    }
}

fn failed(staged: &Staged, error: StartError) -> DeploymentError {
    let uri = staged.installed.origin().clone();
    match error {
        StartError::Package(source) => DeploymentError::Package { uri, source: Box::new(source) },
        StartError::Worker(source) => DeploymentError::Test { uri, source: Box::new(source) },
    }
}
