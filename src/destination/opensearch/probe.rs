//! Whether a cluster would take what the configuration says, without writing anything.

use std::time::Instant;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::answer::describe;
use super::cluster::Cluster;
use super::{OpenSearch, put};
use crate::config::model::{DocumentId, OpenSearchConfig};

/// No cluster takes an id of so many bytes: nothing is written under it.
const ID_BYTES_TOO_MANY: usize = 600;

/// What the cluster is, for people; an error says what is wrong. Serverless does not say what it is, but whether the
/// collection takes ids.
pub async fn probe(config: &OpenSearchConfig) -> Result<String, String> {
    let cluster = OpenSearch::new(config, "", "");
    let node = cluster.nodes.pick(&[], Instant::now()).unwrap_or_default();
    let url = config.urls[node].as_str();
    if config.is_serverless() {
        return cluster.probe_ids(url).await;
    }
    let answered = cluster.http.get(&format!("{url}/")).await.map_err(|error| error.to_string())?;
    match (answered.status, Cluster::read(answered.body.as_deref().unwrap_or_default())) {
        (StatusCode::OK, Some(found)) => found.refusal(config).map_or_else(|| Ok(found.to_string()), Err),
        (StatusCode::OK, None) => Err(String::from("what answers there is no cluster")),
        // Who may write only need not be told.
        (StatusCode::FORBIDDEN, _) => Ok(String::from("a cluster that does not tell us its version")),
        _ => Err(answered.refused().to_string()),
    }
}

impl OpenSearch {
    /// Sends a document under an id that nobody takes: a collection that takes no ids at all says that instead.
    async fn probe_ids(&self, url: &str) -> Result<String, String> {
        if self.config.documents.id == DocumentId::None {
            return Ok(String::from("OpenSearch Serverless, not asked: it makes the ids"));
        }
        let (template, id) = (&self.config.index, "x".repeat(ID_BYTES_TOO_MANY));
        // The one that may be written to, where it does not depend on records.
        let is_known = template.template().dynamic().len() == 0;
        let index = if is_known { template.name(crate::record::now(), &[]) } else { String::from("hydrant-check") };
        let body = format!("{{\"create\":{{\"_index\":\"{index}\",\"_id\":\"{id}\"}}}}\n{{}}\n");
        let mut headers = HeaderMap::new();
        put(&mut headers, "Content-Type", "application/x-ndjson", false);
        let answered = self.http.post(&format!("{url}/_bulk"), headers, Bytes::from(body), 1).await;
        let answered = answered.map_err(|error| error.to_string())?;
        let error = error_of(answered.body.as_deref().unwrap_or_default());
        match answered.status {
            StatusCode::OK | StatusCode::BAD_REQUEST if is_without_ids(&error) => {
                let ids = "the collection takes no ids of documents: only `document_id: none` will do";
                Err(format!("{ids} ({error})"))
            }
            StatusCode::OK | StatusCode::BAD_REQUEST => Ok(String::from("OpenSearch Serverless, which takes ids")),
            _ => Err(answered.refused().to_string()),
        }
    }
}

/// What is wrong with the request, or else with its only document.
fn error_of(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let of_item = body.pointer("/items/0/create/error");
    body.get("error").or(of_item).map(describe).unwrap_or_default()
}

/// The words of collections of time series and vectors.
fn is_without_ids(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    error.contains("document id is not supported") || (error.contains("id") && error.contains("not supported"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_that_takes_no_ids_says_so() {
        let whole = br#"{"error":{"type":"illegal_argument_exception","reason":"Document ID is not supported in create/index operation request"},"status":400}"#;
        let item = br#"{"items":[{"create":{"status":400,"error":{"type":"illegal_argument_exception","reason":"Document ID is not supported in create/index operation request"}}}]}"#;
        assert!(is_without_ids(&error_of(whole)) && is_without_ids(&error_of(item)));
        let too_long = br#"{"error":{"type":"action_request_validation_exception","reason":"Validation Failed: 1: id [xxx] is too long, must be no longer than 512 bytes but was: 600;"},"status":400}"#;
        assert!(!is_without_ids(&error_of(too_long)));
        assert!(!is_without_ids(&error_of(b"no JSON")));
    }
}
