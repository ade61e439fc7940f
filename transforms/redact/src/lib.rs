//! A transform component that masks or removes members of JSON records.
//!
//! Always true: what leaves is valid JSON without a value that `fields` names, or it is `processing-failed`, and the reason
//! quotes nothing of the record.

mod config;
mod redact;
mod scan;

use std::sync::OnceLock;

use config::Redaction;
use hydrant::transform::types::Output;

wit_bindgen::generate!({ path: "../wit", world: "transform" });

static REDACTION: OnceLock<Redaction> = OnceLock::new();

struct Redact;

impl Guest for Redact {
    fn init(config: String) -> Result<(), String> {
        let redaction = Redaction::from_json(&config)?;
        REDACTION.set(redaction).map_err(|_| String::from("`init` was called twice"))
    }

    fn transform(records: Vec<Input>) -> Vec<Outcome> {
        let Some(redaction) = REDACTION.get() else {
            let failed = |_| Outcome::ProcessingFailed(String::from("`init` was not called"));
            return records.into_iter().map(failed).collect();
        };
        records.into_iter().map(|record| outcome(redact::redact(redaction, record.data))).collect()
    }
}

fn outcome(redacted: Result<Vec<u8>, scan::Malformed>) -> Outcome {
    match redacted {
        Ok(data) => Outcome::Ok(Output { data, partition_keys: Vec::new() }),
        Err(malformed) => Outcome::ProcessingFailed(malformed.to_string()),
    }
}

export!(Redact);
