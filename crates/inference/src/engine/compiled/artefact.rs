//! A compiled model on disk, so that the next start neither reads the model's file nor packs its weights.
//!
//! ```text
//! magic, format, checksum of all that follows
//! length, key (whose it is), circumstances (what it was compiled by and for), whether tract agreed
//! recipe: the network without the weights of its convolutions
//! where each section lies, and the sections: packed weights, each from a cache line on
//! ```
//!
//! An artefact is input from outside. Nothing of it is trusted but the numbers themselves: the network is checked like one
//! of a model's file, and goes through the same lowering, planning and proof as at the first start; the weights come from
//! the file in the lengths that the network's shapes want. What does not fit in any way is passed over, and the model's
//! file is compiled.

mod codec;
mod fuzzed;
mod recipe;

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use margay_kernels::{KEPT_ALIGNMENT, KeptWeights, Mapping, Options, PACKING, PackedWeights, PlanError};

use self::codec::{Malformed, Reader};
pub use self::fuzzed::fuzz_artefact;
use super::network::Network;

/// Largest artefact, in bytes: twice the largest model's file.
pub const MAX_ARTEFACT_BYTES: u64 = 1 << 30;

/// What an artefact is kept for: the digest of the package that its model is in.
pub type ArtefactKey = [u8; 32];

const MAGIC: &[u8; 8] = b"MARGAYCM";

/// The version of the format: header, recipe and sections.
const FORMAT: u32 = 3;

/// Bytes of the text that says by what and for what a model was compiled, filled up with zeros.
const CIRCUMSTANCES: usize = 128;

/// Where what the checksum covers begins, in bytes.
const COVERED: usize = 16;

/// Bytes of the header.
const HEADER: usize = 256;

/// Most sections: a few for each of the most nodes that a model may have.
const MAX_SECTIONS: usize = 1 << 15;

/// An artefact of an earlier start, unread.
#[derive(Debug, Clone)]
pub struct KeptArtefact(Arc<Mapping>);

impl KeptArtefact {
    /// Maps a file, which must not be changed in place or shortened while this or an engine of it lives.
    ///
    /// # Errors
    /// The file is empty, no regular file, larger than [`MAX_ARTEFACT_BYTES`], or cannot be mapped.
    pub fn open(file: &File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        if length > MAX_ARTEFACT_BYTES {
            let problem = format!("it has {length} bytes, more than {MAX_ARTEFACT_BYTES}");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
        }
        Mapping::of_file(file).map(Self)
    }

    /// A copy of bytes that lie in no file.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Mapping::of_bytes(bytes))
    }

    /// What is in it, if it was made for `key` by this program on such a machine, and is whole.
    pub(super) fn open_for(&self, key: &ArtefactKey, options: Options) -> Result<Contents, Unusable> {
        let header = Header::read(self.0.bytes())?;
        header.fits(key, options)?;
        let bytes = self.0.bytes();
        if header.checksum != crc32fast::hash(&bytes[COVERED..]) {
            return Err(Unusable::Damaged("the checksum is another"));
        }
        let mut reader = Reader::of(&bytes[HEADER..]);
        let network = recipe::read(&mut reader)?;
        let count = reader.count(MAX_SECTIONS)?;
        let sections = (0..count).map(|_| reader.range()).collect::<Result<Vec<_>, _>>()?;
        let weights = KeptWeights::new(Arc::clone(&self.0), sections).map_err(Unusable::Plan)?;
        Ok(Contents { network, weights, is_agreed: header.is_agreed })
    }
}

/// What is in a usable artefact.
#[derive(Debug)]
pub(super) struct Contents {
    /// Without the weights of its convolutions.
    pub(super) network: Network,
    pub(super) weights: KeptWeights,
    /// Whether tract gave the same scores when it was made.
    pub(super) is_agreed: bool,
}

/// Why an artefact is passed over. None of it is an error: the model's file is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is no artefact, or not all of one.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// It is of another version of the format.
    #[error("its format is {found}, and this Margay writes {FORMAT}")]
    Format {
        /// What it says.
        found: u32,
    },
    /// It was made of another package.
    #[error("it was made of another package")]
    Key,
    /// It was made by another program, or for other instructions.
    #[error("it was made by '{found}', and this is '{expected}'")]
    Circumstances {
        /// What it says.
        found: String,
        /// What is the case here.
        expected: String,
    },
    /// It was made without tract's having been asked, and now it is to be.
    #[error("it was made without a comparison with tract")]
    NotAgreed,
    /// Its network is no network.
    #[error("its network cannot be read: {0}")]
    Recipe(#[from] Malformed),
    /// Its network is not what the specification describes.
    #[error("its network is another: {0}")]
    Network(String),
    /// Its network cannot be planned with its weights.
    #[error("its network cannot be planned: {0}")]
    Plan(#[source] PlanError),
}

/// By what and for what a model is compiled: program, packing, machine and instruction sets.
fn circumstances(options: Options) -> String {
    let Options { isa, byte_isa, winograd, .. } = options.resolved();
    let (version, machine) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let order = if cfg!(target_endian = "little") { "little" } else { "big" };
    let winograd = if winograd { "winograd" } else { "direct" };
    format!("margay {version}, packing {PACKING}, {machine}, {order}, {isa}, {byte_isa}, {winograd}")
}

/// What stands before the recipe.
#[derive(Debug)]
struct Header {
    checksum: u32,
    key: ArtefactKey,
    circumstances: [u8; CIRCUMSTANCES],
    is_agreed: bool,
}

impl Header {
    /// Reads the header of a whole artefact, without its checksum being asked.
    fn read(bytes: &[u8]) -> Result<Self, Unusable> {
        let short = || Unusable::Damaged("it is too short");
        let header = bytes.first_chunk::<HEADER>().ok_or_else(short)?;
        let mut reader = Reader::of(header);
        if reader.bytes::<8>()? != *MAGIC {
            return Err(Unusable::Damaged("it does not begin like an artefact"));
        }
        let (found, checksum) = (reader.word()?, reader.word()?);
        if found != FORMAT {
            return Err(Unusable::Format { found });
        }
        if reader.long()? != bytes.len() as u64 {
            return Err(Unusable::Damaged("it has another length than it says"));
        }
        let (key, circumstances) = (reader.bytes()?, reader.bytes()?);
        Ok(Self { checksum, key, circumstances, is_agreed: reader.flag()? })
    }

    fn fits(&self, key: &ArtefactKey, options: Options) -> Result<(), Unusable> {
        if self.key != *key {
            return Err(Unusable::Key);
        }
        let expected = circumstances(options);
        if self.circumstances != padded(&expected) {
            let found = String::from_utf8_lossy(&self.circumstances).trim_end_matches('\0').to_owned();
            return Err(Unusable::Circumstances { found, expected });
        }
        Ok(())
    }
}

/// A text of [`CIRCUMSTANCES`].
fn padded(text: &str) -> [u8; CIRCUMSTANCES] {
    let mut padded = [0; CIRCUMSTANCES];
    padded.iter_mut().zip(text.bytes()).for_each(|(to, byte)| *to = byte);
    padded
}

/// A model that was compiled by this program, to be kept for the next start.
#[derive(Debug)]
pub struct Artefact {
    recipe: Vec<u8>,
    packed: PackedWeights,
    circumstances: String,
    pub(super) is_agreed: bool,
}

impl Artefact {
    pub(super) fn new(recipe: Vec<u8>, packed: PackedWeights, options: Options) -> Self {
        Self { recipe, packed, circumstances: circumstances(options), is_agreed: false }
    }

    /// Its recipe, from the network that is about to be lowered.
    pub(super) fn recipe(network: &Network) -> Vec<u8> {
        let mut recipe = Vec::new();
        recipe::write(network, &mut recipe);
        recipe
    }

    /// Writes it, for the package with this digest; returns its length in bytes.
    ///
    /// # Errors
    /// What the writer says, or [`io::ErrorKind::FileTooLarge`] before anything is written.
    pub fn write(&self, key: &ArtefactKey, to: &mut dyn Write) -> io::Result<u64> {
        let (places, length) = self.places();
        if length as u64 > MAX_ARTEFACT_BYTES || places.len() > MAX_SECTIONS {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut head = Vec::with_capacity(HEADER + self.recipe.len() + 16 * places.len());
        head.extend((length as u64).to_le_bytes());
        head.extend(key);
        head.extend(padded(&self.circumstances));
        head.push(u8::from(self.is_agreed));
        head.resize(HEADER - COVERED, 0);
        head.extend(&self.recipe);
        codec::put_count(&mut head, places.len());
        for (section, place) in self.packed.sections().zip(&places) {
            codec::put_range(&mut head, *place..place + section.len());
        }
        let first = places.first().copied().unwrap_or(length);
        head.resize(first - COVERED, 0);
        // Sections follow one another without gaps: their lengths are multiples of the alignment.
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&head);
        self.packed.sections().for_each(|section| checksum.update(section));
        to.write_all(MAGIC)?;
        to.write_all(&FORMAT.to_le_bytes())?;
        to.write_all(&checksum.finalize().to_le_bytes())?;
        to.write_all(&head)?;
        self.packed.sections().try_for_each(|section| to.write_all(section))?;
        to.flush()?;
        Ok(length as u64)
    }

    /// Where each section begins, and the length of all.
    fn places(&self) -> (Vec<usize>, usize) {
        let count = self.packed.sections().count();
        let table = HEADER + self.recipe.len() + codec::COUNT + count * codec::RANGE;
        let mut at = table.next_multiple_of(KEPT_ALIGNMENT);
        let place = |section: &[u8]| {
            let place = at;
            at += section.len();
            place
        };
        let places = self.packed.sections().map(place).collect();
        (places, at)
    }
}
