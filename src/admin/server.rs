//! Connections to the admin address, few at a time and each for a short time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::{View, routes};

/// More wait until one of them has ended.
const CONNECTIONS_MAX: usize = 32;
/// From the first byte of a connection to its last.
const CONNECTION_MAX: Duration = Duration::from_secs(30);
const HEADER_MAX: Duration = Duration::from_secs(5);
const HEADER_BYTES_MAX: usize = 16 << 10;
const BIND_RETRY: Duration = Duration::from_secs(5);
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long answers that are under way may take at the end.
const GRACE: Duration = Duration::from_secs(1);

/// Listens until it is stopped.
pub(super) struct Server {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    pub fn start(listen: SocketAddr, view: View) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listen, view, stop.clone()));
        Self { stop, task }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            error!(%error, "the admin address failed");
        }
    }
}

async fn serve(listen: SocketAddr, view: View, stop: CancellationToken) {
    let connections = TaskTracker::new();
    tokio::select! {
        () = stop.cancelled() => {}
        () = accept(listen, view, &connections, &stop) => {}
    }
    connections.close();
    let _ = tokio::time::timeout(GRACE, connections.wait()).await;
}

async fn accept(listen: SocketAddr, view: View, connections: &TaskTracker, stop: &CancellationToken) {
    let listener = bind(listen).await;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (view, stop) = (view.clone(), stop.clone());
                connections.spawn(async move {
                    let _place = place;
                    tokio::select! {
                        () = connection(stream, peer, view) => {}
                        () = async { stop.cancelled().await; tokio::time::sleep(GRACE).await } => {}
                    }
                });
            }
            Err(error) => {
                warn!(%error, "a connection to the admin address could not be taken");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Records flow without the admin address; that it cannot be had is said once.
async fn bind(listen: SocketAddr) -> TcpListener {
    let mut is_said = false;
    loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => {
                info!(%listen, "the admin address is open");
                return listener;
            }
            Err(error) if !is_said => {
                error!(%listen, %error, "the admin address cannot be had; trying again");
                is_said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(BIND_RETRY).await;
    }
}

/// One request and its answer.
async fn connection(stream: TcpStream, peer: SocketAddr, view: View) {
    let answer = service_fn(|request| {
        let view = view.clone();
        async move { Ok::<_, Infallible>(routes::answer(request, peer.ip(), &view).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_MAX).max_buf_size(HEADER_BYTES_MAX).keep_alive(false);
    let served = tokio::time::timeout(CONNECTION_MAX, http.serve_connection(TokioIo::new(stream), answer)).await;
    // Who goes away or is too slow has only itself to blame.
    if let Ok(Err(error)) = served {
        tracing::debug!(%peer, %error, "a connection to the admin address broke off");
    }
}
