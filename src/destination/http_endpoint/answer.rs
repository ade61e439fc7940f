//! Which answers of an endpoint count.
//!
//! Always true: only what the protocol calls a success is one. Whatever else comes is a failure that is tried again, so a receiver
//! that answers wrongly gets the records twice rather than not at all.

use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{StatusCode, Version};
use serde::Deserialize;
use serde_json::Number;

use crate::destination::ErrorClass;
use crate::destination::receiver::Verdict;

/// With its headers.
pub const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Of an endpoint's own words in an error.
const REASON_CHARS_MAX: usize = 8192;

pub const INVALID_RESPONSE: &str = "HttpEndpoint.InvalidResponseFromDestination";
pub const RESPONSE_TOO_LARGE: &str = "HttpEndpoint.ResponseTooLarge";
pub const DESTINATION_EXCEPTION: &str = "HttpEndpoint.DestinationException";

/// What is wrong with an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: &'static str,
    pub class: ErrorClass,
    pub message: String,
}

/// The protocol's answer. Other fields make it invalid.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    request_id: String,
    /// A text is invalid.
    timestamp: Number,
    #[serde(default)]
    error_message: Option<String>,
}

/// What may be said of an answer before its body is read; an error ends it.
///
/// HTTP/2 says where an answer ends, so that it may have no `Content-Length`: proxies that speak it leave that out.
pub fn judge_head(status: StatusCode, version: Version, headers: &HeaderMap) -> Result<(), Refusal> {
    let names = headers.iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum::<u64>();
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if names.saturating_add(length.unwrap_or(0)) > ANSWER_BYTES_MAX {
        return Err(too_large());
    }
    if status != StatusCode::OK {
        return Ok(()); // Its body tells why.
    }
    let is_json = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let media_type = value.split(';').next().unwrap_or_default();
        media_type.trim().eq_ignore_ascii_case("application/json")
    });
    if !is_json {
        return Err(invalid("its Content-Type is not `application/json`"));
    }
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(invalid("it has a Content-Encoding"));
    }
    match length {
        None if version < Version::HTTP_2 => Err(invalid("it has no Content-Length")),
        Some(_) | None => Ok(()),
    }
}

/// What an answer says of the request `id`.
pub fn judge(status: StatusCode, body: &[u8], id: &str) -> Result<Verdict, Refusal> {
    match status {
        StatusCode::OK => accepted(body, id),
        _ => judge_refusal(status, body),
    }
}

/// What a status says that is no success.
pub fn judge_refusal(status: StatusCode, body: &[u8]) -> Result<Verdict, Refusal> {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Ok(Verdict::TooLarge),
        _ => Err(Refusal { code: DESTINATION_EXCEPTION, class: class(status), message: exception(status, body) }),
    }
}

fn accepted(body: &[u8], id: &str) -> Result<Verdict, Refusal> {
    let answer: Body = serde_json::from_slice(body).map_err(|error| invalid(&error.to_string()))?;
    if answer.request_id != id {
        return Err(invalid("it answers another requestId"));
    }
    if answer.timestamp.as_u64().is_none() && answer.timestamp.as_f64().is_none() {
        return Err(invalid("its timestamp is no number"));
    }
    match answer.error_message.filter(|message| !message.is_empty()) {
        Some(message) => Err(invalid(&format!("it has an errorMessage: {}", shortened(&message)))),
        None => Ok(Verdict::Accepted),
    }
}

/// What an endpoint says of a request that it has not taken.
pub fn exception(status: StatusCode, body: &[u8]) -> String {
    let body = shortened(&String::from_utf8_lossy(body));
    format!("Received the following response from the endpoint destination. {}: {body}", status.as_u16())
}

pub fn too_large() -> Refusal {
    let message = "The response received from the endpoint is larger than 1 MiB with its headers".to_owned();
    Refusal { code: RESPONSE_TOO_LARGE, class: ErrorClass::Transient, message }
}

fn invalid(reason: &str) -> Refusal {
    let message = format!("The response received from the endpoint is invalid: {}", shortened(reason));
    Refusal { code: INVALID_RESPONSE, class: ErrorClass::Transient, message }
}

fn class(status: StatusCode) -> ErrorClass {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => ErrorClass::Throttled,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => ErrorClass::Denied,
        status if status.is_redirection() => ErrorClass::Denied,
        _ => ErrorClass::Transient,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    const ID: &str = "ed4acda5-034f-9f42-bba1-f29aea6d7d8f";

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        of.iter().map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_well_formed_answer_is_a_success() {
        let head = headers(&[("content-type", "application/json"), ("content-length", "80")]);
        assert_eq!(judge_head(StatusCode::OK, Version::HTTP_11, &head), Ok(()));
        let with_charset = headers(&[("content-type", "Application/JSON; charset=utf-8"), ("content-length", "80")]);
        assert_eq!(judge_head(StatusCode::OK, Version::HTTP_11, &with_charset), Ok(()));
        let without_length = headers(&[("content-type", "application/json")]);
        assert_eq!(judge_head(StatusCode::OK, Version::HTTP_2, &without_length), Ok(()));
        for body in [
            r#"{"requestId": "ID", "timestamp": 1578090903599}"#,
            r#"{"timestamp": 1578090903599.5, "requestId": "ID", "errorMessage": null}"#,
        ] {
            assert_eq!(judge(StatusCode::OK, body.replace("ID", ID).as_bytes(), ID), Ok(Verdict::Accepted), "{body}");
        }
    }

    #[test]
    fn every_other_body_of_a_200_is_a_failure() {
        for body in [
            "",
            "{}",
            "null",
            "[]",
            r#"{"requestId": "ID"}"#,
            r#"{"timestamp": 1}"#,
            r#"{"requestId": "ID", "timestamp": "1578090903599"}"#,
            r#"{"requestId": "ID", "timestamp": null}"#,
            r#"{"requestId": "other", "timestamp": 1}"#,
            r#"{"requestId": 5, "timestamp": 1}"#,
            r#"{"requestId": "ID", "timestamp": 1, "errorMessage": "no"}"#,
            r#"{"requestId": "ID", "timestamp": 1, "errorMessage": 5}"#,
            r#"{"requestId": "ID", "timestamp": 1, "more": true}"#,
            r#"{"requestId": "ID", "requestId": "ID", "timestamp": 1}"#,
            r#"{"requestId": "ID", "timestamp": 1"#,
            r#"{"requestId": "ID", "timestamp": 1} {}"#,
        ] {
            let refusal = judge(StatusCode::OK, body.replace("ID", ID).as_bytes(), ID).expect_err(body);
            assert_eq!(refusal.code, INVALID_RESPONSE, "{body}");
        }
    }

    #[test]
    fn a_head_that_breaks_the_rules_is_a_failure() {
        for (head, code) in [
            (headers(&[("content-length", "80")]), INVALID_RESPONSE),
            (headers(&[("content-type", "text/plain"), ("content-length", "80")]), INVALID_RESPONSE),
            (headers(&[("content-type", "application/json"), ("transfer-encoding", "chunked")]), INVALID_RESPONSE),
            (
                headers(&[
                    ("content-type", "application/json"),
                    ("content-length", "80"),
                    ("content-encoding", "gzip"),
                ]),
                INVALID_RESPONSE,
            ),
            (headers(&[("content-type", "application/json"), ("content-length", "1048560")]), RESPONSE_TOO_LARGE),
        ] {
            let refusal = judge_head(StatusCode::OK, Version::HTTP_11, &head).expect_err("a refusal");
            assert_eq!(refusal.code, code, "{head:?}");
        }
    }

    #[test]
    fn only_200_is_a_success_and_413_splits() {
        let good = format!(r#"{{"requestId":"{ID}","timestamp":1}}"#);
        for (status, class) in [
            (201, ErrorClass::Transient),
            (202, ErrorClass::Transient),
            (204, ErrorClass::Transient),
            (301, ErrorClass::Denied),
            (400, ErrorClass::Transient),
            (401, ErrorClass::Denied),
            (403, ErrorClass::Denied),
            (429, ErrorClass::Throttled),
            (500, ErrorClass::Transient),
            (503, ErrorClass::Throttled),
        ] {
            let refusal = judge(StatusCode::from_u16(status).unwrap(), good.as_bytes(), ID).expect_err("a refusal");
            assert_eq!((refusal.code, refusal.class), (DESTINATION_EXCEPTION, class), "{status}");
            assert!(refusal.message.contains(&format!("{status}: {{\"requestId\"")), "{}", refusal.message);
        }
        assert_eq!(judge(StatusCode::PAYLOAD_TOO_LARGE, b"", ID), Ok(Verdict::TooLarge));
    }
}
