//! Which instructions the kernels use, found at run time.

use std::fmt;
use std::sync::OnceLock;

/// An instruction set that the kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Whatever the target's baseline has; every machine runs it.
    Portable,
    /// 256-bit vectors and fused multiply-add (x86_64).
    Avx2,
    /// 512-bit vectors (x86_64: F, BW, DQ and VL).
    Avx512,
    /// 128-bit vectors of 64-bit Arm, present on all of it.
    Neon,
}

impl Isa {
    /// Those that this machine runs, the fastest first; never empty.
    #[must_use]
    pub fn available() -> Vec<Self> {
        [Self::Avx512, Self::Avx2, Self::Neon, Self::Portable].into_iter().filter(|isa| isa.is_available()).collect()
    }

    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        use std::arch::is_x86_feature_detected as has;
        match self {
            Self::Avx512 => has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") && has!("fma"),
            Self::Avx2 => has!("avx2") && has!("fma"),
            Self::Neon => false,
            Self::Portable => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_available(self) -> bool {
        match self {
            Self::Avx512 | Self::Avx2 => false,
            Self::Neon => cfg!(target_arch = "aarch64"),
            Self::Portable => true,
        }
    }

    /// The fastest that this machine runs.
    #[must_use]
    pub fn best() -> Self {
        Self::available().first().copied().unwrap_or(Self::Portable)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        })
    }
}

/// Bytes of a core's first-level cache of data; where the processor does not say, what most have. Nothing but speed depends on
/// it.
pub(crate) fn first_cache() -> usize {
    const USUAL: usize = 32 << 10;
    static SAID: OnceLock<Option<usize>> = OnceLock::new();
    SAID.get_or_init(ask_for_first_cache).unwrap_or(USUAL)
}

/// Leaf `4` of CPUID, where Intel describes each cache, or leaf `8000_0005h`, which AMD alone fills.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn ask_for_first_cache() -> Option<usize> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    let (caches, leaves, leaf) = (4, 0x8000_0000, 0x8000_0005);
    if __cpuid(0).eax >= caches {
        // The first one that is described; type 1 is data.
        let found = __cpuid_count(caches, 0);
        let field = |from: u32, bits: u32| ((found.ebx >> from & ((1 << bits) - 1)) + 1) as usize;
        if found.eax & 0x1f == 1 {
            return Some(field(22, 10) * field(12, 10) * field(0, 12) * (found.ecx as usize + 1));
        }
    }
    if __cpuid(leaves).eax < leaf {
        return None;
    }
    let kilobytes = (__cpuid(leaf).ecx >> 24) as usize;
    (kilobytes > 0).then_some(kilobytes << 10)
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn ask_for_first_cache() -> Option<usize> {
    None
}

/// Bytes of this processor's second-level cache; where it does not say, what small boards have. Nothing but speed depends on
/// it.
pub(crate) fn second_cache() -> usize {
    const USUAL: usize = 512 << 10;
    // A virtual machine is left for each question.
    static SAID: OnceLock<Option<usize>> = OnceLock::new();
    SAID.get_or_init(ask_for_second_cache).unwrap_or(USUAL)
}

/// Leaf `8000_0006h` of CPUID, which is the same in AMD's and Intel's manuals.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn ask_for_second_cache() -> Option<usize> {
    use std::arch::x86_64::__cpuid;
    let (leaves, leaf) = (0x8000_0000, 0x8000_0006);
    if __cpuid(leaves).eax < leaf {
        return None;
    }
    let kilobytes = (__cpuid(leaf).ecx >> 16) as usize;
    (kilobytes > 0).then_some(kilobytes << 10)
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn ask_for_second_cache() -> Option<usize> {
    None
}
