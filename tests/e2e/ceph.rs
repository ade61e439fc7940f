//! A short run against a real S3 server, Ceph RGW: conditional puts, checksums, gzip.
//!
//! `tests/servers/ceph-s3 run -- cargo test --test e2e ceph::` starts it and sets `HYDRANT_TEST_CEPH_ENDPOINT`.

use std::collections::BTreeSet;

use aws_sdk_s3::Client;
use tokio::runtime::Runtime;

use crate::support::lines::Rotation;
use crate::support::rng::seed;
use crate::support::s3::{client, runtime};
use crate::support::{
    Fault, FaultProxy, Hydrant, Ledger, Log, Objects, Scratch, config, s3_destination, stream, wait_until,
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
