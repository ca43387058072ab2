//! The matrix unit of x86_64, AMX: eight registers of sixteen rows of sixty-four bytes. The standard library's functions for
//! it are not stable, so that its instructions stand here as assembly; the rest of a convolution is AVX-512's.

use std::arch::asm;
use std::sync::OnceLock;

use super::matrix::{DEPTH, FinishCall, GatherCall, MatrixCall, MatrixSet, ROWS, SIDE, TILE, finish, gather};
use crate::block::avx512::Vnni512;
use crate::bounds::Proven;
use crate::layout::LANES;

/// `CPUID` leaf 7, `EDX`: the unit itself, and its products of bytes.
const AMX_TILE: u32 = 1 << 24;
const AMX_INT8: u32 = 1 << 25;

/// Whether the machine has the unit and Linux lets this process use it, which has to be asked for: its registers are eight
/// kilobytes that every thread's state then has room for (`Documentation/arch/x86/xstate.rst`).
pub(crate) fn is_available() -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| {
        let is_there = std::arch::x86_64::__cpuid_count(7, 0).edx & (AMX_TILE | AMX_INT8) == AMX_TILE | AMX_INT8;
        is_there && cfg!(not(miri)) && is_permitted()
    })
}

/// Asks Linux for the unit's registers.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const SYS_ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let result: isize;
    // SAFETY: the call takes two numbers and changes nothing but what this process may use.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") SYS_ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _, lateout("r11") _,
            options(nostack)
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

pub(crate) static SET: MatrixSet =
    MatrixSet { gather: gather_kernel, multiply: multiply_kernel, finish: finish_kernel, enter, leave };

/// What the registers are: all eight of sixteen rows of sixty-four bytes (palette 1).
#[repr(C, align(64))]
struct Shapes([u8; 64]);

static SHAPES: Shapes = {
    let mut shapes = [0; 64];
    shapes[0] = 1;
    let mut register = 0;
    while register < 8 {
        shapes[16 + 2 * register] = DEPTH as u8;
        shapes[48 + register] = ROWS as u8;
        register += 1;
    }
    Shapes(shapes)
};

unsafe fn enter() {
    // SAFETY: the machine has AMX, which the process may use. Nothing but the kernel below touches its registers.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, readonly)) }
}

unsafe fn leave() {
    // SAFETY: as above. Registers in their first state cost nothing where threads are switched.
    unsafe { asm!("tilerelease", options(nostack, nomem)) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")]
unsafe fn gather_kernel(call: &GatherCall) {
    // SAFETY: the caller's promise.
    unsafe { gather::<Proven>(call) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")]
unsafe fn finish_kernel(call: &FinishCall) {
    // SAFETY: the caller's promise.
    unsafe { finish::<Vnni512<true>>(call) }
}

unsafe fn multiply_kernel(call: &MatrixCall<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match call.tiles {
            [2, 2] => two_by_two(call),
            [2, _] => two_by_one(call),
            [_, 2] => one_by_two(call),
            _ => one_by_one(call),
        }
    }
}

/// The loop over the places: what stands before, in and behind it is the same for every number of tiles but for its products.
/// Registers 0 to 3 are sums, 4 and 5 pixels, 6 and 7 weights.
macro_rules! product {
    ($name:ident, blocks: $blocks:literal, begin: [$($begin:literal),*], step: [$($step:literal),*], end: [$($end:literal),*]) => {
        /// # Safety
        /// As for every kernel (`kernel.rs`); the registers are as [`enter`] leaves them.
        unsafe fn $name(call: &MatrixCall<'_>) {
            // SAFETY: the caller's promise. Rows lie a line apart, but for those of the bias, which are one.
            unsafe {
                asm!(
                    $($begin,)*
                    "2:",
                    "mov {at:e}, dword ptr [{places}]",
                    "add {at}, {input}",
                    $($step,)*
                    "mov {count}, {lines}",
                    "test {count}, {count}",
                    "jz 4f",
                    "3:",
                    "prefetcht1 [{ahead}]",
                    "add {ahead}, 64",
                    "dec {count}",
                    "jnz 3b",
                    "4:",
                    "add {weights}, {width}",
                    "add {places}, 4",
                    "cmp {places}, {last}",
                    "jne 2b",
                    $($end,)*
                    at = out(reg) _,
                    count = out(reg) _,
                    input = in(reg) call.input,
                    places = inout(reg) call.places.as_ptr() => _,
                    last = in(reg) call.places.as_ptr_range().end,
                    weights = inout(reg) call.weights => _,
                    bias = in(reg) call.bias,
                    sums = in(reg) call.sums,
                    ahead = inout(reg) call.ahead.0 => _,
                    lines = in(reg) call.ahead.1,
                    line = in(reg) DEPTH,
                    none = in(reg) 0_usize,
                    width = const $blocks * TILE,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack)
                );
            }
        }
    };
}

const _: () = assert!(TILE == 1024 && LANES * 4 == DEPTH && SIDE * ROWS * LANES * 4 == 2048, "the offsets below");

product!(
    two_by_two, blocks: 2,
    begin: ["tileloadd tmm0, [{bias} + {none}*1]", "tileloadd tmm1, [{bias} + {none}*1]",
            "tileloadd tmm2, [{bias} + {none}*1 + 64]", "tileloadd tmm3, [{bias} + {none}*1 + 64]"],
    step: ["tileloadd tmm6, [{weights} + {line}*1]", "tileloadd tmm4, [{at} + {line}*1]",
           "tdpbusd tmm0, tmm4, tmm6", "tileloadd tmm5, [{at} + {line}*1 + 1024]", "tdpbusd tmm1, tmm5, tmm6",
           "tileloadd tmm7, [{weights} + {line}*1 + 1024]", "tdpbusd tmm2, tmm4, tmm7", "tdpbusd tmm3, tmm5, tmm7"],
    end: ["tilestored [{sums} + {line}*1], tmm0", "tilestored [{sums} + {line}*1 + 1024], tmm1",
          "tilestored [{sums} + {line}*1 + 2048], tmm2", "tilestored [{sums} + {line}*1 + 3072], tmm3"]
);

product!(
    two_by_one, blocks: 1,
    begin: ["tileloadd tmm0, [{bias} + {none}*1]", "tileloadd tmm1, [{bias} + {none}*1]"],
    step: ["tileloadd tmm6, [{weights} + {line}*1]", "tileloadd tmm4, [{at} + {line}*1]",
           "tdpbusd tmm0, tmm4, tmm6", "tileloadd tmm5, [{at} + {line}*1 + 1024]", "tdpbusd tmm1, tmm5, tmm6"],
    end: ["tilestored [{sums} + {line}*1], tmm0", "tilestored [{sums} + {line}*1 + 1024], tmm1"]
);

product!(
    one_by_two, blocks: 2,
    begin: ["tileloadd tmm0, [{bias} + {none}*1]", "tileloadd tmm2, [{bias} + {none}*1 + 64]"],
    step: ["tileloadd tmm6, [{weights} + {line}*1]", "tileloadd tmm4, [{at} + {line}*1]",
           "tdpbusd tmm0, tmm4, tmm6", "tileloadd tmm7, [{weights} + {line}*1 + 1024]", "tdpbusd tmm2, tmm4, tmm7"],
    end: ["tilestored [{sums} + {line}*1], tmm0", "tilestored [{sums} + {line}*1 + 2048], tmm2"]
);

product!(
    one_by_one, blocks: 1,
    begin: ["tileloadd tmm0, [{bias} + {none}*1]"],
    step: ["tileloadd tmm6, [{weights} + {line}*1]", "tileloadd tmm4, [{at} + {line}*1]", "tdpbusd tmm0, tmm4, tmm6"],
    end: ["tilestored [{sums} + {line}*1], tmm0"]
);
