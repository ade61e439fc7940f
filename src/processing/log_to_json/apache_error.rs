//! Apache's error log, of version 2.2 and 2.4.
//!
//! Invariant: whatever does not look like one of the optional brackets begins the message, so no text is left out.

use super::Fields;
use super::cursor::{Cursor, Mismatch};

pub(super) fn scan(line: &[u8]) -> Result<Fields<'_>, Mismatch> {
    let mut cursor = Cursor::new(line);
    let mut fields = Fields::default();
    fields[0] = Some(timestamp(&mut cursor)?);
    [fields[1], fields[2]] = severity(&mut cursor)?;
    [fields[3], fields[4]] = process(&mut cursor).unwrap_or_default();
    fields[5] = client(&mut cursor);
    fields[6] = value(cursor.rest());
    Ok(fields)
}

fn timestamp<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Mismatch> {
    cursor.expect(b"[", "`[`")?;
    let start = *cursor;
    let mut is_time = cursor.eat_shape(b"aaa aaa _d dd:dd:dd");
    if is_time && cursor.eat(b".") {
        is_time = !cursor.digits().is_empty();
    }
    if !(is_time && cursor.eat_shape(b" dddd")) {
        return Err(start.mismatch("`Www Mmm dd hh:mm:ss yyyy`"));
    }
    let time = cursor.since(start);
    cursor.expect(b"] ", "`] `")?;
    Ok(time)
}

/// `[module:severity] `; there are lines with an empty module.
fn severity<'a>(cursor: &mut Cursor<'a>) -> Result<[Option<&'a [u8]>; 2], Mismatch> {
    let expected = "`[severity]` or `[module:severity]`";
    cursor.expect(b"[", expected)?;
    let len = memchr::memchr2(b']', b' ', cursor.rest()).unwrap_or(cursor.rest().len());
    let start = *cursor;
    let text = cursor.take(len);
    let (module, severity) = match memchr::memrchr(b':', text) {
        Some(colon) => (value(&text[..colon]), &text[colon + 1..]),
        None => (None, text),
    };
    if severity.is_empty() || !cursor.eat(b"]") {
        return Err(start.mismatch(expected));
    }
    cursor.eat(b" ");
    Ok([module, value(severity)])
}

/// `[pid 1] ` or `[pid 1:tid 2] `.
fn process<'a>(cursor: &mut Cursor<'a>) -> Option<[Option<&'a [u8]>; 2]> {
    let mut ahead = *cursor;
    if !ahead.eat(b"[pid ") {
        return None;
    }
    let pid = number(&mut ahead)?;
    let tid = if ahead.eat(b":tid ") { Some(number(&mut ahead)?) } else { None };
    if !ahead.eat(b"]") {
        return None;
    }
    ahead.eat(b" ");
    *cursor = ahead;
    Some([Some(pid), tid])
}

/// `[client address:port] `; an address may have brackets of its own.
fn client<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let mut ahead = *cursor;
    if !ahead.eat(b"[client ") {
        return None;
    }
    let rest = ahead.rest();
    let is_end = |&at: &usize| matches!(rest.get(at + 1), None | Some(b' '));
    let len = memchr::memchr_iter(b']', rest).find(is_end).filter(|&len| len > 0 && !rest[..len].contains(&b' '))?;
    let client = ahead.take(len);
    ahead.eat(b"]");
    ahead.eat(b" ");
    *cursor = ahead;
    value(client)
}

fn number<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    Some(cursor.digits()).filter(|digits| !digits.is_empty())
}

fn value(text: &[u8]) -> Option<&[u8]> {
    (!matches!(text, b"-" | b"")).then_some(text)
}
