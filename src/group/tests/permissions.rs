//! The permission matrix of B-15, whole: every function, resource, owner and identity that it tells apart, against the
//! six texts of B-17; and the local resources' rules of B-04, B-05, B-07 and B-08 the same way.

use super::*;

const PERMISSIONS: [Option<&str>; 3] = [None, Some("ro"), Some("rw")];
/// The owner group of both models.
const OWNER: &str = "1001";

/// One cell: a function, the model `m`, and perhaps a second model `n` of the same owner group.
#[derive(Debug, Clone, Copy)]
struct Cell {
    contained: bool,
    /// Whether `m` is attached, and with which `Permission`.
    attached: Option<Option<&'static str>>,
    owner: Option<&'static str>,
    uid: Option<&'static str>,
    gid: Option<&'static str>,
    /// Whether there is a second model, and whether it is attached.
    second: Option<bool>,
}

fn every_cell() -> Vec<Cell> {
    let mut cells = Vec::new();
    let attachments = [None, Some(None), Some(Some("ro")), Some(Some("rw"))];
    for contained in [true, false] {
        for attached in attachments {
            for owner in PERMISSIONS {
                for uid in [None, Some("0"), Some("500")] {
                    for gid in [None, Some(OWNER), Some("1002")] {
                        for second in [None, Some(false), Some(true)] {
                            cells.push(Cell { contained, attached, owner, uid, gid, second });
                        }
                    }
                }
            }
        }
    }
    cells
}

impl Cell {
    fn document(&self) -> Value {
        let mut policies = Vec::new();
        if let Some(permission) = self.attached {
            policies.push(json!({"ResourceId": "m", "Permission": permission}));
        }
        if self.second == Some(true) {
            policies.push(json!({"ResourceId": "n"}));
        }
        let mut function = if self.contained { contained(json!(policies)) } else { uncontained(json!(policies)) };
        function["FunctionConfiguration"]["Environment"]["Execution"]["RunAs"] =
            json!({"Uid": self.uid, "Gid": self.gid});
        let owner = self.owner.map(|permission| json!({"GroupOwner": OWNER, "GroupPermission": permission}));
        let mut resources = vec![model("m", "/m", owner)];
        if self.second.is_some() {
            resources.push(owned("n", "/n", "ro"));
        }
        with_function(function, json!(resources))
    }

    /// What the guide's prose says of this cell (L10392 to L10407, L10683 to L10718).
    fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        if let Some(permission) = self.attached {
            texts.extend(self.attachment_text(permission));
        }
        let shares = |attached: bool| attached || (self.gid == Some(OWNER) && self.uid != Some("0"));
        let implicit =
            |id: &str| format!("Lambda {FUNCTION} gains access to resource {id} by sharing the same group owner id");
        if self.owner.is_some() && self.attached.is_none() && shares(self.second == Some(true)) {
            texts.push(implicit("m"));
        }
        if self.second == Some(false) && shares(self.attached.is_some() && self.owner.is_some()) {
            texts.push(implicit("n"));
        }
        texts
    }

    fn attachment_text(&self, permission: Option<&str>) -> Option<String> {
        match (self.contained, permission, self.owner) {
            (false, Some(permission), _) => Some(format!(
                "NoContainer function cannot configure permission when attaching Machine Learning resources. {FUNCTION} \
                 refers to Machine Learning resource m with permission {permission} in resource access policy."
            )),
            (_, None, None) => Some(format!(
                "Function {FUNCTION} refers to Machine Learning resource m with missing permission in both \
                 ResourceAccessPolicy and resource OwnerSetting."
            )),
            (true, Some("rw"), Some("ro")) => Some(format!(
                "Function {FUNCTION} refers to Machine Learning resource m with permission \"rw\", while resource owner \
                 setting GroupPermission only allows \"ro\"."
            )),
            _ => None,
        }
    }
}

fn rules(document: &Value) -> Vec<String> {
    match parse_for(document, true) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.errors().map(|problem| problem.rule.clone()).collect(),
    }
}

#[test]
fn every_cell_of_the_permission_matrix_is_decided_with_the_guides_text_b_15_b_17() {
    let cells = every_cell();
    assert_eq!(cells.len(), 648);
    for cell in &cells {
        assert_eq!(rules(&cell.document()), cell.texts(), "{cell:?}");
    }
    let refused = cells.iter().filter(|cell| !cell.texts().is_empty()).count();
    assert!(refused > 200 && cells.len() - refused > 200, "{refused} of them are refused");
}

#[test]
fn every_local_resource_with_every_permission_in_every_isolation_b_04_b_08() {
    const ISOLATION: &str = "is not allowed in IsolationMode=NoContainer.";
    let secret =
        json!({"Id": "r", "Name": "r", "ResourceDataContainer": {"SecretsManagerSecretResourceData": {"ARN": "x"}}});
    let kinds = [
        ("device", device("r", "/dev/video0")),
        ("volume", volume("r", "/src", "/dest")),
        ("shared memory", volume("r", "/dev/shm", "/dev/shm")),
        ("proc", volume("r", "/proc", "/host-proc")),
        ("secret", secret),
    ];
    for (kind, resource) in &kinds {
        for permission in PERMISSIONS {
            for isolated in [true, false] {
                let policies = json!([{"ResourceId": "r", "Permission": permission}]);
                let function = if isolated { contained(policies) } else { uncontained(policies) };
                let found = rules(&with_function(function, json!([resource])));
                let isolation = if isolated || *kind == "secret" { None } else { Some(ISOLATION) };
                let of_permission = match (*kind, permission) {
                    ("secret", Some("ro")) => None,
                    ("secret", _) => Some("for which Permission is ro"),
                    (_, None) => Some("for which Permission is required"),
                    ("proc", Some("rw")) => Some("granted read-only"),
                    ("shared memory", Some("ro")) => Some("with rw only"),
                    _ => None,
                };
                let expected: Vec<&str> = isolation.into_iter().chain(of_permission).collect();
                assert_eq!(found.len(), expected.len(), "{kind} {permission:?} {isolated}: {found:?}");
                assert!(found.iter().zip(expected).all(|(rule, words)| rule.contains(words)), "{kind}: {found:?}");
            }
        }
    }
}

#[test]
fn destinations_nest_by_whole_parts_and_matter_without_a_container_only_b_17() {
    let both = json!([{"ResourceId": "m"}, {"ResourceId": "n"}]);
    for (first, second, nested) in [
        ("/m", "/m", true),
        ("/m", "/m/", true),
        ("/m", "//m", true),
        ("/m/n", "/m", true),
        ("/m", "/m/a/b/c", true),
        ("/m", "/mn", false),
        ("/m/a", "/m/b", false),
        ("/m/a", "/m/ab", false),
    ] {
        let resources = json!([owned("m", first, "ro"), owned("n", second, "ro")]);
        let found = rules(&with_function(uncontained(both.clone()), resources.clone()));
        let expected = format!("NoContainer Function {FUNCTION} refers to resources of nested destination path.");
        assert_eq!(found, if nested { vec![expected] } else { Vec::new() }, "{first} {second}");
        assert_eq!(rules(&with_function(contained(both.clone()), resources)), Vec::<String>::new());
    }
}

#[test]
fn an_owner_is_known_by_both_names_of_v1_and_stands_once() {
    let data = |parts: Value| {
        let mut resource = model("m", "/m", None);
        for (key, value) in parts.as_object().expect("parts are an object") {
            resource["ResourceDataContainer"]["S3MachineLearningModelResourceData"][key] = value.clone();
        }
        with_resources(json!([resource]))
    };
    let owner = json!({"GroupOwner": 1001, "GroupPermission": "rw"});
    let group = accepted(&data(json!({"ResourceDownloadOwnerSetting": owner})));
    assert_eq!(group.resources[0].model().expect("a model").owner.expect("an owner").gid, 1001);
    let (path, _) = one_error(&data(json!({"OwnerSetting": owner, "ResourceDownloadOwnerSetting": owner})));
    assert!(path.ends_with("ResourceDownloadOwnerSetting"), "{path}");
    let (_, rule) = one_error(&data(json!({"ResourceDownloadOwnerSetting": {"GroupOwner": 1001}})));
    assert!(rule.starts_with("InvalidMLModelOwner - "), "{rule}");
    for gid in [json!(-1), json!("video"), json!(4_294_967_296_u64), json!(1.5), json!("")] {
        let bad = json!({"GroupOwner": gid, "GroupPermission": "ro"});
        let (path, _) = one_error(&data(json!({"OwnerSetting": bad})));
        assert!(path.ends_with("OwnerSetting.GroupOwner"), "{gid}: {path}");
    }
}

/// Documents that break one rule each, whose text is the guide's.
fn documents_of_the_guides_texts() -> Vec<Value> {
    let with = |mut function: Value, place: &str, value: Value| {
        *function
            .pointer_mut("/FunctionConfiguration")
            .and_then(|configuration| configuration.get_mut(place))
            .expect("a place") = value;
        with_function(function, json!([]))
    };
    let attached = |permission: Option<&str>| json!([{"ResourceId": "m", "Permission": permission}]);
    let execution = |execution: Value| json!({"Execution": execution});
    let system = |configuration: Value| {
        let arn = "arn:aws:lambda:::function:GGCloudSpooler:1";
        with_function(json!({"Id": "s", "FunctionArn": arn, "FunctionConfiguration": configuration}), json!([]))
    };
    let mut group_mode = with_function(contained(json!([])), json!([]));
    group_mode["FunctionDefinitionVersion"]["DefaultConfig"] = execution(json!({"IsolationMode": "x"}));
    let mut limited = uncontained(json!([]));
    limited["FunctionConfiguration"]["MemorySize"] = json!(16384);
    let free = |sysfs: bool| json!({"AccessSysfs": sysfs, "Execution": {"IsolationMode": "NoContainer"}});
    let nested = json!([{"ResourceId": "m"}, {"ResourceId": "n"}]);
    vec![
        with_resources(json!([model("m", "/m", Some(json!({})))])),
        with_function(uncontained(attached(Some("ro"))), json!([owned("m", "/m", "ro")])),
        with_function(contained(attached(None)), json!([model("m", "/m", None)])),
        with_function(contained(attached(Some("rw"))), json!([owned("m", "/m", "ro")])),
        with_function(uncontained(nested), json!([owned("m", "/m", "ro"), owned("n", "/m/n", "ro")])),
        with(contained(json!([])), "Environment", execution(json!({"RunAs": {"Gid": 1001}}))),
        group_mode,
        with(contained(json!([])), "Environment", execution(json!({"IsolationMode": "x"}))),
        with_function(limited, json!([])),
        with(contained(json!([])), "MemorySize", Value::Null),
        with(uncontained(json!([])), "Environment", free(true)),
        with_function(
            uncontained(json!([{"ResourceId": "r", "Permission": "ro"}])),
            json!([device("r", "/dev/video0")]),
        ),
        system(execution(json!({"IsolationMode": "NoContainer"}))),
        with(contained(json!([])), "Environment", execution(json!({"RunAs": {"Uid": 0}}))),
        system(json!({"Environment": {"Variables": {"GG_CONFIG_MAX_SIZE_BYTES": "1"}}})),
    ]
}

#[test]
fn every_text_of_the_reference_is_printed_word_for_word() {
    let mut documents = documents_of_the_guides_texts();
    // The check by identity needs a model that is there and not attached.
    documents[5]["ResourceDefinitionVersion"]["Resources"] = json!([owned("m", "/m", "ro")]);
    let printed: Vec<String> = documents.iter().map(|document| one_error(document).1).collect();
    let (_, table) =
        include_str!("../../../docs/group-documents.md").split_once("## The guide's texts").expect("a table");
    let (table, _) = table.split_once("\nWhere they").expect("its end");
    let texts = table.lines().filter_map(|line| line.strip_suffix("` |")?.split_once("| `").map(|(_, text)| text));
    let texts: Vec<String> = texts
        .map(|text| {
            text.replace("<function-arn>", FUNCTION)
                .replace("<system-function-arn>", "arn:aws:lambda:::function:GGCloudSpooler:1")
                .replace("<resource-id>", "m")
                .replace("<resource-type>", "Local.Device")
                .replace("<ro/rw>", "ro")
        })
        .collect();
    assert_eq!(printed, texts);
}
