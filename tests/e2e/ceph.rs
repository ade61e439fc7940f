//! A short run against a real S3 server, Ceph RGW: conditional puts, checksums, gzip.
//!
//! `tests/servers/ceph-s3 run -- cargo test --test e2e ceph::` starts it and sets `HYDRANT_TEST_CEPH_ENDPOINT`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write;

use aws_sdk_s3::Client;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::runtime::Runtime;

use crate::support::lines::Rotation;
use crate::support::rng::seed;
use crate::support::s3::{client, runtime};
use crate::support::{
    Fault, FaultProxy, Hydrant, Ledger, Log, Objects, Scratch, config, s3_destination, stream, wait_until, write_config,
};

/// The server's address, or why the test is skipped; where servers are required a missing one fails.
fn endpoint() -> Option<String> {
    if let Ok(endpoint) = std::env::var("HYDRANT_TEST_CEPH_ENDPOINT") {
        return Some(endpoint);
    }
    let required = std::env::var("HYDRANT_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
    assert!(!required, "HYDRANT_TEST_CEPH_ENDPOINT is not set, and HYDRANT_REQUIRE_SERVERS=1");
    eprintln!(
        "skipped, no Ceph: tests/servers/ceph-s3 install; tests/servers/ceph-s3 run -- cargo test --test e2e ceph::"
    );
    None
}

struct Bucket {
    runtime: Runtime,
    client: Client,
    name: String,
}

impl Bucket {
    fn create(endpoint: &str) -> Self {
        let bucket = Self { runtime: runtime(), client: client(endpoint), name: format!("hydrant-{:x}", seed("ceph")) };
        let create = bucket.client.create_bucket().bucket(&bucket.name).send();
        bucket.runtime.block_on(create).expect("a bucket made");
        bucket
    }

    fn keys(&self) -> BTreeSet<String> {
        let mut pages = self.client.list_objects_v2().bucket(&self.name).into_paginator().send();
        self.runtime.block_on(async {
            let mut keys = BTreeSet::new();
            while let Some(page) = pages.next().await {
                keys.extend(
                    page.expect("a page").contents().iter().filter_map(|object| object.key().map(str::to_owned)),
                );
            }
            keys
        })
    }

    /// Copies every object into a folder, as one that the account can be checked against.
    fn fetch(&self, scratch: &Scratch) -> Objects {
        let folder = scratch.path("fetched");
        for key in self.keys() {
            let object = self.client.get_object().bucket(&self.name).key(&key).send();
            let object = self.runtime.block_on(object).expect("an object");
            assert_eq!(object.content_encoding(), Some("gzip"), "{key}");
            let data = self.runtime.block_on(object.body.collect()).expect("its data").into_bytes();
            let path = folder.join(&key);
            std::fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("a folder made");
            std::fs::write(path, data).expect("an object written");
        }
        Objects::read(&folder)
    }
}

#[test]
fn ceph_holds_each_line_once_though_answers_are_lost() {
    let Some(endpoint) = endpoint() else { return };
    let scratch = Scratch::new();
    let bucket = Bucket::create(&endpoint);
    let address = endpoint.trim_start_matches("http://").parse().expect("http:// and an address");
    // A lost answer makes Hydrant put again what is there already: the 412 comes from Ceph itself.
    let proxy = FaultProxy::start(address, 1, &[Fault::LostAnswer, Fault::Pass]);
    let mut log = Log::create(&scratch.logs(), "app.log", Rotation::Shift);
    let mut destination = s3_destination(&proxy.endpoint(), &bucket.name);
    destination["s3"]["request_timeout_seconds"] = 10.into();
    let mut stream = stream("ceph", &scratch.logs().join("*.log"), destination);
    stream["compression"] = "gzip".into();
    let config = config(&scratch, [stream]);

    log.append(2_000);
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("answers have been lost, objects are there", || {
        proxy.met(Fault::LostAnswer) >= 2 && proxy.met(Fault::Pass) >= 2
    });
    hydrant.kill_9();
    log.append(1_000);
    proxy.heal();
    Hydrant::drain(&scratch, &config);
    let objects = bucket.fetch(&scratch);
    assert!(objects.len() > 1);
    if let Err(problems) = Ledger::of(&[log]).verify(&objects) {
        panic!("{problems}");
    }
}

#[test]
fn error_objects_of_ceph_are_found_on_all_pages_and_sent_once() {
    const OBJECTS: usize = 1_005; // More than a page has.
    let Some(endpoint) = endpoint() else { return };
    let scratch = Scratch::new();
    let bucket = Bucket::create(&endpoint);
    let mut puts = tokio::task::JoinSet::new();
    for number in 0..OBJECTS {
        let raw = STANDARD.encode(format!("{number:04}"));
        let line = format!("{{\"rawData\":\"{raw}\",\"errorCode\":\"a\",\"attemptsMade\":1,\"arrivalTimestamp\":1}}\n");
        let (body, encoding) = if number % 2 == 0 { (line.into_bytes(), None) } else { (gzip(&line), Some("gzip")) };
        let name = format!("ceph-1-2026-11-21-10-00-00-0f8fad5b-d9cb-469f-a165-{number:012}");
        let put = bucket.client.put_object().bucket(&bucket.name).key(format!("errors/processing-failed/{name}"));
        let put = put.set_content_encoding(encoding.map(str::to_owned)).body(body.into()).send();
        puts.spawn_on(put, bucket.runtime.handle());
        while puts.len() >= 16
            && let Some(put) = bucket.runtime.block_on(puts.join_next())
        {
            put.expect("a task").expect("an error object put");
        }
    }
    for put in bucket.runtime.block_on(puts.join_all()) {
        put.expect("an error object put");
    }
    let mut destination = s3_destination(&endpoint, &bucket.name);
    destination["s3"]["request_timeout_seconds"] = 10.into();
    destination["s3"]["prefix"] = "data/".into();
    destination["s3"]["error_output_prefix"] = "errors/!{firehose:error-output-type}/".into();
    let path = write_config(&scratch, &config(&scratch, [stream("ceph", &scratch.logs().join("*.log"), destination)]));
    std::fs::create_dir_all(scratch.state()).expect("a folder for the state database");
    let redrive = || {
        let args = ["redrive", "--stream", "ceph", "--config"].map(OsStr::new);
        Hydrant::start(&scratch, &[&args[..], &[path.as_os_str()]].concat(), &[]).wait().expect_code(0)
    };
    redrive();
    let again = redrive();
    assert!(again.stderr.contains("1,005  objects whose records were redriven before"), "{again}");
    let mut lines = Vec::new();
    for key in bucket.keys().into_iter().filter(|key| key.starts_with("data/")) {
        let object = bucket.client.get_object().bucket(&bucket.name).key(&key).send();
        let object = bucket.runtime.block_on(object).expect("an object");
        let data = bucket.runtime.block_on(object.body.collect()).expect("its data").into_bytes();
        lines.extend(String::from_utf8_lossy(&data).lines().map(str::to_owned));
    }
    lines.sort_unstable();
    assert_eq!(lines, (0..OBJECTS).map(|number| format!("{number:04}")).collect::<Vec<_>>());
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("memory takes it")
}
