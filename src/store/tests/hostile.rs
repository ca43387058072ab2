//! What an archive's format allows and a package may not use, each with the words that refuse it.

use super::*;

/// A tar of raw blocks, compressed.
fn raw(blocks: &[&[u8]]) -> Vec<u8> {
    let mut tar = Vec::new();
    for block in blocks {
        tar.extend_from_slice(block);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.extend_from_slice(&[0; 1024]);
    gzip(&tar)
}

fn header(kind: u8, name: &str, size: u64, change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(EntryType::new(kind));
    header.set_size(size);
    header.set_mode(0o644);
    change(&mut header);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    header(b'0', name, content.len() as u64, |_| {})
}

/// A pax record, `LENGTH KEY=VALUE\n`, whose length counts itself (POSIX pax).
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length += 1;
    }
    format!("{length}{rest}").into_bytes()
}

fn with_pax(record: &[u8]) -> Vec<u8> {
    let pax = header(b'x', "pax", record.len() as u64, |_| {});
    raw(&[&pax, record, &file("m/a", b"1"), b"1"])
}

#[test]
fn what_a_tar_may_hold_beside_files_and_names_is_refused_by_name() {
    let error = refused(&with_pax(&record("size", "8589934592")), "m.tar.gz");
    assert!(matches!(error, ArchiveError::Feature { feature: "a pax size", .. }), "{error:?}");
    for key in ["GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.realsize"] {
        let error = refused(&with_pax(&record(key, "1")), "m.tar.gz");
        assert!(matches!(error, ArchiveError::Feature { feature: "sparse files", .. }), "{key}: {error:?}");
    }
    let error = refused(&with_pax(&record("path", "../evil")), "m.tar.gz");
    assert!(matches!(error, ArchiveError::Path { .. }), "{error:?}");
    let error = refused(&with_pax(b"99999 path=x\n"), "m.tar.gz");
    assert!(matches!(error, ArchiveError::Damaged { .. }), "{error:?}");
    let unnamed = raw(&[&header(b'0', "", 1, |header| header.as_mut_bytes()[..2].copy_from_slice(b"\xff\xfe")), b"1"]);
    let error = refused(&unnamed, "m.tar.gz");
    assert!(matches!(error, ArchiveError::Feature { feature: "a name that is not UTF-8", .. }), "{error:?}");
}

#[test]
fn headers_that_lie_are_damage_and_quote_nothing_a_terminal_would_obey() {
    let lies: [(&str, Vec<u8>); 5] = [
        ("beyond the end", header(b'0', "m/a", 1 << 20, |_| {})),
        ("negative", header(b'0', "m/a", 1, |header| header.as_mut_bytes()[124..136].fill(0xff))),
        (
            "no number",
            header(b'0', "m/a", 1, |header| {
                header.as_mut_bytes()[124..136].copy_from_slice(b"\x1b[2J\x07\x1b[2J\x07\x1b\x1b")
            }),
        ),
        ("another checksum", {
            let mut block = file("m/a", b"1");
            block[0] = b'x';
            block
        }),
        ("no checksum", {
            let mut block = file("m/a", b"1");
            block[148..156].copy_from_slice(b"\x1b]0;xy\x07\x9b");
            block
        }),
    ];
    for (lie, block) in lies {
        let error = refused(&raw(&[&block, b"1"]), "m.tar.gz");
        let ArchiveError::Damaged { source, .. } = &error else { panic!("{lie}: {error:?}") };
        let text = format!("{error}: {source}");
        assert!(!text.chars().any(char::is_control) && text.len() < 500, "{lie}: {text:?}");
    }
}

#[test]
fn what_follows_the_archive_is_bounded_and_its_checksums_are_heeded() {
    let mut packed = package();
    let crc = packed.len() - 6;
    packed[crc] ^= 1;
    assert!(matches!(refused(&packed, "m.tar.gz"), ArchiveError::Damaged { .. }));
    let padding = vec![0; 3 << 20];
    let error = refused(&raw(&[&file("m/a", b"1"), b"1", &[0; 1024], &padding]), "m.tar.gz");
    assert!(matches!(error, ArchiveError::Limit { of: "bytes after the end of the tar", .. }), "{error:?}");
    let stored = zip(&[("m/a", &incompressible(100), 0o644)]);
    let data = stored.windows(3).position(|window| window == b"m/a").unwrap() + 10;
    let mut changed = stored.clone();
    changed[data] ^= 1;
    assert!(matches!(refused(&changed, "m.zip"), ArchiveError::Damaged { .. }));
}

/// `zip` with `value` written at `offset` of the first entry in its central directory, and of its local header where the
/// field has the same meaning there.
fn with_field(mut zip: Vec<u8>, (local, central): (Option<usize>, usize), value: u16) -> Vec<u8> {
    let find = |zip: &[u8], signature: &[u8]| zip.windows(4).position(|window| window == signature).unwrap();
    let mut places = vec![find(&zip, b"PK\x01\x02") + central];
    places.extend(local.map(|offset| find(&zip, b"PK\x03\x04") + offset));
    for place in places {
        zip[place..place + 2].copy_from_slice(&value.to_le_bytes());
    }
    zip
}

#[test]
fn what_a_zip_may_use_beside_deflate_is_refused_by_name() {
    let plain = || zip(&[("m/a", b"1", 0o644), ("m/b", b"2", 0o644)]);
    let encrypted = refused(&with_field(plain(), (Some(6), 8), 1), "m.zip");
    assert!(matches!(encrypted, ArchiveError::Feature { .. }), "{encrypted:?}");
    for method in [12, 14, 93] {
        let error = refused(&with_field(plain(), (Some(8), 10), method), "m.zip");
        assert!(matches!(error, ArchiveError::Feature { .. }), "{method}: {error:?}");
    }
    for kind in [0o060_644, 0o010_644, 0o140_644, 0o120_777] {
        let error = refused(&with_field(plain(), (None, 40), kind), "m.zip");
        assert!(matches!(error, ArchiveError::Kind { .. }), "{kind:o}: {error:?}");
    }
    // Both entries of the directory point at the first file's bytes.
    let mut shared = plain();
    let second = shared.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    shared[second + 42..second + 46].fill(0);
    let error = refused(&shared, "m.zip");
    assert!(matches!(error, ArchiveError::Feature { .. } | ArchiveError::Damaged { .. }), "{error:?}");
}
