//! `source: { kinesis: … }`: which stream is read, from where, and by what kind of consumer.

use std::time::Duration;

use jiff::Timestamp;

use super::destination::{Connection, service_connection};
use super::kinesis_leases::{self, Reached};
use super::map::Map;
use super::model::{Consumer, KinesisSourceConfig, Leases, OnMisrouted};
use super::reader::Value;
use super::text::Text;
use crate::sequence_number::SequenceNumber;
use crate::source::kinesis::client::StreamId;
use crate::source::kinesis::page::StartingPosition;

const KEYS: &[&str] = &[
    "stream",
    "region",
    "endpoint_url",
    "assume_role",
    "application_name",
    "initial_position",
    "shards",
    "consumer",
    "consumer_name",
    "deregister_consumer",
    "max_records",
    "poll_interval_ms",
    "on_misrouted",
    "leases",
];
const POSITIONS: &[&str] = &["at_timestamp", "at_sequence_number", "after_sequence_number"];
const OF_POLLING: &[&str] = &["max_records", "poll_interval_ms"];
const OF_FAN_OUT: &[&str] = &["consumer_name", "deregister_consumer"];

/// Of streams, consumers and shards alike, as the service has it.
const NAME_CHARS_MAX: usize = 128;
const MAX_RECORDS: i64 = 10_000;
const POLL_INTERVAL_MS_DEFAULT: i64 = 1000;
/// The last second of the year 9999 in every time zone.
const SECONDS_MAX: f64 = 253_402_207_199.0;

/// The source, and how it was written for the checks against other delivery streams.
pub(super) struct KinesisSource<'a> {
    pub config: KinesisSourceConfig,
    pub value: Value<'a>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Polling,
    EnhancedFanOut,
}

/// The source of the delivery stream `delivery_stream`.
pub(super) fn kinesis_source<'a>(
    value: &Value<'a>,
    delivery_stream: Option<&str>,
    aws: &Connection,
) -> Option<KinesisSource<'a>> {
    let map = value.map(KEYS)?;
    let stream = map.required("stream").and_then(|value| stream(&value));
    let connection = service_connection(&map);
    let is_right_region = stream.as_ref().is_none_or(|(_, region)| check_region(&map, region.as_deref()));
    let application_name = map.optional("application_name", |value| name(value, "the name of an application"));
    let initial_position = map.get_or("initial_position", StartingPosition::TrimHorizon, initial_position);
    let shards = map.get_or("shards", Vec::new(), shards);
    let is_one = initial_position.zip(shards.as_ref()).is_none_or(|(at, shards)| check_shard(&map, at, shards.len()));
    let application = application_name.as_ref().map(|name| name.as_deref().or(delivery_stream).unwrap_or_default());
    let consumer = consumer(&map, application);
    let on_misrouted = map.get_or("on_misrouted", OnMisrouted::ErrorOutput, |value| {
        value.one_of(&[
            ("error_output", OnMisrouted::ErrorOutput),
            ("drop", OnMisrouted::Drop),
            ("deliver", OnMisrouted::Deliver),
        ])
    });
    let stream_region = stream.as_ref().and_then(|(_, region)| region.clone());
    let reached = connection.as_ref().map(|own| Reached::by(own.clone(), stream_region, aws));
    let leases = map.get_or("leases", Leases::Local, |value| kinesis_leases::leases(value, &map, reached.as_ref()));
    let application_name = application.map(str::to_owned);
    let (Reached { region, endpoint_url, assume_role, .. }, (stream, _)) = (reached?, stream?);
    let config = KinesisSourceConfig {
        stream,
        region,
        endpoint_url,
        assume_role,
        application_name: application_name?,
        initial_position: initial_position?,
        shards: shards?,
        consumer: consumer?,
        on_misrouted: on_misrouted?,
        leases: leases?,
    };
    let is_own = check_deregistration(&map, &config);
    (is_right_region && is_one && is_own).then(|| KinesisSource { config, value: value.clone() })
}

/// A stream, and the region that its ARN names.
fn stream(value: &Value<'_>) -> Option<(StreamId, Option<String>)> {
    let allowed =
        "the name of a Kinesis stream, or its ARN such as `arn:aws:kinesis:eu-west-1:123456789012:stream/clicks`";
    let text = value.string(allowed)?;
    if is_name(&text.text) {
        return Some((StreamId::Name(text.text), None));
    }
    let text = text.check(allowed, |arn| region_of(arn).is_some())?;
    let region = region_of(&text.text)?.to_owned();
    Some((StreamId::Arn(text.text), Some(region)))
}

/// The region, if it is the ARN of a stream.
fn region_of(arn: &str) -> Option<&str> {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let [scheme, partition, service, region, account, stream] = parts.as_slice() else { return None };
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    let is_arn = *scheme == "arn" && is_word(partition) && *service == "kinesis" && is_word(region);
    let is_account = account.len() == 12 && account.bytes().all(|c| c.is_ascii_digit());
    (is_arn && is_account && stream.strip_prefix("stream/").is_some_and(is_name)).then_some(*region)
}

/// False if `region` is another than the one of the ARN.
fn check_region(map: &Map<'_>, of_arn: Option<&str>) -> bool {
    let (Some(of_arn), Some(value)) = (of_arn, map.get("region")) else { return true };
    // What is no word was reported already.
    let Some((given, _)) = value.scalar("a region") else { return false };
    if given.text == of_arn {
        return true;
    }
    let message = format!("`region` contradicts `stream`, given {}", given.shown());
    value.problem(message, Some("the ARN names a region already: take `region` away".to_owned()));
    false
}

fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len()) && is_of_names(name)
}

/// Whether it has nothing but the characters of names in Kinesis and DynamoDB.
pub(super) fn is_of_names(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn name(value: &Value<'_>, what: &str) -> Option<String> {
    let allowed = format!("{what}, 1 to {NAME_CHARS_MAX} characters of `a-z`, `A-Z`, `0-9`, `_`, `.` and `-`");
    Some(value.string(&allowed)?.check(&allowed, is_name)?.text)
}

fn initial_position(value: &Value<'_>) -> Option<StartingPosition> {
    if value.is_map() {
        let (kind, value) = value.map(POSITIONS)?.exactly_one(POSITIONS)?;
        return match kind {
            "at_timestamp" => timestamp(&value).map(StartingPosition::AtTimestamp),
            "at_sequence_number" => sequence_number(&value).map(StartingPosition::At),
            _ => sequence_number(&value).map(StartingPosition::After),
        };
    }
    let allowed = "one of `trim_horizon`, `latest`, `{ at_timestamp: … }`, `{ at_sequence_number: … }`, \
                   `{ after_sequence_number: … }`";
    match value.string(allowed)?.check(allowed, |text| matches!(text, "trim_horizon" | "latest"))?.text.as_str() {
        "latest" => Some(StartingPosition::Latest),
        _ => Some(StartingPosition::TrimHorizon),
    }
}

/// In whole milliseconds, as the service has it.
fn timestamp(value: &Value<'_>) -> Option<Timestamp> {
    if value.is_number() {
        let seconds = value.decimal(0.0..=SECONDS_MAX, " of seconds since 1970", None)?;
        return Timestamp::from_millisecond((seconds * 1000.0).round() as i64).ok();
    }
    let allowed = "a time with its zone such as `2026-11-21T10:00:00Z`, or a number of seconds since 1970";
    let parsed = |text: &str| text.parse::<Timestamp>().ok().filter(|time| *time >= Timestamp::UNIX_EPOCH);
    let text = value.string(allowed)?.check(allowed, |text| parsed(text).is_some())?;
    Timestamp::from_millisecond(parsed(&text.text)?.as_millisecond()).ok()
}

fn sequence_number(value: &Value<'_>) -> Option<SequenceNumber> {
    let allowed = "a sequence number in quotes, as no number of YAML holds all its digits";
    let text: Text<'_> = value.string(allowed)?.check(allowed, |text| text.parse::<SequenceNumber>().is_ok())?;
    text.text.parse().ok()
}

fn shards(value: &Value<'_>) -> Option<Vec<String>> {
    let given = value.one_or_list();
    if given.is_empty() {
        value.problem("`shards` must have at least one shard", Some("without the key all are read".to_owned()));
        return None;
    }
    // All of them are looked at before the first mistake ends it.
    let shards: Vec<_> = given.iter().map(|value| name(value, "the id of a shard")).collect();
    let shards: Vec<String> = shards.into_iter().collect::<Option<_>>()?;
    let twice = shards.iter().enumerate().find(|(number, shard)| shards[..*number].contains(shard));
    if let Some((number, _)) = twice {
        given[number].problem("this shard is given twice", None);
        return None;
    }
    Some(shards)
}

/// False for a sequence number, which is one shard's, without that shard.
fn check_shard(map: &Map<'_>, position: StartingPosition, shards: usize) -> bool {
    let is_of_a_shard = match position {
        StartingPosition::At(_) | StartingPosition::After(_) => true,
        StartingPosition::TrimHorizon | StartingPosition::Latest | StartingPosition::AtTimestamp(_) => false,
    };
    if !is_of_a_shard || shards == 1 {
        return true;
    }
    if let Some(value) = map.get("initial_position") {
        let help = "name the shard that the sequence number is of: `shards: [shardId-000000000000]`";
        value.problem("a sequence number needs exactly one shard in `shards`", Some(help.to_owned()));
    }
    false
}

/// `consumer` and the keys that belong to one of its choices.
fn consumer(map: &Map<'_>, application: Option<&str>) -> Option<Consumer> {
    let kind = map.get_or("consumer", Kind::Polling, |value| {
        value.one_of(&[("polling", Kind::Polling), ("enhanced_fan_out", Kind::EnhancedFanOut)])
    });
    let consumer_name = map.optional("consumer_name", |value| name(value, "the name of a consumer"));
    let deregisters = map.get_or("deregister_consumer", false, Value::boolean);
    let records_max = map.get_or("max_records", MAX_RECORDS, |value| value.whole(1..=MAX_RECORDS, ""));
    let interval =
        map.get_or("poll_interval_ms", POLL_INTERVAL_MS_DEFAULT, |value| value.whole(200..=60_000, " of milliseconds"));
    let kind = kind?;
    let (foreign, owner) = match kind {
        Kind::Polling => (OF_FAN_OUT, "enhanced_fan_out"),
        Kind::EnhancedFanOut => (OF_POLLING, "polling"),
    };
    if !check_foreign(map, foreign, owner) {
        return None;
    }
    Some(match kind {
        Kind::Polling => Consumer::Polling {
            records_max: u32::try_from(records_max?).ok()?,
            interval: Duration::from_millis(interval?.unsigned_abs()),
        },
        Kind::EnhancedFanOut => Consumer::EnhancedFanOut {
            name: consumer_name?.or(application.map(str::to_owned))?,
            deregisters: deregisters?,
        },
    })
}

/// False if a worker would take away the registration that all the others read with.
fn check_deregistration(map: &Map<'_>, config: &KinesisSourceConfig) -> bool {
    let (Consumer::EnhancedFanOut { deregisters: true, .. }, Leases::DynamoDb(_)) = (&config.consumer, &config.leases)
    else {
        return true;
    };
    if let Some(value) = map.get("deregister_consumer") {
        let help =
            "all workers read with the same consumer: take the key away, and deregister it when the last one is gone";
        value.problem("`deregister_consumer` does not go together with leases in DynamoDB", Some(help.to_owned()));
    }
    false
}

/// False if there are keys of the other kind of consumer.
fn check_foreign(map: &Map<'_>, keys: &[&'static str], owner: &str) -> bool {
    let mut is_right = true;
    for key in keys {
        if let Some(value) = map.get(key) {
            let help = format!("`consumer: {owner}` beside it, or take the key away");
            value.problem(format!("`{key}` belongs to `consumer: {owner}`"), Some(help));
            is_right = false;
        }
    }
    is_right
}
