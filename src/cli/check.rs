//! `hydrant check`: is the configuration right?

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::check_online::Online;
use super::check_schemas::{Found, Schemas};
use crate::config;
use crate::config::model::{
    BackupMode, Consumer, DestinationConfig, DocumentId, HttpEndpointConfig, KinesisSourceConfig, Leases,
    OpenSearchConfig, SourceConfig,
};
use crate::pool::ComputePool;
use crate::processing::{ProcessorConfig, Stage};

/// Validates the configuration and shows what it says; delivers nothing, and needs neither source nor destination.
///
/// Schemas in the configuration or in a directory are read. Those of other registries are shown as the daemon has last seen
/// them, and asked for with --online.
///
/// With --online sources, destinations and backups are tried, too, by this user and on this machine. Nothing is sent or left
/// behind: files are opened and their folders watched; in a folder a file is written, renamed and removed; in a bucket an upload
/// in parts is begun and given up; to an HTTP endpoint a connection is made; of a Kinesis stream a record is read and thrown away.
#[derive(Args)]
#[command(after_help = "Examples:
  hydrant check --config /etc/hydrant/hydrant.yaml && systemctl reload hydrant
  hydrant check --online          are files, schemas, destinations and backups there, and may they be used?")]
pub struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/hydrant/hydrant.yaml")]
    config: PathBuf,
    /// Ask registries that are elsewhere, and try sources, destinations and backups.
    #[arg(long)]
    online: bool,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let config = match super::load_to_check(&arguments.config) {
        Ok(config) => config,
        Err(status) => return status,
    };
    // Warnings about cached schemas are part of what is found.
    super::log_to_stderr("error");
    let mut schemas = Schemas::new(&config.state_dir, arguments.online);
    let mut online = match arguments.online.then(Online::new).transpose() {
        Ok(online) => online,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(super::FAILED);
        }
    };
    let calls = Stage::chunks_at_a_time(&ComputePool::new()) as u64;
    let mut components = 0;
    for stream in &config.delivery_streams {
        let (hints, to) = (&stream.buffering, stream.destination.place());
        let size = hints.size as f64 / f64::from(1 << 20);
        println!("{}: {} -> {to}", stream.name, stream.source.place());
        match &stream.source {
            SourceConfig::Kinesis(kinesis) => show_kinesis(kinesis),
            SourceConfig::File(_) | SourceConfig::Redrive(_) => {}
        }
        if !stream.processing.is_empty() {
            let steps: Vec<_> = stream.processing.iter().map(|step| step.processor.name()).collect();
            println!("  processed by {}", steps.join(" → "));
        }
        for step in &stream.processing {
            if let ProcessorConfig::Wasm(wasm) = &step.processor {
                let idle = wasm.idle_instances_max(calls);
                let memory = wasm.memory_bytes_max * (calls + idle);
                let (name, mb, ms) = (wasm.component.name(), wasm.memory_bytes_max >> 20, wasm.timeout.as_millis());
                let kept = if idle > 0 { format!(" and {idle} instances kept for the next") } else { String::new() };
                println!(
                    "  {name}: {mb} MB and {ms} ms for a call, up to {} MB for {calls} calls at a time{kept}",
                    memory >> 20
                );
                components += memory;
            }
        }
        if let Some(conversion) = &stream.format_conversion {
            schemas.show(stream, conversion);
        }
        match &stream.destination {
            DestinationConfig::Objects(_) => {
                let compression = match &stream.format_conversion {
                    Some(conversion) => conversion.parquet.compression.to_string(),
                    None => stream.compression.to_string(),
                };
                println!("  buffered up to {size} MB or {:?}, {compression}", hints.interval);
            }
            DestinationConfig::HttpEndpoint(_) | DestinationConfig::OpenSearch(_) => {
                println!("  buffered up to {size} MB or {:?}", hints.interval)
            }
        }
        match &stream.destination {
            DestinationConfig::Objects(store) => println!("  prefix {}", store.layout().prefix.text()),
            DestinationConfig::HttpEndpoint(endpoint) => show_endpoint(endpoint),
            DestinationConfig::OpenSearch(cluster) => show_cluster(cluster),
        }
        let errors = &stream.error_output.destination;
        println!("  failed records -> {} under {}", errors.place(), errors.layout().prefix.text());
        if let Some(backup) = stream.backup.as_ref().filter(|backup| backup.mode == BackupMode::All) {
            let prefix = backup.destination.layout().prefix.text();
            println!("  all source records -> {} under {prefix}", backup.destination.place());
        }
        if let Some(online) = &mut online {
            online.look(stream);
        }
    }
    if components > 0 {
        let limit = config.memory_limit >> 20;
        println!("components may take up to {} MB beside the {limit} MB of memory_limit_mb", components >> 20);
    }
    let found = online.map_or(Found::Good, |online| online.found());
    match schemas.found().max(found) {
        Found::Mistakes => ExitCode::from(super::WRONG),
        Found::Unknown => ExitCode::from(super::FAILED),
        Found::Good => {
            eprintln!("{}: the configuration is valid", arguments.config.display());
            ExitCode::SUCCESS
        }
    }
}

fn show_kinesis(kinesis: &KinesisSourceConfig) {
    let consumer = match &kinesis.consumer {
        Consumer::Polling { interval, .. } => format!("polled every {interval:?}"),
        Consumer::EnhancedFanOut { name, .. } => format!("sent to the consumer {name}"),
    };
    let checkpoints = match &kinesis.leases {
        Leases::Local => "checkpoints in the journal".to_owned(),
        Leases::DynamoDb(leases) => {
            format!("leases and checkpoints in the table {} ({})", leases.table, config::NO_LEASE_TABLES)
        }
    };
    println!("  from {}, {consumer}, {checkpoints}", kinesis.initial_position_text());
    if !kinesis.shards.is_empty() {
        println!("  only {}, and no children", kinesis.shards.join(", "));
    }
}

fn show_endpoint(endpoint: &HttpEndpointConfig) {
    let encoding = if endpoint.gzip_level.is_some() { "gzip" } else { "no content encoding" };
    let (mb, records) = (endpoint.request_bytes_max as f64 / f64::from(1 << 20), endpoint.request_records_max);
    println!("  requests of up to {mb} MB and {records} records, {encoding}, tried again for {:?}", endpoint.retry);
    if !endpoint.url.is_encrypted() && !endpoint.url.is_loopback() {
        eprintln!("warning: {} is not encrypted: records and keys can be read on the way", endpoint.place());
    }
}

fn show_cluster(cluster: &OpenSearchConfig) {
    let encoding = if cluster.gzip_level.is_some() { "gzip" } else { "no content encoding" };
    let ids = match &cluster.documents.id {
        DocumentId::Derived => "derived from positions".to_owned(),
        DocumentId::None => "made by the cluster".to_owned(),
        DocumentId::FromField(field) => format!("from the field `{field}`"),
    };
    let mb = cluster.bulk_bytes_max as f64 / f64::from(1 << 20);
    println!("  index {}, ids {ids}", cluster.index.template().text());
    println!("  bulks of up to {mb} MB, {encoding}, tried for {:?}", cluster.retry);
    for url in cluster.urls.iter().filter(|url| !url.is_encrypted() && !url.is_loopback()) {
        eprintln!("warning: {} is not encrypted: records and keys can be read on the way", url.shown());
    }
}
