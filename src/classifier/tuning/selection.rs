//! Which of the measured engines is to run: the fastest of those that compute the same and leave a core for the rest.

use margay_inference::EngineChoice;

use super::{Measurement, Outcome};

/// Largest difference of a probability from the reference's that is tolerated. Engines take sums in another order, and
/// quantised models round at every layer; an engine that is wrong is further off.
pub const TOLERANCE: f32 = 0.05;

/// How much of the time another thread has to save to be worth a core: a tenth.
const WORTH_A_THREAD: f64 = 0.9;

/// What was chosen, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// The engine.
    pub engine: EngineChoice,
    /// Its threads.
    pub threads: usize,
    /// In words.
    pub reason: String,
}

/// Marks what is out of the choice: results too far off, and more threads than `most_threads`, which would leave no core
/// for capture and uplink.
pub fn exclude(measurements: &mut [Measurement], most_threads: usize) {
    for measurement in measurements {
        let threads = measurement.threads;
        if let Outcome::Ran { difference, excluded, .. } = &mut measurement.outcome {
            *excluded = if !difference.is_finite() || *difference > TOLERANCE {
                Some(format!("its probabilities differ by {difference:.3}, more than {TOLERANCE}"))
            } else if threads > most_threads {
                Some("it would leave no core for capture and uplink".to_owned())
            } else {
                None
            };
        }
    }
}

/// Chooses among what is not excluded; `None` where nothing is left.
pub fn select(measurements: &[Measurement]) -> Option<Selected> {
    let mut eligible: Vec<(&Measurement, u64)> = measurements.iter().filter_map(|m| Some((m, median(m)?))).collect();
    eligible.sort_by_key(|(measurement, p50)| (measurement.threads, *p50));
    let mut best = *eligible.first()?;
    for candidate in eligible.iter().skip(1) {
        let needed = if candidate.0.threads > best.0.threads { WORTH_A_THREAD } else { 1.0 };
        if (candidate.1 as f64) < best.1 as f64 * needed {
            best = *candidate;
        }
    }
    let (chosen, p50) = best;
    Some(Selected { engine: chosen.engine, threads: chosen.threads, reason: reason(chosen, p50, &eligible) })
}

/// The median, of what ran and is not excluded.
fn median(measurement: &Measurement) -> Option<u64> {
    match &measurement.outcome {
        Outcome::Ran { p50_us, excluded: None, .. } => Some(*p50_us),
        _ => None,
    }
}

fn reason(chosen: &Measurement, p50: u64, eligible: &[(&Measurement, u64)]) -> String {
    let milliseconds = |time: u64| time as f64 / 1e3;
    let others = eligible.iter().filter(|(other, _)| (other.engine, other.threads) != (chosen.engine, chosen.threads));
    let Some((other, time)) = others.min_by_key(|(_, time)| *time) else {
        return format!("it alone ran within tolerance: {:.3} ms", milliseconds(p50));
    };
    let threads = |measurement: &Measurement| format!("{} on {} thread(s)", measurement.engine, measurement.threads);
    if *time < p50 {
        let reason = "which saves too little to be worth another thread";
        return format!(
            "{:.3} ms; {} takes {:.3} ms, {reason}",
            milliseconds(p50),
            threads(other),
            milliseconds(*time)
        );
    }
    format!(
        "the fastest within tolerance: {:.3} ms, {:.2} of the time of {} ({:.3} ms)",
        milliseconds(p50),
        p50 as f64 / (*time).max(1) as f64,
        threads(other),
        milliseconds(*time)
    )
}

#[cfg(test)]
mod tests {
    use margay_inference::Provider;

    use super::*;

    const ONNX: EngineChoice = EngineChoice::OnnxRuntime(Provider::Cpu);

    fn ran(engine: EngineChoice, threads: usize, p50_us: u64, difference: f32) -> Measurement {
        let outcome = Outcome::Ran { p50_us, p99_us: p50_us, rss_bytes: None, difference, excluded: None };
        Measurement { engine, threads, outcome }
    }

    fn failed(engine: EngineChoice) -> Measurement {
        Measurement { engine, threads: 1, outcome: Outcome::Failed { why: "absent".into() } }
    }

    fn chosen(mut measurements: Vec<Measurement>, most_threads: usize) -> Option<(EngineChoice, usize)> {
        exclude(&mut measurements, most_threads);
        select(&measurements).map(|selected| (selected.engine, selected.threads))
    }

    #[test]
    fn the_fastest_that_computes_the_same_is_chosen() {
        let tract = ran(EngineChoice::Tract, 1, 1000, 0.0);
        let compiled = ran(EngineChoice::Compiled, 1, 400, 1e-6);
        let measured = vec![tract.clone(), compiled.clone(), ran(ONNX, 1, 500, 1e-6)];
        assert_eq!(chosen(measured, 1), Some((EngineChoice::Compiled, 1)));
        let wrong = ran(ONNX, 1, 100, 0.5);
        assert_eq!(chosen(vec![tract.clone(), compiled.clone(), wrong], 1), Some((EngineChoice::Compiled, 1)));
        let no_number = ran(EngineChoice::Compiled, 1, 1, f32::NAN);
        assert_eq!(chosen(vec![tract.clone(), no_number, failed(ONNX)], 1), Some((EngineChoice::Tract, 1)));
        assert_eq!(chosen(vec![failed(ONNX)], 1), None);
    }

    #[test]
    fn a_thread_has_to_be_worth_its_core_and_one_core_is_left() {
        let of = |second: u64, most| {
            chosen(vec![ran(ONNX, 1, 1000, 0.0), ran(ONNX, 2, second, 0.0)], most).map(|(_, threads)| threads)
        };
        assert_eq!(of(600, 2), Some(2));
        assert_eq!(of(950, 2), Some(1), "a twentieth is not worth a core");
        assert_eq!(of(600, 1), Some(1), "the second core is the uplink's");
    }

    #[test]
    fn the_reason_names_what_was_second() {
        let measured = vec![ran(EngineChoice::Tract, 1, 1000, 0.0), ran(EngineChoice::Compiled, 1, 250, 0.0)];
        let reason = select(&measured).unwrap().reason;
        assert!(reason.contains("0.250 ms") && reason.contains("0.25 of the time of tract"), "{reason}");
        let alone = select(&measured[..1]).unwrap().reason;
        assert!(alone.contains("alone"), "{alone}");
    }
}
