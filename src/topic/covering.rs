//! Which filter selects everything that another one selects: what is subscribed to with the one need not be asked for
//! with the other.

use super::TopicFilter;

impl TopicFilter {
    /// Whether every topic that `other` selects is selected by this filter too.
    pub fn covers(&self, other: &Self) -> bool {
        // A wildcard in the first place reaches no topic of the server's own, `$…`, whatever the rest says.
        if other.as_str().starts_with('$') && self.as_str().starts_with(['+', '#']) {
            return false;
        }
        let mut wide = self.as_str().split('/');
        let mut narrow = other.as_str().split('/');
        loop {
            match (wide.next(), narrow.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(level)) if level != "#" => {}
                (Some(level), Some(same)) if level == same => {}
                _ => return false,
            }
        }
    }

    /// The filters that select what all of `filters` do, without those that another one covers; in the same order.
    pub fn uncovered(filters: &[Self]) -> Vec<Self> {
        let mut kept: Vec<Self> = Vec::with_capacity(filters.len());
        for filter in filters {
            if kept.iter().any(|wide| wide.covers(filter)) {
                continue;
            }
            kept.retain(|narrow| !filter.covers(narrow));
            kept.push(filter.clone());
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::topic::{Topic, TopicFilter};

    fn filter(text: &str) -> TopicFilter {
        text.parse().unwrap()
    }

    #[test]
    fn a_wider_filter_covers_a_narrower_one() {
        for (wide, narrow, covered) in [
            ("a/#", "a/b", true),
            ("a/#", "a", true),
            ("a/#", "a/+/c", true),
            ("a/+", "a/b", true),
            ("a/+", "a/#", false),
            ("a/b", "a/+", false),
            ("a/+/c", "a/b/+", false),
            ("#", "a/#", true),
            ("#", "$aws/things/x", false),
            ("+/+", "$aws/x", false),
            ("$aws/#", "$aws/x", true),
            ("a/b", "a/b", true),
            ("a", "a/#", false),
        ] {
            assert_eq!(filter(wide).covers(&filter(narrow)), covered, "{wide} over {narrow}");
        }
    }

    #[test]
    fn what_another_filter_covers_is_left_out_whatever_the_order() {
        let filters = ["a/b", "c", "a/#", "a/+", "c"].map(filter);
        assert_eq!(TopicFilter::uncovered(&filters), ["c", "a/#"].map(filter));
    }

    fn any_filter() -> impl Strategy<Value = TopicFilter> {
        let level = prop_oneof![3 => Just("a"), 2 => Just("b"), 1 => Just(""), 1 => Just("$a"), 3 => Just("+")];
        (proptest::collection::vec(level, 0..4), any::<bool>()).prop_filter_map("empty", |(mut levels, open)| {
            if open {
                levels.push("#");
            }
            levels.join("/").parse().ok()
        })
    }

    fn any_topic() -> impl Strategy<Value = Topic> {
        let level = prop_oneof![3 => Just("a"), 2 => Just("b"), 1 => Just(""), 1 => Just("$a")];
        proptest::collection::vec(level, 1..5).prop_filter_map("empty", |levels| levels.join("/").parse().ok())
    }

    proptest! {
        #[test]
        fn what_a_covered_filter_selects_is_selected_by_the_one_that_covers_it(
            wide in any_filter(), narrow in any_filter(), topic in any_topic()
        ) {
            prop_assert!(!wide.covers(&narrow) || !narrow.matches(&topic) || wide.matches(&topic));
        }

        #[test]
        fn filters_without_the_covered_ones_select_the_same(
            filters in proptest::collection::vec(any_filter(), 0..6), topic in any_topic()
        ) {
            let selected = |filters: &[TopicFilter]| filters.iter().any(|filter| filter.matches(&topic));
            prop_assert_eq!(selected(&TopicFilter::uncovered(&filters)), selected(&filters));
        }
    }
}
