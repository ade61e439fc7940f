//! A receiver of Firehose's HTTP endpoint deliveries, written from the specification and by hand, so that it can break every rule.
//!
//! It complains of every request that is not as the specification says, takes records once for each request id, and answers as its
//! rule tells it.

mod http1;
mod http2;
mod take;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::s3::runtime;

pub(super) use http2::acceptor as http2_acceptor;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Method, path and version.
    pub line: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub id: String,
    /// As sent.
    pub body: Vec<u8>,
    /// Decompressed.
    pub json: Value,
    pub records: Vec<Vec<u8>>,
}

/// What the endpoint does with a request.
pub enum Reaction {
    /// Takes the records and says so.
    Accept,
    /// Takes them and answers 201 with a text.
    AcceptPlainly,
    /// Takes them and breaks the connection.
    AcceptSilently,
    /// Takes them and answers these very bytes.
    AcceptAs(Vec<u8>),
    /// Takes them, says so, and closes the connection without having announced it.
    AcceptAndClose,
    /// Takes them and answers in pieces, with this time before each of them.
    AcceptSlowly(Duration),
    /// Answers this status with a proper body, and takes nothing.
    Refuse(u16, &'static [(&'static str, &'static str)]),
    /// These very bytes, then the end of the connection; takes nothing.
    Raw(Vec<u8>),
    /// These bytes and never another; takes nothing.
    Stall(Vec<u8>),
    /// The connection is reset.
    Reset,
}

/// What it does with a request of which it has read the headers only.
pub enum Interruption {
    /// Answers this and sends nothing more, but goes on reading what it does not want, as good servers do.
    Answer(Vec<u8>),
    /// Answers this and closes the connection on the unread body.
    AnswerAndClose(Vec<u8>),
    /// Reads nothing more.
    StopReading,
}

type Rule = Box<dyn Fn(&Received, usize) -> Reaction + Send>;
type Interrupt = Box<dyn Fn(usize) -> Option<Interruption> + Send>;

pub struct Endpoint {
    scheme: &'static str,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    runtime: Option<Runtime>,
}

struct State {
    rule: Rule,
    interrupt: Interrupt,
    connections: usize,
    under_way: usize,
    /// How many were under way whenever the headers of one had come.
    begun: Vec<usize>,
    received: Vec<Received>,
    /// What was taken, by request id in the order of coming.
    taken: Vec<(String, Vec<Vec<u8>>)>,
    complaints: Vec<String>,
}

impl Endpoint {
    /// Accepts everything until it is told otherwise.
    pub fn start() -> Self {
        Self::start_with("http", |listener, state| Box::pin(http1::serve(listener, state)))
    }

    /// The same over TLS and HTTP/2 alone, with `server.pem` and `server.key` of this folder.
    pub fn start_http2(folder: &Path) -> Self {
        let acceptor = http2::acceptor(folder);
        Self::start_with("https", |listener, state| Box::pin(http2::serve(listener, acceptor, state)))
    }

    fn start_with(
        scheme: &'static str,
        serve: impl FnOnce(TcpListener, Arc<Mutex<State>>) -> Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Self {
        let runtime = runtime();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port on loopback");
        let address = listener.local_addr().expect("its address");
        let state = State {
            rule: Box::new(|_, _| Reaction::Accept),
            interrupt: Box::new(|_| None),
            connections: 0,
            under_way: 0,
            begun: Vec::new(),
            received: Vec::new(),
            taken: Vec::new(),
            complaints: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        runtime.spawn(serve(listener, state.clone()));
        Self { scheme, address, state, runtime: Some(runtime) }
    }

    pub fn url(&self) -> String {
        format!("{}://{}/in?source=hydrant", self.scheme, self.address)
    }

    /// From now on `rule` is asked with how many came before as soon as a request's headers are there.
    pub fn interrupt(&self, rule: impl Fn(usize) -> Option<Interruption> + Send + 'static) {
        self.state().interrupt = Box::new(rule);
    }

    /// How many connections have come.
    pub fn connections(&self) -> usize {
        self.state().connections
    }

    /// How many requests were under way when each one came, itself included.
    pub fn under_way(&self) -> Vec<usize> {
        self.state().begun.clone()
    }

    /// From now on it does as `rule` says, which is asked with the request and how many came before.
    pub fn behave(&self, rule: impl Fn(&Received, usize) -> Reaction + Send + 'static) {
        self.state().rule = Box::new(rule);
    }

    pub fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// Records by request id, in the order in which they were taken.
    pub fn taken(&self) -> Vec<(String, Vec<Vec<u8>>)> {
        self.state().taken.clone()
    }

    /// All records that were taken, as texts.
    pub fn lines(&self) -> Vec<String> {
        let taken = self.taken();
        let records = taken.iter().flat_map(|(_, records)| records);
        records.map(|record| String::from_utf8(record.clone()).expect("the tests send text")).collect()
    }

    /// How many records were taken.
    pub fn count(&self) -> usize {
        self.state().taken.iter().map(|(_, records)| records.len()).sum()
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

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A proper answer to the request `id`.
pub fn proper(status: u16, id: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let body = match status {
        200 => format!(r#"{{"requestId":"{id}","timestamp":1578090903599}}"#),
        _ => format!(r#"{{"requestId":"{id}","timestamp":1578090903599,"errorMessage":"status {status}"}}"#),
    };
    answer(status, &[&[("Content-Type", "application/json")], more].concat(), &body)
}

/// An answer with these headers and a `Content-Length`.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} Answer\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Counts a request from its headers to the end of its answer.
struct UnderWay(Arc<Mutex<State>>);

impl UnderWay {
    fn begin(state: &Arc<Mutex<State>>) -> (Self, Option<Interruption>) {
        let mut counts = state.lock().expect("no holder panics");
        let interruption = (counts.interrupt)(counts.begun.len());
        counts.under_way += 1;
        let under_way = counts.under_way;
        counts.begun.push(under_way);
        drop(counts);
        (Self(state.clone()), interruption)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().expect("no holder panics").under_way -= 1;
    }
}
