//! Signed requests.

use serde_json::json;

use super::to_endpoint;
use crate::support::signature::verify;
use crate::support::{Endpoint, Hydrant, Scratch};

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
    let request = &endpoint.received()[0];
    let needed = ["x-amz-firehose-request-id", "x-amz-firehose-access-key"];
    verify((&request.line, &request.headers, &request.body), &needed, "eu-west-1", "execute-api");
}
