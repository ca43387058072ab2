//! The fuzz target of everything between a hostile artefact and its scores.

use margay_frontend::InputSpec;
use margay_kernels::Options;

use super::{COVERED, FORMAT, HEADER, KeptArtefact, MAGIC, circumstances, padded};
use crate::engine::Engine;
use crate::engine::compiled::CompiledEngine;
use crate::engine::compiled::fuzzed::{are_identical, noise};
use crate::spec::ModelSpec;
use crate::spec::output::OutputSpec;

/// Where format, checksum, key and circumstances lie, in bytes.
const VERSION: usize = 8;
const CHECKSUM: usize = 12;
const KEY: usize = 24;
const TEXT: usize = 56;

/// Memory of a program that is small enough to be interpreted, in bytes.
const INTERPRETED: usize = 256 << 10;

/// Loads and runs an artefact whose first words, length, checksum and circumstances are set right first, so that all that is left to
/// refuse it is the structure; says whether it ran. A small one is interpreted as well, every access checked.
///
/// # Panics
/// The interpreter met an access outside the step's memory: an error of the engine, whatever the artefact.
#[must_use]
pub fn fuzz_artefact(data: &[u8], side: u32) -> bool {
    let mut artefact = data.to_vec();
    if artefact.len() < HEADER {
        return KeptArtefact::of_bytes(data).open_for(&[0; 32], Options::default()).is_ok();
    }
    let (length, options) = (artefact.len() as u64, Options { poisons: true, ..Options::default() });
    artefact[..VERSION].copy_from_slice(MAGIC);
    artefact[VERSION..CHECKSUM].copy_from_slice(&FORMAT.to_le_bytes());
    artefact[COVERED..KEY].copy_from_slice(&length.to_le_bytes());
    let text = padded(&circumstances(options));
    artefact[TEXT..TEXT + text.len()].copy_from_slice(&text);
    let checksum = crc32fast::hash(&artefact[COVERED..]);
    artefact[CHECKSUM..COVERED].copy_from_slice(&checksum.to_le_bytes());
    let key: [u8; 32] = std::array::from_fn(|place| artefact[KEY + place]);
    let spec = ModelSpec {
        input: InputSpec { height: side, width: side, ..InputSpec::imagenet(1) },
        output: OutputSpec::logits(),
    };
    let kept = KeptArtefact::of_bytes(&artefact);
    let Ok(mut engine) = CompiledEngine::load_kept(&kept, &key, &spec, options) else { return false };
    let Some([picture, pixels]) = noise(&spec.input) else { return false };
    let (mut found, mut again) = (Vec::new(), Vec::new());
    let has_run = engine.run(&picture, &mut found).is_ok();
    assert_eq!(engine.run(&pixels, &mut again).is_ok(), has_run);
    assert!(are_identical(&found, &again), "of pixels {again:?} are not {found:?}");
    if engine.bytes() <= INTERPRETED
        && let Ok(mut checked) = CompiledEngine::load_kept(&kept, &key, &spec, Options { checks: true, ..options })
    {
        let mut interpreted = Vec::new();
        assert_eq!(checked.run(&pixels, &mut interpreted).is_ok(), has_run);
        assert_eq!(found.len(), interpreted.len());
    }
    has_run
}
