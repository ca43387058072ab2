//! Weights as signed bytes with a scale for each output channel, and biases in the steps of the sums that they begin.

/// The greatest weight; the least is its negative, so that zero lies in the middle.
const GREATEST: f32 = 127.0;

/// The most steps of a bias: with the sums of the largest layers it stays far below 2³¹.
const MAX_BIAS: f32 = (1 << 29) as f32;

/// The least scale; that of channels without weights.
const LEAST_SCALE: f32 = 1e-20;

/// A layer's weights and bias as integers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ByteWeights {
    /// In the order in which the floats were.
    pub(super) weights: Vec<i8>,
    /// One for each output channel.
    pub(super) scales: Vec<f32>,
    /// In steps of the input's scale times the channel's.
    pub(super) bias: Vec<i32>,
    /// Those steps.
    pub(super) bias_scales: Vec<f32>,
}

impl ByteWeights {
    /// Quantises weights of a shape, whose `axis` is that of the output channels, and a bias, for inputs of a scale.
    pub(super) fn of(weights: &[f32], dims: &[usize], axis: usize, bias: &[f32], input_scale: f32) -> Self {
        let outputs = dims.get(axis).copied().unwrap_or(0).max(1);
        let behind: usize = dims.iter().skip(axis + 1).product::<usize>().max(1);
        let channel = |place: usize| place / behind % outputs;
        let mut greatest = vec![0.0_f32; outputs];
        for (place, weight) in weights.iter().enumerate() {
            let greatest = &mut greatest[channel(place)];
            *greatest = greatest.max(weight.abs());
        }
        // A bias that is large against its weights takes wider steps, so that it fits; its weights are next to nothing.
        let scale = |(channel, greatest): (usize, f32)| {
            let least = bias.get(channel).map_or(0.0, |bias| bias.abs() / MAX_BIAS / input_scale);
            (greatest / GREATEST).max(least).max(LEAST_SCALE)
        };
        let scales: Vec<f32> = greatest.into_iter().enumerate().map(scale).collect();
        let quantised = weights.iter().enumerate().map(|(place, weight)| {
            let steps = (weight / scales[channel(place)]).round_ties_even();
            steps.clamp(-GREATEST, GREATEST) as i8
        });
        let weights = quantised.collect();
        let bias_scales: Vec<f32> = scales.iter().map(|scale| scale * input_scale).collect();
        let bias = bias.iter().zip(&bias_scales).map(|(&bias, &scale)| {
            // In double precision: a bias has more steps than a float has digits.
            (f64::from(bias) / f64::from(scale)).round_ties_even() as i32
        });
        Self { weights, bias: bias.collect(), scales, bias_scales }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_its_own_steps_and_none_is_off_by_more_than_half() {
        let weights = [1.0, -2.0, 0.5, 0.01, 0.003, -0.007];
        let bytes = ByteWeights::of(&weights, &[2, 3], 0, &[0.5, -0.02], 0.1);
        assert_eq!((bytes.weights[1], bytes.weights[3]), (-127, 127));
        for (place, weight) in weights.iter().enumerate() {
            let scale = bytes.scales[place / 3];
            assert!((f32::from(bytes.weights[place]) * scale - weight).abs() <= scale * 0.5001);
        }
        assert!((bytes.bias[0] as f32 * bytes.bias_scales[0] - 0.5).abs() <= bytes.bias_scales[0]);
    }

    #[test]
    fn output_channels_may_be_the_last_axis() {
        let bytes = ByteWeights::of(&[1.0, 10.0, -1.0, 20.0], &[2, 2], 1, &[], 1.0);
        assert_eq!((bytes.weights, bytes.bias), (vec![127, 64, -127, 127], vec![]));
    }

    #[test]
    fn dead_channels_and_overlarge_biases_keep_their_bias() {
        let bytes = ByteWeights::of(&[0.0, 0.0, 1e-9, 1e-9], &[2, 2], 0, &[3.0, 1000.0], 0.01);
        for (channel, expected) in [(0, 3.0), (1, 1000.0)] {
            let found = f64::from(bytes.bias[channel]) * f64::from(bytes.bias_scales[channel]);
            assert!((found - expected).abs() < expected * 1e-6, "{found}");
            assert!(bytes.bias[channel].unsigned_abs() <= 1 << 29);
        }
        assert_eq!(bytes.weights, [0; 4]);
    }
}
