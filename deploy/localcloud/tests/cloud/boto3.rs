//! S3 as AWS's Python client sees it: another implementation of signatures, keys and errors than the one under test.

use tokio::process::Command;

use crate::signed::Keys;
use crate::{Scene, skipped};

/// Takes endpoint, authority, access key, secret and token; prints one line for each thing asked for.
const SCRIPT: &str = r#"
import sys, boto3
from botocore.config import Config
from botocore.exceptions import ClientError
endpoint, ca, key, secret, token = sys.argv[1:]
def client(secret=secret, region="eu-central-1"):
    return boto3.client("s3", endpoint_url=endpoint, verify=ca, region_name=region, aws_access_key_id=key,
                        aws_secret_access_key=secret, aws_session_token=token,
                        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))
def told(call):
    try:
        call()
        return "no error"
    except ClientError as error:
        return error.response["Error"]["Code"]
name = {"Bucket": "models", "Key": "dir/a b+c=ü%25.bin"}
s3 = client()
print(s3.get_object(**name)["Body"].read().decode())
print(s3.get_object(Range="bytes=2-4", **name)["Body"].read().decode())
print(s3.head_object(**name)["ContentLength"])
print(told(lambda: s3.get_object(Bucket="models", Key="absent")))
print(told(lambda: s3.get_object(Bucket="absent", Key="absent")))
print(told(lambda: s3.get_object(IfMatch='"other"', **name)))
print(told(lambda: s3.put_object(Body=b"upload", **name)))
print(told(lambda: client(secret="x" * 40).get_object(**name)))
# Told the right region, boto3 signs for it by itself.
print(told(lambda: client(region="us-east-1").get_object(**name)))
"#;

const EXPECTED: &str = "0123456789
234
10
NoSuchKey
NoSuchBucket
PreconditionFailed
NotImplemented
SignatureDoesNotMatch
no error
";

async fn installed() -> bool {
    let import = Command::new("python3").args(["-c", "import boto3"]).output().await;
    import.is_ok_and(|output| output.status.success()) || skipped("boto3", "pip install boto3")
}

#[tokio::test]
async fn boto3_reads_objects_and_understands_refusals() {
    if !installed().await {
        return;
    }
    let scene = Scene::open().await;
    let keys = Keys::of_new_thing(&scene).await;
    scene.cloud.put_object("models", "dir/a b+c=ü%25.bin", "0123456789");
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT, &scene.cloud.s3_endpoint()]).arg(scene.cloud.ca());
    python.args([keys.access_key_id, keys.secret_access_key]).args(keys.session_token);
    let output = python.env("PYTHONIOENCODING", "utf-8").output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), EXPECTED);
}
