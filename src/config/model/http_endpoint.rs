//! `http_endpoint`: records sent in Firehose's HTTP endpoint delivery protocol, or plainly.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{AssumeRole, Secret, TlsConfig};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HttpEndpointConfig {
    /// `https://…`, or `http://…` for servers of one's own. Its query may hold a key, and is never shown.
    pub url: EndpointUrl,
    /// For people; the URL's host where none is given.
    pub name: Option<String>,
    pub protocol: Protocol,
    /// gzip level 1 to 12 of libdeflate; `None` for `none`, the default.
    pub gzip_level: Option<u8>,
    /// How long a request is tried again after its first failure, without the time of waiting for answers. 0 to 7,200 seconds,
    /// default 300.
    pub retry: Duration,
    /// Requests under way at a time; 1 to 64, default 1, which keeps the order of deliveries.
    pub in_flight: usize,
    /// Bytes of a request's body before compression, 0.1 to 64 MB, default 64.
    pub request_bytes_max: u64,
    /// Records in a request, 1 to 10,000, default 10,000.
    pub request_records_max: u64,
    /// For the connection with its TLS handshake. Default 10 seconds, 1 to 300.
    pub connect_timeout: Duration,
    /// How long nothing more of a request may be taken while it is sent. 1 to 900 seconds; by default and at most as long as
    /// `response_timeout`.
    pub write_timeout: Duration,
    /// From the end of a request to the beginning of its answer; the same.
    pub first_byte_timeout: Duration,
    /// How long nothing more of an answer may come; the same.
    pub read_timeout: Duration,
    /// From the beginning of an attempt to the end of its answer. Default 180 seconds, 1 to 900.
    pub response_timeout: Duration,
    pub tls: TlsConfig,
    /// `None`: as `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` of the environment say.
    pub proxy: Option<ProxyConfig>,
    pub auth: EndpointAuth,
    /// Sent with every request, besides the protocol's own.
    pub headers: Vec<(String, Secret)>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Protocol {
    Firehose {
        /// `X-Amz-Firehose-Access-Key`, sent as it is; at most 4,096 bytes.
        access_key: Option<Secret>,
        /// `X-Amz-Firehose-Common-Attributes`, in the order of the file; at most 50.
        common_attributes: Vec<(String, String)>,
        /// `X-Amz-Firehose-Source-Arn`.
        source_arn: String,
    },
    /// For receivers that know nothing of Firehose.
    Raw {
        format: RawFormat,
        method: Method,
        /// Statuses that mean that everything was taken; empty for all of 200 to 299, the default.
        success_codes: Vec<u16>,
    },
}

/// What bodies are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RawFormat {
    /// A JSON text a line.
    Ndjson,
    JsonArray,
    /// A record and a line feed.
    Lines,
    /// Records end to end.
    Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    Post,
    Put,
}

/// A URL without credentials and fragment.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct EndpointUrl {
    /// As it is requested.
    whole: String,
}

/// In place of an access key, or besides it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum EndpointAuth {
    None,
    Basic {
        username: String,
        password: Secret,
    },
    Bearer(Secret),
    /// Elastic's.
    ApiKey(Secret),
    SigV4 {
        /// As AWS calls it in signatures, for example `execute-api`.
        service: String,
        /// From here, else from `aws`; `None` leaves it to the SDK's default chain.
        region: Option<String>,
        assume_role: Option<AssumeRole>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProxyConfig {
    pub url: String,
    pub credentials: Option<(String, Secret)>,
}

impl EndpointUrl {
    pub fn new(whole: String) -> Self {
        Self { whole }
    }

    pub fn as_str(&self) -> &str {
        &self.whole
    }

    /// Without its query, which may hold a key.
    pub fn shown(&self) -> &str {
        self.whole.split('?').next().unwrap_or_default()
    }

    /// Of its query, where it has one: tells one query from another and shows neither.
    pub fn query_hash(&self) -> Option<String> {
        let (_, query) = self.whole.split_once('?')?;
        Some(Sha256::digest(query).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Whether it leads to this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.whole.split_once("://").map_or("", |(_, rest)| rest);
        let host = host.split(['/', '?']).next().unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        matches!(host, "127.0.0.1" | "[::1]" | "localhost")
    }

    pub fn is_encrypted(&self) -> bool {
        self.whole.starts_with("https://")
    }
}

impl std::fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.shown())
    }
}

impl HttpEndpointConfig {
    /// Where its records go, for people.
    pub fn place(&self) -> &str {
        self.url.shown()
    }
}
