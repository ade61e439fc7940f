//! What went wrong where there is no answer, in Firehose's codes.

use std::error::Error;
use std::io;

use crate::config::model::HttpEndpointConfig;
use crate::destination::{AttemptError, ErrorClass};
use crate::http::chain;

pub const INTERNAL: &str = "HttpEndpoint.InternalFailure";
const REQUEST_TIMEOUT: &str = "HttpEndpoint.RequestTimeout";
const CONNECTION_FAILED: &str = "HttpEndpoint.ConnectionFailed";
const CONNECTION_RESET: &str = "HttpEndpoint.ConnectionReset";
const TLS_FAILURE: &str = "HttpEndpoint.SSLHandshakeFailure";

pub fn failed(error: reqwest::Error, config: &HttpEndpointConfig) -> AttemptError {
    let error = error.without_url();
    let (code, message) = if error.is_connect() {
        let code = if is_tls(&error) { TLS_FAILURE } else { CONNECTION_FAILED };
        (code, format!("no connection to the endpoint: {}", chain(&error)))
    } else if error.is_timeout() {
        (REQUEST_TIMEOUT, format!("no answer from the endpoint within {:?}", config.response_timeout))
    } else if error.is_builder() {
        (INTERNAL, chain(&error))
    } else {
        (CONNECTION_RESET, format!("the connection to the endpoint broke: {}", chain(&error)))
    };
    let class = if code == TLS_FAILURE { ErrorClass::Denied } else { ErrorClass::Transient };
    AttemptError { class, code: code.to_owned(), message, ambiguous: !matches!(code, CONNECTION_FAILED | TLS_FAILURE) }
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
