//! The reader against a server with every fault; [`faults`] has them at random.

mod fake;
mod faults;
mod registration;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use fake::{Answer, CONSUMER_ARN, Fake, Part, Request, SHARD_ID, event, exception, initial_response, unmodeled};

/// Nothing that a test waits for takes longer.
const DEADLINE: Duration = Duration::from_secs(30);

/// The service's, hundreds of times faster; silence is never what a test of something else meets.
pub(super) const LIMITS: Limits = Limits {
    interval: Duration::from_millis(20),
    throttled_pause: Duration::from_millis(2),
    silence: Duration::from_secs(20),
    tries: 3,
};

/// Where each subscription began.
type Positions = Arc<Mutex<Vec<String>>>;

/// A server that answers subscriptions in this order; the consumer is registered.
async fn scripted(answers: Vec<Answer>) -> (Fake, Positions) {
    let (mut answers, positions) = (VecDeque::from(answers), Positions::default());
    let noted = positions.clone();
    let handler = move |request: Request| match request.operation.as_str() {
        "subscribetoshard" => {
            assert_eq!(
                (&request.body["ConsumerARN"], &request.body["ShardId"]),
                (&json!(CONSUMER_ARN), &json!(SHARD_ID))
            );
            noted.lock().unwrap().push(text(&request.body["StartingPosition"]));
            answers.pop_front().unwrap_or(Answer::Stream(vec![Part::Silence]))
        }
        "describestreamconsumer" => description("ACTIVE"),
        other => panic!("{other}"),
    };
    (Fake::start(handler).await, positions)
}

fn description(status: &str) -> Answer {
    Answer::Json(json!({ "ConsumerDescription": {
        "ConsumerARN": CONSUMER_ARN, "ConsumerName": "hydrant", "ConsumerStatus": status,
        "ConsumerCreationTimestamp": 1.0, "StreamARN": fake::STREAM_ARN,
    }}))
}

/// `AFTER_SEQUENCE_NUMBER 17`
fn text(position: &Value) -> String {
    let number = position["SequenceNumber"].as_str().unwrap_or_default();
    format!("{} {number}", position["Type"].as_str().unwrap()).trim_end().to_owned()
}

fn reader(fake: &Fake, limits: Limits) -> FanOutReader {
    let (consumer, shard) = (CONSUMER_ARN.to_owned(), SHARD_ID.to_owned());
    FanOutReader::with_limits(fake.client(), consumer, shard, StartingPosition::TrimHorizon, limits)
}

async fn next(reader: &mut FanOutReader) -> Result<Page, ReadError> {
    tokio::time::timeout(DEADLINE, reader.next()).await.expect("in time")
}

fn numbers(page: &Page) -> Vec<String> {
    page.records.iter().map(|record| record.sequence_number.to_string()).collect()
}

fn stream(frames: Vec<Vec<u8>>) -> Answer {
    Answer::Stream(frames.into_iter().map(Part::Bytes).collect())
}

fn positions(seen: &Positions) -> Vec<String> {
    seen.lock().unwrap().clone()
}

#[tokio::test]
async fn a_closed_subscription_is_renewed_at_its_continuation_until_the_shard_ends() {
    let first = stream(vec![initial_response(), event([1, 2], Some(5), &[]), event([], Some(9), &[])]);
    // Some servers have no first frame.
    let second = stream(vec![event([10], None, &["shardId-000000000001"])]);
    let (fake, seen) = scripted(vec![first, second]).await;
    let mut reader = reader(&fake, LIMITS);

    let page = next(&mut reader).await.unwrap();
    assert_eq!((numbers(&page), page.behind_ms), (vec!["1".to_owned(), "2".to_owned()], Some(7)));
    assert_eq!(page.continuation.unwrap().to_string(), "5");
    assert_eq!(next(&mut reader).await.unwrap().records, []);
    let last = next(&mut reader).await.unwrap();
    assert_eq!(numbers(&last), ["10"]);
    for end in [last, next(&mut reader).await.unwrap()] {
        let children = end.ended.unwrap();
        assert_eq!((children[0].id.as_str(), children[0].hash_keys.end), ("shardId-000000000001", 9));
    }
    assert_eq!(positions(&seen), ["TRIM_HORIZON", "AFTER_SEQUENCE_NUMBER 9"]);
    assert_eq!(fake.connections(), 1, "a connection that is sound is used again");
}

#[tokio::test]
async fn an_end_without_children_is_believed_at_the_second_time() {
    let end = |numbers: &[u64]| stream(vec![event(numbers.iter().copied(), None, &[])]);
    let (fake, seen) = scripted(vec![end(&[1, 2]), stream(vec![event([3], Some(4), &[])]), end(&[]), end(&[])]).await;
    let mut reader = reader(&fake, LIMITS);
    let mut read = Vec::new();
    let last = loop {
        let page = next(&mut reader).await.unwrap();
        read.extend(numbers(&page));
        if page.ended.is_some() {
            break page;
        }
    };
    assert_eq!((read, last.ended), (["1", "2", "3"].map(str::to_owned).to_vec(), Some(Vec::new())));
    let after = |number| format!("AFTER_SEQUENCE_NUMBER {number}");
    assert_eq!(positions(&seen), ["TRIM_HORIZON".to_owned(), after(2), after(4), after(4)]);
}

#[tokio::test]
async fn a_reader_that_has_taken_the_shard_over_is_told_at_once() {
    let (fake, seen) =
        scripted(vec![stream(vec![event([1], Some(1), &[]), exception("ResourceInUseException")])]).await;
    let mut reader = reader(&fake, LIMITS);
    next(&mut reader).await.unwrap();
    let error = next(&mut reader).await.unwrap_err();
    assert!(matches!(&error, ReadError::InUse { message } if message.contains("because")), "{error}");
    assert_eq!(positions(&seen), ["TRIM_HORIZON"]);
}

#[tokio::test]
async fn a_shard_in_use_is_asked_for_again_before_it_is_told() {
    let in_use = || Answer::Error(400, "ResourceInUseException");
    // As the service says it, and as a server does that has begun the stream already.
    let within = stream(vec![exception("ResourceInUseException")]);
    let (fake, seen) =
        scripted(vec![in_use(), within, in_use(), in_use(), stream(vec![event([1], Some(1), &[])])]).await;
    let mut reader = reader(&fake, LIMITS);
    assert!(matches!(next(&mut reader).await, Err(ReadError::InUse { .. })));
    assert_eq!(positions(&seen).len(), 3);
    assert_eq!(numbers(&next(&mut reader).await.unwrap()), ["1"], "it can be read again after the error");
}

#[tokio::test]
async fn failures_have_the_meaning_of_their_codes() {
    let throttled = |error: &ReadError| matches!(error, ReadError::Again { is_throttled: true, .. });
    let again = |error: &ReadError| matches!(error, ReadError::Again { is_throttled: false, .. });
    let refused = |error: &ReadError| matches!(error, ReadError::Refused { .. });
    let not_found = |error: &ReadError| matches!(error, ReadError::NotFound { .. });
    let within = |code| vec![exception(code)];
    type Case<'a> = (Vec<Vec<u8>>, &'a dyn Fn(&ReadError) -> bool, usize);
    let cases: Vec<Case<'_>> = vec![
        (within("KMSThrottlingException"), &throttled, 3),
        (within("InternalFailureException"), &again, 3),
        (vec![unmodeled("InternalError")], &again, 3),
        (within("KMSDisabledException"), &refused, 1),
        (within("KMSAccessDeniedException"), &refused, 1),
        (within("AccessDeniedException"), &refused, 1),
        (within("ResourceNotFoundException"), &not_found, 1),
        (vec![], &again, 3),
        (vec![b"no frame at all, but long enough for one".to_vec()], &again, 3),
        (
            vec![fake::event_of(
                vec![fake::record(1, "AAAA"), json!({ "SequenceNumber": "x", "Data": "" })],
                Some(1),
                &[],
            )],
            &again,
            3,
        ),
    ];
    for (frames, is_meant, tries) in cases {
        let (fake, seen) = scripted((0..3).map(|_| stream(frames.clone())).collect()).await;
        let error = next(&mut reader(&fake, LIMITS)).await.unwrap_err();
        assert!(is_meant(&error), "{error:?} of {:?}", String::from_utf8_lossy(&frames.concat()));
        assert_eq!(positions(&seen).len(), tries, "{error:?}");
    }
}

#[tokio::test]
async fn a_consumer_that_was_deregistered_is_no_end_of_its_shards() {
    for within in [false, true] {
        let handler = move |request: Request| match request.operation.as_str() {
            "subscribetoshard" if within => stream(vec![exception("ResourceNotFoundException")]),
            _ => Answer::Error(400, "ResourceNotFoundException"),
        };
        let fake = Fake::start(handler).await;
        let error = next(&mut reader(&fake, LIMITS)).await.unwrap_err();
        assert!(matches!(&error, ReadError::Refused { code, .. } if code == "ConsumerNotFound"), "{error:?}");
    }
}

#[tokio::test]
async fn a_silent_subscription_is_left_with_its_connection() {
    let silent = || Answer::Stream(vec![Part::Bytes(event([], Some(3), &[])), Part::Silence]);
    let (fake, seen) = scripted(vec![silent(), stream(vec![event([4], Some(4), &[])])]).await;
    let mut reader = reader(&fake, Limits { silence: Duration::from_millis(50), ..LIMITS });
    next(&mut reader).await.unwrap();
    assert_eq!(numbers(&next(&mut reader).await.unwrap()), ["4"]);
    assert_eq!(positions(&seen), ["TRIM_HORIZON", "AFTER_SEQUENCE_NUMBER 3"]);
    assert_eq!(fake.connections(), 2);
}

#[tokio::test]
async fn events_wait_with_the_server_while_nobody_asks() {
    const EVENTS: u64 = 48;
    let data = "A".repeat(1 << 20);
    let large = |number| fake::event_of(vec![fake::record(number, &data)], Some(number), &[]);
    let (fake, _) = scripted(vec![
        stream((1..=EVENTS).map(large).collect()),
        stream(vec![event([], Some(1), &[]), event([], None, &["shardId-000000000001"])]),
    ])
    .await;
    let (mut resting, mut other) = (reader(&fake, LIMITS), reader(&fake, LIMITS));
    let mut read = numbers(&next(&mut resting).await.unwrap());
    while next(&mut other).await.unwrap().ended.is_none() {}
    assert!(fake.written() < 24 << 20, "{} bytes have left the server", fake.written());
    for _ in 1..EVENTS {
        read.extend(numbers(&next(&mut resting).await.unwrap()));
    }
    assert_eq!(read, (1..=EVENTS).map(|number| number.to_string()).collect::<Vec<_>>());
}
