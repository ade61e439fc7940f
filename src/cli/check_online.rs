//! `hydrant check --online`: whether what the configuration names can be read, written and reached.
//!
//! Always true: no record is read or sent, and nothing is left behind.

use std::fmt::Display;
use std::io;

use tokio::runtime::{Builder, Runtime};

use super::check_schemas::Found;
use crate::config::model::{
    BackupMode, DeliveryStreamConfig, DestinationConfig, FileSourceConfig, HttpEndpointConfig, KinesisSourceConfig,
    ObjectStoreConfig, SourceConfig,
};
use crate::destination::directory;
use crate::destination::http_endpoint::HttpEndpoint;
use crate::destination::opensearch;
use crate::destination::s3::S3Destination;
use crate::source::{file, kinesis};

/// So many are named.
const NAMED_MAX: usize = 5;

pub(super) struct Online {
    runtime: Runtime,
    found: Found,
}

impl Online {
    pub fn new() -> io::Result<Self> {
        Ok(Self { runtime: Builder::new_current_thread().enable_all().build()?, found: Found::Good })
    }

    pub fn found(&self) -> Found {
        self.found
    }

    /// Lines about what is there, and errors about what is not.
    pub fn look(&mut self, stream: &DeliveryStreamConfig) {
        match &stream.source {
            SourceConfig::File(source) => self.source(&stream.name, source),
            SourceConfig::Kinesis(source) => self.kinesis(&stream.name, source),
            SourceConfig::Redrive(_) => {}
        }
        let size = stream.buffering.size;
        let mut stores = Vec::new();
        match &stream.destination {
            DestinationConfig::Objects(store) => stores.push((store, size)),
            DestinationConfig::HttpEndpoint(endpoint) => self.endpoint(&stream.name, endpoint),
            DestinationConfig::OpenSearch(cluster) => {
                let found = self.runtime.block_on(opensearch::probe(cluster)).map(|line| vec![line]);
                self.show(&stream.name, &stream.destination.place(), found);
            }
        }
        let backup = stream.backup.as_ref().filter(|backup| backup.mode == BackupMode::All);
        stores.extend(backup.map(|backup| (&backup.destination, backup.buffering.size)));
        stores.push((&stream.error_output.destination, stream.error_output.buffering.size));
        let mut seen = Vec::new();
        for (store, size) in stores {
            let place = (store.place(), beginning(store).to_owned());
            if !seen.contains(&place) {
                self.store(&stream.name, store, size);
                seen.push(place);
            }
        }
    }

    fn source(&mut self, stream: &str, source: &FileSourceConfig) {
        let found = match file::probe(source) {
            Ok(found) => found,
            Err(error) => return self.failed(stream, &format!("source: {error}")),
        };
        let files = counted(found.files, "file matches", "files match");
        println!("  source: {files}, {}", counted(found.watched, "folder is watched", "folders are watched"));
        for (path, error) in found.unreadable.iter().take(NAMED_MAX) {
            self.failed(stream, &format!("source: {} cannot be read: {error}", path.display()));
        }
        if found.unreadable.len() > NAMED_MAX {
            self.failed(stream, &format!("source: {} more cannot be read", found.unreadable.len() - NAMED_MAX));
        }
        for (folder, error) in found.unwatched.iter().take(NAMED_MAX) {
            let folder = folder.display();
            eprintln!("warning: {stream}: {folder} cannot be watched and is polled: {error}");
        }
    }

    fn kinesis(&mut self, stream: &str, source: &KinesisSourceConfig) {
        let found = self.runtime.block_on(kinesis::probe::probe(source));
        self.show(stream, &source.place(), found);
        if let Some(table) = source.lease_table() {
            match self.runtime.block_on(kinesis::probe::probe_table(table, &source.application_name)) {
                found @ Ok(_) => self.show(stream, &format!("lease table {}", table.table), found),
                // It names the table.
                Err(error) => self.failed(stream, &error.to_string()),
            }
        }
    }

    fn store(&mut self, stream: &str, store: &ObjectStoreConfig, size: u64) {
        let found = match store {
            ObjectStoreConfig::Directory(directory, _) => directory::probe(&directory.path, size),
            ObjectStoreConfig::S3(s3, _) => {
                let look = async { S3Destination::open(s3).await.probe(beginning(store)).await };
                self.runtime.block_on(look)
            }
        };
        self.show(stream, &store.place(), found);
    }

    fn endpoint(&mut self, stream: &str, endpoint: &HttpEndpointConfig) {
        let found = self.runtime.block_on(HttpEndpoint::new(endpoint).probe());
        self.show(stream, endpoint.place(), found);
    }

    fn show(&mut self, stream: &str, place: &str, found: Result<Vec<String>, impl Display>) {
        match found {
            Ok(lines) => lines.iter().for_each(|line| println!("  {place}: {line}")),
            Err(error) => self.failed(stream, &format!("{place}: {error}")),
        }
    }

    fn failed(&mut self, stream: &str, message: &str) {
        eprintln!("{stream}: {message}");
        self.found = self.found.max(Found::Unknown);
    }
}

/// What all its keys begin with.
fn beginning(store: &ObjectStoreConfig) -> &str {
    store.layout().prefix.text().split("!{").next().unwrap_or_default()
}

fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}
