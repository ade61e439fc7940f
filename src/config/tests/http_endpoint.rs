//! `http_endpoint`: what it means, and what does not go together with it.

use std::time::Duration;

use super::*;
use crate::config::model::{Compression, EndpointAuth, HttpEndpointConfig, Method, Protocol, RawFormat, TlsConfig};

/// A delivery stream with these keys in `http_endpoint`, and more of its own.
fn stream(endpoint: &str, more: &str) -> String {
    format!(
        "delivery_streams:
  - name: web
    source: {{ file: {{ paths: /nowhere/*.log }} }}
    destination:
      http_endpoint: {{ {endpoint} }}
    {more}
"
    )
}

const BACKUP: &str = "backup: { directory: { path: /nowhere-else } }";
const URL: &str = "url: 'https://logs.example/in'";

fn endpoint(keys: &str) -> HttpEndpointConfig {
    let config = config(&stream(keys, BACKUP));
    match &config.delivery_streams[0].destination {
        DestinationConfig::HttpEndpoint(endpoint) => endpoint.clone(),
        other @ (DestinationConfig::Objects(_) | DestinationConfig::OpenSearch(_)) => panic!("{other:?}"),
    }
}

#[test]
fn the_least_has_the_protocols_limits_and_firehoses_way_of_trying_again() {
    let endpoint = endpoint(URL);
    assert_eq!((endpoint.url.as_str(), endpoint.place()), ("https://logs.example/in", "https://logs.example/in"));
    assert_eq!((endpoint.retry, endpoint.in_flight), (Duration::from_secs(300), 1));
    assert_eq!((endpoint.request_bytes_max, endpoint.request_records_max), (64 << 20, 10_000));
    assert_eq!(
        (endpoint.connect_timeout, endpoint.response_timeout),
        (Duration::from_secs(10), Duration::from_secs(180))
    );
    let phases = [endpoint.write_timeout, endpoint.first_byte_timeout, endpoint.read_timeout];
    assert_eq!(phases, [endpoint.response_timeout; 3]);
    let source_arn = "arn:aws:firehose:local:000000000000:deliverystream/web".to_owned();
    let least = Protocol::Firehose { access_key: None, common_attributes: Vec::new(), source_arn };
    assert_eq!(endpoint.protocol, least);
    assert_eq!((endpoint.gzip_level, endpoint.auth, endpoint.tls), (None, EndpointAuth::None, TlsConfig::default()));
    let config = config(&stream(URL, BACKUP));
    let stream = &config.delivery_streams[0];
    assert_eq!((stream.output_delimiter.as_slice(), stream.compression), (&b""[..], Compression::None));
    assert_eq!((stream.buffering.size, stream.buffering.interval), (5 << 20, Duration::from_secs(300)));
}

#[test]
fn every_key_is_read_and_no_secret_is_shown() {
    let endpoint = endpoint(
        "url: 'https://logs.example/in?key=hunter2', name: logs, access_key: hunter2, common_attributes: { team: web, b: '' },
        content_encoding: { gzip: { level: 6 } }, source_arn: 'arn:x', retry_seconds: 0, in_flight: 4, max_request_mb: 1,
        max_records: 500, connect_timeout_seconds: 3, response_timeout_seconds: 20,
        write_timeout_seconds: 4, first_byte_timeout_seconds: 20, read_timeout_seconds: 5, tls: { ca_file: /ca.pem },
        proxy: { url: 'http://proxy:3128', username: u, password: hunter2 }, auth: { bearer_token: hunter2 },
        headers: { X-Api-Key: hunter2 }",
    );
    let attributes = [("team", "web"), ("b", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let protocol = Protocol::Firehose {
        access_key: Some(Secret(HIDDEN.to_owned())),
        common_attributes: attributes.to_vec(),
        source_arn: "arn:x".to_owned(),
    };
    assert_eq!(endpoint.protocol, protocol);
    assert_eq!((endpoint.retry, endpoint.in_flight, endpoint.gzip_level), (Duration::ZERO, 4, Some(6)));
    assert_eq!((endpoint.request_bytes_max, endpoint.request_records_max), (1 << 20, 500));
    let phases =
        [endpoint.write_timeout, endpoint.first_byte_timeout, endpoint.read_timeout].map(|time| time.as_secs());
    assert_eq!(phases, [4, 20, 5]);
    assert_eq!(endpoint.auth, EndpointAuth::Bearer(Secret(HIDDEN.to_owned())));
    assert_eq!(endpoint.headers, [("X-Api-Key".to_owned(), Secret(HIDDEN.to_owned()))]);
    assert!(!format!("{endpoint:?}").contains(HIDDEN), "{endpoint:?}");
}

#[test]
fn a_raw_protocol_says_how_bodies_look() {
    let endpoint = endpoint(&format!(
        "{URL}, protocol: raw, format: json_array, method: PUT, success_codes: [200, 204], headers: {{ Content-Type: text/x }}"
    ));
    let (format, method) = (RawFormat::JsonArray, Method::Put);
    assert_eq!(endpoint.protocol, Protocol::Raw { format, method, success_codes: vec![200, 204] });
    assert_eq!(endpoint.headers, [("Content-Type".to_owned(), Secret("text/x".to_owned()))]);
}

#[test]
fn signatures_take_region_and_role_from_aws_where_they_have_none() {
    let auth = |keys: &str, aws: &str| {
        let text = format!(
            "{aws}\n{}",
            stream(&format!("{URL}, auth: {{ sigv4: {{ service: execute-api{keys} }} }}"), BACKUP)
        );
        match &config(&text).delivery_streams[0].destination {
            DestinationConfig::HttpEndpoint(endpoint) => endpoint.auth.clone(),
            other @ (DestinationConfig::Objects(_) | DestinationConfig::OpenSearch(_)) => panic!("{other:?}"),
        }
    };
    let expected = |region: Option<&str>| EndpointAuth::SigV4 {
        service: "execute-api".to_owned(),
        region: region.map(str::to_owned),
        assume_role: None,
    };
    assert_eq!(auth("", ""), expected(None));
    assert_eq!(auth("", "aws: { region: eu-west-1 }"), expected(Some("eu-west-1")));
    assert_eq!(auth(", region: us-east-2", "aws: { region: eu-west-1 }"), expected(Some("us-east-2")));
}

#[test]
fn mistakes_are_named_with_what_would_do() {
    let cases = [
        (stream(URL, ""), "`http_endpoint` needs a `backup`"),
        (stream("name: x", BACKUP), "needs `url`"),
        (stream("url: 'ftp://x'", BACKUP), "must be a URL"),
        (stream("url: 'https://u:hunter2@x'", BACKUP), "must not hold credentials"),
        (stream("url: 'http://x', tls: { ca_file: /ca.pem }", BACKUP), "`tls` does nothing"),
        (stream(&format!("{URL}, retry_seconds: 7201"), BACKUP), "from 0 to 7200"),
        (stream(&format!("{URL}, max_records: 10001"), BACKUP), "from 1 to 10000"),
        (stream(&format!("{URL}, response_timeout_seconds: 20, read_timeout_seconds: 21"), BACKUP), "from 1 to 20"),
        (stream(&format!("{URL}, protocol: raw"), BACKUP), "needs `format`"),
        (stream(&format!("{URL}, protocol: raw, format: csv"), BACKUP), "one of `ndjson`"),
        (
            stream(&format!("{URL}, protocol: raw, format: lines, access_key: hunter2"), BACKUP),
            "belongs to `protocol: firehose`",
        ),
        (stream(&format!("{URL}, method: PUT"), BACKUP), "belongs to `protocol: raw`"),
        (stream(&format!("{URL}, protocol: raw, format: lines, success_codes: [500]"), BACKUP), "from 200 to 299"),
        (stream(&format!("{URL}, headers: {{ Content-Type: x }}"), BACKUP), "cannot be a header of its own"),
        (
            stream(&format!("{URL}, headers: {{ X-Amz-Firehose-Request-Id: x }}"), BACKUP),
            "cannot be a header of its own",
        ),
        (stream(&format!("{URL}, headers: {{ Authorization: [hunter2] }}"), BACKUP), "must be"),
        (stream(&format!("{URL}, common_attributes: {{ '': x }}"), BACKUP), "1 to 256 characters"),
        (stream(URL, &format!("compression: gzip\n    {BACKUP}")), "`compression` does not go together"),
        (stream(URL, &format!("buffering: {{ size_mb: 65 }}\n    {BACKUP}")), "larger than 64"),
        (
            stream(URL, &format!("partitioning: {{ keys: {{ a: .a }} }}\n    {BACKUP}")),
            "`partitioning` does not go together",
        ),
        (
            stream(
                URL,
                &format!("format_conversion: {{ schema: {{ inline: [{{ name: a, type: string }}] }} }}\n    {BACKUP}"),
            ),
            "`format_conversion` does not go together",
        ),
    ];
    for (text, expected) in cases {
        let shown = errors(&text).to_string();
        assert!(shown.contains(expected), "{expected}: {shown}");
        assert!(!shown.contains(HIDDEN), "{shown}");
    }
}
