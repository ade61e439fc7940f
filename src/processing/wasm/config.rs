//! A `wasm` step as it is configured.

use std::time::Duration;

use serde::Serialize;

use super::Component;

/// Instances of a step that wait for a batch.
pub(super) const IDLE_MAX: usize = 16;

/// A component, what it is told, and what it may take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WasmConfig {
    pub component: Component,
    /// JSON, for the component's `init`; `null` without one.
    pub config: String,
    /// The sum of an instance's linear memories. `memory_mb`, 1 to 4096, default 64.
    pub memory_bytes_max: u64,
    /// CPU time of one call, and as much again for `init`. `timeout_ms`, 1 to 300,000, default 1000. Lambda's limit is 5 minutes.
    pub timeout: Duration,
    /// Bytes of records in one call. `batch_mb`, 0.2 to 3 as for Lambda, default 1.
    pub batch_bytes_max: u64,
    /// How often a batch is tried again after a time-out or for want of memory. 0 to 300, default 3, as for Lambda.
    pub retries: u32,
    pub on_failure: OnFailure,
    pub instances: Instances,
}

impl WasmConfig {
    /// Instances that wait for their next batch while a stream has so many calls at a time. Calls that run where they take no core
    /// from others make their own, and may all do so.
    pub fn idle_instances_max(&self, calls: u64) -> u64 {
        match self.instances {
            Instances::Fresh => 0,
            Instances::Reuse => calls.min(IDLE_MAX as u64),
        }
    }
}

/// What happens when the component fails for every batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The stream waits and tries again, as it does for a destination that is down.
    #[default]
    Wait,
    /// Records go to the error output until it works again.
    Backup,
}

/// Which instance a batch meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Instances {
    /// A new one, after `init`: nothing of an earlier batch is left.
    #[default]
    Fresh,
    /// One that has seen other batches, until its memory has grown past half of `memory_mb`.
    Reuse,
}
