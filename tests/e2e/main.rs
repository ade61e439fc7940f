//! End to end, through the real binary: files in, objects out, each record exactly once.
//!
//! One test crate, because every one of them links the whole of S3. `support` is what the rest stands on.

mod absent;
mod backlog;
mod backup;
mod byte_order;
mod ceph;
mod check_online;
mod commands;
mod conversion;
mod copies;
mod crash;
mod deletion;
mod delivered;
mod delivery;
mod disk;
mod faults;
mod files;
mod harness;
mod http_endpoint;
mod identity;
mod inotify;
mod memory;
mod model;
mod new_transform;
mod parquet_files;
mod partition_columns;
mod partitions;
mod preallocated;
mod processing;
mod quickstart;
mod races;
mod records;
mod recovery;
mod reload;
mod reprocessing;
mod rotation;
mod schema;
mod shutdown;
mod streams;
mod support;
mod transforms;
mod truncation;
mod twins;
