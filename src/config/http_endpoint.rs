//! `http_endpoint`: where records are sent in Firehose's HTTP endpoint delivery protocol or plainly, and what does not go together with
//! it.

use std::time::Duration;

use super::destination::Connection;
use super::http_client::{self, content_encoding, is_header_value, seconds, web_url};
use super::map::Map;
use super::model::{
    BufferingHints, Compression, EndpointAuth, EndpointUrl, HttpEndpointConfig, Method, Protocol, RawFormat, Secret,
};
use super::reader::Value;

const KEYS: &[&str] = &[
    "url",
    "name",
    "protocol",
    "format",
    "method",
    "success_codes",
    "access_key",
    "common_attributes",
    "content_encoding",
    "source_arn",
    "retry_seconds",
    "in_flight",
    "max_request_mb",
    "max_records",
    "connect_timeout_seconds",
    "write_timeout_seconds",
    "first_byte_timeout_seconds",
    "read_timeout_seconds",
    "response_timeout_seconds",
    "tls",
    "proxy",
    "auth",
    "headers",
];

/// The protocol's own limits.
const URL_CHARS_MAX: usize = 1000;
const NAME_CHARS_MAX: usize = 256;
const ACCESS_KEY_BYTES_MAX: usize = 4096;
const ATTRIBUTES_MAX: usize = 50;
const ATTRIBUTE_NAME_CHARS_MAX: usize = 256;
const ATTRIBUTE_VALUE_CHARS_MAX: usize = 1024;
const RECORDS_MAX: i64 = 10_000;
const REQUEST_MB_MAX: f64 = 64.0;
pub(super) const BUFFER_BYTES_MAX: u64 = 64 << 20;

const RETRY_SECONDS_DEFAULT: i64 = 300;
const CONNECT_SECONDS_DEFAULT: i64 = 10;
const RESPONSE_SECONDS_DEFAULT: i64 = 180;
const MB: f64 = 1024.0 * 1024.0;

const CONTENT_TYPE: &str = "content-type";
const KINDS_OF_AUTH: &[&str] = &["basic", "bearer_token", "sigv4"];

pub(super) fn http_endpoint(value: &Value<'_>, stream: Option<&str>, aws: &Connection) -> Option<HttpEndpointConfig> {
    let map = value.map(KEYS)?;
    let url = map.required("url").and_then(|value| url(&value));
    let name = map.optional("name", |value| text(value, "a name", 1..=NAME_CHARS_MAX));
    let protocol = protocol(&map, stream, aws);
    let gzip_level = map.get_or("content_encoding", None, content_encoding);
    let retry = seconds(&map, "retry_seconds", 0..=7200, RETRY_SECONDS_DEFAULT);
    let in_flight = map.get_or("in_flight", 1, |value| value.whole(1..=64, ""));
    let request_mb =
        map.get_or("max_request_mb", REQUEST_MB_MAX, |value| value.decimal(0.1..=REQUEST_MB_MAX, "", None));
    let records_max = map.get_or("max_records", RECORDS_MAX, |value| value.whole(1..=RECORDS_MAX, ""));
    let connect_timeout = seconds(&map, "connect_timeout_seconds", 1..=300, CONNECT_SECONDS_DEFAULT);
    let response_timeout = seconds(&map, "response_timeout_seconds", 1..=900, RESPONSE_SECONDS_DEFAULT);
    let phase = |key| phase(&map, key, response_timeout?);
    let (write, first_byte, read) =
        (phase("write_timeout_seconds"), phase("first_byte_timeout_seconds"), phase("read_timeout_seconds"));
    let proxy = map.optional("proxy", http_client::proxy);
    let auth = map.get_or("auth", EndpointAuth::None, |value| http_client::auth(value, KINDS_OF_AUTH, aws));
    let protocol = protocol?;
    let may_say_type = matches!(protocol, Protocol::Raw { .. });
    let headers = map.get_or("headers", Vec::new(), |value| headers(value, may_say_type));
    let url = url?;
    let tls = http_client::tls(&map, url.is_encrypted());
    Some(HttpEndpointConfig {
        url,
        name: name?,
        protocol,
        gzip_level: gzip_level?,
        retry: retry?,
        in_flight: in_flight?.unsigned_abs() as usize,
        request_bytes_max: (request_mb? * MB).round() as u64,
        request_records_max: records_max?.unsigned_abs(),
        connect_timeout: connect_timeout?,
        write_timeout: write?,
        first_byte_timeout: first_byte?,
        read_timeout: read?,
        response_timeout: response_timeout?,
        tls: tls?,
        proxy: proxy?,
        auth: auth?,
        headers: headers?,
    })
}

/// A phase of an attempt, all of which together have `whole`.
fn phase(map: &Map<'_>, key: &'static str, whole: Duration) -> Option<Duration> {
    let longest = i64::try_from(whole.as_secs()).ok()?;
    seconds(map, key, 1..=longest, longest)
}

/// Which keys belong to one protocol alone.
const OF_FIREHOSE: &[&str] = &["access_key", "common_attributes", "source_arn"];
const OF_RAW: &[&str] = &["format", "method", "success_codes"];

fn protocol(map: &Map<'_>, stream: Option<&str>, aws: &Connection) -> Option<Protocol> {
    let is_raw = map.get_or("protocol", false, |value| value.one_of(&[("firehose", false), ("raw", true)]))?;
    let (others, needed) = if is_raw { (OF_FIREHOSE, "firehose") } else { (OF_RAW, "raw") };
    let misplaced = others.iter().find_map(|key| Some((key, map.get(key)?)));
    if let Some((key, value)) = misplaced {
        value.problem(format!("`{key}` belongs to `protocol: {needed}`"), None);
        return None;
    }
    if is_raw {
        return raw(map);
    }
    let access_key = map.optional("access_key", access_key);
    let common_attributes = map.get_or("common_attributes", Vec::new(), common_attributes);
    let source_arn = map.optional("source_arn", source_arn)?.unwrap_or_else(|| {
        let region = aws.region().unwrap_or("local");
        format!("arn:aws:firehose:{region}:000000000000:deliverystream/{}", stream.unwrap_or_default())
    });
    Some(Protocol::Firehose { access_key: access_key?, common_attributes: common_attributes?, source_arn })
}

fn raw(map: &Map<'_>) -> Option<Protocol> {
    const FORMATS: [(&str, RawFormat); 4] = [
        ("ndjson", RawFormat::Ndjson),
        ("json_array", RawFormat::JsonArray),
        ("lines", RawFormat::Lines),
        ("bytes", RawFormat::Bytes),
    ];
    let format = map.required("format").and_then(|value| value.one_of(&FORMATS));
    let method =
        map.get_or("method", Method::Post, |value| value.one_of(&[("POST", Method::Post), ("PUT", Method::Put)]));
    let success_codes = map.get_or("success_codes", Vec::new(), |value| {
        let codes = value.list("a list of statuses")?;
        codes.iter().map(|code| u16::try_from(code.whole(200..=299, "")?).ok()).collect()
    });
    Some(Protocol::Raw { format: format?, method: method?, success_codes: success_codes? })
}

/// Reports what stands beside `http_endpoint` and would mean nothing, or is missing. False if there is any.
pub(super) fn check_neighbours(
    stream: &Map<'_>,
    destination: &Value<'_>,
    compression: Option<Compression>,
    buffering: Option<BufferingHints>,
) -> bool {
    let mut is_right = true;
    let mut refuse = |key: &'static str, why: &str, help: &str| {
        if let Some(value) = stream.get(key) {
            value.problem(format!("`{key}` does not go together with `http_endpoint`: {why}"), Some(help.to_owned()));
            is_right = false;
        }
    };
    refuse(
        "format_conversion",
        "records are sent one by one, not as files",
        "take it away, or deliver to `s3` or `directory`",
    );
    refuse("partitioning", "there are no objects with prefixes", "take it away, or deliver to `s3` or `directory`");
    if compression.is_some_and(|compression| compression != Compression::None) {
        refuse(
            "compression",
            "there are no objects",
            "`content_encoding: gzip` in `http_endpoint` compresses requests",
        );
    }
    if buffering.is_some_and(|hints| hints.size > BUFFER_BYTES_MAX) {
        refuse("buffering", "its `size_mb` is larger than 64", "1 to 64 are allowed, as in Firehose");
    }
    if stream.get("backup").is_none() {
        let help = "what the endpoint does not take within `retry_seconds` goes there: `backup: { directory: { path: … } }` \
                    or `s3`";
        destination.problem("`http_endpoint` needs a `backup` in its delivery stream", Some(help.to_owned()));
        is_right = false;
    }
    is_right
}

fn url(value: &Value<'_>) -> Option<EndpointUrl> {
    let allowed = "a URL such as `https://logs.example/firehose`, at most 1,000 characters";
    let url = web_url(value, allowed, "they go under `auth`")?;
    let text = url.check(allowed, |url| url.len() <= URL_CHARS_MAX && !url.contains('#'))?;
    Some(EndpointUrl::new(text.text))
}

fn text(value: &Value<'_>, what: &str, chars: std::ops::RangeInclusive<usize>) -> Option<String> {
    let allowed = format!("{what} of {} to {} characters", chars.start(), chars.end());
    let is_allowed =
        |text: &str| chars.contains(&text.chars().count()) && (*chars.start() == 0 || !text.trim().is_empty());
    Some(value.string(&allowed)?.check(&allowed, is_allowed)?.text)
}

fn access_key(value: &Value<'_>) -> Option<Secret> {
    let allowed = "at most 4,096 visible ASCII characters";
    let is_key = |key: &str| key.len() <= ACCESS_KEY_BYTES_MAX && is_header_value(key);
    Some(Secret(value.string(allowed)?.check(allowed, is_key)?.text))
}

fn common_attributes(value: &Value<'_>) -> Option<Vec<(String, String)>> {
    let named = value.named("a mapping of names to values")?;
    if named.len() > ATTRIBUTES_MAX {
        value.problem(format!("there are more than {ATTRIBUTES_MAX} common attributes"), None);
        return None;
    }
    let attribute = |(name, value): &(&str, Value<'_>)| {
        if name.trim().is_empty() || name.chars().count() > ATTRIBUTE_NAME_CHARS_MAX {
            value.problem("the name of a common attribute has 1 to 256 characters", None);
            return None;
        }
        Some(((*name).to_owned(), text(value, "a string", 0..=ATTRIBUTE_VALUE_CHARS_MAX)?))
    };
    named.iter().map(attribute).collect()
}

fn source_arn(value: &Value<'_>) -> Option<String> {
    let allowed = "an ARN such as `arn:aws:firehose:eu-west-1:123456789012:deliverystream/web`";
    Some(value.word(allowed)?.check(allowed, |arn| arn.starts_with("arn:"))?.text)
}

fn headers(value: &Value<'_>, may_say_type: bool) -> Option<Vec<(String, Secret)>> {
    let is_own = |name: &str| {
        let is_of_body = http_client::OF_BODIES.contains(&name);
        is_of_body || (name == CONTENT_TYPE && !may_say_type) || name.starts_with("x-amz-firehose-")
    };
    http_client::headers(
        value,
        is_own,
        Some("those of the protocol are set by it: see `access_key` and `common_attributes`"),
    )
}
