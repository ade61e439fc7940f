//! Signed requests, verified by the rules of AWS' signature version 4, without any of the code that signs.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::to_endpoint;
use crate::support::endpoint::Received;
use crate::support::s3::{ACCESS_KEY, SECRET_KEY};
use crate::support::{Endpoint, Hydrant, Scratch};

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

fn verify(request: &Received, region: &str, service: &str) {
    let authorization = &request.headers["authorization"];
    let field = |name: &str| {
        let (_, rest) = authorization.split_once(&format!("{name}=")).expect("a field");
        rest.split(',').next().expect("a value").trim().to_owned()
    };
    let (date, checksum) = (&request.headers["x-amz-date"], &request.headers["x-amz-content-sha256"]);
    assert_eq!(*checksum, hex(&Sha256::digest(&request.body)));
    let scope = format!("{}/{region}/{service}/aws4_request", &date[..8]);
    assert_eq!(field("Credential"), format!("{ACCESS_KEY}/{scope}"));
    let signed = field("SignedHeaders");
    for needed in ["host", "x-amz-date", "x-amz-firehose-request-id", "x-amz-firehose-access-key"] {
        assert!(signed.split(';').any(|name| name == needed), "{needed} is not in {signed}");
    }
    let headers: String = signed.split(';').map(|name| format!("{name}:{}\n", request.headers[name])).collect();
    let (path, query) = request.line.split(' ').nth(1).expect("a path").split_once('?').expect("a query");
    let canonical = format!("POST\n{path}\n{query}\n{headers}\n{signed}\n{checksum}");
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let key = [&date[..8], region, service, "aws4_request"]
        .iter()
        .fold(format!("AWS4{SECRET_KEY}").into_bytes(), |key, message| hmac(&key, message));
    assert_eq!(field("Signature"), hex(&hmac(&key, &to_sign)));
}

#[test]
fn requests_are_signed_for_a_service_and_a_region() {
    let (scratch, endpoint) = (Scratch::new(), Endpoint::start());
    scratch.log("a.log", "one\ntwo\n");
    let keys = json!({
        "access_key": "key",
        "auth": { "sigv4": { "service": "execute-api", "region": "eu-west-1" } },
        "content_encoding": "gzip",
    });
    Hydrant::drain(&scratch, &to_endpoint(&scratch, &endpoint, keys));
    endpoint.assert_no_complaints();
    assert_eq!(endpoint.lines(), ["one", "two"]);
    verify(&endpoint.received()[0], "eu-west-1", "execute-api");
}
