//! JSON as RFC 8259 has it, read into a tree: for whatever the speculative decoder does not take.
//!
//! Numbers stay text, so that nothing is rounded on the way to a decimal. Strict: what `serde_json` refuses is refused, lone
//! surrogates, raw control characters in strings and nesting deeper than [`DEPTH_MAX`] included.

use std::borrow::Cow;

/// Deeper nesting is refused, so that nothing recursive can exhaust a stack; as in `serde_json`.
pub(super) const DEPTH_MAX: usize = 127;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// As it stands in the record.
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    /// In the record's order; a key may stand there more than once, and the last one counts.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl Value<'_> {
    /// For messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

/// Where and why bytes are no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JsonError {
    pub(super) at: usize,
    pub(super) reason: &'static str,
}

/// A cursor over bytes that end with the record.
pub(super) struct Parser<'a> {
    data: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Self { data, at }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.data.get(self.at).copied()
    }

    pub(super) fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn error<T>(&self, reason: &'static str) -> Result<T, JsonError> {
        let reason = if self.at >= self.data.len() { "the record ends too early" } else { reason };
        Err(JsonError { at: self.at, reason })
    }

    fn expect(&mut self, sign: u8, reason: &'static str) -> Result<(), JsonError> {
        if self.peek() != Some(sign) {
            return self.error(reason);
        }
        self.at += 1;
        Ok(())
    }

    /// A value, with the cursor on its first byte.
    pub(super) fn value(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        match self.peek() {
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => Ok(Value::Number(self.number()?)),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'[' | b'{') if depth >= DEPTH_MAX => self.error("values are nested too deep"),
            Some(b'[') => self.array(depth),
            Some(b'{') => Ok(Value::Object(self.object(depth)?)),
            _ => self.error("a value is expected"),
        }
    }

    fn word(&mut self, word: &'static str, value: Value<'a>) -> Result<Value<'a>, JsonError> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return self.error("a value is expected");
        }
        self.at += word.len();
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            self.skip_blanks();
            items.push(self.value(depth + 1)?);
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(items));
                }
                _ => return self.error("`,` or `]` is expected"),
            }
        }
    }

    /// An object's members, with the cursor on its brace.
    pub(super) fn object(&mut self, depth: usize) -> Result<Vec<(Cow<'a, str>, Value<'a>)>, JsonError> {
        self.at += 1;
        let mut members = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(members);
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return self.error("a key in quotes is expected");
            }
            let key = self.string()?;
            self.skip_blanks();
            self.expect(b':', "`:` is expected")?;
            self.skip_blanks();
            members.push((key, self.value(depth + 1)?));
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(members);
                }
                _ => return self.error("`,` or `}` is expected"),
            }
        }
    }

    /// Behind the number; it may be part of a longer word, which whoever goes on sees.
    pub(super) fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        // ASCII only.
        Ok(self.data.get(start..self.at).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { self.error("a digit is expected") } else { Ok(()) }
    }

    /// The cursor is on the opening quote.
    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let start = self.at;
        let mut unescaped: Option<Vec<u8>> = None;
        let mut copied = start;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    let (sign, end) = escape(self.data, self.at)?;
                    let text = unescaped.get_or_insert_default();
                    text.extend_from_slice(self.data.get(copied..self.at).unwrap_or_default());
                    text.extend_from_slice(sign.encode_utf8(&mut [0; 4]).as_bytes());
                    (self.at, copied) = (end, end);
                }
                Some(0x20..) => self.at += 1,
                Some(_) => return self.error("a control character stands in a string"),
                None => return self.error("a string is not closed"),
            }
        }
        let rest = self.data.get(copied..self.at).unwrap_or_default();
        let not_utf8 = |offset: usize| JsonError { at: start + offset, reason: "a string is not UTF-8" };
        let text = match unescaped {
            None => Cow::Borrowed(std::str::from_utf8(rest).map_err(|error| not_utf8(error.valid_up_to()))?),
            Some(mut text) => {
                text.extend_from_slice(rest);
                Cow::Owned(String::from_utf8(text).map_err(|_| not_utf8(0))?)
            }
        };
        self.at += 1;
        Ok(text)
    }
}

/// What the escape at `at`, where its backslash is, stands for, and where it ends.
pub(super) fn escape(data: &[u8], at: usize) -> Result<(char, usize), JsonError> {
    let sign = match data.get(at + 1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(data, at),
        Some(_) => return Err(JsonError { at, reason: "no such escape" }),
        None => return Err(JsonError { at, reason: "the record ends too early" }),
    };
    Ok((sign, at + 2))
}

fn unicode_escape(data: &[u8], at: usize) -> Result<(char, usize), JsonError> {
    let invalid = |reason| JsonError { at, reason };
    let first = hex(data, at + 2).ok_or(invalid("four hexadecimal digits are expected"))?;
    let (code, end) = match first {
        0xd800..0xdc00 => {
            let follows = data.get(at + 6..).is_some_and(|rest| rest.starts_with(b"\\u"));
            let second = hex(data, at + 8).filter(|second| follows && (0xdc00..0xe000).contains(second));
            let second = second.ok_or(invalid("half of a surrogate pair stands alone"))?;
            (0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00), at + 12)
        }
        code => (code, at + 6),
    };
    let sign = char::from_u32(code).ok_or(invalid("half of a surrogate pair stands alone"))?;
    Ok((sign, end))
}

fn hex(data: &[u8], at: usize) -> Option<u32> {
    let digits = data.get(at..at + 4)?;
    digits.iter().try_fold(0, |code, &digit| Some(code << 4 | char::from(digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<Value<'_>, JsonError> {
        let mut parser = Parser::new(text, 0);
        parser.skip_blanks();
        let value = parser.value(0)?;
        parser.skip_blanks();
        if parser.at == text.len() { Ok(value) } else { parser.error("something follows") }
    }

    /// With numbers as `serde_json` has them, and the last of equal keys.
    fn to_serde(value: &Value<'_>) -> serde_json::Value {
        match value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(text) => serde_json::from_str(text).unwrap(),
            Value::String(text) => text.as_ref().into(),
            Value::Array(items) => items.iter().map(to_serde).collect(),
            Value::Object(members) => members.iter().map(|(key, value)| (key.to_string(), to_serde(value))).collect(),
        }
    }

    #[test]
    fn accepts_and_refuses_what_serde_json_does() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let cases = [
            "0",
            "-0",
            "-",
            "01",
            "1.",
            "1.5",
            ".5",
            "1e5",
            "1E+5",
            "1e",
            "1e-",
            "+1",
            "NaN",
            "--1",
            "0x1",
            "1e400",
            "\"\"",
            "\"a",
            "\"\\",
            "\"\\u",
            "\"\\u12\"",
            "\"\\u00e9\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\ude00\"",
            "\"\\ud83d\\u0041\"",
            "\"\\ud83dx\"",
            "\"\\x\"",
            "\"\\u+123\"",
            "\"\t\"",
            "\"\u{7f}é\"",
            "[]",
            "[ ]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1",
            "{}",
            "{ }",
            "{\"a\":1}",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":1,\"a\":2}",
            "{\"a\" : [ {\"b\":null} , true,false ] }",
            "nul",
            "nulll",
            "true false",
            "",
            " ",
            "{\"a\":1}}",
            "\u{feff}1",
            "[1]\u{a0}",
            "'a'",
            "// x\n1",
        ];
        for text in cases.iter().map(ToString::to_string).chain([deep(127), deep(128)]) {
            let (ours, theirs) = (parse(text.as_bytes()), serde_json::from_str::<serde_json::Value>(&text));
            // Numbers that no double holds are a matter of the column.
            if text != "1e400" {
                assert_eq!(ours.is_ok(), theirs.is_ok(), "{text}: {ours:?} {theirs:?}");
            }
            if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
                assert_eq!(to_serde(&ours), theirs, "{text}");
            }
        }
    }

    #[test]
    fn what_is_not_utf_8_is_refused() {
        assert_eq!(parse(b"\"ab\xff\""), Err(JsonError { at: 3, reason: "a string is not UTF-8" }));
        assert_eq!(parse(b"\"\\n\xff\"").unwrap_err().reason, "a string is not UTF-8");
        assert_eq!(parse(b"\xff").unwrap_err().reason, "a value is expected");
    }
}
