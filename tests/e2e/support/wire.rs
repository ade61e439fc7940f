//! HTTP/1.1 by hand, for receivers that have to be able to break every rule of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;

use super::s3::runtime;
use super::wait::DEADLINE;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method, path and version.
    pub line: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// What is done with the connection.
pub enum Reply {
    /// These bytes; the next request may follow.
    Answer(Vec<u8>),
    /// These bytes, then the end of the connection.
    Last(Vec<u8>),
    /// These bytes and never another, until the client gives up.
    Stall(Vec<u8>),
    /// Closed without a farewell.
    Reset,
}

type Handler = Arc<dyn Fn(Request) -> Reply + Send + Sync>;

/// A server on a port of its own, which can go away and come back.
pub struct Listener {
    address: SocketAddr,
    _reserved: TcpSocket,
    handler: Handler,
    runtime: Option<Runtime>,
}

impl Listener {
    pub fn start(handler: impl Fn(Request) -> Reply + Send + Sync + 'static) -> Self {
        let (address, reserved) = reserve();
        let mut listener = Self { address, _reserved: reserved, handler: Arc::new(handler), runtime: None };
        listener.listen();
        listener
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Nobody listens there any more, and every connection is broken.
    pub fn stop(&mut self) {
        end(self.runtime.take());
    }

    /// Where it was before.
    pub fn listen(&mut self) {
        let runtime = runtime();
        let listener = runtime.block_on(TcpListener::bind(self.address)).expect("a port on loopback");
        runtime.spawn(serve(listener, self.handler.clone()));
        self.runtime = Some(runtime);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port that nobody else is given as long as the socket lives: it does not listen, so whoever connects is refused, and whoever
/// binds the port with `SO_REUSEADDR`, as tokio does, may listen.
fn reserve() -> (SocketAddr, TcpSocket) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option of it");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port on loopback");
    (socket.local_addr().expect("its address"), socket)
}

/// Everything that runs there is gone afterwards, its port is free again.
fn end(runtime: Option<Runtime>) {
    if let Some(runtime) = runtime {
        runtime.shutdown_timeout(DEADLINE);
    }
}

/// An answer with these headers and a `Content-Length`.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} Answer\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

async fn serve(listener: TcpListener, handler: Handler) {
    loop {
        let (socket, _) = listener.accept().await.expect("a listener on loopback accepts");
        tokio::spawn(converse(socket, handler.clone()));
    }
}

async fn converse(mut socket: TcpStream, handler: Handler) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let request = receive(&mut socket, &mut bytes).await?;
        match handler(request) {
            Reply::Answer(answer) => socket.write_all(&answer).await.ok()?,
            Reply::Last(bytes) => {
                socket.write_all(&bytes).await.ok()?;
                return socket.shutdown().await.ok();
            }
            Reply::Stall(bytes) => {
                socket.write_all(&bytes).await.ok()?;
                let _ = socket.read(&mut [0; 1]).await;
                return None;
            }
            Reply::Reset => return socket.set_zero_linger().ok(),
        }
    }
}

/// The next request of a connection; what comes behind it stays in `bytes`.
async fn receive(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Request> {
    let head_end = loop {
        if let Some(at) = memchr::memmem::find(bytes, b"\r\n\r\n") {
            break at + 4;
        }
        more(socket, bytes).await?;
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    while bytes.len() < head_end + length {
        more(socket, bytes).await?;
    }
    let body = bytes[head_end..head_end + length].to_vec();
    bytes.drain(..head_end + length);
    Some(Request { line, headers, body })
}

async fn more(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let count = socket.read_buf(bytes).await.ok()?;
    (count > 0).then_some(())
}

/// Passes connections on to another port of this machine, until it goes away.
pub struct Forwarder {
    address: SocketAddr,
    _reserved: TcpSocket,
    upstream: u16,
    runtime: Option<Runtime>,
}

impl Forwarder {
    pub fn start(upstream: u16) -> Self {
        let (address, reserved) = reserve();
        let mut forwarder = Self { address, _reserved: reserved, upstream, runtime: None };
        forwarder.listen();
        forwarder
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Nobody listens there any more, and every connection is broken.
    pub fn stop(&mut self) {
        end(self.runtime.take());
    }

    /// Where it was before.
    pub fn listen(&mut self) {
        let runtime = runtime();
        let listener = runtime.block_on(TcpListener::bind(self.address)).expect("a port on loopback");
        let upstream = self.upstream;
        runtime.spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.expect("a listener on loopback accepts");
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", upstream)).await.ok()?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await.ok()
                });
            }
        });
        self.runtime = Some(runtime);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop();
    }
}
