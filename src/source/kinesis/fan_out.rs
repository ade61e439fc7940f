//! Enhanced fan-out: the service pushes the records of a shard to one consumer, over a connection of the reader's own.
//!
//! ```text
//! waiting ──due──▶ calling ──accepted──▶ open ──last event──▶ ended
//!    ▲                │ error               │ end, error, silence
//!    └────────────────┴─────────────────────┘
//! ```
//!
//! A subscription begins behind the last event that was handed out as a page, never behind one that was on its way: events
//! come whole or not at all.
//!
//! While nobody asks for a page, events wait with the server. Of what is under way, the client holds HTTP/2's window of
//! one stream (2 MB) and the event that is being read. The connection is the reader's own because windows are shared
//! within a connection, too: a few shards at rest would keep all others from reading.

pub mod consumer;
mod event;
mod plan;
mod subscription;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};

use aws_sdk_kinesis::Client;
use tokio::time::Instant;
use tracing::debug;

use super::client::KinesisClient;
use super::page::{ChildShard, Page, ReadError, StartingPosition};
pub use plan::Limits;
use plan::Plan;
use subscription::{Call, Subscription};

/// Reads one shard as a registered consumer.
pub struct FanOutReader {
    client: KinesisClient,
    consumer_arn: String,
    shard_id: String,
    limits: Limits,
    plan: Plan,
    /// The connection of the last subscription, for the next one; it has also learnt how far the service's clock is off.
    connection: Option<Client>,
    stage: Stage,
}

enum Stage {
    Waiting,
    /// Never locked: it lets a reader be shared, as a future alone cannot be.
    Calling(Mutex<Call>),
    Open(Subscription),
    Ended(Vec<ChildShard>),
}

impl FanOutReader {
    /// Nothing is asked for before the first [`Self::next`]. Should the first subscription with `Latest` break before its first
    /// event, the next one begins at what is the latest then.
    pub fn new(client: KinesisClient, consumer_arn: String, shard_id: String, start: StartingPosition) -> Self {
        Self::with_limits(client, consumer_arn, shard_id, start, Limits::default())
    }

    /// With other limits than the service's, for servers and tests that have others.
    pub fn with_limits(
        client: KinesisClient,
        consumer_arn: String,
        shard_id: String,
        start: StartingPosition,
        limits: Limits,
    ) -> Self {
        let (plan, stage) = (Plan::new(start, limits), Stage::Waiting);
        Self { client, consumer_arn, shard_id, limits, plan, connection: None, stage }
    }

    /// Whose events these are.
    pub fn consumer_arn(&self) -> &str {
        &self.consumer_arn
    }

    /// The next event of the shard, as soon as there is one; the service has one every few seconds, with records or without.
    ///
    /// Subscriptions are renewed and failures tried again behind it, within the limits of the service. An error that it tells
    /// stands for [`Limits::tries`] of them, unless one is enough: another reader that has taken the shard over, a refusal, a
    /// shard that is not there. It can be called again after every error, and waits by itself before it asks the service.
    /// After the end of the shard it says so again.
    ///
    /// May be dropped at any await; then the next call goes on where this one was.
    pub async fn next(&mut self) -> Result<Page, ReadError> {
        loop {
            match self.step().await {
                Ok(Some(page)) => return Ok(page),
                Ok(None) => {}
                Err(error) if self.plan.failed(Instant::now(), &error) => return Err(error),
                Err(error) => debug!(shard_id = self.shard_id, %error, "subscription failed, trying again"),
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Page>, ReadError> {
        match &mut self.stage {
            Stage::Waiting => {
                tokio::time::sleep_until(self.plan.due()).await;
                self.call();
                Ok(None)
            }
            Stage::Calling(call) => {
                let (connection, outcome) = call.get_mut().unwrap_or_else(PoisonError::into_inner).await;
                self.answered(connection, outcome)
            }
            Stage::Open(subscription) => match subscription.next().await {
                Ok(Some(event)) => self.heard(event),
                Ok(None) => {
                    self.stage = Stage::Waiting;
                    self.plan.closed(&self.client.named(subscription::OPERATION)).map(|()| None)
                }
                Err(cut) => self.cut(cut),
            },
            Stage::Ended(children) => Ok(Some(Page { ended: Some(children.clone()), ..Page::default() })),
        }
    }

    fn call(&mut self) {
        let target = subscription::Target { consumer_arn: self.consumer_arn.clone(), shard_id: self.shard_id.clone() };
        let call = subscription::call(self.client.clone(), self.connection.take(), target, self.plan.from());
        self.plan.called();
        self.stage = Stage::Calling(Mutex::new(call));
    }

    fn answered(
        &mut self,
        connection: Option<Client>,
        outcome: Result<subscription::Receiver, ReadError>,
    ) -> Result<Option<Page>, ReadError> {
        self.stage = Stage::Waiting;
        // What has not answered as it should may be a connection that is dead without knowing it.
        self.connection = connection.filter(|_| outcome.as_ref().err().is_none_or(subscription::leaves_connection));
        let receiver = outcome?;
        self.plan.accepted(Instant::now());
        self.stage = Stage::Open(Subscription::new(receiver, self.limits.silence));
        Ok(None)
    }

    fn heard(&mut self, event: aws_sdk_kinesis::types::SubscribeToShardEvent) -> Result<Option<Page>, ReadError> {
        let page = event::page(event).map_err(|reason| {
            self.stage = Stage::Waiting;
            self.client.named(subscription::OPERATION).unexpected(&reason)
        })?;
        let page = self.plan.taken(page);
        if let Some(children) = &page.ended {
            self.stage = Stage::Ended(children.clone());
        } else if page.continuation.is_none() {
            self.stage = Stage::Waiting;
        }
        Ok(Some(page))
    }

    fn cut(&mut self, cut: subscription::Cut) -> Result<Option<Page>, ReadError> {
        self.stage = Stage::Waiting;
        let error = cut.error(&self.client.named(subscription::OPERATION));
        let kept = self.connection.take().filter(|_| subscription::leaves_connection(&error));
        if matches!(error, ReadError::NotFound { .. }) {
            let verdict = subscription::verdict(self.client.clone(), kept, self.consumer_arn.clone(), error);
            self.stage = Stage::Calling(Mutex::new(verdict));
            return Ok(None);
        }
        self.connection = kept;
        Err(error)
    }
}
