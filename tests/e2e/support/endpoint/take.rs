//! What an endpoint makes of a request, however it came.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Reaction, Received, State};

/// What is done with a request, and its answer.
pub(super) struct Taken {
    pub id: String,
    pub reaction: Reaction,
}

/// Takes a request's records if that is the rule.
pub(super) fn take(head: &str, body: Vec<u8>, state: &Mutex<State>) -> Result<Taken, String> {
    let mut state = state.lock().expect("no holder panics");
    let received = match parse(head, body) {
        Ok(received) => received,
        Err(complaint) => {
            state.complaints.push(complaint.clone());
            return Err(complaint);
        }
    };
    let before = state.received.len();
    let reaction = (state.rule)(&received, before);
    state.received.push(received.clone());
    let id = received.id.clone();
    if reaction.takes() {
        match state.taken.iter().find(|(known, _)| *known == id) {
            Some((_, records)) if *records != received.records => {
                state.complaints.push(format!("{id} came again with other records"));
            }
            Some(_) => {}
            None => state.taken.push((id.clone(), received.records)),
        }
    }
    Ok(Taken { id, reaction })
}

impl Reaction {
    fn takes(&self) -> bool {
        match self {
            Self::Accept
            | Self::AcceptPlainly
            | Self::AcceptSilently
            | Self::AcceptAs(_)
            | Self::AcceptAndClose
            | Self::AcceptSlowly(_) => true,
            Self::Refuse(..) | Self::Raw(_) | Self::Stall(_) | Self::Reset => false,
        }
    }
}

fn parse(head: &str, body: Vec<u8>) -> Result<Received, String> {
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let needed = |name: &str| headers.get(name).cloned().ok_or_else(|| format!("there is no {name}"));
    if let Some(id) = headers.get("idempotency-key").cloned() {
        // A plain request: its body is what it is.
        let records = vec![body.clone()];
        return Ok(Received { line, headers, id, body, json: Value::Null, records });
    }
    if !line.starts_with("POST ") {
        return Err(format!("not a POST: {line}"));
    }
    if needed("x-amz-firehose-protocol-version")? != "1.0" || needed("content-type")? != "application/json" {
        return Err(format!("wrong headers: {headers:?}"));
    }
    needed("content-length")?;
    let id = needed("x-amz-firehose-request-id")?;
    let plain = match headers.get("content-encoding").map(String::as_str) {
        None => body.clone(),
        Some("gzip") => {
            let mut plain = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(body.as_slice());
            decoder.read_to_end(&mut plain).map_err(|error| format!("not gzip: {error}"))?;
            plain
        }
        Some(other) => return Err(format!("Content-Encoding {other}")),
    };
    if plain.len() > 64 << 20 {
        return Err(format!("a body of {} bytes", plain.len()));
    }
    let json: Value = serde_json::from_slice(&plain).map_err(|error| format!("not JSON: {error}"))?;
    let fields: Vec<&str> = json.as_object().ok_or("no object")?.keys().map(String::as_str).collect();
    if fields.iter().any(|field| !["requestId", "timestamp", "records"].contains(field)) {
        return Err(format!("fields {fields:?}"));
    }
    if json["requestId"] != id.as_str() || !json["timestamp"].is_u64() {
        return Err(format!("requestId {} and timestamp {}", json["requestId"], json["timestamp"]));
    }
    let records = json["records"].as_array().filter(|records| (1..=10_000).contains(&records.len()));
    let record = |record: &Value| {
        let data = record["data"].as_str().filter(|data| data.len() <= 1_365_336).ok_or("no data")?;
        STANDARD.decode(data).map_err(|error| format!("not base64: {error}"))
    };
    let records = records.ok_or("no records")?.iter().map(record).collect::<Result<_, String>>()?;
    Ok(Received { line, headers, id, body, json, records })
}
