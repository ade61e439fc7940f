//! The admin address: a small HTTP server at which the daemon is asked how it is, and told to redrive.
//!
//! Always true: nothing that comes from the network stops a delivery stream, takes much memory or waits for ever; a web page
//! in somebody's browser can neither read nor tell anything, and only this machine can tell the daemon to do something.
//!
//! [`server`] takes connections, [`guard`] refuses requests by whom they come from, [`routes`] answers them, and [`client`] is
//! the other end.

pub mod client;
mod guard;
mod routes;
mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::model::AdminConfig;
use crate::daemon::Statuses;
use crate::redrive::{Job, Redrives, Report};
use crate::source::ShardCounts;
use server::Server;

/// What is shown of the daemon.
#[derive(Clone)]
pub struct View {
    state_dir: PathBuf,
    statuses: Statuses,
    redrives: Arc<dyn Redrives>,
}

impl View {
    pub fn new(state_dir: &Path, statuses: Statuses, redrives: Arc<dyn Redrives>) -> Self {
        Self { state_dir: canonical(state_dir), statuses, redrives }
    }
}

/// The answer of `GET /health`. That there is one means that the daemon runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub version: String,
    /// By which a client knows that it has reached the daemon that it means.
    pub state_dir: PathBuf,
    pub delivery_streams: Vec<StreamHealth>,
}

/// One delivery stream since the start of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHealth {
    pub name: String,
    pub records_read: u64,
    pub records_delivered: u64,
    pub restarts: u64,
    /// Of a Kinesis stream: how far the shard that is furthest behind is behind its newest record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millis_behind_latest: Option<u64>,
    /// Of a Kinesis stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<ShardCounts>,
    /// What is in the way at present.
    pub problem: Option<String>,
}

/// The body of `POST /redrive`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedriveRequest {
    pub stream: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<jiff::Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<std::num::NonZeroU32>,
}

impl RedriveRequest {
    /// By the clock of whoever does it.
    pub fn begin(self, now: jiff::Timestamp) -> Job {
        let Self { stream, prefix, written_by, since, rate } = self;
        Job { stream, prefix, written_by, since, rate, began: Job::beginning(now) }
    }
}

/// The answer of `POST /redrive`: the redrive is journalled and has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    pub job: Job,
}

/// The answer of `GET /redrive`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reports {
    pub redrives: Vec<Report>,
}

/// Whatever the address, if there is one.
pub struct Admin {
    view: View,
    running: Option<(AdminConfig, Server)>,
}

impl Admin {
    /// Listens nowhere yet.
    pub fn new(view: View) -> Self {
        Self { view, running: None }
    }

    /// Listens where the configuration says now, and nowhere else. An address that cannot be had is tried again and again.
    pub async fn apply(&mut self, config: Option<AdminConfig>) {
        if self.running.as_ref().map(|(running, _)| *running) == config {
            return;
        }
        self.stop().await;
        self.running = config.map(|config| (config, Server::start(config.listen, self.view.clone())));
    }

    pub async fn stop(&mut self) {
        if let Some((_, server)) = self.running.take() {
            server.stop().await;
        }
    }
}

/// The same folder by the same name.
fn canonical(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}
