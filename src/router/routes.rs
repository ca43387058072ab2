//! The subscriptions of one deployed group, made ready for matching: a trie for each source.

use std::collections::HashMap;
use std::sync::Arc;

use super::counters::RouteCounters;
use super::endpoint::Endpoint;
use super::trie::Trie;
use crate::metrics::Counter;
use crate::topic::{Topic, TopicFilter};

/// One subscription of the group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// The subscription's id in the group document.
    pub id: String,
    /// Where messages come from.
    pub source: Endpoint,
    /// Where they go.
    pub target: Endpoint,
    /// Which of them (the subscription's `Subject`).
    pub filter: TopicFilter,
}

/// What went through one subscription.
#[derive(Debug, Default)]
struct Traffic {
    messages: Counter,
    bytes: Counter,
    missed: Counter,
}

#[derive(Debug)]
struct Entry {
    route: Route,
    /// The target's place in `targets`.
    target: usize,
    traffic: Arc<Traffic>,
}

/// All subscriptions. They are exchanged as a whole.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// In the order of the group document.
    entries: Vec<Entry>,
    targets: Vec<Endpoint>,
    by_source: HashMap<Endpoint, Trie>,
}

/// The subscriptions that select one message, as places in the group document, in its order.
#[derive(Debug)]
pub(super) struct Selected(Vec<usize>);

impl Routes {
    /// Subscriptions that `before` had as well, id and all, go on counting where they were.
    pub(super) fn new(routes: impl IntoIterator<Item = Route>, before: &Self) -> Self {
        let known: HashMap<&Route, &Arc<Traffic>> =
            before.entries.iter().map(|entry| (&entry.route, &entry.traffic)).collect();
        let mut places: HashMap<Endpoint, usize> = HashMap::new();
        let mut made = Self::default();
        for (number, route) in routes.into_iter().enumerate() {
            let target = *places.entry(route.target.clone()).or_insert_with(|| {
                made.targets.push(route.target.clone());
                made.targets.len() - 1
            });
            made.by_source.entry(route.source.clone()).or_default().insert(&route.filter, number);
            let traffic = known.get(&route).map(|traffic| (*traffic).clone()).unwrap_or_default();
            made.entries.push(Entry { route, target, traffic });
        }
        made
    }

    /// The subscriptions that select a message of `source` on `topic`.
    pub(super) fn select(&self, source: &Endpoint, topic: &Topic) -> Selected {
        let mut found = Vec::new();
        if let Some(trie) = self.by_source.get(source) {
            trie.select(topic, &mut found);
            found.sort_unstable();
        }
        Selected(found)
    }

    /// Their targets: each once, in the order of the group document.
    pub(super) fn targets(&self, selected: &Selected) -> Vec<Endpoint> {
        let mut places: Vec<(usize, usize)> =
            selected.0.iter().map(|number| (self.entries[*number].target, *number)).collect();
        places.sort_unstable();
        places.dedup_by_key(|(target, _)| *target);
        places.sort_unstable_by_key(|(_, number)| *number);
        places.into_iter().map(|(target, _)| self.targets[target].clone()).collect()
    }

    /// Counts a message of `bytes` for each of `selected`, and as missed for those whose target is in `missed`.
    pub(super) fn count(&self, selected: &Selected, bytes: usize, missed: &[Endpoint]) {
        for number in &selected.0 {
            let Entry { route, traffic, .. } = &self.entries[*number];
            traffic.messages.count();
            traffic.bytes.add(bytes as u64);
            traffic.missed.add(u64::from(missed.contains(&route.target)));
        }
    }

    /// Each subscription, in the order of the group document.
    pub(super) fn counters(&self) -> Vec<RouteCounters> {
        let read = |Entry { route, traffic, .. }: &Entry| RouteCounters {
            route: route.clone(),
            messages: traffic.messages.get(),
            bytes: traffic.bytes.get(),
            missed: traffic.missed.get(),
        };
        self.entries.iter().map(read).collect()
    }

    /// The subjects of the subscriptions of `source`, each once, in the order of the group document.
    pub(super) fn filters_from(&self, source: &Endpoint) -> Vec<TopicFilter> {
        let mut filters: Vec<TopicFilter> = Vec::new();
        for Entry { route, .. } in self.entries.iter().filter(|entry| entry.route.source == *source) {
            if !filters.contains(&route.filter) {
                filters.push(route.filter.clone());
            }
        }
        filters
    }
}

impl Selected {
    /// Whether nothing selects the message.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
