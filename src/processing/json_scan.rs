//! Checks JSON (RFC 8259) without making anything of it.
//!
//! Invariant: what is taken is a whole valid value; its text is kept as it is, so that numbers keep all their digits.

use super::Failure;
use super::json_text::plain_len;

/// Deeper than any record should be, and shallow enough for every thread's stack.
const DEPTH_MAX: usize = 128;

/// A place in a JSON text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    has_space: bool,
}

type Scan<T> = Result<T, Failure>;

impl<'a> Scanner<'a> {
    pub fn new(record: &'a [u8]) -> Scan<Self> {
        let scanner = |text| Self { text, at: 0, depth: 0, has_space: false };
        std::str::from_utf8(record).map(scanner).map_err(|error| {
            let valid = std::str::from_utf8(&record[..error.valid_up_to()]).unwrap_or_default();
            Self { text: valid, at: valid.len(), depth: 0, has_space: false }.failure("UTF-8")
        })
    }

    /// What is wrong at this place: `expected` is what would have been right.
    pub fn failure(&self, expected: &str) -> Failure {
        let before = &self.text[..self.at];
        let line = 1 + memchr::memchr_iter(b'\n', before.as_bytes()).count();
        let column = 1 + before.rsplit('\n').next().unwrap_or_default().chars().count();
        Failure::new(format!("the record is not a JSON object: expected {expected} at line {line}, column {column}"))
    }

    /// How many bytes have been taken.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Whether there has been white space between the parts.
    pub fn has_space(&self) -> bool {
        self.has_space
    }

    fn bytes(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// The next byte that is not white space.
    pub fn peek(&mut self) -> Option<u8> {
        let space = self.bytes().iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += space;
        self.has_space |= space > 0;
        self.bytes().first().copied()
    }

    /// Takes `byte` if it comes next.
    pub fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    pub fn expect(&mut self, byte: u8, expected: &str) -> Scan<()> {
        if self.eat(byte) { Ok(()) } else { Err(self.failure(expected)) }
    }

    pub fn expect_end(&mut self) -> Scan<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.failure("the end")) }
    }

    /// Takes an object and gives each member's name, with its quotes, to `member`, which takes the value.
    pub fn object(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Scan<()>) -> Scan<()> {
        self.expect(b'{', "`{`")?;
        self.nested(|scanner| {
            if scanner.eat(b'}') {
                return Ok(());
            }
            loop {
                if scanner.peek() != Some(b'"') {
                    return Err(scanner.failure("a member's name"));
                }
                let name = scanner.string()?;
                scanner.expect(b':', "`:`")?;
                member(scanner, name)?;
                if scanner.eat(b'}') {
                    return Ok(());
                }
                scanner.expect(b',', "`,` or `}`")?;
            }
        })
    }

    /// Takes any value and gives its text.
    pub fn value(&mut self) -> Scan<&'a str> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'{') => self.object(|scanner, _| scanner.value().map(drop))?,
            Some(b'[') => self.array()?,
            Some(b'"') => return self.string(),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.literal()?,
        }
        Ok(&self.text[start..self.at])
    }

    fn nested(&mut self, scan: impl FnOnce(&mut Self) -> Scan<()>) -> Scan<()> {
        if self.depth == DEPTH_MAX {
            return Err(self.failure(&format!("no more than {DEPTH_MAX} levels")));
        }
        self.depth += 1;
        scan(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self) -> Scan<()> {
        self.elements(|scanner| scanner.value().map(drop))
    }

    /// Takes an array; `element` takes each of its values.
    pub fn elements(&mut self, mut element: impl FnMut(&mut Self) -> Scan<()>) -> Scan<()> {
        self.expect(b'[', "`[`")?;
        self.nested(|scanner| {
            if scanner.eat(b']') {
                return Ok(());
            }
            loop {
                element(scanner)?;
                if scanner.eat(b']') {
                    return Ok(());
                }
                scanner.expect(b',', "`,` or `]`")?;
            }
        })
    }

    fn literal(&mut self) -> Scan<()> {
        let literal =
            ["true", "false", "null"].into_iter().find(|literal| self.bytes().starts_with(literal.as_bytes()));
        self.at += literal.ok_or_else(|| self.failure("a value"))?.len();
        Ok(())
    }

    fn digits(&mut self) -> Scan<()> {
        let count = self.bytes().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.failure("a digit")) } else { Ok(()) }
    }

    fn number(&mut self) -> Scan<()> {
        if self.bytes().starts_with(b"-") {
            self.at += 1;
        }
        if self.bytes().starts_with(b"0") {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.bytes().starts_with(b".") {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.bytes(), [b'e' | b'E', ..]) {
            self.at += 1;
            if matches!(self.bytes(), [b'+' | b'-', ..]) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Takes a string, which comes next, and gives it with its quotes.
    fn string(&mut self) -> Scan<&'a str> {
        let start = self.at;
        self.at += 1;
        loop {
            let bytes = self.bytes();
            let len = plain_len(bytes);
            self.at += len;
            match bytes.get(len) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.text[start..self.at]);
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.failure("no control character in a string")),
                None => return Err(self.failure("`\"`")),
            }
        }
    }

    fn escape(&mut self) -> Scan<()> {
        let len = match self.bytes().get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if self.bytes().get(2..6).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) => 6,
            _ => return Err(self.failure("an escape of JSON")),
        };
        self.at += len;
        Ok(())
    }
}

/// Writes a valid value without the white space between its parts, so that a record stays one line.
pub(super) fn push_compact(out: &mut Vec<u8>, value: &str) {
    let mut rest = value.as_bytes();
    if !matches!(rest, [b'{' | b'[', ..]) {
        return out.extend_from_slice(rest);
    }
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'"' | b' ' | b'\t' | b'\n' | b'\r')) {
        let string = if rest[end] == b'"' { string_len(&rest[end..]) } else { 0 };
        out.extend_from_slice(&rest[..end + string]);
        rest = &rest[end + string.max(1)..];
    }
    out.extend_from_slice(rest);
}

/// Length of the string at the beginning of a valid text, quotes included.
pub(super) fn string_len(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &text[at..]) {
        at += found + 1;
        if text[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compact(text: &[u8]) -> Result<String, String> {
        let scan = || {
            let mut scanner = Scanner::new(text)?;
            let value = scanner.value()?;
            scanner.expect_end()?;
            Ok(value)
        };
        let value = scan().map_err(|failure: Failure| failure.message)?;
        let mut out = Vec::new();
        push_compact(&mut out, value);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn only_white_space_between_parts_is_left_out() {
        let text = "\t{ \"a b\" : [ 1.50 , -0e+7 , \"c \\\" \\\\\" , {} ],\r\n\"d\":null } \n";
        assert_eq!(compact(text.as_bytes()).unwrap(), r#"{"a b":[1.50,-0e+7,"c \" \\",{}],"d":null}"#);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let table: [(&[u8], &str); 8] = [
            (b"", "a value at line 1, column 1"),
            (b"{\n\"\xC3\xA4\": tru}", "a value at line 2, column 6"),
            (b"[01]", "`,` or `]` at line 1, column 3"),
            (b"{\"a\" 1}", "`:` at line 1, column 6"),
            (b"{\"a\":1,}", "a member's name at line 1, column 8"),
            (b"[1] x", "the end at line 1, column 5"),
            (b"\"a\tb\"", "no control character in a string at line 1, column 3"),
            (b"[\"\xFF\"]", "UTF-8 at line 1, column 3"),
        ];
        for (text, reason) in table {
            let expected = format!("the record is not a JSON object: expected {reason}");
            assert_eq!(compact(text).unwrap_err(), expected);
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(compact(&nested(DEPTH_MAX)).is_ok());
        assert!(compact(&nested(DEPTH_MAX + 1)).unwrap_err().contains("expected no more than 128 levels at line 1"));
        assert!(compact(&vec![b'['; 1 << 20]).is_err());
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let part = r#"[\[\]{},: \n]|"a"|"\\u00e4\\n"|"\\x"|"|\\|null|true|-|0|12|1\.5|1e9|1e|\.|tru|ü"#;
        let object = Just(r#"{"a": [1, {"b" : "c\\" , "d":[]}], "e":-1.0E-2}"#.to_owned());
        let cut = (object, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(text, at, byte)| {
            let (mut text, at) = (text.clone().into_bytes(), at.index(text.len()));
            text[at] = byte;
            text
        });
        prop_oneof![prop::collection::vec(part, 0..9).prop_map(|parts| parts.concat().into_bytes()), cut]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_is_json_is_what_serde_json_says(text in text()) {
            let theirs = serde_json::from_slice::<serde_json::Value>(&text);
            // A number may be beyond what serde_json can hold: its text is kept here.
            prop_assume!(!theirs.as_ref().is_err_and(|error| error.to_string().contains("out of range")));
            let ours = compact(&text);
            prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?}", ours, theirs);
            if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
                prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&ours).unwrap(), theirs);
            }
        }
    }
}
