//! Walks over JSON (RFC 8259) without making anything of it.
//!
//! Always true: what was walked over is valid, and no more than [`DEPTH_MAX`] levels deep.

use std::fmt;

/// Deeper than any record should be, and shallow enough for a component's stack. Hydrant's own `json` has the same limit.
pub const DEPTH_MAX: usize = 128;

/// Why a record is not what it should be: nothing of its content, for that may be what was to be hidden.
#[derive(Debug, PartialEq)]
pub struct Malformed {
    at: usize,
    expected: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the record is not a JSON object: expected {} at byte {}", self.expected, self.at)
    }
}

type Scan<T> = Result<T, Malformed>;

/// A place in a JSON text.
pub struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(record: &'a [u8]) -> Scan<Self> {
        match std::str::from_utf8(record) {
            Ok(text) => Ok(Self { text: text.as_bytes(), at: 0, depth: 0 }),
            Err(error) => Err(Malformed { at: error.valid_up_to(), expected: "UTF-8" }),
        }
    }

    /// The next byte's offset.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The byte that comes next.
    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The byte that comes next behind white space.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    /// Takes `byte` if it comes next, behind white space.
    pub fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    pub fn expect(&mut self, byte: u8, expected: &'static str) -> Scan<()> {
        if self.eat(byte) { Ok(()) } else { Err(self.malformed(expected)) }
    }

    pub fn expect_end(&mut self) -> Scan<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.malformed("the end")) }
    }

    /// Goes one level down. Whoever does so comes [`up`](Self::up) again.
    pub fn down(&mut self) -> Scan<()> {
        if self.depth == DEPTH_MAX {
            return Err(self.malformed("no more than 128 levels"));
        }
        self.depth += 1;
        Ok(())
    }

    pub fn up(&mut self) {
        self.depth -= 1;
    }

    /// Takes a member's name and the colon behind it, and gives what is between the quotes.
    pub fn name(&mut self) -> Scan<&'a [u8]> {
        if self.peek() != Some(b'"') {
            return Err(self.malformed("a member's name"));
        }
        let name = self.string()?;
        self.expect(b':', "`:`")?;
        Ok(name)
    }

    /// Walks over any value.
    pub fn skip(&mut self) -> Scan<()> {
        match self.peek() {
            Some(b'{') => self.skip_object(),
            Some(b'[') => self.skip_array(),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.literal(),
        }
    }

    fn skip_object(&mut self) -> Scan<()> {
        self.at += 1;
        self.down()?;
        if !self.eat(b'}') {
            loop {
                self.name()?;
                self.skip()?;
                if self.eat(b'}') {
                    break;
                }
                self.expect(b',', "`,` or `}`")?;
            }
        }
        self.up();
        Ok(())
    }

    fn skip_array(&mut self) -> Scan<()> {
        self.at += 1;
        self.down()?;
        if !self.eat(b']') {
            loop {
                self.skip()?;
                if self.eat(b']') {
                    break;
                }
                self.expect(b',', "`,` or `]`")?;
            }
        }
        self.up();
        Ok(())
    }

    /// Takes a string, of which the first quote is known to be there, and gives what is between the quotes.
    fn string(&mut self) -> Scan<&'a [u8]> {
        let start = self.at + 1;
        self.at = start;
        loop {
            self.at += plain_len(&self.text[self.at..]);
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.text[start..self.at - 1]);
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(self.malformed("a string's end")),
            }
        }
    }

    fn escape(&mut self) -> Scan<()> {
        let hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
        self.at += match &self.text[self.at + 1..] {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', a, b, c, d, ..] if hex(&[*a, *b, *c, *d]) => 6,
            _ => return Err(self.malformed("an escape sequence")),
        };
        Ok(())
    }

    fn literal(&mut self) -> Scan<()> {
        let literals: [&[u8]; 3] = [b"true", b"false", b"null"];
        let literal = literals.into_iter().find(|literal| self.text[self.at..].starts_with(literal));
        self.at += literal.ok_or_else(|| self.malformed("a value"))?.len();
        Ok(())
    }

    fn number(&mut self) -> Scan<()> {
        self.take(b"-");
        if !self.take(b"0") {
            self.digits()?;
        }
        if self.take(b".") {
            self.digits()?;
        }
        if self.take(b"eE") {
            self.take(b"+-");
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Scan<()> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.malformed("a digit")) }
    }

    fn take(&mut self, any_of: &[u8]) -> bool {
        let is_next = self.byte().is_some_and(|byte| any_of.contains(&byte));
        self.at += usize::from(is_next);
        is_next
    }

    /// What is wrong at this place: `expected` is what would have been right.
    pub fn malformed(&self, expected: &'static str) -> Malformed {
        Malformed { at: self.at, expected }
    }
}

/// How many bytes at the beginning are a string's plain content, eight at a time: this is where most of the time goes.
fn plain_len(text: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGHS;
    let equal = |word: u64, byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    for (index, bytes) in text.chunks_exact(8).enumerate() {
        let word = u64::from_le_bytes(bytes.try_into().expect("a chunk has eight bytes"));
        let special = below(word, 0x20) | equal(word, b'"') | equal(word, b'\\');
        if special != 0 {
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let start = text.len() / 8 * 8;
    let is_special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    start + text[start..].iter().position(is_special).unwrap_or(text.len() - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(text: &[u8]) -> Scan<()> {
        let mut scanner = Scanner::new(text)?;
        scanner.skip()?;
        scanner.expect_end()
    }

    #[test]
    fn takes_what_is_json() {
        for text in [
            "{}",
            "[]",
            "0",
            "-0.5e+10",
            "12E3",
            "true",
            "false",
            "null",
            "\"\"",
            " { } ",
            "[1, 2,[3],{}]\n",
            r#"{"a": "\\ \" \/ \b\f\n\r\t \u00e9", "b": [{"c": null}]}"#,
            "\"käse 🧀 of more than eight bytes\"",
        ] {
            assert_eq!(skip(text.as_bytes()), Ok(()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "[1,]",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "1e",
            "-",
            "+1",
            "tru",
            "nul",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u12",
            "\"a\nb\"",
            "\"more than eight bytes\tlong\"",
            "1 2",
            "{} {}",
            "'a'",
            "NaN",
            "\u{feff}{}",
        ] {
            assert!(skip(text.as_bytes()).is_err(), "{text}");
        }
        assert!(skip(b"\"\xff\"").is_err());
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert_eq!(skip(&nested(DEPTH_MAX)), Ok(()));
        let error = skip(&nested(DEPTH_MAX + 1)).unwrap_err();
        assert!(error.to_string().contains(&DEPTH_MAX.to_string()), "{error}");
        assert!(skip(&vec![b'['; 1_000_000]).is_err());
        assert!(skip("{\"a\":".repeat(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn a_strings_plain_part_ends_at_its_first_special_byte() {
        for len in 0..40 {
            for special in [b'"', b'\\', b'\n', 0, 0x1f] {
                let mut text = "é🧀 \u{7f}!#[]~".repeat(4).as_bytes()[..len].to_vec();
                assert_eq!(plain_len(&text), len);
                text.push(special);
                text.extend(b"\"\\\n and more");
                assert_eq!(plain_len(&text), len, "{special}");
            }
        }
    }
}
