//! The admin address, asked byte by byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::wait::{DEADLINE, wait_until};

/// An address that is free now, and that a server may be given.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port on loopback")
}

/// An answer: its status, its head and its body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a body of JSON")
    }
}

/// Sends these bytes and reads to the end. `None` where nobody listens or the connection ends without an answer.
pub fn send(address: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    stream.set_write_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    // Who has heard enough may answer and close before it has read all.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
}

pub fn get(address: SocketAddr, path: &str) -> Option<Answer> {
    send(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())
}

pub fn post(address: SocketAddr, path: &str, body: &str) -> Option<Answer> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    send(address, format!("{head}{body}").as_bytes())
}

/// Waits until a daemon answers there.
#[track_caller]
pub fn wait_for(address: SocketAddr) -> Value {
    let mut health = None;
    wait_until("the admin address answers", || {
        health = get(address, "/health").filter(|answer| answer.status == 200);
        health.is_some()
    });
    health.expect("an answer").json()
}
