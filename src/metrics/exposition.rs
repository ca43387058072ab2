//! The text exposition format 0.0.4: families of samples, each with its help and its type before it.

use std::fmt::Write;

use super::{Family, Histogram, Kind};

/// What the text is, for `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text in the making.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// Takes the samples of one family.
#[derive(Debug)]
pub struct Samples<'a> {
    family: &'a Family,
    text: &'a mut String,
}

impl Exposition {
    /// Begins a family: all its samples follow, and it does not come again.
    pub fn family<'a>(&'a mut self, family: &'a Family) -> Samples<'a> {
        let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = write!(self.text, "# HELP {} {help}\n# TYPE {} {}\n", family.name, family.name, family.kind.name());
        Samples { family, text: &mut self.text }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}

impl Samples<'_> {
    /// One sample of a gauge or counter; `labels` are the values of the family's labels.
    pub fn add(&mut self, labels: &[&str], value: f64) -> &mut Self {
        debug_assert_ne!(self.family.kind, Kind::Histogram, "{} is a histogram", self.family.name);
        self.sample("", labels, None, value);
        self
    }

    /// The same for a number of things.
    pub fn count(&mut self, labels: &[&str], value: u64) -> &mut Self {
        // Every number in the format is a double (and exact up to 2⁵³).
        #[allow(clippy::cast_precision_loss, reason = "the format has no other numbers")]
        self.add(labels, value as f64)
    }

    /// A histogram's samples.
    pub fn histogram(&mut self, labels: &[&str], histogram: &Histogram) -> &mut Self {
        debug_assert_eq!(self.family.kind, Kind::Histogram, "{} is none", self.family.name);
        let (buckets, all) = histogram.cumulated();
        #[allow(clippy::cast_precision_loss, reason = "the format has no other numbers")]
        let number = |count: u64| count as f64;
        for (bound, count) in buckets {
            self.sample("_bucket", labels, Some(&bound.to_string()), number(count));
        }
        self.sample("_bucket", labels, Some("+Inf"), number(all));
        self.sample("_sum", labels, None, histogram.sum());
        self.sample("_count", labels, None, number(all));
        self
    }

    fn sample(&mut self, suffix: &str, labels: &[&str], bound: Option<&str>, value: f64) {
        debug_assert_eq!(labels.len(), self.family.labels.len(), "{}", self.family.name);
        let named = self.family.labels.iter().copied().zip(labels.iter().copied());
        let mut separator = '{';
        self.text.push_str(self.family.name);
        self.text.push_str(suffix);
        for (name, value) in named.chain(bound.map(|bound| ("le", bound))) {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{separator}{name}=\"{value}\"");
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
        let _ = match value {
            f64::INFINITY => writeln!(self.text, " +Inf"),
            f64::NEG_INFINITY => writeln!(self.text, " -Inf"),
            value => writeln!(self.text, " {value}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const UP: Family = Family { name: "up", kind: Kind::Gauge, labels: &[], help: "Whether \\ it\nruns." };
    const SEEN: Family = Family { name: "seen_total", kind: Kind::Counter, labels: &["who", "what"], help: "Seen." };
    const TIME: Family = Family { name: "time_seconds", kind: Kind::Histogram, labels: &["stage"], help: "Time." };

    #[test]
    fn the_text_is_what_the_format_says() {
        let mut text = Exposition::default();
        text.family(&UP).add(&[], f64::INFINITY);
        text.family(&SEEN).count(&["a\\b", "say \"hi\"\n"], u64::MAX).count(&["é", ""], 0);
        let histogram = Histogram::new(&[0.0001, 0.5]);
        histogram.observe(Duration::from_millis(250));
        text.family(&TIME).histogram(&["decode"], &histogram);
        assert_eq!(
            text.finish(),
            "# HELP up Whether \\\\ it\\nruns.\n# TYPE up gauge\nup +Inf\n\
             # HELP seen_total Seen.\n# TYPE seen_total counter\n\
             seen_total{who=\"a\\\\b\",what=\"say \\\"hi\\\"\\n\"} 18446744073709552000\n\
             seen_total{who=\"é\",what=\"\"} 0\n\
             # HELP time_seconds Time.\n# TYPE time_seconds histogram\n\
             time_seconds_bucket{stage=\"decode\",le=\"0.0001\"} 0\n\
             time_seconds_bucket{stage=\"decode\",le=\"0.5\"} 1\n\
             time_seconds_bucket{stage=\"decode\",le=\"+Inf\"} 1\n\
             time_seconds_sum{stage=\"decode\"} 0.25\n\
             time_seconds_count{stage=\"decode\"} 1\n"
        );
    }
}
