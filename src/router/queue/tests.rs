//! Queues: bounds, order, waits that are given up, and what is counted.

use super::*;

fn queue(limit: usize, items: usize) -> (Arc<Queue>, Inbox) {
    let target = Endpoint::Function("f".to_owned());
    let queue = Arc::new(Queue::new(target, limit, Arc::new(WorkItems::new(items))));
    (queue.clone(), Inbox::new(queue))
}

fn message(payload: &str) -> Message {
    Message { topic: "a/b".parse().unwrap(), payload: Bytes::copy_from_slice(payload.as_bytes()) }
}

fn put(queue: &Arc<Queue>, payload: &str) -> Result<(), Missed> {
    let message = message(payload);
    queue.reserve(&message).map(|room| room.fill(message))
}

fn balances(counters: &QueueCounters) -> bool {
    counters.accepted == counters.taken + counters.abandoned + counters.waiting
}

#[test]
fn the_limit_is_of_bytes_the_newest_is_not_taken_and_order_is_kept() {
    let two = 2 * message("1").cost();
    let (queue, mut inbox) = queue(two, 100);
    put(&queue, "1").unwrap();
    put(&queue, "2").unwrap();
    assert!(matches!(put(&queue, "3"), Err(Missed::QueueFull { limit, in_use }) if limit == two && in_use == two));
    assert_eq!(inbox.try_next(), Some(message("1")));
    put(&queue, "4").unwrap();
    assert_eq!([inbox.try_next(), inbox.try_next(), inbox.try_next()], [Some(message("2")), Some(message("4")), None]);
    let counters = inbox.counters();
    assert_eq!((counters.accepted, counters.taken, counters.full, counters.bytes), (3, 3, 1, 0));
    assert!(balances(&counters));
}

#[test]
fn a_queue_of_2_5_mb_holds_19_of_the_largest_messages() {
    let (queue, _inbox) = queue(QUEUE_BYTES, 1024);
    let largest = "x".repeat(crate::router::MAX_PAYLOAD_BYTES);
    let taken = (0..40).filter(|_| put(&queue, &largest).is_ok()).count();
    assert_eq!(taken, 19);
}

#[test]
fn all_queues_together_hold_as_many_messages_as_the_core_may() {
    let items = Arc::new(WorkItems::new(3));
    let one = Arc::new(Queue::new(Endpoint::ShadowService, QUEUE_BYTES, items.clone()));
    let other = Arc::new(Queue::new(Endpoint::Device("d".to_owned()), QUEUE_BYTES, items));
    put(&one, "1").unwrap();
    put(&one, "2").unwrap();
    put(&other, "3").unwrap();
    assert!(matches!(put(&other, "4"), Err(Missed::TooManyWaiting { limit: 3 })));
    Inbox::new(one);
    put(&other, "5").unwrap();
    put(&other, "6").unwrap();
    assert!(put(&other, "7").is_err());
}

#[test]
fn room_that_is_not_filled_is_given_back() {
    let (queue, _inbox) = queue(message("1").cost(), 1);
    let room = queue.reserve(&message("1")).unwrap();
    assert!(queue.reserve(&message("2")).is_err());
    drop(room);
    put(&queue, "3").unwrap();
}

#[tokio::test]
async fn a_wait_can_be_given_up_without_losing_a_message() {
    let (queue, mut inbox) = queue(QUEUE_BYTES, 100);
    for round in 0..100 {
        {
            let next = inbox.next();
            tokio::pin!(next);
            assert!(
                std::future::poll_fn(|context| std::task::Poll::Ready(next.as_mut().poll(context))).await.is_pending()
            );
            put(&queue, &round.to_string()).unwrap();
        }
        assert_eq!(inbox.next().await, message(&round.to_string()));
    }
    let (sender, count) = (queue.clone(), 1000);
    let sending = tokio::spawn(async move {
        for number in 0..count {
            while put(&sender, &number.to_string()).is_err() {
                tokio::task::yield_now().await;
            }
        }
    });
    for number in 0..count {
        assert_eq!(inbox.next().await, message(&number.to_string()));
    }
    sending.await.unwrap();
    assert!(balances(&inbox.counters()));
}

#[test]
fn what_waits_when_the_target_goes_away_is_counted() {
    let (queue, inbox) = queue(QUEUE_BYTES, 100);
    put(&queue, "1").unwrap();
    let late = queue.reserve(&message("2")).unwrap();
    drop(inbox);
    late.fill(message("2"));
    assert!(matches!(put(&queue, "3"), Err(Missed::NotRunning)));
    let counters = queue.counters();
    assert_eq!((counters.accepted, counters.abandoned, counters.bytes), (2, 2, 0));
    assert!(balances(&counters));
}

#[test]
fn a_flood_for_one_target_leaves_the_others_a_few_places() {
    let items = Arc::new(WorkItems::new(128));
    let one = Arc::new(Queue::new(Endpoint::ShadowService, QUEUE_BYTES, items.clone()));
    let other = Arc::new(Queue::new(Endpoint::Device("d".to_owned()), QUEUE_BYTES, items));
    let (one, mut inbox) = (one, Inbox::new(other.clone()));
    assert_eq!((0..300).filter(|_| put(&one, "flood").is_ok()).count(), 128);
    assert_eq!((0..300).filter(|_| put(&other, "rare").is_ok()).count(), 2, "a sixty-fourth");
    assert!(inbox.try_next().is_some());
    put(&other, "one more").unwrap();
}
