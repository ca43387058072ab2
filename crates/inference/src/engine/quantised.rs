//! Where tract 0.23.9 misreads a quantised graph, and how that is kept from happening.
//!
//! When tract simplifies a graph it replaces a chain `DequantizeLinear → … → QuantizeLinear` by a table of 256 bytes.
//! That holds for chains that treat each element by itself and end in the type that they began with. tract also takes
//!
//! * chains through a softmax, whose table then says 255 for every byte: every class of a quantised classifier comes
//!   out as certain, and nothing fails;
//! * chains from `u8` to `i8`, and then refuses the model over the type of its own table.
//!
//! [`spell_out`] writes the dequantisation at the head of such a chain as cast, subtraction and multiplication, which
//! mean the same and are left alone.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::tract_data::internal::tensor0;
use tract_onnx::tract_core::ops::cast::{Cast, cast};
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_core::ops::quant::{DequantizeLinearF32, QuantizeLinearI8, QuantizeLinearU8};

/// Longest chain that is followed; simplified graphs have chains of a few operators.
const MAX_CHAIN: usize = 32;

/// Rewrites every dequantisation whose chain tract would misread. The model computes the same as before.
pub(super) fn spell_out(model: &mut TypedModel) -> TractResult<()> {
    for node in model.eval_order()? {
        let Some(op) = model.node(node).op_as::<DequantizeLinearF32>().cloned() else { continue };
        if is_misread(model, node)? {
            replace(model, node, &op)?;
        }
    }
    Ok(())
}

/// Whether the chain behind a dequantisation ends in a quantisation and is none that a table of bytes can stand for.
fn is_misread(model: &TypedModel, dequantisation: usize) -> TractResult<bool> {
    let began = model.node_input_facts(dequantisation)?[0].datum_type;
    let mut element_wise = true;
    let mut at = dequantisation;
    for _ in 0..MAX_CHAIN {
        let Some(next) = model.single_succ(at)? else { return Ok(false) };
        if let Some(ended) = quantises_to(next) {
            return Ok(!element_wise || began != ended);
        }
        element_wise &= next.op_is::<ElementWiseOp>() || next.op_is::<Cast>();
        at = next.id;
    }
    Ok(true)
}

fn quantises_to(node: &TypedNode) -> Option<DatumType> {
    let op = &node.op_as::<ElementWiseOp>()?.0;
    if op.is::<QuantizeLinearU8>() {
        return Some(DatumType::U8);
    }
    op.is::<QuantizeLinearI8>().then_some(DatumType::I8)
}

fn replace(model: &mut TypedModel, id: usize, op: &DequantizeLinearF32) -> TractResult<()> {
    let node = model.node(id);
    let rank = model.node_input_facts(id)?[0].rank();
    let scalar = |value: f32| tensor0(value).broadcast_into_rank(rank).map(Arc::new);
    let mut patch = TypedModelPatch::default();
    let stored = patch.tap_model(model, node.inputs[0])?;
    let float = patch.wire_node(format!("{}.cast", node.name), cast(DatumType::F32), &[stored])?[0];
    let zero = patch.add_const(format!("{}.zero", node.name), scalar(op.zero_point as f32)?)?;
    let centred = patch.wire_node(format!("{}.centred", node.name), math::sub(), &[float, zero])?[0];
    let scale = patch.add_const(format!("{}.scale", node.name), scalar(op.scale)?)?;
    let real = patch.wire_node(format!("{}.real", node.name), math::mul(), &[centred, scale])?[0];
    patch.shunt_outside(model, OutletId::new(id, 0), real)?;
    patch.apply(model)
}
