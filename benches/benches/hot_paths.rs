//! What every frame, request and message passes: decode, resize, inference, signing, routing, spooling.
//!
//! The bundled model and its frames, 320 × 240 JPEG. `cargo bench --manifest-path benches/Cargo.toml`; figures and
//! method are in docs/benchmarks.md.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use margay::classifier::model_directory::ModelDirectory;
use margay::credentials::Credentials;
use margay::mqtt::spool::{Next, Spool, SpoolSettings, Standing, StorageType, Worth};
use margay::router::{Endpoint, Outgoing, QueueFullPolicy, Route, Router};
use margay::s3::{EMPTY_BODY, Scope, sign_request};
use margay::secret::Secret;
use margay::topic::Topic;
use margay_frontend::{Decoder, FrameView, Preparer};
use margay_inference::engine::compiled::CompiledEngine;
use margay_inference::engine::tract::TractEngine;
use margay_inference::{Engine, EngineChoice, Pipeline};
use time::OffsetDateTime;

/// The bundled model, unpacked beside its archive.
const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/signs/package");
const FRAME: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/signs/frames/frame-000.jpg");

fn frames(criterion: &mut Criterion) {
    let package = ModelDirectory::open(Path::new(PACKAGE)).expect("the bundled package");
    let spec = package.manifest.model_spec();
    let jpeg = std::fs::read(FRAME).expect("a held-out frame");
    let mut decoder = Decoder::new();
    criterion.bench_function("decode 320x240 JPEG", |bench| {
        bench.iter(|| decoder.decode(black_box(&FrameView::jpeg(&jpeg))).expect("it decodes").size());
    });

    let mut other = Decoder::new();
    let rgb = other.decode(&FrameView::jpeg(&jpeg)).expect("it decodes");
    let mut preparer = Preparer::new(&spec.input);
    criterion.bench_function("resize, crop, normalise to 96x96", |bench| {
        bench.iter(|| preparer.prepare(black_box(&rgb)).expect("it resizes").shape());
    });

    let tensor = preparer.prepare(&rgb).expect("it resizes").clone();
    let mut engine = TractEngine::load(&package.model, &spec).expect("the model loads");
    let mut scores = Vec::new();
    criterion.bench_function("inference, road-signs, tract", |bench| {
        bench.iter(|| engine.run(black_box(&tensor), &mut scores).expect("it runs"));
    });

    let mut compiled = CompiledEngine::load(&package.model, &spec, 1).expect("the model is read").expect("it is covered");
    criterion.bench_function("inference, road-signs, compiled", |bench| {
        bench.iter(|| compiled.run(black_box(&tensor), &mut scores).expect("it runs"));
    });

    let mut pipeline = Pipeline::load(&package.model, &spec, package.labels, EngineChoice::Auto).expect("the model loads");
    criterion.bench_function("frame to predictions", |bench| {
        bench.iter(|| pipeline.classify(black_box(&FrameView::jpeg(&jpeg)), 5).expect("it classifies"));
    });
}

fn signing(criterion: &mut Criterion) {
    let url = "https://models.s3.eu-central-1.amazonaws.com/road-signs-1.0.0.tar.gz".parse().expect("a URL");
    let mut request = reqwest::Request::new(reqwest::Method::GET, url);
    let credentials = Credentials {
        access_key_id: "ASIAEXAMPLE".to_owned(),
        secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        session_token: Secret::new("t".repeat(600)),
        expiration: OffsetDateTime::UNIX_EPOCH,
        expires_at: Duration::ZERO,
    };
    let region = "eu-central-1".parse().expect("a region");
    criterion.bench_function("sign a GET by Signature Version 4", |bench| {
        bench.iter(|| {
            let scope = Scope::s3(&region, OffsetDateTime::UNIX_EPOCH);
            sign_request(black_box(&mut request), &credentials, scope, EMPTY_BODY).expect("it signs");
        });
    });
}

/// A group in which one connector has `subscriptions`: nearly all for a camera each, some with wildcards. Three of them
/// select the message that is measured.
fn router_of(subscriptions: usize) -> Router {
    let wildcards = [("margay/+/0/predictions", Endpoint::Cloud), ("margay/core/#", Endpoint::ShadowService)];
    let route = |(number, (filter, target)): (usize, (String, Endpoint))| Route {
        id: number.to_string(),
        source: classifier(),
        target,
        filter: filter.parse().expect("a filter"),
    };
    let named = (0..subscriptions - wildcards.len()).map(|n| (format!("margay/core/{n}/predictions"), Endpoint::Cloud));
    let wildcards = wildcards.map(|(filter, target)| (filter.to_owned(), target));
    let routes = named.chain(wildcards).enumerate().map(route).collect::<Vec<_>>();
    Router::new(routes, 1024, Box::new(|_, _| Ok(())))
}

fn classifier() -> Endpoint {
    Endpoint::Connector("arn:aws:greengrass:eu-west-1::/connectors/MargayImageClassifier/versions/1".to_owned())
}

fn messages(criterion: &mut Criterion) {
    let payload = Bytes::from(vec![b'x'; 400]);
    let source = classifier();
    for subscriptions in [10, 1000, 10_000] {
        let router = router_of(subscriptions);
        let topic: Topic = "margay/core/0/predictions".parse().expect("a topic");
        criterion.bench_function(&format!("match a topic, {subscriptions} subscriptions"), |bench| {
            bench.iter(|| router.targets(&source, black_box(&topic)).len());
        });
        criterion.bench_function(&format!("route a message, {subscriptions} subscriptions"), |bench| {
            bench.iter(|| {
                let (payload, policy) = (payload.clone(), QueueFullPolicy::BestEffort);
                let outgoing = Outgoing { source: &source, topic: black_box(topic.as_str()), payload, mark: (0, Worth::Ordinary), policy };
                router.publish(outgoing).expect("a route").reached.len()
            });
        });
    }

    let settings = SpoolSettings::new(1 << 20, StorageType::Memory).expect("settings");
    let mut spool = Spool::new(&settings);
    let topic: Topic = "margay/core/road/predictions".parse().expect("a topic");
    criterion.bench_function("spool: accept, send, acknowledge", |bench| {
        bench.iter(|| {
            let now = Instant::now();
            spool.accept(topic.clone(), payload.clone(), 0, now).expect("room");
            let Next::Send(message) = spool.next(|_| false, |_| Standing::Good) else { panic!("a message") };
            spool.acknowledge(message.id, now).expect("it was in flight")
        });
    });
}

criterion_group!(hot_paths, frames, signing, messages);
criterion_main!(hot_paths);
