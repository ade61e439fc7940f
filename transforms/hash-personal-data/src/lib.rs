//! A transform component that replaces members of JSON records by a keyed hash.
//!
//! Always true: what leaves holds no value that `fields` names, only its HMAC, or it is `processing-failed`; neither the
//! reason nor an error of `init` quotes a value or the key.

mod hashing;

use std::sync::OnceLock;

use hashing::Hashing;
use hydrant::transform::types::Output;

wit_bindgen::generate!({ path: "../wit", world: "transform" });

static HASHING: OnceLock<Hashing> = OnceLock::new();

struct HashPersonalData;

impl Guest for HashPersonalData {
    fn init(config: String) -> Result<(), String> {
        let hashing = Hashing::from_json(&config)?;
        HASHING.set(hashing).map_err(|_| String::from("`init` was called twice"))
    }

    fn transform(records: Vec<Input>) -> Vec<Outcome> {
        records.into_iter().map(|record| outcome(HASHING.get(), &record.data)).collect()
    }
}

fn outcome(hashing: Option<&Hashing>, data: &[u8]) -> Outcome {
    let Some(hashing) = hashing else { return Outcome::ProcessingFailed(String::from("`init` was not called")) };
    match hashing.apply(data) {
        Ok(data) => Outcome::Ok(Output { data, partition_keys: Vec::new() }),
        Err(reason) => Outcome::ProcessingFailed(reason),
    }
}

export!(HashPersonalData);
