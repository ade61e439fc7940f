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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::DocumentId;
    use crate::destination::opensearch::tests::config;

    fn root(distribution: &str, number: &str) -> String {
        format!(
            r#"{{"name":"n","version":{{{distribution}"number":"{number}","lucene_version":"9"}},"tagline":"You Know"}}"#
        )
    }

    fn cluster(distribution: &str, number: &str) -> Cluster {
        let distribution = if distribution.is_empty() { "" } else { r#""distribution":"opensearch","# };
        Cluster::read(root(distribution, number).as_bytes()).unwrap()
    }

    #[test]
    fn type_and_version_stand_in_the_first_answer() {
        assert_eq!(cluster("opensearch", "2.19.0").to_string(), "OpenSearch 2.19.0");
        assert_eq!(cluster("", "8.17.0-SNAPSHOT").to_string(), "Elasticsearch 8.17.0-SNAPSHOT");
        for no_cluster in ["", "{}", "<html>", r#"{"version":"1"}"#, r#"{"version":{"number":"x"}}"#] {
            assert_eq!(Cluster::read(no_cluster.as_bytes()), None, "{no_cluster}");
        }
    }

    #[test]
    fn what_a_version_cannot_do_is_refused_with_what_would_do() {
        let documents = |data_stream, type_name: Option<&str>| {
            let type_name = type_name.map(str::to_owned);
            DocumentsConfig { id: DocumentId::Derived, data_stream, type_name }
        };
        let (plain, stream, typed) = (documents(false, None), documents(true, None), documents(false, Some("event")));
        for (distribution, number, documents, refusal) in [
            ("opensearch", "1.0.0", &plain, None),
            ("opensearch", "3.1.0", &plain, None),
            ("opensearch", "1.0.0", &stream, None),
            ("opensearch", "1.3.0", &typed, None),
            ("opensearch", "2.0.0", &typed, Some("no types")),
            ("", "9.0.1", &plain, None),
            ("", "9.0.1", &typed, Some("no types")),
            ("", "7.8.1", &stream, Some("no data streams")),
            ("", "7.10.2", &stream, None),
            ("", "7.10.2", &typed, None),
            ("", "6.8.23", &plain, Some("set `type_name`")),
            ("", "6.8.23", &typed, None),
            ("", "2.4.6", &typed, None),
        ] {
            let config = OpenSearchConfig { documents: documents.clone(), ..config(&["http://127.0.0.1:9"]) };
            let found = cluster(distribution, number).refusal(&config);
            assert_eq!(found.is_some(), refusal.is_some(), "{distribution} {number} {found:?}");
            assert!(refusal.is_none_or(|refusal| found.is_some_and(|found| found.contains(refusal))), "{number}");
        }
        let config =
            OpenSearchConfig { pipeline: Some("p".to_owned()), documents: typed, ..config(&["http://127.0.0.1:9"]) };
        assert!(cluster("", "2.4.6").refusal(&config).is_some_and(|refusal| refusal.contains("`pipeline`")));
    }
}
