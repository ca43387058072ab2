//! and the texts of G3.

use super::*;

const CONFIGURATION: &str = "FunctionDefinitionVersion.Functions[0].FunctionConfiguration";

#[test]
fn isolation_modes_are_the_two_of_g3() {
    let document =
        group(json!({"FunctionDefinitionVersion": {"DefaultConfig": {"Execution": {"IsolationMode": "Docker"}}}}));
    let (path, rule) = one_error(&document);
    assert_eq!(path, "FunctionDefinitionVersion.DefaultConfig.Execution.IsolationMode");
    assert_eq!(rule, "Your 'IsolationMode' configuration for the group is invalid.");
    let mut function = contained(json!([]));
    function["FunctionConfiguration"]["Execution"] = json!({"IsolationMode": "Docker"});
    let (path, rule) = one_error(&with_function(function, json!([])));
    assert_eq!(path, format!("{CONFIGURATION}.Execution.IsolationMode"));
    assert_eq!(rule, format!("Your 'IsolationMode' configuration for function with arn {FUNCTION} is invalid."));
}

#[test]
fn a_memory_limit_belongs_to_a_container_g3() {
    let mut function = uncontained(json!([]));
    function["FunctionConfiguration"]["MemorySize"] = json!(16384);
    assert_eq!(
        one_error(&with_function(function, json!([]))).1,
        format!(
            "MemorySize configuration for function with arn {FUNCTION} is not allowed in IsolationMode=NoContainer."
        )
    );
    let mut function = contained(json!([]));
    function["FunctionConfiguration"]["MemorySize"] = Value::Null;
    assert_eq!(
        one_error(&with_function(function, json!([]))).1,
        format!(
            "MemorySize configuration for function with arn {FUNCTION} is required in IsolationMode=GreengrassContainer."
        )
    );
}

#[test]
fn sysfs_is_read_in_a_container_only_g3() {
    let mut function = uncontained(json!([]));
    function["FunctionConfiguration"]["Environment"]["AccessSysfs"] = json!("true");
    assert_eq!(
        one_error(&with_function(function, json!([]))).1,
        format!(
            "Access Sysfs configuration for function with arn {FUNCTION} is not allowed in IsolationMode=NoContainer."
        )
    );
}

#[test]
fn the_groups_default_is_the_functions() {
    let mut document = with_function(uncontained(json!([])), json!([]));
    document["FunctionDefinitionVersion"]["DefaultConfig"] =
        json!({"Execution": {"IsolationMode": "NoContainer", "RunAs": {"Uid": 7, "Gid": 8}}});
    document["FunctionDefinitionVersion"]["Functions"][0]["FunctionConfiguration"]["Environment"]["Execution"] =
        json!({"RunAs": {"Gid": 9}});
    let group = accepted(&document);
    assert_eq!(group.functions[0].isolation, IsolationMode::NoContainer);
    assert_eq!(group.functions[0].run_as, RunAs { uid: Some(7), gid: Some(9) });
    assert_eq!(group.default_run_as, RunAs { uid: Some(7), gid: Some(8) });
}

#[test]
fn root_runs_functions_only_where_config_json_allows_it_a_31() {
    let mut function = contained(json!([]));
    function["FunctionConfiguration"]["Execution"] = json!({"RunAs": {"Uid": "0"}});
    let document = with_function(function, json!([]));
    assert_eq!(
        one_error(&document).1,
        format!(
            "[{FUNCTION}] are configured to run as root but Greengrass is not configured to run Lambda functions with \
             root permissions."
        )
    );
    assert!(parse_for(&document, true).is_ok());
}

#[test]
fn system_functions_take_no_execution_g3_and_a_setting_stands_once() {
    for arn in ["arn:aws:lambda:::function:GGCloudSpooler:1", "arn:aws:lambda:::function:GGIPDetector:1"] {
        let configuration = json!({"Execution": {"IsolationMode": "NoContainer"}});
        let function = json!({"Id": "s", "FunctionArn": arn, "FunctionConfiguration": configuration});
        let (_, rule) = one_error(&with_function(function, json!([])));
        assert_eq!(rule, format!("Execution configuration for function with arn {arn} is not allowed."));
    }
    let mut function = contained(json!([]));
    function["FunctionConfiguration"]["ResourceAccessPolicies"] = json!([]);
    let (_, rule) = one_error(&with_function(function, json!([])));
    assert!(rule.starts_with("stands at"), "{rule}");
}

#[test]
fn a_spool_below_256_kb_does_not_start_v25() {
    let spooler = |size: &str| {
        let variables = json!({"GG_CONFIG_MAX_SIZE_BYTES": size});
        let configuration = json!({"Environment": {"Variables": variables}});
        let arn = "arn:aws:lambda:::function:GGCloudSpooler:1";
        with_function(json!({"Id": "s", "FunctionArn": arn, "FunctionConfiguration": configuration}), json!([]))
    };
    assert_eq!(accepted(&spooler("262144")).spooler.max_size.bytes(), 262_144);
    assert_eq!(one_error(&spooler("262143")).1, "Spool size should be at least 262144 bytes.");
    assert!(one_error(&spooler("2.5 MB")).1.starts_with("is a whole number"));
}

fn with_variable(mut function: Value, name: &str, value: &str) -> Value {
    function["FunctionConfiguration"]["Environment"]["Variables"] = json!({ name: value, "MINE": "yes" });
    with_function(function, json!([]))
}

#[test]
fn what_margay_adds_stands_among_the_variables_and_is_not_one_of_the_functions() {
    let own = |name, value| {
        let group = accepted(&with_variable(contained(json!([])), name, value));
        let function = group.functions[0].clone();
        assert_eq!(function.variables.keys().collect::<Vec<_>>(), ["MINE"]);
        function.own
    };
    assert_eq!(own("MARGAY_NETWORK", "host"), Own::default());
    assert_eq!(own("MARGAY_NETWORK", "none").network, FunctionNetwork::None);
    assert_eq!(own("MARGAY_ROOT", "read-only").root, FunctionRoot::ReadOnly);
    assert_eq!(own("MARGAY_CPU_WEIGHT", "50").cpu, CpuShare { weight: Some(50), quota: None });
    assert_eq!(own("MARGAY_CPU_QUOTA", "150").cpu, CpuShare { weight: None, quota: Some(150) });
}

#[test]
fn what_margay_adds_is_refused_by_name_value_and_rule() {
    for (name, value, rule) in [
        ("MARGAY_NETWORK", "bridge", "is one of host, none"),
        ("MARGAY_ROOT", "writable", "is one of layer, read-only"),
        ("MARGAY_CPU_WEIGHT", "0", "is a whole number from 1 to 10000 against everybody else's 100"),
        ("MARGAY_CPU_QUOTA", "half", "is a whole number from 1 to 25600 hundredths of one processor"),
    ] {
        let (path, said) = one_error(&with_variable(contained(json!([])), name, value));
        assert_eq!((path, said), (format!("{CONFIGURATION}.Environment.Variables.{name}"), rule.to_owned()));
    }
    let (_, said) = one_error(&with_variable(uncontained(json!([])), "MARGAY_CPU_QUOTA", "50"));
    assert_eq!(said, "MARGAY_CPU_QUOTA is not allowed in IsolationMode=NoContainer");
}
