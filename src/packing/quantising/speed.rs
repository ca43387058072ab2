//! How fast the float and the quantised model are on this machine, measured in turn, so that a change of its clock meets both.

use std::path::PathBuf;

use serde::Serialize;

use super::QuantisingError;
use crate::classifier::one_shot::OneShot;
use crate::classifier::one_shot::bench::BenchOrder;
use crate::statistics::median;

/// Rounds in which the models take turns.
const ROUNDS: usize = 3;

/// Pictures that are classified while measuring.
const PICTURES: usize = 8;

/// Time of a model in a round, in microseconds, and the frames that it is made of at least and most.
const ROUND_US: u32 = 300_000;
const FRAMES: (u32, u32) = (10, 300);

/// The inference alone, in microseconds: the medians of the rounds' medians.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Speed {
    /// Of the float model.
    pub float_us: u32,
    /// Of the quantised one.
    pub int8_us: u32,
    /// How often the quantised one fits into the float one's time.
    pub ratio: f64,
    /// The engines of both.
    pub engines: [String; 2],
}

impl Speed {
    /// Measures the float and the quantised model.
    pub(super) async fn measure(workers: [&OneShot; 2], pictures: &[PathBuf]) -> Result<Self, QuantisingError> {
        for worker in workers {
            for picture in pictures.iter().take(PICTURES) {
                worker.add_picture(picture).await?;
            }
        }
        let mut rounds = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (worker, rounds) in workers.iter().zip(&mut rounds) {
                let trial = BenchOrder { window: 5, bound: 0.1, limit_ms: 1000, frames: FRAMES.0 };
                let (_, laps) = worker.bench(trial, |_| {}).await?;
                let frames = (ROUND_US / median(laps.of("total")).max(1)).clamp(FRAMES.0, FRAMES.1);
                let (_, laps) = worker.bench(BenchOrder { window: 0, frames, ..trial }, |_| {}).await?;
                rounds.push(median(laps.of("inference")));
            }
        }
        let [float_us, int8_us] = rounds.map(|rounds| median(&rounds));
        let ratio = f64::from(float_us) / f64::from(int8_us.max(1));
        Ok(Self { float_us, int8_us, ratio, engines: workers.map(|worker| worker.engine.clone()) })
    }
}
