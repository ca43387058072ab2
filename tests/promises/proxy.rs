//! A device behind a proxy, whose cloud answers to AWS's own names, MQTT on port 443 by ALPN included.

use margay::deployment::State;
use serde_json::json;

use crate::support::device::{BUCKET, Device, KEY};
use crate::support::program;
use crate::support::relay::ConnectProxy;

const REGION: &str = "eu-central-1.amazonaws.com:443";

#[test]
fn a_core_behind_a_proxy_reaches_everything_by_aws_own_names() {
    let mut device = Device::new();
    let (s3, mqtt) = (device.cloud.s3_port(), device.cloud.mqtt_port());
    let credentials = device.cloud.credentials_endpoint().rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = device.runtime.block_on(ConnectProxy::start(move |host| match host {
        host if !host.ends_with(REGION) => None,
        host if host.contains(".credentials.iot.") => Some(credentials),
        host if host.contains("-ats.iot.") => Some(mqtt),
        _ => Some(s3),
    }));
    let arn = "arn:aws:sagemaker:eu-central-1:123456789012:training-job/signs";
    device.cloud.put_training_job("signs", "Completed", Some(&format!("s3://{BUCKET}/{KEY}")));
    device.config["coreThing"]["networkProxy"] =
        json!({ "proxy": { "url": format!("http://127.0.0.1:{}", proxy.port) } });
    device.config["coreThing"]["iotHost"] = json!("a1-ats.iot.eu-central-1.amazonaws.com");
    device.config["coreThing"]["iotMqttPort"] = json!(443);
    let margay = &mut device.config["margay"];
    margay["mqtt"] = json!({});
    margay["credentials"]["endpoint"] = json!("c1x.credentials.iot.eu-central-1.amazonaws.com");
    margay["s3"] = json!({});
    device.write();
    let mut group = device.group();
    group["ResourceDefinitionVersion"]["Resources"][0]["ResourceDataContainer"] = json!({ "SageMakerMachineLearningModelResourceData": { "SageMakerJobArn": arn, "DestinationPath": "/models/signs" } });
    let path = device.root().join("ggc/deployment/group/group.json");
    std::fs::write(path, group.to_string()).unwrap();
    program::assert_code(&program::run(&["check", "--config", device.config_path().to_str().unwrap()]), 0);

    let _core = device.start();
    let status = device.wait_for("predictions", |status| {
        status.link.delivered > 0 && status.cameras[0].deployment.state == State::Deployed
    });
    assert_eq!(status.cameras[0].deployment.source, arn);
    let hosts = ["a1-ats.iot.", "api.sagemaker.", "c1x.credentials.iot.", "models.s3."];
    let expected = hosts.map(|host| format!("{host}{REGION}"));
    assert_eq!(proxy.asked(), expected);
}
