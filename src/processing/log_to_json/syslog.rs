//! Syslog as it is found in files: RFC 3164, and the same with a timestamp of RFC 3339.
//!
//! Invariant: what is no `program[pid]: ` stays in the message, so no text behind the host is left out.

use super::Fields;
use super::cursor::{Cursor, Mismatch};

pub(super) fn rfc3164(line: &[u8]) -> Result<Fields<'_>, Mismatch> {
    scan(line, |cursor| {
        let is_time = cursor.eat_shape(b"aaa _d dd:dd:dd") || cursor.eat_shape(b"aaa d dd:dd:dd");
        if is_time { Ok(()) } else { Err(cursor.mismatch("`Mmm dd hh:mm:ss`")) }
    })
}

pub(super) fn rfc3339(line: &[u8]) -> Result<Fields<'_>, Mismatch> {
    scan(line, rfc3339_time)
}

/// `yyyy-mm-ddThh:mm:ss`, perhaps with a fraction, and `Z` or an offset.
pub(super) fn rfc3339_time(cursor: &mut Cursor<'_>) -> Result<(), Mismatch> {
    let start = *cursor;
    let mut is_time = cursor.eat_shape(b"dddd-dd-ddTdd:dd:dd");
    if is_time && cursor.eat(b".") {
        is_time = !cursor.digits().is_empty();
    }
    if is_time && (cursor.eat(b"Z") || cursor.eat_shape(b"sdd:dd")) {
        return Ok(());
    }
    Err(start.mismatch("`yyyy-mm-ddThh:mm:ss` and `Z` or an offset"))
}

fn scan<'a>(line: &'a [u8], time: impl Fn(&mut Cursor<'a>) -> Result<(), Mismatch>) -> Result<Fields<'a>, Mismatch> {
    let mut cursor = Cursor::new(line);
    let mut fields = Fields::default();
    if let Some(after) = priority(cursor) {
        cursor = after;
    }
    let start = cursor;
    time(&mut cursor)?;
    fields[0] = Some(cursor.since(start));
    cursor.expect(b" ", "a space")?;
    facility(&mut cursor);
    fields[1] = Some(cursor.word("a host")?);
    if !cursor.is_at_end() {
        cursor.take(1);
    }
    program(&mut cursor, &mut fields);
    fields[4] = Some(cursor.rest());
    Ok(fields)
}

/// The place behind `<PRI>`, which daemons leave out of files.
fn priority(mut cursor: Cursor<'_>) -> Option<Cursor<'_>> {
    let is_priority = cursor.eat(b"<") && (1..=3).contains(&cursor.digits().len()) && cursor.eat(b">");
    is_priority.then_some(cursor)
}

/// Takes `<facility.severity> ` before a host, which some daemons can be told to write.
fn facility(cursor: &mut Cursor<'_>) {
    let mut ahead = *cursor;
    let is_facility =
        ahead.word("").is_ok_and(|word| word.starts_with(b"<") && word.ends_with(b">") && word.contains(&b'.'));
    if is_facility && ahead.eat(b" ") && !matches!(ahead.rest(), [] | [b' ', ..]) {
        *cursor = ahead;
    }
}

/// Takes `program: ` or `program[pid]: `.
fn program<'a>(cursor: &mut Cursor<'a>, fields: &mut Fields<'a>) {
    let mut ahead = *cursor;
    let Some(tag) = ahead.word("").ok().and_then(|word| word.strip_suffix(b":")) else { return };
    let bracket = tag.strip_suffix(b"]").and_then(|tag| memchr::memchr(b'[', tag));
    let (name, pid) = match bracket {
        Some(bracket) => (&tag[..bracket], Some(&tag[bracket + 1..tag.len() - 1])),
        None => (tag, None),
    };
    if name.is_empty() || name.starts_with(b"[") {
        return;
    }
    fields[2] = Some(name);
    fields[3] = pid.filter(|pid| !pid.is_empty());
    ahead.eat(b" ");
    *cursor = ahead;
}
