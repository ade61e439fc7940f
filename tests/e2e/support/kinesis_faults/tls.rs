//! The proxy as the service has it: over TLS, with HTTP/2 alone, so that whoever gets an answer has negotiated it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::CallProxy;
use crate::support::endpoint::http2_acceptor;
use crate::support::s3::runtime;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Calls to its endpoint go to the proxy; it ends with this value.
pub struct TlsRelay {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    runtime: Option<Runtime>,
}

impl TlsRelay {
    /// With `server.pem` and `server.key` of this folder.
    pub fn start(folder: &Path, proxy: &CallProxy) -> Self {
        let (runtime, acceptor) = (runtime(), http2_acceptor(folder));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port on loopback");
        let (address, calls) = (listener.local_addr().expect("its address"), Arc::<AtomicUsize>::default());
        runtime.spawn(serve(listener, acceptor, proxy.address, calls.clone()));
        Self { address, calls, runtime: Some(runtime) }
    }

    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    /// How many calls have come, all of them over HTTP/2.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for TlsRelay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, upstream: SocketAddr, calls: Arc<AtomicUsize>) {
    loop {
        let (socket, _) = listener.accept().await.expect("a listener on loopback accepts");
        let (acceptor, calls) = (acceptor.clone(), calls.clone());
        tokio::spawn(async move {
            let Ok(socket) = acceptor.accept(socket).await else { return };
            let service = service_fn(|request: Request<Incoming>| {
                calls.fetch_add(usize::from(request.version() == Version::HTTP_2), Ordering::Relaxed);
                relay(request, upstream)
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // A client that was killed breaks its connection.
            let _ = builder.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

/// An error resets the stream.
async fn relay(request: Request<Incoming>, upstream: SocketAddr) -> Result<Response<Incoming>, Failure> {
    let (head, mut body) = request.into_parts();
    let mut whole = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        whole.extend_from_slice(&frame?.into_data().unwrap_or_default());
    }
    let mut asked = Request::new(Whole(Some(whole.into())));
    (*asked.method_mut(), *asked.headers_mut()) = (head.method, head.headers);
    asked.headers_mut().insert(HOST, upstream.to_string().parse()?);
    let socket = TokioIo::new(TcpStream::connect(upstream).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(socket).await?;
    tokio::spawn(connection);
    let mut answer = sender.send_request(asked).await?;
    for header in [CONNECTION, TRANSFER_ENCODING] {
        answer.headers_mut().remove(header);
    }
    Ok(answer)
}

/// A body that is there already.
struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
