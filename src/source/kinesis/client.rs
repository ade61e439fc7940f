//! The service's client of one stream: every call has a limit, is made once, and its error has a meaning.
//!
//! The SDK's own retries are off: readers know better when to ask again. Nothing that an operator can still put right
//! (credentials, region, permissions) fails at the start; it fails the calls, and after a refusal the next one looks for
//! credentials from scratch.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::StalledStreamProtectionConfig;
use aws_sdk_kinesis::config::http::HttpResponse;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use tokio::sync::Mutex;

use super::error::{Call, is_about_credentials};
use super::page::ReadError;
use crate::aws;
use crate::config::model::AssumeRole;
use crate::destination::retry::RetryLimits;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For one call with everything that it takes; the KCL's.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Signs requests to servers that have regions in name only.
const REGION_OF_SERVERS_WITHOUT: &str = "us-east-1";

/// Calls about one stream. Clones share the connection.
#[derive(Clone)]
pub struct KinesisClient {
    pub(super) stream: StreamId,
    connection: Arc<Connection>,
    call_timeout: Duration,
    pub(super) retry_limits: RetryLimits,
}

/// How calls name the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamId {
    Name(String),
    /// `arn:aws:kinesis:<region>:<account>:stream/<name>`
    Arn(String),
}

/// Where the service is, and who calls. What is absent comes from the SDK's default chain.
#[derive(Debug, Clone, Default)]
pub struct ServiceConfig {
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
    pub assume_role: Option<AssumeRole>,
}

struct Connection {
    origin: Origin,
    current: Mutex<Current>,
}

enum Origin {
    /// The SDK's default chain, anew each time.
    Config {
        service: ServiceConfig,
        loader: Box<dyn Fn() -> ConfigLoader + Send + Sync>,
    },
    Given(Client),
}

/// The SDK's client, until one of its calls is refused.
#[derive(Default)]
struct Current {
    client: Option<Client>,
    /// Counts the clients, so that a call with an old one does not take away its successor.
    generation: u64,
}

impl KinesisClient {
    /// With a client that is open already, and stays.
    pub fn new(sdk: Client, stream: StreamId) -> Self {
        Self::with_origin(Origin::Given(sdk), stream)
    }

    /// Region and credentials are looked for at the first call.
    pub fn open(service: ServiceConfig, stream: StreamId) -> Self {
        Self::open_with(service, stream, || aws_config::defaults(BehaviorVersion::latest()))
    }

    pub(crate) fn open_with(
        service: ServiceConfig,
        stream: StreamId,
        loader: impl Fn() -> ConfigLoader + Send + Sync + 'static,
    ) -> Self {
        Self::with_origin(Origin::Config { service, loader: Box::new(loader) }, stream)
    }

    fn with_origin(origin: Origin, stream: StreamId) -> Self {
        let connection = Arc::new(Connection { origin, current: Mutex::default() });
        Self { stream, connection, call_timeout: CALL_TIMEOUT, retry_limits: RetryLimits::default() }
    }

    /// What bounds the delays between calls beyond what the errors say.
    pub fn with_retry_limits(mut self, limits: RetryLimits) -> Self {
        self.retry_limits = limits;
        self
    }

    #[cfg(test)]
    pub(super) fn with_call_timeout(mut self, limit: Duration) -> Self {
        self.call_timeout = limit;
        self
    }

    /// One call, once, within the limit: until it is answered, or with an event stream until the stream has begun.
    /// `send` may be dropped at any await.
    pub(super) async fn call<T, E>(
        &self,
        operation: &'static str,
        send: impl AsyncFnOnce(Client) -> Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<T, ReadError>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let call = self.named(operation);
        let attempt = async {
            let (client, generation) = self.connection.client(call).await?;
            let outcome = send(client).await.map_err(|error| call.failed(&error));
            if outcome.as_ref().is_err_and(is_about_credentials) {
                self.connection.forget_client(generation).await;
            }
            outcome
        };
        let limit = self.call_timeout;
        tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| Err(call.timed_out(limit)))
    }

    /// For errors of an answer's content.
    pub(super) fn named(&self, operation: &'static str) -> Call<'_> {
        Call { operation, stream: self.stream.as_str() }
    }
}

impl fmt::Debug for KinesisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KinesisClient").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl StreamId {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Name(text) | Self::Arn(text) => text,
        }
    }

    /// For calls that take either.
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Self::Name(name) => Some(name.clone()),
            Self::Arn(_) => None,
        }
    }

    /// See [`Self::name`].
    pub(super) fn arn(&self) -> Option<String> {
        match self {
            Self::Name(_) => None,
            Self::Arn(arn) => Some(arn.clone()),
        }
    }
}

impl Connection {
    async fn client(&self, call: Call<'_>) -> Result<(Client, u64), ReadError> {
        let mut current = self.current.lock().await;
        if let Some(client) = &current.client {
            return Ok((client.clone(), current.generation));
        }
        let client = self.origin.client().await.ok_or_else(|| call.without_region())?;
        current.client = Some(client.clone());
        current.generation += 1;
        Ok((client, current.generation))
    }

    /// After a refusal, credentials that have appeared or changed since must be found: providers and caches keep what
    /// they have once read.
    async fn forget_client(&self, generation: u64) {
        let mut current = self.current.lock().await;
        if current.generation == generation {
            current.client = None;
        }
    }
}

impl Origin {
    /// `None` without a region.
    async fn client(&self) -> Option<Client> {
        match self {
            Self::Given(client) => Some(client.clone()),
            Self::Config { service, loader } => connect(service, loader()).await,
        }
    }
}

async fn connect(service: &ServiceConfig, loader: ConfigLoader) -> Option<Client> {
    let region_default = service.endpoint_url.as_ref().map(|_| REGION_OF_SERVERS_WITHOUT);
    let found = aws::load(loader, service.region.as_deref(), region_default, service.assume_role.as_ref()).await?;
    let mut client = aws_sdk_kinesis::config::Builder::from(&found)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        // A call has one limit of its own, and an event stream may rest for as long as it likes.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(endpoint_url) = &service.endpoint_url {
        client = client.endpoint_url(endpoint_url);
    }
    Some(Client::from_conf(client.build()))
}

#[cfg(test)]
mod tests;
