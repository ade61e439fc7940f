//! The endpoint over TLS and HTTP/2, by hyper: nothing else is offered, so whoever comes has negotiated it.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::take::take;
use super::{Reaction, State, UnderWay};

pub(in crate::support) fn acceptor(folder: &Path) -> TlsAcceptor {
    let certificates = CertificateDer::pem_file_iter(folder.join("server.pem")).expect("a certificate");
    let certificates = certificates.collect::<Result<_, _>>().expect("a certificate in PEM form");
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).expect("its key");
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("TLS");
    let mut config = config.with_no_client_auth().with_single_cert(certificates, key).expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

pub(super) async fn serve(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    loop {
        let (socket, _) = listener.accept().await.expect("a listener on loopback accepts");
        state.lock().expect("no holder panics").connections += 1;
        let (acceptor, state) = (acceptor.clone(), state.clone());
        tokio::spawn(async move {
            let Ok(socket) = acceptor.accept(socket).await else { return };
            let service = service_fn(|request| respond(request, state.clone()));
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // A client that was killed breaks its connection.
            let _ = builder.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

/// An error resets the stream.
async fn respond(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Answer>, &'static str> {
    let (_under_way, _) = UnderWay::begin(&state);
    let mut head = format!("{} {} {:?}\r\n", request.method(), request.uri(), request.version());
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().expect("a text")));
    }
    let mut body = request.into_body();
    let mut whole = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        whole.extend_from_slice(&frame.map_err(|_| "cut short")?.into_data().unwrap_or_default());
    }
    let taken = take(&head, whole, &state).map_err(|_| "a complaint")?;
    let status = match taken.reaction {
        Reaction::Accept => 200,
        Reaction::Refuse(status, _) => status,
        _ => return Err("reset"),
    };
    let text = format!(r#"{{"requestId":"{}","timestamp":1578090903599}}"#, taken.id);
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(response.body(Answer(Some(text.into()))).expect("a response"))
}

/// A body of unknown length, as proxies have it.
struct Answer(Option<Bytes>);

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}
