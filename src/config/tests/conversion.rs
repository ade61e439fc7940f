//! `schema_registries` and `format_conversion`.

use std::time::Duration;

use super::*;
use crate::config::model::*;
use crate::schema::{SchemaName, Version};

const REGISTRIES: &str = r#"
aws: { region: eu-west-1, assume_role: { role_arn: "arn:aws:iam::1:role/a" }, force_path_style: true }
schema_registries:
  lake: { directory: { path: schemas } }
  aws: { glue: { catalog_id: "123456789012", endpoint_url: "http://127.0.0.1:5001" } }
  events:
    confluent:
      url: https://registry.example/
      basic_auth: { username: me, password: "${HIDDEN}" }
      tls: { ca_file: ca.pem, certificate_file: /c.pem, key_file: /k.pem }
      timeout_seconds: 3
"#;

fn stream(conversion: &str) -> String {
    format!("{REGISTRIES}{STREAM}    format_conversion: {conversion}\n")
}

fn conversion(text: &str) -> FormatConversionConfig {
    config(&stream(text)).delivery_streams.remove(0).format_conversion.expect("a conversion")
}

#[test]
fn registries_are_read_with_their_defaults() {
    let registries = config(&stream("{ schema: { inline: [{ name: a, type: int }] } }")).schema_registries;
    let lake = RegistryConfig::Directory(DirectoryRegistryConfig { path: "/working/schemas".into() });
    let aws = RegistryConfig::Glue(GlueConfig {
        region: Some("eu-west-1".to_owned()),
        endpoint_url: Some("http://127.0.0.1:5001".to_owned()),
        assume_role: Some(AssumeRole { role_arn: "arn:aws:iam::1:role/a".to_owned(), external_id: None }),
        catalog_id: Some("123456789012".to_owned()),
        schema_registry: "default-registry".to_owned(),
        timeout: Duration::from_secs(10),
    });
    let password = Secret(HIDDEN.to_owned());
    let client = ClientCertificate { certificate: "/c.pem".into(), key: "/k.pem".into() };
    let events = RegistryConfig::Confluent(ConfluentConfig {
        url: "https://registry.example".to_owned(),
        credentials: ConfluentCredentials::Basic { username: "me".to_owned(), password },
        tls: TlsConfig { ca: Some("/working/ca.pem".into()), client: Some(client) },
        timeout: Duration::from_secs(3),
    });
    let named = [("lake", lake), ("aws", aws), ("events", events)];
    let named = named.map(|(name, config)| NamedRegistry { name: name.to_owned(), config });
    assert_eq!(registries, named);
    assert!(!format!("{registries:?}").contains(HIDDEN));
}

#[test]
fn a_conversion_is_read_with_its_defaults() {
    let config = config(&stream("{ schema: { inline: [{ name: a, type: int, required: true }] } }"));
    let stream = &config.delivery_streams[0];
    assert_eq!((stream.buffering.size, stream.buffering.interval), (128 << 20, Duration::from_secs(300)));
    assert_eq!(stream.destination.layout().unwrap().file_extension.as_deref(), Some(".parquet"));
    assert_eq!(stream.error_output.destination.layout().file_extension, None);
    let conversion = stream.format_conversion.as_ref().expect("a conversion");
    assert_eq!((&conversion.input, &conversion.parquet), (&InputConfig::default(), &ParquetConfig::default()));
    assert_eq!(conversion.on_unknown_field, OnUnknownField::Ignore);
    let SchemaConfig::Inline(table) = &conversion.schema else { panic!("{conversion:?}") };
    assert!(table.columns()[0].is_required);
}

#[test]
fn the_sizes_default_counts_beside_a_given_interval() {
    let text = "{ schema: { inline: [{ name: a, type: int }] } }\n    buffering: { interval_seconds: 60 }";
    let buffering = config(&stream(text)).delivery_streams[0].buffering;
    assert_eq!((buffering.size, buffering.interval), (128 << 20, Duration::from_secs(60)));
}

#[test]
fn a_schema_is_named_as_its_registry_names_it() {
    for (schema, name, version) in [
        ("{ registry: lake, database: web, table: access }", SchemaName::table("web", "access"), Version::Latest),
        (
            "{ registry: lake, database: web, table: access, version: 3 }",
            SchemaName::table("web", "access"),
            Version::Number(3),
        ),
        (
            "{ registry: aws, database: web, table: access, version: 0 }",
            SchemaName::table("web", "access"),
            Version::Number(0),
        ),
        ("{ registry: aws, subject: orders, version: latest }", SchemaName::subject("orders"), Version::Latest),
        ("{ registry: events, subject: a/b-value }", SchemaName::subject("a/b-value"), Version::Latest),
    ] {
        let conversion = conversion(&format!("{{ schema: {schema} }}"));
        let SchemaConfig::Registry(reference) = conversion.schema else { panic!("{schema}") };
        assert_eq!((reference.name, reference.version), (name.unwrap(), version), "{schema}");
    }
}

#[test]
fn every_option_is_read() {
    let conversion = conversion(
        r#"
      schema: { inline: [{ name: a, type: int }, { name: r, type: string }] }
      on_unknown_field: { rescue: { column: r } }
      input:
        deserializer: hive
        case_insensitive: false
        dots_to_underscores: true
        column_to_json_key: { a: "@a" }
        timestamp_formats: [iso8601, epoch_millis, "yyyy-MM-dd'T'HH:mm"]
      parquet:
        compression: { zstd: { level: 5 } }
        row_group_mb: 64
        page_kb: 512
        dictionary: never
        bloom_filters: [a]
        writer_version: 2
        statistics: page
        timestamps: int96"#,
    );
    assert_eq!(conversion.on_unknown_field, OnUnknownField::Rescue { column: "r".to_owned() });
    let input = InputConfig {
        deserializer: Deserializer::Hive,
        case_insensitive: false,
        dots_to_underscores: true,
        column_to_json_key: [("a".to_owned(), "@a".to_owned())].into(),
        timestamp_formats: vec![
            TimestampFormat::Iso8601,
            TimestampFormat::EpochMillis,
            TimestampFormat::Pattern("yyyy-MM-dd'T'HH:mm".to_owned()),
        ],
    };
    assert_eq!(conversion.input, input);
    let parquet = ParquetConfig {
        compression: ParquetCompression::Zstd { level: 5 },
        row_group_bytes: 64 << 20,
        page_bytes: 512 << 10,
        dictionary: Dictionary::Never,
        bloom_filters: vec!["a".to_owned()],
        writer_version: WriterVersion::V2,
        statistics: Statistics::Page,
        timestamps: Timestamps::Int96,
    };
    assert_eq!(conversion.parquet, parquet);
}
