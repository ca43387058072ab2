//! Segments cut off anywhere, with bits flipped anywhere, and bytes that never were one.

use std::path::PathBuf;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::mqtt::message::MessageId;
use crate::mqtt::spool::record::Stored;
use crate::mqtt::spool::totals::{Fate, Totals};
use crate::mqtt::spool::worth::Worth;

const NONCE: Nonce = *b"a nonce!";

fn stored(id: u64, payload: Vec<u8>) -> Stored {
    let worth = if id.is_multiple_of(2) { Worth::Repeat } else { Worth::Ordinary };
    let topic = format!("margay/{}/predictions", id % 3).parse().unwrap();
    Stored { id: MessageId(id), topic, payload: Bytes::from(payload), tag: id * 7, enqueued_ms: -5, worth }
}

/// A segment with these payloads, a list of messages done with after every third, and a ledger at the end. Gives the
/// records as well, and where each ends.
fn segment(payloads: &[Vec<u8>]) -> (Vec<u8>, Vec<(Record, usize)>) {
    let (mut bytes, mut records) = (header(NONCE), Vec::new());
    for (index, payload) in payloads.iter().enumerate() {
        let message = stored(index as u64 + 1, payload.clone());
        record::write_message(&mut bytes, NONCE, &message);
        records.push((Record::Message(message), bytes.len()));
        if index % 3 == 2 {
            let ids = vec![MessageId(index as u64), MessageId(index as u64 + 1)];
            record::write_done(&mut bytes, NONCE, Fate::TopicRefused, &ids);
            records.push((Record::Done(Fate::TopicRefused, ids), bytes.len()));
        }
    }
    let totals = Totals { last_id: payloads.len() as u64, accepted: 9, delivered: 3, ..Totals::default() };
    record::write_ledger(&mut bytes, NONCE, &totals);
    records.push((Record::Ledger(totals), bytes.len()));
    (bytes, records)
}

fn records(bytes: &[u8]) -> Vec<Record> {
    let records = items(bytes).into_iter().flatten().filter_map(|item| match item {
        Item::Record(record, _) => Some(record),
        Item::Damaged(_) | Item::Torn(_) => None,
    });
    records.collect()
}

/// The fuzz target: any bytes are read to their end, and the items lie one behind the other without a gap.
fn target(bytes: &[u8]) {
    let Ok(items) = items(bytes) else { return };
    let mut end = HEADER_BYTES.min(bytes.len());
    for item in items {
        let (Item::Record(_, range) | Item::Damaged(range) | Item::Torn(range)) = item;
        assert_eq!(range.start, end);
        assert!(range.end > range.start && range.end <= bytes.len());
        end = range.end;
    }
    assert_eq!(end, bytes.len());
}

#[test]
fn the_corpus_is_read_to_its_end() {
    let folder = PathBuf::from("src/mqtt/spool/segment/corpus");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 6, "{files:?}");
    files.iter().for_each(|file| target(&std::fs::read(file).unwrap()));
}

/// Version 1 stays readable: this file was written once and is kept.
#[test]
fn a_kept_segment_of_version_1_is_read() {
    let bytes = std::fs::read("src/mqtt/spool/segment/corpus/version-1.spool").unwrap();
    let (_, expected) = segment(&[b"{}".to_vec(), vec![0; 100], Vec::new(), b"last".to_vec()]);
    assert_eq!(records(&bytes), expected.into_iter().map(|(record, _)| record).collect::<Vec<_>>());
}

#[test]
fn a_later_version_is_recognised_by_its_first_bytes_alone() {
    let mut bytes = header(NONCE);
    bytes[8] = 2;
    bytes.truncate(ONE_HEADER);
    assert_eq!(nonce(&bytes), Err(Unreadable::Version(2)));
    assert_eq!(nonce(b"MGY"), Err(Unreadable::Unfinished));
    assert_eq!(nonce(&[7; 200]), Err(Unreadable::Damaged));
}

#[test]
fn a_payload_that_holds_a_record_does_not_pass_for_one() {
    let mut forged = Vec::new();
    record::write_message(&mut forged, *b"guessed!", &stored(99, b"forged".to_vec()));
    let (mut bytes, _) = segment(&[forged, b"after".to_vec()]);
    // The first message's head is damaged, so that its payload is searched for the next record.
    bytes[HEADER_BYTES + 5] ^= 0xFF;
    let found = records(&bytes);
    assert!(matches!(&found[0], Record::Message(message) if *message.payload == *b"after"), "{found:?}");
}

fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..12)
}

proptest! {
    #[test]
    fn a_cut_anywhere_leaves_every_whole_record(payloads in payloads(), cut in any::<prop::sample::Index>()) {
        let (bytes, expected) = segment(&payloads);
        let cut = HEADER_BYTES + cut.index(bytes.len() - HEADER_BYTES + 1);
        target(&bytes[..cut]);
        let whole: Vec<_> = expected.into_iter().filter(|(_, end)| *end <= cut).map(|(record, _)| record).collect();
        prop_assert_eq!(records(&bytes[..cut]), whole);
    }

    #[test]
    fn flipped_bits_cost_records_and_never_change_one(
        payloads in payloads(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..6),
    ) {
        let (bytes, expected) = segment(&payloads);
        let mut flipped = bytes.clone();
        flips.iter().for_each(|(at, bit)| flipped[at.index(bytes.len())] ^= 1 << bit);
        target(&flipped);
        let mut expected = expected.into_iter().map(|(record, _)| record);
        for record in records(&flipped) {
            prop_assert!(expected.any(|written| written == record), "{record:?} was never written, or not there");
        }
    }

    #[test]
    fn one_flipped_bit_costs_one_record_at_most(payloads in payloads(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (mut bytes, expected) = segment(&payloads);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let lost = usize::from(at >= HEADER_BYTES);
        prop_assert_eq!(records(&bytes).len(), expected.len() - lost);
    }

    #[test]
    fn any_bytes_are_read_to_their_end(bytes in proptest::collection::vec(any::<u8>(), 0..2000), with_header in any::<bool>()) {
        let head = if with_header { header(NONCE) } else { Vec::new() };
        target(&[head, bytes].concat());
    }
}
