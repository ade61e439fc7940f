//! Request bodies: `{"requestId":…,"timestamp":…,"records":[{"data":…},…]}`, formed without a tree.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::encode::frames;

const BEFORE_DATA: &str = r#"{"data":""#;
const BEHIND_DATA: &str = r#""}"#;

/// Bytes of a body without records, with the longest timestamp.
pub const BODY_BYTES_MIN: u64 = r#"{"requestId":"","timestamp":,"records":[]}"#.len() as u64 + 36 + 19;

/// Bytes that a record of so many takes, its comma included.
pub fn record_bytes(data: u64) -> u64 {
    (BEFORE_DATA.len() + BEHIND_DATA.len() + 1) as u64 + data.div_ceil(3) * 4
}

/// The body with the records of `frames`.
pub fn form(id: &str, frames: &[&[u8]], now: Timestamp) -> Vec<u8> {
    let bytes: usize = frames.iter().map(|piece| piece.len()).sum();
    let mut body = Vec::with_capacity(bytes / 3 * 4 + bytes / 16 + BODY_BYTES_MIN as usize);
    body.extend_from_slice(
        format!(r#"{{"requestId":"{id}","timestamp":{},"records":["#, now.as_millisecond()).as_bytes(),
    );
    let mut is_first = true;
    for frame in frames::each(frames) {
        if !is_first {
            body.push(b',');
        }
        body.extend_from_slice(BEFORE_DATA.as_bytes());
        encode(frame.data, &mut body);
        body.extend_from_slice(BEHIND_DATA.as_bytes());
        is_first = false;
    }
    body.extend_from_slice(b"]}");
    body
}

fn encode(data: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + data.len().div_ceil(3) * 4, 0);
    // The room is exactly what it takes.
    let written = STANDARD.encode_slice(data, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::http_client::compress;
    use crate::positions::put_varint;
    use proptest::prelude::*;
    use std::io::Read;

    fn framed(records: &[Vec<u8>]) -> Vec<u8> {
        let mut frames = Vec::new();
        for data in records {
            for number in [data.len() as u64, 1, 0, 1, 0, 0] {
                put_varint(&mut frames, number);
            }
            frames.extend_from_slice(data);
        }
        frames
    }

    #[test]
    fn the_body_is_the_protocols() {
        let frames = framed(&[b"aa".to_vec(), Vec::new(), vec![0xff]]);
        let body = form(
            "ed4acda5-034f-9f42-bba1-f29aea6d7d8f",
            &[&frames],
            Timestamp::from_millisecond(1_578_090_901_599).unwrap(),
        );
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            concat!(
                r#"{"requestId":"ed4acda5-034f-9f42-bba1-f29aea6d7d8f","timestamp":1578090901599,"#,
                r#""records":[{"data":"YWE="},{"data":""},{"data":"/w=="}]}"#
            )
        );
    }

    proptest! {
        #[test]
        fn a_body_is_never_larger_than_what_was_counted(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20)) {
            let id = uuid::Uuid::nil().to_string();
            let body = form(&id, &[&framed(&records)], Timestamp::MAX);
            let counted = BODY_BYTES_MIN + records.iter().map(|record| record_bytes(record.len() as u64)).sum::<u64>();
            prop_assert!(body.len() as u64 <= counted);
            let mut plain = Vec::new();
            flate2::read::MultiGzDecoder::new(&compress(&body, 1).unwrap()[..]).read_to_end(&mut plain).unwrap();
            prop_assert_eq!(plain, body);
        }
    }
}
