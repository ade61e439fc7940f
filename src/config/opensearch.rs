//! `opensearch`: where documents go, under which ids, and what does not go together with it.

use super::destination::Connection;
use super::http_client::{self, OF_BODIES, content_encoding, seconds, web_url};
use super::map::Map;
use super::model::{
    BufferingHints, Compression, DocumentId, DocumentsConfig, EndpointAuth, EndpointUrl, OpenSearchConfig,
};
use super::reader::Value;
use super::text::Text;
use crate::partition::{IndexTemplate, Query, Rotation};

const KEYS: &[&str] = &[
    "urls",
    "index",
    "index_rotation",
    "data_stream",
    "document_id",
    "routing",
    "pipeline",
    "type_name",
    "content_encoding",
    "retry_seconds",
    "in_flight",
    "bulk_mb",
    "connect_timeout_seconds",
    "response_timeout_seconds",
    "tls",
    "proxy",
    "auth",
    "headers",
];
const KINDS_OF_AUTH: &[&str] = &["basic", "bearer_token", "api_key", "sigv4"];
/// What AWS calls its clusters and its Serverless in signatures.
const SERVICES: [&str; 2] = ["es", "aoss"];

const URLS_MAX: usize = 64;
/// As in Firehose.
const TYPE_CHARS_MAX: usize = 100;
const BUFFER_BYTES_MAX: u64 = 100 << 20;

const RETRY_SECONDS_DEFAULT: i64 = 300;
const IN_FLIGHT_DEFAULT: i64 = 4;
const BULK_MB_DEFAULT: f64 = 5.0;
const CONNECT_SECONDS_DEFAULT: i64 = 10;
const RESPONSE_SECONDS_DEFAULT: i64 = 180;
const MB: f64 = 1024.0 * 1024.0;

/// With what the checks need of how the index was written.
pub(super) struct OpenSearch<'a> {
    pub config: OpenSearchConfig,
    pub index: Text<'a>,
    pub value: Value<'a>,
}

pub(super) fn opensearch<'a>(value: &Value<'a>, aws: &Connection) -> Option<OpenSearch<'a>> {
    let map = value.map(KEYS)?;
    let urls = map.required("urls").and_then(|value| urls(&value));
    let documents = documents(&map);
    let index = index(&map, documents.as_ref());
    let routing =
        map.optional("routing", |value| value.map(&["field"])?.required("field").and_then(|value| field(&value)));
    let pipeline = map.optional("pipeline", |value| Some(value.word("the name of an ingest pipeline")?.text));
    let gzip_level = map.get_or("content_encoding", None, content_encoding);
    let retry = seconds(&map, "retry_seconds", 0..=7200, RETRY_SECONDS_DEFAULT);
    let is_ordered = matches!(documents.as_ref().map(|documents| &documents.id), Some(DocumentId::FromField(_)));
    let in_flight_default = if is_ordered { 1 } else { IN_FLIGHT_DEFAULT };
    let in_flight = map.get_or("in_flight", in_flight_default, |value| value.whole(1..=64, ""));
    let bulk_mb = map.get_or("bulk_mb", BULK_MB_DEFAULT, |value| value.decimal(0.1..=100.0, "", None));
    let connect_timeout = seconds(&map, "connect_timeout_seconds", 1..=300, CONNECT_SECONDS_DEFAULT);
    let response_timeout = seconds(&map, "response_timeout_seconds", 1..=900, RESPONSE_SECONDS_DEFAULT);
    let proxy = map.optional("proxy", http_client::proxy);
    let auth = map.get_or("auth", EndpointAuth::None, |value| auth(value, aws));
    let headers = map.get_or("headers", Vec::new(), |value| {
        let is_own = |name: &str| name == "content-type" || OF_BODIES.contains(&name);
        http_client::headers(value, is_own, None)
    });
    let urls = urls?;
    let tls = http_client::tls(&map, urls.iter().any(EndpointUrl::is_encrypted));
    let (index, text) = index?;
    let config = OpenSearchConfig {
        urls,
        index,
        documents: documents?,
        routing: routing?,
        pipeline: pipeline?,
        gzip_level: gzip_level?,
        retry: retry?,
        in_flight: in_flight?.unsigned_abs() as usize,
        bulk_bytes_max: (bulk_mb? * MB).round() as u64,
        connect_timeout: connect_timeout?,
        response_timeout: response_timeout?,
        tls: tls?,
        proxy: proxy?,
        auth: auth?,
        headers: headers?,
    };
    check_serverless(&map, &config).then(|| OpenSearch { config, index: text, value: value.clone() })
}

/// Reports what stands beside `opensearch` and would mean nothing, or is missing. False if there is any.
pub(super) fn check_neighbours(
    stream: &Map<'_>,
    destination: &Value<'_>,
    compression: Option<Compression>,
    buffering: Option<BufferingHints>,
) -> bool {
    let mut is_right = true;
    let mut refuse = |key: &'static str, why: &str, help: &str| {
        if let Some(value) = stream.get(key) {
            value.problem(format!("`{key}` does not go together with `opensearch`: {why}"), Some(help.to_owned()));
            is_right = false;
        }
    };
    refuse("format_conversion", "documents are JSON", "take it away, or deliver to `s3` or `directory`");
    refuse("output_delimiter", "each record is a document", "take it away");
    if compression.is_some_and(|compression| compression != Compression::None) {
        refuse("compression", "there are no objects", "`content_encoding: gzip` in `opensearch` compresses requests");
    }
    if buffering.is_some_and(|hints| hints.size > BUFFER_BYTES_MAX) {
        refuse("buffering", "its `size_mb` is larger than 100", "1 to 100 are allowed, as in Firehose");
    }
    if stream.get("backup").is_none() {
        let help = "what the cluster does not take goes there: `backup: { directory: { path: … } }` or `s3`";
        destination.problem("`opensearch` needs a `backup` in its delivery stream", Some(help.to_owned()));
        is_right = false;
    }
    is_right
}

fn urls(value: &Value<'_>) -> Option<Vec<EndpointUrl>> {
    let given = value.one_or_list();
    if given.is_empty() || given.len() > URLS_MAX {
        value.problem(format!("`urls` must have 1 to {URLS_MAX} URLs"), None);
        return None;
    }
    let urls: Option<Vec<_>> = given.iter().map(url).collect();
    let urls = urls?;
    let twice = urls.iter().enumerate().find(|(number, url)| urls[..*number].contains(url));
    if let Some((number, _)) = twice {
        given[number].problem("this URL is given twice", None);
        return None;
    }
    Some(urls)
}

fn url(value: &Value<'_>) -> Option<EndpointUrl> {
    let allowed = "a URL such as `https://search.example:9200`, without query";
    let text = web_url(value, allowed, "they go under `auth`")?.check(allowed, |url| !url.contains(['?', '#']))?;
    Some(EndpointUrl::new(text.text.trim_end_matches('/').to_owned()))
}

fn documents(map: &Map<'_>) -> Option<DocumentsConfig> {
    let data_stream = map.get_or("data_stream", false, Value::boolean);
    let id = map.get_or("document_id", DocumentId::Derived, document_id);
    let type_name = map.optional("type_name", |value| {
        let allowed = format!("the name of a type, at most {TYPE_CHARS_MAX} characters");
        Some(
            value
                .word(&allowed)?
                .check(&allowed, |name| name.len() <= TYPE_CHARS_MAX && !name.contains(['"', '\\']))?
                .text,
        )
    });
    let documents = DocumentsConfig { id: id?, data_stream: data_stream?, type_name: type_name? };
    if !documents.data_stream {
        return Some(documents);
    }
    if let (DocumentId::FromField(_), Some(value)) = (&documents.id, map.get("document_id")) {
        let help = "a data stream takes new documents only: `derived` or `none`";
        value.problem("ids from a field do not go together with `data_stream`", Some(help.to_owned()));
        return None;
    }
    if let (Some(_), Some(value)) = (&documents.type_name, map.get("type_name")) {
        value.problem("`type_name` does not go together with `data_stream`", None);
        return None;
    }
    if let Some(value) = map.get("routing") {
        value.problem("`routing` does not go together with `data_stream`", None);
        return None;
    }
    Some(documents)
}

fn document_id(value: &Value<'_>) -> Option<DocumentId> {
    if value.is_map() {
        return value
            .map(&["from_field"])?
            .required("from_field")
            .and_then(|value| field(&value))
            .map(DocumentId::FromField);
    }
    let allowed = "one of `derived`, `none`, or `{ from_field: id }`";
    match value.string(allowed)?.check(allowed, |text| matches!(text, "derived" | "none"))?.text.as_str() {
        "none" => Some(DocumentId::None),
        _ => Some(DocumentId::Derived),
    }
}

/// A field of a record, or one inside of another.
fn field(value: &Value<'_>) -> Option<String> {
    let allowed = "the name of a field, or names with dots between them";
    let is_path = |field: &str| Query::compile(&format!(".{field}")).is_ok() && !field.starts_with('.');
    Some(value.string(allowed)?.check(allowed, is_path)?.text)
}

/// The name, and how it was written. Without expressions there is a new index each day, as Firehose's default is.
fn index<'a>(map: &Map<'a>, documents: Option<&DocumentsConfig>) -> Option<(IndexTemplate, Text<'a>)> {
    const ROTATIONS: [(&str, Rotation); 5] = [
        ("none", Rotation::None),
        ("hour", Rotation::Hour),
        ("day", Rotation::Day),
        ("week", Rotation::Week),
        ("month", Rotation::Month),
    ];
    let rotation = map.optional("index_rotation", |value| value.one_of(&ROTATIONS));
    let text = map.required("index").and_then(|value| value.string("the name of an index"));
    let (rotation, text) = (rotation?, text?);
    let is_data_stream = documents.is_some_and(|documents| documents.data_stream);
    let is_rotated = rotation.is_some_and(|rotation| rotation != Rotation::None);
    if let Some(value) = map.get("index_rotation").filter(|_| is_rotated && is_data_stream) {
        let help = "the cluster rolls a data stream over: take `index_rotation` away";
        value.problem("`index_rotation` does not go together with `data_stream`", Some(help.to_owned()));
        return None;
    }
    let has_expressions = text.text.contains("!{");
    let default = if is_data_stream || has_expressions { Rotation::None } else { Rotation::Day };
    match IndexTemplate::parse(&text.text, rotation.unwrap_or(default)) {
        Ok(index) => Some((index, text)),
        Err(error) => {
            text.problem_at(error.offset, error.message, Some(error.help));
            None
        }
    }
}

fn auth(value: &Value<'_>, aws: &Connection) -> Option<EndpointAuth> {
    let auth = http_client::auth(value, KINDS_OF_AUTH, aws)?;
    match &auth {
        EndpointAuth::SigV4 { service, .. } if !SERVICES.contains(&service.as_str()) => {
            let help = "`es` is Amazon OpenSearch Service, `aoss` is Serverless";
            value.problem("`service` must be `es` or `aoss`", Some(help.to_owned()));
            None
        }
        _ => Some(auth),
    }
}

/// What Serverless does not have.
fn check_serverless(map: &Map<'_>, config: &OpenSearchConfig) -> bool {
    if !config.is_serverless() {
        return true;
    }
    let mut is_right = true;
    for key in ["data_stream", "type_name"] {
        let is_given =
            if key == "data_stream" { config.documents.data_stream } else { config.documents.type_name.is_some() };
        if let Some(value) = map.get(key).filter(|_| is_given) {
            value.problem(format!("Serverless (`aoss`) knows no `{key}`"), None);
            is_right = false;
        }
    }
    is_right
}
