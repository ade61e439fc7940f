//! `schema_registries`: where schemas come from, by name.

use std::path::PathBuf;
use std::time::Duration;

use super::destination::{self, Connection};
use super::map::Map;
use super::model::{
    ClientCertificate, ConfluentConfig, ConfluentCredentials, DirectoryRegistryConfig, GlueConfig, NamedRegistry,
    RegistryConfig, Secret, TlsConfig,
};
use super::reader::Value;

const KINDS: &[&str] = &["directory", "glue", "confluent"];
const TIMEOUT_SECONDS_DEFAULT: i64 = 10;

/// Where AWS puts schemas that name no registry.
const SCHEMA_REGISTRY_DEFAULT: &str = "default-registry";

/// Behind it a colon would be a port.
const URL_ALLOWED: &str = "a URL such as `https://registry.example:8081`";

/// In the order of the file. Those with mistakes are there without a configuration: streams may name them all the same.
pub(super) type Registries = Vec<(String, Option<RegistryConfig>)>;

pub(super) fn registries(main: &Map<'_>, aws: &Connection) -> Registries {
    let Some(value) = main.get("schema_registries") else { return Vec::new() };
    let Some(named) = value.named("a mapping of names to registries") else { return Vec::new() };
    named.iter().map(|(name, value)| ((*name).to_owned(), registry(name, value, aws))).collect()
}

pub(super) fn all_read(registries: Registries) -> Option<Vec<NamedRegistry>> {
    registries.into_iter().map(|(name, config)| Some(NamedRegistry { name, config: config? })).collect()
}

fn registry(name: &str, value: &Value<'_>, aws: &Connection) -> Option<RegistryConfig> {
    let is_name = !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if !is_name {
        let message = "a registry's name is 1 to 64 characters of `a-z`, `A-Z`, `0-9`, `_`, `.` and `-`";
        value.problem(message, None);
    }
    let (kind, options) = value.map(KINDS)?.exactly_one(KINDS)?;
    let config = match kind {
        "directory" => RegistryConfig::Directory(directory(&options)?),
        "glue" => RegistryConfig::Glue(glue(&options, aws)?),
        _ => RegistryConfig::Confluent(confluent(&options)?),
    };
    is_name.then_some(config)
}

fn directory(value: &Value<'_>) -> Option<DirectoryRegistryConfig> {
    let path = value.map(&["path"])?.required("path")?;
    let text = path.string("the path of a folder")?.check("the path of a folder", |path| !path.is_empty())?;
    Some(DirectoryRegistryConfig { path: path.environment().absolute(&text.text) })
}

fn glue(value: &Value<'_>, aws: &Connection) -> Option<GlueConfig> {
    let map =
        value.map(&["region", "endpoint_url", "assume_role", "catalog_id", "schema_registry", "timeout_seconds"])?;
    let connection = destination::service_connection(&map);
    let catalog_id = map.optional("catalog_id", |value| {
        let allowed = "the 12 digits of an account, in quotes";
        let is_account = |id: &str| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
        Some(value.string(allowed)?.check(allowed, is_account)?.text)
    });
    let schema_registry = map.get_or("schema_registry", SCHEMA_REGISTRY_DEFAULT.to_owned(), |value| {
        Some(value.word("the name of a schema registry")?.text)
    });
    let timeout = timeout(&map);
    let (region, endpoint_url, assume_role) = connection?.or(aws);
    Some(GlueConfig {
        region,
        endpoint_url,
        assume_role,
        catalog_id: catalog_id?,
        schema_registry: schema_registry?,
        timeout: timeout?,
    })
}

fn confluent(value: &Value<'_>) -> Option<ConfluentConfig> {
    let map = value.map(&["url", "basic_auth", "bearer_token", "tls", "timeout_seconds"])?;
    let url = map.required("url").and_then(|value| {
        let credentials_help = "they go under `basic_auth` or `bearer_token`";
        let url = destination::url(&value, URL_ALLOWED, credentials_help)?;
        Some(url.trim_end_matches('/').to_owned())
    });
    let basic = map.optional("basic_auth", basic_auth);
    let bearer = map.optional("bearer_token", |value| Some(Secret(value.word("a token without blanks")?.text)));
    let tls = map.get_or("tls", TlsConfig::default(), tls);
    let timeout = timeout(&map);
    let credentials = match (basic?, bearer?) {
        (None, None) => ConfluentCredentials::None,
        (Some(basic), None) => basic,
        (None, Some(token)) => ConfluentCredentials::Bearer(token),
        (Some(_), Some(_)) => {
            let message = "there is `basic_auth` already, `bearer_token` is one too many";
            map.get("bearer_token").as_ref().unwrap_or(value).problem(message, None);
            return None;
        }
    };
    let (url, tls) = (url?, tls?);
    if tls != TlsConfig::default() && !url.starts_with("https://") {
        let help = Some(String::from("`tls` needs an `https://` URL"));
        map.get("tls").as_ref().unwrap_or(value).problem("`tls` does nothing for this `url`", help);
        return None;
    }
    Some(ConfluentConfig { url, credentials, tls, timeout: timeout? })
}

fn basic_auth(value: &Value<'_>) -> Option<ConfluentCredentials> {
    let map = value.map(&["username", "password"])?;
    let allowed = "a name without colon";
    let username =
        map.required("username").and_then(|value| value.word(allowed)?.check(allowed, |name| !name.contains(':')));
    let password = map.required("password").and_then(|value| value.word("a password without blanks"));
    Some(ConfluentCredentials::Basic { username: username?.text, password: Secret(password?.text) })
}

pub(super) fn tls(value: &Value<'_>) -> Option<TlsConfig> {
    let map = value.map(&["ca_file", "certificate_file", "key_file"])?;
    let ca = map.optional("ca_file", pem_file);
    let certificate = map.optional("certificate_file", pem_file);
    let key = map.optional("key_file", pem_file);
    let client = match (certificate?, key?) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
        _ => {
            value.problem("`certificate_file` and `key_file` go together", None);
            return None;
        }
    };
    Some(TlsConfig { ca: ca?, client })
}

fn pem_file(value: &Value<'_>) -> Option<PathBuf> {
    let allowed = "the path of a PEM file";
    let text = value.string(allowed)?.check(allowed, |path| !path.is_empty())?;
    Some(value.environment().absolute(&text.text))
}

fn timeout(map: &Map<'_>) -> Option<Duration> {
    let seconds = map.get_or("timeout_seconds", TIMEOUT_SECONDS_DEFAULT, |value| value.whole(1..=300, " of seconds"));
    seconds.map(|seconds| Duration::from_secs(seconds.unsigned_abs()))
}
