//! The spool's ledger, limits and order, under every sequence of events.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn topic(text: &str) -> Topic {
    text.parse().unwrap()
}

fn spool() -> Spool {
    Spool::new(&SpoolSettings::new(MIN_MAX_SIZE_BYTES, StorageType::Memory).unwrap())
}

fn accept(spool: &mut Spool, bytes: usize) -> Result<MessageId, AcceptError> {
    spool.accept(topic("a"), vec![0; bytes].into(), 0, Instant::now())
}

fn send(spool: &mut Spool) -> Option<MessageId> {
    match spool.next(|_| false, |_| Standing::Good) {
        Next::Send(message) => Some(message.id),
        _ => None,
    }
}

#[test]
fn messages_leave_in_the_order_they_came_and_what_was_under_way_goes_first_again() {
    let mut spool = spool();
    let ids: Vec<_> = (0..4).map(|_| accept(&mut spool, 10).unwrap()).collect();
    let sent: Vec<_> = ids[..2].iter().map(|id| spool.lend(*id).unwrap().id).collect();
    assert_eq!(sent, ids[..2]);
    let mut again = Vec::new();
    while let Next::Send(message) = spool.next(|id| again.contains(&id), |_| Standing::Good) {
        again.push(message.id);
    }
    assert_eq!(again, ids);
    let counters = spool.counters();
    assert_eq!((counters.in_flight, counters.queued, counters.resent), (4, 0, 2));
}

#[test]
fn messages_in_flight_are_never_replaced_and_a_new_one_that_finds_no_room_is_refused() {
    let mut spool = spool();
    let first = accept(&mut spool, MAX_PAYLOAD_BYTES).unwrap();
    assert_eq!(send(&mut spool), Some(first));
    accept(&mut spool, 100_000).unwrap();
    accept(&mut spool, 100_000).unwrap();
    assert_eq!(spool.counters().dropped.spool_full, 1);
    assert!(spool.lend(first).is_some());
    let error = accept(&mut spool, MAX_PAYLOAD_BYTES).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(matches!(error, AcceptError::NoRoom { limit: MIN_MAX_SIZE_BYTES, .. }));
    assert_eq!(spool.counters().queued, 1, "nothing is thrown out for a message that then finds no room");
}

#[test]
fn a_smaller_limit_drops_the_oldest_that_no_longer_fit_and_a_larger_one_nothing() {
    let mut spool = spool();
    for _ in 0..4 {
        accept(&mut spool, 60_000).unwrap();
    }
    let in_flight = send(&mut spool).unwrap();
    spool.limit(150_000, Instant::now());
    let counters = spool.counters();
    assert_eq!((counters.in_flight, counters.queued, counters.dropped.spool_full), (1, 1, 2));
    spool.limit(MIN_MAX_SIZE_BYTES, Instant::now());
    assert_eq!(spool.counters(), counters);
    assert!(spool.acknowledge(in_flight, Instant::now()).is_some(), "what is under way is not touched");
}

#[test]
fn an_acknowledgement_counts_once_and_reports_the_time_it_took() {
    let mut spool = spool();
    let accepted = Instant::now();
    let id = spool.accept(topic("a"), Bytes::from_static(b"x"), 7, accepted).unwrap();
    spool.lend(id);
    spool.lend(id);
    let after = Duration::from_millis(30);
    let delivered = spool.acknowledge(id, accepted + after).unwrap();
    assert_eq!(delivered, Delivered { id, tag: 7, after, times_sent: 2 });
    assert_eq!(spool.acknowledge(id, accepted), None);
    assert_eq!(spool.counters().delivered, 1);
}

#[test]
fn queued_messages_on_a_refused_topic_are_given_up_when_their_turn_comes() {
    let mut spool = spool();
    let now = Instant::now();
    for name in ["bad", "good", "bad"] {
        spool.accept(topic(name), Bytes::new(), 0, now).unwrap();
    }
    let standing = |topic: &Topic| if topic.as_str() == "bad" { Standing::Refused } else { Standing::Good };
    let Next::Send(message) = spool.next(|_| false, standing) else { panic!("one can be sent") };
    assert_eq!(message.topic, topic("good"));
    assert!(matches!(spool.next(|id| id == message.id, standing), Next::Nothing));
    assert_eq!(spool.counters().dropped.topic_refused, 2);
}

#[test]
fn a_spool_has_v1s_default_size_and_v1s_smallest() {
    assert_eq!(SpoolSettings::default().max_size_bytes(), 2_621_440);
    assert_eq!(SpoolSettings::new(262_144, StorageType::Memory).unwrap().max_size_bytes(), 262_144);
    let too_small = SpoolSettings::new(262_143, StorageType::Memory).unwrap_err();
    assert_eq!(too_small.to_string(), "Spool size should be at least 262144 bytes.");
}

/// Something that happens to a spool.
#[derive(Debug, Clone)]
enum Happening {
    Accepted {
        bytes: usize,
    },
    Sent,
    /// All that was under way is sent again.
    Reconnected,
    Acknowledged {
        which: usize,
    },
    Refused {
        which: usize,
        with_topic: bool,
    },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (0usize..40_000).prop_map(|bytes| Happening::Accepted { bytes }),
        1 => (100_000usize..=MAX_PAYLOAD_BYTES + 1).prop_map(|bytes| Happening::Accepted { bytes }),
        5 => Just(Happening::Sent),
        1 => Just(Happening::Reconnected),
        4 => any::<usize>().prop_map(|which| Happening::Acknowledged { which }),
        1 => any::<(usize, bool)>().prop_map(|(which, with_topic)| Happening::Refused { which, with_topic }),
    ]
}

fn pick(spool: &Spool, which: usize) -> Option<MessageId> {
    let ids: Vec<_> = spool.in_flight().map(|(id, _)| id).collect();
    (!ids.is_empty()).then(|| ids[which % ids.len()])
}

fn apply(spool: &mut Spool, sent: &mut Vec<MessageId>, happening: &Happening) {
    match happening {
        Happening::Accepted { bytes } => drop(accept(spool, *bytes)),
        Happening::Sent => {
            if let Next::Send(message) = spool.next(|id| sent.contains(&id), |_| Standing::Good) {
                sent.push(message.id);
            }
        }
        Happening::Reconnected => sent.clear(),
        Happening::Acknowledged { which } => {
            if let Some(id) = pick(spool, *which) {
                spool.acknowledge(id, Instant::now());
            }
        }
        Happening::Refused { which, with_topic } => {
            if let Some(id) = pick(spool, *which) {
                spool.set_aside(id, with_topic.then_some(&topic("a")));
            }
        }
    }
}

proptest! {
    #[test]
    fn every_message_is_accounted_for_at_every_moment(happenings in proptest::collection::vec(happening(), 0..200)) {
        let (mut spool, mut sent, mut offered) = (spool(), Vec::new(), 0);
        for happening in &happenings {
            offered += u64::from(matches!(happening, Happening::Accepted { .. }));
            let before = spool.counters();
            apply(&mut spool, &mut sent, happening);
            let after = spool.counters();
            prop_assert!(after.balance(), "{:?}", after);
            prop_assert_eq!(after.accepted + after.refused.total(), offered);
            prop_assert!(after.spool_bytes <= MIN_MAX_SIZE_BYTES as u64);
            let took_room = after.dropped.spool_full > before.dropped.spool_full;
            prop_assert!(!took_room || after.in_flight == before.in_flight, "messages in flight never make room");
        }
    }

    #[test]
    fn first_sendings_follow_the_order_of_acceptance(happenings in proptest::collection::vec(happening(), 0..200)) {
        let (mut spool, mut sent, mut newest) = (spool(), Vec::new(), None);
        for happening in &happenings {
            let in_flight = spool.counters().in_flight;
            apply(&mut spool, &mut sent, happening);
            let first_sending = spool.counters().in_flight > in_flight;
            if let (true, Some(last)) = (first_sending, sent.last()) {
                prop_assert!(newest.is_none_or(|newest| *last >= newest));
                newest = Some(*last);
            }
        }
    }
}
