//! The consumer that a source reads with by enhanced fan-out: registered at the start, again where somebody has taken the
//! registration away meanwhile, and by choice deregistered at the end.

use std::time::Duration;

use tracing::{info, warn};

use super::client::KinesisClient;
use super::fan_out::consumer;
use super::patience::Patience;

/// How long the end of a source waits for the service.
const DEREGISTER_TIMEOUT: Duration = Duration::from_secs(5);
/// Before a consumer is used again that the service finds by its name, but not by its ARN.
const CONTRADICTION_PAUSE: Duration = Duration::from_secs(1);

/// A consumer that is registered.
pub struct Registration {
    client: KinesisClient,
    stream_arn: String,
    name: String,
    deregisters: bool,
    consumer_arn: String,
}

impl Registration {
    /// Waits until the consumer can be used. May be dropped at any await.
    pub async fn begin(
        client: KinesisClient,
        stream_arn: String,
        name: String,
        deregisters: bool,
        patience: &Patience,
    ) -> Self {
        let consumer_arn = register(&client, &stream_arn, &name, patience).await;
        Self { client, stream_arn, name, deregisters, consumer_arn }
    }

    /// Of the present registration.
    pub fn consumer_arn(&self) -> &str {
        &self.consumer_arn
    }

    /// A reader was told that the consumer `missing` is not there. All shards of a source are told so, and the first one registers.
    pub async fn renew(&mut self, missing: &str, patience: &Patience) {
        if missing != self.consumer_arn {
            return;
        }
        warn!(
            stream = patience.stream,
            consumer_arn = missing,
            "somebody has deregistered the consumer; it is registered anew"
        );
        self.consumer_arn = register(&self.client, &self.stream_arn, &self.name, patience).await;
        if self.consumer_arn == missing {
            tokio::time::sleep(CONTRADICTION_PAUSE).await;
        }
    }

    /// Takes the registration back, if that is configured.
    pub async fn end(self) {
        if !self.deregisters {
            return;
        }
        let consumer_arn = &self.consumer_arn;
        match tokio::time::timeout(DEREGISTER_TIMEOUT, consumer::deregister(&self.client, consumer_arn)).await {
            Ok(Ok(())) => info!(consumer_arn, "the consumer is deregistered"),
            Ok(Err(error)) => warn!(consumer_arn, %error, "the consumer cannot be deregistered; it stays registered"),
            Err(_) => warn!(consumer_arn, "the service does not answer; the consumer may stay registered"),
        }
    }
}

async fn register(client: &KinesisClient, stream_arn: &str, name: &str, patience: &Patience) -> String {
    patience.ask("the consumer cannot be registered", || consumer::register(client, stream_arn, name)).await
}
