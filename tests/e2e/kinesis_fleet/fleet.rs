//! Workers of one application: real processes with the same configuration, each with a state of its own.

use std::ffi::OsStr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::dynamodb::Table;
use crate::support::kinesis::KinesisStream;
use crate::support::{DynamoDb, Hydrant, Kinesis, Objects, Scratch, directory, wait_until};

/// Long enough for a busy machine to renew in time.
pub const FAILOVER_SECONDS: u64 = 4;
pub const FAILOVER: Duration = Duration::from_secs(FAILOVER_SECONDS);
/// From one taking of leases to the next, at most.
pub const CYCLE: Duration = Duration::from_secs(2 * FAILOVER_SECONDS);

pub struct Fleet {
    pub scratch: Scratch,
    source: Value,
}

impl Fleet {
    pub fn new((kinesis, stream): (&Kinesis, &KinesisStream<'_>), (dynamodb, table): (&DynamoDb, &Table<'_>)) -> Self {
        let source = json!({
            "stream": stream.name(),
            "region": "eu-west-1",
            "endpoint_url": kinesis.url(),
            "application_name": table.name(),
            "poll_interval_ms": 500,
            "leases": { "dynamodb": {
                "table": table.name(),
                "endpoint_url": dynamodb.url(),
                "failover_seconds": FAILOVER_SECONDS,
            } },
        });
        Self { scratch: Scratch::new(), source }
    }

    /// A worker of this name.
    pub fn start(&self, worker: &str) -> Hydrant {
        let mut source = self.source.clone();
        source["leases"]["dynamodb"]["worker_id"] = json!(worker);
        let config = json!({
            "state_dir": self.scratch.path(&format!("state-{worker}")),
            "delivery_streams": [{
                "name": "clicks",
                "source": { "kinesis": source },
                "buffering": { "size_mb": 0.1, "interval_seconds": 1, "low_latency": true },
                "destination": directory(&self.scratch.out()),
            }],
        });
        let path = self.scratch.path(&format!("{worker}.yaml"));
        std::fs::write(&path, config.to_string()).expect("the configuration written");
        Hydrant::start(&self.scratch, &["run".as_ref(), OsStr::new("--config"), path.as_os_str()], &[])
    }

    pub fn objects(&self) -> Objects {
        Objects::of(&self.scratch.out())
    }

    /// So many more records have come than there are in these objects.
    #[track_caller]
    pub fn wait_for_more(&self, objects: &mut Objects, more: usize) {
        objects.look();
        let least = objects.lines_total() + more;
        self.wait_for(objects, least);
    }

    /// There are so many records.
    #[track_caller]
    pub fn wait_for(&self, objects: &mut Objects, least: usize) {
        wait_until(&format!("{least} records are delivered"), || {
            objects.look();
            objects.lines_total() >= least
        });
    }
}
