//! The common and the combined log format of Apache and nginx.
//!
//! Invariant: a quote within a quoted field is one that a backslash escapes. Only where the line does not match so are
//! backslashes taken as plain characters, as servers write them that escape nothing.

use super::Fields;
use super::cursor::{Cursor, Mismatch, has_shape};

const TIME: &[u8] = b"dd/aaa/dddd:dd:dd:dd sdddd";

pub(super) fn common(line: &[u8]) -> Result<Fields<'_>, Mismatch> {
    either_quoting(line, |cursor, quoted| {
        let fields = common_fields(cursor, quoted)?;
        if cursor.is_at_end() { Ok(fields) } else { cursor.expect(b" ", "a space or the end").map(|()| fields) }
    })
}

pub(super) fn combined(line: &[u8]) -> Result<Fields<'_>, Mismatch> {
    either_quoting(line, |cursor, quoted| {
        let mut fields = common_fields(cursor, quoted)?;
        cursor.expect(b" ", "a space and the referer")?;
        fields[7] = quoted(cursor)?;
        cursor.expect(b" ", "a space and the agent")?;
        fields[8] = quoted(cursor)?;
        Ok(fields)
    })
}

type Field<'a> = Option<&'a [u8]>;
type Quoted<'a> = fn(&mut Cursor<'a>) -> Result<Field<'a>, Mismatch>;

fn either_quoting<'a>(
    line: &'a [u8],
    scan: impl Fn(&mut Cursor<'a>, Quoted<'a>) -> Result<Fields<'a>, Mismatch>,
) -> Result<Fields<'a>, Mismatch> {
    scan(&mut Cursor::new(line), quoted_with_escapes)
        .or_else(|mismatch| scan(&mut Cursor::new(line), quoted_without_escapes).map_err(|_| mismatch))
}

fn common_fields<'a>(cursor: &mut Cursor<'a>, quoted: Quoted<'a>) -> Result<Fields<'a>, Mismatch> {
    let mut fields = Fields::default();
    fields[0] = value(cursor.word_and_space("a host")?);
    fields[1] = value(cursor.word_and_space("an identity or `-`")?);
    fields[2] = value(user(cursor)?);
    cursor.expect(b" [", "a user and ` [`")?;
    fields[3] = value(cursor.take(TIME.len()));
    cursor.expect(b"] ", "`] `")?;
    fields[4] = quoted(cursor)?;
    cursor.expect(b" ", "a space and the status")?;
    fields[5] = number(cursor)?;
    cursor.expect(b" ", "a space and the number of bytes")?;
    fields[6] = number(cursor)?;
    Ok(fields)
}

/// Everything up to the time, since names of users may have spaces.
fn user<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Mismatch> {
    let rest = cursor.rest();
    let is_time =
        |&at: &usize| at > 0 && has_shape(&rest[at + 2..], TIME) && rest.get(at + 2 + TIME.len()) == Some(&b']');
    memchr::memchr_iter(b'[', rest)
        .filter_map(|bracket| bracket.checked_sub(1))
        .filter(|&at| rest[at] == b' ')
        .find(is_time)
        .map(|at| cursor.take(at))
        .ok_or_else(|| cursor.mismatch("a user and `[dd/Mmm/yyyy:hh:mm:ss ±hhmm]`"))
}

fn number<'a>(cursor: &mut Cursor<'a>) -> Result<Field<'a>, Mismatch> {
    if cursor.eat(b"-") {
        return Ok(None);
    }
    match cursor.digits() {
        [] => Err(cursor.mismatch("a number or `-`")),
        digits => Ok(Some(digits)),
    }
}

fn quoted_with_escapes<'a>(cursor: &mut Cursor<'a>) -> Result<Field<'a>, Mismatch> {
    cursor.expect(b"\"", "`\"`")?;
    let rest = cursor.rest();
    let mut from = 0;
    loop {
        let Some(found) = memchr::memchr2(b'"', b'\\', &rest[from..]) else {
            return Err(cursor.mismatch("a text and its closing `\"`"));
        };
        from += found;
        if rest[from] == b'"' {
            return Ok(closed(cursor, from));
        }
        // The backslash and what it escapes; a lone one at the end leaves nothing to be found.
        from = (from + 2).min(rest.len());
    }
}

fn quoted_without_escapes<'a>(cursor: &mut Cursor<'a>) -> Result<Field<'a>, Mismatch> {
    cursor.expect(b"\"", "`\"`")?;
    let len = memchr::memchr(b'"', cursor.rest());
    len.map(|len| closed(cursor, len)).ok_or_else(|| cursor.mismatch("a text and its closing `\"`"))
}

fn closed<'a>(cursor: &mut Cursor<'a>, len: usize) -> Field<'a> {
    let text = cursor.take(len);
    cursor.take(1);
    value(text)
}

fn value(text: &[u8]) -> Field<'_> {
    (text != b"-").then_some(text)
}
