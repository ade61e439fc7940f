//! Objects in S3 and in stores that speak its protocol.
//!
//! One put is one PutObject with a checksum, conditional on the key being free, and one attempt: the SDK's own retries
//! are off. Nothing that an operator can still put right (credentials, region, permissions, the bucket) fails at the
//! start; it fails the attempts, and after a refusal the next one looks for credentials from scratch.

mod body;
mod classify;
mod probe;
mod read;

pub use read::{Content, Listed};

use std::path::Path;
use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::StalledStreamProtectionConfig;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::types::{ObjectCannedAcl, ServerSideEncryption as Encryption, StorageClass};
use tokio::sync::Mutex;

use crate::aws;
use crate::config::model::{S3Config, ServerSideEncryption};

use super::{AttemptError, BoxFuture, Destination, ErrorClass, Existence, Object, Put};
use classify::Request;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Signs requests to stores that have regions in name only.
const REGION_OF_STORES_WITHOUT: &str = "us-east-1";

pub struct S3Destination {
    config: S3Config,
    /// The SDK's default chain, anew at each call.
    loader: Box<dyn Fn() -> ConfigLoader + Send + Sync>,
    connection: Mutex<Connection>,
}

/// The client, until one of its attempts is refused.
#[derive(Default)]
struct Connection {
    client: Option<Client>,
    /// Counts the clients, so that an attempt with an old one does not take away its successor.
    generation: u64,
}

impl S3Destination {
    /// Loads region and credentials as the SDK finds them. Without a region, the attempts say so and look again.
    pub async fn open(config: &S3Config) -> Self {
        Self::open_with(config, || aws_config::defaults(BehaviorVersion::latest())).await
    }

    pub(crate) async fn open_with(
        config: &S3Config,
        loader: impl Fn() -> ConfigLoader + Send + Sync + 'static,
    ) -> Self {
        let this = Self { config: config.clone(), loader: Box::new(loader), connection: Mutex::default() };
        // A failure here comes again at the first attempt, which reports it.
        let _ = this.client().await;
        this
    }

    async fn client(&self) -> Result<(Client, u64), AttemptError> {
        let mut connection = self.connection.lock().await;
        if let Some(client) = &connection.client {
            return Ok((client.clone(), connection.generation));
        }
        let client = connect(&self.config, (self.loader)()).await?;
        connection.client = Some(client.clone());
        connection.generation += 1;
        Ok((client, connection.generation))
    }

    /// After a refusal, credentials that have appeared or changed since must be found: providers and caches keep what
    /// they have once read.
    async fn forget_client(&self, generation: u64) {
        let mut connection = self.connection.lock().await;
        if connection.generation == generation {
            connection.client = None;
        }
    }

    /// One attempt with the client, within `limit`.
    async fn attempt<T>(
        &self,
        request: &Request<'_>,
        limit: Duration,
        send: impl AsyncFnOnce(&Client) -> Result<T, AttemptError>,
    ) -> Result<T, AttemptError> {
        let attempt = async {
            let (client, generation) = self.client().await?;
            let outcome = send(&client).await;
            if outcome.as_ref().is_err_and(classify::is_about_credentials) {
                self.forget_client(generation).await;
            }
            outcome
        };
        match tokio::time::timeout(limit, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Err(request.timed_out(limit)),
        }
    }

    async fn put_object(&self, client: &Client, object: &Object) -> Result<Put, AttemptError> {
        let request = self.request("PUT", &object.key);
        let checksum = body::checksum(&object.payload).await.map_err(|error| request.payload_unreadable(&error))?;
        let body = body::stream(&object.payload).await.map_err(|error| request.payload_unreadable(&error))?;
        let config = &self.config;
        let mut put = client
            .put_object()
            .bucket(&config.bucket)
            .key(&object.key)
            .body(body)
            .checksum_crc32(checksum)
            .content_type("application/octet-stream")
            .set_content_encoding(object.content_encoding.map(str::to_owned))
            .set_storage_class(config.storage_class.as_deref().map(StorageClass::from))
            .set_acl(config.acl.as_deref().map(ObjectCannedAcl::from))
            .set_if_none_match(config.conditional_put.then(|| "*".to_owned()));
        put = match &config.sse {
            None => put,
            Some(ServerSideEncryption::S3) => put.server_side_encryption(Encryption::Aes256),
            Some(ServerSideEncryption::Kms { key_id }) => {
                put.server_side_encryption(Encryption::AwsKms).ssekms_key_id(key_id)
            }
        };
        // The checksum is signed and vouches for the body. Hashing the body once more for the signature would cost more
        // than the rest of the upload, on an async worker.
        match put.customize().disable_payload_signing().send().await {
            // Every store answers with an ETag; without one, this was some other server's idea of success.
            Ok(answer) if answer.e_tag().is_some() => Ok(Put::Created),
            Ok(_) => Err(request.not_an_answer()),
            Err(error) if config.conditional_put && classify::status(&error) == Some(412) => Ok(Put::AlreadyThere),
            Err(error) => Err(request.failed(&error)),
        }
    }

    async fn head_object(&self, client: &Client, key: &str) -> Result<Existence, AttemptError> {
        match client.head_object().bucket(&self.config.bucket).key(key).send().await {
            Ok(_) => Ok(Existence::Present),
            Err(error) => match classify::status(&error) {
                // A missing bucket looks the same, for want of a body. Putting the object tells.
                Some(404) => Ok(Existence::Absent),
                Some(403) => Ok(Existence::Unknown),
                _ => Err(self.request("HEAD", key).failed(&error)),
            },
        }
    }

    fn request<'a>(&'a self, verb: &'static str, key: &'a str) -> Request<'a> {
        Request { verb, bucket: &self.config.bucket, key, conditional: verb == "PUT" && self.config.conditional_put }
    }
}

impl Destination for S3Destination {
    fn name(&self) -> String {
        format!("s3://{}", self.config.bucket)
    }

    fn staging(&self) -> Option<&Path> {
        None
    }

    fn put<'a>(&'a self, object: &'a Object, may_exist: bool) -> BoxFuture<'a, Result<Put, AttemptError>> {
        // A second for each MiB: a slow link is no dead one.
        let limit = self.config.request_timeout + Duration::from_secs(object.payload.len().div_ceil(1 << 20));
        Box::pin(async move {
            self.attempt(&self.request("PUT", &object.key), limit, async |client| {
                if may_exist
                    && !self.config.conditional_put
                    && self.head_object(client, &object.key).await? == Existence::Present
                {
                    return Ok(Put::AlreadyThere);
                }
                // Where one may not ask, the same content goes under the same key once more.
                self.put_object(client, object).await
            })
            .await
        })
    }

    fn exists<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Existence, AttemptError>> {
        Box::pin(async move {
            let request = self.request("HEAD", key);
            let send = async |client: &Client| self.head_object(client, key).await;
            self.attempt(&request, self.config.request_timeout, send).await
        })
    }
}

/// A client with what the configuration says and what the SDK finds for the rest.
async fn connect(config: &S3Config, loader: ConfigLoader) -> Result<Client, AttemptError> {
    let region_default = config.endpoint_url.as_ref().map(|_| REGION_OF_STORES_WITHOUT);
    let found = aws::load(loader, config.region.as_deref(), region_default, config.assume_role.as_ref()).await;
    let found = found.ok_or_else(|| missing_region(&config.bucket))?;

    let mut client = aws_sdk_s3::config::Builder::from(&found)
        .force_path_style(config.force_path_style)
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        // An attempt has one limit, which the operator knows: `request_timeout_seconds`.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(endpoint_url) = &config.endpoint_url {
        client = client.endpoint_url(endpoint_url);
    }
    Ok(Client::from_conf(client.build()))
}

fn missing_region(bucket: &str) -> AttemptError {
    let message = format!(
        "no region for s3://{bucket}: set `region` in the destination or in `aws`, or AWS_REGION in the environment"
    );
    AttemptError { class: ErrorClass::Denied, code: "MissingRegion".to_owned(), message, ambiguous: false }
}

#[cfg(test)]
pub(crate) mod tests;
