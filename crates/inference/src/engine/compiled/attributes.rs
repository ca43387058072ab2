//! Attributes of a node, by name; one that nobody asked for declines the model.

use std::cell::RefCell;

use tract_onnx::pb::{AttributeProto, NodeProto};

use super::declined::Declined;

/// The attributes of one node, of which those are crossed off that were asked for.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    node: &'a NodeProto,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Attributes<'a> {
    pub(super) fn of(node: &'a NodeProto) -> Self {
        Self { node, asked: RefCell::default() }
    }

    pub(super) fn get(&self, name: &'static str) -> Option<&'a AttributeProto> {
        self.asked.borrow_mut().push(name);
        self.node.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn int(&self, name: &'static str, default: i64) -> i64 {
        self.get(name).map_or(default, |attribute| attribute.i)
    }

    pub(super) fn float(&self, name: &'static str, default: f32) -> f32 {
        self.get(name).map_or(default, |attribute| attribute.f)
    }

    pub(super) fn text(&self, name: &'static str, default: &'static str) -> &'a str {
        self.get(name).map_or(default, |attribute| std::str::from_utf8(&attribute.s).unwrap_or_default())
    }

    /// So many lengths, or the default for each.
    pub(super) fn lengths<const COUNT: usize>(
        &self,
        name: &'static str,
        default: usize,
    ) -> Result<[usize; COUNT], Declined> {
        let Some(attribute) = self.get(name) else { return Ok([default; COUNT]) };
        let lengths: Option<Vec<usize>> = attribute
            .ints
            .iter()
            .map(|&length| usize::try_from(length).ok().filter(|&length| length <= 1 << 20))
            .collect();
        lengths
            .and_then(|lengths| lengths.try_into().ok())
            .ok_or_else(|| Declined::node(self.node, format!("{name} is {:?}", attribute.ints)))
    }

    /// Declines a node with an attribute that was not asked for: it would mean something else than it was taken for.
    pub(super) fn finish(&self) -> Result<(), Declined> {
        let asked = self.asked.borrow();
        match self.node.attribute.iter().find(|attribute| !asked.contains(&attribute.name.as_str())) {
            None => Ok(()),
            Some(other) => Err(Declined::node(self.node, format!("its attribute {:.80} is not covered", other.name))),
        }
    }
}
