//! Jobs in the broker: takes what things publish on its topics, answers there, and notifies.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqtt5::QoS;
use mqtt5::broker::{BrokerEventHandler, ClientPublishEvent, MqttBroker, PublishAction};
use mqtt5::packet::publish::PublishPacket;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::executions::{Change, Execution, Executions, Rejection};
use super::wire::{self, Request};
use crate::faults::Faults;
use crate::lock::lock;

/// Answers and notifications that wait to be routed; a thing that floods its topics waits.
const WAITING: usize = 10_000;

/// How often overdue executions are looked for.
const TICK: Duration = Duration::from_millis(100);

/// What leaves for a topic.
type Outgoing = (String, Vec<u8>);

/// Jobs of one cloud; clones share everything.
#[derive(Clone)]
pub(crate) struct JobsService {
    executions: Arc<Mutex<Executions>>,
    faults: Faults,
    outgoing: Arc<Mutex<Option<mpsc::Sender<Outgoing>>>>,
}

impl fmt::Debug for JobsService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("JobsService").field("executions", &self.executions).finish_non_exhaustive()
    }
}

impl JobsService {
    pub(crate) fn new(faults: Faults) -> Self {
        Self { executions: Arc::default(), faults, outgoing: Arc::default() }
    }

    /// Routes what leaves through `broker` until the task is aborted.
    pub(crate) fn serve(&self, broker: &MqttBroker) -> JoinHandle<()> {
        let (sender, mut receiver) = mpsc::channel::<Outgoing>(WAITING);
        *lock(&self.outgoing) = Some(sender);
        let (router, service) = (broker.router(), self.clone());
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(TICK);
            loop {
                tokio::select! {
                    _ = tick.tick() => service.expire(),
                    Some((topic, payload)) = receiver.recv() => {
                        router.route_message(&PublishPacket::new(topic, payload, QoS::AtLeastOnce), None).await;
                    }
                }
            }
        })
    }

    pub(crate) fn create(&self, things: &[&str], job_id: &str, document: &Value) {
        for thing in things {
            let now = self.faults.now();
            self.change(thing, |executions| executions.create(thing, job_id, document.clone(), now));
        }
    }

    pub(crate) fn cancel(&self, job_id: &str, force: bool) {
        let things = lock(&self.executions).things();
        let now = self.faults.now();
        for thing in things {
            self.change(&thing, |executions| executions.cancel(job_id, force, now));
        }
    }

    pub(crate) fn execution(&self, thing: &str, job_id: &str) -> Option<Execution> {
        lock(&self.executions).get(thing, job_id).cloned()
    }

    fn expire(&self) {
        let now = self.faults.now();
        let concerned = {
            let mut executions = lock(&self.executions);
            executions.expire(now)
        };
        for thing in concerned {
            self.notify_next(&thing);
            self.notify(&thing);
        }
    }

    /// Changes something of `thing` and notifies of what that changes.
    fn change<T>(&self, thing: &str, change: impl FnOnce(&mut Executions) -> T) -> T {
        let (result, list_changed, next_changed) = {
            let mut executions = lock(&self.executions);
            let pending = |executions: &Executions| {
                executions.pending(thing).iter().map(|one| one.job_id.clone()).collect::<Vec<_>>()
            };
            let before = pending(&executions);
            let result = change(&mut executions);
            let after = pending(&executions);
            (result, before != after, before.first() != after.first())
        };
        if list_changed {
            self.notify(thing);
        }
        if next_changed {
            self.notify_next(thing);
        }
        result
    }

    fn notify(&self, thing: &str) {
        let mut jobs = Map::new();
        for execution in lock(&self.executions).pending(thing) {
            let list = jobs.entry(execution.status.as_str()).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(wire::summary(execution));
            }
        }
        self.publish(thing, "notify", Map::from_iter([("jobs".to_owned(), Value::Object(jobs))]), None);
    }

    fn notify_next(&self, thing: &str) {
        let answer = Request::default().described(lock(&self.executions).next(thing));
        self.publish(thing, "notify-next", answer, None);
    }

    fn publish(&self, thing: &str, what: &str, answer: Map<String, Value>, token: Option<&str>) {
        let payload = wire::closed(answer, token, self.faults.now());
        if let Some(outgoing) = lock(&self.outgoing).as_ref() {
            // Full or gone: at most once, as everything that a thing must ask for again anyway.
            let _ = outgoing.try_send((format!("$aws/things/{thing}/jobs/{what}"), payload));
        }
    }

    fn answer(&self, thing: &str, what: &str, payload: &[u8]) {
        let request = Request::parse(payload);
        let token = request.as_ref().ok().and_then(|request| request.client_token.clone());
        let answer = request.and_then(|request| self.carry_out(thing, what, &request));
        let (outcome, answer) = match answer {
            Ok(answer) => ("accepted", answer),
            Err(rejection) => ("rejected", wire::rejected(&rejection)),
        };
        self.publish(thing, &format!("{what}/{outcome}"), answer, token.as_deref());
    }

    fn carry_out(&self, thing: &str, what: &str, request: &Request) -> Result<Map<String, Value>, Rejection> {
        self.expire();
        let now = self.faults.now();
        match what.split('/').collect::<Vec<_>>()[..] {
            ["get"] => Ok(self.listed(thing)),
            ["start-next"] => {
                let change = request.change()?;
                let started = self.change(thing, |executions| executions.start_next(thing, change, now))?;
                Ok(request.described(started.as_ref()))
            }
            ["$next", "get"] => Ok(request.described(lock(&self.executions).next(thing))),
            [job_id, "get"] => {
                let executions = lock(&self.executions);
                let missing = || Rejection::new("ResourceNotFound", format!("no execution of job {job_id}"));
                Ok(request.described(Some(executions.get(thing, job_id).ok_or_else(missing)?)))
            }
            [job_id, "update"] => {
                let change: Change = request.change()?;
                let updated = self.change(thing, |executions| executions.update(thing, job_id, change, now))?;
                Ok(request.updated(&updated))
            }
            _ => Err(Rejection::new("InvalidTopic", format!("{what} is nothing of Jobs"))),
        }
    }

    fn listed(&self, thing: &str) -> Map<String, Value> {
        let executions = lock(&self.executions);
        let pending = executions.pending(thing);
        let (running, queued): (Vec<_>, Vec<_>) = pending.into_iter().partition(|one| one.started_at.is_some());
        let list = |of: Vec<&Execution>| Value::Array(of.into_iter().map(wire::summary).collect());
        Map::from_iter([("inProgressJobs".to_owned(), list(running)), ("queuedJobs".to_owned(), list(queued))])
    }
}

/// The thing and the request of a topic of Jobs, which only its thing may publish to.
fn request_of(topic: &str) -> Option<(&str, &str)> {
    let (thing, what) = topic.strip_prefix("$aws/things/")?.split_once("/jobs/")?;
    let answers = ["accepted", "rejected", "notify", "notify-next"];
    (!answers.iter().any(|answer| what.ends_with(answer))).then_some((thing, what))
}

impl BrokerEventHandler for JobsService {
    fn on_client_publish<'a>(
        &'a self,
        event: ClientPublishEvent,
    ) -> Pin<Box<dyn Future<Output = PublishAction> + Send + 'a>> {
        let action = match request_of(&event.topic) {
            Some((thing, what)) if !self.faults.jobs_are_silent() => {
                self.answer(thing, what, &event.payload);
                PublishAction::Handled
            }
            Some(_) => PublishAction::Handled,
            None => PublishAction::Continue,
        };
        Box::pin(std::future::ready(action))
    }
}
