//! Functions that follow a layer, element by element.

/// What is applied to every element before it is stored; definitions are ONNX's.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Activation {
    /// `x`
    #[default]
    Identity,
    /// `min(max(x, low), high)`: Relu, Clip.
    Clamp {
        /// Least value.
        low: f32,
        /// Greatest value.
        high: f32,
    },
    /// `x` where it is positive, else `slope · x`.
    LeakyRelu {
        /// Factor of negative elements.
        slope: f32,
    },
    /// `min(max(alpha · x + beta, 0), 1)`
    HardSigmoid {
        /// Slope of the middle part.
        alpha: f32,
        /// Value at 0.
        beta: f32,
    },
    /// `x · HardSigmoid(x)`; HardSwish has 1/6 and 0.5.
    HardSwish {
        /// Slope of the gate's middle part.
        alpha: f32,
        /// The gate's value at 0.
        beta: f32,
    },
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid,
    /// `x / (1 + e⁻ˣ)`, also called SiLU.
    Swish,
    /// `x · Φ(x)` by the normal distribution: `x / 2 · (1 + erf(x / √2))`.
    Gelu,
    /// The same by the hyperbolic tangent, nearly: `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))`.
    GeluByTanh,
}

/// Of GELU by the hyperbolic tangent: the root, and the cube's factor.
pub(crate) const TANH: [f64; 2] = [0.797_884_560_802_865_4, 0.044_715];

impl Activation {
    /// `max(x, 0)`
    pub const RELU: Self = Self::Clamp { low: 0.0, high: f32::INFINITY };

    /// Whether the kernels of convolutions apply it to their sums. The others cost so much that a pass of their own, over
    /// pixels that are in the first cache, does not count.
    pub(crate) fn is_applied_by_kernels(self) -> bool {
        matches!(self, Self::Identity | Self::Clamp { .. } | Self::HardSwish { .. })
    }

    /// The function of one number, in plain arithmetic.
    #[must_use]
    pub fn of(self, x: f32) -> f32 {
        match self {
            Self::Identity => x,
            Self::Clamp { low, high } => x.max(low).min(high),
            Self::LeakyRelu { slope } => x.max(0.0) + slope * x.min(0.0),
            Self::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Self::HardSwish { alpha, beta } => x * (alpha * x + beta).clamp(0.0, 1.0),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Swish => x / (1.0 + (-x).exp()),
            Self::Gelu => (f64::from(x) * normal(f64::from(x))) as f32,
            Self::GeluByTanh => {
                let ([root, cubic], x) = (TANH, f64::from(x));
                (x / 2.0 * (1.0 + (root * (x + cubic * x * x * x)).tanh())) as f32
            }
        }
    }
}

/// The normal distribution's part below `x`, by a series whose terms have one sign.
fn normal(x: f64) -> f64 {
    // Beyond, what is left is less than a float tells from 0 or 1.
    const FAR: f64 = 6.0;
    if x.abs() > FAR {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum) = (x, x);
    for odd in (3..200).step_by(2) {
        term *= x * x / f64::from(odd);
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}
