//! What destinations that are reached over HTTP share: the client, headers, and what went wrong where there is no answer.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Proxy, Response};

use super::phases::Stalled;
use super::{AttemptError, ErrorClass};
use crate::config::model::{EndpointAuth, ProxyConfig, TlsConfig};
use crate::http::{self, chain};

pub const USER_AGENT: &str = concat!("hydrant/", env!("CARGO_PKG_VERSION"));

/// How a destination calls what can go wrong on the way to it.
pub struct Codes {
    /// Something of ours: certificates, credentials.
    pub internal: &'static str,
    pub connection_failed: &'static str,
    pub connection_reset: &'static str,
    pub request_timeout: &'static str,
    pub tls_failure: &'static str,
    /// The destination, for people.
    pub whom: &'static str,
}

/// A client that follows no redirects, for `url` and others like it.
pub fn connect(
    tls: &TlsConfig,
    proxy: Option<&ProxyConfig>,
    connect_timeout: Duration,
    url: &str,
) -> Result<Client, String> {
    builder(tls, proxy, connect_timeout, url)?.build().map_err(|error| chain(&error))
}

pub fn builder(
    tls: &TlsConfig,
    proxy: Option<&ProxyConfig>,
    connect_timeout: Duration,
    url: &str,
) -> Result<ClientBuilder, String> {
    let mut builder = Client::builder()
        .connect_timeout(connect_timeout)
        .redirect(Policy::none())
        .tcp_keepalive(Duration::from_secs(60));
    builder = http::with_tls(builder, tls, url)?;
    if let Some(proxy) = proxy {
        let mut all = Proxy::all(&proxy.url).map_err(|error| chain(&error.without_url()))?;
        if let Some((username, password)) = &proxy.credentials {
            all = all.basic_auth(username, &password.0);
        }
        builder = builder.proxy(all);
    }
    Ok(builder)
}

/// The body; `None` of one that is larger.
pub async fn read(mut response: Response, bytes_max: u64) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if (body.len() + chunk.len()) as u64 > bytes_max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

pub fn put(headers: &mut HeaderMap, name: &str, value: &str, is_secret: bool) {
    // What comes from the configuration was looked at when that was read.
    let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else { return };
    value.set_sensitive(is_secret);
    headers.insert(name, value);
}

/// The header by which one says who one is; a signature is made for each request.
pub fn authorize(headers: &mut HeaderMap, auth: &EndpointAuth) {
    let value = match auth {
        EndpointAuth::None | EndpointAuth::SigV4 { .. } => return,
        EndpointAuth::Bearer(token) => format!("Bearer {}", token.0),
        EndpointAuth::ApiKey(key) => format!("ApiKey {}", key.0),
        EndpointAuth::Basic { username, password } => http::basic(username, &password.0),
    };
    put(headers, "Authorization", &value, true);
}

/// What is wrong here, before anything is sent.
pub fn internal(message: String, codes: &Codes) -> AttemptError {
    AttemptError { class: ErrorClass::Denied, code: codes.internal.to_owned(), message, ambiguous: false }
}

/// Why there is no answer.
pub fn failed(error: reqwest::Error, response_timeout: Duration, codes: &Codes) -> AttemptError {
    let (error, whom) = (error.without_url(), codes.whom);
    let (code, message) = if error.is_connect() {
        let code = if is_tls(&error) { codes.tls_failure } else { codes.connection_failed };
        (code, format!("no connection to {whom}: {}", chain(&error)))
    } else if error.is_timeout() {
        (codes.request_timeout, format!("no answer from {whom} within {response_timeout:?}"))
    } else if error.is_builder() {
        (codes.internal, chain(&error))
    } else {
        (codes.connection_reset, format!("the connection to {whom} broke: {}", chain(&error)))
    };
    let class = if code == codes.tls_failure { ErrorClass::Denied } else { ErrorClass::Transient };
    let ambiguous = code != codes.connection_failed && code != codes.tls_failure;
    AttemptError { class, code: code.to_owned(), message, ambiguous }
}

/// What has begun and not gone on: the request may have arrived.
pub fn stalled(stalled: Stalled, codes: &Codes) -> AttemptError {
    let (class, code, message) = (ErrorClass::Transient, codes.request_timeout.to_owned(), stalled.of(codes.whom));
    AttemptError { class, code, message, ambiguous: true }
}

/// Whether it was the handshake: what it refuses is invalid data to the library that makes it, and a connection that is made has an
/// end only there.
fn is_tls(error: &dyn Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(is_of_handshake) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error may be wrapped in another of the same kind, which does not name it as its source.
fn is_of_handshake(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>());
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        || inner.is_some_and(is_of_handshake)
}
