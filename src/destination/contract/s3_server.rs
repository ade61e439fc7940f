//! An S3 server in this process, on loopback, with its objects in a folder. It knows nothing of this crate.
//!
//! Conditional puts of one key are atomic in S3. The server behind looks first and writes later, so puts go to it one
//! by one; each only after its body has arrived whole, so that a client that hangs keeps nobody waiting.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpResponse};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};

pub const ACCESS_KEY: &str = "test-access-key";
pub const SECRET_KEY: &str = "test-secret-key";
/// Bytes of the largest body that is taken.
const BODY_MAX: usize = 1 << 30;

/// Runs until it is dropped.
pub struct S3Server {
    pub address: SocketAddr,
    root: PathBuf,
    task: JoinHandle<()>,
}

impl S3Server {
    /// Serves `root`, in which each folder is a bucket, on `address`; port 0 takes a free one.
    pub async fn start(root: &Path, address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let task = tokio::spawn(accept(listener, builder.build()));
        Self { address, root: root.to_owned(), task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn create_bucket(&self, bucket: &str) {
        std::fs::create_dir_all(self.root.join(bucket)).unwrap();
    }

    /// The content of an object.
    pub fn object(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        std::fs::read(self.root.join(bucket).join(key)).ok()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, service: S3Service) {
    let server = Arc::new(Server { service, puts: Mutex::new(()) });
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let server = Arc::clone(&server);
        connections.spawn(async move {
            let answer = service_fn(move |request| Arc::clone(&server).answer(request));
            // A client that goes away in the middle is no fault of the server.
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), answer).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

struct Server {
    service: S3Service,
    puts: Mutex<()>,
}

impl Server {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<HttpResponse, Box<dyn Error + Send + Sync>> {
        let mut request = request.map(Body::from);
        if request.method() != Method::PUT {
            return self.service.call(request).await.map_err(|error| format!("{error:?}").into());
        }
        let body = request.body_mut().store_all_limited(BODY_MAX).await?;
        let _one_by_one = self.puts.lock().await;
        self.service.call(request.map(|_| Body::from(body))).await.map_err(|error| format!("{error:?}").into())
    }
}
