//! Consumers that are there, are made, are taken away, or may not be.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::json;

use super::fake::{Answer, CONSUMER_ARN, Fake, Request, STREAM_ARN};
use super::{DEADLINE, description};
use crate::source::kinesis::fan_out::consumer::{Patience, deregister, register_within};
use crate::source::kinesis::page::ReadError;

const PATIENCE: Patience =
    Patience { interval: Duration::from_millis(1), limited: Duration::from_millis(20), total: Duration::from_secs(20) };

/// What is asked in this order, and what is answered.
async fn registered(answers: Vec<(&'static str, Answer)>, patience: Patience) -> Result<String, ReadError> {
    let mut answers = VecDeque::from(answers);
    let last = answers.len() == 1;
    let handler = move |request: Request| {
        let (operation, answer) = if last { always(&answers[0]) } else { answers.pop_front().expect("a question") };
        assert_eq!(request.operation, operation);
        answer
    };
    let fake = Fake::start(handler).await;
    let client = fake.client();
    let register = register_within(&client, STREAM_ARN, "hydrant", patience);
    tokio::time::timeout(DEADLINE, register).await.expect("in time")
}

fn always((operation, answer): &(&'static str, Answer)) -> (&'static str, Answer) {
    let again = match answer {
        Answer::Json(body) => Answer::Json(body.clone()),
        Answer::Error(status, code) => Answer::Error(*status, code),
        Answer::Stream(_) => unreachable!(),
    };
    (operation, again)
}

fn nothing() -> Answer {
    Answer::Error(400, "ResourceNotFoundException")
}

const FIND: &str = "describestreamconsumer";
const CREATE: &str = "registerstreamconsumer";

#[tokio::test]
async fn a_consumer_that_is_there_is_taken_over() {
    assert_eq!(registered(vec![(FIND, description("ACTIVE"))], PATIENCE).await.unwrap(), CONSUMER_ARN);
}

#[tokio::test]
async fn one_that_is_not_is_registered_and_waited_for() {
    let created = json!({ "Consumer": {
        "ConsumerARN": CONSUMER_ARN, "ConsumerName": "hydrant", "ConsumerStatus": "CREATING", "ConsumerCreationTimestamp": 1.0,
    }});
    let answers = vec![
        (FIND, description("DELETING")),
        (FIND, nothing()),
        (CREATE, Answer::Error(400, "LimitExceededException")),
        (FIND, nothing()),
        // Another worker was faster, and the service does not say so everywhere yet.
        (CREATE, Answer::Error(400, "ResourceInUseException")),
        (FIND, nothing()),
        (CREATE, Answer::Json(created)),
        (FIND, Answer::Error(500, "InternalFailureException")),
        (FIND, description("CREATING")),
        (FIND, description("ACTIVE")),
    ];
    assert_eq!(registered(answers, Patience { limited: DEADLINE, ..PATIENCE }).await.unwrap(), CONSUMER_ARN);
}

#[tokio::test]
async fn whoever_cannot_have_one_is_told_what_to_do() {
    let handler = |request: Request| match request.operation.as_str() {
        FIND => nothing(),
        _ => Answer::Error(400, "LimitExceededException"),
    };
    let fake = Fake::start(handler).await;
    let error = register_within(&fake.client(), STREAM_ARN, "hydrant", PATIENCE).await.unwrap_err();
    let ReadError::Refused { code, message } = error else { panic!("{error:?}") };
    assert_eq!(code, "LimitExceededException");
    assert!(message.contains("`hydrant`") && message.contains("deregister one that nobody uses"), "{message}");
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_told_at_once() {
    let answers = vec![(FIND, nothing()), (CREATE, nothing())];
    assert!(matches!(registered(answers, PATIENCE).await, Err(ReadError::NotFound { .. })));
}

#[tokio::test]
async fn a_status_that_stays_is_told_after_a_while() {
    let patience = Patience { total: Duration::from_millis(20), ..PATIENCE };
    let error = registered(vec![(FIND, description("CREATING"))], patience).await.unwrap_err();
    assert!(error.to_string().contains("still CREATING"), "{error}");
}

#[tokio::test]
async fn a_registration_is_taken_away_once_and_for_all() {
    let mut answers = VecDeque::from([Answer::Json(json!({})), nothing(), Answer::Error(400, "AccessDeniedException")]);
    let fake = Fake::start(move |_| answers.pop_front().expect("three calls")).await;
    deregister(&fake.client(), CONSUMER_ARN).await.unwrap();
    deregister(&fake.client(), CONSUMER_ARN).await.unwrap();
    assert!(matches!(deregister(&fake.client(), CONSUMER_ARN).await, Err(ReadError::Refused { .. })));
}
