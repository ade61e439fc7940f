//! Messages in the format of event streams.

use serde_json::{Value, json};

/// An exception of the fault proxy's.
pub fn exception(code: &str) -> Vec<u8> {
    event("exception", code, &json!({ "message": "by the fault proxy" }))
}

/// A message of this type, `event` or `exception`, and which one.
pub fn event(message_type: &str, name: &str, payload: &Value) -> Vec<u8> {
    let headers = [
        header(":message-type", message_type),
        header(&format!(":{message_type}-type"), name),
        header(":content-type", "application/json"),
    ];
    let (headers, payload) = (headers.concat(), payload.to_string());
    let total = 4 + 4 + 4 + headers.len() + payload.len() + 4;
    let mut message = Vec::new();
    message.extend((total as u32).to_be_bytes());
    message.extend((headers.len() as u32).to_be_bytes());
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message.extend(headers);
    message.extend(payload.as_bytes());
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message
}

/// A text: its type is 7.
fn header(name: &str, value: &str) -> Vec<u8> {
    let mut header = vec![name.len() as u8];
    header.extend(name.as_bytes());
    header.push(7);
    header.extend((value.len() as u16).to_be_bytes());
    header.extend(value.as_bytes());
    header
}
