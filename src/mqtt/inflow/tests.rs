//! What is asked for, from one exchange to the next.

use super::*;

fn filter(text: &str) -> TopicFilter {
    text.parse().unwrap()
}

fn inflow(filters: &[&str], at_least_once: bool) -> Inflow {
    Inflow { filters: filters.iter().map(|text| filter(text)).collect(), at_least_once, intake: Arc::new(|_| {}) }
}

fn requests(asked: &mut Asked) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(request) = asked.next() {
        said.push(match request {
            FilterRequest::Subscribe { filter, at_least_once } => format!("+{filter} {}", u8::from(at_least_once)),
            FilterRequest::Unsubscribe(filter) => format!("-{filter}"),
        });
    }
    said
}

#[test]
fn an_exchange_asks_for_what_is_new_then_gives_up_what_is_gone_and_leaves_the_rest() {
    let (inlet, mut asked) = (Inlet::default(), Asked::default());
    inlet.exchange(inflow(&["a/#", "b", "a/x"], false), 50);
    asked.follow(inlet.wanted(), ["jobs/+"].map(filter).into_iter());
    assert_eq!(requests(&mut asked), ["+a/# 0", "+b 0", "+jobs/+ 1"], "a/x is covered");
    inlet.exchange(inflow(&["b", "c"], false), 50);
    asked.follow(inlet.wanted(), ["jobs/+"].map(filter).into_iter());
    assert_eq!(requests(&mut asked), ["+c 0", "-a/#"]);
    assert_eq!(asked.version(), inlet.version());
    asked.follow(inlet.wanted(), ["jobs/+"].map(filter).into_iter());
    assert_eq!(requests(&mut asked), ["-a/#"], "until the broker has said that it is gone");
    inlet.forgotten(&filter("a/#"));
    asked.follow(inlet.wanted(), ["jobs/+"].map(filter).into_iter());
    assert!(requests(&mut asked).is_empty());
}

#[test]
fn another_quality_is_asked_for_anew_and_the_links_own_filters_keep_theirs() {
    let (inlet, mut asked) = (Inlet::default(), Asked::default());
    inlet.exchange(inflow(&["a", "jobs/+"], false), 50);
    asked.follow(inlet.wanted(), ["jobs/+"].map(filter).into_iter());
    assert_eq!(requests(&mut asked), ["+a 0", "+jobs/+ 1"]);
    inlet.exchange(inflow(&["a", "jobs/+"], true), 50);
    asked.follow(inlet.wanted(), ["jobs/+"].map(filter).into_iter());
    assert_eq!(requests(&mut asked), ["+a 1"]);
    assert_eq!(inlet.at_least_once(), Some(true));
}

#[test]
fn where_both_do_not_fit_a_connection_room_is_made_first() {
    let (inlet, mut asked) = (Inlet::default(), Asked::default());
    let named = |name: &str| (0..30).map(|number| format!("{name}/{number}")).collect::<Vec<_>>();
    let (old, new) = (named("old"), named("new"));
    inlet.exchange(inflow(&old.iter().map(String::as_str).collect::<Vec<_>>(), false), 50);
    asked.follow(inlet.wanted(), std::iter::empty());
    requests(&mut asked);
    inlet.exchange(inflow(&new.iter().map(String::as_str).collect::<Vec<_>>(), false), 50);
    asked.follow(inlet.wanted(), std::iter::empty());
    let said = requests(&mut asked);
    assert!(said[..30].iter().all(|one| one.starts_with('-')) && said[30..].iter().all(|one| one.starts_with('+')));
}

#[test]
fn what_a_connection_has_no_room_for_is_given_back() {
    let inlet = Inlet::default();
    assert_eq!(inlet.exchange(inflow(&["a", "b", "c"], false), 2), ["c"].map(filter));
    assert_eq!(inlet.wanted().filters.len(), 2);
}

#[test]
fn a_message_goes_to_the_intake_if_it_is_selected_or_nobody_elses() {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let (inlet, told) = (Inlet::default(), taken.clone());
    let message =
        |topic: &str| Received { topic: topic.to_owned(), payload: "x".into(), duplicate: false, retained: false };
    inlet.take_in(&message("a"), Some(&"a".parse().unwrap()), true);
    let intake: Intake = Arc::new(move |message: Received| told.lock().unwrap().push(message.topic));
    inlet.exchange(Inflow { filters: vec![filter("a")], at_least_once: false, intake }, 50);
    for (topic, otherwise_unwanted) in [("a", false), ("jobs/1", false), ("stale", true), ("a/\u{0}", true)] {
        inlet.take_in(&message(topic), topic.parse().ok().as_ref(), otherwise_unwanted);
    }
    assert_eq!(*taken.lock().unwrap(), ["a", "stale", "a/\u{0}"]);
}
