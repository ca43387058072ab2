//! Who may publish and subscribe to what, and what a role may read: the parts of IoT and IAM policies that decide
//! something here, without their document syntax.

/// The policy variable that stands for the name of the connected thing, written as in AWS IoT policies.
pub const THING_NAME: &str = "${iot:Connection.Thing.ThingName}";

/// The topic filters, in MQTT's syntax, within which a principal may act; [`THING_NAME`] in them is replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicPolicy {
    /// Topics that may be published to.
    pub publish: Vec<String>,
    /// Filters that may be subscribed to, and every narrower one.
    pub subscribe: Vec<String>,
}

impl TopicPolicy {
    pub(crate) fn allows_publish(&self, principal: &str, topic: &str) -> bool {
        !topic.contains(['+', '#']) && any_covers(&self.publish, principal, topic)
    }

    pub(crate) fn allows_subscribe(&self, principal: &str, filter: &str) -> bool {
        any_covers(&self.subscribe, principal, filter)
    }
}

fn any_covers(allowed: &[String], principal: &str, asked: &str) -> bool {
    allowed.iter().any(|filter| covers(&filter.replace(THING_NAME, principal), asked))
}

/// Whether everything that `asked` matches is matched by `allowed` too. A topic is a filter that matches itself.
/// A wildcard in the first level does not reach topics that start with `$` (MQTT 3.1.1, 4.7.2).
pub(crate) fn covers(allowed: &str, asked: &str) -> bool {
    if asked.starts_with('$') && allowed.starts_with(['+', '#']) {
        return false;
    }
    let mut asked_levels = asked.split('/');
    for level in allowed.split('/') {
        if level == "#" {
            return true;
        }
        match asked_levels.next() {
            Some("#") | None => return false,
            Some(asked_level) if level == "+" || level == asked_level => {}
            Some(_) => return false,
        }
    }
    asked_levels.next().is_none()
}

/// Whether a resource pattern of an IAM policy matches: `*` stands for any characters, `?` for one.
pub(crate) fn resource_matches(pattern: &str, resource: &str) -> bool {
    let (pattern, resource) = (pattern.as_bytes(), resource.as_bytes());
    let (mut p, mut r) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while r < resource.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, r));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == resource[r] => {
                p += 1;
                r += 1;
            }
            _ => match retry {
                Some((after_star, consumed)) => {
                    retry = Some((after_star, consumed + 1));
                    (p, r) = (after_star, consumed + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Topics and filters of few levels and few names, so that they often meet.
    fn levels(names: &'static str) -> impl Strategy<Value = String> {
        proptest::collection::vec(proptest::string::string_regex(names).unwrap(), 1..4)
            .prop_map(|levels| levels.join("/"))
    }

    fn filter() -> impl Strategy<Value = String> {
        (levels("a|b|\\+|"), any::<bool>()).prop_map(|(filter, open)| if open { filter + "/#" } else { filter })
    }

    proptest! {
        #[test]
        fn what_a_covered_filter_matches_the_covering_one_matches(wide in filter(), narrow in filter(), topic in levels("a|b|")) {
            if covers(&wide, &narrow) && covers(&narrow, &topic) {
                prop_assert!(covers(&wide, &topic), "{wide} covers {narrow}, which matches {topic}");
            }
            prop_assert!(covers(&wide, &wide));
        }

        #[test]
        fn a_star_stands_for_whatever_is_between(head in "[a-c/]{0,4}", middle in "[a-c/*?]{0,4}", tail in "[a-c/]{0,4}") {
            let (pattern, resource) = (format!("{head}*{tail}"), format!("{head}{middle}{tail}"));
            prop_assert!(resource_matches(&pattern, &resource));
        }
    }

    #[test]
    fn a_filter_covers_what_is_narrower_and_nothing_else() {
        for (allowed, asked, expected) in [
            ("margay/cat/#", "margay/cat/front/predictions", true),
            ("margay/cat/#", "margay/cat", true),
            ("margay/cat/#", "margay/dog/front", false),
            ("margay/cat/#", "margay/#", false),
            ("margay/cat/#", "margay/+/front", false),
            ("margay/+/predictions", "margay/cat/predictions", true),
            ("margay/+/predictions", "margay/+/predictions", true),
            ("margay/+/predictions", "margay/#", false),
            ("margay/cat", "margay/cat/front", false),
            ("#", "margay/#", true),
            ("#", "$aws/things/cat/shadow", false),
            ("+/things/#", "$aws/things/cat", false),
            ("$aws/things/cat/#", "$aws/things/cat/jobs/notify", true),
        ] {
            assert_eq!(covers(allowed, asked), expected, "{allowed} over {asked}");
        }
    }

    #[test]
    fn the_policy_variable_is_the_principals_name() {
        let policy = TopicPolicy { publish: vec![format!("margay/{THING_NAME}/#")], subscribe: vec![] };
        assert!(policy.allows_publish("cat", "margay/cat/x"));
        assert!(!policy.allows_publish("dog", "margay/cat/x"));
        assert!(!policy.allows_publish("cat", "margay/cat/#"), "a topic has no wildcards");
    }

    #[test]
    fn a_resource_pattern_matches_as_in_iam() {
        for (pattern, resource, expected) in [
            ("*", "models/a/b.zip", true),
            ("models/*", "models/a/b.zip", true),
            ("models/*", "other/a", false),
            ("models/*.zip", "models/a.zip.zip", true),
            ("models/*.zip", "models/a.tar", false),
            ("models/?.zip", "models/a.zip", true),
            ("models/?.zip", "models/.zip", false),
        ] {
            assert_eq!(resource_matches(pattern, resource), expected, "{pattern} on {resource}");
        }
    }
}
