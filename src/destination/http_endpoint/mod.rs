//! Firehose's HTTP endpoint delivery protocol, and plain requests for receivers that know nothing of it.
//!
//! One attempt is one request to the URL as it is configured. Redirects are not followed, what comes back is read up to 1 MiB, and
//! only a well-formed answer to this very request counts: see [`answer`]. Of plain requests the status counts.

mod answer;
mod body;
mod probe;
mod raw;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use reqwest::{Body, Client, StatusCode};
use tokio::sync::Mutex;

use crate::config::model::{HttpEndpointConfig, Method, Protocol};
use crate::encode::frames::Frame;
use crate::envelope;
use crate::error_type::HTTP_ENDPOINT_FAILED;
use crate::requests::{Limits, Reason};

use super::http_client::{self, Codes, put};
use super::phases::{self, Attempt, Cut};
use super::receiver::{Grounds, Misfit, Patience, Receiver, RequestError, Verdict};
use super::sigv4::Signer;
use super::{AttemptError, BoxFuture};

/// The protocol's, as decoded.
pub const RECORD_BYTES_MAX: u64 = 1_024_000;
const FIREHOSES_USER_AGENT: &str = "Amazon Kinesis Data Firehose Agent/1.0";

/// Firehose's.
const CODES: Codes = Codes {
    internal: "HttpEndpoint.InternalFailure",
    connection_failed: "HttpEndpoint.ConnectionFailed",
    connection_reset: "HttpEndpoint.ConnectionReset",
    request_timeout: "HttpEndpoint.RequestTimeout",
    tls_failure: "HttpEndpoint.SSLHandshakeFailure",
    whom: "the endpoint",
};

pub struct HttpEndpoint {
    config: HttpEndpointConfig,
    /// Headers that are the same for every request.
    headers: HeaderMap,
    /// Made for the first request; certificates that cannot be read are looked for again.
    client: Mutex<Option<Client>>,
    signer: Signer,
}

impl HttpEndpoint {
    pub fn new(config: &HttpEndpointConfig) -> Self {
        let headers = headers(config);
        Self { config: config.clone(), headers, client: Mutex::default(), signer: Signer::new(&config.auth) }
    }

    async fn client(&self) -> Result<Client, AttemptError> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let config = &self.config;
        let made =
            http_client::connect(&config.tls, config.proxy.as_ref(), config.connect_timeout, config.url.as_str());
        let made = made.map_err(|reason| internal(format!("no connection can be made: {reason}")))?;
        Ok(client.insert(made).clone())
    }

    fn no_answer(&self, cut: Cut) -> AttemptError {
        match cut {
            Cut::Broken(error) => http_client::failed(error, self.config.response_timeout, &CODES),
            Cut::Stalled(stalled) => http_client::stalled(stalled, &CODES),
        }
    }

    fn phase_limits(&self) -> phases::Limits {
        let config = &self.config;
        phases::Limits { write: config.write_timeout, first_byte: config.first_byte_timeout, read: config.read_timeout }
    }

    async fn attempt(&self, id: &str, body: Bytes) -> Result<Verdict, RequestError> {
        let own = |error| RequestError { error, retry_after: None };
        let client = self.client().await.map_err(own)?;
        let url = self.config.url.as_str();
        let mut headers = self.headers.clone();
        let (method, id_header) = match &self.config.protocol {
            Protocol::Firehose { .. } => (Method::Post, "X-Amz-Firehose-Request-Id"),
            Protocol::Raw { method, .. } => (*method, "Idempotency-Key"),
        };
        put(&mut headers, id_header, id, false);
        let method = match method {
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
        };
        let signature = self.signer.sign(method.as_str(), url, &headers, &body).await;
        let signature = signature.map_err(|reason| own(internal(format!("the request cannot be signed: {reason}"))))?;
        signature.iter().for_each(|(name, value)| http_client::put(&mut headers, name, value, true));
        let attempt = Attempt::new(self.phase_limits());
        let request = client.request(method, url).headers(headers).timeout(self.config.response_timeout);
        let sending = request.body(Body::wrap(attempt.body(body))).send();
        let response = attempt.send(sending).await.map_err(|cut| own(self.no_answer(cut)))?;
        let status = response.status();
        let retry_after = http_client::retry_after(response.headers());
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            self.signer.forget().await;
        }
        let refused = |refusal: answer::Refusal| RequestError {
            error: AttemptError {
                class: refusal.class,
                code: refusal.code.to_owned(),
                message: refusal.message,
                // It has arrived, whatever the answer is worth.
                ambiguous: true,
            },
            retry_after,
        };
        if let Protocol::Raw { success_codes, .. } = &self.config.protocol {
            let is_taken = match success_codes.as_slice() {
                [] => status.is_success(),
                codes => codes.contains(&status.as_u16()),
            };
            // Read all the same, so that the connection can be used again.
            let reading = http_client::read(response, answer::ANSWER_BYTES_MAX);
            let read = tokio::time::timeout(self.config.read_timeout, reading).await;
            let text = read.ok().and_then(Result::ok).flatten().unwrap_or_default();
            return match is_taken {
                true => Ok(Verdict::Accepted),
                false => answer::judge_refusal(status, &text).map_err(refused),
            };
        }
        answer::judge_head(status, response.version(), response.headers()).map_err(refused)?;
        let answer = match attempt.read(response, answer::ANSWER_BYTES_MAX).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Err(refused(answer::too_large())),
            // What is cut short of an answer that is no success tells nothing more.
            Err(cut) if status.is_success() => return Err(own(self.no_answer(cut))),
            Err(_) => Vec::new(),
        };
        answer::judge(status, &answer, id).map_err(refused)
    }
}

impl Receiver for HttpEndpoint {
    fn name(&self) -> String {
        self.config.name.clone().unwrap_or_else(|| self.config.place().to_owned())
    }

    fn limits(&self) -> Limits {
        let body_bytes_max = self.config.request_bytes_max;
        let several_bytes_max = body_bytes_max;
        let records_max = self.config.request_records_max;
        match &self.config.protocol {
            Protocol::Firehose { .. } => Limits {
                records_max,
                record_bytes_max: RECORD_BYTES_MAX,
                body_bytes_max,
                several_bytes_max,
                body_bytes_min: body::BODY_BYTES_MIN,
                counts_old_names: false,
                sized: body::record_bytes,
            },
            Protocol::Raw { format, .. } => Limits {
                records_max,
                record_bytes_max: body_bytes_max,
                body_bytes_max,
                several_bytes_max,
                body_bytes_min: raw::body_bytes_min(*format),
                counts_old_names: false,
                sized: raw::record_bytes,
            },
        }
    }

    fn patience(&self) -> Patience {
        Patience { retry: self.config.retry, counts_attempts: false, in_flight: self.config.in_flight }
    }

    fn misfits(&self) -> Option<Misfit> {
        match &self.config.protocol {
            Protocol::Firehose { .. } => None,
            Protocol::Raw { format, .. } => raw::misfits(*format),
        }
    }

    fn addressee(&self, _: Timestamp, _: &[String]) -> String {
        String::new()
    }

    fn batch_bytes(&self) -> Option<u64> {
        None
    }

    fn body(&self, id: &str, _: &str, frames: &[&[u8]], now: Timestamp) -> Bytes {
        let body = match &self.config.protocol {
            Protocol::Firehose { .. } => body::form(id, frames, now),
            Protocol::Raw { format, .. } => raw::form(*format, frames),
        };
        match self.config.gzip_level.and_then(|level| http_client::compress(&body, level)) {
            Some(compressed) => compressed,
            None => Bytes::from(body),
        }
    }

    fn send<'a>(
        &'a self,
        id: &'a str,
        _: &'a str,
        body: Bytes,
        _: u64,
    ) -> BoxFuture<'a, Result<Verdict, RequestError>> {
        Box::pin(self.attempt(id, body))
    }

    fn too_large(&self) -> Grounds {
        Grounds {
            code: answer::DESTINATION_EXCEPTION.to_owned(),
            message:
                "Received the following response from the endpoint destination. 413: the record alone is too large"
                    .to_owned(),
        }
    }

    fn envelope(&self, _: &str, frame: &Frame<'_>, reason: &Reason) -> Bytes {
        envelope::endpoint_failed(frame, reason)
    }

    fn error_type(&self) -> &'static str {
        HTTP_ENDPOINT_FAILED
    }
}

fn headers(config: &HttpEndpointConfig) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: &str, is_secret| put(&mut headers, name, value, is_secret);
    if config.gzip_level.is_some() {
        put("Content-Encoding", "gzip", false);
    }
    match &config.protocol {
        Protocol::Raw { format, .. } => {
            put("User-Agent", http_client::USER_AGENT, false);
            put("Content-Type", raw::content_type(*format), false);
        }
        Protocol::Firehose { access_key, common_attributes: attributes, source_arn } => {
            put("User-Agent", FIREHOSES_USER_AGENT, false);
            put("Content-Type", "application/json", false);
            put("X-Amz-Firehose-Protocol-Version", "1.0", false);
            put("X-Amz-Firehose-Source-Arn", source_arn, false);
            if let Some(key) = access_key {
                put("X-Amz-Firehose-Access-Key", &key.0, true);
            }
            if !attributes.is_empty() {
                put("X-Amz-Firehose-Common-Attributes", &common_attributes(attributes), false);
            }
        }
    }
    http_client::authorize(&mut headers, &config.auth);
    config.headers.iter().for_each(|(name, value)| http_client::put(&mut headers, name, &value.0, true));
    headers
}

fn internal(message: String) -> AttemptError {
    http_client::internal(message, &CODES)
}

/// `{"commonAttributes":{…}}`, in the order of the file, and in ASCII as headers are.
fn common_attributes(attributes: &[(String, String)]) -> String {
    let quoted = |text: &str| ascii(&serde_json::Value::from(text).to_string());
    let pairs: Vec<_> = attributes.iter().map(|(name, value)| format!("{}:{}", quoted(name), quoted(value))).collect();
    format!(r#"{{"commonAttributes":{{{}}}}}"#, pairs.join(","))
}

/// JSON with every character that is not ASCII escaped.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            text.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{EndpointAuth, EndpointUrl, TlsConfig};
    use reqwest::header::HeaderValue;
    use std::time::Duration;

    fn endpoint(url: String) -> HttpEndpoint {
        HttpEndpoint::new(&HttpEndpointConfig {
            url: EndpointUrl::new(url),
            name: None,
            protocol: Protocol::Firehose {
                access_key: None,
                common_attributes: Vec::new(),
                source_arn: String::from("arn:x"),
            },
            gzip_level: None,
            retry: Duration::ZERO,
            in_flight: 1,
            request_bytes_max: 1 << 20,
            request_records_max: 10,
            connect_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(5),
            tls: TlsConfig::default(),
            proxy: None,
            auth: EndpointAuth::None,
            headers: Vec::new(),
        })
    }

    #[tokio::test]
    async fn a_request_that_nobody_took_is_told_from_one_that_may_have_arrived() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in?key=hush", listener.local_addr().unwrap());
        let (send, accept) = (endpoint(url.clone()), async {
            // Accepted and closed again, with the request unread.
            drop(listener.accept().await.unwrap());
        });
        let (broken, ()) = tokio::join!(send.attempt("id", Bytes::from_static(b"{}")), accept);
        let broken = broken.expect_err("no answer").error;
        assert_eq!((broken.code.as_str(), broken.ambiguous), ("HttpEndpoint.ConnectionReset", true), "{broken}");
        drop(listener);
        let refused = endpoint(url).attempt("id", Bytes::from_static(b"{}")).await.expect_err("nobody listens").error;
        assert_eq!((refused.code.as_str(), refused.ambiguous), ("HttpEndpoint.ConnectionFailed", false), "{refused}");
        assert!(!format!("{broken}{refused}").contains("hush"), "{broken} {refused}");
    }

    #[test]
    fn common_attributes_are_json_in_ascii() {
        let attributes = [("team", "wéb"), ("quote\"", "a\nb"), ("x", "😀")];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let text = common_attributes(&attributes);
        assert_eq!(text, r#"{"commonAttributes":{"team":"w\u00e9b","quote\"":"a\nb","x":"\ud83d\ude00"}}"#);
        assert!(HeaderValue::try_from(text).is_ok());
    }
}
