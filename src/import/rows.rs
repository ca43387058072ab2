//! The report's rows about the group's own entities.

use super::candidate::{self, Candidate};
use super::report::Finding;
use super::survey::Survey;
use crate::connector::{image_classifier, ml_feedback};
use crate::group::{Connector, Function, IsolationMode, LogTarget, Logger, Party, ResourceData, Storage, Subscription};

/// Adds a row for every function, connector and subscription, and one for each kind of what else there is.
pub(super) fn group(survey: &Survey, chosen: Option<&Candidate>, findings: &mut Vec<Finding>) {
    let group = &survey.group;
    findings.extend(group.functions.iter().map(|function| of_function(survey, chosen, function)));
    findings.extend(group.connectors.iter().map(of_connector));
    findings.extend(group.subscriptions.iter().map(|subscription| of_subscription(survey, subscription, chosen)));
    findings.push(of_spooler(survey));
    let models = group.resources.iter().filter(|resource| resource.model().is_some()).count();
    let secrets = group.resources.iter().filter(|resource| matches!(resource.data, ResourceData::Secret(_))).count();
    let local = group.resources.len() - models - secrets;
    if local > 0 {
        let says = format!("{local} kept; of them the classifier uses the one that its CameraResourceId names");
        findings.push(Finding::works("local resources", says));
    }
    if secrets > 0 {
        let says = format!("{secrets} kept in the document without effect: this version has no secrets manager");
        findings.push(Finding::will_not("secrets", says));
    }
    if !group.devices.is_empty() {
        let says = format!("{} kept without effect: this version has no local MQTT server", group.devices.len());
        findings.push(Finding::will_not("devices", says));
    }
    if survey.document.pointer("/LoggerDefinitionVersion/Loggers").is_some() {
        let holds = |logger: &&Logger| matches!(logger.target, LogTarget::FileSystem(_));
        let (all, held) = (group.loggers.len(), group.loggers.iter().filter(holds).count());
        if held > 0 {
            findings.push(Finding::works("loggers", format!("{held} kept: level and space hold")));
        }
        if held < all {
            let says = format!("{} kept without effect: nothing goes to CloudWatch", all - held);
            findings.push(Finding::will_not("loggers", says));
        }
    }
}

fn of_function(survey: &Survey, chosen: Option<&Candidate>, function: &Function) -> Finding {
    let life = match (function.pinned, function.isolation) {
        (true, IsolationMode::GreengrassContainer) => "long-lived, in a container",
        (true, IsolationMode::NoContainer) => "long-lived, without a container",
        (false, IsolationMode::GreengrassContainer) => "on demand, in a container",
        (false, IsolationMode::NoContainer) => "on demand, without a container",
    };
    let subject = format!("function {}:{}", function.arn.name(), function.arn.qualifier());
    match code_of(survey, function) {
        Some(code) if stands_in(chosen, function) => {
            let says = format!("{life}: the classifier takes its place; its code in {code} stays there");
            Finding::will_not(subject, says)
        }
        Some(code) => {
            let says = format!("{life}: runs once a copy of {code} lies in ggc/deployment/lambda");
            Finding::decision(subject, says)
        }
        None => Finding::will_not(subject, format!("{life}: no code of it lies on the disk")),
    }
}

/// The folder of a function's code on V1's disk.
fn code_of<'s>(survey: &'s Survey, function: &Function) -> Option<&'s str> {
    let named = format!(":function:{}:", function.arn.name());
    survey.code.iter().find(|folder| folder.contains(&named)).map(AsRef::as_ref)
}

/// Whether the classifier takes the function's place.
fn stands_in(chosen: Option<&Candidate>, function: &Function) -> bool {
    chosen.is_some_and(|chosen| chosen.who == format!("function {}:{}", function.arn.name(), function.arn.qualifier()))
}

/// Whether a party of a subscription is the cloud, or a function that can run once its code is in place.
fn can_run(survey: &Survey, chosen: Option<&Candidate>, party: &Party) -> bool {
    match party {
        Party::Cloud => true,
        Party::Function(arn) => survey.group.functions.iter().any(|function| {
            let here = code_of(survey, function).is_some() && !stands_in(chosen, function);
            function.arn == *arn && here
        }),
        _ => false,
    }
}

fn of_connector(connector: &Connector) -> Finding {
    let name = connector.arn.name();
    let subject = format!("connector {name}");
    if name == image_classifier::NAME {
        return Finding::works(subject, "is this program's own, and stays as it is");
    }
    if candidate::is_v1_classifier(connector) {
        let says = "serves functions by the machine learning SDK, once its model is a package of this program";
        return Finding::works(subject, says);
    }
    if name == ml_feedback::NAME {
        return Finding::works(subject, "uploads samples of functions, as V1's did");
    }
    let says = if name.starts_with("ObjectDetection") {
        "kept without effect: this version classifies pictures, and detects no objects in them"
    } else {
        "kept without effect: this version has no such connector"
    };
    Finding::will_not(subject, says)
}

fn of_subscription(survey: &Survey, subscription: &Subscription, chosen: Option<&Candidate>) -> Finding {
    let Subscription { id, source, subject, target } = subscription;
    let row = format!("subscription {id}");
    let way = format!("{} from {source} to {target}", subject.as_str());
    let stands_in = |source: &Party| match source {
        Party::Function(arn) => {
            chosen.is_some_and(|chosen| chosen.who == format!("function {}:{}", arn.name(), arn.qualifier()))
        }
        _ => false,
    };
    let topic = chosen.and_then(|chosen| chosen.topic.as_ref());
    match (source, target) {
        (Party::Connector(arn), Party::Cloud) if arn.name() == image_classifier::NAME => Finding::works(row, way),
        (_, Party::Cloud) if topic.is_some_and(|topic| subject.as_str() == topic.as_str()) => {
            Finding::works(row, format!("{way}: the classifier publishes there"))
        }
        (source, Party::Cloud) if stands_in(source) => {
            Finding::will_not(row, format!("{way}: the classifier publishes on one topic, which is another"))
        }
        _ if can_run(survey, chosen, source) && can_run(survey, chosen, target) => {
            Finding::decision(row, format!("{way}: works once the function runs"))
        }
        (Party::Cloud, _) => Finding::will_not(row, format!("{way}: its target does not run in this version")),
        (Party::Function(_) | Party::Connector(_), _) => {
            Finding::will_not(row, format!("{way}: its source does not run in this version"))
        }
        _ => Finding::will_not(row, format!("{way}: this version has neither local devices nor shadows")),
    }
}

fn of_spooler(survey: &Survey) -> Finding {
    let spooler = &survey.group.spooler;
    let bytes = spooler.max_size.bytes();
    if spooler.storage == Storage::FileSystem {
        let says = format!("{bytes} bytes; margay check says what of its settings this version does not have");
        return Finding::decision("spooler", says);
    }
    Finding::works("spooler", format!("{bytes} bytes in memory"))
}
