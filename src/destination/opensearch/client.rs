//! Requests to a node, and what it means when they fail as a whole.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tokio::sync::Mutex;

use super::answer;
use crate::config::model::{EndpointUrl, OpenSearchConfig};
use crate::destination::http_client::{self, Codes, put};
use crate::destination::receiver::RequestError;
use crate::destination::sigv4::Signer;
use crate::destination::{AttemptError, ErrorClass};

const CODES: Codes = Codes {
    internal: "OS.InternalFailure",
    connection_failed: "OS.ConnectionError",
    connection_reset: "OS.ConnectionReset",
    request_timeout: "OS.RequestTimeout",
    tls_failure: "OS.SSLHandshakeFailure",
    whom: "the cluster",
};
/// A 200 that does not answer what was sent.
pub const INVALID_RESPONSE: &str = "OS.InvalidResponse";
/// A cluster that cannot do what the configuration says.
pub const UNSUPPORTED: &str = "OS.UnsupportedVersion";

pub struct Http {
    config: OpenSearchConfig,
    /// Made for the first request; certificates that cannot be read are looked for again.
    client: Mutex<Option<Client>>,
    signer: Signer,
}

/// What came of a request.
pub struct Answered {
    pub status: StatusCode,
    pub retry_after: Option<Duration>,
    /// `None` of a body that is too large.
    pub body: Option<Vec<u8>>,
}

impl Http {
    pub fn new(config: &OpenSearchConfig) -> Self {
        Self { config: config.clone(), client: Mutex::default(), signer: Signer::new(&config.auth) }
    }

    /// The answer to a short question.
    pub async fn get(&self, url: &str) -> Result<Answered, RequestError> {
        self.request(Method::GET, url, HeaderMap::new(), Bytes::new(), answer::bytes_max(1)).await
    }

    /// The answer to a bulk of so many documents.
    pub async fn post(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
        records: u64,
    ) -> Result<Answered, RequestError> {
        self.request(Method::POST, url, headers, body, answer::bytes_max(records)).await
    }

    async fn request(
        &self,
        method: Method,
        url: &str,
        mut headers: HeaderMap,
        body: Bytes,
        answer_bytes_max: u64,
    ) -> Result<Answered, RequestError> {
        let client = self.client().await.map_err(own)?;
        common_headers(&mut headers, &self.config);
        let signature = self.signer.sign(method.as_str(), url, &headers, &body).await;
        let signature = signature.map_err(|reason| own(internal(format!("the request cannot be signed: {reason}"))))?;
        signature.iter().for_each(|(name, value)| put(&mut headers, name, value, true));
        let no_answer = |error| own(http_client::failed(error, self.config.response_timeout, &CODES));
        let request = client.request(method, url).headers(headers).timeout(self.config.response_timeout).body(body);
        let response = request.send().await.map_err(no_answer)?;
        let (status, retry_after) = (response.status(), http_client::retry_after(response.headers()));
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            self.signer.forget().await;
        }
        let body = match http_client::read(response, answer_bytes_max).await {
            Ok(body) => body,
            Err(error) if status == StatusCode::OK => return Err(no_answer(error)),
            // What is cut short of an answer that is no success tells nothing more.
            Err(_) => Some(Vec::new()),
        };
        Ok(Answered { status, retry_after, body })
    }

    async fn client(&self) -> Result<Client, AttemptError> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let config = &self.config;
        let encrypted = config.urls.iter().find(|url| url.is_encrypted()).or(config.urls.first());
        let url = encrypted.map_or("", EndpointUrl::as_str);
        let made = http_client::connect(&config.tls, config.proxy.as_ref(), config.connect_timeout, url);
        let made = made.map_err(|reason| internal(format!("no connection can be made: {reason}")))?;
        Ok(client.insert(made).clone())
    }
}

impl Answered {
    /// As a failure: nothing of the request was taken.
    pub fn refused(&self) -> RequestError {
        let body = self.body.as_deref().unwrap_or_default();
        let error = serde_json::from_slice::<Value>(body).ok().and_then(|body| body.get("error").cloned());
        let is_blocked = error.as_ref().is_some_and(|error| answer::kind(error) == "cluster_block_exception");
        let text = || String::from_utf8_lossy(body).trim().to_owned();
        let said = error.map_or_else(text, |error| answer::describe(&error));
        let class = match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => ErrorClass::Throttled,
            StatusCode::REQUEST_TIMEOUT => ErrorClass::Transient,
            _ if is_blocked || self.status.is_server_error() => ErrorClass::Transient,
            _ => ErrorClass::Denied,
        };
        let message = answer::shortened(format!("the cluster answers {}: {said}", self.status));
        // It has arrived, whatever the answer is worth.
        let error = AttemptError { class, code: self.status.as_str().to_owned(), message, ambiguous: true };
        RequestError { error, retry_after: self.retry_after }
    }

    /// Whether the node, or what stands before it, cannot work now.
    pub fn is_of_node(&self) -> bool {
        matches!(self.status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
    }
}

/// Whether another node may do better.
pub fn is_away(failed: &RequestError) -> bool {
    failed.error.code != UNSUPPORTED && failed.error.code != CODES.internal
}

pub fn invalid(reason: &str) -> RequestError {
    let message = answer::shortened(format!("the cluster's answer is invalid: {reason}"));
    let (class, code) = (ErrorClass::Transient, INVALID_RESPONSE.to_owned());
    own(AttemptError { class, code, message, ambiguous: true })
}

pub fn unsupported(message: String) -> RequestError {
    let (class, code) = (ErrorClass::Denied, UNSUPPORTED.to_owned());
    own(AttemptError { class, code, message, ambiguous: false })
}

pub fn no_node() -> RequestError {
    own(internal("there is no node".to_owned()))
}

fn internal(message: String) -> AttemptError {
    http_client::internal(message, &CODES)
}

fn own(error: AttemptError) -> RequestError {
    RequestError { error, retry_after: None }
}

fn common_headers(headers: &mut HeaderMap, config: &OpenSearchConfig) {
    put(headers, "User-Agent", http_client::USER_AGENT, false);
    http_client::authorize(headers, &config.auth);
    config.headers.iter().for_each(|(name, value)| put(headers, name, &value.0, true));
}
