//! The component: what Hydrant calls, around `tag`, which knows nothing of it.
//!
//! Always true: each record has exactly one outcome, in order.

mod tag;

use std::sync::OnceLock;

use hydrant::transform::types::Output;
use tag::Tag;

wit_bindgen::generate!({ path: "wit", world: "transform" });

static TAG: OnceLock<Tag> = OnceLock::new();

struct Component;

impl Guest for Component {
    /// Called once, with the step's `config` as JSON.
    fn init(config: String) -> Result<(), String> {
        let tag = Tag::from_json(&config)?;
        TAG.set(tag).map_err(|_| String::from("`init` was called twice"))
    }

    /// Called with each batch.
    fn transform(records: Vec<Input>) -> Vec<Outcome> {
        records.into_iter().map(|record| outcome(&record.data)).collect()
    }
}

fn outcome(record: &[u8]) -> Outcome {
    match TAG.get().ok_or(String::from("`init` was not called")).and_then(|tag| tag.apply(record)) {
        Ok(Some(data)) => Outcome::Ok(Output { data, partition_keys: Vec::new() }),
        Ok(None) => Outcome::Dropped,
        Err(reason) => Outcome::ProcessingFailed(reason),
    }
}

export!(Component);
