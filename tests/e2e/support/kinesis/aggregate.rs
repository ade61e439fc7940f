//! Records in the KPL's format, made by the library of the awslabs in Python, which shares nothing with our reader.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::Put;
use crate::support::servers::python_with;

/// One record for each group of user records, under the partition key and the hash key of its first, as the KPL puts it. A record
/// that belongs to another shard than the rest, or that [`Put::with_hash`] sends to another shard as a whole, makes it misrouted.
pub fn aggregates(groups: &[Vec<Put>]) -> Option<Vec<Put>> {
    let python = python_with("aws_kinesis_agg.aggregator")?;
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/aggregate.py"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python starts");
    let mut stdin = child.stdin.take().expect("piped");
    let lines: String = groups.iter().map(|group| line(group) + "\n").collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("our own child can be waited for");
    writer.join().expect("no panic").expect("it has taken all");
    assert!(output.status.success(), "aggregate.py: {:?}", output.status);
    let output = String::from_utf8(output.stdout).expect("base64");
    let data: Vec<_> = output.lines().map(|line| STANDARD.decode(line).expect("base64")).collect();
    assert_eq!(data.len(), groups.len(), "an aggregate for each group");
    let whole = |(group, data): (&Vec<Put>, Vec<u8>)| Put { data, ..group[0].clone() };
    Some(groups.iter().zip(data).map(whole).collect())
}

fn line(group: &[Put]) -> String {
    let records = group.iter().map(|record| {
        json!({
            "partition_key": record.partition_key,
            "explicit_hash_key": record.explicit_hash_key.map(|hash| hash.to_string()),
            "data": STANDARD.encode(&record.data),
        })
    });
    json!(records.collect::<Vec<_>>()).to_string()
}
