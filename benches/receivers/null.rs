//! Receivers that take everything and keep nothing, as fast as they can: only what an answer needs is looked at.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use libdeflater::Decompressor;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Firehose's HTTP endpoint delivery.
    Firehose,
    /// OpenSearch's bulk API.
    Bulk,
}

/// A receiver on a port of its own, until this program ends.
pub struct Null {
    pub port: u16,
    records: Arc<AtomicU64>,
}

impl Null {
    pub fn start(protocol: Protocol) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let (port, records) = (listener.local_addr()?.port(), Arc::new(AtomicU64::new(0)));
        let counter = records.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let counter = counter.clone();
                std::thread::spawn(move || converse(connection, protocol, &counter));
            }
        });
        Ok(Self { port, records })
    }

    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
}

/// Requests of one connection, until the client ends it.
fn converse(mut connection: TcpStream, protocol: Protocol, records: &AtomicU64) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let (mut bytes, mut plain) = (Vec::new(), Vec::new());
    loop {
        bytes.clear();
        let Some((body, gzip)) = receive(&mut connection, &mut bytes)? else { return Ok(()) };
        let head = bytes[..body].to_ascii_lowercase();
        let mut sent = &bytes[body..];
        if gzip {
            let length = inflate(sent, &mut plain)?;
            sent = &plain[..length];
        }
        let (taken, answer) = match protocol {
            Protocol::Firehose => firehose(&head, sent),
            Protocol::Bulk if head.starts_with(b"get ") => (0, WHO_IT_IS.to_vec()),
            Protocol::Bulk => bulk(sent, head.starts_with(b"post /_bulk?filter_path=")),
        };
        records.fetch_add(taken, Ordering::Relaxed);
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", answer.len());
        connection.write_all(head.as_bytes())?;
        connection.write_all(&answer)?;
    }
}

/// One whole request: where its body begins, and whether that is compressed.
fn receive(connection: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<Option<(usize, bool)>> {
    let body = loop {
        if let Some(at) = memchr::memmem::find(bytes, b"\r\n\r\n") {
            break at + 4;
        }
        let before = bytes.len();
        bytes.resize(before + 4096, 0);
        let length = connection.read(&mut bytes[before..])?;
        bytes.truncate(before + length);
        if length == 0 {
            return Ok(None);
        }
    };
    let head = bytes[..body].to_ascii_lowercase();
    let length = field(&head, b"content-length:").and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    let (have, length) = (bytes.len(), length.unwrap_or(0));
    bytes.resize(body + length, 0);
    connection.read_exact(&mut bytes[have..])?;
    Ok(Some((body, field(&head, b"content-encoding:") == Some(b"gzip"))))
}

/// One gzip member, into room that is used again: how many bytes it is.
fn inflate(sent: &[u8], plain: &mut Vec<u8>) -> io::Result<usize> {
    let length = sent.last_chunk().map_or(0, |length| u32::from_le_bytes(*length)) as usize;
    plain.resize(length.max(plain.len()), 0);
    Decompressor::new().gzip_decompress(sent, plain).map_err(io::Error::other)
}

/// Of a head in lower case.
fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = &head[memchr::memmem::find(head, name)? + name.len()..];
    Some(rest[..memchr::memchr(b'\r', rest)?].trim_ascii())
}

fn firehose(head: &[u8], body: &[u8]) -> (u64, Vec<u8>) {
    let id = field(head, b"x-amz-firehose-request-id:").unwrap_or_default();
    let answer = [br#"{"requestId":""#.as_slice(), id, br#"","timestamp":1578090903599}"#].concat();
    (memchr::memmem::find_iter(body, br#"{"data":"#).count() as u64, answer)
}

const WHO_IT_IS: &[u8] = br#"{"name":"null","cluster_name":"null","cluster_uuid":"YQ5GvzYVQ0uI0c1dpTnDvA","version":{"distribution":"opensearch","number":"2.19.5"},"tagline":"The OpenSearch Project: https://opensearch.org/"}"#;

/// A result for each action line, with all that OpenSearch says of it, or with no more than its id and status.
fn bulk(body: &[u8], is_filtered: bool) -> (u64, Vec<u8>) {
    let mut answer = Vec::with_capacity(body.len() / 2);
    answer.extend_from_slice(br#"{"errors":false,"items":["#);
    let id = memchr::memmem::Finder::new(br#""_id":""#);
    let (mut items, mut start, mut is_action) = (0, 0, true);
    for end in memchr::memchr_iter(b'\n', body) {
        if is_action {
            let action = &body[start..end];
            if items > 0 {
                answer.push(b',');
            }
            answer.extend_from_slice(br#"{"create":{"#);
            if let Some(at) = id.find(action) {
                // Ids have no quotes here.
                let length = memchr::memchr(b'"', &action[at + 7..]).map_or(0, |length| at + 7 + length + 1);
                answer.extend_from_slice(&action[at..length.max(at)]);
                answer.push(b',');
            }
            if !is_filtered {
                answer.extend_from_slice(
                    br#""_index":"web","_version":1,"result":"created","_shards":{"total":2,"successful":1,"failed":0},"_seq_no":1,"_primary_term":1,"#,
                );
            }
            answer.extend_from_slice(br#""status":201}}"#);
            items += 1;
        }
        (start, is_action) = (end + 1, !is_action);
    }
    answer.extend_from_slice(b"]}");
    (items, answer)
}
