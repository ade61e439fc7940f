//! JSON strings, written from any bytes.
//!
//! Invariant: what is written is valid JSON and UTF-8. Bytes that are not UTF-8 become U+FFFD, as in
//! `String::from_utf8_lossy`; everything else comes back unchanged from a JSON reader.

/// Writes `text` as a JSON string.
pub(super) fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// Writes `text` as part of a JSON string. A text may come in pieces if no piece ends within a character.
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    if std::str::from_utf8(text).is_ok() {
        return push_utf8(out, text);
    }
    for chunk in text.utf8_chunks() {
        push_utf8(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
}

fn push_utf8(out: &mut Vec<u8>, mut text: &[u8]) {
    loop {
        let (plain, rest) = text.split_at(plain_len(text));
        out.extend_from_slice(plain);
        let Some((&byte, rest)) = rest.split_first() else { return };
        push_escape(out, byte);
        text = rest;
    }
}

/// How many bytes at the beginning of `text` need no escape.
pub(super) fn plain_len(text: &[u8]) -> usize {
    // The compiler makes one vector comparison of each block.
    const BLOCK: usize = 16;
    let (blocks, _) = text.as_chunks::<BLOCK>();
    let has_none = |block: &&[u8; BLOCK]| !block.iter().fold(false, |found, &byte| found | is_escaped(byte));
    let start = blocks.iter().take_while(has_none).count() * BLOCK;
    text[start..].iter().position(|&byte| is_escaped(byte)).map_or(text.len(), |at| start + at)
}

fn is_escaped(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

#[cold]
fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0C => b'f',
        _ => {
            let hex = |digit: u8| HEX[usize::from(digit & 0xF)];
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte)]);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// The beginnings of an object's members with fixed names: `{"a":`, `,"b":` and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemberNames {
    beginnings: Vec<Box<[u8]>>,
}

impl MemberNames {
    pub fn new<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let beginning = |(index, name): (usize, &[u8])| {
            let mut text = vec![if index == 0 { b'{' } else { b',' }];
            push_string(&mut text, name);
            text.push(b':');
            text.into_boxed_slice()
        };
        Self { beginnings: names.into_iter().enumerate().map(beginning).collect() }
    }

    pub fn len(&self) -> usize {
        self.beginnings.len()
    }

    /// Begins member `index`, which comes after the one before it.
    pub fn begin(&self, out: &mut Vec<u8>, index: usize) {
        out.extend_from_slice(&self.beginnings[index]);
    }

    /// Writes member `index` with a string or null.
    pub fn push(&self, out: &mut Vec<u8>, index: usize, value: Option<&[u8]>) {
        self.begin(out, index);
        match value {
            Some(text) => push_string(out, text),
            None => out.extend_from_slice(b"null"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &[u8]) -> String {
        let mut out = Vec::new();
        push_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_byte_that_needs_an_escape_gets_its_own() {
        for byte in 0..=127u8 {
            let text = char::from(byte).to_string();
            assert_eq!(written(text.as_bytes()), serde_json::to_string(&text).unwrap());
        }
    }

    proptest! {
        #[test]
        fn bytes_are_written_as_serde_json_writes_their_lossy_text(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(written(&bytes), serde_json::to_string(&String::from_utf8_lossy(&bytes)).unwrap());
        }

        #[test]
        fn texts_with_few_escapes_are_written_as_serde_json_writes_them(text in r#"[a-zäß😀]{0,40}["\\\n]?[a-z\x00-\x20]{0,40}"#) {
            prop_assert_eq!(written(text.as_bytes()), serde_json::to_string(&text).unwrap());
        }
    }
}
