//! Metadata in objects and around lines; the agent's own wrapping.

use proptest::prelude::*;
use serde_json::Value as Tree;

use super::super::testing::{all_from, one, origin};
use super::*;
use crate::record::{Position, ShardNames};

fn build(config: AddMetadataConfig) -> Result<AddMetadata, ConfigError> {
    let ec2 = Ec2Metadata { instance_id: Some("i-1".into()), ..Ec2Metadata::default() };
    let environment = |name: &str| (name == "TEAM").then(|| "we\"b".to_owned());
    AddMetadata::new(config, &Surroundings { host: "web-1".into(), ec2, environment: &environment })
}

fn config(fields: Vec<(&str, MetadataValue)>) -> AddMetadataConfig {
    let fields = fields.into_iter().map(|(name, value)| MetadataField { name: name.to_owned(), value }).collect();
    AddMetadataConfig { fields, key: None, wrap: None, on_existing: OnExisting::Replace }
}

fn every_field() -> AddMetadataConfig {
    config(vec![
        ("host", MetadataValue::Host),
        ("path", MetadataValue::Path),
        ("offset", MetadataValue::Offset),
        ("time", MetadataValue::IngestionTime),
        ("static", MetadataValue::Static(r#"{ "a": [1, "x y"] }"#.into())),
        ("team", MetadataValue::Environment("TEAM".into())),
        ("instance", MetadataValue::Ec2(Ec2Field::InstanceId)),
        ("region", MetadataValue::Ec2(Ec2Field::Region)),
    ])
}

const EVERY_FIELD: &str = concat!(
    r#""host":"web-1","path":"/var/log/app.log","offset":4711,"time":"2026-07-13T14:05:09.012Z","#,
    r#""static":{"a":[1,"x y"]},"team":"we\"b","instance":"i-1","region":null"#
);

#[test]
fn metadata_go_behind_the_records_own_members() {
    let flat = build(every_field()).unwrap();
    assert_eq!(one(&flat, br#"{"a": {}, "b":1}"#).unwrap(), format!(r#"{{"a": {{}}, "b":1,{EVERY_FIELD}}}"#));
    assert_eq!(one(&flat, b" { } \r").unwrap(), format!("{{{EVERY_FIELD}}}"));
    let nested = build(AddMetadataConfig { key: Some("metadata".into()), ..every_field() }).unwrap();
    assert_eq!(one(&nested, b"{\"a\":1\n}\n").unwrap(), format!(r#"{{"a":1,"metadata":{{{EVERY_FIELD}}}}}"#));
}

#[test]
fn what_is_no_object_fails_unless_it_is_wrapped() {
    let host = build(config(vec![("host", MetadataValue::Host)])).unwrap();
    for record in ["", "{", "}", "plain", "[{}]", "{\"a\":1}x", "{\"a\":1,}", "{,}", "{\"a\":{}"] {
        let reason = one(&host, record.as_bytes()).unwrap_err();
        assert!(reason.starts_with("the record is not a JSON object: expected "), "{reason}");
        assert!(reason.ends_with("; `wrap` makes an object of any record"), "{reason}");
    }
    let wrap = AddMetadataConfig { wrap: Some("line".into()), ..config(vec![("host", MetadataValue::Host)]) };
    let wrap = build(wrap).unwrap();
    assert_eq!(one(&wrap, b"a \"b\"\xFF").unwrap(), "{\"host\":\"web-1\",\"line\":\"a \\\"b\\\"\u{FFFD}\"}");
    assert_eq!(one(&wrap, b"{}").unwrap(), r#"{"host":"web-1","line":"{}"}"#);
}

#[test]
fn no_name_of_the_metadata_stands_twice() {
    let fields = || config(vec![("host", MetadataValue::Host), ("at", MetadataValue::Offset)]);
    let keep = build(AddMetadataConfig { on_existing: OnExisting::Keep, ..fields() }).unwrap();
    let replace = build(fields()).unwrap();
    let table = [
        (
            r#"{"host" : "x", "a":[ {"host":1} ]}"#,
            r#"{"a":[ {"host":1} ],"host":"web-1","at":4711}"#,
            r#"{"host" : "x", "a":[ {"host":1} ],"at":4711}"#,
        ),
        (r#"{"at":1,"\u0068ost":2}"#, r#"{"host":"web-1","at":4711}"#, r#"{"at":1,"\u0068ost":2}"#),
        (
            r#"{"b":1,"at":2,"at":3,"c":4}"#,
            r#"{"b":1,"c":4,"host":"web-1","at":4711}"#,
            r#"{"b":1,"at":2,"at":3,"c":4,"host":"web-1"}"#,
        ),
        (r#"{"\ud800":1}"#, r#"{"\ud800":1,"host":"web-1","at":4711}"#, r#"{"\ud800":1,"host":"web-1","at":4711}"#),
    ];
    for (record, replaced, kept) in table {
        assert_eq!(one(&replace, record.as_bytes()).unwrap(), replaced);
        assert_eq!(one(&keep, record.as_bytes()).unwrap(), kept);
    }
    let nested = build(AddMetadataConfig { key: Some("meta".into()), ..fields() }).unwrap();
    assert_eq!(one(&nested, br#"{"meta":1,"at":2}"#).unwrap(), r#"{"at":2,"meta":{"host":"web-1","at":4711}}"#);
}

#[test]
fn tags_are_an_object_with_names_in_lower_case() {
    let built = |tags| {
        let ec2 = Ec2Metadata { tags, ..Ec2Metadata::default() };
        let surroundings = Surroundings { host: String::new(), ec2, environment: &|_| None };
        AddMetadata::new(config(vec![("tags", MetadataValue::Ec2(Ec2Field::Tags))]), &surroundings).unwrap()
    };
    let tags = |tags: &[&str]| Some(tags.iter().map(|key| ((*key).to_owned(), "v\"".to_owned())).collect());
    let table = [
        (None, r#"{"tags":null}"#),
        (tags(&[]), r#"{"tags":{}}"#),
        (tags(&["Name", "Team"]), r#"{"tags":{"name":"v\"","team":"v\""}}"#),
        (tags(&["Name", "name"]), r#"{"tags":{"Name":"v\"","name":"v\""}}"#),
    ];
    for (tags, expected) in table {
        assert_eq!(one(&built(tags), b"{}").unwrap(), expected);
    }
}

#[test]
fn the_agents_own_wrapping_can_be_had() {
    let fields = vec![
        ("ts", MetadataValue::IngestionTime),
        ("metadata", MetadataValue::Static(r#"{"foo":{"bar":"baz"}}"#.into())),
    ];
    let agent = build(AddMetadataConfig { wrap: Some("data".into()), ..config(fields) }).unwrap();
    assert_eq!(
        one(&agent, b"64.242.88.10 - - GET").unwrap(),
        r#"{"ts":"2026-07-13T14:05:09.012Z","metadata":{"foo":{"bar":"baz"}},"data":"64.242.88.10 - - GET"}"#
    );
}

#[test]
fn a_time_without_a_fraction_has_milliseconds_too() {
    let time = build(config(vec![("t", MetadataValue::IngestionTime)])).unwrap();
    let mut out = Records::default();
    let origin = Origin { arrival: jiff::Timestamp::UNIX_EPOCH, ..origin() };
    time.process(b"{}", &origin, &mut out).unwrap();
    assert_eq!(out.get(0).unwrap(), br#"{"t":"1970-01-01T00:00:00.000Z"}"#);
}

#[test]
fn mistakes_are_explained() {
    let host = || config(vec![("host", MetadataValue::Host)]);
    let table = [
        (config(vec![]), "fields", "`fields` must have at least one field"),
        (config(vec![("a", MetadataValue::Host), ("a", MetadataValue::Path)]), "fields", "`fields` has `a` twice"),
        (
            config(vec![("a", MetadataValue::Environment("UNSET".into()))]),
            "fields",
            "the environment variable `UNSET` is not set",
        ),
        (
            config(vec![("a", MetadataValue::Static("x y".into()))]),
            "fields",
            "the value of `a` is not JSON, given \"x y\"",
        ),
        (
            AddMetadataConfig { wrap: Some("host".into()), ..host() },
            "wrap",
            "`wrap` is `host`, as the metadata has it already",
        ),
        (
            AddMetadataConfig { wrap: Some("m".into()), key: Some("m".into()), ..host() },
            "wrap",
            "`wrap` is `m`, as the metadata has it already",
        ),
    ];
    for (config, key, message) in table {
        let error = build(config).err().unwrap();
        assert_eq!((error.key, error.message.as_str()), (key, message));
    }
}

proptest! {
    #[test]
    fn objects_keep_their_members(members in prop::collection::btree_map("[a-z\"{}]{0,3}", ".{0,5}", 0..4), spaces in "[ \n\t]{0,3}") {
        let object = format!("{spaces}{}{spaces}", serde_json::to_string_pretty(&members).unwrap());
        let added = one(&build(config(vec![("HOST", MetadataValue::Host)])).unwrap(), object.as_bytes()).unwrap();
        let mut expected: serde_json::Map<String, Tree> =
            members.into_iter().map(|(name, value)| (name, Tree::from(value))).collect();
        expected.insert("HOST".into(), "web-1".into());
        prop_assert_eq!(serde_json::from_str::<Tree>(&added).unwrap(), Tree::Object(expected));
    }
}

#[test]
fn a_record_of_a_stream_says_which_one_it_is_and_one_of_a_file_says_null() {
    let fields = [
        ("stream", ShardField::Stream),
        ("shard", ShardField::ShardId),
        ("key", ShardField::PartitionKey),
        ("number", ShardField::SequenceNumber),
        ("sub", ShardField::SubSequenceNumber),
        ("at", ShardField::ApproximateArrivalTimestamp),
    ];
    let fields = fields.into_iter().map(|(name, field)| (name, MetadataValue::Shard(field))).collect();
    let metadata = build(config(fields)).unwrap();
    let shard = ShardNames { stream: "clicks".into(), shard_id: "shardId-000000000003".into() };
    let number = "49590338271490256608559692538361571095921575989136588898".parse().unwrap();
    let position = Position::behind(number, 2);
    let origin = Origin { shard: Some(&shard), partition_key: "k\"1", position, ..origin() };
    let expected = concat!(
        r#"{"stream":"clicks","shard":"shardId-000000000003","key":"k\"1","#,
        r#""number":"49590338271490256608559692538361571095921575989136588898","sub":2,"at":"2026-07-13T14:05:09.012Z"}"#
    );
    assert_eq!(all_from(&metadata, b"{}", &origin).unwrap(), [expected]);
    let nulls = r#"{"stream":null,"shard":null,"key":null,"number":null,"sub":null,"at":null}"#;
    assert_eq!(one(&metadata, b"{}").unwrap(), nulls);
}
