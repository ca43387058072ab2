//! The transforms of filters in NEON's own words: sums of three parts of sixteen channels are twelve registers, which leaves
//! as many for what is loaded and stored, four neighbours at a time. The compiler would neither name neighbours nor let an
//! address go on by the distance of planes.

use std::arch::aarch64::*;
use std::arch::asm;

use super::FilterCall;
use crate::layout::LANES;

/// A kernel of this name: the loads, the sum of the row's parts (in v0 to v3, v4 to v7 and v8 to v11), and what is written out
/// for its columns. v24 has the row's factor, 2 and 3/2.
macro_rules! transform {
    ($(#[$documentation:meta])* $name:ident, $($columns:literal,)*) => {
        $(#[$documentation])*
        ///
        /// # Safety
        /// As for every kernel (`kernel.rs`).
        pub(crate) unsafe fn $name(call: &FilterCall) {
            let constants = [call.factor, 2.0, 1.5, 0.0];
            let plane = call.plane * size_of::<f32>();
            let back = (LANES * size_of::<f32>()).wrapping_sub(super::NUMBERS * plane);
            // SAFETY: every 64-bit Arm has NEON; the caller's promise is of the places of at least one input channel.
            unsafe {
                asm!(
                    "2:",
                    "ld1 {{v0.4s, v1.4s, v2.4s, v3.4s}}, [{first}], #64",
                    "ld1 {{v4.4s, v5.4s, v6.4s, v7.4s}}, [{first}], #64",
                    "ld1 {{v8.4s, v9.4s, v10.4s, v11.4s}}, [{first}], #64",
                    "ld1 {{v12.4s, v13.4s, v14.4s, v15.4s}}, [{second}], #64",
                    "ld1 {{v16.4s, v17.4s, v18.4s, v19.4s}}, [{second}], #64",
                    "ld1 {{v20.4s, v21.4s, v22.4s, v23.4s}}, [{second}], #64",
                    "fmla v0.4s, v12.4s, v24.s[0]",
                    "fmla v1.4s, v13.4s, v24.s[0]",
                    "fmla v2.4s, v14.4s, v24.s[0]",
                    "fmla v3.4s, v15.4s, v24.s[0]",
                    "fmla v4.4s, v16.4s, v24.s[0]",
                    "fmla v5.4s, v17.4s, v24.s[0]",
                    "fmla v6.4s, v18.4s, v24.s[0]",
                    "fmla v7.4s, v19.4s, v24.s[0]",
                    "fmla v8.4s, v20.4s, v24.s[0]",
                    "fmla v9.4s, v21.4s, v24.s[0]",
                    "fmla v10.4s, v22.4s, v24.s[0]",
                    "fmla v11.4s, v23.4s, v24.s[0]",
                    $($columns,)*
                    "add {output}, {output}, {back}",
                    "subs {left}, {left}, #1",
                    "b.ne 2b",
                    first = inout(reg) call.first => _, second = inout(reg) call.second => _,
                    output = inout(reg) call.output => _, left = inout(reg) call.inputs => _,
                    plane = in(reg) plane, back = in(reg) back, in("v24") vld1q_f32(constants.as_ptr()),
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
                    out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _, out("v14") _,
                    out("v15") _, out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _,
                    out("v22") _, out("v23") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
                    options(nostack)
                );
            }
        }
    };
}

transform!(
    /// As [`super::OfFour`].
    four,
    "fadd v12.4s, v0.4s, v8.4s",
    "fadd v13.4s, v1.4s, v9.4s",
    "fadd v14.4s, v2.4s, v10.4s",
    "fadd v15.4s, v3.4s, v11.4s",
    "st1 {{v12.4s, v13.4s, v14.4s, v15.4s}}, [{output}], {plane}",
    "fsub v16.4s, v0.4s, v8.4s",
    "fsub v17.4s, v1.4s, v9.4s",
    "fsub v18.4s, v2.4s, v10.4s",
    "fsub v19.4s, v3.4s, v11.4s",
    "st1 {{v16.4s, v17.4s, v18.4s, v19.4s}}, [{output}], {plane}",
    "fadd v20.4s, v4.4s, v8.4s",
    "fadd v21.4s, v5.4s, v9.4s",
    "fadd v22.4s, v6.4s, v10.4s",
    "fadd v23.4s, v7.4s, v11.4s",
    "st1 {{v20.4s, v21.4s, v22.4s, v23.4s}}, [{output}], {plane}",
    "fsub v28.4s, v4.4s, v8.4s",
    "fsub v29.4s, v5.4s, v9.4s",
    "fsub v30.4s, v6.4s, v10.4s",
    "fsub v31.4s, v7.4s, v11.4s",
    "st1 {{v28.4s, v29.4s, v30.4s, v31.4s}}, [{output}], {plane}",
    "fmls v4.4s, v0.4s, v24.s[1]",
    "fmls v5.4s, v1.4s, v24.s[1]",
    "fmls v6.4s, v2.4s, v24.s[1]",
    "fmls v7.4s, v3.4s, v24.s[1]",
    "st1 {{v4.4s, v5.4s, v6.4s, v7.4s}}, [{output}], {plane}",
    "fmla v4.4s, v0.4s, v24.s[2]",
    "fmla v5.4s, v1.4s, v24.s[2]",
    "fmla v6.4s, v2.4s, v24.s[2]",
    "fmla v7.4s, v3.4s, v24.s[2]",
    "st1 {{v4.4s, v5.4s, v6.4s, v7.4s}}, [{output}], {plane}",
);

transform!(
    /// As [`super::OfFourStrided`].
    four_strided,
    "st1 {{v0.4s, v1.4s, v2.4s, v3.4s}}, [{output}], {plane}",
    "fadd v12.4s, v0.4s, v4.4s",
    "fadd v13.4s, v1.4s, v5.4s",
    "fadd v14.4s, v2.4s, v6.4s",
    "fadd v15.4s, v3.4s, v7.4s",
    "st1 {{v12.4s, v13.4s, v14.4s, v15.4s}}, [{output}], {plane}",
    "fsub v16.4s, v0.4s, v4.4s",
    "fsub v17.4s, v1.4s, v5.4s",
    "fsub v18.4s, v2.4s, v6.4s",
    "fsub v19.4s, v3.4s, v7.4s",
    "st1 {{v16.4s, v17.4s, v18.4s, v19.4s}}, [{output}], {plane}",
    "fadd v20.4s, v12.4s, v4.4s",
    "fadd v21.4s, v13.4s, v5.4s",
    "fadd v22.4s, v14.4s, v6.4s",
    "fadd v23.4s, v15.4s, v7.4s",
    "st1 {{v20.4s, v21.4s, v22.4s, v23.4s}}, [{output}], {plane}",
    "st1 {{v4.4s, v5.4s, v6.4s, v7.4s}}, [{output}], {plane}",
    "st1 {{v8.4s, v9.4s, v10.4s, v11.4s}}, [{output}], {plane}",
);
