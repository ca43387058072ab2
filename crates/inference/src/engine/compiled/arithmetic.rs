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
        ("Add" | "Sub" | "Mul" | "Div", [a, b]) if a.floats().is_some() && b.floats().is_some() => {
            Ok(combined_floats(node.op_type.as_str(), a, b))
        }
        (_, inputs) if inputs.iter().any(|input| input.len() > MAX_ELEMENTS) => Ok(None),
        ("Gather", [data, indices]) => Ok(gathered(data, indices, attributes.int("axis", 0))),
        ("Concat", inputs) => Ok(concatenated(inputs)),
        // Of a list of integers, only the list matters; an axis of length 1 makes no difference to it.
        ("Unsqueeze", [data, ..]) => Ok(data.as_integers().map(|values| Constant::integers(values.to_vec(), false))),
        ("Squeeze", [data, ..]) => {
            Ok(data.as_integers().map(|values| Constant::integers(values.to_vec(), values.len() == 1)))
        }
        ("Cast", [data]) => Ok(cast(data, attributes.int("to", 0))),
        ("Sqrt", [data]) => Ok(data.floats().map(|values| floats(data, values.iter().map(|value| value.sqrt())))),
        ("Reshape", [data, shape]) => Ok(reshaped(data, shape)),
        ("ConstantOfShape", [shape]) => repeated(node, &attributes, shape),
        ("Equal", [a, b]) => Ok(combined("Equal", a, b)),
        ("Where", [condition, a, b]) => Ok(chosen(condition, a, b)),
        ("Slice", [data, bounds @ ..]) if opset >= 10 => Ok(sliced(data, bounds)),
        ("Add" | "Sub" | "Mul" | "Div" | "Mod", [a, b]) => Ok(combined(node.op_type.as_str(), a, b)),
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

/// Numbers stay what they are, or integers become floats; ONNX's number for those of 32 bits is 1, for integers of 64 bits 7, of
/// 32 bits 6.
fn cast(data: &Constant, to: i64) -> Option<Constant> {
    match (to, &data.elements) {
        (1, Elements::Integers(values)) => Some(floats(data, values.iter().map(|&value| value as f32))),
        (1, Elements::Floats(_)) | (6 | 7, Elements::Integers(_)) => Some(data.clone()),
        _ => None,
    }
}

/// Floats of a constant's shape.
fn floats(like: &Constant, values: impl Iterator<Item = f32>) -> Constant {
    Constant { dims: like.dims.clone(), elements: Elements::Floats(values.collect()) }
}

/// A list of all, or a single one without an axis.
fn reshaped(data: &Constant, shape: &Constant) -> Option<Constant> {
    let values = data.as_integers()?;
    match shape.as_integers()? {
        [] if values.len() == 1 => Some(Constant::integers(values.to_vec(), true)),
        &[length] if length == -1 || usize::try_from(length) == Ok(values.len()) => {
            Some(Constant::integers(values.to_vec(), false))
        }
        _ => None,
    }
}

/// One number as often as a list is long that this makes.
fn repeated(node: &NodeProto, attributes: &Attributes<'_>, shape: &Constant) -> Result<Option<Constant>, Declined> {
    let Some(value) = attributes.get("value").and_then(|attribute| attribute.t.as_ref()) else { return Ok(None) };
    let value = Constant::decode(value).map_err(|reason| Declined::node(node, reason))?;
    Ok(match (value.as_integers(), shape.as_integers()) {
        (Some(&[value]), Some(&[length])) => {
            let length = usize::try_from(length).ok().filter(|&length| length <= MAX_ELEMENTS);
            length.map(|length| Constant::integers(vec![value; length], false))
        }
        _ => None,
    })
}

/// Of two lists, elements of the first where the condition is not 0.
fn chosen(condition: &Constant, a: &Constant, b: &Constant) -> Option<Constant> {
    let (conditions, a, b) = (condition.as_integers()?, a.as_integers()?, b.as_integers()?);
    if a.len() != conditions.len() || b.len() != conditions.len() || condition.dims.len() != 1 {
        return None;
    }
    let pairs = conditions.iter().zip(a.iter().zip(b));
    Some(Constant::integers(pairs.map(|(&is_first, (a, b))| if is_first == 0 { *b } else { *a }).collect(), false))
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

/// Of floats of one shape, or of single ones.
fn combined_floats(operator: &str, a: &Constant, b: &Constant) -> Option<Constant> {
    let (x, y) = (a.floats()?, b.floats()?);
    if a.dims != b.dims && (x.len() != 1 || y.len() != 1) {
        return None;
    }
    let of_pair = |(&x, &y): (&f32, &f32)| match operator {
        "Add" => x + y,
        "Sub" => x - y,
        "Mul" => x * y,
        _ => x / y,
    };
    let longer = if a.dims.len() >= b.dims.len() { a } else { b };
    Some(floats(longer, x.iter().zip(y).map(of_pair)))
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
        "Equal" => Some(i64::from(x == y)),
        // Of numbers that are not negative, ONNX's and Rust's rests are the same.
        "Mod" => {
            if x < 0 || y < 0 {
                None
            } else {
                x.checked_rem(y)
            }
        }
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
    fn what_exporters_scale_attention_by_is_computed() {
        let one = Constant { dims: vec![1], elements: Elements::Floats(vec![1.0]) };
        let of_head = cast(&list(&[64]), 1).unwrap();
        let root = floats(&of_head, of_head.floats().unwrap().iter().map(|value| value.sqrt()));
        assert_eq!(combined_floats("Div", &one, &root).unwrap().floats(), Some(&[0.125][..]));
        let (wanted, all) = (list(&[1, -1, -1]), list(&[-1; 3]));
        let is_kept = Arc::new(combined("Equal", &wanted, &all).unwrap());
        assert_eq!(chosen(&is_kept, &list(&[1; 3]), &wanted), Some(Constant::integers(vec![1; 3], false)));
        assert_eq!(chosen(&is_kept, &list(&[1; 2]), &wanted), None);
        assert_eq!(combined("Mod", &list(&[2]), &list(&[3])), Some(Constant::integers(vec![2], false)));
        assert_eq!(reshaped(&Constant::integers(vec![7], true), &list(&[1])), Some(Constant::integers(vec![7], false)));
        assert_eq!(reshaped(&wanted, &list(&[2])), None);
        assert_eq!(
            combined_floats("Add", &one, &Constant { dims: vec![2], elements: Elements::Floats(vec![1.0; 2]) }),
            None
        );
    }

    #[test]
    fn what_makes_no_number_is_not_computed() {
        let shape = list(&[1, i64::MAX]);
        assert_eq!(gathered(&shape, &list(&[i64::MIN]), 0), None);
        assert_eq!(combined("Add", &shape, &shape), None);
        assert_eq!(combined("Div", &shape, &list(&[0])), None);
        assert_eq!(combined("Mod", &shape, &list(&[0])), None);
        assert_eq!(combined("Add", &shape, &list(&[1, 2, 3])), None);
    }
}
