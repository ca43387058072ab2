//! Definition versions as `aws greengrass get-…-definition-version` printed them, a file each, joined to one group document.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::tree::{Tree, TreeError};
use crate::group;

/// More files than a group has kinds of definitions, with room for several exports side by side.
const FILE_LIMIT: usize = 64;

/// The lists of definitions: the key of the list, the part of the group document, and the key under which a group version
/// names the definition version.
const KINDS: [(&str, &str, &str); 7] = [
    ("Cores", "CoreDefinitionVersion", "CoreDefinitionVersionArn"),
    ("Functions", "FunctionDefinitionVersion", "FunctionDefinitionVersionArn"),
    ("Resources", "ResourceDefinitionVersion", "ResourceDefinitionVersionArn"),
    ("Connectors", "ConnectorDefinitionVersion", "ConnectorDefinitionVersionArn"),
    ("Subscriptions", "SubscriptionDefinitionVersion", "SubscriptionDefinitionVersionArn"),
    ("Devices", "DeviceDefinitionVersion", "DeviceDefinitionVersionArn"),
    ("Loggers", "LoggerDefinitionVersion", "LoggerDefinitionVersionArn"),
];

/// Why exported definitions make no group.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// A file cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file is no JSON.
    #[error("{file} is not JSON: export it again")]
    Json {
        /// Its name.
        file: String,
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },
    /// A file is JSON of another kind.
    #[error("{file} is nothing that aws greengrass get-group-version or get-…-definition-version prints: take it out")]
    Unknown {
        /// Its name.
        file: String,
    },
    /// Two files are of one kind, and nothing says which is the group's.
    #[error(
        "{first} and {second} both hold {part}: keep the one of the group's version, or add get-group-version's answer"
    )]
    Twice {
        /// The part of the group document.
        part: &'static str,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// The group version names a definition version that is in no file.
    #[error("the group version names {arn} as its {part}, and no file holds it: export that one")]
    Absent {
        /// The part of the group document.
        part: &'static str,
        /// The definition version.
        arn: String,
    },
    /// There is nothing to join.
    #[error("{folder} holds no .json file")]
    Empty {
        /// The folder.
        folder: String,
    },
}

/// A file's content, apart from the wrapper that the command line prints around it.
struct Export {
    file: String,
    arn: Option<String>,
    definition: Map<String, Value>,
}

/// Joins the `.json` files of the folder `tree`.
///
/// # Errors
/// Everything that keeps them from being one group.
pub(super) fn join(tree: &Tree) -> Result<Value, Vec<DefinitionError>> {
    let names = tree.names(Path::new("")).map_err(|error| vec![error.into()])?;
    let names: Vec<String> = names.into_iter().filter(|name| name.ends_with(".json")).collect();
    if names.is_empty() {
        return Err(vec![DefinitionError::Empty { folder: tree.root().display().to_string() }]);
    }
    if names.len() > FILE_LIMIT {
        let path = tree.root().to_owned();
        return Err(vec![TreeError::TooLarge { path, limit: FILE_LIMIT as u64, of: ".json files" }.into()]);
    }
    let mut exports = Vec::new();
    let mut errors = Vec::new();
    for file in names {
        match read(tree, file) {
            Ok(export) => exports.push(export),
            Err(error) => errors.push(error),
        }
    }
    let document = assemble(&exports, &mut errors);
    if errors.is_empty() { Ok(document) } else { Err(errors) }
}

fn read(tree: &Tree, file: String) -> Result<Export, DefinitionError> {
    let (text, _) = tree.text(Path::new(&file), group::SIZE_LIMIT)?;
    let value: Value =
        serde_json::from_str(&text).map_err(|source| DefinitionError::Json { file: file.clone(), source })?;
    let arn = value.get("Arn").and_then(Value::as_str).map(str::to_owned);
    let definition = value.get("Definition").unwrap_or(&value).as_object().cloned();
    let known = |definition: &Map<String, Value>| {
        KINDS.iter().any(|(list, _, named)| definition.contains_key(*list) || definition.contains_key(*named))
    };
    match definition.filter(known) {
        Some(definition) => Ok(Export { file, arn, definition }),
        None => Err(DefinitionError::Unknown { file }),
    }
}

fn assemble(exports: &[Export], errors: &mut Vec<DefinitionError>) -> Value {
    let version =
        exports.iter().find(|export| KINDS.iter().any(|(_, _, named)| export.definition.contains_key(*named)));
    let mut document = Map::new();
    if let Some(id) = version.and_then(|version| version.arn.as_deref()).and_then(|arn| arn.split('/').nth(3)) {
        document.insert("Group".to_owned(), json!({ "Id": id, "Name": id }));
    }
    let mut found: BTreeMap<&str, &Export> = BTreeMap::new();
    for (list, part, named) in KINDS {
        let wanted = version.and_then(|version| version.definition.get(named)).and_then(Value::as_str);
        let holds = |export: &&Export| export.definition.contains_key(list);
        for export in exports.iter().filter(holds) {
            if wanted.is_some() && export.arn.as_deref() != wanted {
                continue;
            }
            if let Some(first) = found.insert(part, export) {
                errors.push(DefinitionError::Twice { part, first: first.file.clone(), second: export.file.clone() });
            }
        }
        match (found.get(part), wanted) {
            (Some(export), _) => {
                document.insert(part.to_owned(), Value::Object(export.definition.clone()));
            }
            (None, Some(arn)) => errors.push(DefinitionError::Absent { part, arn: arn.to_owned() }),
            (None, None) => {}
        }
    }
    Value::Object(document)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ARN: &str = "arn:aws:greengrass:eu-central-1:123456789012:/greengrass/definition";

    fn export(kind: &str, version: &str, definition: &Value) -> Value {
        json!({ "Arn": format!("{ARN}/{kind}/id/versions/{version}"), "Id": "id", "Version": version,
            "CreationTimestamp": "2019-06-18T16:21:21.763Z", "Definition": definition })
    }

    fn joined(files: &[(&str, Value)]) -> Result<Value, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content.to_string()).unwrap();
        }
        let outcome = join(&Tree::open(folder.path()).unwrap());
        outcome.map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    fn group_version() -> Value {
        json!({ "Arn": "arn:aws:greengrass:eu-central-1:123456789012:/greengrass/groups/0a1b/versions/9",
            "Definition": { "CoreDefinitionVersionArn": format!("{ARN}/cores/id/versions/2") } })
    }

    #[test]
    fn the_files_that_the_group_version_names_become_one_document() {
        let old = export("cores", "1", &json!({ "Cores": [{ "Id": "old" }] }));
        let new = export("cores", "2", &json!({ "Cores": [{ "Id": "new" }] }));
        let loggers = export("loggers", "1", &json!({ "Loggers": [] }));
        let document =
            joined(&[("a.json", group_version()), ("b.json", old), ("c.json", new), ("d.json", loggers)]).unwrap();
        assert_eq!(document["Group"]["Id"], "0a1b");
        assert_eq!(document["CoreDefinitionVersion"]["Cores"][0]["Id"], "new");
        assert_eq!(document["LoggerDefinitionVersion"], json!({ "Loggers": [] }));
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        let core = |version| export("cores", version, &json!({ "Cores": [] }));
        let errors = joined(&[("group.json", group_version()), ("core.json", core("1"))]).unwrap_err();
        assert!(errors[0].contains("versions/2") && errors[0].contains("CoreDefinitionVersion"), "{errors:?}");
        let errors = joined(&[("one.json", core("1")), ("two.json", core("2"))]).unwrap_err();
        assert!(errors[0].contains("one.json and two.json"), "{errors:?}");
        let errors = joined(&[("odd.json", json!({ "a": 1 })), ("list.json", json!([]))]).unwrap_err();
        assert!(errors.len() == 2 && errors[1].contains("odd.json is nothing"), "{errors:?}");
        assert!(joined(&[]).unwrap_err()[0].contains("no .json file"));
    }
}
