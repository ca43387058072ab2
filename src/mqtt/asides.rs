//! Requests on which the broker closes: subscriptions and unspooled messages that a device's policy does not allow.
//!
//! AWS IoT Core may answer such a request by closing the connection. Sent again on every new one, it would keep
//! everything else from being delivered. So what was unanswered at three closes in a row is set aside for ten minutes
//! and then tried once; an answer clears it.
//!
//! Pure: it counts and decides; sending is the session's.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Closes in a row with a request unanswered, after which it is set aside.
const CLOSES: u32 = 3;

/// How long a request is set aside.
const TERM: Duration = Duration::from_secs(600);

/// What became of the requests so far, by topic or filter.
#[derive(Debug, Default)]
pub(super) struct Asides(HashMap<String, Standing>);

#[derive(Debug, Default)]
struct Standing {
    closes: u32,
    until: Option<Instant>,
}

impl Asides {
    /// Whether the request may be sent.
    pub(super) fn allow(&self, request: &str, now: Instant) -> bool {
        self.0.get(request).and_then(|standing| standing.until).is_none_or(|until| now >= until)
    }

    /// The broker answered the request, whatever it said.
    pub(super) fn answered(&mut self, request: &str) {
        self.0.remove(request);
    }

    /// The broker closed before it answered `requests`; gives those that are set aside by that.
    pub(super) fn closed(&mut self, requests: Vec<String>, now: Instant) -> Vec<String> {
        let mut aside = Vec::new();
        for request in requests {
            let standing = self.0.entry(request.clone()).or_default();
            standing.closes += 1;
            if standing.closes >= CLOSES {
                standing.until = Some(now + TERM);
                aside.push(request);
            }
        }
        aside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests() -> Vec<String> {
        vec!["a/#".to_owned(), "b".to_owned()]
    }

    #[test]
    fn what_stays_unanswered_three_times_is_set_aside_then_tried_once() {
        let (mut asides, now) = (Asides::default(), Instant::now());
        assert!(asides.closed(requests(), now).is_empty() && asides.closed(requests(), now).is_empty());
        asides.answered("b");
        assert_eq!(asides.closed(requests(), now), ["a/#"]);
        assert!(!asides.allow("a/#", now) && asides.allow("b", now));
        let later = now + TERM;
        assert!(asides.allow("a/#", later));
        assert_eq!(asides.closed(vec!["a/#".to_owned()], later), ["a/#"]);
        assert!(!asides.allow("a/#", later + TERM / 2));
        asides.answered("a/#");
        assert!(asides.allow("a/#", later));
    }
}
