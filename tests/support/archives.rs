//! Archives that no packer writes: entries of every kind under every name, headers that lie, containers that are cut,
//! bent and joined. All from one random number generator, so that a seed gives the same archive again.

use std::io::{Cursor, Write};

use fastrand::Rng;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Names as packers write them, and as nobody means well with.
const NAMES: &[&str] = &[
    "m/",
    "m/model.onnx",
    "m/labels.txt",
    "./m/model.toml",
    "m/golden/stop.jpg",
    "model.onnx",
    "a",
    "a/b",
    "a/b/c/d/e/f/g/h",
    "../evil",
    "m/../../evil",
    "/etc/cron.d/evil",
    "..",
    ".",
    "/",
    "./",
    "",
    "m//x",
    "m\\..\\x",
    "C:\\x",
    "m/\u{1b}[2J",
    "m/\u{7}",
    "m/ä",
    "__MACOSX/._m",
    "m/.DS_Store",
    "m/.",
    "m/..",
    "~/.ssh/id",
    "m/model.onnx/",
    "-rf",
    "m/x\0y",
    "CON",
    "1/2/3/4/5/6/7/8/9/../../../../../../../../../../../evil",
    "./././././x",
    "m/\u{202e}txt.exe",
];

const KINDS: &[u8] = b"000000000000\x00\x0055555123467LKKxxgSDVMNXZ ";

/// A random `.tar.gz`, of which about a quarter is in order.
pub fn tar_gz(random: &mut Rng) -> Vec<u8> {
    let mut tar = Vec::new();
    let well_meant = random.u8(..4) == 0;
    let count = match random.u8(..60) {
        0 => 70,
        1 => 300,
        _ => random.usize(0..8),
    };
    for _ in 0..count {
        if well_meant { good_entry(random, &mut tar) } else { entry(random, &mut tar) }
    }
    tar.resize(tar.len() + 512 * random.usize(0..4), 0);
    if random.u8(..30) == 0 {
        tar.resize(tar.len() + 2_000_000, 0);
    }
    compress(random, &tar)
}

/// In one member or in two, sometimes with an empty one before it.
fn compress(random: &mut Rng, tar: &[u8]) -> Vec<u8> {
    let level = if random.bool() { Compression::fast() } else { Compression::none() };
    let member = |content: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), level);
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    };
    let cut = if random.u8(..8) == 0 { random.usize(..=tar.len()) } else { tar.len() };
    let (first, second) = tar.split_at(cut);
    if second.is_empty() { member(first) } else { [member(first), member(second)].concat() }
}

/// What a file holds; one archive has few large ones, so that the memory it takes is not the test's own.
fn content(random: &mut Rng, so_far: usize) -> Vec<u8> {
    match random.u8(..40) {
        0..=1 if so_far > 500_000 => Vec::new(),
        0 => vec![0; 400_000],
        1 => vec![b'x'; 40_000],
        _ => noise(random, 0..600),
    }
}

/// Incompressible bytes, as many as `length` allows.
fn noise(random: &mut Rng, length: std::ops::Range<usize>) -> Vec<u8> {
    let length = random.usize(length);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

fn good_entry(random: &mut Rng, tar: &mut Vec<u8>) {
    let name = format!("m/{}-{}", random.u16(..), random.choice(["model.onnx", "labels.txt", "dir/x"]).unwrap());
    let bytes = content(random, tar.len());
    let mut header = header(b'0', name.as_bytes());
    put_size(&mut header, bytes.len() as u64);
    finish(tar, header, &bytes);
}

fn entry(random: &mut Rng, tar: &mut Vec<u8>) {
    let kind = *random.choice(KINDS).unwrap();
    let name = name(random);
    let mut header = header(kind, &name);
    let bytes = match kind {
        b'x' | b'g' => pax(random),
        b'L' | b'K' => match random.u8(..8) {
            0 => vec![b'a'; 20_000],
            1 => [self::name(random), vec![0; 3], b"rest".to_vec()].concat(),
            _ => self::name(random),
        },
        _ => content(random, tar.len()),
    };
    put_size(&mut header, bytes.len() as u64);
    if random.u8(..6) == 0 {
        lie_about_size(random, &mut header);
    }
    if random.u8(..6) == 0 {
        // A field of its own choice: mode, owner, time, link target, magic, prefix, the sparse map of old GNU tar.
        let at = random.usize(100..512);
        header[at] = random.u8(..);
    }
    checksum(&mut header);
    if random.u8(..20) == 0 {
        header[148] ^= 1;
    }
    tar.extend(header);
    tar.extend(&bytes);
    if random.u8(..20) != 0 {
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
}

fn name(random: &mut Rng) -> Vec<u8> {
    match random.u8(..12) {
        0 => vec![b'n'; random.usize(90..400)],
        1 => "d/".repeat(random.usize(1..130)).into_bytes(),
        2 => noise(random, 0..100),
        _ => random.choice(NAMES).unwrap().as_bytes().to_vec(),
    }
}

/// Records of POSIX's extended header: `LENGTH KEY=VALUE\n`, with lengths that lie, keys that change what follows.
fn pax(random: &mut Rng) -> Vec<u8> {
    let keys = [
        "path",
        "size",
        "linkpath",
        "mtime",
        "uid",
        "GNU.sparse.major",
        "GNU.sparse.map",
        "GNU.sparse.realsize",
        "SCHILY.xattr.x",
        "",
    ];
    let mut records = Vec::new();
    for _ in 0..random.usize(0..4) {
        let key = random.choice(keys).unwrap();
        let value = if random.u8(..4) == 0 { random.u64(..).to_string().into_bytes() } else { name(random) };
        let rest = [b" ".as_slice(), key.as_bytes(), b"=", &value, b"\n"].concat();
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length += 1;
        }
        let told = if random.u8(..6) == 0 { random.usize(0..1_000_000) } else { length };
        records.extend(told.to_string().into_bytes());
        records.extend(rest);
    }
    if random.u8(..30) == 0 { records.repeat(2000) } else { records }
}

fn header(kind: u8, name: &[u8]) -> [u8; 512] {
    let mut header = [0; 512];
    let length = name.len().min(100);
    header[..length].copy_from_slice(&name[..length]);
    header[100..107].copy_from_slice(b"0004777");
    header[156] = kind;
    header[157..168].copy_from_slice(b"/etc/passwd");
    header[257..265].copy_from_slice(b"ustar\x0000");
    header
}

fn put_size(header: &mut [u8; 512], size: u64) {
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
}

/// Too much, too little, negative, in GNU's binary form, in no digits.
fn lie_about_size(random: &mut Rng, header: &mut [u8; 512]) {
    match random.u8(..6) {
        0 => put_size(header, random.u64(..1 << 33)),
        1 => put_size(header, random.u64(..2000)),
        2 => header[124..136].fill(0xff),
        3 => header[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        4 => header[124..136].copy_from_slice(b"-7777777777\0"),
        _ => header[124..136].fill(b'9'),
    }
}

fn checksum(header: &mut [u8; 512]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn finish(tar: &mut Vec<u8>, mut header: [u8; 512], bytes: &[u8]) {
    checksum(&mut header);
    tar.extend(header);
    tar.extend(bytes);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

/// A random `.zip`, of which about a quarter is in order; the fields of the others are changed where they stand.
pub fn zip(random: &mut Rng) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let count = if random.u8(..60) == 0 { 70 } else { random.usize(0..8) };
    let mut written = 0;
    for number in 0..count {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(0o644);
        let method = if random.bool() { zip::CompressionMethod::Stored } else { zip::CompressionMethod::Deflated };
        let options = options.compression_method(method);
        // Of one length, so that another can be put in its place.
        writer.start_file(format!("m/file-{number:04}"), options).unwrap();
        let bytes = content(random, written);
        written += bytes.len();
        writer.write_all(&bytes).unwrap();
    }
    let mut archive = writer.finish().unwrap().into_inner();
    for _ in 0..random.usize(0..4) {
        change_field(random, &mut archive);
    }
    archive
}

/// Overwrites a field of a local header, of the central directory or of the end record (PKWARE APPNOTE, section 4.3).
fn change_field(random: &mut Rng, archive: &mut [u8]) {
    let signatures: [(&[u8], usize); 3] = [(b"PK\x03\x04", 30), (b"PK\x01\x02", 46), (b"PK\x05\x06", 22)];
    let (signature, length) = *random.choice(&signatures).unwrap();
    let places: Vec<usize> =
        archive.windows(4).enumerate().filter(|(_, w)| *w == signature).map(|(at, _)| at).collect();
    let Some(&place) = random.choice(&places) else { return };
    if random.u8(..4) == 0 && length > 22 {
        let name = random.choice(NAMES).unwrap().as_bytes();
        let end = (place + length + name.len()).min(archive.len());
        archive[place + length..end].copy_from_slice(&name[..end - place - length]);
        return;
    }
    if signature == b"PK\x01\x02" && random.u8(..3) == 0 {
        // The upper half of the external attributes: what Unix says the entry is.
        let kind = *random.choice(&[0o120_777_u16, 0o060_644, 0o010_644, 0o140_644, 0o040_755, 0o104_777]).unwrap();
        archive[place + 40..place + 42].copy_from_slice(&kind.to_le_bytes());
        return;
    }
    let at = place + random.usize(4..length - 1);
    let value = *random.choice(&[0_u32, 1, 8, 99, 0x7fff, 0xffff, 0x10000, 0x7fff_ffff, u32::MAX]).unwrap();
    let bytes = value.to_le_bytes();
    let width = if random.bool() { 2 } else { 4 };
    let end = (at + width).min(place + length).min(archive.len());
    archive[at..end].copy_from_slice(&bytes[..end - at]);
}

/// Damages `archive` as a transfer, a disk or an enemy would.
pub fn damage(random: &mut Rng, archive: &mut Vec<u8>) {
    if archive.is_empty() {
        return;
    }
    match random.u8(..10) {
        0 => archive.truncate(random.usize(..archive.len())),
        1 => {
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..archive.len());
                archive[at] ^= 1 << random.u8(..8);
            }
        }
        2 => {
            let at = random.usize(..archive.len());
            archive[at] = random.u8(..);
        }
        3 => {
            let (at, length) = (random.usize(..archive.len()), random.usize(1..64));
            let piece: Vec<u8> = archive[at..].iter().take(length).copied().collect();
            archive.splice(at..at, piece);
        }
        4 => archive.extend(noise(random, 1..200)),
        5 => {
            let end = archive.len();
            archive[end.saturating_sub(4)..].fill(random.u8(..));
        }
        6 => {
            let at = random.usize(..archive.len());
            archive.drain(..at);
        }
        _ => {}
    }
}
