//! `opensearch`: records as documents of an index, in bulk requests.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{EndpointAuth, EndpointUrl, ProxyConfig, Secret, TlsConfig};
use crate::partition::IndexTemplate;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpenSearchConfig {
    /// Nodes of one cluster, or what stands before them; at least one, without slash at the end.
    pub urls: Vec<EndpointUrl>,
    /// With its rotation.
    pub index: IndexTemplate,
    pub documents: DocumentsConfig,
    /// A field whose value is each document's routing.
    pub routing: Option<String>,
    /// An ingest pipeline of the cluster.
    pub pipeline: Option<String>,
    /// gzip level 1 to 12 of libdeflate; `None` for `none`, the default.
    pub gzip_level: Option<u8>,
    /// How long documents are tried, attempts included. 0 to 7,200 seconds, default 300.
    pub retry: Duration,
    /// Bulks under way at a time; 1 to 64, default 4, and 1 with ids from a field, where the order of documents counts.
    pub in_flight: usize,
    /// Bytes of a bulk's body before compression, while the cluster takes that. 0.1 to 100 MB, default 5.
    pub bulk_bytes_max: u64,
    /// For the connection with its TLS handshake. Default 10 seconds, 1 to 300.
    pub connect_timeout: Duration,
    /// From the beginning of an attempt to the end of its answer. Default 180 seconds, 1 to 900.
    pub response_timeout: Duration,
    pub tls: TlsConfig,
    /// `None`: as `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` of the environment say.
    pub proxy: Option<ProxyConfig>,
    pub auth: EndpointAuth,
    /// Sent with every request.
    pub headers: Vec<(String, Secret)>,
}

/// What a document is to the cluster. Two lives with the same of it send the same document for the same record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentsConfig {
    pub id: DocumentId,
    /// The index is a data stream, which takes new documents only.
    pub data_stream: bool,
    /// For clusters older than Elasticsearch 7.
    pub type_name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentId {
    /// Made of the record's position: the same at each attempt, and in each life.
    Derived,
    /// The cluster makes one; an attempt whose answer was lost doubles its documents.
    None,
    /// The value of this field: a later record with the same id takes the place of the earlier one.
    FromField(String),
}

impl OpenSearchConfig {
    /// Where its documents go, for people.
    pub fn place(&self) -> String {
        let urls: Vec<_> = self.urls.iter().map(EndpointUrl::shown).collect();
        format!("{}/{}", urls.join(","), self.index.template().text())
    }

    /// Whether it is Amazon OpenSearch Serverless, which knows less than a cluster.
    pub fn is_serverless(&self) -> bool {
        matches!(&self.auth, EndpointAuth::SigV4 { service, .. } if service == "aoss")
    }
}
