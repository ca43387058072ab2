//! Compiled models that are kept between starts: the same answers, and no answer at all from what is damaged or another's.

use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use margay_inference::engine::compiled::CompiledEngine;
use margay_inference::engine::compiled::artefact::fuzz_artefact;
use margay_inference::engine::onnx::OnnxFile;
use margay_inference::{
    ArtefactKey, Engine, EngineChoice, InputSpec, InputTensor, Keeping, KeptArtefact, Labels, ModelSpec, OutputSpec,
    Pipeline, Unusable,
};
use margay_kernels::{ByteIsa, Isa, Options};

use crate::compiled::{corpus, damaged, random_network};
use crate::networks::{Random, spec};

const KEY: ArtefactKey = [7; 32];

/// Where the format's version, the key and the checksum lie, in bytes.
const FORMAT: usize = 8;
const CHECKSUM: usize = 12;

/// A model compiled with options, and what is kept of it.
fn compile(file: &[u8], spec: &ModelSpec, options: Options) -> (CompiledEngine, Vec<u8>) {
    let file = OnnxFile::decode(Path::new("model.onnx"), file).unwrap();
    let mut engine = CompiledEngine::compile_to_keep(&file, spec, options).unwrap();
    let (artefact, mut bytes) = (engine.take_artefact().unwrap(), Vec::new());
    assert_eq!(artefact.write(&KEY, &mut bytes).unwrap(), bytes.len() as u64);
    (engine, bytes)
}

fn kept(bytes: &[u8], spec: &ModelSpec, options: Options) -> Result<CompiledEngine, Unusable> {
    CompiledEngine::load_kept(&KeptArtefact::of_bytes(bytes), &KEY, spec, options)
}

fn bits(engine: &mut CompiledEngine, picture: &InputTensor) -> Vec<u32> {
    let mut scores = Vec::new();
    engine.run(picture, &mut scores).unwrap();
    scores.into_iter().map(f32::to_bits).collect()
}

/// The kept model gives the same bits as the one that was compiled, on every instruction set of floats and of bytes, with
/// and without Winograd's method.
fn check(name: &str, file: &[u8], spec: &ModelSpec) {
    let sets = Isa::available().into_iter().map(|isa| (isa, ByteIsa::best()));
    for (isa, byte_isa) in sets.chain(ByteIsa::available().into_iter().map(|byte_isa| (Isa::best(), byte_isa))) {
        for winograd in [false, true] {
            let options = Options { isa, byte_isa, winograd, poisons: true, ..Options::default() };
            let (mut engine, bytes) = compile(file, spec, options);
            assert!(!engine.is_kept());
            for threads in [1, 2] {
                let mut kept = kept(&bytes, spec, Options { threads, ..options }).unwrap();
                assert!(kept.is_kept() && kept.take_artefact().is_none());
                assert_eq!(kept.is_quantised(), engine.is_quantised());
                for seed in 0..2 {
                    let shape = spec.input.shape();
                    let floats = Random::new(seed).floats(shape.iter().product(), 2.0);
                    let picture = InputTensor::from_f32(shape, floats).unwrap();
                    let (found, expected) = (bits(&mut kept, &picture), bits(&mut engine, &picture));
                    assert_eq!(found, expected, "{name}, {isa}, {byte_isa}, Winograd {winograd}, {threads} threads");
                }
            }
        }
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/golden").join(name)
}

#[test]
fn a_kept_model_gives_the_same_bits_as_the_one_that_was_compiled() {
    for (number, (file, spec)) in corpus().enumerate() {
        check(&format!("every operator, {number}"), &file, &spec);
    }
    for seed in 0..12 {
        let (network, spec) = random_network(seed);
        check(&format!("network {seed}"), &network.file(17), &spec);
    }
    for name in ["qdq-unsigned", "qdq-signed", "qdq-by-tensor", "qoperator", "qdq-pyramid"] {
        check(name, &fs::read(golden(&format!("{name}.onnx"))).unwrap(), &spec(21, 21));
    }
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/signs");
    for name in ["package/signs.onnx", "package-int8/signs-int8.onnx"] {
        let spec = ModelSpec { input: InputSpec::imagenet(96), output: OutputSpec::logits() };
        check(name, &fs::read(models.join(name)).unwrap(), &spec);
    }
}

#[test]
fn kept_members_of_families_give_the_same_bits() {
    let mut members = 0;
    for file in fs::read_dir(golden("families")).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_some_and(|end| end == "onnx") {
            let bytes = fs::read(&file).unwrap();
            let inputs = OnnxFile::decode(&file, &bytes).unwrap().inputs();
            let sides: Vec<usize> = inputs[0].shape.iter().flatten().skip(2).filter_map(|axis| axis.fixed()).collect();
            check(&file.display().to_string(), &bytes, &spec(sides[0] as u32, sides[1] as u32));
            members += 1;
        }
    }
    assert_eq!(members, 4);
}

/// The bundled networks of every operator, as artefacts.
fn artefacts() -> Vec<(Vec<u8>, ModelSpec)> {
    let options = Options { poisons: true, ..Options::default() };
    corpus().map(|(file, spec)| (compile(&file, &spec, options).1, spec)).collect()
}

#[test]
fn an_artefact_with_any_byte_changed_is_passed_over() {
    let (artefact, spec) = artefacts().remove(0);
    assert!(kept(&artefact, &spec, Options::default()).is_ok());
    for place in 0..artefact.len() {
        let mut damaged = artefact.clone();
        damaged[place] ^= 1 << (place % 8);
        assert!(kept(&damaged, &spec, Options::default()).is_err(), "byte {place} of {}", artefact.len());
    }
}

#[test]
fn an_artefact_of_another_length_is_passed_over() {
    let (artefact, spec) = artefacts().remove(0);
    for length in (0..artefact.len()).step_by(61).chain([artefact.len() - 1]) {
        assert!(kept(&artefact[..length], &spec, Options::default()).is_err(), "{length} of {}", artefact.len());
    }
    assert!(kept(&[artefact.as_slice(), &[0; 64]].concat(), &spec, Options::default()).is_err());
}

#[test]
fn an_artefact_of_another_package_program_or_processor_is_passed_over() {
    let (artefact, spec) = artefacts().remove(0);
    let other = CompiledEngine::load_kept(&KeptArtefact::of_bytes(&artefact), &[8; 32], &spec, Options::default());
    assert_eq!(other.unwrap_err(), Unusable::Key);

    for found in [0, 1, u32::MAX] {
        let mut newer = artefact.clone();
        newer[FORMAT..CHECKSUM].copy_from_slice(&found.to_le_bytes());
        assert_eq!(kept(&newer, &spec, Options::default()).unwrap_err(), Unusable::Format { found });
    }

    let (isas, byte_isas) = (Isa::available(), ByteIsa::available());
    for (isa, byte_isa) in [(*isas.last().unwrap(), byte_isas[0]), (isas[0], *byte_isas.last().unwrap())] {
        let options = Options { isa, byte_isa, ..Options::default() };
        let is_other = (isa, byte_isa) != (isas[0], byte_isas[0]);
        let error = kept(&artefact, &spec, options).err();
        assert_eq!(matches!(error, Some(Unusable::Circumstances { .. })), is_other, "{isa}, {byte_isa}: {error:?}");
    }
    let direct = Options { winograd: false, ..Options::default() };
    assert!(matches!(kept(&artefact, &spec, direct), Err(Unusable::Circumstances { .. })));

    let version = env!("CARGO_PKG_VERSION").as_bytes();
    let at = artefact.windows(version.len()).position(|window| window == version).unwrap();
    let mut older = artefact.clone();
    older[at] = b'9';
    let error = kept(&older, &spec, Options::default()).unwrap_err().to_string();
    assert!(error.contains("'margay 9") && error.contains(env!("CARGO_PKG_VERSION")), "{error}");
}

#[test]
fn an_artefact_of_a_network_for_other_pictures_is_passed_over() {
    let (artefact, spec) = artefacts().remove(0);
    let other = ModelSpec { input: InputSpec { height: spec.input.height + 1, ..spec.input.clone() }, ..spec.clone() };
    assert!(matches!(kept(&artefact, &other, Options::default()), Err(Unusable::Network(_))));
}

/// A pipeline on a folder's model, with what was kept; and whether it comes from that.
fn pipeline(path: &Path, spec: &ModelSpec, engine: EngineChoice, kept: Option<&[u8]>) -> Pipeline {
    let labels = Labels::new(["red", "green", "blue"]).unwrap();
    let keeping = Keeping { key: KEY, kept: kept.map(KeptArtefact::of_bytes) };
    Pipeline::load_kept(path, spec, labels, engine, Some(&keeping)).unwrap()
}

#[test]
fn the_second_start_needs_neither_the_model_nor_tract_and_damage_only_costs_time() {
    let (file, mut spec) = corpus().last().unwrap();
    spec.output.kind = margay_inference::OutputKind::Probabilities;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::write(&path, &file).unwrap();
    let write = |pipeline: &mut Pipeline| {
        let mut bytes = Vec::new();
        pipeline.take_artefact().unwrap().write(&KEY, &mut bytes).unwrap();
        bytes
    };
    let unasked = write(&mut pipeline(&path, &spec, EngineChoice::Compiled, None));
    let mut first = pipeline(&path, &spec, EngineChoice::Auto, Some(&unasked));
    assert_eq!((first.is_kept(), first.passed_over()), (false, Some(&Unusable::NotAgreed)), "tract is to be asked");
    assert_eq!(first.engine_name(), "compiled");
    let mut agreed = write(&mut first);
    assert!(pipeline(&path, &spec, EngineChoice::Tract, Some(&agreed)).take_artefact().is_none());

    let mut damaged = agreed.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let mut anew = pipeline(&path, &spec, EngineChoice::Auto, Some(&damaged));
    assert!(!anew.is_kept() && matches!(anew.passed_over(), Some(Unusable::Damaged(_))));
    agreed = write(&mut anew);

    fs::remove_file(&path).unwrap();
    let second = pipeline(&path, &spec, EngineChoice::Auto, Some(&agreed));
    assert!(second.is_kept() && second.passed_over().is_none());
    assert!(pipeline(&path, &spec, EngineChoice::Compiled, Some(&agreed)).is_kept());
}

/// Artefacts that were kept because they are of a peculiar kind, each a case of its own.
fn peculiar() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/artefacts");
    fs::read_dir(folder).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

/// Artefacts whose structure is damaged while their checksum is right are refused, or run inside their memory.
#[test]
fn ten_thousand_damaged_artefacts_are_refused_or_run_inside_their_memory() {
    let whole: Vec<Vec<u8>> = artefacts().into_iter().map(|(artefact, _)| artefact).collect();
    assert!(whole.iter().all(|artefact| fuzz_artefact(artefact, 9)));
    let all: Vec<Vec<u8>> = whole.into_iter().chain(peculiar()).collect();
    let count = if std::env::var_os("MARGAY_TEST_SCALE").is_some() { 10_000 } else { 1_000 };
    let mut ran = 0;
    for round in 0..count {
        let mut random = Random::new(99 + round);
        let artefact = hit(&all[round as usize % all.len()], &mut random);
        match catch_unwind(|| fuzz_artefact(&artefact, 9)) {
            Ok(good) => ran += u64::from(good),
            Err(panic) => {
                let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("artefact-{round}"));
                fs::write(&kept, artefact).unwrap();
                println!("damaged artefact {round} broke it: keep {} in tests/models/artefacts", kept.display());
                resume_unwind(panic);
            }
        }
    }
    assert!(
        ran > count / 20 && ran < count * 19 / 20,
        "{ran} of {count} damaged artefacts ran: the damage is not mixed"
    );
}

/// Damage of the network or the table of sections two times of three, and anywhere else.
fn hit(artefact: &[u8], random: &mut Random) -> Vec<u8> {
    let head = artefact.len().min(2048);
    if random.below(3) == 0 {
        return damaged(artefact, random);
    }
    let mut artefact = artefact.to_vec();
    for _ in 0..1 + random.below(3) {
        let place = random.below(head as u64) as usize;
        artefact[place] = [random.below(256), random.below(4), 0xff][random.below(3) as usize] as u8;
    }
    artefact
}

#[test]
fn peculiar_artefacts_are_dealt_with_again() {
    for artefact in peculiar() {
        assert!(!fuzz_artefact(&artefact, 9));
    }
}
