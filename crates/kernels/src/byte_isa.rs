//! Which instructions multiply bytes, found at run time.

use std::fmt;

/// How the kernels of quantised networks multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteIsa {
    /// Whatever the target's baseline has; every machine runs it.
    Portable,
    /// 256-bit vectors (x86_64): in sixteen bits, or in eight where a layer's weights are small enough.
    Avx2,
    /// 256-bit vectors with AVX-VNNI (x86_64).
    AvxVnni,
    /// 512-bit vectors with VNNI (x86_64).
    Avx512Vnni,
    /// The same with VBMI (x86_64).
    Avx512Vbmi,
    /// The same with a matrix unit (x86_64): AMX.
    Amx,
    /// 128-bit vectors of 64-bit Arm, present on all of it.
    Neon,
    /// 128-bit vectors with dot products (Arm v8.2 on).
    NeonDot,
    /// The same with products of matrices (Arm v8.6 on, i8mm).
    NeonI8mm,
}

impl ByteIsa {
    /// Those that this machine runs, the fastest first; never empty.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let has_avx512 = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
            if has_avx512 && has!("avx512vnni") && has!("fma") {
                if has!("avx512vbmi") && crate::kernel::bytes::amx::is_available() {
                    found.push(Self::Amx);
                }
                if has!("avx512vbmi") {
                    found.push(Self::Avx512Vbmi);
                }
                found.push(Self::Avx512Vnni);
            }
            if has!("avx2") && has!("avxvnni") && has!("fma") {
                found.push(Self::AvxVnni);
            }
            if has!("avx2") && has!("fma") {
                found.push(Self::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            use std::arch::is_aarch64_feature_detected as has;
            if has!("dotprod") {
                if has!("i8mm") {
                    found.push(Self::NeonI8mm);
                }
                found.push(Self::NeonDot);
            }
            found.push(Self::Neon);
        }
        found.push(Self::Portable);
        found
    }

    /// The fastest that this machine runs.
    #[must_use]
    pub fn best() -> Self {
        Self::available().first().copied().unwrap_or(Self::Portable)
    }
}

impl fmt::Display for ByteIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avx-vnni",
            Self::Avx512Vnni => "avx512-vnni",
            Self::Avx512Vbmi => "avx512-vbmi",
            Self::Amx => "amx",
            Self::Neon => "neon",
            Self::NeonDot => "neon-dotprod",
            Self::NeonI8mm => "neon-i8mm",
        })
    }
}
