//! What an error of DynamoDB's client means for the next try.
//!
//! Only a definite refusal, or a connection that never came about, rules out that a change was made.

use std::error::Error;
use std::io;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::Response;

use crate::chain::chain;

use super::error::advice;

/// Characters of foreign text in a message.
const FOREIGN_TEXT_MAX: usize = 400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Again soon.
    Transient,
    /// Again, more slowly.
    Throttled,
    /// Not again.
    Refused,
    /// The table is not there.
    Missing,
}

/// One try that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub class: Class,
    pub code: String,
    pub message: String,
    /// The change may have been made, or be made yet.
    pub maybe_done: bool,
}

impl Failure {
    pub fn timed_out(limit: Duration) -> Self {
        Self::unanswered(format!("no answer within {limit:?}"))
    }

    fn unanswered(message: String) -> Self {
        Self { class: Class::Transient, code: String::from("NoAnswer"), message, maybe_done: true }
    }
}

impl<E> From<SdkError<E, Response>> for Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    fn from(error: SdkError<E, Response>) -> Self {
        match &error {
            SdkError::ServiceError(answer) => {
                let (status, refusal) = (answer.raw().status().as_u16(), answer.err());
                refused(status, refusal.code().unwrap_or_default(), refusal.message(), error.request_id())
            }
            SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => not_sent(&error),
            _ => Self::unanswered(clean(&chain(&error))),
        }
    }
}

/// The service has answered, and not with success.
fn refused(status: u16, code: &str, message: Option<&str>, request_id: Option<&str>) -> Failure {
    let (class, maybe_done) = classify(status, code);
    let mut text = format!("HTTP {status} {}", clean(code));
    if let Some(message) = message {
        text = format!("{text}: {}", clean(message));
    }
    if let Some(request_id) = request_id {
        text = format!("{text} (request id {})", clean(request_id));
    }
    if let Some(advice) = advice(code) {
        text = format!("{text}; {advice}");
    }
    Failure { class, code: clean(code), message: text, maybe_done }
}

/// There is no answer, because there were no credentials, no connection, or it broke.
fn not_sent(error: &(dyn Error + 'static)) -> Failure {
    let message = if chain(error).contains("external process") {
        // The SDK puts in what the process has printed, which may be anything.
        String::from("the credential process failed")
    } else {
        clean(&chain(error))
    };
    if let Some(credentials) = find::<CredentialsError>(error) {
        let is_passing = matches!(credentials, CredentialsError::ProviderTimedOut(_))
            || find::<ConnectorError>(credentials).is_some();
        let class = if is_passing { Class::Transient } else { Class::Refused };
        let message = format!("no credentials: {message}");
        return Failure { class, code: String::from("NoCredentials"), message, maybe_done: false };
    }
    let is_refused = find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    Failure { maybe_done: !is_refused, ..Failure::unanswered(message) }
}

/// The class of a refusal, and whether the change may have been made all the same.
fn classify(status: u16, code: &str) -> (Class, bool) {
    match code {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "LimitExceededException" => (Class::Throttled, false),
        // Somebody else writes the same item in this moment.
        "TransactionConflictException" | "ReplicatedWriteConflictException" | "TransactionInProgressException" => {
            (Class::Transient, false)
        }
        // Fresh credentials are fetched for the next try.
        "ExpiredTokenException" | "ExpiredToken" => (Class::Transient, false),
        "ResourceNotFoundException" => (Class::Missing, false),
        _ if status == 429 => (Class::Throttled, false),
        // Damaged on its way.
        "CRC32CheckFailed" => (Class::Transient, true),
        _ if matches!(status, ..300 | 408 | 500..) => (Class::Transient, true),
        _ => (Class::Refused, false),
    }
}

/// The error of a type, in a chain of causes.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |error| (*error).source()).find_map(|error| error.downcast_ref())
}

/// Foreign text, of bounded length and on one line.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(FOREIGN_TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_class() {
        use Class::{Missing, Refused, Throttled, Transient};
        for (status, code, class, maybe_done) in [
            (400, "ProvisionedThroughputExceededException", Throttled, false),
            (400, "ThrottlingException", Throttled, false),
            (400, "RequestLimitExceeded", Throttled, false),
            (429, "", Throttled, false),
            (400, "TransactionConflictException", Transient, false),
            (400, "ExpiredTokenException", Transient, false),
            (400, "ResourceNotFoundException", Missing, false),
            (400, "AccessDeniedException", Refused, false),
            (400, "ValidationException", Refused, false),
            (400, "UnrecognizedClientException", Refused, false),
            (403, "", Refused, false),
            (500, "InternalServerError", Transient, true),
            (503, "ServiceUnavailable", Transient, true),
            (502, "", Transient, true),
            (200, "", Transient, true),
        ] {
            assert_eq!(classify(status, code), (class, maybe_done), "{status} {code}");
        }
    }

    #[test]
    fn what_a_credential_process_printed_is_not_repeated() {
        let error = CredentialsError::provider_error("external process exited with code 1. Stderr: hunter2");
        let failure = not_sent(&error);
        assert_eq!((failure.class, failure.maybe_done), (Class::Refused, false));
        assert!(!failure.message.contains("hunter2"), "{}", failure.message);
    }

    #[test]
    fn a_missing_permission_says_what_to_allow() {
        let failure = refused(400, "AccessDeniedException", Some("not authorized\nat all"), Some("R17"));
        assert_eq!(failure.class, Class::Refused);
        for part in ["AccessDeniedException: not authorized at all (request id R17)", "dynamodb:DescribeTable"] {
            assert!(failure.message.contains(part), "{}", failure.message);
        }
    }
}
