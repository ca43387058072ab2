//! The connectors of a group (contract A1): which, and with what parameters. What the parameters mean is `connector`'s.

use serde_json::{Map, Value};

use crate::arn::ConnectorArn;
use crate::document::{Field, Object, Unknown};
use crate::name::EntityId;

use super::placed::{Declared, Placed, entities, read_list, refuse_repeated};

/// A configured instance of a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connector {
    /// The entity's id.
    pub id: EntityId,
    /// The connector and its version.
    pub arn: ConnectorArn,
    /// Its parameters, whose values are all strings.
    pub parameters: Map<String, Value>,
    /// Where it stands in the document, for problems.
    pub place: String,
}

impl Connector {
    /// Where `key` of it stands in the document, such as `Parameters`.
    pub fn path_of(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }

    /// The ARN as a problem shows it.
    pub fn shown_arn(&self) -> Option<String> {
        Some(format!("\"{}\"", self.arn))
    }
}

/// The connectors of a group, while the rules between them and subscriptions are checked.
#[derive(Debug)]
pub(super) struct Connectors {
    pub(super) valid: Vec<Connector>,
    pub(super) declared: Declared<String>,
}

pub(super) fn read(top: &mut Object<'_>) -> Connectors {
    let mut definition = top.field("ConnectorDefinitionVersion").section();
    let mut declared = Declared::new();
    let connectors = read_list(&mut definition, "Connectors", |object| {
        let id = object.field("Id").required("write an id").parsed::<EntityId>();
        let arn = object.field("ConnectorArn").required("write the connector's ARN").parsed::<ConnectorArn>();
        declared.extend(arn.as_ref().map(ToString::to_string));
        let parameters = read_parameters(&object.field("Parameters"));
        Some(Connector { id: id?, arn: arn?, parameters, place: object.path().to_owned() })
    });
    definition.finish(Unknown::Warn);
    refuse_repeated(&connectors, ("Id", |connector: &Connector| Some(&connector.id)), top.notes());
    refuse_second_instances(&connectors, top);
    Connectors { valid: entities(connectors), declared }
}

/// Values are strings, and the guide's examples pass a bare number now and then (contract A1). A parameter may be a
/// secret, so none is shown.
fn read_parameters(field: &Field<'_>) -> Map<String, Value> {
    let entries = field.section().into_entries();
    entries.filter_map(|(name, field)| Some((name.to_owned(), field.secret().scalar()?.into()))).collect()
}

/// A group has one instance, and so one version, of a given connector (contract A1).
fn refuse_second_instances(connectors: &[Placed<Connector>], top: &Object<'_>) {
    for (position, later) in connectors.iter().enumerate() {
        let name = later.entity.arn.name();
        if let Some(first) = connectors[..position].iter().find(|earlier| earlier.entity.arn.name() == name) {
            let rule = format!("is a second instance of {name}, which {} configures already", first.path);
            let (path, shown) = (later.entity.path_of("ConnectorArn"), later.entity.shown_arn());
            top.notes().error(&path, shown, rule, "configure one instance a connector");
        }
    }
}
