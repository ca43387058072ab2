//! B-04, B-05, B-07, B-08, B-15, B-17, and the vectors V3, V4, V5, V8, V12 to V14.

use super::*;

const POLICY: &str =
    "FunctionDefinitionVersion.Functions[0].FunctionConfiguration.Environment.ResourceAccessPolicies[0]";

fn rw(id: &str) -> Value {
    json!([{"ResourceId": id, "Permission": "rw"}])
}

fn ro(id: &str) -> Value {
    json!([{"ResourceId": id, "Permission": "ro"}])
}

fn inherited(id: &str) -> Value {
    json!([{"ResourceId": id}])
}

#[test]
fn shared_memory_is_read_write_and_proc_read_only_v3_v4() {
    let shared = json!([volume("v", "/dev/shm", "/dev/shm")]);
    accepted(&with_function(contained(rw("v")), shared.clone()));
    assert_eq!(one_error(&with_function(contained(ro("v")), shared)).0, POLICY);
    let proc = json!([volume("v", "/proc", "/host-proc")]);
    accepted(&with_function(contained(ro("v")), proc.clone()));
    assert_eq!(one_error(&with_function(contained(rw("v")), proc)).0, POLICY);
}

#[test]
fn a_function_has_at_most_ten_resources_of_the_group_each_once_v5() {
    let resources: Vec<Value> = (0..11).map(|n| device(&format!("d{n}"), "/dev/null")).collect();
    let policies = |count: usize| -> Vec<Value> {
        (0..count).map(|n| json!({"ResourceId": format!("d{n}"), "Permission": "ro"})).collect()
    };
    accepted(&with_function(contained(json!(policies(10))), json!(resources)));
    let (path, _) = one_error(&with_function(contained(json!(policies(11))), json!(resources)));
    assert_eq!(path, POLICY.trim_end_matches("[0]"));
    assert_eq!(one_error(&with_function(contained(ro("absent")), json!(resources))).0, POLICY);
    let twice = json!([{"ResourceId": "d0", "Permission": "ro"}, {"ResourceId": "d0", "Permission": "rw"}]);
    assert!(one_error(&with_function(contained(twice), json!(resources))).0.ends_with("[1]"));
}

#[test]
fn local_resources_need_a_container_and_a_permission_v8() {
    let (path, rule) = one_error(&with_function(uncontained(rw("d")), json!([device("d", "/dev/video0")])));
    assert_eq!(path, POLICY);
    assert_eq!(
        rule,
        format!(
            "Function {FUNCTION} refers to resource of type Local.Device that is not allowed in IsolationMode=NoContainer."
        )
    );
    let (_, rule) = one_error(&with_function(uncontained(rw("v")), json!([volume("v", "/a", "/a")])));
    assert!(rule.contains("Local.Volume"), "{rule}");
    let (_, rule) = one_error(&with_function(contained(inherited("d")), json!([device("d", "/dev/video0")])));
    assert!(rule.contains("Permission is required"), "{rule}");
}

#[test]
fn a_reference_to_a_resource_that_is_refused_itself_is_no_second_problem() {
    let (path, _) = one_error(&with_function(contained(ro("d")), json!([device("d", "/etc/passwd")])));
    assert!(path.starts_with("ResourceDefinitionVersion"), "{path}");
}

#[test]
fn the_six_errors_of_b_17_have_the_guides_texts_v12() {
    let rule = |function: Value, resources: Value| one_error(&with_function(function, resources)).1;

    for owner in [json!({"GroupOwner": "1001"}), json!({"GroupPermission": "ro"}), json!({})] {
        assert_eq!(
            one_error(&with_resources(json!([model("m", "/m", Some(owner))]))).1,
            "InvalidMLModelOwner - GroupOwnerSetting is provided in ML model resource, but GroupOwner or \
             GroupPermission is not present"
        );
    }
    assert_eq!(
        rule(uncontained(ro("m")), json!([owned("m", "/m", "ro")])),
        format!(
            "NoContainer function cannot configure permission when attaching Machine Learning resources. {FUNCTION} \
             refers to Machine Learning resource m with permission ro in resource access policy."
        )
    );
    for function in [contained(inherited("m")), uncontained(inherited("m"))] {
        assert_eq!(
            rule(function, json!([model("m", "/m", None)])),
            format!(
                "Function {FUNCTION} refers to Machine Learning resource m with missing permission in both \
                 ResourceAccessPolicy and resource OwnerSetting."
            )
        );
    }
    assert_eq!(
        rule(contained(rw("m")), json!([owned("m", "/m", "ro")])),
        format!(
            "Function {FUNCTION} refers to Machine Learning resource m with permission \"rw\", while resource owner \
             setting GroupPermission only allows \"ro\"."
        )
    );
    let both = json!([{"ResourceId": "m"}, {"ResourceId": "n"}]);
    for destination in ["/m", "/m/nested"] {
        assert_eq!(
            rule(uncontained(both.clone()), json!([owned("m", "/m", "ro"), owned("n", destination, "ro")])),
            format!("NoContainer Function {FUNCTION} refers to resources of nested destination path.")
        );
    }
    accepted(&with_function(uncontained(both), json!([owned("m", "/m", "ro"), owned("n", "/m2", "ro")])));
    assert_eq!(
        rule(run_as("500", "1001"), json!([owned("m", "/m", "ro")])),
        format!("Lambda {FUNCTION} gains access to resource m by sharing the same group owner id")
    );
}

/// A function without resources that runs as `uid` and `gid`.
fn run_as(uid: &str, gid: &str) -> Value {
    let mut function = contained(json!([]));
    function["FunctionConfiguration"]["Environment"]["Execution"] = json!({"RunAs": {"Uid": uid, "Gid": gid}});
    function
}

#[test]
fn implicit_access_is_not_checked_for_root_v13() {
    let as_root = with_function(run_as("0", "1001"), json!([owned("m", "/m", "ro")]));
    assert!(parse_for(&as_root, true).is_ok());
    let blank = with_function(run_as("", ""), json!([owned("m", "/m", "ro")]));
    accepted(&blank);
}

#[test]
fn who_has_one_model_of_a_group_has_all_v14() {
    let models = json!([owned("m", "/m", "ro"), owned("n", "/n", "ro")]);
    let (_, rule) = one_error(&with_function(contained(inherited("m")), models.clone()));
    assert_eq!(rule, format!("Lambda {FUNCTION} gains access to resource n by sharing the same group owner id"));
    accepted(&with_function(contained(json!([{"ResourceId": "m"}, {"ResourceId": "n"}])), models));
}

#[test]
fn secrets_are_read_only_b_40() {
    let secret =
        json!([{"Id": "s", "Name": "s", "ResourceDataContainer": {"SecretsManagerSecretResourceData": {"ARN": "x"}}}]);
    accepted(&with_function(contained(ro("s")), secret.clone()));
    assert_eq!(one_error(&with_function(contained(rw("s")), secret)).0, POLICY);
}
