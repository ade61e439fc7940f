//! A receiver of bulk requests, written from OpenSearch's documentation of its bulk API and by hand, so that it can judge every item
//! and break every answer as a test wants it.
//!
//! It complains of each request that the documentation does not allow, keeps documents by index and id as an index does (`create`
//! takes an id once, `index` replaces), and counts how often each was written.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::wire::{Listener, Reply, Request, answer};

const JSON: (&str, &str) = ("Content-Type", "application/json; charset=UTF-8");

/// The only one that this receiver can do.
const FILTER: &str = "errors,items.*._id,items.*.status,items.*.error";

/// One action with its document.
#[derive(Debug, Clone)]
pub struct Item {
    /// `create` or `index`.
    pub action: String,
    /// What stands beside the action.
    pub target: Map<String, Value>,
    pub index: String,
    pub id: Option<String>,
    /// As sent.
    pub document: String,
}

impl Item {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.document).expect("it was looked at when it came")
    }
}

/// One bulk request as it came.
#[derive(Debug, Clone)]
pub struct Bulk {
    /// Method, path and version.
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub sent: Vec<u8>,
    /// Decompressed.
    pub body: String,
    pub items: Vec<Item>,
    /// To which of the nodes.
    pub node: usize,
    pub at: Instant,
}

/// What comes of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// As the index has it: written, or a conflict.
    Take,
    /// A status and the error's type; nothing is written.
    Refuse(u16, &'static str),
}

/// What is done with a request.
pub enum Reaction {
    /// Judges each item and says what came of it.
    Judge,
    /// Judges, and says it in an answer that was changed.
    Distort(fn(&mut Value)),
    /// Judges, and sends this much of the answer before the connection ends.
    Cut(usize),
    /// Judges, and breaks the connection.
    Lose,
    /// Judges, and never answers.
    Forget,
    /// This status; nothing is written.
    Refuse(u16, &'static [(&'static str, &'static str)]),
    /// These very bytes, then the end of the connection; nothing is written.
    Raw(Vec<u8>),
    /// Nothing is written, nothing is answered.
    Stall,
    /// Nothing is written, the connection is reset.
    Reset,
}

/// A document in an index.
#[derive(Debug, Clone)]
pub struct Stored {
    pub document: String,
    /// How often it was written.
    pub writes: u32,
}

type Rule = Box<dyn Fn(&Bulk, usize) -> Reaction + Send>;
type Judge = Box<dyn Fn(&Item, usize) -> Judgement + Send>;

struct State {
    rule: Rule,
    judge: Judge,
    received: Vec<Bulk>,
    /// How often an item has come, by its index, id and document.
    came: BTreeMap<(String, Option<String>, String), usize>,
    documents: BTreeMap<(String, String), Stored>,
    complaints: Vec<String>,
    version: Value,
}

/// A cluster of one or more nodes with the same documents.
pub struct BulkReceiver {
    state: Arc<Mutex<State>>,
    nodes: Vec<Listener>,
}

impl BulkReceiver {
    /// Takes everything until it is told otherwise.
    pub fn start() -> Self {
        Self::with_nodes(1)
    }

    pub fn with_nodes(count: usize) -> Self {
        let state = State {
            rule: Box::new(|_, _| Reaction::Judge),
            judge: Box::new(|_, _| Judgement::Take),
            received: Vec::new(),
            came: BTreeMap::new(),
            documents: BTreeMap::new(),
            complaints: Vec::new(),
            version: json!({ "distribution": "opensearch", "number": "2.19.3" }),
        };
        let state = Arc::new(Mutex::new(state));
        let node = |node| {
            let state = state.clone();
            Listener::start(move |request| state.lock().expect("no holder panics").serve(request, node))
        };
        Self { nodes: (0..count).map(node).collect(), state }
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Listener::url).collect()
    }

    /// The node goes away: nobody listens there.
    pub fn stop(&mut self, node: usize) {
        self.nodes[node].stop();
    }

    /// The node is there again.
    pub fn listen(&mut self, node: usize) {
        self.nodes[node].listen();
    }

    /// What it says that it is.
    pub fn claim(&self, version: Value) {
        self.state().version = version;
    }

    /// From now on requests meet what `rule` says, which is asked with the request and how many came before.
    pub fn behave(&self, rule: impl Fn(&Bulk, usize) -> Reaction + Send + 'static) {
        self.state().rule = Box::new(rule);
    }

    /// From now on items meet what `judge` says, which is asked with the item and how often it came before.
    pub fn judge(&self, judge: impl Fn(&Item, usize) -> Judgement + Send + 'static) {
        self.state().judge = Box::new(judge);
    }

    pub fn received(&self) -> Vec<Bulk> {
        self.state().received.clone()
    }

    /// How many bulk requests came.
    pub fn requests(&self) -> usize {
        self.state().received.len()
    }

    /// What every index holds, by index and id.
    pub fn documents(&self) -> BTreeMap<(String, String), Stored> {
        self.state().documents.clone()
    }

    /// All documents, sorted.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.state().documents.values().map(|stored| stored.document.clone()).collect();
        lines.sort();
        lines
    }

    /// How many documents there are.
    pub fn count(&self) -> usize {
        self.state().documents.len()
    }

    #[track_caller]
    pub fn assert_no_complaints(&self) {
        let state = self.state();
        assert!(state.complaints.is_empty(), "{:#?}", state.complaints);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl State {
    fn serve(&mut self, request: Request, node: usize) -> Reply {
        let path = request.line.split(' ').nth(1).unwrap_or_default();
        match path.split('?').next().unwrap_or_default() {
            "/" => Reply::Answer(answer(200, &[JSON], &self.who_it_is().to_string())),
            path if path.ends_with("/_bulk") => match parse(&request, node) {
                Ok(bulk) => self.react(bulk),
                Err(complaint) => {
                    self.complaints.push(complaint);
                    Reply::Answer(answer(400, &[JSON], r#"{"error":"see the complaints","status":400}"#))
                }
            },
            path => {
                let error = json!({ "error": format!("no handler found for uri [{path}]"), "status": 400 });
                Reply::Answer(answer(400, &[JSON], &error.to_string()))
            }
        }
    }

    fn who_it_is(&self) -> Value {
        json!({
            "name": "node-1",
            "cluster_name": "fake",
            "cluster_uuid": "YQ5GvzYVQ0uI0c1dpTnDvA",
            "version": self.version,
            "tagline": "The OpenSearch Project: https://opensearch.org/",
        })
    }

    fn react(&mut self, bulk: Bulk) -> Reply {
        let reaction = (self.rule)(&bulk, self.received.len());
        self.received.push(bulk.clone());
        match reaction {
            Reaction::Judge => Reply::Answer(self.judged(&bulk, |_| ())),
            Reaction::Distort(distort) => Reply::Answer(self.judged(&bulk, distort)),
            Reaction::Cut(at) => {
                let mut answer = self.judged(&bulk, |_| ());
                answer.truncate(at);
                Reply::Last(answer)
            }
            Reaction::Lose => {
                self.judged(&bulk, |_| ());
                Reply::Reset
            }
            Reaction::Forget => {
                self.judged(&bulk, |_| ());
                Reply::Stall(Vec::new())
            }
            Reaction::Refuse(status, headers) => {
                let error = json!({ "error": { "type": "refused", "reason": "by the test" }, "status": status });
                Reply::Answer(answer(status, &[&[JSON], headers].concat(), &error.to_string()))
            }
            Reaction::Raw(bytes) => Reply::Last(bytes),
            Reaction::Stall => Reply::Stall(Vec::new()),
            Reaction::Reset => Reply::Reset,
        }
    }

    fn judged(&mut self, bulk: &Bulk, distort: fn(&mut Value)) -> Vec<u8> {
        let items: Vec<Value> = bulk.items.iter().map(|item| self.item(item)).collect();
        let failed = |item: &Value| item.as_object().and_then(|item| item.values().next()).is_some_and(has_failed);
        let mut said = json!({ "took": 3, "errors": items.iter().any(failed), "items": items });
        if bulk.line.contains("filter_path=") {
            filter(&mut said);
        }
        distort(&mut said);
        answer(200, &[JSON], &said.to_string())
    }

    /// Takes an item or not, and what is said of it.
    fn item(&mut self, item: &Item) -> Value {
        let came = self.came.entry((item.index.clone(), item.id.clone(), item.document.clone())).or_default();
        *came += 1;
        let id = item.id.clone().unwrap_or_else(|| format!("made-{}", self.documents.len()));
        if let Judgement::Refuse(status, kind) = (self.judge)(item, *came - 1) {
            return failure(item, &id, status, kind);
        }
        let key = (item.index.clone(), id.clone());
        let writes = self.documents.get(&key).map_or(0, |stored| stored.writes);
        if item.action == "create" && writes > 0 {
            return failure(item, &id, 409, "version_conflict_engine_exception");
        }
        self.documents.insert(key, Stored { document: item.document.clone(), writes: writes + 1 });
        let (result, status) = if writes == 0 { ("created", 201) } else { ("updated", 200) };
        json!({ item.action.clone(): {
            "_index": item.index, "_id": id, "_version": writes + 1, "result": result,
            "_shards": { "total": 2, "successful": 1, "failed": 0 }, "_seq_no": self.documents.len(), "_primary_term": 1,
            "status": status,
        } })
    }
}

/// What is asked for by `filter_path=errors,items.*._id,items.*.status,items.*.error`.
fn filter(said: &mut Value) {
    let keep = |object: &mut Value, kept: &[&str]| {
        object.as_object_mut().expect("an object").retain(|key, _| kept.contains(&key.as_str()));
    };
    keep(said, &["errors", "items"]);
    for item in said["items"].as_array_mut().expect("items") {
        for result in item.as_object_mut().expect("an object").values_mut() {
            keep(result, &["_id", "status", "error"]);
        }
    }
}

fn has_failed(result: &Value) -> bool {
    result["status"].as_u64().is_none_or(|status| status >= 300)
}

fn failure(item: &Item, id: &str, status: u16, kind: &str) -> Value {
    let error = json!({ "type": kind, "reason": format!("{kind} of [{id}], by the test"), "index": item.index });
    json!({ item.action.clone(): { "_index": item.index, "_id": id, "status": status, "error": error } })
}

fn parse(request: &Request, node: usize) -> Result<Bulk, String> {
    let (line, headers) = (request.line.clone(), request.headers.clone());
    let header = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
    if !line.starts_with("POST ") {
        return Err(format!("not a POST: {line}"));
    }
    let parameters = line.split([' ', '?']).nth(2).unwrap_or_default().split('&');
    for (name, value) in parameters.filter_map(|parameter| parameter.split_once('=')) {
        let is_allowed = match name {
            "filter_path" => value.replace("%2C", ",").replace("%2A", "*") == FILTER,
            name => ["pipeline", "routing", "timeout", "wait_for_active_shards"].contains(&name),
        };
        if !is_allowed {
            return Err(format!("the parameter {name}={value}"));
        }
    }
    if !["application/x-ndjson", "application/json"].contains(&header("content-type")) {
        return Err(format!("Content-Type {}", header("content-type")));
    }
    let body = match header("content-encoding") {
        "" => String::from_utf8(request.body.clone()).map_err(|error| error.to_string())?,
        "gzip" => {
            let mut plain = String::new();
            let mut decoder = flate2::read::MultiGzDecoder::new(request.body.as_slice());
            decoder.read_to_string(&mut plain).map_err(|error| format!("not gzip: {error}"))?;
            plain
        }
        other => return Err(format!("Content-Encoding {other}")),
    };
    if body.len() > 100 << 20 {
        return Err(format!("a body of {} bytes", body.len()));
    }
    let in_path = line.split([' ', '?']).nth(1).and_then(|path| path.strip_suffix("/_bulk"));
    let in_path = in_path.unwrap_or_default().trim_start_matches('/').to_owned();
    let lines = body.strip_suffix('\n').ok_or("the last line does not end")?;
    let lines: Vec<&str> = lines.split('\n').collect();
    if !lines.len().is_multiple_of(2) {
        return Err(format!("{} lines are no pairs", lines.len()));
    }
    let items = lines.chunks(2).map(|pair| item(&in_path, pair[0], pair[1])).collect::<Result<_, String>>()?;
    Ok(Bulk { line, headers, sent: request.body.clone(), body, items, node, at: Instant::now() })
}

fn item(in_path: &str, action: &str, document: &str) -> Result<Item, String> {
    let object = |text: &str| match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(format!("no object: {text}")),
        Err(error) => Err(format!("{error}: {text}")),
    };
    object(document)?;
    let mut action_line = object(action)?.into_iter();
    let (Some((action, Value::Object(target))), None) = (action_line.next(), action_line.next()) else {
        return Err(format!("not one action: {action}"));
    };
    if !["create", "index"].contains(&action.as_str()) {
        return Err(format!("the action `{action}`"));
    }
    if let Some(field) =
        target.keys().find(|field| !["_index", "_id", "_type", "routing", "pipeline"].contains(&field.as_str()))
    {
        return Err(format!("`{field}` beside an action"));
    }
    let text = |field: &str| {
        target.get(field).map(|value| value.as_str().map(str::to_owned).ok_or(format!("{field}: {value}")))
    };
    let index = text("_index").transpose()?.unwrap_or_else(|| in_path.to_owned());
    let id = text("_id").transpose()?;
    if index.is_empty() || index != index.to_lowercase() || index.len() > 255 {
        return Err(format!("the index `{index}`"));
    }
    if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > 512) {
        return Err(format!("the id {id:?}"));
    }
    Ok(Item { action, target, index, id, document: document.to_owned() })
}
