//! `margay import`: a V1 deployment taken over from the device's disk, or a group from its exported definitions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;

use serde_json::json;

use super::exit::{Code, Failed, OrFail};
use super::output;
use crate::import::{self, Finding, Obstacle, Obstacles, Order, Verdict};
use crate::name::ResourceId;

/// Width of a line of the table, in characters.
const WIDTH: usize = 110;
/// Where the text of the table's rows begins.
const INDENT: usize = 10;

/// Take over an AWS IoT Greengrass V1 deployment: what works, what needs a decision, what will not.
///
/// ROOT is read and never written. A configuration, a group document, packages and a store with them go into a folder of
/// their own, from which `margay run` starts without S3. Certificates and keys stay where they are.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  margay import /greengrass --plan\n  margay import /greengrass --additions fleet.json --output /srv/margay\n  margay import /greengrass --model signs=signs.tar.gz --output /srv/margay\n  margay import --definitions exported/ --output joined\n\ndocs/migrating-from-v1.md goes through it step by step."
)]
pub(super) struct Arguments {
    /// V1's greengrass-root, such as /greengrass
    #[arg(required_unless_present = "definitions")]
    root: Option<PathBuf>,
    /// A folder of JSON files as `aws greengrass get-…-definition-version` printed them, in place of the group on the disk
    #[arg(long, value_name = "DIR")]
    definitions: Option<PathBuf>,
    /// The folder to write, which must not exist
    #[arg(long, short, value_name = "DIR", default_value = "margay-import")]
    output: PathBuf,
    /// A JSON file with what is to stand under `margay` in config.json: credentials, s3, …; the same for a whole fleet
    #[arg(long, value_name = "FILE")]
    additions: Option<PathBuf>,
    /// A package, or a folder of V1's, that belongs to this machine learning resource; may be repeated
    #[arg(long = "model", value_name = "RESOURCE=PATH", value_parser = parse_model)]
    models: Vec<(ResourceId, PathBuf)>,
    /// The bucket that packages will be pushed to, if not the one that V1 used
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
    /// Show what would be done, and write nothing
    #[arg(long)]
    plan: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let order = arguments.order();
    let output = match arguments.plan {
        true => std::path::absolute(&arguments.output).or_fail(Code::Failure)?,
        false => import::output_of(&order, &arguments.output).or_fail(Code::Failure)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_fail(Code::Failure)?;
    let survey = runtime.block_on(import::survey(&order)).map_err(|obstacles| arguments.refused(obstacles))?;
    let plan = import::plan(&survey, &output).map_err(|obstacles| arguments.refused(obstacles))?;
    if !arguments.plan {
        let report = format!("{}\n", table(&plan.findings, false));
        import::write(&plan, &output, &report).or_fail(Code::Failure)?;
    }
    if arguments.json {
        let document = json!({ "output": output, "written": !arguments.plan, "findings": plan.findings });
        return output::json(&document).or_fail(Code::Failure);
    }
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    output::line(&table(&plan.findings, colours)).or_fail(Code::Failure)?;
    let next = if arguments.plan {
        format!("\nnothing was written; without --plan it goes to {}", output.display())
    } else {
        let config = output.join("config.json");
        format!(
            "\nwritten to {}, with this report in {}\nnext: margay check --config {}",
            output.display(),
            import::REPORT_FILE,
            config.display()
        )
    };
    output::line(&next).or_fail(Code::Failure)
}

impl Arguments {
    fn order(&self) -> Order {
        Order {
            root: self.root.clone(),
            definitions: self.definitions.clone(),
            additions: self.additions.clone(),
            models: self.models.iter().cloned().collect::<BTreeMap<_, _>>(),
            bucket: self.bucket.clone(),
        }
    }

    /// The failure; the files of the identity have a code of their own.
    fn refused(&self, obstacles: Obstacles) -> Failed {
        if self.json {
            let listed: Vec<String> = obstacles.0.iter().map(Obstacle::explained).collect();
            // Nobody can be told on a closed standard output; standard error says it again.
            let _ = output::json(&json!({ "written": false, "obstacles": listed }));
        }
        let is_identity = |obstacle: &Obstacle| matches!(obstacle, Obstacle::Identity(_));
        let code = if obstacles.0.iter().all(is_identity) { Code::Identity } else { Code::Configuration };
        Failed::new(code, obstacles)
    }
}

fn parse_model(text: &str) -> Result<(ResourceId, PathBuf), String> {
    let (resource, path) = text.split_once('=').ok_or("write the Id of the resource, = and the path")?;
    let resource = resource.parse().map_err(|error: crate::name::NameError| error.to_string())?;
    Ok((resource, path.into()))
}

/// The findings, a row each: verdict, subject, what is said, and what to run or to edit.
fn table(findings: &[Finding], colours: bool) -> String {
    let mut table = String::new();
    for finding in findings {
        let word = format!("{:<INDENT$}", finding.verdict.as_str());
        let word = if colours { format!("{}{word}\x1b[0m", colour(finding.verdict)) } else { word };
        let _ = writeln!(table, "{word}{}", wrapped(&format!("{}: {}", finding.subject, finding.says)));
        if let Some(command) = &finding.command {
            let _ = writeln!(table, "{:INDENT$}$ {}", "", shown(command));
        }
        for line in finding
            .snippet
            .iter()
            .flat_map(|snippet| format!("{snippet:#}").lines().map(str::to_owned).collect::<Vec<_>>())
        {
            let _ = writeln!(table, "{:INDENT$}{line}", "");
        }
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (works, decisions, will_not) = (count(Verdict::Works), count(Verdict::Decision), count(Verdict::WillNot));
    let _ = write!(table, "{works} work, {decisions} to decide, {will_not} will not");
    table
}

fn colour(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Works => "\x1b[32m",
        Verdict::Decision => "\x1b[33m",
        Verdict::WillNot => "\x1b[31m",
    }
}

/// `text` without control characters, which names that others chose may hold.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// `text` in lines of at most [`WIDTH`] characters, where its words allow, the later ones indented.
fn wrapped(text: &str) -> String {
    let text = shown(text);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let full = lines
            .last()
            .is_some_and(|line| !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH - INDENT);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join(&format!("\n{:INDENT$}", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_wraps_escapes_and_colours_only_where_asked() {
        let row = Finding::decision("model\x1b[31m", "word ".repeat(40)).with_command("margay x");
        let plain = table(std::slice::from_ref(&row), false);
        assert!(!plain.contains('\x1b'), "{plain}");
        assert!(plain.lines().all(|line| line.chars().count() <= WIDTH), "{plain}");
        assert!(plain.contains("\n          $ margay x\n") && plain.ends_with("0 work, 1 to decide, 0 will not"));
        assert!(table(&[row], true).starts_with("\x1b[33mdecision  \x1b[0m"));
    }

    #[test]
    fn a_model_is_a_resource_and_a_path() {
        assert_eq!(parse_model("signs=/a=b").unwrap().1, PathBuf::from("/a=b"));
        assert!(parse_model("signs").is_err() && parse_model("si gns=x").is_err());
    }
}
