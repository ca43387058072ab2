//! Entities of a group together with where they stand, while the rules between them are checked.

use std::collections::BTreeSet;

use crate::document::{Notes, Object, Unknown};

/// An entity and its place in the document.
#[derive(Debug)]
pub(super) struct Placed<T> {
    pub(super) path: String,
    pub(super) entity: T,
}

/// The ids that a list declares, also those of entities that are refused for another reason, so that a reference to one
/// is not refused a second time.
pub(super) type Declared<T> = BTreeSet<T>;

/// Takes the places off.
pub(super) fn entities<T>(placed: Vec<Placed<T>>) -> Vec<T> {
    placed.into_iter().map(|placed| placed.entity).collect()
}

/// Reads every object of the list `key` in `definition`, and ends both readings.
pub(super) fn read_list<'d, T>(
    definition: &mut Object<'d>,
    key: &'static str,
    mut read: impl FnMut(&mut Object<'d>) -> Option<T>,
) -> Vec<Placed<T>> {
    let mut placed = Vec::new();
    for mut object in definition.field(key).objects() {
        let path = object.path().to_owned();
        if let Some(entity) = read(&mut object) {
            placed.push(Placed { path, entity });
        }
        object.finish(Unknown::Warn);
    }
    placed
}

/// Refuses every entity whose `key` an earlier one has. `what` names the key in the sentence, such as `Id`.
pub(super) fn refuse_repeated<T, K: PartialEq>(
    placed: &[Placed<T>],
    (what, key): (&str, impl Fn(&T) -> Option<&K>),
    notes: &Notes,
) {
    for (position, later) in placed.iter().enumerate() {
        let Some(wanted) = key(&later.entity) else { continue };
        if let Some(first) = placed[..position].iter().find(|earlier| key(&earlier.entity) == Some(wanted)) {
            let path = format!("{}.{what}", later.path);
            let rule = format!("is the {what} of {} already", first.path);
            notes.error(&path, None, rule, "list each of them once");
        }
    }
}
