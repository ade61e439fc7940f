//! Files → objects, in every compression, to a directory and to S3.

use serde_json::json;

use crate::support::objects::keys;
use crate::support::s3::BUCKET;
use crate::support::{
    Hydrant, Ledger, Log, Objects, S3Server, Scratch, config, delivered_lines, directory, lines::Rotation,
    s3_destination, stream, wait_until,
};

/// Compression, and what its objects' keys end with.
const COMPRESSIONS: [(&str, &str); 6] = [
    ("none", ""),
    ("gzip", ".gz"),
    ("snappy", ".snappy"),
    ("hadoop_snappy", ".snappy"),
    ("zip", ".zip"),
    ("zstd", ".zst"),
];

fn three_logs(scratch: &Scratch, lines: u64) -> Ledger {
    let mut logs: Vec<Log> =
        ["a.log", "b.log", "c.log"].map(|name| Log::create(&scratch.logs(), name, Rotation::Shift)).into();
    logs.iter_mut().for_each(|log| log.append(lines));
    Ledger::of(&logs)
}

#[test]
fn every_compression_delivers_each_line_once() {
    let scratch = Scratch::new();
    let ledger = three_logs(&scratch, 2_000);
    let streams = COMPRESSIONS.map(|(compression, _)| {
        let destination = directory(&scratch.out().join(compression));
        let mut stream = stream(compression, &scratch.logs().join("*.log"), destination);
        stream["compression"] = compression.into();
        stream
    });
    Hydrant::drain(&scratch, &config(&scratch, streams));
    for (compression, extension) in COMPRESSIONS {
        let folder = scratch.out().join(compression);
        ledger.assert_exactly_once(&folder);
        let names = keys(&folder);
        assert!(names.len() > 1, "0.1 MB buffers make several objects of this: {names:?}");
        for name in names {
            check_default_key(&name, compression, extension);
        }
    }
}

/// `yyyy/MM/dd/HH/<stream>-1-yyyy-MM-dd-HH-mm-ss-<uuid><extension>`
fn check_default_key(key: &str, stream: &str, extension: &str) {
    let parts: Vec<&str> = key.split('/').collect();
    let [year, month, day, hour, name] = parts[..] else { panic!("{key} has not five parts") };
    let rest = name.strip_prefix(&format!("{stream}-1-")).unwrap_or_else(|| panic!("{key} lacks stream and version"));
    let time = format!("{year}-{month}-{day}-{hour}-");
    assert!(rest.starts_with(&time), "{key}: folder and name hold the same instant");
    let id = &rest["yyyy-MM-dd-HH-mm-ss-".len()..];
    let id = id.strip_suffix(extension).unwrap_or_else(|| panic!("{key} lacks {extension}"));
    assert_eq!(id.len(), 36, "{key} ends with a UUID");
    assert!(id.chars().all(|c| c == '-' || c.is_ascii_hexdigit()), "{key} ends with a UUID");
}

#[test]
fn a_drain_goes_on_where_the_last_one_ended() {
    let scratch = Scratch::new();
    let mut log = Log::create(&scratch.logs(), "app.log", Rotation::Shift);
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    for _ in 0..3 {
        log.append(700);
        Hydrant::drain(&scratch, &config);
        Ledger::of(std::slice::from_ref(&log)).assert_exactly_once(&scratch.out());
    }
    let before = keys(&scratch.out());
    Hydrant::drain(&scratch, &config);
    assert_eq!(keys(&scratch.out()), before, "nothing new, no new objects");
}

#[test]
fn bytes_that_are_not_utf_8_pass_unharmed() {
    let scratch = Scratch::new();
    let bytes: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').chain(*b"\n\xff\xfe\x00\n\r\n").collect();
    scratch.log("raw.log", &bytes);
    Hydrant::drain(
        &scratch,
        &config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]),
    );
    let objects = Objects::read(&scratch.out());
    let delivered: Vec<u8> = objects.iter().flat_map(|(_, data)| data.to_owned()).collect();
    assert_eq!(delivered, bytes);
}

#[test]
fn delimiters_are_what_the_configuration_says() {
    let scratch = Scratch::new();
    scratch.log("a.log", "one|two\nhalves|three|");
    let mut stream = stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()));
    stream["source"]["file"]["record_delimiter"] = "|".into();
    stream["output_delimiter"] = "".into();
    Hydrant::drain(&scratch, &config(&scratch, [stream]));
    let objects = Objects::read(&scratch.out());
    let delivered: Vec<u8> = objects.iter().flat_map(|(_, data)| data.to_owned()).collect();
    assert_eq!(delivered, b"onetwo\nhalvesthree");
}

#[test]
fn s3_gets_gzip_objects_under_evaluated_prefixes() {
    let scratch = Scratch::new();
    let s3 = S3Server::start(&scratch.path("s3"));
    let ledger = three_logs(&scratch, 3_000);
    let mut destination = s3_destination(&s3.endpoint(), BUCKET);
    destination["s3"]["prefix"] = "web/!{timestamp:yyyy'/month='MM}/!{firehose:random-string}/".into();
    destination["s3"]["error_output_prefix"] = "errors/!{firehose:error-output-type}/".into();
    destination["s3"]["file_extension"] = ".log.gz".into();
    destination["s3"]["time_zone"] = "Asia/Tokyo".into();
    let mut stream = stream("web", &scratch.logs().join("*.log"), destination);
    stream["compression"] = "gzip".into();
    Hydrant::drain(&scratch, &config(&scratch, [stream]));
    ledger.assert_exactly_once(&s3.bucket());
    for key in keys(&s3.bucket()) {
        let parts: Vec<&str> = key.split('/').collect();
        let [web, year, month, random, name] = parts[..] else { panic!("{key} has not five parts") };
        assert_eq!((web, year.len()), ("web", 4), "{key}");
        assert!(month.starts_with("month=") && month.len() == 8, "{key}");
        assert_eq!(random.len(), 11, "{key}");
        assert!(name.starts_with(&format!("web-1-{year}-")) && name.ends_with(".log.gz"), "{key}");
    }
}

#[test]
fn s3_without_conditional_puts_is_looked_up_first() {
    let scratch = Scratch::new();
    let s3 = S3Server::start(&scratch.path("s3"));
    let ledger = three_logs(&scratch, 1_000);
    let mut destination = s3_destination(&s3.endpoint(), BUCKET);
    destination["s3"]["conditional_put"] = false.into();
    Hydrant::drain(&scratch, &config(&scratch, [stream("s", &scratch.logs().join("*.log"), destination)]));
    ledger.assert_exactly_once(&s3.bucket());
}

#[test]
fn a_wrong_secret_delivers_nothing_and_is_shouted_about() {
    let scratch = Scratch::new();
    let s3 = S3Server::start(&scratch.path("s3"));
    let ledger = three_logs(&scratch, 100);
    let destination = s3_destination(&s3.endpoint(), BUCKET);
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), destination)]);
    let wrong = [("AWS_SECRET_ACCESS_KEY", "not-the-secret")];
    let hydrant = Hydrant::run_with_env(&scratch, &config, &wrong);
    wait_until("the refusal is in the log", || hydrant.stderr().contains("SignatureDoesNotMatch"));
    let stderr = hydrant.kill_9().stderr;
    assert!(stderr.contains("ERROR"), "a person must act, so it is an error:\n{stderr}");
    assert!(!stderr.contains("not-the-secret"), "secrets never appear:\n{stderr}");
    assert_eq!(keys(&s3.bucket()), Vec::<String>::new());
    Hydrant::drain(&scratch, &config);
    ledger.assert_exactly_once(&s3.bucket());
}

#[test]
fn several_delivery_streams_read_one_file_each_on_its_own() {
    let scratch = Scratch::new();
    let mut log = Log::create(&scratch.logs(), "app.log", Rotation::Shift);
    let glob = scratch.logs().join("*.log");
    let first = || stream("first", &glob, directory(&scratch.out().join("first")));
    let second = || stream("second", &glob, directory(&scratch.out().join("second")));
    log.append(300);
    Hydrant::drain(&scratch, &config(&scratch, [first()]));
    log.append(300);
    Hydrant::drain(&scratch, &config(&scratch, [first(), second()]));
    let ledger = Ledger::of(&[log]);
    ledger.assert_exactly_once(&scratch.out().join("first"));
    ledger.assert_exactly_once(&scratch.out().join("second"));
}

#[test]
fn a_dead_destination_stops_only_its_own_stream() {
    let scratch = Scratch::new();
    let ledger = three_logs(&scratch, 500);
    let glob = scratch.logs().join("*.log");
    // Port 9 of loopback: nobody listens there.
    let dead = stream("dead", &glob, s3_destination("http://127.0.0.1:9", BUCKET));
    let alive = stream("alive", &glob, directory(&scratch.out()));
    let _hydrant = Hydrant::run(&scratch, &config(&scratch, [dead, alive]));
    wait_until("the other stream has delivered all", || ledger.verify(&Objects::read(&scratch.out())).is_ok());
}

#[cfg(debug_assertions)]
#[test]
fn a_panic_in_one_stream_restarts_that_stream_alone() {
    let scratch = Scratch::new();
    let ledger = three_logs(&scratch, 1_000);
    let glob = scratch.logs().join("*.log");
    let folders = ["panics", "calm"].map(|name| scratch.out().join(name));
    let streams = [stream("panics", &glob, directory(&folders[0])), stream("calm", &glob, directory(&folders[1]))];
    let env = [("HYDRANT_PANIC_STREAM", "panics")];
    let hydrant = Hydrant::run_with_env(&scratch, &config(&scratch, streams), &env);
    for folder in &folders {
        wait_until("all is delivered", || ledger.verify(&Objects::read(folder)).is_ok());
    }
    let stderr = hydrant.terminate().expect_code(0).stderr;
    assert!(stderr.contains("panics") && stderr.contains("ERROR"), "it says so:\n{stderr}");
    folders.iter().for_each(|folder| ledger.assert_exactly_once(folder));
}

#[test]
fn a_folder_that_may_not_be_written_heals() {
    let scratch = Scratch::new();
    scratch.log("a.log", "one\ntwo\n");
    // A file stands where the folder should be: not even root can write below it.
    let blocked = scratch.out().join("blocked");
    std::fs::write(&blocked, "in the way").expect("a file in the way");
    let destination = json!({ "directory": { "path": blocked.join("below") } });
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), destination)]);
    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("it is in the log", || {
        hydrant.stderr().contains("ENOTDIR") || hydrant.stderr().contains("ot a directory")
    });
    drop(hydrant);
    std::fs::remove_file(&blocked).expect("the file is ours");
    Hydrant::drain(&scratch, &config);
    assert_eq!(delivered_lines(&blocked.join("below")), ["one", "two"]);
}
