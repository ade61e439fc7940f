//! What a configuration means.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::config::*;

const MB: u64 = 1024 * 1024;

fn s3(destination: &ObjectStoreConfig) -> (&S3Config, &ObjectLayout) {
    match destination {
        ObjectStoreConfig::S3(s3, layout) => (s3, layout),
        ObjectStoreConfig::Directory(..) => panic!("{destination:?}"),
    }
}

fn directory(destination: &ObjectStoreConfig) -> (&Path, &ObjectLayout) {
    match destination {
        ObjectStoreConfig::Directory(directory, layout) => (&directory.path, layout),
        ObjectStoreConfig::S3(..) => panic!("{destination:?}"),
    }
}

#[test]
fn the_least_configuration_has_firehoses_defaults() {
    let config = config(STREAM);
    assert_eq!(config.state_dir, Path::new("/var/lib/hydrant"));
    assert_eq!((config.shutdown_timeout, config.memory_limit), (Duration::from_secs(30), 512 * MB));
    assert_eq!(config.admin, None);
    let [stream] = config.delivery_streams.as_slice() else { panic!("{config:?}") };
    let source = stream.source.file().expect("files");
    let expected = FileSourceConfig {
        paths: vec!["/nowhere/*.log".to_owned()],
        exclude: Vec::new(),
        initial_position: InitialPosition::TrimHorizon,
        record_delimiter: b"\n".to_vec(),
        max_record_bytes: 1000 * 1024,
        forget_after: Duration::from_secs(168 * 3600),
        on_oversize: OnOversize::ErrorOutput,
        multiline: None,
        skip_header_lines: 0,
        encoding: encoding_rs::UTF_8,
        is_order_by_mark: false,
        skip_empty: false,
        oldest_first: false,
        on_delivered: OnDelivered::Keep,
    };
    assert_eq!(source, &expected);
    assert_eq!(stream.buffering, BufferingHints { size: 5 * MB, interval: Duration::from_secs(300) });
    assert_eq!((stream.compression, stream.output_delimiter.as_slice()), (Compression::None, &b"\n"[..]));
    assert_eq!(stream.backup, None);
    let (path, layout) = directory(objects(&stream.destination));
    assert_eq!((path, layout.prefix.text()), (Path::new("/nowhere-else"), "!{timestamp:yyyy/MM/dd/HH}/"));
    assert_eq!((layout.file_extension.as_deref(), layout.time_zone.name()), (None, "UTC"));
    let (path, layout) = directory(&stream.error_output.destination);
    assert_eq!(path, Path::new("/nowhere-else"));
    assert_eq!(layout.prefix.text(), "!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/");
    assert_eq!(stream.error_output.buffering, stream.buffering);
}

#[test]
fn every_key_is_read() {
    let config = config(
        r#"
state_dir: state
shutdown_timeout_seconds: 0
memory_limit_mb: 65536
aws: { region: eu-west-1, endpoint_url: "http://127.0.0.1:9000", force_path_style: true }
delivery_streams:
  - name: Web.access_1-a
    source:
      file:
        paths: [./logs//*.log, /nowhere/**/a.log]
        exclude: ["*.gz", logs/old*, "**/tmp/*"]
        initial_position: latest
        record_delimiter: "\r\n"
        max_record_kb: 10
        forget_after_hours: 2
    buffering: { size_mb: 1.5, interval_seconds: 60 }
    compression: { gzip: { level: 12 } }
    output_delimiter: ""
    destination:
      s3:
        bucket: lake
        prefix: "web/!{timestamp:yyyy}/"
        file_extension: .json.gz
        time_zone: Asia/Tokyo
        region: us-east-1
        force_path_style: false
        assume_role: { role_arn: "arn:aws:iam::123456789012:role/r" }
        storage_class: STANDARD_IA
        sse: { kms_key_id: alias/lake }
        acl: bucket-owner-full-control
        conditional_put: false
        request_timeout_seconds: 5
    backup:
      mode: all
      buffering: { low_latency: true, size_mb: 0.1, interval_seconds: 0.2 }
      compression: zstd
      error_output_prefix: "failed/!{firehose:error-output-type}/"
      s3: { bucket: backup, prefix: raw/, time_zone: Europe/Paris, sse: s3, file_extension: .raw }
"#,
    );
    assert_eq!((config.state_dir.as_path(), config.shutdown_timeout), (Path::new("/working/state"), Duration::ZERO));
    let stream = &config.delivery_streams[0];
    let source = stream.source.file().expect("files");
    assert_eq!(source.paths, ["/working/logs/*.log", "/nowhere/**/a.log"]);
    assert_eq!(source.exclude, ["*.gz", "/working/logs/old*", "**/tmp/*"]);
    assert_eq!((source.initial_position, source.max_record_bytes), (InitialPosition::Latest, 10 * 1024));
    assert_eq!(source.forget_after, Duration::from_secs(2 * 3600));
    assert_eq!((source.record_delimiter.as_slice(), stream.output_delimiter.as_slice()), (&b"\r\n"[..], &b""[..]));
    assert_eq!(stream.buffering, BufferingHints { size: 3 * MB / 2, interval: Duration::from_secs(60) });
    assert_eq!(stream.compression, Compression::Gzip { level: 12 });

    let (lake, layout) = s3(objects(&stream.destination));
    let expected = S3Config {
        bucket: "lake".to_owned(),
        region: Some("us-east-1".to_owned()),
        endpoint_url: Some("http://127.0.0.1:9000".to_owned()),
        assume_role: Some(AssumeRole { role_arn: "arn:aws:iam::123456789012:role/r".to_owned(), external_id: None }),
        force_path_style: false,
        storage_class: Some("STANDARD_IA".to_owned()),
        sse: Some(ServerSideEncryption::Kms { key_id: "alias/lake".to_owned() }),
        acl: Some("bucket-owner-full-control".to_owned()),
        conditional_put: false,
        request_timeout: Duration::from_secs(5),
    };
    assert_eq!(lake, &expected);
    assert_eq!((layout.prefix.text(), layout.time_zone.name()), ("web/!{timestamp:yyyy}/", "Asia/Tokyo"));
    assert_eq!(layout.file_extension.as_deref(), Some(".json.gz"));

    let backup = stream.backup.as_ref().unwrap();
    assert_eq!(backup.mode, BackupMode::All);
    assert_eq!(backup.buffering, BufferingHints { size: 104_858, interval: Duration::from_millis(200) });
    assert!(matches!(backup.compression, Compression::Zstd { .. }));
    let (bucket, layout) = s3(&backup.destination);
    assert_eq!((bucket.bucket.as_str(), bucket.region.as_deref()), ("backup", Some("eu-west-1")));
    assert_eq!((bucket.force_path_style, bucket.conditional_put), (true, true));
    assert_eq!(layout.prefix.text(), "raw/!{timestamp:yyyy/MM/dd/HH}/");

    let (bucket, layout) = s3(&stream.error_output.destination);
    assert_eq!(bucket.bucket, "backup");
    assert_eq!(layout.prefix.text(), "failed/!{firehose:error-output-type}/");
    assert_eq!((layout.file_extension.as_deref(), layout.time_zone.name()), (None, "Europe/Paris"));
    assert_eq!(stream.error_output.buffering, backup.buffering);
}

#[test]
fn every_key_of_records_is_read() {
    let source = |keys: &str| {
        let config = config(&STREAM.replace("/nowhere/*.log", &format!("/nowhere/*.log, {keys}")));
        config.delivery_streams[0].source.file().expect("files").clone()
    };
    let start = source("multiline_start: '^\\d', skip_header_lines: 2, oldest_first: true");
    let multiline = start.multiline.unwrap();
    assert_eq!(multiline.rule, MultilineRule::Start(LinePattern(regex::bytes::Regex::new("^\\d").unwrap())));
    assert_eq!(multiline.timeout, Duration::from_millis(1000));
    assert_eq!((start.skip_header_lines, start.oldest_first), (2, true));
    let multiline = source("multiline_continue: '^ ', multiline_timeout_ms: 50").multiline.unwrap();
    assert!(matches!(multiline.rule, MultilineRule::Continue(_)));
    assert_eq!(multiline.timeout, Duration::from_millis(50));
    let truncate = source("on_oversize: truncate, encoding: UTF-16");
    assert_eq!(truncate.on_oversize, OnOversize::Truncate { terminator: Vec::new() });
    assert_eq!((truncate.encoding, truncate.is_order_by_mark), (encoding_rs::UTF_16LE, true));
    assert_eq!(truncate.delimiter_in(truncate.encoding), b"\n\0");
    let truncate = source(r#"on_oversize: truncate, truncated_record_terminator: "…", encoding: cp1252"#);
    assert_eq!(truncate.on_oversize.terminator_in(truncate.encoding), b"\x85");
    let japanese = source(r#"encoding: shift_jis, record_delimiter: "\r\n""#);
    assert_eq!((japanese.encoding, japanese.is_order_by_mark), (encoding_rs::SHIFT_JIS, false));
}

#[test]
fn failed_records_go_where_the_error_output_prefix_leads_them() {
    let error_prefix = |destination: &str, backup: &str| {
        let destination = format!("directory: {{ path: /nowhere-else{destination} }}");
        let config = config(&format!("{}{backup}", STREAM.replace("directory: { path: /nowhere-else }", &destination)));
        let (path, layout) = directory(&config.delivery_streams[0].error_output.destination);
        format!("{} {}", path.display(), layout.prefix.text())
    };
    let by_default = "!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/";
    assert_eq!(error_prefix(", prefix: web/", ""), format!("/nowhere-else web/{by_default}"));
    assert_eq!(error_prefix(", error_output_prefix: e/", ""), "/nowhere-else e/");
    let backup = "    backup: { directory: { path: /backup, prefix: b/ } }\n";
    assert_eq!(error_prefix(", prefix: web/", backup), format!("/backup b/{by_default}"));
    assert_eq!(error_prefix(", error_output_prefix: e/", backup), "/backup e/");
    let backup =
        "    backup: { directory: { path: /backup, prefix: '!{timestamp:yyyy}/', error_output_prefix: e/ } }\n";
    assert_eq!(error_prefix("", backup), "/backup e/");
}

#[test]
fn substitutions_are_typed_like_what_they_stand_for() {
    let config = config(
        r#"
memory_limit_mb: ${SIZE}
shutdown_timeout_seconds: ${NOTHING:-5}
aws:
  region: ${EMPTY:-}
  force_path_style: ${TRUE}
delivery_streams:
  - name: a$$b$c
    source: { file: { paths: "/nowhere/${BUCKET}-${NOTHING:-x}.log" } }
    destination:
      s3:
        bucket: ${DIGITS}
        prefix: ${EMPTY}
  - name: b
    source: { file: { paths: "/nowhere/$$HOME$x.log" } }
    destination: { s3: { bucket: "${BUCKET}" } }
"#
        .replace("a$$b$c", "a")
        .as_str(),
    );
    assert_eq!((config.memory_limit, config.shutdown_timeout), (64 * MB, Duration::from_secs(5)));
    let source = config.delivery_streams[0].source.file().expect("files");
    assert_eq!(source.paths, ["/nowhere/lake-x.log"]);
    let (bucket, _) = s3(objects(&config.delivery_streams[0].destination));
    assert_eq!((bucket.bucket.as_str(), bucket.region.as_deref(), bucket.force_path_style), ("123456", None, true));
    let source = config.delivery_streams[1].source.file().expect("files");
    assert_eq!(source.paths, ["/nowhere/$HOME$x.log"]);
}

#[test]
fn a_file_stands_for_its_content_without_the_last_newline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bucket");
    fs::write(&path, "lake\n").unwrap();
    let s3_destination = format!("s3: {{ bucket: \"${{file:{}}}\" }}", path.display());
    let config = config(&STREAM.replace("directory: { path: /nowhere-else }", &s3_destination));
    assert_eq!(s3(objects(&config.delivery_streams[0].destination)).0.bucket, "lake");
}

#[test]
fn anchors_and_core_tags_are_yaml_too() {
    let config = config(
        "
delivery_streams:
  - name: !!str 123
    source: { file: { paths: /nowhere/*.log } }
    buffering: &hints { size_mb: !!int 0x10, interval_seconds: 0o144 }
    destination: { directory: &place { path: /nowhere-else } }
    backup: { buffering: *hints, directory: *place }
",
    );
    let stream = &config.delivery_streams[0];
    assert_eq!(stream.name, "123");
    assert_eq!(stream.buffering, BufferingHints { size: 16 * MB, interval: Duration::from_secs(100) });
    assert_eq!(stream.backup.as_ref().unwrap().buffering, stream.buffering);
}

#[test]
fn compressions_have_their_levels() {
    let compression =
        |text: &str| config(&format!("{STREAM}    compression: {text}\n")).delivery_streams[0].compression;
    assert_eq!(compression("none"), Compression::None);
    assert_eq!(compression("snappy"), Compression::Snappy);
    assert_eq!(compression("hadoop_snappy"), Compression::HadoopSnappy);
    assert_eq!(compression("gzip"), compression("{ gzip: {} }"));
    assert_eq!(compression("{ zip: { level: 9 } }"), Compression::Zip { level: 9 });
    assert_eq!(compression("{ zstd: { level: 19 } }"), Compression::Zstd { level: 19 });
}

#[test]
fn what_is_excluded_is_not_read_again() {
    let paths = "paths: /data/**/*.gz, exclude: [/data/out/**]";
    let text = STREAM.replace("paths: /nowhere/*.log", paths).replace("/nowhere-else", "/data/out");
    config(&format!("{text}    compression: gzip\n"));
    let text = text.replace("/data/out/**", "web-1-*");
    config(&format!("{text}    compression: gzip\n"));
}

#[test]
fn what_may_not_be_read_is_a_mistake() {
    if rustix::process::geteuid().is_root() {
        return; // who may read everything
    }
    let folder = tempfile::tempdir().unwrap();
    let (closed, file) = (folder.path().join("closed"), folder.path().join("closed.log"));
    fs::create_dir(&closed).unwrap();
    fs::write(&file, "").unwrap();
    for path in [&closed, &file] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let message = |path: &Path| {
        errors(&STREAM.replace("/nowhere/*.log", &path.display().to_string())).errors()[0].message.clone()
    };
    let glob = closed.join("*.log");
    let expected = format!("`{}` is unreadable: permission denied for its folder", glob.display());
    assert_eq!(message(&glob), expected);
    assert_eq!(message(&file), format!("`{}` is unreadable: permission denied", file.display()));
}

#[test]
fn the_admin_address_has_a_default_and_may_be_any() {
    for (admin, expected) in [
        ("{}", "127.0.0.1:9600"),
        ("{ listen: \"0.0.0.0:80\" }", "0.0.0.0:80"),
        ("{ listen: \"[::1]:9601\" }", "[::1]:9601"),
    ] {
        let listen = expected.parse().expect("an address");
        assert_eq!(config(&format!("admin: {admin}\n{STREAM}")).admin, Some(AdminConfig { listen }));
    }
}
