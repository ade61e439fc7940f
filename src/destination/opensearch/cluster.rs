//! Type and version of a cluster, and what follows from them.

use std::fmt;

use serde::Deserialize;

use crate::config::model::{DocumentsConfig, OpenSearchConfig};

/// What a cluster says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    kind: Kind,
    number: String,
    version: (u32, u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    OpenSearch,
    Elasticsearch,
}

impl Cluster {
    /// From the answer to `GET /`; `None` of one that is not a cluster's.
    pub fn read(answer: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Root {
            version: Version,
        }
        #[derive(Deserialize)]
        struct Version {
            number: String,
            #[serde(default)]
            distribution: Option<String>,
        }
        let Version { number, distribution } = serde_json::from_slice::<Root>(answer).ok()?.version;
        let kind = match distribution.as_deref() {
            Some("opensearch") => Kind::OpenSearch,
            _ => Kind::Elasticsearch,
        };
        let mut parts = number.split(['.', '-']).map(|part| part.parse().ok());
        let version = (parts.next()??, parts.next()??);
        Some(Self { kind, number, version })
    }

    /// Why it cannot take what the configuration asks for, and what would do.
    pub fn refusal(&self, config: &OpenSearchConfig) -> Option<String> {
        let DocumentsConfig { data_stream, type_name, .. } = &config.documents;
        let (is_elasticsearch, (major, _)) = (self.kind == Kind::Elasticsearch, self.version);
        let has_data_streams = if is_elasticsearch { self.version >= (7, 9) } else { major >= 1 };
        let has_types = if is_elasticsearch { major < 8 } else { major < 2 };
        let wrong = if *data_stream && !has_data_streams {
            "it has no data streams: take `data_stream` away"
        } else if type_name.is_none() && is_elasticsearch && major < 7 {
            "its documents have types: set `type_name`"
        } else if type_name.is_some() && !has_types {
            "its documents have no types: take `type_name` away"
        } else if config.pipeline.is_some() && is_elasticsearch && major < 5 {
            "it has no ingest pipelines: take `pipeline` away"
        } else {
            return None;
        };
        Some(format!("the cluster is {self}, and {wrong}"))
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::OpenSearch => "OpenSearch",
            Kind::Elasticsearch => "Elasticsearch",
        };
        write!(f, "{kind} {}", self.number)
    }
}
