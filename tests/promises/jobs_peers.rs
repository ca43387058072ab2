//! The local cloud's Jobs against AWS's own device SDK for Python, unmodified: what the SDK can complete there, a fleet's
//! other clients can, and ours is tested against the same service.

use margay_localcloud::JobStatus;
use serde_json::json;

use crate::support::device::{Device, THING};
use crate::support::python;

/// Takes port, CA, certificate, key and thing; prints what each step came to.
const SCRIPT: &str = r#"
import sys, json
from concurrent.futures import Future
from awscrt import mqtt
from awscrt.mqtt_request_response import ClientOptions
from awsiot import iotjobs, mqtt_connection_builder
port, ca, cert, key, thing = sys.argv[1:]
connection = mqtt_connection_builder.mtls_from_path(cert, key, endpoint="localhost", port=int(port), ca_filepath=ca,
    client_id=thing, clean_session=True, keep_alive_secs=30)
connection.connect().result(30)
jobs = iotjobs.IotJobsClientV2(connection, ClientOptions(max_request_response_subscriptions=4, max_streaming_subscriptions=2, operation_timeout_in_seconds=30))
pending = jobs.get_pending_job_executions(iotjobs.GetPendingJobExecutionsRequest(thing_name=thing)).result(30)
print([s.job_id for s in pending.in_progress_jobs], [s.job_id for s in pending.queued_jobs])
started = jobs.start_next_pending_job_execution(iotjobs.StartNextPendingJobExecutionRequest(thing_name=thing, step_timeout_in_minutes=5)).result(30)
job = started.execution
print(job.job_id, job.status, job.version_number, json.dumps(job.job_document))
def update(status, version, **details):
    return jobs.update_job_execution(iotjobs.UpdateJobExecutionRequest(thing_name=thing, job_id=job.job_id, status=status,
        expected_version=version, status_details=details, include_job_execution_state=True)).result(30)
print(update("IN_PROGRESS", job.version_number, step="fetching").execution_state.version_number)
try:
    update("SUCCEEDED", job.version_number)
except Exception as error:
    rejected = error.modeled_error
    print(rejected.code, rejected.execution_state.version_number if rejected.execution_state else None)
print(update("SUCCEEDED", job.version_number + 1, step="confirmed").execution_state.status)
try:
    update("FAILED", job.version_number + 2)
except Exception as error:
    print(error.modeled_error.code)
described = jobs.describe_job_execution(iotjobs.DescribeJobExecutionRequest(thing_name=thing, job_id="$next")).result(30)
print(described.execution.job_id)
connection.disconnect().result(30)
"#;

const EXPECTED: &str = r#"[] ['one', 'two']
one IN_PROGRESS 2 {"margay": {"operation": "deploy"}}
3
VersionMismatch 3
SUCCEEDED
InvalidStateTransition
two
"#;

#[test]
fn awss_own_device_sdk_completes_a_job_against_the_local_cloud() {
    let Some(python) = python::python_with("awsiot, awscrt") else { return };
    let device = Device::new();
    for job in ["one", "two"] {
        device.cloud.create_job(job, &json!({ "margay": { "operation": "deploy" } }), &[THING]);
    }
    let files = &device.files;
    let port = device.cloud.mqtt_port().to_string();
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (ca, certificate, key) = (path(&files.ca), path(&files.certificate), path(&files.private_key));
    assert_eq!(python::run(&python, SCRIPT, &[&port, &ca, &certificate, &key, THING]), EXPECTED);
    let done = device.cloud.job_execution(THING, "one").unwrap();
    assert_eq!((done.status, done.details["step"].as_str()), (JobStatus::Succeeded, "confirmed"));
}
