//! What destinations that are reached over HTTP share: the client, headers, and what went wrong where there is no answer.

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use libdeflater::{CompressionLvl, Compressor};
use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Proxy, Response};

use super::phases::Stalled;
use super::{AttemptError, ErrorClass};
use crate::chain::chain;
use crate::config::model::{EndpointAuth, ProxyConfig, TlsConfig};
use crate::http;

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

/// As one gzip member.
pub fn compress(body: &[u8], level: u8) -> Option<Bytes> {
    let mut compressor = Compressor::new(CompressionLvl::new(i32::from(level)).ok()?);
    let mut compressed = vec![0; compressor.gzip_compress_bound(body.len())];
    let length = compressor.gzip_compress(body, &mut compressed).ok()?;
    compressed.truncate(length);
    Some(Bytes::from(compressed))
}

/// `Retry-After`: seconds, or a date. Clocks differ, so a date counts from the answer's own if it has one.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    retry_after_at(headers, crate::record::now())
}

fn retry_after_at(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = text(headers.get(RETRY_AFTER)?)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let from = date(headers, DATE).unwrap_or(now);
    Some(Duration::try_from(date(headers, RETRY_AFTER)?.duration_since(from)).unwrap_or_default())
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text(headers.get(name)?)?).ok()
}

fn text(value: &HeaderValue) -> Option<&str> {
    Some(value.to_str().ok()?.trim())
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
    let class = match code {
        code if code == codes.tls_failure => ErrorClass::Denied,
        // Too much at a time is what takes long.
        code if code == codes.request_timeout => ErrorClass::Throttled,
        _ => ErrorClass::Transient,
    };
    let ambiguous = code != codes.connection_failed && code != codes.tls_failure;
    AttemptError { class, code: code.to_owned(), message, ambiguous }
}

/// What has begun and not gone on: the request may have arrived.
pub fn stalled(stalled: Stalled, codes: &Codes) -> AttemptError {
    // Too much at a time is what takes long.
    let (class, code, message) = (ErrorClass::Throttled, codes.request_timeout.to_owned(), stalled.of(codes.whom));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        const UNTIL: (HeaderName, &str) = (RETRY_AFTER, "Fri, 31 Dec 1999 23:59:59 GMT");
        let now: Timestamp = "1999-12-31T23:59:00Z".parse().unwrap();
        let after = |of: &[(HeaderName, &'static str)]| {
            let headers = of.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
            retry_after_at(&headers, now).map(|time| time.as_secs())
        };
        assert_eq!(after(&[(RETRY_AFTER, " 7 ")]), Some(7));
        assert_eq!(after(&[UNTIL]), Some(59));
        assert_eq!(after(&[UNTIL, (DATE, "Fri, 31 Dec 1999 23:59:49 GMT")]), Some(10));
        assert_eq!(after(&[UNTIL, (DATE, "Sat, 01 Jan 2000 00:00:00 GMT")]), Some(0));
        assert_eq!(after(&[UNTIL, (DATE, "today")]), Some(59));
        for nonsense in ["", "soon", "-1", "1.5", "99999999999999999999"] {
            assert_eq!(after(&[(RETRY_AFTER, nonsense)]), None, "{nonsense}");
        }
        assert_eq!(after(&[]), None);
    }
}
