//! B-01 to B-06, B-10, and the vectors V1, V2, V4, V5, V7, V9.

use super::*;

const DATA: &str = "ResourceDefinitionVersion.Resources[0].ResourceDataContainer";

#[test]
fn a_device_is_under_dev_v1() {
    for source in ["/dev/ttyS0", "/dev/bus/usb", "/dev/video0", "/dev/dri/renderD128"] {
        accepted(&with_resources(json!([device("d", source)])));
    }
    for source in ["/etc/passwd", "/dev", "/dev/", "/dev/shm", "/dev/shm/x", "/dev/../etc/passwd", "dev/video0"] {
        let (path, _) = one_error(&with_resources(json!([device("d", source)])));
        assert_eq!(path, format!("{DATA}.LocalDeviceResourceData.SourcePath"), "{source}");
    }
}

#[test]
fn a_volume_is_not_under_sys_dev_or_var_v2() {
    for source in ["/src/LRAtest", "/dev/shm", "/proc", "/variable", "/system"] {
        accepted(&with_resources(json!([volume("v", source, "/dest")])));
    }
    for source in
        ["/sys", "/sys/class", "/dev", "/dev/video0", "/var", "/var/run", "/var/lib", "/var//lib/", "/x/../var"]
    {
        let (path, _) = one_error(&with_resources(json!([volume("v", source, "/dest")])));
        assert_eq!(path, format!("{DATA}.LocalVolumeResourceData.SourcePath"), "{source}");
    }
}

#[test]
fn a_destination_is_neither_proc_nor_the_root_v4() {
    accepted(&with_resources(json!([volume("v", "/proc", "/host-proc")])));
    for destination in ["/proc", "/proc/1", "/", "//", "dest", "/a/../../b"] {
        let (path, _) = one_error(&with_resources(json!([volume("v", "/src", destination)])));
        assert_eq!(path, format!("{DATA}.LocalVolumeResourceData.DestinationPath"), "{destination}");
    }
}

#[test]
fn limits_of_resources_and_ids_v5() {
    let many = |count: usize| {
        let resources: Vec<Value> = (0..count).map(|n| device(&format!("d{n}"), "/dev/null")).collect();
        with_resources(json!(resources))
    };
    accepted(&many(50));
    assert_eq!(one_error(&many(51)).0, "ResourceDefinitionVersion.Resources");
    accepted(&with_resources(json!([device(&"x".repeat(128), "/dev/a")])));
    for id in ["x".repeat(129), "my camera".to_owned()] {
        let found = errors(&with_resources(json!([device(&id, "/dev/a")])));
        assert_eq!(found.len(), 2, "Id and Name: {found:#?}");
    }
}

#[test]
fn the_named_group_is_ignored_beside_the_automatic_one_v7() {
    let mut resource = volume("v", "/src", "/dest");
    let setting = json!({"AutoAddGroupOwner": "true", "GroupOwner": "video"});
    resource["ResourceDataContainer"]["LocalVolumeResourceData"]["GroupOwnerSetting"] = setting;
    let group = accepted(&with_resources(json!([resource, device("d", "/dev/video0")])));
    let ResourceData::LocalVolume(volume) = &group.resources[0].data else { panic!("a volume") };
    assert_eq!(volume.group_owner, GroupOwner::Automatic);
    let ResourceData::LocalDevice(device) = &group.resources[1].data else { panic!("a device") };
    assert_eq!(device.group_owner, GroupOwner::Named("video".to_owned()));
}

#[test]
fn a_model_is_a_package_in_a_bucket_without_periods_v9() {
    for uri in ["s3://my.bucket/m.zip", "s3://bucket/m.tar", "s3://bucket/m", "https://bucket/m.zip", "s3://bucket/"] {
        let mut resource = model("m", "/m", None);
        resource["ResourceDataContainer"]["S3MachineLearningModelResourceData"]["S3Uri"] = json!(uri);
        let (path, _) = one_error(&with_resources(json!([resource])));
        assert_eq!(path, format!("{DATA}.S3MachineLearningModelResourceData.S3Uri"), "{uri}");
    }
}

#[test]
fn a_container_holds_exactly_one_thing() {
    let with = |data: Value| with_resources(json!([{"Id": "r", "Name": "r", "ResourceDataContainer": data}]));
    assert_eq!(one_error(&with(json!({}))).0, DATA);
    let both = json!({
        "LocalDeviceResourceData": {"SourcePath": "/dev/a"},
        "LocalVolumeResourceData": {"SourcePath": "/a", "DestinationPath": "/a"}
    });
    assert_eq!(one_error(&with(both)).0, DATA);
    assert_eq!(one_error(&with(json!({"LocalVolumeResourceDat": {}}))).0, format!("{DATA}.LocalVolumeResourceDat"));
}

#[test]
fn a_model_may_be_what_a_training_job_left_in_s3_b_10() {
    let with = |data: Value| with_resources(json!([{"Id": "r", "Name": "r", "ResourceDataContainer": data}]));
    let job = |arn: &str| {
        with(json!({"SageMakerMachineLearningModelResourceData": {"DestinationPath": "/m", "SageMakerJobArn": arn,
            "OwnerSetting": {"GroupOwner": "1000", "GroupPermission": "ro"}}}))
    };
    let arn = "arn:aws:sagemaker:us-west-2:123456789012:training-job/signs";
    let group = accepted(&job(arn));
    let model = group.resources[0].model().expect("a model");
    assert!(matches!(&model.source, ModelSource::TrainingJob(job) if job.as_str() == arn), "{model:?}");
    assert_eq!(group.resources[0].data.type_name(), "ML_Model.SageMaker.Job");
    let (path, _) = one_error(&job("arn:aws:sagemaker:us-west-2:123456789012:model/signs"));
    assert_eq!(path, format!("{DATA}.SageMakerMachineLearningModelResourceData.SageMakerJobArn"));
}

#[test]
fn a_bucket_with_a_period_is_allowed_where_its_name_is_no_host() {
    let mut resource = model("m", "/m", None);
    resource["ResourceDataContainer"]["S3MachineLearningModelResourceData"]["S3Uri"] = json!("s3://my.bucket/m.zip");
    let host = Host { thing_arn: None, allow_functions_to_run_as_root: false, virtual_hosted_s3: false };
    let group = Group::parse(&with_resources(json!([resource])).to_string(), host).expect("it is accepted");
    assert_eq!(group.document.resources[0].model().expect("a model").source.to_string(), "s3://my.bucket/m.zip");
}

#[test]
fn a_secret_is_referenced_once_a_group_b_40() {
    let secret = |id: &str| {
        json!({"Id": id, "Name": id, "ResourceDataContainer": {"SecretsManagerSecretResourceData":
            {"ARN": "arn:aws:secretsmanager:us-west-2:123456789012:secret:greengrass-x", "AdditionalStagingLabelsToDownload": ["L"]}}})
    };
    accepted(&with_resources(json!([secret("a")])));
    let (path, _) = one_error(&with_resources(json!([secret("a"), secret("b")])));
    assert!(path.starts_with("ResourceDefinitionVersion.Resources[1]"), "{path}");
}
