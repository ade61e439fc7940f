//! Metadata in objects and around lines; the agent's own wrapping.

use proptest::prelude::*;
use serde_json::Value as Tree;

use super::super::testing::{one, origin};
use super::*;

fn build(config: AddMetadataConfig) -> Result<AddMetadata, ConfigError> {
    let ec2 = Ec2Metadata { instance_id: Some("i-1".into()), ..Ec2Metadata::default() };
    let environment = |name: &str| (name == "TEAM").then(|| "we\"b".to_owned());
    AddMetadata::new(config, &Surroundings { host: "web-1".into(), ec2, environment: &environment })
}

fn config(fields: Vec<(&str, MetadataValue)>) -> AddMetadataConfig {
    let fields = fields.into_iter().map(|(name, value)| MetadataField { name: name.to_owned(), value }).collect();
    AddMetadataConfig { fields, key: None, wrap: None }
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
    assert_eq!(one(&flat, br#"{"a": {}, "host":1}"#).unwrap(), format!(r#"{{"a": {{}}, "host":1,{EVERY_FIELD}}}"#));
    assert_eq!(one(&flat, b" { } \r").unwrap(), format!("{{{EVERY_FIELD}}}"));
    let nested = build(AddMetadataConfig { key: Some("metadata".into()), ..every_field() }).unwrap();
    assert_eq!(one(&nested, b"{\"a\":1\n}\n").unwrap(), format!(r#"{{"a":1,"metadata":{{{EVERY_FIELD}}}}}"#));
}

#[test]
fn what_is_no_object_fails_unless_it_is_wrapped() {
    let host = build(config(vec![("host", MetadataValue::Host)])).unwrap();
    for record in ["", "{", "}", "plain", "[{}]", "{\"a\":1}x"] {
        let reason = one(&host, record.as_bytes()).unwrap_err();
        assert!(reason.starts_with("the record is not a JSON object, "), "{reason}");
    }
    let wrap = AddMetadataConfig { wrap: Some("line".into()), ..config(vec![("host", MetadataValue::Host)]) };
    let wrap = build(wrap).unwrap();
    assert_eq!(one(&wrap, b"a \"b\"\xFF").unwrap(), "{\"host\":\"web-1\",\"line\":\"a \\\"b\\\"\u{FFFD}\"}");
    assert_eq!(one(&wrap, b"{}").unwrap(), r#"{"host":"web-1","line":"{}"}"#);
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
