//! A job's document: which group this thing is to run.
//!
//! ```json
//! {"margay": {"operation": "deploy", "group": {"s3Uri": "s3://bucket/group.json", "sha256": "…", "versionId": "…"}}}
//! ```
//!
//! Pure: it checks and refuses, naming field, value and rule. Keys beside `margay` are for others and are let be.

use serde_json::Value;

use crate::deployment::DeploymentId;
use crate::document::{Notes, Object, Unknown};
use crate::name::S3Uri;
use crate::package::Sha256Digest;
use crate::problem::{Document, Problems};

/// The largest document of AWS IoT Jobs, in bytes.
pub const SIZE_LIMIT: usize = 32 * 1024;

/// No version id of S3 is longer.
const VERSION_ID_LIMIT: usize = 1024;

/// What a job asks for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The deployment's id: the job's.
    pub id: DeploymentId,
    /// Where the group document is.
    pub group: S3Uri,
    /// Which version of it; the newest where there is none.
    pub version_id: Option<String>,
    /// The digest that it must have.
    pub sha256: Sha256Digest,
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Deploy,
}

/// Reads the document of the job `job_id`.
///
/// # Errors
/// Every problem of it.
pub fn read(job_id: &str, document: &Value) -> Result<Order, Problems> {
    let notes = Notes::of(Document::Job);
    let order = read_noting(job_id, document, &notes);
    notes.conclude(order).map(|accepted| accepted.document)
}

fn read_noting(job_id: &str, document: &Value, notes: &Notes) -> Option<Order> {
    let size = document.to_string().len();
    if size > SIZE_LIMIT {
        notes.error(
            "",
            None,
            format!("has {size} bytes, and is read up to {SIZE_LIMIT} bytes"),
            "name the group, not its text",
        );
        return None;
    }
    let id = job_id.parse::<DeploymentId>();
    if let Err(error) = &id {
        notes.error("jobId", None, error.to_string(), "name the job with letters, digits, - and _");
    }
    let mut top = Object::root(document, notes)?;
    let margay = top.field("margay").required("write {\"operation\": \"deploy\", \"group\": {…}}");
    let mut margay = margay.object()?;
    let operation = margay.field("operation").required("write deploy").choice(&[("deploy", Operation::Deploy)]);
    let group = margay.field("group").required("name the group document: s3Uri and sha256");
    let mut group = group.section();
    let uri = group.field("s3Uri").required("write s3://bucket/key of the group document").parsed::<S3Uri>();
    let sha256 = group.field("sha256").required("write the digest that sha256sum prints for the group document");
    let sha256 = sha256.parsed::<Sha256Digest>();
    let version_field = group.field("versionId");
    let version_id = version_field.text().map(str::to_owned);
    if version_id.as_ref().is_some_and(|version| version.is_empty() || version.len() > VERSION_ID_LIMIT) {
        version_field
            .refuse(format!("has 1 to {VERSION_ID_LIMIT} bytes"), "write the version id that S3 shows, or none");
    }
    group.finish(Unknown::Refuse);
    margay.finish(Unknown::Refuse);
    let Operation::Deploy = operation?;
    Some(Order { id: id.ok()?, group: uri?, version_id, sha256: sha256? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn document() -> Value {
        json!({ "margay": { "operation": "deploy", "group": {
            "s3Uri": "s3://fleet/group.json", "sha256": DIGEST, "versionId": "3HL4kqtJlcpXroDTDmJ" } } })
    }

    #[test]
    fn a_group_is_named_by_uri_digest_and_version() {
        let order = read("rollout-7", &document()).unwrap();
        assert_eq!((order.id.as_str(), order.group.key()), ("rollout-7", "group.json"));
        assert_eq!(order.version_id.as_deref(), Some("3HL4kqtJlcpXroDTDmJ"));
        let mut more = document();
        more["comment"] = json!("for others");
        assert_eq!(read("rollout-7", &more).unwrap(), order);
    }

    #[test]
    fn a_refusal_names_field_value_and_rule() {
        for (pointer, value, expected) in [
            ("/margay/operation", json!("reboot"), "margay.operation = \"reboot\""),
            ("/margay/group/s3Uri", json!("https://x"), "margay.group.s3Uri"),
            ("/margay/group/sha256", json!("abc"), "64 hexadecimal digits"),
            ("/margay/group/versionId", json!(""), "margay.group.versionId"),
            ("/margay/group", json!({}), "margay.group.s3Uri"),
            ("/margay", json!(7), "margay"),
            ("/margay/operation", json!({"x": "y".repeat(40_000)}), "32768 bytes"),
        ] {
            let mut wrong = document();
            *wrong.pointer_mut(pointer).unwrap() = value;
            let refused = read("rollout-7", &wrong).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        }
        let mut unknown = document();
        unknown["margay"]["group"]["s3uri"] = json!("s3://a/b");
        assert!(read("rollout-7", &unknown).is_err());
        assert!(read("../escape", &document()).is_err());
        assert!(read("rollout-7", &json!({})).is_err() && read("rollout-7", &json!([])).is_err());
    }

    proptest! {
        #[test]
        fn whatever_a_job_says_is_read_or_refused(text in "\\PC{0,200}", job in "\\PC{0,80}") {
            let _ = read(&job, &json!({ "margay": { "operation": text, "group": { "s3Uri": text, "sha256": text } } }));
            let _ = read(&job, &json!(text));
        }
    }
}
