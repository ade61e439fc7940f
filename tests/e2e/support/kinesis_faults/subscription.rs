//! SubscribeToShard, made of GetRecords. The server's own sends one event a second, goes on where a closed shard ends, and never lets
//! another reader take a shard over.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::event_stream::event;
use crate::support::http1::{read_body, read_head};

/// A second call for a consumer's shard takes it over, but not within this time.
pub const TAKE_OVER: Duration = Duration::from_secs(5);

const BETWEEN_PAGES: Duration = Duration::from_millis(20);
const BETWEEN_EVENTS: Duration = Duration::from_secs(1);

/// What one call has subscribed to.
pub struct Subscription {
    upstream: SocketAddr,
    /// `None` at the end of the shard.
    iterator: Option<String>,
    continuation: Value,
    sent: Option<Instant>,
}

impl Subscription {
    /// From the position that was asked for; else the status and body of the server's refusal.
    pub async fn open(upstream: SocketAddr, asked: &Value) -> io::Result<Result<Self, (u16, Vec<u8>)>> {
        let stream = asked["ConsumerARN"].as_str().and_then(|arn| arn.split('/').nth(1)).unwrap_or_default();
        let position = &asked["StartingPosition"];
        let start = json!({
            "StreamName": stream,
            "ShardId": asked["ShardId"],
            "ShardIteratorType": position["Type"],
            "StartingSequenceNumber": position["SequenceNumber"],
            "Timestamp": position["Timestamp"],
        });
        let (status, body) = ask(upstream, "GetShardIterator", &start).await?;
        if status != 200 {
            return Ok(Err((status, body)));
        }
        let iterator = parsed(&body)?["ShardIterator"].as_str().map(str::to_owned);
        let continuation = match &position["SequenceNumber"] {
            Value::Null => before(upstream, stream, &asked["ShardId"], position).await?,
            number => number.clone(),
        };
        Ok(Ok(Self { upstream, iterator, continuation, sent: None }))
    }

    /// The next event; none at the end of the shard.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some(iterator) = self.iterator.take() {
            let (status, body) = ask(self.upstream, "GetRecords", &json!({ "ShardIterator": iterator })).await?;
            if status != 200 {
                return Err(io::Error::other(String::from_utf8_lossy(&body).into_owned()));
            }
            let mut page = parsed(&body)?;
            self.iterator = page["NextShardIterator"].as_str().map(str::to_owned);
            let records = page["Records"].take();
            let is_ended = self.iterator.is_none();
            if let Some(last) = records.as_array().and_then(|records| records.last()) {
                self.continuation = last["SequenceNumber"].clone();
            } else if !is_ended && self.sent.is_some_and(|sent| sent.elapsed() < BETWEEN_EVENTS) {
                tokio::time::sleep(BETWEEN_PAGES).await;
                continue;
            }
            self.sent = Some(Instant::now());
            let said = json!({
                "Records": records,
                "ContinuationSequenceNumber": if is_ended { Value::Null } else { self.continuation.clone() },
                "MillisBehindLatest": page["MillisBehindLatest"],
                "ChildShards": page["ChildShards"],
            });
            return Ok(Some(event("event", "SubscribeToShardEvent", &said)));
        }
        Ok(None)
    }
}

/// The sequence number behind which a position without one is: that of the last record before it, or of the shard's beginning.
async fn before(upstream: SocketAddr, stream: &str, shard: &Value, position: &Value) -> io::Result<Value> {
    let (_, body) = ask(upstream, "ListShards", &json!({ "StreamName": stream })).await?;
    let shards = parsed(&body)?;
    let found = shards["Shards"].as_array().and_then(|shards| shards.iter().find(|found| found["ShardId"] == *shard));
    let mut number = found.map(|shard| shard["SequenceNumberRange"]["StartingSequenceNumber"].clone());
    let from = json!({ "StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
    let (_, body) = ask(upstream, "GetShardIterator", &from).await?;
    let mut iterator = parsed(&body)?["ShardIterator"].clone();
    while position["Type"] != "TRIM_HORIZON" && !iterator.is_null() {
        let (_, body) = ask(upstream, "GetRecords", &json!({ "ShardIterator": iterator })).await?;
        let page = parsed(&body)?;
        let records = page["Records"].as_array().cloned().unwrap_or_default();
        let time = position["Timestamp"].as_f64().unwrap_or(f64::MAX);
        let mut older = records.iter().filter(|record| record["ApproximateArrivalTimestamp"].as_f64() < Some(time));
        number = older.next_back().map(|record| record["SequenceNumber"].clone()).or(number);
        iterator = if records.is_empty() { Value::Null } else { page["NextShardIterator"].clone() };
    }
    Ok(number.unwrap_or_default())
}

/// A call of our own.
async fn ask(upstream: SocketAddr, operation: &str, asked: &Value) -> io::Result<(u16, Vec<u8>)> {
    let asked: Value = match asked {
        Value::Object(keys) => {
            keys.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect()
        }
        other => other.clone(),
    };
    let body = asked.to_string();
    let credential = "HYDRANTKEY/20260101/eu-west-1/kinesis/aws4_request";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {upstream}\r\nContent-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: Kinesis_20131202.{operation}\r\nX-Amz-Date: 20260101T000000Z\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(request.as_bytes()).await?;
    let mut ahead = Vec::new();
    let head = read_head(&mut server, &mut ahead).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let body = read_body(&mut server, &mut ahead, &head).await?;
    let body = if head.header("transfer-encoding").is_some() { unchunked(&body) } else { body };
    Ok((head.status().unwrap_or(500), body))
}

/// What is in the chunks of a body.
fn unchunked(mut chunked: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line) = memchr::memmem::find(chunked, b"\r\n") {
        let size = std::str::from_utf8(&chunked[..line]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size) = size.filter(|size| *size > 0) else { break };
        body.extend(&chunked[line + 2..line + 2 + size]);
        chunked = &chunked[line + 2 + size + 2..];
    }
    body
}

fn parsed(body: &[u8]) -> io::Result<Value> {
    serde_json::from_slice(body).map_err(io::Error::other)
}
