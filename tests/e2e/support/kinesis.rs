//! A Kinesis server on loopback. One serves all tests of a run, each with streams of its own; whoever has to kill it starts one of
//! their own.

mod aggregate;
mod stream;

use std::fs::File;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use tokio::runtime::Runtime;

use super::s3::{ACCESS_KEY, SECRET_KEY, runtime};
use super::scratch::Scratch;
use super::script::Script;
use super::servers::free_port;

pub use aggregate::aggregates;
pub use stream::{KinesisStream, Placed, Put, Read, Shard};

/// A running server; it ends with this value, or with the process of the tests.
pub struct Kinesis {
    script: Script,
    client: Client,
    runtime: Runtime,
}

impl Kinesis {
    /// The one for all tests.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: LazyLock<Option<Kinesis>> =
            LazyLock::new(|| Kinesis::start(free_port(), tempfile::tempfile().expect("a file for its log")));
        SHARED.as_ref()
    }

    /// One of the test's own, without what it was told in another life.
    pub fn own(scratch: &Scratch, port: u16) -> Option<Self> {
        Self::start(port, File::create(scratch.path("kinesis.log")).expect("a file for its log"))
    }

    fn start(port: u16, log: File) -> Option<Self> {
        let script = Script::start("kinesis", port, log)?;
        let client = client(&script.url());
        Some(Self { script, client, runtime: runtime() })
    }

    pub fn url(&self) -> String {
        self.script.url()
    }

    pub fn port(&self) -> u16 {
        self.script.port
    }

    /// For calls that are not made here; it tries everything once.
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn block_on<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// A stream with a name that no other test's has, once it is active.
    pub fn stream(&self, shards: usize) -> KinesisStream<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        KinesisStream::create(self, format!("clicks-{}", COUNT.fetch_add(1, Ordering::Relaxed)), shards)
    }
}

/// A client of our own, which tries everything once.
pub fn client(endpoint: &str) -> Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
        .region(Region::new("eu-west-1"))
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}
