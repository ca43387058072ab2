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
