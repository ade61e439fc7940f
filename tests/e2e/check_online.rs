//! `hydrant check --online`: what can be used is told, what cannot is named, and nothing is left behind.

use std::ffi::OsStr;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::dynamodb::{Row, Table, n, row, s};
use crate::support::hydrant::{binary, command};
use crate::support::kinesis::KinesisStream;
use crate::support::s3::BUCKET;
use crate::support::servers::{certificates, free_port};
use crate::support::{
    DynamoDb, Endpoint, Fault, FaultProxy, Finished, Hydrant, Kinesis, S3Server, Scratch, config, directory,
    s3_destination, stream, write_config,
};

fn check_online(scratch: &Scratch, config: &Value) -> Finished {
    let path = write_config(scratch, config);
    let args = ["check".as_ref(), "--online".as_ref(), "--config".as_ref(), path.as_os_str()];
    Hydrant::start(scratch, &args, &[]).wait()
}

/// `*.log` → destination, with a backup in a folder.
fn to(scratch: &Scratch, name: &str, destination: Value) -> Value {
    let mut stream = stream(name, &scratch.logs().join("*.log"), destination);
    stream["backup"] = directory(&scratch.backup());
    stream
}

fn entries(folder: &Path) -> Vec<String> {
    let walk = walkdir::WalkDir::new(folder).min_depth(1);
    walk.into_iter().map(|entry| entry.expect("an entry").path().display().to_string()).collect()
}

#[test]
fn what_can_be_used_is_told_and_nothing_is_left_behind() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    let s3 = S3Server::start(&scratch.path("s3"));
    certificates(scratch.root(), "server-ca", "server");
    let encrypted = Endpoint::start_http2(scratch.root());
    scratch.log("a.log", "one\n");
    let before = entries(&scratch.path("s3"));
    let http = |endpoint: &Endpoint, tls: Value| json!({ "http_endpoint": { "url": endpoint.url(), "tls": tls } });
    let mut with_s3_backup = to(&scratch, "plain", http(&endpoint, json!({})));
    with_s3_backup["destination"]["http_endpoint"].as_object_mut().expect("keys").remove("tls");
    with_s3_backup["destination"]["http_endpoint"]["auth"] =
        json!({ "sigv4": { "service": "execute-api", "region": "eu-west-1" } });
    with_s3_backup["backup"] = s3_destination(&s3.endpoint(), BUCKET);
    let streams = [
        to(&scratch, "folder", directory(&scratch.path("new/folder"))),
        to(&scratch, "bucket", s3_destination(&s3.endpoint(), BUCKET)),
        with_s3_backup,
        to(&scratch, "encrypted", http(&encrypted, json!({ "ca_file": "server-ca.pem" }))),
    ];
    let finished = check_online(&scratch, &config(&scratch, streams)).expect_code(0);
    let backup = scratch.backup();
    for line in [
        "source: 1 file matches, 1 folder is watched".to_owned(),
        format!("is not there yet and can be made in {}", scratch.root().display()),
        format!("{}: can be written, ", backup.display()),
        format!("s3://{BUCKET}: objects can be written"),
        format!("s3://{BUCKET}: a pending object can be looked for"),
        "a connection can be made; nothing was sent".to_owned(),
        "requests can be signed".to_owned(),
    ] {
        assert!(finished.stdout.contains(&line), "{line}\n{finished}");
    }
    assert_eq!(finished.stdout.matches("a connection can be made").count(), 2, "{finished}");
    assert_eq!(entries(&scratch.path("s3")), before);
    assert!(entries(&backup).is_empty() && !scratch.path("new").exists() && !scratch.state().exists());
    assert!(endpoint.received().is_empty() && encrypted.received().is_empty());
    assert_eq!((endpoint.connections(), encrypted.connections()), (1, 1));
}

#[test]
fn what_cannot_be_used_is_named_and_the_rest_is_told_all_the_same() {
    let scratch = Scratch::new();
    let s3 = S3Server::start(&scratch.path("s3"));
    let denying = FaultProxy::start(s3.address(), 1, &[Fault::AccessDenied]);
    certificates(scratch.root(), "server-ca", "server");
    certificates(scratch.root(), "client-ca", "client");
    let encrypted = Endpoint::start_http2(scratch.root());
    std::fs::write(scratch.path("file"), "").expect("a file in the way");
    let nobody = format!("http://127.0.0.1:{}/in", free_port());
    let http = |url: &str, tls: Value| json!({ "http_endpoint": { "url": url, "tls": tls } });
    let mut refused = to(&scratch, "refused", json!({ "http_endpoint": { "url": nobody } }));
    refused["backup"] = s3_destination(&s3.endpoint(), "not-there");
    let streams = [
        to(&scratch, "folder", directory(&scratch.path("file/folder"))),
        to(&scratch, "denied", s3_destination(&denying.endpoint(), BUCKET)),
        refused,
        to(&scratch, "untrusted", http(&encrypted.url(), json!({ "ca_file": "client-ca.pem" }))),
        to(&scratch, "good", directory(&scratch.out())),
    ];
    let finished = check_online(&scratch, &config(&scratch, streams)).expect_code(1);
    for (stream, reasons) in [
        ("folder", ["ENOTDIR", "a file is in the way"]),
        ("denied", ["AccessDenied", "allow s3:PutObject"]),
        ("refused", ["HttpEndpoint.ConnectionFailed", "no connection to the endpoint"]),
        ("refused", ["s3://not-there", "check `bucket`"]),
        ("untrusted", ["HttpEndpoint.SSLHandshakeFailure", "no connection to the endpoint"]),
    ] {
        let begins = format!("{stream}: ");
        let found = finished
            .stderr
            .lines()
            .any(|line| line.starts_with(&begins) && reasons.iter().all(|reason| line.contains(reason)));
        assert!(found, "{stream}: {reasons:?}\n{finished}");
    }
    assert!(!finished.stderr.contains("good: "), "{finished}");
    assert!(finished.stdout.contains(&format!("{}: can be written", scratch.out().display())), "{finished}");
    assert!(!finished.stderr.contains("the configuration is valid"), "{finished}");
}

#[test]
fn folders_that_cannot_be_watched_are_warned_of() {
    let scratch = Scratch::new();
    scratch.log("a.log", "one\n");
    let path = write_config(
        &scratch,
        &config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]),
    );
    let mut unshared = command("unshare", &scratch);
    unshared.args([
        "--user",
        "--map-root-user",
        "sh",
        "-euc",
        "echo 0 > /proc/sys/user/max_inotify_watches; exec \"$@\"",
        "sh",
    ]);
    unshared.arg(binary()).args([OsStr::new("check"), "--online".as_ref(), "--config".as_ref(), path.as_os_str()]);
    let finished = Hydrant::spawn(&scratch, unshared).wait().expect_code(0);
    assert!(finished.stderr.contains("cannot be watched and is polled"), "{finished}");
    assert!(finished.stdout.contains("source: 1 file matches, 0 folders are watched"), "{finished}");
}

/// A Kinesis stream, its leases in this table.
fn leased(scratch: &Scratch, clicks: &KinesisStream<'_>, table: &Table<'_>) -> Value {
    let (Some(kinesis), Some(dynamodb)) = (Kinesis::shared(), DynamoDb::shared()) else { return Value::Null };
    let leases = json!({ "table": table.name(), "endpoint_url": dynamodb.url() });
    let mut stream = to(scratch, table.name(), directory(&scratch.out()));
    stream["source"] = json!({ "kinesis": {
        "stream": clicks.name(),
        "region": "eu-west-1",
        "endpoint_url": kinesis.url(),
        "application_name": table.name(),
        "leases": { "dynamodb": leases },
    } });
    stream
}

fn lease(shard: &str, owner: Option<&str>, checkpoint: &str) -> Row {
    let mut lease = row([("leaseKey", s(shard)), ("leaseCounter", n(7)), ("checkpoint", s(checkpoint))]);
    lease.extend(owner.map(|owner| ("leaseOwner".to_owned(), s(owner))));
    lease
}

/// What KCL 3 says of itself.
fn migration(version: &str) -> Row {
    let entity_type = s("CLIENT_VERSION_MIGRATION");
    row([("leaseKey", s("Migration3.0")), ("entityType", entity_type), ("cv", s(version))])
}

#[test]
fn lease_tables_are_looked_at_and_stay_as_they_are() {
    let (Some(kinesis), Some(dynamodb)) = (Kinesis::shared(), DynamoDb::shared()) else { return };
    let (scratch, clicks) = (Scratch::new(), kinesis.stream(1));
    let (new, used, migrating) = (dynamodb.table(), dynamodb.table(), dynamodb.table());
    used.create();
    used.put(lease("shardId-000000000000", Some("java"), "SHARD_END"));
    used.put(lease("shardId-000000000001", Some("java"), "TRIM_HORIZON"));
    used.put(lease("shardId-000000000002", None, "TRIM_HORIZON"));
    migrating.create();
    migrating.put(migration("CLIENT_VERSION_UPGRADE_FROM_2X"));
    let before = (used.rows(), migrating.rows());
    let streams = [&new, &used, &migrating].map(|table| leased(&scratch, &clicks, table));
    let finished = check_online(&scratch, &config(&scratch, streams)).expect_code(0);
    for line in [
        format!("Kinesis stream {}: open shards: 1,", clicks.name()),
        "shardId-000000000000 can be read from trim_horizon".to_owned(),
        format!("lease table {}: is not there yet; it is made at the start", new.name()),
        format!("lease table {}: is there; leases: 2, their owners: 1, without an owner: 1", used.name()),
        format!("lease table {}: KCL 3 workers change to leader assignment", migrating.name()),
    ] {
        assert!(finished.stdout.contains(&line), "{line}\n{finished}");
    }
    assert_eq!((used.rows(), migrating.rows()), before);
    assert_eq!(new.status(), None);
}

#[test]
fn lease_tables_that_hydrant_may_not_work_with_are_errors() {
    let (Some(kinesis), Some(dynamodb)) = (Kinesis::shared(), DynamoDb::shared()) else { return };
    let (scratch, clicks) = (Scratch::new(), kinesis.stream(1));
    let tables = [(); 4].map(|()| dynamodb.table());
    tables.iter().for_each(Table::create);
    let [led, several, broken, good] = &tables;
    led.put(migration("CLIENT_VERSION_3X"));
    several.put(lease("123456789012:clicks:1700000000:shardId-000000000000", None, "TRIM_HORIZON"));
    broken.put(lease("shardId-000000000000", None, "nowhere"));
    let streams = tables.each_ref().map(|table| leased(&scratch, &clicks, table));
    let finished = check_online(&scratch, &config(&scratch, streams)).expect_code(1);
    for (table, reasons) in [
        (led, ["is led by KCL 3's leader assignment", "2.x compatibility mode"]),
        (several, ["several streams", "name another one in `leases.dynamodb.table`"]),
        (broken, ["row `shardId-000000000000`", "`nowhere` is no checkpoint"]),
    ] {
        let begins = format!("{}: lease table `{}`", table.name(), table.name());
        let is_told = |line: &str| line.starts_with(&begins) && reasons.iter().all(|reason| line.contains(reason));
        assert!(finished.stderr.lines().any(is_told), "{reasons:?}\n{finished}");
    }
    assert!(finished.stdout.contains(&format!("lease table {}: is there; leases: 0,", good.name())), "{finished}");
}
