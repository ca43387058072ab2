//! The numbers are where Prometheus finds them, in the format that it reads, and each is documented.

use std::collections::{BTreeMap, BTreeSet};

use margay::app::metrics::catalogue;
use margay::app::status::CoreStatus;
use margay::function::FunctionState;
use margay::metrics::Kind;
use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::functions::{add, is_root, of};
use crate::support::page::{Answer, Page};
use crate::support::python;

fn device() -> Device {
    let mut device = Device::new();
    device.config["margay"]["metrics"] = json!({ "port": 0 });
    device.write();
    device
}

/// The endpoint of a running core, asked as the page is.
fn endpoint(status: &CoreStatus) -> Page {
    let address = status.metrics.clone().expect("metrics are served");
    let port = address.strip_prefix("http://127.0.0.1:").unwrap().strip_suffix("/metrics").unwrap().parse().unwrap();
    Page { address, port, token: String::new() }
}

fn scrape(endpoint: &Page) -> Answer {
    let answer = endpoint.ask("GET", "/metrics", &[("Host", &format!("localhost:{}", endpoint.port))]);
    assert_eq!(answer.status, 200);
    answer
}

/// Samples by name with labels, families with type; panics where the text breaks a rule of the format.
fn parse(text: &str) -> (BTreeMap<String, f64>, BTreeMap<String, String>) {
    let (mut samples, mut families, mut current) = (BTreeMap::new(), BTreeMap::new(), String::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            current = help.split(' ').next().unwrap().to_owned();
            assert!(!families.contains_key(&current), "{current} comes twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, current, "help and type belong together");
            families.insert(current.clone(), kind.to_owned());
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let suffix = name.split('{').next().unwrap().strip_prefix(&current).unwrap_or_else(|| panic!("{line}"));
            let allowed: &[&str] =
                if families[&current] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(allowed.contains(&suffix), "{line}");
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(samples.insert(name.to_owned(), value).is_none(), "{name} comes twice");
        }
    }
    (samples, families)
}

#[test]
fn every_metric_is_documented_and_every_documented_one_exists() {
    let document = std::fs::read_to_string("docs/metrics.md").unwrap();
    let mut documented = BTreeSet::new();
    for line in document.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let labels: Vec<_> = cells[4].split(", ").map(|label| label.trim_matches('`').to_owned()).collect();
        assert!(!cells[3].is_empty() && !cells[5].is_empty(), "{line}");
        assert!(documented.insert((cells[1].trim_matches('`').to_owned(), cells[2].to_owned(), labels)), "{line}");
    }
    let exists = catalogue::ALL.iter().map(|family| {
        let labels: Vec<_> = family.labels.iter().map(|label| (*label).to_owned()).collect();
        let labels = if labels.is_empty() { vec![String::new()] } else { labels };
        (family.name.to_owned(), family.kind.name().to_owned(), labels)
    });
    assert_eq!(documented, exists.collect());
    for family in catalogue::ALL {
        assert_eq!(family.kind == Kind::Counter, family.name.ends_with("_total"), "{}", family.name);
    }
}

#[test]
fn the_dashboard_shows_only_what_there_is() {
    let dashboard = std::fs::read_to_string("deploy/grafana/margay.json").unwrap();
    let _: Value = serde_json::from_str(&dashboard).unwrap();
    let words = dashboard.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named: BTreeSet<&str> =
        words.filter(|word| word.starts_with("margay_") || word.starts_with("process_")).collect();
    assert!(named.len() > 10);
    for name in named {
        let family = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(catalogue::ALL.iter().any(|known| known.name == family), "{name}");
    }
}

#[test]
fn a_running_core_serves_every_metric_and_the_books_agree() {
    let device = device();
    let _core = device.start();
    let status = device.wait_for("acknowledged predictions", |status| status.link.delivered >= 20);
    let endpoint = endpoint(&status);
    let answer = scrape(&endpoint);
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = String::from_utf8(answer.body).unwrap();
    let (samples, families) = parse(&text);
    let exist: BTreeMap<_, _> =
        catalogue::ALL.iter().map(|family| (family.name.to_owned(), family.kind.name().to_owned())).collect();
    assert_eq!(families, exist);

    let of = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("no {name} in\n{text}"));
    assert_eq!(of("margay_link_connected"), 1.0);
    assert!(of("margay_link_acknowledged_total") >= 20.0);
    assert_eq!(
        of(
            "margay_subscription_info{subscription=\"out\",source=\"arn:aws:greengrass:eu-central-1::/connectors/MargayImageClassifier/versions/1\",subject=\"margay/core-1/#\",target=\"cloud\"}"
        ),
        1.0
    );
    assert!(of("margay_subscription_messages_total{subscription=\"out\"}") >= of("margay_link_acknowledged_total"));
    let inferred = of("margay_frames_inferred_total{camera=\"road\"}");
    let dropped: f64 = samples
        .iter()
        .filter(|(name, _)| name.starts_with("margay_frames_dropped_total"))
        .map(|(_, count)| count)
        .sum();
    assert!(inferred >= 20.0 && inferred + dropped <= of("margay_frames_captured_total{camera=\"road\"}"));
    for stage in ["queue", "decode", "resize", "inference", "postprocess"] {
        assert!(of(&format!("margay_stage_seconds_count{{camera=\"road\",stage=\"{stage}\"}}")) >= 20.0);
    }
    assert!(of("margay_capture_to_acknowledgement_seconds_count") >= 20.0);
    assert!(of("margay_capture_to_acknowledgement_seconds_sum") > 0.0);
    assert!(of("margay_capture_to_inference_seconds_count{camera=\"road\"}") >= 20.0);
    for memory in
        ["process_resident_memory_bytes", "margay_worker_resident_memory_bytes{camera=\"road\",role=\"inference\"}"]
    {
        assert!(of(memory) > 1e6, "{memory}");
    }
    let expiry = format!("margay_credentials_expiry_seconds{{role_alias=\"{}\"}}", device.cloud.role_alias());
    assert!(of(&expiry) > 0.0);
    assert_eq!(of("margay_store_models"), 1.0);
}

#[test]
fn functions_show_with_their_state_and_what_they_cost() {
    if !is_root() {
        return;
    }
    let mut device = device();
    add(&mut device, "still", "#!/bin/sh\nexec sleep 1000\n", json!({ "Pinned": true }));
    add(&mut device, "brief", "#!/bin/sh\nexit 3\n", json!({ "Pinned": true }));
    device.write();
    let _core = device.start();
    let status = device.wait_for("both functions", |status| {
        of(status, "still").is_some_and(|still| still.state == FunctionState::Running)
            && of(status, "brief").is_some_and(|brief| brief.crashes > 0)
    });
    let (samples, _) = parse(&String::from_utf8(scrape(&endpoint(&status)).body).unwrap());
    assert_eq!(samples["margay_function_state{function=\"still:1\",state=\"running\"}"], 1.0);
    assert_eq!(samples["margay_function_state{function=\"still:1\",state=\"broken\"}"], 0.0);
    assert_eq!(samples["margay_function_workers{function=\"still:1\"}"], 1.0);
    assert!(samples["margay_function_memory_bytes{function=\"still:1\"}"] > 0.0);
    assert_eq!(samples["margay_function_starts_total{function=\"still:1\"}"], 1.0);
    assert!(samples["margay_function_crashes_total{function=\"brief:1\",cause=\"other\"}"] >= 1.0);
}

#[test]
fn an_outage_and_a_full_spool_show() {
    let mut device = device();
    device.spooler = Some(json!({ "GG_CONFIG_MAX_SIZE_BYTES": "262144" }));
    device.parameters["FramesPerSecond"] = "200".into();
    device.write();
    let _core = device.start();
    let status = device.wait_for_predictions();
    let endpoint = endpoint(&status);
    device.runtime.block_on(device.cloud.stop_broker());
    device.wait_for("a full spool", |status| status.link.dropped["spool_full"] > 20);
    let (samples, _) = parse(&String::from_utf8(scrape(&endpoint).body).unwrap());
    assert_eq!(samples["margay_link_connected"], 0.0);
    assert!(samples["margay_link_attempts"] >= 1.0);
    assert!(samples["margay_spool_dropped_total{reason=\"spool_full\"}"] > 20.0);
    assert!(samples["margay_spool_bytes"] > 200_000.0 && samples["margay_spool_bytes"] <= 262_144.0);
}

#[test]
fn only_a_get_under_our_own_name_is_answered_and_nothing_without_being_asked_for() {
    let device = device();
    let mut core = device.start();
    let endpoint = endpoint(&device.wait_for("a status", |status| status.metrics.is_some()));
    let host = format!("127.0.0.1:{}", endpoint.port);
    assert_eq!(endpoint.ask("HEAD", "/metrics", &[("Host", &host)]).status, 200);
    assert_eq!(endpoint.ask("GET", "/", &[("Host", &host)]).status, 404);
    assert_eq!(endpoint.ask("POST", "/metrics", &[("Host", &host)]).status, 405);
    for foreign in ["evil.example", &format!("evil.example:{}", endpoint.port), "127.0.0.1"] {
        assert_eq!(endpoint.ask("GET", "/metrics", &[("Host", foreign)]).status, 421, "{foreign}");
    }
    // One who connects and says nothing keeps nobody out.
    let idle: Vec<_> = (0..100).map(|_| endpoint.connect()).collect();
    scrape(&endpoint);
    drop(idle);
    core.kill();

    let mut plain = device;
    plain.config["margay"]["metrics"] = Value::Null;
    plain.write();
    let _core = plain.start();
    let status = plain.wait_for_predictions();
    assert_eq!(status.metrics, None);
}

#[test]
fn prometheus_own_parser_reads_them() {
    let Some(python) = python::python_with("prometheus_client") else { return };
    let device = device();
    let _core = device.start();
    let status = device.wait_for("acknowledged predictions", |status| status.link.delivered >= 5);
    let script = "import sys, json, urllib.request\n\
        from prometheus_client.parser import text_string_to_metric_families as parse\n\
        text = urllib.request.urlopen(sys.argv[1]).read().decode()\n\
        families = list(parse(text))\n\
        print(json.dumps({'types': {f.name: f.type for f in families}, 'samples': sum(len(f.samples) for f in families),\n\
            'help': all(f.documentation for f in families),\n\
            'inf': [s.value for f in families for s in f.samples if s.labels.get('le') == '+Inf']}))";
    let said: Value = serde_json::from_str(&python::run(&python, script, &[&endpoint(&status).address])).unwrap();
    let exist: BTreeMap<_, _> = catalogue::ALL
        .iter()
        .map(|family| (family.name.strip_suffix("_total").unwrap_or(family.name), family.kind.name()))
        .collect();
    assert_eq!(said["types"], json!(exist));
    assert_eq!(said["help"], true);
    assert!(said["samples"].as_u64().unwrap() > 100, "{said}");
    assert!(said["inf"].as_array().unwrap().len() >= 7, "{said}");
}
