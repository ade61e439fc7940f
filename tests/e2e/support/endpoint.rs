//! A receiver of Firehose's HTTP endpoint deliveries, written from the specification and by hand, so that it can break every rule.
//!
//! It complains of every request that is not as the specification says, takes records once for each request id, and answers as its
//! rule tells it.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::s3::runtime;

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
    /// Answers this status with a proper body, and takes nothing.
    Refuse(u16, &'static [(&'static str, &'static str)]),
    /// These very bytes, then the end of the connection; takes nothing.
    Raw(Vec<u8>),
    /// These bytes and never another; takes nothing.
    Stall(Vec<u8>),
    /// The connection is reset.
    Reset,
}

type Rule = Box<dyn Fn(&Received, usize) -> Reaction + Send>;

pub struct Endpoint {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    runtime: Option<Runtime>,
}

struct State {
    rule: Rule,
    received: Vec<Received>,
    /// What was taken, by request id in the order of coming.
    taken: Vec<(String, Vec<Vec<u8>>)>,
    complaints: Vec<String>,
}

impl Endpoint {
    /// Accepts everything until it is told otherwise.
    pub fn start() -> Self {
        let runtime = runtime();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port on loopback");
        let address = listener.local_addr().expect("its address");
        let state = State {
            rule: Box::new(|_, _| Reaction::Accept),
            received: Vec::new(),
            taken: Vec::new(),
            complaints: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        runtime.spawn(serve(listener, state.clone()));
        Self { address, state, runtime: Some(runtime) }
    }

    pub fn url(&self) -> String {
        format!("http://{}/in?source=hydrant", self.address)
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

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let (socket, _) = listener.accept().await.expect("a listener on loopback accepts");
        tokio::spawn(converse(socket, state.clone()));
    }
}

async fn converse(mut socket: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let head_end = loop {
            if let Some(at) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
                break at + 4;
            }
            more(&mut socket, &mut bytes).await?;
        };
        let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
        let length: usize = header(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        while bytes.len() < head_end + length {
            more(&mut socket, &mut bytes).await?;
        }
        let body = bytes[head_end..head_end + length].to_vec();
        bytes.drain(..head_end + length);
        match take(&head, body, &state) {
            Ok(answer) => socket.write_all(&answer).await.ok()?,
            Err(reaction) => return stop(socket, reaction).await,
        }
    }
}

/// What a reaction other than an answer does to the connection.
async fn stop(mut socket: TcpStream, reaction: Reaction) -> Option<()> {
    match reaction {
        Reaction::Raw(bytes) => {
            socket.write_all(&bytes).await.ok()?;
            socket.shutdown().await.ok()
        }
        Reaction::Stall(bytes) => {
            socket.write_all(&bytes).await.ok()?;
            // Until the client gives up.
            let _ = socket.read(&mut [0; 1]).await;
            None
        }
        Reaction::Accept
        | Reaction::AcceptPlainly
        | Reaction::AcceptSilently
        | Reaction::Refuse(..)
        | Reaction::Reset => socket.set_zero_linger().ok(),
    }
}

async fn more(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let count = socket.read_buf(bytes).await.ok()?;
    (count > 0).then_some(())
}

fn header(head: &str, name: &str) -> Option<String> {
    let value = |line: &str| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    };
    head.lines().find_map(value)
}

/// The answer, or what ends the connection.
fn take(head: &str, body: Vec<u8>, state: &Arc<Mutex<State>>) -> Result<Vec<u8>, Reaction> {
    let mut state = state.lock().expect("no holder panics");
    let received = match parse(head, body) {
        Ok(received) => received,
        Err(complaint) => {
            state.complaints.push(complaint);
            return Ok(answer(400, &[], ""));
        }
    };
    let before = state.received.len();
    let reaction = (state.rule)(&received, before);
    state.received.push(received.clone());
    let id = received.id.clone();
    if matches!(reaction, Reaction::Accept | Reaction::AcceptPlainly | Reaction::AcceptSilently) {
        match state.taken.iter().find(|(known, _)| *known == id) {
            Some((_, records)) if *records != received.records => {
                state.complaints.push(format!("{id} came again with other records"));
            }
            Some(_) => {}
            None => state.taken.push((id.clone(), received.records)),
        }
    }
    match reaction {
        Reaction::Accept => Ok(proper(200, &id, &[])),
        Reaction::AcceptPlainly => Ok(answer(201, &[], "thanks")),
        Reaction::Refuse(status, headers) => Ok(proper(status, &id, headers)),
        other => Err(other),
    }
}

fn parse(head: &str, body: Vec<u8>) -> Result<Received, String> {
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let needed = |name: &str| headers.get(name).cloned().ok_or_else(|| format!("there is no {name}"));
    if let Some(id) = headers.get("idempotency-key").cloned() {
        // A plain request: its body is what it is.
        let records = vec![body.clone()];
        return Ok(Received { line, headers, id, body, json: Value::Null, records });
    }
    if !line.starts_with("POST ") {
        return Err(format!("not a POST: {line}"));
    }
    if needed("x-amz-firehose-protocol-version")? != "1.0" || needed("content-type")? != "application/json" {
        return Err(format!("wrong headers: {headers:?}"));
    }
    needed("content-length")?;
    let id = needed("x-amz-firehose-request-id")?;
    let plain = match headers.get("content-encoding").map(String::as_str) {
        None => body.clone(),
        Some("gzip") => {
            let mut plain = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(body.as_slice());
            decoder.read_to_end(&mut plain).map_err(|error| format!("not gzip: {error}"))?;
            plain
        }
        Some(other) => return Err(format!("Content-Encoding {other}")),
    };
    if plain.len() > 64 << 20 {
        return Err(format!("a body of {} bytes", plain.len()));
    }
    let json: Value = serde_json::from_slice(&plain).map_err(|error| format!("not JSON: {error}"))?;
    let fields: Vec<&str> = json.as_object().ok_or("no object")?.keys().map(String::as_str).collect();
    if fields.iter().any(|field| !["requestId", "timestamp", "records"].contains(field)) {
        return Err(format!("fields {fields:?}"));
    }
    if json["requestId"] != id.as_str() || !json["timestamp"].is_u64() {
        return Err(format!("requestId {} and timestamp {}", json["requestId"], json["timestamp"]));
    }
    let records = json["records"].as_array().filter(|records| (1..=10_000).contains(&records.len()));
    let record = |record: &Value| {
        let data = record["data"].as_str().filter(|data| data.len() <= 1_365_336).ok_or("no data")?;
        STANDARD.decode(data).map_err(|error| format!("not base64: {error}"))
    };
    let records = records.ok_or("no records")?.iter().map(record).collect::<Result<_, String>>()?;
    Ok(Received { line, headers, id, body, json, records })
}
