//! `s3` and `directory`: where objects go, for a destination or a backup alike.

use std::path::PathBuf;
use std::time::Duration;

use super::http_endpoint;
use super::map::Map;
use super::model::{
    AssumeRole, Compression, DestinationConfig, DirectoryConfig, HttpEndpointConfig, ObjectLayout, ObjectStoreConfig,
    S3Config, Secret, ServerSideEncryption,
};
use super::opensearch::{self, OpenSearch};
use super::reader::Value;
use super::text::Text;
use crate::partition::{PrefixKind, PrefixTemplate, TimeZoneName, check_file_extension};

pub(super) const OUTPUTS: &[&str] = &["s3", "directory"];
/// What a delivery stream's `destination` may be.
const DESTINATIONS: &[&str] = &["s3", "directory", "http_endpoint", "opensearch"];

const REQUEST_TIMEOUT_SECONDS_DEFAULT: i64 = 60;

/// AWS' own limit; other stores have had longer names.
const BUCKET_CHARS_MAX_OF_AWS: usize = 63;
const BUCKET_CHARS_MAX: usize = 255;

/// How AWS is reached. What is absent in a destination comes from `aws`, what is absent there from the SDK's chain.
#[derive(Clone, Default)]
pub(super) struct Connection {
    region: Option<String>,
    endpoint_url: Option<String>,
    assume_role: Option<AssumeRole>,
    force_path_style: Option<bool>,
}

impl Connection {
    /// Of a service whose address is known.
    pub fn of(region: Option<String>, assume_role: Option<AssumeRole>) -> Self {
        Self { region, assume_role, ..Self::default() }
    }

    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// Region, endpoint and role; what is absent here from `aws`.
    pub fn or(self, aws: &Self) -> (Option<String>, Option<String>, Option<AssumeRole>) {
        (
            self.region.or_else(|| aws.region.clone()),
            self.endpoint_url.or_else(|| aws.endpoint_url.clone()),
            self.assume_role.or_else(|| aws.assume_role.clone()),
        )
    }
}

/// A place for objects, with what the checks and the error output need of how it was written.
pub(super) struct Output<'a> {
    pub config: ObjectStoreConfig,
    pub prefix: Option<Text<'a>>,
    pub error_output_prefix: Option<Text<'a>>,
    /// Of a directory.
    pub path: Option<Text<'a>>,
}

/// Where a delivery stream's records go, with what the checks need of how it was written.
pub(super) enum Destination<'a> {
    Objects(Box<Output<'a>>),
    HttpEndpoint(Box<HttpEndpointConfig>, Value<'a>),
    OpenSearch(Box<OpenSearch<'a>>),
}

impl<'a> Destination<'a> {
    pub fn objects(&self) -> Option<&Output<'a>> {
        match self {
            Self::Objects(output) => Some(output),
            Self::HttpEndpoint(..) | Self::OpenSearch(_) => None,
        }
    }

    pub fn config(&self) -> DestinationConfig {
        match self {
            Self::Objects(output) => DestinationConfig::Objects(output.config.clone()),
            Self::HttpEndpoint(endpoint, _) => DestinationConfig::HttpEndpoint(HttpEndpointConfig::clone(endpoint)),
            Self::OpenSearch(cluster) => DestinationConfig::OpenSearch(cluster.config.clone()),
        }
    }
}

/// `destination` of the delivery stream `stream`.
pub(super) fn destination<'a>(value: &Value<'a>, stream: Option<&str>, aws: &Connection) -> Option<Destination<'a>> {
    let (kind, options) = value.map(DESTINATIONS)?.exactly_one(DESTINATIONS)?;
    let output = match kind {
        "s3" => s3(&options, aws),
        "directory" => directory(&options),
        "opensearch" => {
            return Some(Destination::OpenSearch(Box::new(opensearch::opensearch(&options, aws)?)));
        }
        _ => {
            let endpoint = http_endpoint::http_endpoint(&options, stream, aws)?;
            return Some(Destination::HttpEndpoint(Box::new(endpoint), options));
        }
    };
    Some(Destination::Objects(Box::new(output?)))
}

/// The one of [`OUTPUTS`] that `parent` holds.
pub(super) fn output<'a>(parent: &Map<'a>, aws: &Connection) -> Option<Output<'a>> {
    let (kind, value) = parent.exactly_one(OUTPUTS)?;
    match kind {
        "s3" => s3(&value, aws),
        _ => directory(&value),
    }
}

/// The extension of `compression`'s objects where no `file_extension` replaces it.
pub(super) fn extension(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "",
        Compression::Gzip { .. } => ".gz",
        Compression::Snappy | Compression::HadoopSnappy => ".snappy",
        Compression::Zip { .. } => ".zip",
        Compression::Zstd { .. } => ".zst",
    }
}

pub(super) fn connection(map: &Map<'_>) -> Option<Connection> {
    let connection = service_connection(map);
    let force_path_style = map.optional("force_path_style", Value::boolean);
    Some(Connection { force_path_style: force_path_style?, ..connection? })
}

/// Of a service that has no buckets.
pub(super) fn service_connection(map: &Map<'_>) -> Option<Connection> {
    let region = map.optional("region", |value| Some(value.word("the name of a region such as `eu-west-1`")?.text));
    let endpoint_url = map.optional("endpoint_url", endpoint_url);
    let assume_role = map.optional("assume_role", assume_role);
    Some(Connection { region: region?, endpoint_url: endpoint_url?, assume_role: assume_role?, force_path_style: None })
}

fn s3<'a>(value: &Value<'a>, aws: &Connection) -> Option<Output<'a>> {
    let map = value.map(&[
        "bucket",
        "prefix",
        "error_output_prefix",
        "file_extension",
        "time_zone",
        "region",
        "endpoint_url",
        "force_path_style",
        "assume_role",
        "storage_class",
        "sse",
        "acl",
        "conditional_put",
        "request_timeout_seconds",
    ])?;
    let connection = connection(&map);
    let is_aws = connection.as_ref().is_none_or(|own| own.endpoint_url.is_none()) && aws.endpoint_url.is_none();
    let bucket = map.required("bucket").and_then(|value| bucket(&value, is_aws));
    let layout = layout(&map);
    let storage_class =
        map.optional("storage_class", |value| Some(value.word("a storage class such as `STANDARD_IA`")?.text));
    let sse = map.optional("sse", sse);
    let acl = map.optional("acl", |value| Some(value.word("a canned ACL such as `bucket-owner-full-control`")?.text));
    let conditional_put = map.get_or("conditional_put", true, Value::boolean);
    let request_timeout = map.get_or("request_timeout_seconds", REQUEST_TIMEOUT_SECONDS_DEFAULT, |value| {
        value.whole(1..=3600, " of seconds")
    });
    let (connection, (layout, prefix, error_output_prefix)) = (connection?, layout?);
    let force_path_style = connection.force_path_style.or(aws.force_path_style).unwrap_or(false);
    let (region, endpoint_url, assume_role) = connection.or(aws);
    let config = S3Config {
        bucket: bucket?,
        region,
        endpoint_url,
        assume_role,
        force_path_style,
        storage_class: storage_class?,
        sse: sse?,
        acl: acl?,
        conditional_put: conditional_put?,
        request_timeout: Duration::from_secs(request_timeout?.unsigned_abs()),
    };
    Some(Output { config: ObjectStoreConfig::S3(config, layout), prefix, error_output_prefix, path: None })
}

fn directory<'a>(value: &Value<'a>) -> Option<Output<'a>> {
    let map = value.map(&["path", "prefix", "error_output_prefix", "file_extension", "time_zone"])?;
    let path = map.required("path").and_then(|value| directory_path(&value));
    let layout = layout(&map);
    let ((path, text), (layout, prefix, error_output_prefix)) = (path?, layout?);
    let config = ObjectStoreConfig::Directory(DirectoryConfig { path }, layout);
    Some(Output { config, prefix, error_output_prefix, path: Some(text) })
}

fn directory_path<'a>(value: &Value<'a>) -> Option<(PathBuf, Text<'a>)> {
    let text = value.string("the path of a folder")?.check("the path of a folder", |path| !path.is_empty())?;
    let path = value.environment().absolute(&text.text);
    if path.metadata().is_ok_and(|metadata| !metadata.is_dir()) {
        value.problem(format!("`{}` must be a folder, {} is a file", value.name(), text.shown()), None);
        return None;
    }
    Some((path, text))
}

type Layout<'a> = (ObjectLayout, Option<Text<'a>>, Option<Text<'a>>);

/// The layout, and both prefixes as they were given.
fn layout<'a>(map: &Map<'a>) -> Option<Layout<'a>> {
    let prefix = map.optional("prefix", |value| value.string("a prefix"));
    let error_output_prefix = map.optional("error_output_prefix", error_output_prefix);
    let template = prefix.as_ref().and_then(|prefix| match PrefixTemplate::for_destination(given(prefix)) {
        Ok(template) => Some(template),
        Err(error) => {
            if let Some(prefix) = prefix {
                prefix.problem_at(error.offset, error.message, Some(error.help));
            }
            None
        }
    });
    let file_extension = map.optional("file_extension", file_extension);
    let time_zone = map.get_or("time_zone", TimeZoneName::utc(), time_zone);
    let file_extension = file_extension?.filter(|extension| !extension.is_empty());
    let layout = ObjectLayout { prefix: template?, file_extension, time_zone: time_zone? };
    Some((layout, prefix?, error_output_prefix?))
}

/// As it is given, without mistakes if it is not empty; what an empty one means depends on the prefix.
pub(super) fn error_output_prefix<'a>(value: &Value<'a>) -> Option<Text<'a>> {
    let text = value.string("a prefix")?;
    if text.text.is_empty() {
        return Some(text);
    }
    match PrefixTemplate::parse(&text.text, PrefixKind::ErrorOutput) {
        Ok(_) => Some(text),
        Err(error) => {
            text.problem_at(error.offset, error.message, Some(error.help));
            None
        }
    }
}

fn given<'t>(prefix: &'t Option<Text<'_>>) -> Option<&'t str> {
    prefix.as_ref().map(|prefix| prefix.text.as_str())
}

fn file_extension(value: &Value<'_>) -> Option<String> {
    let text = value.string("a file extension")?;
    match check_file_extension(&text.text) {
        Ok(()) => Some(text.text),
        Err(error) => {
            text.problem_at(error.offset, error.message, Some(error.help));
            None
        }
    }
}

fn time_zone(value: &Value<'_>) -> Option<TimeZoneName> {
    let text = value.string("the name of a time zone")?;
    match TimeZoneName::parse(&text.text) {
        Ok(time_zone) => Some(time_zone),
        Err(error) => {
            text.problem_at(error.offset, error.message, Some(error.help));
            None
        }
    }
}

fn bucket(value: &Value<'_>, is_aws: bool) -> Option<String> {
    let chars_max = if is_aws { BUCKET_CHARS_MAX_OF_AWS } else { BUCKET_CHARS_MAX };
    let allowed = format!("the name of a bucket, 3 to {chars_max} characters without `/`");
    let text = value
        .word(&allowed)?
        .check(&allowed, |bucket| (3..=chars_max).contains(&bucket.chars().count()) && !bucket.contains('/'))?;
    Some(text.text)
}

fn endpoint_url(value: &Value<'_>) -> Option<String> {
    let credentials_help = "they come from the SDK's default chain, for example from AWS_ACCESS_KEY_ID";
    url(value, "a URL such as `http://127.0.0.1:9000` or `https://s3.example`", credentials_help)
}

/// A URL without credentials, query and fragment.
pub(super) fn url(value: &Value<'_>, allowed: &str, credentials_help: &str) -> Option<String> {
    let text = value.word(allowed)?;
    let (scheme, rest) = text.text.split_once("://").unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        // Neither the URL nor its line is shown: see `secret_lines`.
        value.problem(format!("`{}` must not hold credentials", value.name()), Some(credentials_help.to_owned()));
        return None;
    }
    let is_url = matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https")
        && !host.is_empty()
        && !host.starts_with(':')
        && !rest.contains(['?', '#']);
    Some(text.check(allowed, |_| is_url)?.text)
}

pub(super) fn assume_role(value: &Value<'_>) -> Option<AssumeRole> {
    let map = value.map(&["role_arn", "external_id"])?;
    let allowed = "an ARN such as `arn:aws:iam::123456789012:role/delivery`";
    let role_arn = map
        .required("role_arn")
        .and_then(|value| Some(value.word(allowed)?.check(allowed, |arn| arn.starts_with("arn:"))?.text));
    let external_id = map.optional("external_id", |value| Some(Secret(value.word("a string without blanks")?.text)));
    Some(AssumeRole { role_arn: role_arn?, external_id: external_id? })
}

fn sse(value: &Value<'_>) -> Option<ServerSideEncryption> {
    if !value.is_map() {
        let allowed = "`s3` or a mapping with `kms_key_id`";
        value.string(allowed)?.check(allowed, |text| text == "s3")?;
        return Some(ServerSideEncryption::S3);
    }
    let key_id = value.map(&["kms_key_id"])?.required("kms_key_id")?.word("the id, ARN or alias of a key")?;
    Some(ServerSideEncryption::Kms { key_id: key_id.text })
}
