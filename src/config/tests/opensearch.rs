//! `opensearch`: what it means, and what does not go together with it.

use std::time::Duration;

use super::*;
use crate::config::model::{
    Compression, DeliveryStreamConfig, DocumentId, DocumentsConfig, EndpointAuth, OpenSearchConfig, TlsConfig,
};

/// A delivery stream with these keys in `opensearch`, and more of its own.
fn text(cluster: &str, more: &str) -> String {
    format!(
        "delivery_streams:
  - name: web
    source: {{ file: {{ paths: /nowhere/*.log }} }}
    destination:
      opensearch: {{ {cluster} }}
    {more}
"
    )
}

const BACKUP: &str = "backup: { directory: { path: /nowhere-else } }";
const LEAST: &str = "urls: 'https://search.example:9200', index: web";

fn stream(keys: &str, more: &str) -> DeliveryStreamConfig {
    config(&text(keys, &format!("{BACKUP}\n    {more}"))).delivery_streams.remove(0)
}

fn cluster(keys: &str) -> OpenSearchConfig {
    match stream(keys, "").destination {
        DestinationConfig::OpenSearch(cluster) => cluster,
        other @ (DestinationConfig::Objects(_) | DestinationConfig::HttpEndpoint(_)) => panic!("{other:?}"),
    }
}

#[test]
fn the_least_has_an_index_for_each_day_and_derived_ids() {
    let cluster = cluster(LEAST);
    assert_eq!(cluster.urls.iter().map(|url| url.as_str()).collect::<Vec<_>>(), ["https://search.example:9200"]);
    assert_eq!(cluster.index.template().text(), "web-!{timestamp:yyyy-MM-dd}");
    let documents = DocumentsConfig { id: DocumentId::Derived, data_stream: false, type_name: None };
    assert_eq!(cluster.documents, documents);
    assert_eq!((cluster.retry, cluster.in_flight, cluster.bulk_bytes_max), (Duration::from_secs(300), 4, 5 << 20));
    assert_eq!(
        (cluster.connect_timeout, cluster.response_timeout),
        (Duration::from_secs(10), Duration::from_secs(180))
    );
    assert_eq!((cluster.gzip_level, &cluster.auth, &cluster.tls), (None, &EndpointAuth::None, &TlsConfig::default()));
    assert_eq!((cluster.routing.as_ref(), cluster.pipeline.as_ref()), (None, None));
    let stream = stream(LEAST, "");
    assert_eq!((stream.output_delimiter.as_slice(), stream.compression), (&b""[..], Compression::None));
    assert_eq!((stream.buffering.size, stream.buffering.interval), (5 << 20, Duration::from_secs(300)));
}

#[test]
fn every_key_is_read_and_no_secret_is_shown() {
    let cluster = cluster(
        "urls: ['https://a:9200/es/', 'http://b:9200'], index: web, index_rotation: week, document_id: { from_field: event.id },
        routing: { field: tenant }, pipeline: geo, type_name: event, content_encoding: gzip, retry_seconds: 0, in_flight: 2,
        bulk_mb: 0.5, connect_timeout_seconds: 3, response_timeout_seconds: 20, tls: { ca_file: /ca.pem },
        proxy: { url: 'http://proxy:3128' }, auth: { api_key: hunter2 }, headers: { X-Opaque-Id: hunter2 }",
    );
    assert_eq!(cluster.urls.iter().map(|url| url.as_str()).collect::<Vec<_>>(), ["https://a:9200/es", "http://b:9200"]);
    assert_eq!(cluster.index.template().text(), "web-!{timestamp:YYYY-'w'ww}");
    let id = DocumentId::FromField("event.id".to_owned());
    assert_eq!(cluster.documents, DocumentsConfig { id, data_stream: false, type_name: Some("event".to_owned()) });
    assert_eq!((cluster.routing.as_deref(), cluster.pipeline.as_deref()), (Some("tenant"), Some("geo")));
    assert_eq!((cluster.retry, cluster.in_flight, cluster.bulk_bytes_max), (Duration::ZERO, 2, 512 << 10));
    assert_eq!((cluster.gzip_level, &cluster.auth), (Some(1), &EndpointAuth::ApiKey(Secret(HIDDEN.to_owned()))));
    assert!(!format!("{cluster:?}").contains(HIDDEN), "{cluster:?}");
}

#[test]
fn an_index_may_depend_on_records_and_is_no_more_rotated_by_itself() {
    let keys = "urls: 'http://127.0.0.1:9200', index: 'logs-!{partitionKeyFromQuery:tenant}-!{recordTime:yyyy.MM}'";
    let stream = stream(keys, "partitioning: { keys: { tenant: .tenant }, record_time: { field: ts } }");
    let DestinationConfig::OpenSearch(found) = &stream.destination else { panic!("{:?}", stream.destination) };
    assert_eq!(found.index.template().text(), "logs-!{partitionKeyFromQuery:tenant}-!{recordTime:yyyy.MM}");
    let rotated = cluster("urls: 'http://127.0.0.1:9200', index: '!{timestamp:yyyy}', index_rotation: hour");
    assert_eq!(rotated.index.template().text(), "!{timestamp:yyyy}-!{timestamp:yyyy-MM-dd-HH}");
    let data_stream = cluster(&format!("{LEAST}, data_stream: true, document_id: none"));
    assert_eq!(data_stream.index.template().text(), "web");
    assert_eq!(data_stream.documents.id, DocumentId::None);
}

#[test]
fn documents_with_ids_of_their_own_leave_in_order() {
    assert_eq!(cluster(&format!("{LEAST}, document_id: {{ from_field: id }}")).in_flight, 1);
    assert_eq!(cluster(&format!("{LEAST}, document_id: none")).in_flight, 4);
}

#[test]
fn mistakes_are_named_with_what_would_do() {
    let backed = |keys: &str| text(keys, BACKUP);
    let with = |keys: &str| backed(&format!("{LEAST}, {keys}"));
    let aoss = "auth: { sigv4: { service: aoss } }";
    let cases = [
        (text(LEAST, ""), "`opensearch` needs a `backup`"),
        (backed("index: web"), "needs `urls`"),
        (backed("urls: [], index: web"), "1 to 64 URLs"),
        (backed("urls: 'search.example', index: web"), "must be a URL"),
        (backed("urls: 'https://u:hunter2@x', index: web"), "must not hold credentials"),
        (backed("urls: 'https://x?key=1', index: web"), "must be a URL"),
        (backed("urls: ['https://x', 'https://x/'], index: web"), "given twice"),
        (backed("urls: 'https://x'"), "needs `index`"),
        (backed("urls: 'https://x', index: Web"), "`W` cannot stand in the name of an index"),
        (backed("urls: 'https://x', index: _web"), "cannot begin with `_`"),
        (backed("urls: 'https://x', index: 'web-!{timestamp:yyyy/MM}'"), "cannot stand here"),
        (backed("urls: 'https://x', index: 'web-!{partitionKeyFromQuery:a}'"), "there is no partition key `a`"),
        (backed("urls: 'https://x', index: 'web-!{recordTime:yyyy}'"), "needs the field that holds the time"),
        (with("index_rotation: yearly"), "one of `none`"),
        (with("data_stream: true, index_rotation: day"), "does not go together with `data_stream`"),
        (with("data_stream: true, document_id: { from_field: id }"), "do not go together with `data_stream`"),
        (with("data_stream: true, type_name: x"), "does not go together with `data_stream`"),
        (with("data_stream: true, routing: { field: tenant }"), "`routing` does not go together with `data_stream`"),
        (with("document_id: random"), "one of `derived`, `none`"),
        (with("document_id: { from_field: '.a' }"), "the name of a field"),
        (with("routing: tenant"), "must be a mapping with `field`"),
        (with("retry_seconds: 7201"), "from 0 to 7200"),
        (with("bulk_mb: 101"), "from 0.1 to 100"),
        (with("in_flight: 0"), "from 1 to 64"),
        (with("headers: { Content-Type: x }"), "cannot be a header of its own"),
        (with("auth: { sigv4: { service: s3 } }"), "`service` must be `es` or `aoss`"),
        (with(&format!("{aoss}, data_stream: true")), "knows no `data_stream`"),
        (with(&format!("{aoss}, type_name: x")), "knows no `type_name`"),
        (backed("urls: 'http://x', index: web, tls: { ca_file: /ca.pem }"), "`tls` does nothing"),
        (with("sniff: true"), "unknown key"),
        (text(LEAST, &format!("compression: gzip\n    {BACKUP}")), "`compression` does not go together"),
        (text(LEAST, &format!("output_delimiter: x\n    {BACKUP}")), "`output_delimiter` does not go together"),
        (text(LEAST, &format!("buffering: {{ size_mb: 101 }}\n    {BACKUP}")), "larger than 100"),
        (
            text(LEAST, &format!("partitioning: {{ keys: {{ a: .a }} }}\n    {BACKUP}")),
            "the destination's index does not use the partition key `a`",
        ),
        (
            text(
                LEAST,
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
