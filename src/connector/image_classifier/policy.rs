//! The parameters that say which frames become messages and what they tell. Each that would do nothing beside the others is
//! refused, so that nobody waits for its effect.

use std::collections::BTreeSet;

use crate::classifier::policy::{LabelRule, PolicySettings, Smoothing, When};
use crate::document::{Field, Object};
use crate::group::{Group, Party};
use crate::name::CameraName;
use crate::topic::Topic;
use crate::units::{FramesPerSecond, Probability, Seconds};

use super::{ImageClassifier, TOP_K, TOP_K_LIMIT};

/// What stands between two labels: no label that anybody uses has one.
const BETWEEN_LABELS: char = ';';
/// More labels in a list than any model of a device tells apart.
const MOST_LABELS: usize = 1000;
/// `SmoothingFrames` by default.
const SMOOTHING_FRAMES: u64 = 5;
/// The most frames that are smoothed over: half a minute at 30 a second.
const MOST_SMOOTHING_FRAMES: u64 = 1000;

/// What `Publish` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Publish {
    EveryFrame,
    OnChange,
    OnInterval,
    OnTrigger,
}

impl Publish {
    const NAMES: [(&'static str, Self); 4] = [
        ("every-frame", Self::EveryFrame),
        ("on-change", Self::OnChange),
        ("on-interval", Self::OnInterval),
        ("on-trigger", Self::OnTrigger),
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    None,
    Majority,
    Exponential,
}

impl Method {
    const NAMES: [(&'static str, Self); 3] =
        [("none", Self::None), ("majority", Self::Majority), ("exponential", Self::Exponential)];
}

/// Reads them all; `None` if one is refused.
pub(super) fn read(parameters: &mut Object<'_>) -> Option<PolicySettings> {
    let top_k = parameters.field("TopK").integer(1..=TOP_K_LIMIT, "classes").unwrap_or(TOP_K);
    let when = read_when(parameters);
    let labels = read_labels(parameters);
    let smoothing = read_smoothing(parameters);
    let hysteresis = or_zero(&parameters.field("Hysteresis"));
    let publish_threshold = or_zero(&parameters.field("PublishThreshold"));
    let heartbeat_field = parameters.field("HeartbeatSeconds");
    let heartbeat = optional::<Seconds>(&heartbeat_field);
    let rate = optional::<FramesPerSecond>(&parameters.field("MaxMessagesPerSecond"));
    let (heartbeat, least_gap) = (heartbeat?.map(Seconds::get), rate?.map(FramesPerSecond::interval));
    if let (Some(heartbeat), Some(gap)) = (heartbeat, least_gap)
        && heartbeat < gap
    {
        let rule = "is shorter than the time between two messages that MaxMessagesPerSecond leaves";
        heartbeat_field.refuse(rule, "write a longer one, or allow more messages");
        return None;
    }
    Some(PolicySettings {
        when: when?,
        top_k: usize::try_from(top_k).ok()?,
        labels: labels?,
        smoothing: smoothing?,
        hysteresis: hysteresis?,
        publish_threshold: publish_threshold?,
        heartbeat,
        least_gap,
    })
}

fn read_when(parameters: &mut Object<'_>) -> Option<When> {
    let publish = parameters.field("Publish");
    let interval = parameters.field("PublishIntervalSeconds");
    let publish = if publish.is_present() { publish.choice(&Publish::NAMES)? } else { Publish::EveryFrame };
    if publish == Publish::OnInterval {
        let interval = interval.required("write how many seconds lie between two messages").parsed::<Seconds>();
        return interval.map(|interval| When::OnInterval(interval.get()));
    }
    if interval.is_present() {
        interval.refuse("is for Publish on-interval, and Publish says otherwise", "take it out, or write on-interval");
        return None;
    }
    Some(match publish {
        Publish::OnChange => When::OnChange,
        Publish::OnTrigger => When::OnTrigger,
        Publish::EveryFrame | Publish::OnInterval => When::EveryFrame,
    })
}

fn read_labels(parameters: &mut Object<'_>) -> Option<LabelRule> {
    let allow = read_list(&parameters.field("AllowLabels"));
    let deny_field = parameters.field("DenyLabels");
    let deny = read_list(&deny_field);
    let rule = LabelRule { allow: allow?, deny: deny? };
    if let Some(both) = rule.allow.intersection(&rule.deny).next() {
        deny_field.refuse(format!("denies {both:?}, which AllowLabels allows"), "name each label in one list");
        return None;
    }
    Some(rule)
}

/// Labels with semicolons between them; blanks around them do not count.
fn read_list(field: &Field<'_>) -> Option<BTreeSet<String>> {
    if !field.is_present() {
        return Some(BTreeSet::new());
    }
    let text = field.text()?;
    let labels: BTreeSet<String> = text.split(BETWEEN_LABELS).map(|label| label.trim().to_owned()).collect();
    if labels.contains("") {
        field.refuse("has an empty label", "write labels as the model's label file does, with ; between them");
        return None;
    }
    if labels.len() > MOST_LABELS {
        field.refuse(format!("has {} labels, and at most {MOST_LABELS} are read", labels.len()), "name fewer");
        return None;
    }
    Some(labels)
}

fn read_smoothing(parameters: &mut Object<'_>) -> Option<Smoothing> {
    let (method, frames) = (parameters.field("Smoothing"), parameters.field("SmoothingFrames"));
    let method = if method.is_present() { method.choice(&Method::NAMES)? } else { Method::None };
    if method == Method::None {
        if frames.is_present() {
            frames.refuse("is for Smoothing, of which there is none", "take it out, or write majority or exponential");
            return None;
        }
        return Some(Smoothing::None);
    }
    let frames =
        if frames.is_present() { frames.integer(2..=MOST_SMOOTHING_FRAMES, "frames")? } else { SMOOTHING_FRAMES };
    let frames = usize::try_from(frames).ok()?;
    Some(if method == Method::Majority { Smoothing::Majority(frames) } else { Smoothing::Exponential(frames) })
}

/// The topic of requests: the one that is said, or with `on-trigger` one that carries the names of the thing and the
/// camera (the guide keeps requests apart by a level `trigger`, A-25); `None` if it is refused, or cannot be known.
pub(super) fn read_trigger_topic(
    field: &Field<'_>,
    when: Option<When>,
    camera: Option<&CameraName>,
    group: &Group,
    predictions: Option<&Topic>,
) -> Option<Option<Topic>> {
    if !field.is_present() {
        if when? != When::OnTrigger {
            return Some(None);
        }
        let camera = camera?;
        let thing = group.core.as_ref()?.thing_arn.thing();
        return format!("margay/{thing}/{camera}/trigger").parse().ok().map(Some);
    }
    let topic = super::read_own_topic(field)?;
    if predictions == Some(&topic) {
        field.refuse("is the Topic of the predictions too: each would ask for the next", "write another topic");
        return None;
    }
    Some(Some(topic))
}

/// Requests and messages that no subscription brings, or that mean nothing here: whoever forgets one waits in vain.
pub(super) fn warn_about_requests(classifier: &ImageClassifier, group: &Group, field: &Field<'_>) {
    let ourselves = Party::Connector(classifier.arn.clone());
    let to_us: Vec<_> = group.subscriptions.iter().filter(|one| one.target == ourselves).collect();
    let Some(topic) = &classifier.trigger_topic else {
        if !to_us.is_empty() {
            let rule = "is not said, and a subscription has the connector as its target: its messages are missed";
            field.warn(rule, "write the topic on which a message asks for a prediction, or take the subscription out");
        }
        return;
    };
    if !to_us.iter().any(|one| one.subject.matches(topic)) {
        let rule = format!("no subscription brings requests on {topic} to the connector");
        field.warn(rule, "add one with this ConnectorArn as Target, and cloud or whoever asks as Source");
    }
    for echo in to_us.iter().filter(|one| one.source == Party::Cloud && one.subject.matches(&classifier.topic)) {
        let rule =
            format!("subscription {} brings the predictions on {} back from the cloud", echo.id, classifier.topic);
        field.warn(rule, "write a Subject that selects the trigger topic only");
    }
}

fn or_zero(field: &Field<'_>) -> Option<f32> {
    optional::<Probability>(field).map(|read| read.map_or(0.0, Probability::get))
}

/// `Some(None)` where the field is absent, `None` where it is refused.
fn optional<T>(field: &Field<'_>) -> Option<Option<T>>
where
    T: std::str::FromStr,
    T::Err: std::error::Error,
{
    if field.is_present() { field.parsed().map(Some) } else { Some(None) }
}
