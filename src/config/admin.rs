//! `admin`: the address at which a running daemon is asked.

use std::net::SocketAddr;

use super::model::AdminConfig;
use super::reader::Value;

pub(super) fn admin(value: &Value<'_>) -> Option<AdminConfig> {
    let allowed = "an IP address and a port such as `127.0.0.1:9600`";
    let parse = |text: &str| text.parse::<SocketAddr>().ok().filter(|listen| listen.port() != 0);
    let listen = value.map(&["listen"])?.optional("listen", |value| {
        let text = value.word(allowed)?.check(allowed, |text| parse(text).is_some())?;
        parse(&text.text)
    });
    Some(AdminConfig { listen: listen?.unwrap_or(AdminConfig::LISTEN_DEFAULT) })
}
