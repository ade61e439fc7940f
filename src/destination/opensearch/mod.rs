//! Documents in OpenSearch and Elasticsearch, in bulks of which the cluster judges each document.
//!
//! One attempt is one bulk to one node; another node is asked in its place only where nothing can have arrived. Answers are judged
//! item by item: see [`answer`]. A document that is sent again has the same id and the same index, so that a lost answer doubles
//! nothing where ids are derived.

mod answer;
mod bulk;
mod client;
mod cluster;
mod document;
mod nodes;
mod probe;
#[cfg(test)]
mod tests;

pub use probe::probe;

use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::config::model::{EndpointUrl, OpenSearchConfig};
use crate::encode::frames::Frame;
use crate::envelope::{self, FailedDocument};
use crate::error_type::OPENSEARCH_FAILED;
use crate::pool::join;
use crate::requests::{Limits, Reason};

use super::http_client::{self, put};
use super::receiver::{Grounds, Misfit, Patience, Receiver, RequestError, Verdict};
use super::{AttemptError, BoxFuture};
use answer::Sent;
use bulk::{Form, Sealed};
use client::{Answered, Http, invalid, is_away, unsupported};
use cluster::Cluster;
pub use document::ID_BYTES_MAX;
use document::{DERIVED_ID_BYTES, Ids, Old};
use nodes::Nodes;

/// The largest request that clusters take where nobody has set it otherwise.
const REQUEST_BYTES_MAX: u64 = 100 << 20;
/// Bulks are put together from requests of this size.
const SEVERAL_BYTES_MAX: u64 = 1 << 20;
const SEVERAL_RECORDS_MAX: u64 = 10_000;
/// A larger answer is judged where it keeps nobody from working.
const ANSWER_BYTES_AT_ONCE: usize = 64 << 10;
/// Who greets a cluster waits no longer.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// What of the answer is asked for: errors as they are, and no more than that of the rest.
const FILTER: &str = "filter_path=errors%2Citems.%2A._id%2Citems.%2A.status%2Citems.%2A.error";

pub struct OpenSearch {
    config: OpenSearchConfig,
    form: Form,
    /// Headers that are the same for every bulk.
    headers: HeaderMap,
    /// Where bulks go, after each node's URL.
    path: String,
    nodes: Nodes,
    http: Http,
    /// Whether the cluster can do what the configuration says, or does not tell.
    is_fit: Mutex<bool>,
}

impl OpenSearch {
    /// `instance` is the journal's, and `stream` the delivery stream's name: derived ids are made of them.
    pub fn new(config: &OpenSearchConfig, instance: &str, stream: &str) -> Self {
        let ids = Ids::new(&config.documents.id, instance, stream);
        let routing = config.routing.as_deref().and_then(document::query);
        Self {
            config: config.clone(),
            form: Form::new(ids, routing, &config.documents),
            headers: headers(config),
            path: path(config),
            nodes: Nodes::new(config.urls.len()),
            http: Http::new(config),
            is_fit: Mutex::default(),
        }
    }

    /// Finds out type and version of the cluster and logs them. What goes wrong with it is said by the first bulk.
    pub async fn greet(&self) {
        let greeting = async {
            let (mut tried, mut answer) = (Vec::new(), Ok(()));
            while let Some(node) = self.nodes.pick(&tried, Instant::now()) {
                tried.push(node);
                answer = self.ask_version(&self.config.urls[node]).await;
                match &answer {
                    Err(failed) if is_away(failed) => {
                        self.nodes.failed(node, Instant::now());
                    }
                    Ok(()) | Err(_) => break,
                }
            }
            answer
        };
        if let Ok(Err(error)) = tokio::time::timeout(GREETING_TIMEOUT, greeting).await {
            warn!(to = %self.name(), code = error.error.code, %error, "the cluster does not say what it is");
        }
    }

    /// Once for all: what the cluster is, and whether it can do what the configuration says.
    async fn ask_version(&self, node: &EndpointUrl) -> Result<(), RequestError> {
        let mut is_fit = self.is_fit.lock().await;
        if *is_fit || self.config.is_serverless() {
            return Ok(());
        }
        let answered = self.http.get(&format!("{}/", node.as_str())).await?;
        let to = self.name();
        match (answered.status, answered.body.as_deref().and_then(Cluster::read)) {
            (StatusCode::OK, Some(cluster)) => {
                if let Some(reason) = cluster.refusal(&self.config) {
                    return Err(unsupported(reason));
                }
                info!(%to, %cluster, "the cluster is there");
            }
            // Whoever may write only need not be told.
            (StatusCode::OK | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, _) => {
                let status = answered.status.as_u16();
                warn!(%to, status, "the cluster does not say which version it is");
            }
            _ => return Err(answered.refused()),
        }
        *is_fit = true;
        Ok(())
    }

    /// One bulk, to the first node that can be reached.
    async fn attempt(&self, sealed: Bytes, records: u64) -> Result<Verdict, RequestError> {
        let sealed = Sealed::open(sealed);
        let (mut tried, mut last) = (Vec::new(), None);
        while let Some(node) = self.nodes.pick(&tried, Instant::now()) {
            tried.push(node);
            let answered = self.post(&self.config.urls[node], sealed.body.clone(), records).await;
            let is_away = answered.as_ref().map_or_else(is_away, Answered::is_of_node);
            if is_away {
                self.nodes.failed(node, Instant::now());
            } else {
                self.nodes.succeeded(node);
            }
            match answered {
                Ok(answered) => return self.judge(answered, sealed, records).await,
                Err(failed) if failed.error.ambiguous || !is_away => return Err(failed),
                Err(failed) => last = Some(failed),
            }
        }
        Err(last.unwrap_or_else(client::no_node))
    }

    async fn post(&self, node: &EndpointUrl, body: Bytes, records: u64) -> Result<Answered, RequestError> {
        // Nothing of the bulk has left before this is known.
        self.ask_version(node).await.map_err(|failed| RequestError {
            error: AttemptError { ambiguous: false, ..failed.error },
            retry_after: failed.retry_after,
        })?;
        self.http.post(&format!("{}{}", node.as_str(), self.path), self.headers.clone(), body, records).await
    }

    async fn judge(&self, answered: Answered, sealed: Sealed, records: u64) -> Result<Verdict, RequestError> {
        match (answered.status, answered.body) {
            (StatusCode::PAYLOAD_TOO_LARGE, _) => Ok(Verdict::TooLarge),
            (StatusCode::OK, Some(answer)) => self.judge_items(answer, sealed, records).await,
            (StatusCode::OK, None) if records > 1 => Ok(Verdict::TooLarge),
            (StatusCode::OK, None) => Err(invalid("it is too large for that of one document")),
            (_, body) => Err(Answered { body, ..answered }.refused()),
        }
    }

    async fn judge_items(&self, answer: Vec<u8>, sealed: Sealed, records: u64) -> Result<Verdict, RequestError> {
        let (are_derived, may_change_ids) = (self.form.ids.are_derived(), self.config.pipeline.is_some());
        let is_small = answer.len() <= ANSWER_BYTES_AT_ONCE;
        let judge = move || {
            let sent = Sent { records, hashes: sealed.hashes(), are_derived, may_change_ids };
            answer::judge(&answer, sent)
        };
        let judged = if is_small { judge() } else { join(tokio::task::spawn_blocking(judge)).await };
        judged.map_err(|reason| invalid(&reason))
    }
}

impl Receiver for OpenSearch {
    fn name(&self) -> String {
        self.config.urls.iter().map(EndpointUrl::shown).collect::<Vec<_>>().join(",")
    }

    fn limits(&self) -> Limits {
        Limits {
            records_max: SEVERAL_RECORDS_MAX,
            record_bytes_max: REQUEST_BYTES_MAX,
            body_bytes_max: REQUEST_BYTES_MAX,
            several_bytes_max: SEVERAL_BYTES_MAX.min(self.config.bulk_bytes_max),
            body_bytes_min: 0,
            counts_old_names: true,
            sized: sized(self.form.action_bytes(self.config.index.name_bytes_max())),
        }
    }

    fn patience(&self) -> Patience {
        Patience { retry: self.config.retry, counts_attempts: true, in_flight: self.config.in_flight }
    }

    fn misfits(&self) -> Option<Misfit> {
        Some(self.form.ids.misfits())
    }

    fn addressee(&self, at: Timestamp, values: &[String]) -> String {
        self.config.index.name(at, values)
    }

    fn batch_bytes(&self) -> Option<u64> {
        Some(self.config.bulk_bytes_max)
    }

    fn body(&self, _: &str, to: &str, frames: &[&[u8]], _: Timestamp) -> Bytes {
        self.form.body(to, frames, |body| http_client::compress(body, self.config.gzip_level?))
    }

    fn send<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        body: Bytes,
        records: u64,
    ) -> BoxFuture<'a, Result<Verdict, RequestError>> {
        Box::pin(self.attempt(body, records))
    }

    fn too_large(&self) -> Grounds {
        let message = "the cluster refuses the document as too large, with no other beside it".to_owned();
        Grounds { code: StatusCode::PAYLOAD_TOO_LARGE.as_str().to_owned(), message }
    }

    fn envelope(&self, to: &str, frame: &Frame<'_>, reason: &Reason) -> Bytes {
        let mut room = [0; DERIVED_ID_BYTES];
        let old = Old::of(frame);
        let id = self.form.ids.of(frame, old.id, &mut room);
        let document = FailedDocument {
            id: id.as_deref().unwrap_or_default(),
            index: old.index.as_deref().unwrap_or(to),
            type_name: self.config.documents.type_name.as_deref().unwrap_or_default(),
            is_serverless: self.config.is_serverless(),
        };
        envelope::document_failed(frame, reason, &document)
    }

    fn error_type(&self) -> &'static str {
        OPENSEARCH_FAILED
    }
}

/// A record's bytes in a body, with a line of at most so many before it.
fn sized(action: u64) -> fn(u64) -> u64 {
    match action {
        0..=127 => |bytes| bytes + 128,
        128..=255 => |bytes| bytes + 256,
        256..=511 => |bytes| bytes + 512,
        _ => |bytes| bytes + 1024,
    }
}

fn path(config: &OpenSearchConfig) -> String {
    let filter = if config.is_serverless() { None } else { Some(FILTER.to_owned()) };
    let pipeline = config.pipeline.as_ref().map(|name| format!("pipeline={}", percent_encoded(name)));
    let query: Vec<_> = filter.into_iter().chain(pipeline).collect();
    if query.is_empty() { "/_bulk".to_owned() } else { format!("/_bulk?{}", query.join("&")) }
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn headers(config: &OpenSearchConfig) -> HeaderMap {
    let mut headers = HeaderMap::new();
    put(&mut headers, "Content-Type", "application/x-ndjson", false);
    if config.gzip_level.is_some() {
        put(&mut headers, "Content-Encoding", "gzip", false);
    }
    headers
}
