//! Time patterns of `!{timestamp:…}`: those of java.time.format.DateTimeFormatter, printed as Java does.
//!
//! What must always hold: a pattern that was parsed prints at any instant, without failing. What would make Java fail
//! only on some days (`pd` on the 10th) is refused when it is parsed. Optional sections are always printed, since every
//! field is known.
//!
//! | letters | what they print |
//! | --- | --- |
//! | `G` | era: `AD`, `GGGG` `Anno Domini`, `GGGGG` `A` |
//! | `u` `y` | year (`y` counts within the era): `2026`, `yy` `26` |
//! | `M` `L` | month: `7`, `MM` `07`, `MMM` `Jul`, `MMMM` `July`, `MMMMM` `J` |
//! | `Q` `q` | quarter: `3`, `QQ` `03`, `QQQ` `Q3`, `QQQQ` `3rd quarter` |
//! | `d` `D` `g` | day of the month, of the year; modified Julian day |
//! | `F` | day within the month's aligned weeks: 1 on the 1st, 8th, 15th, … (as in Java 8 to 18) |
//! | `Y` `w` `W` | week-based year, week of that year, week of the month |
//! | `e` `c` | day of the week: 1 on Sundays, `eee` `Mon`, `eeee` `Monday`, `eeeee` `M`; no `cc` |
//! | `E` | day of the week: `Mon`, `EEEE` `Monday`, `EEEEE` `M` |
//! | `a` `B` | `AM` or `PM`; period of the day: `in the morning` |
//! | `H` `k` `K` `h` | hour: 0–23, 1–24, 0–11, 1–12 |
//! | `m` `s` | minute, second |
//! | `S` `n` `A` `N` | fraction of a second, nanosecond, millisecond of the day, nanosecond of the day |
//! | `VV` `z` `v` | zone: `Europe/Paris`; `CEST`, `zzzz` its long name; `v`, `vvvv` the same without daylight saving |
//! | `X` `x` `Z` `O` | offset: `+02`, `XX` `+0200`, `XXX` `+02:00`; `Z` `+0200`, `ZZZZZ` `+02:00`; `O` `GMT+2` |
//! | `p` | pads what follows with blanks to the width that the number of `p` gives |
//! | `[` `]` | an optional section |
//! | `'…'` | text as it is; `''` is one quote |
//! | `{` `}` `#` | reserved |
//!
//! Names and weeks are those of `Locale.US`: English words, a week begins on Sunday, and week 1 is the one that holds
//! 1 January. Times are precise to the second, so fractions print zeros. UTC is the zone `UTC`, offset `Z` for `X`.

mod field;
#[cfg(test)]
mod golden;
mod print;

pub(super) use print::Moment;

use std::collections::BTreeSet;

use super::PrefixError;
use field::Field;

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TimePattern {
    items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq)]
enum Item {
    Text(String),
    /// A field, and the number of characters up to which blanks are put before it.
    Field(Field, usize),
}

impl TimePattern {
    /// The error's offset counts from the beginning of `pattern`.
    pub(super) fn parse(pattern: &str) -> Result<Self, PrefixError> {
        Parser { pattern, position: 0, items: Vec::new(), open_sections: 0 }.parse()
    }

    /// Appends the moment, written as the pattern says.
    pub(super) fn print(&self, moment: &Moment, out: &mut String) {
        for item in &self.items {
            match item {
                Item::Text(text) => out.push_str(text),
                Item::Field(field, width) => {
                    let start = out.len();
                    field.print(moment, out);
                    let printed = out[start..].chars().count();
                    // Only a zone's name can be wider, and it is not cut.
                    (printed..*width).for_each(|_| out.insert(start, ' '));
                }
            }
        }
    }

    /// Where in `text` something may end that the pattern has printed from `start` on. Only numbers are looked at closely: there
    /// may be more places than times would have, never fewer.
    pub(super) fn ends(&self, text: &str, start: usize) -> BTreeSet<usize> {
        let mut ends = BTreeSet::from([start]);
        for item in &self.items {
            ends = match item {
                Item::Text(literal) => {
                    let begins = |&at: &usize| text.get(at..).is_some_and(|rest| rest.starts_with(literal.as_str()));
                    ends.into_iter().filter(begins).map(|at| at + literal.len()).collect()
                }
                Item::Field(field, width) => {
                    let (least, is_number) = field.least();
                    let is_number = is_number && *width == 0;
                    let longest = field.longest().len().max(*width);
                    let fits = |at: usize, len: usize| {
                        let part = text.get(at..at + len);
                        part.is_some_and(|part| !is_number || part.bytes().all(|c| c.is_ascii_digit()))
                    };
                    let lengths = |at| (least..=longest).filter(move |&len| fits(at, len)).map(move |len| at + len);
                    ends.into_iter().flat_map(lengths).collect()
                }
            };
        }
        ends
    }

    /// A text at least as long as anything the pattern prints, and like it in its slashes and dots.
    pub(super) fn longest(&self) -> String {
        let mut out = String::new();
        for item in &self.items {
            match item {
                Item::Text(text) => out.push_str(text),
                Item::Field(field, width) => {
                    let longest = field.longest();
                    (longest.chars().count()..*width).for_each(|_| out.push(' '));
                    out.push_str(&longest);
                }
            }
        }
        out
    }
}

struct Parser<'a> {
    pattern: &'a str,
    position: usize,
    items: Vec<Item>,
    open_sections: usize,
}

impl Parser<'_> {
    fn parse(mut self) -> Result<TimePattern, PrefixError> {
        if self.pattern.is_empty() {
            return Err(PrefixError::new(
                0,
                "the time pattern is empty",
                "a Java time pattern, for example `yyyy/MM/dd`",
            ));
        }
        while let Some(c) = self.peek() {
            match c {
                'a'..='z' | 'A'..='Z' => self.field()?,
                '\'' => self.quoted()?,
                '[' | ']' => self.section(c)?,
                '{' | '}' | '#' => {
                    let help = format!("put it in single quotes: `'{c}'`");
                    return Err(self.error(format!("`{c}` is reserved in time patterns"), help));
                }
                _ => {
                    self.text(c);
                    self.position += c.len_utf8();
                }
            }
        }
        Ok(TimePattern { items: self.items })
    }

    fn field(&mut self) -> Result<(), PrefixError> {
        let start = self.position;
        let (mut letter, mut count) = self.run();
        let mut width = 0;
        if letter == 'p' {
            if !self.peek().is_some_and(|next| next.is_ascii_alphabetic()) {
                self.position = start;
                let help = "`p` pads the letters behind it: `ppH`; put text in single quotes: `'p'`";
                return Err(self.error("nothing follows that `p` could pad", help));
            }
            width = count;
            (letter, count) = self.run();
        }
        let end = std::mem::replace(&mut self.position, start);
        let field = Field::parse(letter, count).map_err(|(message, help)| self.error(message, help))?;
        let longest = field.longest().chars().count();
        if width > 0 && longest > width && !field.depends_on_zone() {
            let help = format!("up to {longest} characters must fit: repeat `p` {longest} times, or leave it out");
            return Err(
                self.error(format!("`{letter}` can be longer than the {width} characters it is padded to"), help)
            );
        }
        self.position = end;
        self.items.push(Item::Field(field, width));
        Ok(())
    }

    fn quoted(&mut self) -> Result<(), PrefixError> {
        let body = self.position + 1;
        let mut end = body;
        loop {
            let Some(quote) = self.pattern[end..].find('\'') else {
                return Err(self.error("the quote is not closed", "end the text with `'`; `''` is a quote itself"));
            };
            end += quote;
            if !self.pattern[end + 1..].starts_with('\'') {
                break;
            }
            // The beginning of `'''a'` is a quote in quotes; `''` alone ended the loop before.
            end += 2;
        }
        if end == body {
            self.text('\'')
        } else {
            self.texts(&self.pattern[body..end].replace("''", "'"))
        }
        self.position = end + 1;
        Ok(())
    }

    fn section(&mut self, bracket: char) -> Result<(), PrefixError> {
        if bracket == '[' {
            self.open_sections += 1;
        } else if self.open_sections == 0 {
            return Err(self.error("`]` without a `[` before it", "put it in single quotes if it is text: `']'`"));
        } else {
            self.open_sections -= 1;
        }
        self.position += 1;
        Ok(())
    }

    /// The letter at the position and how often it is repeated; steps over them.
    fn run(&mut self) -> (char, usize) {
        let rest = &self.pattern[self.position..];
        let letter = rest.chars().next().unwrap_or_default();
        let count = rest.chars().take_while(|c| *c == letter).count();
        self.position += count; // letters are ASCII
        (letter, count)
    }

    fn peek(&self) -> Option<char> {
        self.pattern[self.position..].chars().next()
    }

    fn text(&mut self, c: char) {
        self.texts(c.encode_utf8(&mut [0; 4]));
    }

    fn texts(&mut self, text: &str) {
        match self.items.last_mut() {
            Some(Item::Text(last)) => last.push_str(text),
            _ => self.items.push(Item::Text(text.to_owned())),
        }
    }

    fn error(&self, message: impl Into<String>, help: impl Into<String>) -> PrefixError {
        PrefixError::new(self.position, message, help)
    }
}
