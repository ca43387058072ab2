//! Topic filters as a trie over their levels: what selects a topic is found in as many steps as the topic has levels,
//! however many filters there are. It decides as [`TopicFilter::matches`] does, `$` topics included.

use std::collections::HashMap;
use std::str::Split;

use crate::topic::{Topic, TopicFilter};

/// Filters, each with the number that it was inserted with.
#[derive(Debug)]
pub(super) struct Trie {
    /// The first is the root: before the first level.
    nodes: Vec<Node>,
}

/// Where a filter stands after some of its levels.
#[derive(Debug, Default)]
struct Node {
    /// What follows by name.
    named: HashMap<Box<str>, usize>,
    /// What follows by `+`.
    any: Option<usize>,
    /// Filters that end here.
    ending: Vec<usize>,
    /// Filters that go on with `#`: they select whatever comes here.
    open: Vec<usize>,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Trie {
    /// Adds a filter under `number`.
    pub(super) fn insert(&mut self, filter: &TopicFilter, number: usize) {
        let mut at = 0;
        for level in filter.as_str().split('/') {
            if level == "#" {
                self.nodes[at].open.push(number);
                return;
            }
            at = self.child(at, level);
        }
        self.nodes[at].ending.push(number);
    }

    /// Appends the numbers of the filters that select `topic` to `found`, each once, in no order.
    pub(super) fn select(&self, topic: &Topic, found: &mut Vec<usize>) {
        self.walk(&self.nodes[0], topic.as_str().split('/'), !topic.is_reserved(), found);
    }

    /// `wildcards` is false at the first level of a reserved topic, which only its own name reaches (MQTT-4.7.2-1). A
    /// topic has at most 256 bytes: the recursion ends soon.
    fn walk(&self, node: &Node, mut rest: Split<'_, char>, wildcards: bool, found: &mut Vec<usize>) {
        if wildcards {
            // Also where the topic ended one level before: `sensor/#` selects `sensor`.
            found.extend(&node.open);
        }
        let Some(level) = rest.next() else {
            found.extend(&node.ending);
            return;
        };
        if let Some(next) = node.named.get(level) {
            self.walk(&self.nodes[*next], rest.clone(), true, found);
        }
        if wildcards && let Some(next) = node.any {
            self.walk(&self.nodes[next], rest, true, found);
        }
    }

    fn child(&mut self, at: usize, level: &str) -> usize {
        let next = self.nodes.len();
        let node = &mut self.nodes[at];
        let child = match level {
            "+" => *node.any.get_or_insert(next),
            name => match node.named.get(name) {
                Some(child) => *child,
                None => *node.named.entry(name.into()).or_insert(next),
            },
        };
        if child == next {
            self.nodes.push(Node::default());
        }
        child
    }
}
