//! Which instructions the kernels use, found at run time.

use std::fmt;

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
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") && has!("fma") {
                found.push(Self::Avx512);
            }
            if has!("avx2") && has!("fma") {
                found.push(Self::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Self::Neon);
        found.push(Self::Portable);
        found
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
