//! What an error of the SDK means for the next attempt, and what an operator has to know about it.
//!
//! Only a definite refusal, or a connection that never came about, rules out that the object has arrived. Messages name
//! bucket, key, status, code and request id, and never hold secrets.

use std::error::Error;
use std::io;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_smithy_runtime_api::http::Response;

use crate::aws::failure::{chain, clean, find, is_expired, is_throttling, without_credentials};
use crate::destination::{AttemptError, ErrorClass};

/// The request an error belongs to.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub verb: &'static str,
    pub bucket: &'a str,
    pub key: &'a str,
    /// It was sent with `If-None-Match: *`.
    pub conditional: bool,
}

impl Request<'_> {
    pub fn failed<E>(&self, error: &SdkError<E, Response>) -> AttemptError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => {
                let (status, refusal) = (answer.raw().status().as_u16(), answer.err());
                self.refused(status, refusal.code(), refusal.message(), error.request_id())
            }
            SdkError::TimeoutError(_) => self.no_answer("Timeout", &chain(error)),
            SdkError::ResponseError(_) => self.no_answer("UnexpectedAnswer", &chain(error)),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => self.no_answer("Timeout", &chain(error)),
            SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => self.not_sent(error),
            _ => self.no_answer("NoAnswer", &chain(error)),
        }
    }

    pub fn timed_out(&self, limit: Duration) -> AttemptError {
        self.no_answer("Timeout", &format!("no answer within {limit:?}"))
    }

    /// A success that S3 would not have put that way.
    pub fn not_an_answer(&self) -> AttemptError {
        self.no_answer("UnexpectedAnswer", "success without an ETag; does `endpoint_url` lead to an S3 store?")
    }

    /// The payload's file cannot be read. Its records are still in their source.
    pub fn payload_unreadable(&self, error: &io::Error) -> AttemptError {
        let (class, advice) = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData => {
                (ErrorClass::Denied, "; restart hydrant to form it again from the source")
            }
            _ => (ErrorClass::Transient, ""),
        };
        self.error(class, "PayloadUnreadable", &format!("cannot read the payload: {error}{advice}"), false)
    }

    /// The server has answered, and not with success.
    fn refused(
        &self,
        status: u16,
        code: Option<&str>,
        message: Option<&str>,
        request_id: Option<&str>,
    ) -> AttemptError {
        let (class, ambiguous) = classify(status, code);
        let mut text = format!("HTTP {status}");
        if let Some(code) = code {
            text = format!("{text} {code}");
        }
        if let Some(message) = message {
            text = format!("{text}: {}", clean(message));
        }
        if let Some(request_id) = request_id {
            text = format!("{text} (request id {})", clean(request_id));
        }
        if let Some(advice) = self.advice(status, code.unwrap_or_default()) {
            text = format!("{text}; {advice}");
        }
        let code = code.map_or_else(|| format!("Http{status}"), clean);
        self.error(class, &code, &text, ambiguous)
    }

    /// There is no answer, because there were no credentials, no connection, or it broke.
    fn not_sent(&self, error: &(dyn Error + 'static)) -> AttemptError {
        if let Some(without) = without_credentials(error) {
            let class = if without.is_transient { ErrorClass::Transient } else { ErrorClass::Denied };
            return self.error(class, without.code, &without.text, false);
        }
        let text = chain(error);
        match find::<io::Error>(error).map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => AttemptError {
                ambiguous: false, // nobody was there to take it
                ..self.no_answer("ConnectionRefused", &text)
            },
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof,
            ) => self.no_answer("ConnectionReset", &text),
            Some(io::ErrorKind::TimedOut) => self.no_answer("Timeout", &text),
            _ => self.no_answer("NoAnswer", &text),
        }
    }

    fn no_answer(&self, code: &str, text: &str) -> AttemptError {
        self.error(ErrorClass::Transient, code, text, true)
    }

    pub fn bucket_and_key(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.key)
    }

    fn error(&self, class: ErrorClass, code: &str, text: &str, ambiguous: bool) -> AttemptError {
        let message = format!("{} {}: {text}", self.verb, self.bucket_and_key());
        // Looking changes nothing.
        AttemptError { class, code: code.to_owned(), message, ambiguous: ambiguous && self.verb == "PUT" }
    }

    /// What a person can do about a refusal.
    fn advice(&self, status: u16, code: &str) -> Option<String> {
        let bucket = self.bucket;
        let advice = match (status, code) {
            (_, "NoSuchBucket") => format!("create the bucket `{bucket}` or correct `bucket`"),
            (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken") | (401, _) => {
                "check the credentials".to_owned()
            }
            (_, "RequestTimeTooSkewed") => "set this machine's clock".to_owned(),
            (_, "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")
            | (301, _) => format!("correct `region` to that of the bucket `{bucket}`"),
            (_, "InvalidStorageClass") => "correct `storage_class`".to_owned(),
            (_, "AccessControlListNotSupported") => "remove `acl`: the bucket does not allow any".to_owned(),
            (_, code) if code.starts_with("KMS.") => "check `sse` and the key's state and policy".to_owned(),
            (501, _) if self.conditional => {
                "if the store does not know `If-None-Match`, set `conditional_put: false`".to_owned()
            }
            (403, _) if self.verb == "LIST" => format!("allow s3:ListBucket on `arn:aws:s3:::{bucket}`"),
            (403, _) if self.verb == "GET" => {
                format!("allow s3:GetObject on `arn:aws:s3:::{bucket}/*` (and kms:Decrypt on the key, if there is one)")
            }
            (403, _) => format!(
                "allow s3:PutObject on `arn:aws:s3:::{bucket}/*` (and kms:GenerateDataKey on the key, if there is one)"
            ),
            (404, _) => format!("check `bucket` (`{bucket}`) and `endpoint_url`"),
            _ => return None,
        };
        Some(advice)
    }
}

/// HTTP status of the answer, if there was one.
pub(super) fn status<E>(error: &SdkError<E, Response>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Whether other credentials could make a difference.
pub(super) fn is_about_credentials(error: &AttemptError) -> bool {
    error.class == ErrorClass::Denied || is_expired(&error.code) || error.code.starts_with("Credentials")
}

/// The class of a refusal, and whether the object may be there all the same.
fn classify(status: u16, code: Option<&str>) -> (ErrorClass, bool) {
    use ErrorClass::{Denied, Throttled, Transient};
    let code = code.unwrap_or_default();
    // A server that broke off may have been past the point of no return.
    let ambiguous = matches!(status, 200..=299 | 408 | 409 | 500..) && status != 501;
    let class = match (status, code) {
        (429, _) => Throttled,
        (_, code) if is_throttling(code) => Throttled,
        // Fresh credentials are fetched for the next attempt.
        (_, code) if is_expired(code) => Transient,
        // Damaged or cut off on its way.
        (_, "BadDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch" | "IncompleteBody") => Transient,
        (_, "RequestTimeout") => return (Transient, true),
        // A new bucket whose name has not yet spread.
        (307, _) => Transient,
        (408 | 409, _) => Transient,
        (501, _) => Denied,
        (300..=499, _) => Denied,
        _ => Transient,
    };
    (class, ambiguous)
}

#[cfg(test)]
mod tests {
    use aws_credential_types::provider::error::CredentialsError;

    use super::*;

    #[test]
    fn every_answer_has_its_class() {
        use ErrorClass::{Denied, Throttled, Transient};
        for (status, code, class, ambiguous) in [
            (400, "ExpiredToken", Transient, false),
            (400, "RequestTimeout", Transient, true),
            (400, "BadDigest", Transient, false),
            (400, "AuthorizationHeaderMalformed", Denied, false),
            (400, "KMS.ThrottlingException", Throttled, false),
            (400, "KMS.DisabledException", Denied, false),
            (400, "", Denied, false),
            (401, "", Denied, false),
            (403, "AccessDenied", Denied, false),
            (403, "InvalidAccessKeyId", Denied, false),
            (403, "SignatureDoesNotMatch", Denied, false),
            (403, "RequestTimeTooSkewed", Denied, false),
            (404, "NoSuchBucket", Denied, false),
            (301, "PermanentRedirect", Denied, false),
            (307, "TemporaryRedirect", Transient, false),
            (408, "", Transient, true),
            (409, "ConditionalRequestConflict", Transient, true),
            (409, "OperationAborted", Transient, true),
            (429, "", Throttled, false),
            (500, "InternalError", Transient, true),
            (501, "NotImplemented", Denied, false),
            (502, "", Transient, true),
            (503, "SlowDown", Throttled, true),
            (503, "SlowDownWrite", Throttled, true),
            (503, "ServiceUnavailable", Transient, true),
            (503, "ThrottlingException", Throttled, true),
            (504, "", Transient, true),
            (507, "XMinioStorageFull", Transient, true),
        ] {
            let code = Some(code).filter(|code| !code.is_empty());
            assert_eq!(classify(status, code), (class, ambiguous), "{status} {code:?}");
        }
    }

    #[test]
    fn what_a_credential_process_printed_is_not_repeated() {
        let error = CredentialsError::provider_error(
            "Error retrieving credentials: external process exited with code 1. Stderr: hunter2",
        );
        let request = Request { verb: "PUT", bucket: "lake", key: "k", conditional: true };
        let error = request.not_sent(&error);
        assert_eq!((error.class, error.code.as_str()), (ErrorClass::Denied, "CredentialsFailed"));
        assert!(error.message.contains("the credential process failed"), "{}", error.message);
        assert!(!error.message.contains("hunter2"));
    }
}
