//! One record of a segment: what is written, byte by byte, and the checks that it must pass to be believed.
//!
//! ```text
//! mark "MgR1" | length u32 | crc32 u32 | body            all numbers little-endian
//! body 1 message: kind, QoS, flags, topic length u16, id u64, tag u64, enqueued ms i64, topic, payload
//! body 2 done:    kind, reason, ids u64 …
//! body 3 ledger:  kind, last id, accepted, delivered, dropped by reason …, each u64
//! ```
//!
//! The checksum covers the segment's nonce, the length and the body. The nonce is random: a payload that holds the bytes
//! of a record cannot pass for one.

use bytes::Bytes;

use super::totals::{Fate, Totals};
use super::worth::Worth;
use crate::mqtt::message::{MAX_PAYLOAD_BYTES, MessageId};
use crate::topic::{self, Topic};

/// What each record begins with, so that the next one is found behind a damaged one.
const MARK: [u8; 4] = *b"MgR1";

/// Mark, length and checksum, in bytes.
pub(super) const HEAD_BYTES: usize = 12;

/// Everything of a message's body before its topic, in bytes.
const MESSAGE_FIXED: usize = 29;

/// No body is longer, in bytes.
pub(super) const MAX_BODY: usize = MESSAGE_FIXED + topic::MAX_BYTES + MAX_PAYLOAD_BYTES;

/// The most ids in one record of messages done with.
const MAX_DONE: usize = 4096;

/// The one quality of service that messages for the cloud have (A-17).
const QOS_AT_LEAST_ONCE: u8 = 1;

const MESSAGE: u8 = 1;
const DONE: u8 = 2;
const LEDGER: u8 = 3;
const REPEAT: u8 = 1;

/// It is a function's. A version that does not know this takes it for an ordinary one.
const OF_FUNCTION: u8 = 2;

/// A random number of a segment's own, part of each of its checksums.
pub(super) type Nonce = [u8; 8];

/// A message as it lies in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its number.
    pub id: MessageId,
    /// Where it goes.
    pub topic: Topic,
    /// What it says.
    pub payload: Bytes,
    /// The caller's number.
    pub tag: u64,
    /// When it was accepted, in milliseconds since 1970 by the device's clock.
    pub enqueued_ms: i64,
    /// What it is worth when room is short.
    pub worth: Worth,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// A message was taken.
    Message(Stored),
    /// Messages were delivered or given up.
    Done(Fate, Vec<MessageId>),
    /// The ledger at this place, the records before included.
    Ledger(Totals),
}

/// Appends a message's record to `out`.
pub(super) fn write_message(out: &mut Vec<u8>, nonce: Nonce, message: &Stored) {
    framed(out, nonce, |out| {
        let flags = match message.worth {
            Worth::Ordinary => 0,
            Worth::Repeat => REPEAT,
            Worth::OfFunction => OF_FUNCTION,
        };
        out.extend_from_slice(&[MESSAGE, QOS_AT_LEAST_ONCE, flags]);
        let topic = message.topic.as_str().as_bytes();
        // A topic has at most 256 bytes.
        out.extend_from_slice(&u16::try_from(topic.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(&message.id.get().to_le_bytes());
        out.extend_from_slice(&message.tag.to_le_bytes());
        out.extend_from_slice(&message.enqueued_ms.to_le_bytes());
        out.extend_from_slice(topic);
        out.extend_from_slice(&message.payload);
    });
}

/// Appends records that these messages are done with.
pub(super) fn write_done(out: &mut Vec<u8>, nonce: Nonce, fate: Fate, ids: &[MessageId]) {
    for ids in ids.chunks(MAX_DONE) {
        framed(out, nonce, |out| {
            out.extend_from_slice(&[DONE, fate.code()]);
            ids.iter().for_each(|id| out.extend_from_slice(&id.get().to_le_bytes()));
        });
    }
}

/// Appends the ledger.
pub(super) fn write_ledger(out: &mut Vec<u8>, nonce: Nonce, totals: &Totals) {
    framed(out, nonce, |out| {
        out.push(LEDGER);
        totals.numbers().iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    });
}

fn framed(out: &mut Vec<u8>, nonce: Nonce, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    body(out);
    // No body reaches 4 GiB: payloads have 128 KB, lists of ids 4096.
    let length = u32::try_from(out.len() - start - HEAD_BYTES).unwrap_or(u32::MAX).to_le_bytes();
    let sum = checksum(nonce, length, &out[start + HEAD_BYTES..]);
    out[start..start + 4].copy_from_slice(&MARK);
    out[start + 4..start + 8].copy_from_slice(&length);
    out[start + 8..start + HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
}

fn checksum(nonce: Nonce, length: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&nonce);
    hasher.update(&length);
    hasher.update(body);
    hasher.finalize()
}

/// The record at the beginning of `bytes` and its length with its head; `None` where none is whole and sound.
pub(super) fn read(bytes: &[u8], nonce: Nonce) -> Option<(Record, usize)> {
    let head = bytes.get(..HEAD_BYTES)?;
    if head[..4] != MARK {
        return None;
    }
    let length: [u8; 4] = head[4..8].try_into().ok()?;
    let end = HEAD_BYTES.checked_add(usize::try_from(u32::from_le_bytes(length)).ok()?)?;
    if end > HEAD_BYTES + MAX_BODY {
        return None;
    }
    let body = bytes.get(HEAD_BYTES..end)?;
    let sum = u32::from_le_bytes(head[8..HEAD_BYTES].try_into().ok()?);
    (checksum(nonce, length, body) == sum).then_some(())?;
    Some((understand(body)?, end))
}

/// The next place at or after `from` where a record is whole and sound.
pub(super) fn find(bytes: &[u8], from: usize, nonce: Nonce) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let marks = rest.windows(MARK.len()).enumerate().filter(|(_, window)| **window == MARK);
    marks.map(|(at, _)| from + at).find(|at| read(&bytes[*at..], nonce).is_some())
}

fn understand(body: &[u8]) -> Option<Record> {
    let (kind, rest) = body.split_first()?;
    match *kind {
        MESSAGE => message(rest).map(Record::Message),
        DONE => {
            let (fate, ids) = rest.split_first()?;
            let ids = numbers(ids)?.into_iter().map(MessageId).collect();
            Some(Record::Done(Fate::from_code(*fate)?, ids))
        }
        LEDGER => Totals::from_numbers(&numbers(rest)?).map(Record::Ledger),
        _ => None,
    }
}

fn message(rest: &[u8]) -> Option<Stored> {
    let fixed = rest.get(..MESSAGE_FIXED - 1)?;
    let number = |at: usize| fixed.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    if fixed[0] != QOS_AT_LEAST_ONCE {
        return None;
    }
    let worth = match fixed[1] {
        flags if flags & OF_FUNCTION != 0 => Worth::OfFunction,
        flags if flags & REPEAT != 0 => Worth::Repeat,
        _ => Worth::Ordinary,
    };
    let topic_end = MESSAGE_FIXED - 1 + usize::from(u16::from_le_bytes(fixed[2..4].try_into().ok()?));
    let topic = std::str::from_utf8(rest.get(MESSAGE_FIXED - 1..topic_end)?).ok()?.parse().ok()?;
    let payload = Bytes::copy_from_slice(rest.get(topic_end..)?);
    (payload.len() <= MAX_PAYLOAD_BYTES).then_some(())?;
    let enqueued_ms = number(20)?.cast_signed();
    Some(Stored { id: MessageId(number(4)?), topic, payload, tag: number(12)?, enqueued_ms, worth })
}

fn numbers(bytes: &[u8]) -> Option<Vec<u64>> {
    let (numbers, rest) = bytes.as_chunks::<8>();
    rest.is_empty().then(|| numbers.iter().copied().map(u64::from_le_bytes).collect())
}
