//! The connections of the proxy: each call goes to the server on a connection of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::subscription::Subscription;
use super::{CallFault, Held, Script, event_stream};
use crate::support::http1::{Head, read_body, read_head, reset, until_closed};

const JSON: &str = "application/x-amz-json-1.1";
const EVENTS: &str = "application/vnd.amazon.eventstream";

pub async fn serve(
    listener: TcpListener,
    upstream: SocketAddr,
    script: Arc<Mutex<Script>>,
    mut cuts: watch::Receiver<()>,
) {
    loop {
        let (client, _) = listener.accept().await.expect("a listener on loopback accepts");
        let mut connection = Connection { client, upstream, script: script.clone() };
        cuts.mark_unchanged();
        let mut cuts = cuts.clone();
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = connection.relay() => ended,
                _ = cuts.changed() => Err(cut()),
            };
            if ended.is_err() {
                let _ = reset(connection.client);
            }
        });
    }
}

struct Connection {
    client: TcpStream,
    upstream: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Connection {
    /// The calls of the connection, until either side or a fault ends it; with an error, no farewell is said to the client.
    async fn relay(&mut self) -> io::Result<()> {
        let mut ahead = Vec::new();
        loop {
            let Some(head) = read_head(&mut self.client, &mut ahead).await? else { return Ok(()) };
            let body = read_body(&mut self.client, &mut ahead, &head).await?;
            let target = head.header("x-amz-target").unwrap_or_default();
            let operation = target.rsplit('.').next().unwrap_or_default();
            let asked = serde_json::from_slice(&body).unwrap_or_default();
            let (fault, shard) = self.script.lock().expect("no holder panics").next(operation, asked);
            let call = Asked { head, body, shard, is_subscription: operation == "SubscribeToShard" };
            let answer = match fault {
                CallFault::CutBefore => return Err(cut()),
                CallFault::Hang => return until_closed(&mut self.client).await,
                CallFault::Refused(status, code) => Some(refusal(status, code)),
                CallFault::Answer(status, body) => Some(answer(status, "", JSON, body.as_bytes())),
                CallFault::Exception(code) => Some(answer(200, "", EVENTS, &event_stream::exception(code))),
                CallFault::Pass => self.ask(&call, None).await?,
                CallFault::LostAnswer => self.ask(&call, Some(Shortened { bytes: 0, is_cut: true })).await?,
                CallFault::CutWithin(bytes) => self.ask(&call, Some(Shortened { bytes, is_cut: true })).await?,
                CallFault::StallWithin(bytes) => self.ask(&call, Some(Shortened { bytes, is_cut: false })).await?,
            };
            let Some(answer) = answer else { return Ok(()) };
            self.client.write_all(&answer).await?;
        }
    }

    /// The server's answer; none where the connection ends with it.
    async fn ask(&mut self, call: &Asked, shortened: Option<Shortened>) -> io::Result<Option<Vec<u8>>> {
        if call.is_subscription {
            self.subscribe(call, shortened).await?;
            return Ok(None);
        }
        let mut server = TcpStream::connect(self.upstream).await?;
        server.write_all(&call.head.bytes).await?;
        server.write_all(&call.body).await?;
        let mut ahead = Vec::new();
        let head = read_head(&mut server, &mut ahead).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let body = read_body(&mut server, &mut ahead, &head).await?;
        if let Some(shard) = &call.shard {
            self.script.lock().expect("no holder panics").learn(shard, &body);
        }
        let Some(shortened) = shortened else { return Ok(Some([head.bytes, body].concat())) };
        if shortened.bytes > 0 {
            self.client.write_all(&head.bytes).await?;
            self.client.write_all(&body[..shortened.bytes.min(body.len())]).await?;
        }
        shortened.end(&mut self.client).await?;
        Ok(None)
    }

    /// Events as they come, until the shard ends, the client leaves, another call takes the shard over, or it is ended.
    async fn subscribe(&mut self, call: &Asked, shortened: Option<Shortened>) -> io::Result<()> {
        let asked: serde_json::Value = serde_json::from_slice(&call.body)?;
        let text = |key: &str| asked[key].as_str().unwrap_or_default().to_owned();
        let key = (text("ConsumerARN"), text("ShardId"));
        let Some(ticket) = self.script.lock().expect("no holder panics").subscribe(&key) else {
            return self.client.write_all(&refusal(400, "ResourceInUseException")).await;
        };
        let mut subscription = match Subscription::open(self.upstream, &asked).await? {
            Ok(subscription) => subscription,
            Err((status, body)) => return self.client.write_all(&answer(status, "", JSON, &body)).await,
        };
        let mut left = shortened.as_ref().map_or(usize::MAX, |shortened| shortened.bytes);
        if left > 0 {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {EVENTS}\r\nConnection: close\r\n\r\n");
            self.client.write_all(head.as_bytes()).await?;
        }
        let (mut from, mut to) = self.client.split();
        while left > 0 {
            let event = tokio::select! {
                event = subscription.next() => event?,
                gone = until_closed(&mut from) => return gone,
            };
            let Some(mut event) = event else { break };
            let is_held = self.script.lock().expect("no holder panics").holds(&key, ticket);
            if is_held == Held::ByAnother {
                event = event_stream::exception("ResourceInUseException");
            }
            let count = event.len().min(left);
            if is_held != Held::Ended {
                to.write_all(&event[..count]).await?;
            }
            if is_held != Held::Yes {
                break;
            }
            left -= count;
        }
        match shortened {
            None => Ok(()),
            Some(shortened) => shortened.end(&mut self.client).await,
        }
    }
}

/// A call as it came.
struct Asked {
    head: Head,
    body: Vec<u8>,
    shard: Option<String>,
    is_subscription: bool,
}

/// How much of an answer's body comes; if nothing, then not even its head.
struct Shortened {
    bytes: usize,
    is_cut: bool,
}

impl Shortened {
    async fn end(self, client: &mut TcpStream) -> io::Result<()> {
        match (self.is_cut, self.bytes) {
            (false, _) => until_closed(client).await,
            (true, 0) => Err(cut()),
            // A reset might overtake the bytes.
            (true, _) => Ok(()),
        }
    }
}

fn cut() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

fn refusal(status: u16, code: &str) -> Vec<u8> {
    let body = format!(r#"{{"__type":"{code}","message":"by the fault proxy"}}"#);
    answer(status, &format!("x-amzn-ErrorType: {code}\r\n"), JSON, body.as_bytes())
}

fn answer(status: u16, headers: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} Answer\r\nContent-Type: {content_type}\r\nx-amzn-RequestId: FAULT\r\n{headers}\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
