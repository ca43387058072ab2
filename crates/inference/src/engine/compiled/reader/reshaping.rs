//! Operators that give the same elements another shape: they leave no step behind.

use tract_onnx::pb::NodeProto;

use super::{Reader, Tensor};
use crate::engine::compiled::attributes::Attributes;
use crate::engine::compiled::declined::Declined;

/// Most axes of a shape.
const MAX_AXES: usize = 8;

impl<'a> Reader<'a> {
    pub(super) fn reshaping(&mut self, node: &'a NodeProto) -> Result<Tensor, Declined> {
        let attributes = Attributes::of(node);
        let tensor = match node.op_type.as_str() {
            "Identity" => self.any_tensor(node, 0)?,
            "Dropout" => {
                attributes.float("ratio", 0.5);
                attributes.int("seed", 0);
                let is_training = self.constant(node, 2).is_some_and(|flag| flag.as_integers() != Some(&[0]));
                if is_training {
                    return Err(Declined::node(node, "training is not covered"));
                }
                self.any_tensor(node, 0)?
            }
            _ => {
                let tensor = self.tensor(node, 0)?;
                let dims = self.dims_of(node, &attributes, &tensor.dims);
                let dims = dims.ok_or_else(|| Declined::node(node, format!("its shape for {:?}", tensor.dims)))?;
                Tensor { dims, ..tensor }
            }
        };
        attributes.finish()?;
        Ok(tensor)
    }

    /// The shape that a node gives to elements of this shape; `None` where it has others, or too many axes.
    pub(super) fn dims_of(&self, node: &NodeProto, attributes: &Attributes<'_>, dims: &[usize]) -> Option<Vec<usize>> {
        let elements = dims.iter().product::<usize>();
        let dims = match node.op_type.as_str() {
            "Flatten" => flattened(dims, attributes.int("axis", 1)),
            "Reshape" => self.reshaped(node, dims, attributes.int("allowzero", 0) != 0),
            "Squeeze" => squeezed(dims, self.axes(node, attributes)),
            _ => unsqueezed(dims, self.axes(node, attributes)),
        };
        dims.filter(|dims| {
            let count = dims.iter().try_fold(1_usize, |count, &length| count.checked_mul(length));
            dims.len() <= MAX_AXES && count == Some(elements)
        })
    }

    /// Axes, given as an attribute or as a constant.
    fn axes(&self, node: &NodeProto, attributes: &Attributes<'_>) -> Option<Vec<i64>> {
        let given = attributes.get("axes").map(|attribute| attribute.ints.clone());
        given.or_else(|| self.constant(node, 1)?.as_integers().map(<[i64]>::to_vec))
    }

    /// The shape that a `Reshape` asks for: 0 keeps a length, one -1 takes what is left.
    fn reshaped(&self, node: &NodeProto, dims: &[usize], zero_is_zero: bool) -> Option<Vec<usize>> {
        let wanted = self.constant(node, 1)?;
        let wanted = wanted.as_integers()?;
        let elements: usize = dims.iter().product();
        let mut shape = Vec::with_capacity(wanted.len());
        for (axis, &length) in wanted.iter().enumerate() {
            shape.push(match length {
                -1 => None,
                0 if !zero_is_zero => Some(*dims.get(axis)?),
                length => Some(usize::try_from(length).ok()?),
            });
        }
        let fixed = shape.iter().flatten().try_fold(1_usize, |product, &length| product.checked_mul(length))?;
        if shape.iter().filter(|length| length.is_none()).count() > 1 {
            return None;
        }
        Some(shape.into_iter().map(|length| length.unwrap_or(elements.checked_div(fixed).unwrap_or(0))).collect())
    }
}

/// An axis counted from the front, or from the end where it is negative.
fn axis_of(axis: i64, axes: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(i64::try_from(axes).ok()?)? } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < axes)
}

fn flattened(dims: &[usize], axis: i64) -> Option<Vec<usize>> {
    let axis = if axis == dims.len() as i64 { dims.len() } else { axis_of(axis, dims.len())? };
    let (before, after) = dims.split_at(axis);
    Some(vec![before.iter().product(), after.iter().product()])
}

/// Without the axes, which must have the length 1; without any given, all of that length go.
fn squeezed(dims: &[usize], axes: Option<Vec<i64>>) -> Option<Vec<usize>> {
    let axes: Option<Vec<usize>> = axes
        .map(|axes| axes.iter().map(|&axis| axis_of(axis, dims.len())).collect::<Option<_>>())
        .unwrap_or(Some(vec![]));
    let axes = axes?;
    let kept = dims.iter().enumerate().filter(
        |(axis, length)| {
            if axes.is_empty() { **length != 1 } else { !axes.contains(axis) }
        },
    );
    Some(kept.map(|(_, &length)| length).collect())
}

fn unsqueezed(dims: &[usize], axes: Option<Vec<i64>>) -> Option<Vec<usize>> {
    let axes = axes?;
    let rank = dims.len() + axes.len();
    let mut new: Vec<usize> = axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Option<_>>()?;
    new.sort_unstable();
    let mut dims = dims.to_vec();
    for axis in new {
        if axis > dims.len() {
            return None;
        }
        dims.insert(axis, 1);
    }
    Some(dims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_change_as_onnx_says() {
        assert_eq!(flattened(&[1, 3, 4, 5], 1), Some(vec![1, 60]));
        assert_eq!(flattened(&[1, 3, 4], 3), Some(vec![12, 1]));
        assert_eq!(flattened(&[1, 3, 4], -1), Some(vec![3, 4]));
        assert_eq!(flattened(&[1, 3, 4], 9), None);
        assert_eq!(squeezed(&[1, 3, 1, 1], Some(vec![2, -1])), Some(vec![1, 3]));
        assert_eq!(squeezed(&[1, 3, 1, 1], None), Some(vec![3]));
        assert_eq!(unsqueezed(&[3, 4], Some(vec![0, -1])), Some(vec![1, 3, 4, 1]));
        assert_eq!(unsqueezed(&[3], Some(vec![i64::MAX])), None);
    }
}
