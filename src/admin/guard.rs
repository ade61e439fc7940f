//! From whom a request may come.
//!
//! A web page can make a browser send requests to this address, also under a name of its own that leads here. So a request
//! has to name this server by its IP address or as `localhost`, may have no other origin, and one that changes something has
//! to be of a kind that browsers send only after having asked, and to come from this machine.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use hyper::{Method, StatusCode, Uri};

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub reason: &'static str,
}

pub(super) fn check(method: &Method, uri: &Uri, headers: &HeaderMap, peer: IpAddr) -> Result<(), Refusal> {
    let refuse = |status, reason| Err(Refusal { status, reason });
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
        return refuse(StatusCode::BAD_REQUEST, "there must be one `Host`");
    };
    if !is_own(host) || uri.authority().is_some_and(|authority| authority.as_str() != host) {
        return refuse(StatusCode::FORBIDDEN, "ask by IP address or as `localhost`");
    }
    let is_same = |origin: &str| origin.strip_prefix("http://") == Some(host);
    if headers.get_all(ORIGIN).iter().any(|origin| !origin.to_str().is_ok_and(is_same)) {
        return refuse(StatusCode::FORBIDDEN, "other web sites may not ask");
    }
    let is_direct = |site: &str| matches!(site, "none" | "same-origin");
    if headers.get_all("sec-fetch-site").iter().any(|site| !site.to_str().is_ok_and(is_direct)) {
        return refuse(StatusCode::FORBIDDEN, "other web sites may not ask");
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    if !peer.to_canonical().is_loopback() {
        return refuse(StatusCode::FORBIDDEN, "only this machine may tell the daemon to do something");
    }
    let is_json =
        |kind: &str| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json");
    if !headers.get(CONTENT_TYPE).is_some_and(|kind| kind.to_str().is_ok_and(is_json)) {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "`Content-Type` must be `application/json`");
    }
    Ok(())
}

/// Whether no name server has a say in where it leads.
fn is_own(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let is_address = host.parse::<SocketAddr>().is_ok() || name.parse::<std::net::Ipv4Addr>().is_ok();
    let of_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    is_address
        || of_brackets.is_some_and(|host| host.parse::<IpAddr>().is_ok())
        || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn status(method: &Method, headers: &[(&'static str, &str)], peer: IpAddr) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        check(method, &Uri::from_static("/redrive"), &map, peer)
            .map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
    }

    #[test]
    fn only_names_that_nobody_else_can_give_lead_here() {
        for host in
            ["127.0.0.1:9600", "127.0.0.1", "10.1.2.3:9600", "[::1]:9600", "[::1]", "localhost", "LOCALHOST:9600"]
        {
            assert_eq!(status(&Method::GET, &[("host", host)], LOCAL), 200, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9600",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            ":9600",
            "::1",
        ] {
            assert_eq!(status(&Method::GET, &[("host", host)], LOCAL), 403, "{host}");
        }
        assert_eq!(status(&Method::GET, &[], LOCAL), 400);
        assert_eq!(status(&Method::GET, &[("host", "localhost"), ("host", "evil.example")], LOCAL), 400);
        let mut map = HeaderMap::new();
        map.append(HOST, "localhost".parse().unwrap());
        assert!(check(&Method::GET, &Uri::from_static("http://evil.example/redrive"), &map, LOCAL).is_err());
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let host = ("host", "127.0.0.1:9600");
        for (header, value, expected) in [
            ("origin", "http://127.0.0.1:9600", 200),
            ("origin", "http://127.0.0.1:8080", 403),
            ("origin", "https://127.0.0.1:9600", 403),
            ("origin", "null", 403),
            ("origin", "https://evil.example", 403),
            ("sec-fetch-site", "none", 200),
            ("sec-fetch-site", "same-origin", 200),
            ("sec-fetch-site", "same-site", 403),
            ("sec-fetch-site", "cross-site", 403),
        ] {
            assert_eq!(status(&Method::GET, &[host, (header, value)], LOCAL), expected, "{header}: {value}");
        }
    }

    #[test]
    fn only_this_machine_may_tell_and_only_in_json() {
        let json = [("host", "127.0.0.1:9600"), ("content-type", "application/json; charset=utf-8")];
        for (peer, expected) in
            [("127.0.0.1", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), ("10.0.0.7", 403), ("::ffff:10.0.0.7", 403)]
        {
            assert_eq!(status(&Method::POST, &json, peer.parse().unwrap()), expected, "{peer}");
            assert_eq!(status(&Method::GET, &json, peer.parse().unwrap()), 200, "{peer}");
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", "text/plain; application/json"] {
            assert_eq!(status(&Method::POST, &[json[0], ("content-type", kind)], LOCAL), 415, "{kind}");
        }
        assert_eq!(status(&Method::POST, &json[..1], LOCAL), 415);
        assert_eq!(status(&Method::DELETE, &json[..1], LOCAL), 415);
    }
}
