//! Nodes that read nothing but constants: mostly the shape arithmetic that exporters leave before a `Reshape`.

use std::sync::Arc;

use tract_onnx::pb::NodeProto;

use super::attributes::Attributes;
use super::constant::{Constant, Elements};
use super::declined::Declined;

/// Longest constant that is computed; shapes have a handful of axes.
const MAX_ELEMENTS: usize = 64;

/// The value of a node whose inputs are constants; `None` where it is not computed here.
pub(super) fn fold(node: &NodeProto, opset: i64, inputs: &[Arc<Constant>]) -> Result<Option<Constant>, Declined> {
    let attributes = Attributes::of(node);
    match (node.op_type.as_str(), inputs) {
        ("Constant", []) => constant(node, &attributes).map(Some),
        ("Identity", [input]) => Ok(Some(Constant::clone(input))),
        (_, inputs) if inputs.iter().any(|input| input.len() > MAX_ELEMENTS) => Ok(None),
        ("Gather", [data, indices]) => Ok(gathered(data, indices, attributes.int("axis", 0))),
        ("Concat", inputs) => Ok(concatenated(inputs)),
        // Of a list of integers, only the list matters; an axis of length 1 makes no difference to it.
        ("Unsqueeze", [data, ..]) => Ok(data.as_integers().map(|values| Constant::integers(values.to_vec(), false))),
        ("Squeeze", [data, ..]) => {
            Ok(data.as_integers().map(|values| Constant::integers(values.to_vec(), values.len() == 1)))
        }
        ("Cast", [data]) => Ok(cast(data, attributes.int("to", 0))),
        ("Slice", [data, bounds @ ..]) if opset >= 10 => Ok(sliced(data, bounds)),
        ("Add" | "Sub" | "Mul" | "Div", [a, b]) => Ok(combined(node.op_type.as_str(), a, b)),
        _ => Ok(None),
    }
}

fn constant(node: &NodeProto, attributes: &Attributes<'_>) -> Result<Constant, Declined> {
    if let Some(tensor) = attributes.get("value").and_then(|attribute| attribute.t.as_ref()) {
        return Constant::decode(tensor).map_err(|reason| Declined::node(node, reason));
    }
    if let Some(attribute) = attributes.get("value_int") {
        return Ok(Constant::integers(vec![attribute.i], true));
    }
    if let Some(attribute) = attributes.get("value_ints") {
        return Ok(Constant::integers(attribute.ints.clone(), false));
    }
    if let Some(attribute) = attributes.get("value_float") {
        return Ok(Constant { dims: Vec::new(), elements: Elements::Floats(vec![attribute.f]) });
    }
    Err(Declined::node(node, "constants of its kind are not covered"))
}

fn gathered(data: &Constant, indices: &Constant, axis: i64) -> Option<Constant> {
    let (values, places) = (data.as_integers()?, indices.as_integers()?);
    if axis != 0 || data.dims.len() != 1 || indices.dims.len() > 1 {
        return None;
    }
    let at = |&place: &i64| {
        let place = if place < 0 { place.checked_add(values.len() as i64)? } else { place };
        values.get(usize::try_from(place).ok()?).copied()
    };
    let gathered = places.iter().map(at).collect::<Option<Vec<_>>>()?;
    Some(Constant::integers(gathered, indices.dims.is_empty()))
}

fn concatenated(inputs: &[Arc<Constant>]) -> Option<Constant> {
    let lists: Option<Vec<&[i64]>> = inputs.iter().map(|input| input.as_integers()).collect();
    Some(Constant::integers(lists?.concat(), false))
}

/// Integers stay what they are; ONNX's number for 64-bit ones is 7, for 32-bit ones 6.
fn cast(data: &Constant, to: i64) -> Option<Constant> {
    matches!(to, 6 | 7).then(|| data.as_integers().map(|_| data.clone()))?
}

/// A part of a list.
fn sliced(data: &Constant, bounds: &[Arc<Constant>]) -> Option<Constant> {
    let values = data.as_integers()?;
    let bound = |place: usize| -> Option<i64> {
        match bounds.get(place)?.as_integers()? {
            [bound] => Some(*bound),
            _ => None,
        }
    };
    let is_plain = bounds.len() < 3 || bound(2) == Some(0);
    let is_dense = bounds.len() < 4 || bound(3) == Some(1);
    let count = i64::try_from(values.len()).ok()?;
    let place = |bound: i64| (if bound < 0 { bound.saturating_add(count) } else { bound }).clamp(0, count) as usize;
    let (from, to) = (place(bound(0)?), place(bound(1)?));
    (data.dims.len() == 1 && is_plain && is_dense)
        .then(|| Constant::integers(values.get(from..to).unwrap_or_default().to_vec(), false))
}

fn combined(operator: &str, a: &Constant, b: &Constant) -> Option<Constant> {
    let (x, y) = (a.as_integers()?, b.as_integers()?);
    let length = x.len().max(y.len());
    if ![1, length].contains(&x.len()) || ![1, length].contains(&y.len()) || x.is_empty() || y.is_empty() {
        return None;
    }
    let pairs = (0..length).map(|place| (x[place % x.len()], y[place % y.len()]));
    let values = pairs.map(|(x, y)| match operator {
        "Add" => x.checked_add(y),
        "Sub" => x.checked_sub(y),
        "Mul" => x.checked_mul(y),
        _ => x.checked_div(y),
    });
    Some(Constant::integers(values.collect::<Option<Vec<_>>>()?, a.dims.is_empty() && b.dims.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[i64]) -> Arc<Constant> {
        Arc::new(Constant::integers(values.to_vec(), false))
    }

    #[test]
    fn the_shape_arithmetic_of_exporters_is_computed() {
        let shape = list(&[1, 1280, 7, 7]);
        assert_eq!(gathered(&shape, &list(&[0, -1]), 0), Some(Constant::integers(vec![1, 7], false)));
        assert_eq!(concatenated(&[list(&[1]), list(&[-1])]), Some(Constant::integers(vec![1, -1], false)));
        assert_eq!(sliced(&shape, &[list(&[2]), list(&[i64::MAX])]), Some(Constant::integers(vec![7, 7], false)));
        assert_eq!(combined("Mul", &list(&[7, 6]), &list(&[2])), Some(Constant::integers(vec![14, 12], false)));
    }

    #[test]
    fn what_makes_no_number_is_not_computed() {
        let shape = list(&[1, i64::MAX]);
        assert_eq!(gathered(&shape, &list(&[i64::MIN]), 0), None);
        assert_eq!(combined("Add", &shape, &shape), None);
        assert_eq!(combined("Div", &shape, &list(&[0])), None);
        assert_eq!(combined("Add", &shape, &list(&[1, 2, 3])), None);
    }
}
