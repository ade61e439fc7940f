//! A real OpenSearch server on loopback. One serves all tests of a run, each with indexes of its own; whoever has to kill it starts
//! one of their own.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::scratch::Scratch;
use super::servers::{free_port, missing};
use super::wait::wait_until;

/// A running server. It is killed with SIGKILL when this is dropped, or when the process of the tests ends, however it does.
pub struct OpenSearch {
    child: Child,
    port: u16,
}

/// A document as it was found.
#[derive(Debug, Clone)]
pub struct Found {
    pub index: String,
    pub id: String,
    pub routing: Option<String>,
    pub source: Value,
}

impl OpenSearch {
    /// The one for all tests.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: LazyLock<Option<OpenSearch>> = LazyLock::new(|| {
            let log = tempfile::tempfile().expect("a file for its log");
            is_there().then(|| OpenSearch::start(free_port(), None, log))
        });
        SHARED.as_ref().or_else(not_there)
    }

    /// One of the test's own, with what it was told in another life if there was one.
    pub fn own(scratch: &Scratch, port: u16) -> Option<Self> {
        let log = || File::create(scratch.path("opensearch.log")).expect("a file for its log");
        let server = is_there().then(|| Self::start(port, Some(scratch.path("opensearch")), log()));
        server.or_else(not_there)
    }

    fn start(port: u16, data: Option<PathBuf>, log: File) -> Self {
        let mut command = Command::new(script());
        command.arg("run").arg(port.to_string()).args(data);
        command.stdin(Stdio::piped()).stdout(log.try_clone().expect("the same file")).stderr(log);
        let child = command.spawn().expect("the script starts");
        let mut server = Self { child, port };
        wait_until("OpenSearch answers", || {
            let ended = server.child.try_wait().expect("our own child can be waited for");
            assert!(ended.is_none(), "OpenSearch has ended: {ended:?}");
            server.try_ask("GET", "/_cluster/health", None).is_some_and(|(status, _)| status == 200)
        });
        // One shard without a copy for whatever a test makes up, and all of it in one answer.
        let settings = json!({ "number_of_shards": 1, "number_of_replicas": 0, "max_result_window": 1_000_000 });
        let template = json!({ "index_patterns": ["*"], "priority": 0, "template": { "settings": settings } });
        server.ask("PUT", "/_index_template/any", Some(&template));
        server
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A name that no other test's indexes have.
    pub fn name() -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// What it answers; it has to be a success. An index that has just been made may have no shard yet that answers (503).
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let mut answer = None;
        wait_until("a shard answers", || {
            answer = Some(self.try_ask(method, path, body).expect("OpenSearch is there"));
            answer.as_ref().is_some_and(|(status, _)| *status != 503)
        });
        let (status, answer) = answer.expect("it has answered");
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Every document of the indexes that the pattern matches.
    pub fn documents(&self, pattern: &str) -> Vec<Found> {
        self.ask("POST", &format!("/{pattern}/_refresh"), None);
        let found = self.ask(
            "GET",
            &format!("/{pattern}/_search?size=1000000&sort=_doc&allow_partial_search_results=false"),
            None,
        );
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let hits = found["hits"]["hits"].as_array().expect("hits");
        let found = hits.iter().map(|hit| Found {
            index: text(&hit["_index"]).expect("an index"),
            id: text(&hit["_id"]).expect("an id"),
            routing: text(&hit["_routing"]),
            source: hit["_source"].clone(),
        });
        found.collect()
    }

    /// How many documents it has there; 0 also where there is no index.
    pub fn count(&self, pattern: &str) -> usize {
        self.ask("POST", &format!("/{pattern}/_refresh?ignore_unavailable=true"), None);
        let answer = self.ask("GET", &format!("/{pattern}/_count?ignore_unavailable=true"), None);
        answer["count"].as_u64().expect("a number") as usize
    }

    fn try_ask(&self, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).ok()?))
    }
}

impl Drop for OpenSearch {
    fn drop(&mut self) {
        // The script kills the server at the end of its input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/opensearch")
}

fn is_there() -> bool {
    let run = Command::new(script()).arg("there").output();
    run.is_ok_and(|output| output.status.success())
}

fn not_there<T>() -> Option<T> {
    missing("OpenSearch", "install Java, Maven and unzip, and run tests/servers/opensearch")
}
