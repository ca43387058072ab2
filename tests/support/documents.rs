//! Group documents bent out of shape, by structure and by bytes, from one random number generator.

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// What stands in the place of a value: the limits of every rule, and what is of another kind.
fn values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("0"),
        json!("ro"),
        json!("rw"),
        json!("cloud"),
        json!("NoContainer"),
        json!("true"),
        json!("99999999999999999999"),
        json!("/proc"),
        json!("/dev/shm"),
        json!("/dev/../etc"),
        json!("s3://my.bucket/x"),
        json!("s3://b/k.tar.gz"),
        json!("a/#/b"),
        json!("\u{0}\u{1b}[2J\u{202e}"),
        json!("x".repeat(129)),
        json!("ä".repeat(5000)),
        json!("arn:aws:lambda:::function:GGCloudSpooler:1"),
        json!("arn:aws:greengrass:eu-central-1::/connectors/MargayImageClassifier/versions/1"),
        json!([]),
        json!({}),
        json!([[[[]]]]),
        json!({"ResourceId": "model"}),
    ]
}

/// The pointers of every value of `document` (RFC 6901).
fn pointers(document: &Value, at: &str, found: &mut Vec<String>) {
    let mut below = |key: String, value: &Value| {
        let pointer = format!("{at}/{key}");
        found.push(pointer.clone());
        pointers(value, &pointer, found);
    };
    match document {
        Value::Object(entries) => entries.iter().for_each(|(key, value)| below(key.clone(), value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(n, item)| below(n.to_string(), item)),
        _ => {}
    }
}

/// One change of structure: another value, one less, one more, one twice, one by another name, one in another place.
pub fn bend(random: &mut Rng, document: &mut Value) {
    let mut places = Vec::new();
    pointers(document, "", &mut places);
    let Some(place) = random.choice(&places).cloned() else { return };
    let elsewhere = random.choice(&places).and_then(|other| document.pointer(other)).cloned().unwrap_or_default();
    let replacement = random.choice(values()).unwrap_or_default();
    let (parent, key) = place.rsplit_once('/').unwrap_or_default();
    let own = document.pointer(&place).cloned().unwrap_or_default();
    match document.pointer_mut(parent) {
        Some(Value::Array(items)) => {
            let at = key.parse::<usize>().unwrap_or_default().min(items.len().saturating_sub(1));
            match random.u8(..6) {
                0 => drop(items.remove(at)),
                1 => items.push(own),
                2 => items.extend(std::iter::repeat_n(own, random.usize(1..220))),
                3 => items[at] = elsewhere,
                _ => items[at] = replacement,
            }
        }
        Some(Value::Object(entries)) => bend_entry(random, entries, key, (own, elsewhere, replacement)),
        _ => *document = replacement,
    }
}

fn bend_entry(random: &mut Rng, entries: &mut Map<String, Value>, key: &str, values: (Value, Value, Value)) {
    let (own, elsewhere, replacement) = values;
    match random.u8(..7) {
        0 => drop(entries.remove(key)),
        1 => drop(entries.insert(key.to_ascii_lowercase(), own)),
        2 => {
            entries.remove(key);
            entries.insert(format!("{key}s"), own);
        }
        3 => drop(entries.insert("Execution".to_owned(), replacement)),
        4 => drop(entries.insert(key.to_owned(), elsewhere)),
        _ => drop(entries.insert(key.to_owned(), replacement)),
    }
}
