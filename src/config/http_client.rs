//! What the configuration of every destination over HTTP has: URLs, time-outs, `auth`, `proxy`, `tls` and headers.

use std::time::Duration;

use super::destination::{self, Connection};
use super::hints::GZIP_LEVEL_DEFAULT;
use super::map::Map;
use super::model::{EndpointAuth, ProxyConfig, Secret, TlsConfig};
use super::reader::Value;
use super::registries;
use super::text::Text;

/// Headers that say how the body is sent.
pub(super) const OF_BODIES: [&str; 5] =
    ["content-encoding", "content-length", "transfer-encoding", "host", "connection"];

/// A URL without credentials.
pub(super) fn web_url<'a>(value: &Value<'a>, allowed: &str, credentials_help: &str) -> Option<Text<'a>> {
    let text = value.word(allowed)?;
    let (scheme, rest) = text.text.split_once("://").unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        // Neither the URL nor its line is shown.
        value.problem(format!("`{}` must not hold credentials", value.name()), Some(credentials_help.to_owned()));
        return None;
    }
    let is_url = matches!(scheme, "http" | "https") && !host.is_empty() && reqwest::Url::parse(&text.text).is_ok();
    text.check(allowed, |_| is_url)
}

pub(super) fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) && text.trim() == text
}

pub(super) fn content_encoding(value: &Value<'_>) -> Option<Option<u8>> {
    if !value.is_map() {
        return value.one_of(&[("none", None), ("gzip", Some(GZIP_LEVEL_DEFAULT))]);
    }
    let options = value.map(&["gzip"])?.required("gzip")?.map(&["level"])?;
    let level = options.get_or("level", GZIP_LEVEL_DEFAULT, |value| u8::try_from(value.whole(1..=12, "")?).ok())?;
    Some(Some(level))
}

pub(super) fn seconds(
    map: &Map<'_>,
    key: &'static str,
    range: std::ops::RangeInclusive<i64>,
    default: i64,
) -> Option<Duration> {
    let seconds = map.get_or(key, default, |value| value.whole(range, " of seconds"))?;
    Some(Duration::from_secs(seconds.unsigned_abs()))
}

pub(super) fn proxy(value: &Value<'_>) -> Option<ProxyConfig> {
    let map = value.map(&["url", "username", "password"])?;
    let url = map.required("url").and_then(|value| {
        web_url(&value, "a URL such as `http://proxy.example:3128`", "they go under `username` and `password`")
    });
    let username = map.optional("username", |value| Some(value.word("a name without blanks")?.text));
    let password = map.optional("password", |value| Some(Secret(value.word("a password without blanks")?.text)));
    let credentials = match (username?, password?) {
        (Some(username), Some(password)) => Some((username, password)),
        (None, None) => None,
        _ => {
            value.problem("`username` and `password` go together", None);
            return None;
        }
    };
    Some(ProxyConfig { url: url?.text, credentials })
}

/// One of `kinds`.
pub(super) fn auth(value: &Value<'_>, kinds: &'static [&'static str], aws: &Connection) -> Option<EndpointAuth> {
    let (kind, options) = value.map(kinds)?.exactly_one(kinds)?;
    match kind {
        "bearer_token" => Some(EndpointAuth::Bearer(Secret(options.word("a token without blanks")?.text))),
        "api_key" => Some(EndpointAuth::ApiKey(Secret(options.word("a key without blanks")?.text))),
        "sigv4" => sigv4(&options, aws),
        _ => basic(&options),
    }
}

fn sigv4(options: &Value<'_>, aws: &Connection) -> Option<EndpointAuth> {
    let map = options.map(&["service", "region", "assume_role"])?;
    let service = map.required("service").and_then(|value| value.word("the name of a service such as `execute-api`"));
    let region = map.optional("region", |value| Some(value.word("the name of a region such as `eu-west-1`")?.text));
    let role = map.optional("assume_role", destination::assume_role);
    let (region, _, assume_role) = Connection::of(region?, role?).or(aws);
    Some(EndpointAuth::SigV4 { service: service?.text, region, assume_role })
}

fn basic(options: &Value<'_>) -> Option<EndpointAuth> {
    let map = options.map(&["username", "password"])?;
    let allowed = "a name without colon";
    let username =
        map.required("username").and_then(|value| value.word(allowed)?.check(allowed, |name| !name.contains(':')));
    let password = map.required("password").and_then(|value| value.word("a password without blanks"));
    Some(EndpointAuth::Basic { username: username?.text, password: Secret(password?.text) })
}

/// Headers of one's own, where `is_own` does not say of a name in small letters that it is none.
pub(super) fn headers(
    value: &Value<'_>,
    is_own: impl Fn(&str) -> bool,
    help: Option<&str>,
) -> Option<Vec<(String, Secret)>> {
    let named = value.named("a mapping of names to values")?;
    let header = |(name, value): &(&str, Value<'_>)| {
        let is_name = reqwest::header::HeaderName::try_from(*name).is_ok();
        if !is_name || is_own(&name.to_ascii_lowercase()) {
            value.problem("this cannot be a header of its own", help.map(str::to_owned));
            return None;
        }
        let allowed = "visible ASCII characters";
        Some(((*name).to_owned(), Secret(value.string(allowed)?.check(allowed, is_header_value)?.text)))
    };
    named.iter().map(header).collect()
}

/// `tls`, for URLs of which at least one is encrypted.
pub(super) fn tls(map: &Map<'_>, is_encrypted: bool) -> Option<TlsConfig> {
    let tls = map.get_or("tls", TlsConfig::default(), registries::tls)?;
    if tls != TlsConfig::default() && !is_encrypted {
        let help = Some(String::from("`tls` needs an `https://` URL"));
        map.get("tls").as_ref().unwrap_or(map.value()).problem("`tls` does nothing for this `url`", help);
        return None;
    }
    Some(tls)
}
