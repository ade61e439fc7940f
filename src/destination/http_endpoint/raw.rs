//! Plain bodies, for receivers that know nothing of Firehose.
//!
//! Always true: a record that has no place in its format is told before a request is made of it, so that it harms itself alone.

use std::sync::Arc;

use serde::de::IgnoredAny;

use crate::config::model::RawFormat;
use crate::destination::receiver::Misfit;
use crate::encode::frames;

/// `Content-Type` where the configuration has none.
pub fn content_type(format: RawFormat) -> &'static str {
    match format {
        RawFormat::Ndjson => "application/x-ndjson",
        RawFormat::JsonArray => "application/json",
        RawFormat::Lines => "text/plain; charset=utf-8",
        RawFormat::Bytes => "application/octet-stream",
    }
}

/// Bytes of a body without records.
pub fn body_bytes_min(format: RawFormat) -> u64 {
    match format {
        RawFormat::JsonArray => 2,
        RawFormat::Ndjson | RawFormat::Lines | RawFormat::Bytes => 0,
    }
}

/// Bytes that a record of so many takes at most, with what stands behind it.
pub fn record_bytes(data: u64) -> u64 {
    data + 1
}

/// The body with the records of `frames`.
pub fn form(format: RawFormat, frames: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::with_capacity(frames.iter().map(|piece| piece.len()).sum());
    if format == RawFormat::JsonArray {
        body.push(b'[');
    }
    let mut is_first = true;
    for frame in frames::each(frames) {
        match format {
            RawFormat::JsonArray => {
                if !is_first {
                    body.push(b',');
                }
                body.extend_from_slice(frame.data);
            }
            RawFormat::Ndjson | RawFormat::Lines => {
                body.extend_from_slice(frame.data);
                if !frame.data.ends_with(b"\n") {
                    body.push(b'\n');
                }
            }
            RawFormat::Bytes => body.extend_from_slice(frame.data),
        }
        is_first = false;
    }
    if format == RawFormat::JsonArray {
        body.push(b']');
    }
    body
}

/// What has no place in a format.
pub fn misfits(format: RawFormat) -> Option<Misfit> {
    match format {
        RawFormat::Ndjson => Some(Arc::new(no_line_of_json)),
        RawFormat::JsonArray => Some(Arc::new(no_json)),
        RawFormat::Lines | RawFormat::Bytes => None,
    }
}

fn no_json(record: &[u8]) -> Option<&'static str> {
    let is_json = std::str::from_utf8(record).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    (!is_json).then_some("the record is no JSON text, and could not stand among others")
}

fn no_line_of_json(record: &[u8]) -> Option<&'static str> {
    let line = record.strip_suffix(b"\n").unwrap_or(record);
    no_json(record)
        .or(memchr::memchr2(b'\n', b'\r', line).map(|_| "the record is JSON on several lines, and format is ndjson"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::positions::put_varint;

    fn framed(records: &[&str]) -> Vec<u8> {
        let mut frames = Vec::new();
        for data in records {
            for number in [data.len() as u64, 1, 0, 1, 0, 0, 0] {
                put_varint(&mut frames, number);
            }
            frames.extend_from_slice(data.as_bytes());
        }
        frames
    }

    #[test]
    fn each_format_has_its_own_borders_between_records() {
        let frames = framed(&[r#"{"a":1}"#, "2\n"]);
        for (format, expected) in [
            (RawFormat::Ndjson, "{\"a\":1}\n2\n"),
            (RawFormat::JsonArray, "[{\"a\":1},2\n]"),
            (RawFormat::Lines, "{\"a\":1}\n2\n"),
            (RawFormat::Bytes, "{\"a\":1}2\n"),
        ] {
            let body = form(format, &[&frames]);
            assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
            assert!(body.len() as u64 <= body_bytes_min(format) + record_bytes(7) + record_bytes(2));
        }
    }

    #[test]
    fn what_would_break_a_body_is_no_record_of_it() {
        for (record, is_line, is_json) in [
            (&b"{\"a\":[1,\"x\"]}"[..], true, true),
            (b"5\n", true, true),
            (b"{\"a\":\n1}", false, true),
            (b"", false, false),
            (b"a b", false, false),
            (b"{} {}", false, false),
            (b"{\"a\":", false, false),
            (b"\"\xff\"", false, false),
        ] {
            assert_eq!(no_line_of_json(record).is_none(), is_line, "{record:?}");
            assert_eq!(no_json(record).is_none(), is_json, "{record:?}");
        }
    }
}
