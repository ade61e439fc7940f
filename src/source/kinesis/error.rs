//! What an error of the service's client means for a reader.
//!
//! By error code, so that codes which the client's model does not know have their meaning, too. Messages name operation,
//! stream, status, code and request id, and never hold secrets.

use std::error::Error;
use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::RequestId;

use super::advice::advice;
use super::page::ReadError;
use super::response::date;
use crate::aws::failure::{self, chain, clean, is_throttling, without_credentials};
use crate::destination::ErrorClass;

/// Further apart than this, two clocks make signatures invalid; the SDK's own threshold.
const SKEW_MIN: Duration = Duration::from_secs(4 * 60);

/// The call an error belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub operation: &'static str,
    /// Name or ARN.
    pub stream: &'a str,
}

impl Call<'_> {
    /// What an error of the SDK means.
    pub fn failed<E>(&self, error: &SdkError<E, HttpResponse>) -> ReadError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => {
                let refusal = Refusal {
                    status: Some(answer.raw().status().as_u16()),
                    code: answer.err().code().unwrap_or_default(),
                    message: answer.err().message().unwrap_or_default(),
                    request_id: error.request_id(),
                    is_skewed: date(answer.raw()).is_some_and(is_skewed),
                };
                self.refused(&refusal)
            }
            SdkError::TimeoutError(_) => self.again("Timeout", &chain(error)),
            SdkError::ResponseError(_) => self.again("UnexpectedAnswer", &chain(error)),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => self.again("Timeout", &chain(error)),
            _ => self.not_sent(error),
        }
    }

    /// There was no answer in time.
    pub fn timed_out(&self, limit: Duration) -> ReadError {
        self.again("Timeout", &format!("no answer within {limit:?}"))
    }

    /// An answer that the service would not give.
    pub fn unexpected(&self, reason: &str) -> ReadError {
        self.again("UnexpectedAnswer", reason)
    }

    /// There is no region, and no `endpoint_url` that would do without.
    pub fn without_region(&self) -> ReadError {
        let reason = "no region: set `region` in the source or in `aws`, or AWS_REGION in the environment";
        ReadError::Refused { code: "MissingRegion".to_owned(), message: self.message(reason) }
    }

    /// The stream, or what was asked of it, cannot be asked for.
    pub fn invalid(&self, reason: &str) -> ReadError {
        ReadError::Refused { code: "InvalidArgumentException".to_owned(), message: self.message(reason) }
    }

    /// What ends an event stream, which has begun with a success: `status` is that of an answer which would mean the same.
    pub fn refused_in_stream(&self, status: Option<u16>, code: &str, message: &str) -> ReadError {
        self.refused(&Refusal { status, code, message, request_id: None, is_skewed: false })
    }

    fn refused(&self, refusal: &Refusal<'_>) -> ReadError {
        let meaning = meaning(refusal, self.operation);
        let needs_help = matches!(meaning, Meaning::NotFound | Meaning::Refused);
        let advice = advice(self.operation, refusal.code).filter(|_| needs_help);
        let advice = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
        let message = self.message(&(refusal.text() + &advice));
        let code = refusal.code_or_status();
        match meaning {
            Meaning::Throttled => ReadError::Again { code, message, is_throttled: true },
            Meaning::Again => ReadError::Again { code, message, is_throttled: false },
            Meaning::NotFound => ReadError::NotFound { message },
            Meaning::InUse => ReadError::InUse { message },
            Meaning::Refused => ReadError::Refused { code, message },
        }
    }

    /// There were no credentials, no connection, or it broke.
    fn not_sent(&self, error: &(dyn Error + 'static)) -> ReadError {
        let Some(without) = without_credentials(error) else { return self.again("NoAnswer", &chain(error)) };
        if without.is_transient {
            return self.again(without.code, &without.text);
        }
        ReadError::Refused { code: without.code.to_owned(), message: self.message(&without.text) }
    }

    fn again(&self, code: &str, reason: &str) -> ReadError {
        ReadError::Again { code: code.to_owned(), message: self.message(reason), is_throttled: false }
    }

    fn message(&self, reason: &str) -> String {
        format!("{} of `{}`: {reason}", self.operation, self.stream)
    }
}

/// An answer that is no success.
struct Refusal<'a> {
    /// None within an event stream.
    status: Option<u16>,
    code: &'a str,
    message: &'a str,
    request_id: Option<&'a str>,
    /// The service's clock is far from this machine's.
    is_skewed: bool,
}

impl Refusal<'_> {
    fn code_or_status(&self) -> String {
        match self.status {
            Some(status) if self.code.is_empty() => format!("Http{status}"),
            _ => clean(self.code),
        }
    }

    fn text(&self) -> String {
        let status = self.status.map(|status| format!("HTTP {status}"));
        let head: Vec<String> = status.into_iter().chain([clean(self.code)]).filter(|part| !part.is_empty()).collect();
        let mut text = head.join(" ");
        if !self.message.is_empty() {
            text = format!("{text}: {}", clean(self.message));
        }
        if let Some(request_id) = self.request_id {
            text = format!("{text} (request id {})", clean(request_id));
        }
        text
    }
}

enum Meaning {
    Again,
    Throttled,
    NotFound,
    InUse,
    Refused,
}

fn meaning(refusal: &Refusal<'_>, operation: &str) -> Meaning {
    // An exception of an event stream that has no code yet is the service's own fault.
    match (refusal.status.unwrap_or(if refusal.code.is_empty() { 500 } else { 400 }), refusal.code) {
        (_, "ProvisionedThroughputExceededException" | "LimitExceededException") | (429, _) => Meaning::Throttled,
        (_, code) if is_throttling(code) => Meaning::Throttled,
        (_, "ResourceNotFoundException") => Meaning::NotFound,
        (_, "ResourceInUseException") if operation == "SubscribeToShard" => Meaning::InUse,
        // A stream that is being created or changed.
        (_, "ResourceInUseException") => Meaning::Again,
        (_, "ExpiredIteratorException" | "ExpiredNextTokenException") => Meaning::Again,
        (_, code) if failure::is_expired(code) => Meaning::Again,
        // The client has taken the service's time from this answer, and signs the next call by it.
        (_, "InvalidSignatureException" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed" | "RequestExpired")
            if refusal.is_skewed =>
        {
            Meaning::Again
        }
        (408 | 409 | 500.., _) => Meaning::Again,
        (_, "InternalFailure" | "InternalFailureException" | "ServiceUnavailable" | "ServiceUnavailableException") => {
            Meaning::Again
        }
        _ => Meaning::Refused,
    }
}

fn is_skewed(date: SystemTime) -> bool {
    let now = SystemTime::now();
    let apart = now.duration_since(date).or_else(|_| date.duration_since(now));
    apart.is_ok_and(|apart| apart > SKEW_MIN)
}

/// How soon to ask again.
pub(super) fn class(error: &ReadError) -> ErrorClass {
    match error {
        ReadError::Again { is_throttled: true, .. } => ErrorClass::Throttled,
        ReadError::Again { .. } => ErrorClass::Transient,
        ReadError::NotFound { .. } | ReadError::Refused { .. } | ReadError::InUse { .. } => ErrorClass::Denied,
    }
}

/// Whether other credentials could make a difference.
pub(super) fn is_about_credentials(error: &ReadError) -> bool {
    match error {
        ReadError::Again { code, .. } => failure::is_expired(code) || code.starts_with("Credentials"),
        ReadError::Refused { .. } => true,
        ReadError::NotFound { .. } | ReadError::InUse { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, code: &str, operation: &'static str, is_skewed: bool) -> ReadError {
        let refusal =
            Refusal { status: Some(status), code, message: "because\nof", request_id: Some("R17"), is_skewed };
        Call { operation, stream: "clicks" }.refused(&refusal)
    }

    fn seen(error: &ReadError) -> &'static str {
        match error {
            ReadError::Again { is_throttled: true, .. } => "throttled",
            ReadError::Again { .. } => "again",
            ReadError::NotFound { .. } => "not found",
            ReadError::Refused { .. } => "refused",
            ReadError::InUse { .. } => "in use",
        }
    }

    #[test]
    fn every_code_has_its_meaning() {
        for (status, code, meaning) in [
            (400, "ProvisionedThroughputExceededException", "throttled"),
            (400, "LimitExceededException", "throttled"),
            (400, "KMSThrottlingException", "throttled"),
            (400, "ThrottlingException", "throttled"),
            (429, "", "throttled"),
            (400, "ExpiredIteratorException", "again"),
            (400, "ExpiredNextTokenException", "again"),
            (400, "ResourceInUseException", "again"),
            (403, "ExpiredTokenException", "again"),
            (408, "", "again"),
            (500, "InternalFailureException", "again"),
            (500, "InternalFailure", "again"),
            (503, "ServiceUnavailable", "again"),
            (504, "", "again"),
            (400, "ResourceNotFoundException", "not found"),
            (400, "InvalidArgumentException", "refused"),
            (400, "AccessDeniedException", "refused"),
            (403, "UnrecognizedClientException", "refused"),
            (400, "KMSDisabledException", "refused"),
            (400, "KMSAccessDeniedException", "refused"),
            (400, "KMSInvalidStateException", "refused"),
            (400, "KMSNotFoundException", "refused"),
            (400, "KMSOptInRequired", "refused"),
            (400, "InvalidSignatureException", "refused"),
            (403, "", "refused"),
            (404, "", "refused"),
        ] {
            let error = outcome(status, code, "GetRecords", false);
            assert_eq!(seen(&error), meaning, "{status} {code:?}");
        }
        assert_eq!(seen(&outcome(400, "ResourceInUseException", "SubscribeToShard", false)), "in use");
        assert_eq!(seen(&outcome(400, "InvalidSignatureException", "GetRecords", true)), "again");
        assert_eq!(seen(&outcome(400, "AccessDeniedException", "GetRecords", true)), "refused");
    }

    #[test]
    fn a_message_says_what_was_asked_and_what_was_said() {
        let error = outcome(400, "AccessDeniedException", "GetRecords", false);
        let message = "GetRecords of `clicks`: HTTP 400 AccessDeniedException: because of (request id R17); allow kinesis:GetRecords";
        assert_eq!(error.to_string(), message);
        assert!(matches!(outcome(404, "", "GetRecords", false), ReadError::Refused { code, .. } if code == "Http404"));
    }
}
