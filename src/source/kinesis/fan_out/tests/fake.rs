//! A server of a test's own: HTTP/1.1 on loopback, event stream frames byte by byte, and whatever faults a test wants.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use flate2::Crc;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::source::kinesis::client::{KinesisClient, StreamId};

pub const STREAM_ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/clicks";
pub const CONSUMER_ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/clicks/consumer/hydrant:1";
pub const SHARD_ID: &str = "shardId-000000000000";

pub struct Request {
    pub operation: String,
    pub body: Value,
}

pub enum Answer {
    Json(Value),
    Error(u16, &'static str),
    Stream(Vec<Part>),
}

pub enum Part {
    Bytes(Vec<u8>),
    /// The connection breaks here.
    Break,
    /// Nothing more comes, for as long as the client waits.
    Silence,
}

pub struct Fake {
    address: String,
    counters: Arc<Counters>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
pub struct Counters {
    pub connections: AtomicUsize,
    /// Of event streams, as far as the sockets have taken them.
    pub written: AtomicUsize,
}

type Handler = Arc<Mutex<dyn FnMut(Request) -> Answer + Send>>;

impl Fake {
    pub async fn start(handler: impl FnMut(Request) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let counters = Arc::new(Counters::default());
        let (counted, handler): (_, Handler) = (counters.clone(), Arc::new(Mutex::new(handler)));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                counted.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(socket, handler.clone(), counted.clone()));
            }
        });
        Self { address, counters, _tasks: tasks }
    }

    pub fn client(&self) -> KinesisClient {
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::for_tests())
            .retry_config(aws_sdk_kinesis::config::retry::RetryConfig::disabled())
            .endpoint_url(format!("http://{}", self.address));
        KinesisClient::new(Client::from_conf(config.build()), StreamId::Name("clicks".to_owned()))
    }

    pub fn connections(&self) -> usize {
        self.counters.connections.load(Ordering::SeqCst)
    }

    pub fn written(&self) -> usize {
        self.counters.written.load(Ordering::SeqCst)
    }
}

/// An error is a client that has gone.
async fn serve(socket: TcpStream, handler: Handler, counters: Arc<Counters>) {
    let mut socket = BufReader::new(socket);
    while let Some(request) = read(&mut socket).await {
        let answer = (handler.lock().unwrap())(request);
        if answer_with(&mut socket, answer, &counters).await.is_none() {
            return;
        }
    }
}

async fn read(socket: &mut BufReader<TcpStream>) -> Option<Request> {
    let (mut operation, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(target) = line.strip_prefix("x-amz-target: kinesis_20131202.") {
            operation = target.to_owned();
        }
        if let Some(bytes) = line.strip_prefix("content-length: ") {
            length = bytes.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    Some(Request { operation, body: serde_json::from_slice(&body).unwrap() })
}

/// `None` where the connection is over.
async fn answer_with(socket: &mut BufReader<TcpStream>, answer: Answer, counters: &Counters) -> Option<()> {
    let (status, body) = match answer {
        Answer::Json(body) => (200, body),
        Answer::Error(status, code) => (status, json!({ "__type": code, "message": "because" })),
        Answer::Stream(parts) => return stream(socket, parts, counters).await,
    };
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(format!("{head}{body}").as_bytes()).await.ok()
}

async fn stream(socket: &mut BufReader<TcpStream>, parts: Vec<Part>, counters: &Counters) -> Option<()> {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await.ok()?;
    for part in parts {
        match part {
            Part::Bytes(bytes) => {
                socket.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await.ok()?;
                for piece in bytes.chunks(1 << 16) {
                    socket.write_all(piece).await.ok()?;
                    counters.written.fetch_add(piece.len(), Ordering::SeqCst);
                }
                socket.write_all(b"\r\n").await.ok()?;
            }
            Part::Break => return None,
            Part::Silence => {
                socket.read_u8().await.ok();
                return None;
            }
        }
    }
    socket.write_all(b"0\r\n\r\n").await.ok()
}

/// The frame of an event with records of these numbers.
pub fn event(numbers: impl IntoIterator<Item = u64>, continuation: Option<u64>, children: &[&str]) -> Vec<u8> {
    let records: Vec<_> = numbers.into_iter().map(|number| record(number, "AAAA")).collect();
    event_of(records, continuation, children)
}

pub fn record(number: u64, data: &str) -> Value {
    json!({ "SequenceNumber": number.to_string(), "Data": data, "PartitionKey": "k", "ApproximateArrivalTimestamp": 1.5 })
}

pub fn event_of(records: Vec<Value>, continuation: Option<u64>, children: &[&str]) -> Vec<u8> {
    let child = |id: &&str| json!({ "ShardId": id, "ParentShards": [SHARD_ID], "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": "9" } });
    let children: Vec<_> = children.iter().map(child).collect();
    let payload = json!({
        "Records": records,
        "ContinuationSequenceNumber": continuation.map(|number| number.to_string()),
        "MillisBehindLatest": 7,
        "ChildShards": (!children.is_empty()).then_some(children),
    });
    let headers = [(":message-type", "event"), (":event-type", "SubscribeToShardEvent")];
    frame(&headers, payload.to_string().as_bytes())
}

pub fn initial_response() -> Vec<u8> {
    frame(&[(":message-type", "event"), (":event-type", "initial-response")], b"{}")
}

pub fn exception(code: &str) -> Vec<u8> {
    frame(&[(":message-type", "exception"), (":exception-type", code)], br#"{"message":"because"}"#)
}

/// An error that the service's model does not know.
pub fn unmodeled(code: &str) -> Vec<u8> {
    frame(&[(":message-type", "error"), (":error-code", code), (":error-message", "because")], b"")
}

pub fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    for (name, value) in headers {
        written.push(name.len() as u8);
        written.extend_from_slice(name.as_bytes());
        written.push(7);
        written.extend_from_slice(&(value.len() as u16).to_be_bytes());
        written.extend_from_slice(value.as_bytes());
    }
    let total = (written.len() + payload.len() + 16) as u32;
    let mut frame = [total.to_be_bytes(), (written.len() as u32).to_be_bytes()].concat();
    frame.extend_from_slice(&crc(&frame));
    frame.extend_from_slice(&written);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&crc(&frame));
    frame
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_be_bytes()
}
