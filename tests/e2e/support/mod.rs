//! What every test here stands on: the real binary, real files, real servers on loopback, and an account of every line.

pub mod admin;
pub mod bulk;
pub mod config;
#[allow(dead_code, unused_imports, reason = "for the tests of the Kinesis source")]
pub mod dynamodb;
pub mod endpoint;
pub mod http1;
pub mod hydrant;
pub mod inventory;
pub mod journal;
#[allow(dead_code, unused_imports, reason = "for the tests of the Kinesis source")]
pub mod kinesis;
#[allow(dead_code, unused_imports, reason = "for the tests of the Kinesis source")]
pub mod kinesis_faults;
pub mod lines;
pub mod objects;
pub mod opensearch;
pub mod packing;
pub mod proxy;
pub mod rng;
pub mod s3;
pub mod scene;
pub mod scratch;
pub mod script;
pub mod servers;
pub mod signature;
pub mod wait;
pub mod wire;

pub use bulk::BulkReceiver;
pub use config::{blockable_directory as blockable, config, directory, fast_buffering, s3_destination, stream};
pub use dynamodb::DynamoDb;
pub use endpoint::{Endpoint, Interruption, Reaction};
pub use hydrant::{Finished, Hydrant, write_config};
pub use kinesis::Kinesis;
pub use kinesis_faults::{CallFault, CallProxy, TlsRelay};
pub use lines::{Ledger, Log};
pub use objects::{Objects, delivered_lines};
pub use opensearch::OpenSearch;
pub use proxy::{Fault, FaultProxy};
pub use rng::Rng;
pub use s3::S3Server;
pub use scene::Scene;
pub use scratch::Scratch;
pub use wait::{DEADLINE, wait_until};
