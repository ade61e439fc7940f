//! A file of pipeline tests: records, and what a delivery stream's processing is expected to make of them.

use std::path::PathBuf;

use serde_json::Value as Json;

use super::reader::Value;
use super::tree::Kind;

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineTests {
    /// The configuration that the file names, counted from the file's folder.
    pub config: Option<PathBuf>,
    pub tests: Vec<PipelineTest>,
}

/// Some records of one delivery stream; they are processed together, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineTest {
    pub name: String,
    pub stream: String,
    /// The last header line that the source has skipped.
    pub header: Option<String>,
    pub records: Vec<RecordTest>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RecordTest {
    /// `tests.yaml:12:9`
    pub place: String,
    pub input: String,
    pub expected: Expected,
}

/// What is expected of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    Outputs(Vec<ExpectedOutput>),
    Dropped,
    /// The message holds this text, and the code is this one if there is one.
    Failed {
        message: String,
        code: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedOutput {
    pub data: ExpectedData,
    /// All of them; `None` where nobody asks.
    pub partition_keys: Option<Vec<(String, String)>>,
    /// The evaluated prefix of the object to which it goes; `None` where nobody asks.
    pub prefix: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ExpectedData {
    /// Byte by byte.
    Text(String),
    /// Whatever its spaces and the order of its names are.
    Json(Json),
}

const OUTCOMES: &[&str] = &["ok", "many", "failed"];

pub(super) fn pipeline_tests(root: &Value<'_>) -> Option<PipelineTests> {
    let map = root.map(&["config", "tests"])?;
    let config = map.optional("config", |value| Some(PathBuf::from(value.string("the path of a configuration")?.text)));
    let tests = some_of(&map.required("tests")?, "a list of tests", "there is no test in it")?;
    let tests: Vec<_> = tests.iter().map(test).collect();
    Some(PipelineTests { config: config?, tests: tests.into_iter().collect::<Option<_>>()? })
}

fn test(value: &Value<'_>) -> Option<PipelineTest> {
    let map = value.map(&["name", "stream", "header", "records"])?;
    let text = |value: Value<'_>| Some(value.string("a string")?.text);
    let name = map.required("name").and_then(text);
    let stream = map.required("stream").and_then(text);
    let header = map.optional("header", |value| Some(value.string("a line")?.text));
    let records = map.required("records").and_then(|value| {
        let records = some_of(&value, "a list of records", "there is no record in it, so nothing is tested")?;
        let records: Vec<_> = records.iter().map(record).collect();
        records.into_iter().collect::<Option<Vec<_>>>()
    });
    Some(PipelineTest { name: name?, stream: stream?, header: header?, records: records? })
}

/// The items of a list that has some: what tests nothing would pass whatever is wrong.
fn some_of<'a>(value: &Value<'a>, allowed: &str, none: &str) -> Option<Vec<Value<'a>>> {
    let items = value.list(allowed)?;
    if items.is_empty() {
        value.problem(none, None);
        return None;
    }
    Some(items)
}

fn record(value: &Value<'_>) -> Option<RecordTest> {
    let map = value.map(&["input", "expect"])?;
    let input = map.required("input").and_then(|value| data(&value));
    let expected = map.required("expect").and_then(|value| expected(&value));
    let input = match input? {
        ExpectedData::Text(text) => text,
        ExpectedData::Json(json) => json.to_string(),
    };
    Some(RecordTest { place: value.place_shown(), input, expected: expected? })
}

fn expected(value: &Value<'_>) -> Option<Expected> {
    let Kind::Map(_) = &value.node.kind else {
        value.one_of(&[("dropped", ())])?;
        return Some(Expected::Dropped);
    };
    let map = value.map(&["ok", "many", "failed", "partition_keys", "prefix", "code"])?;
    let (outcome, what) = map.exactly_one(OUTCOMES)?;
    let expected = match outcome {
        "ok" => Expected::Outputs(vec![output(value)?]),
        "many" => {
            let outputs: Vec<_> = what.list("a list of outputs, each with `ok`")?.iter().map(output).collect();
            Expected::Outputs(outputs.into_iter().collect::<Option<_>>()?)
        }
        _ => {
            let message = what.string("a part of the error's message")?.text;
            let code = map.optional("code", |value| Some(value.string("an error code")?.text))?;
            if let Some(key) = ["partition_keys", "prefix"].into_iter().find(|key| map.get(key).is_some()) {
                value.problem(format!("`{key}` stands beside `ok` only"), None);
                return None;
            }
            return Some(Expected::Failed { message, code });
        }
    };
    if let Some(code) = map.get("code") {
        code.problem("`code` stands beside `failed` only", None);
        return None;
    }
    Some(expected)
}

fn output(value: &Value<'_>) -> Option<ExpectedOutput> {
    let map = value.map(&["ok", "partition_keys", "prefix", "code"])?;
    let partition_keys = map.optional("partition_keys", |value| {
        let keys = value.named("a mapping of names to values")?;
        keys.iter().map(|(name, value)| Some(((*name).to_owned(), value.string("a string")?.text))).collect()
    });
    let prefix = map.optional("prefix", |value| Some(value.string("an evaluated prefix")?.text));
    Some(ExpectedOutput { data: data(&map.required("ok")?)?, partition_keys: partition_keys?, prefix: prefix? })
}

/// A string stands for itself, a mapping or list for its JSON.
fn data(value: &Value<'_>) -> Option<ExpectedData> {
    match &value.node.kind {
        Kind::Scalar(_) => Some(ExpectedData::Text(value.string("a string, or a mapping for JSON")?.text)),
        Kind::List(_) | Kind::Map(_) => Some(ExpectedData::Json(serde_json::from_str(&value.json()?).ok()?)),
    }
}
