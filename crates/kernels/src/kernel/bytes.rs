//! The kernels of quantised networks, written over [`crate::block::Block`]; what holds for kernels of floats holds for
//! these (`kernel.rs`).

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
pub(crate) mod depthwise;
#[cfg(target_arch = "aarch64")]
pub(crate) mod eights;
pub(crate) mod interpreter;
pub(crate) mod lanes;
pub(crate) mod matrix;
pub(crate) mod pairs;
pub(crate) mod rows;
pub(crate) mod set;
pub(crate) mod tile;
pub(crate) mod winograd;

/// Does something for each of the numbers from 0 to 13 that are below a constant. Written out, because a loop of this
/// size is not always unrolled, and then all sums go by way of the stack.
macro_rules! unrolled {
    ($limit:expr, $index:ident, $body:block) => {
        unrolled!(@ $limit, $index, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13)
    };
    (@ $limit:expr, $index:ident, $body:block, $($number:literal)*) => {{
        $(if $number < $limit {
            #[allow(non_upper_case_globals, reason = "stands for the variable of a loop")]
            const $index: usize = $number;
            $body
        })*
    }};
}
pub(crate) use unrolled;
