//! Signed requests, verified by the rules of AWS' signature version 4, without any of the code that signs.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::s3::{ACCESS_KEY, SECRET_KEY};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::digest([pad(0x36).as_slice(), message.as_bytes()].concat());
    Sha256::digest([pad(0x5c).as_slice(), &inner].concat()).to_vec()
}

/// A request as it came: its line, its headers and its body. These headers have to be part of what is signed, besides the usual ones.
pub fn verify(
    (line, headers, body): (&str, &BTreeMap<String, String>, &[u8]),
    needed: &[&str],
    region: &str,
    service: &str,
) {
    let authorization = &headers["authorization"];
    let field = |name: &str| {
        let (_, rest) = authorization.split_once(&format!("{name}=")).expect("a field");
        rest.split(',').next().expect("a value").trim().to_owned()
    };
    let (date, checksum) = (&headers["x-amz-date"], &headers["x-amz-content-sha256"]);
    assert_eq!(*checksum, hex(&Sha256::digest(body)));
    let scope = format!("{}/{region}/{service}/aws4_request", &date[..8]);
    assert_eq!(field("Credential"), format!("{ACCESS_KEY}/{scope}"));
    let signed = field("SignedHeaders");
    for needed in ["host", "x-amz-date"].iter().chain(needed) {
        assert!(signed.split(';').any(|name| name == *needed), "{needed} is not in {signed}");
    }
    let headers: String = signed.split(';').map(|name| format!("{name}:{}\n", headers[name])).collect();
    let target = line.split(' ').nth(1).expect("a path");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let canonical = format!("POST\n{path}\n{query}\n{headers}\n{signed}\n{checksum}");
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let key = [&date[..8], region, service, "aws4_request"]
        .iter()
        .fold(format!("AWS4{SECRET_KEY}").into_bytes(), |key, message| hmac(&key, message));
    assert_eq!(field("Signature"), hex(&hmac(&key, &to_sign)));
}
