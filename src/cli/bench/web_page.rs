//! The measurement as a web page: one file with its styles and plots, nothing from elsewhere.

use super::plot::{COLOURS, Plot, bars};
use super::report::{Report, Run};
use super::table::{mebibytes, sentence, warm_up};
use crate::classifier::one_shot::bench::STAGES;

/// The parts of a frame, without the whole.
const PARTS: [&str; 4] = ["decode", "resize", "inference", "postprocess"];

/// Points of a line at most: more are not seen.
const MOST_POINTS: usize = 400;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2em auto;padding:0 1em;color:#1b1f23;\
background:#fff}h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse;width:100%}\
th,td{padding:.25em .6em;text-align:right;border-bottom:1px solid #d8dee4}th:first-child,td:first-child,.stages td:nth-child(2),.stages th:nth-child(2){text-align:left}table{margin-bottom:1.5em}\
svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#57606a}.grid{stroke:#e6eaee}\
.key span{display:inline-block;margin-right:1.2em}.key i{display:inline-block;width:.8em;height:.8em;margin-right:.4em}\
.warning{background:#fff8c5;padding:.5em 1em}p.note{color:#57606a}";

/// The page.
pub(super) fn of(report: &Report) -> String {
    let title = format!("{} {} on {}", report.model, report.version, report.processor);
    let sections = [table(report), distribution(report), stages(report), over_time(report), comparison(report)];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>\n\
         <p>Margay {margay}, {build} build; pictures: {pictures}. Times in milliseconds; percentiles by nearest rank.</p>\n\
         {warnings}{sections}</body></html>\n",
        title = escaped(&title),
        margay = escaped(&report.margay),
        build = escaped(&report.build),
        pictures = escaped(&report.pictures),
        warnings = warnings(report),
        sections = sections.concat(),
    )
}

fn warnings(report: &Report) -> String {
    let debug = (report.build == "debug").then(|| "A debug build: its figures say nothing about a device.".to_owned());
    let unstable = report.runs.iter().filter(|run| !run.warm_up.stable);
    let unstable =
        unstable.map(|run| format!("{}: the warm-up never became stable; the device was busy.", run.label()));
    let remarks = report.runs.iter().filter_map(|run| run.remark.clone());
    let all = debug.into_iter().chain(unstable).chain(remarks);
    all.map(|warning| format!("<p class=\"warning\">{}</p>\n", escaped(&warning))).collect()
}

fn table(report: &Report) -> String {
    let mut text = String::from(
        "<h2>Engines</h2><table class=\"stages\"><tr><th>engine</th><th>stage</th><th>min</th><th>p50</th><th>p90</th><th>p95</th>\
         <th>p99</th><th>p99.9</th><th>max</th></tr>\n",
    );
    for run in &report.runs {
        for stage in STAGES {
            let found = run.stage(stage);
            let label = if stage == STAGES[0] { escaped(&run.label()) } else { String::new() };
            let times = [found.min, found.p50, found.p90, found.p95, found.p99, found.p99_9, found.max];
            let cells: String = times.map(|time| format!("<td>{:.3}</td>", milliseconds(time))).concat();
            text.push_str(&format!("<tr><td>{label}</td><td>{stage}</td>{cells}</tr>\n"));
        }
    }
    text.push_str("</table><table><tr><th>engine</th><th>frames/s</th><th>cold start</th><th>RSS MiB</th><th>PSS MiB</th><th>warm-up</th></tr>\n");
    for run in &report.runs {
        let memory =
            |bytes: Option<u64>| bytes.map_or_else(|| "–".to_owned(), |bytes| format!("{:.1}", mebibytes(bytes)));
        text.push_str(&format!(
            "<tr><td>{}</td><td>{:.1}</td><td>{:.1}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            escaped(&run.label()),
            run.frames_per_second,
            milliseconds(run.cold_start_us),
            memory(run.rss_bytes),
            memory(run.pss_bytes),
            escaped(&warm_up(run)),
        ));
    }
    text + "</table>\n"
}

/// How many frames took no longer.
fn distribution(report: &Report) -> String {
    // The slowest frames would press all others into a corner; the table has them.
    let extent = report.runs.iter().map(|run| milliseconds(run.stage("total").p99)).fold(0.0, f64::max) * 1.1;
    let series: Vec<_> = report.runs.iter().map(cumulative).collect();
    let plot = Plot { extent: (extent, 100.0), axes: ("milliseconds for a frame", "frames that took no longer, %") };
    format!("<h2>Distribution of latency</h2>{}{}\n", key(report.runs.iter().map(Run::label)), plot.lines(&series))
}

fn cumulative(run: &Run) -> Vec<(f64, f64)> {
    let mut times = run.times("total").to_vec();
    times.sort_unstable();
    let count = times.len() as f64;
    let step = times.len().div_ceil(MOST_POINTS).max(1);
    let at = |(at, time): (usize, &u32)| (f64::from(*time) / 1e3, (at + 1) as f64 / count * 100.0);
    times.iter().enumerate().step_by(step).map(at).collect()
}

fn stages(report: &Report) -> String {
    let parts = |run: &Run| PARTS.map(|stage| milliseconds(run.stage(stage).p50)).to_vec();
    let rows: Vec<_> = report.runs.iter().map(|run| (escaped(&run.label()), parts(run))).collect();
    format!("<h2>Median by stage</h2>{}{}\n", key(PARTS.map(str::to_owned).into_iter()), bars(&rows, "ms"))
}

fn over_time(report: &Report) -> String {
    let frames = report.runs.iter().map(|run| run.frames).max().unwrap_or_default();
    let extent = report.runs.iter().map(|run| milliseconds(run.stage("total").p99_9)).fold(0.0, f64::max) * 1.05;
    let series: Vec<_> = report.runs.iter().map(in_order).collect();
    let plot = Plot { extent: (f64::from(frames), extent), axes: ("frame", "milliseconds") };
    format!("<h2>Over time</h2>{}{}\n", key(report.runs.iter().map(Run::label)), plot.dots(&series))
}

fn in_order(run: &Run) -> Vec<(f64, f64)> {
    let times = run.times("total");
    let step = f64::from(run.frames) / times.len().max(1) as f64;
    times.iter().enumerate().map(|(at, time)| (at as f64 * step, f64::from(*time) / 1e3)).collect()
}

fn comparison(report: &Report) -> String {
    if report.comparisons.is_empty() {
        return String::new();
    }
    let lines = report.comparisons.iter().map(|comparison| format!("<li>{}</li>", escaped(&sentence(comparison))));
    format!(
        "<h2>Against the earlier run</h2><ul>{}</ul><p class=\"note\">Ratio of medians with its 95 % interval, by a bootstrap \
         over blocks of neighbouring frames.</p>\n",
        lines.collect::<String>()
    )
}

fn key(labels: impl Iterator<Item = String>) -> String {
    let entries = labels
        .zip(COLOURS.iter().cycle())
        .map(|(label, colour)| format!("<span><i style=\"background:{colour}\"></i>{}</span>", escaped(&label)));
    format!("<p class=\"key\">{}</p>", entries.collect::<String>())
}

fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e3
}

/// Text as HTML: a model's name and a package's words come from outside.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{report, run};
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_takes_no_words_as_markup() {
        let mut document = report(vec![run("compiled", &[1000; 30]), run("tract", &[2000; 30])]);
        document.model = "<script>alert(1)</script>".into();
        document.runs[1].warm_up.stable = false;
        let page = of(&document);
        for foreign in ["<script", "src=", "href=", "url(", "@import", "http"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("&lt;script&gt;") && page.contains("never became stable"));
        assert_eq!(page.matches("<svg").count(), 3);
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    }

    #[test]
    fn a_distribution_rises_to_all_frames() {
        let times: Vec<u32> = (0..2000).rev().collect();
        let line = cumulative(&run("tract", &times));
        assert!(line.len() <= MOST_POINTS && line.is_sorted_by(|a, b| a.1 <= b.1 && a.0 <= b.0));
        assert!(line.last().unwrap().1 > 99.0);
    }
}
