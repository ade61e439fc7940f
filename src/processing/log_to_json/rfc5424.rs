//! Syslog of RFC 5424, with structured data as an object of objects.
//!
//! Invariant: every parameter of the structured data is in the object. A name that an element has several times, which
//! the RFC allows, is there once with a list; an element that comes twice, which it forbids, fails the record.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::super::json_text::{MemberNames, push_string};
use super::cursor::{Cursor, Mismatch};
use super::syslog::rfc3339_time;

pub(super) const FIELDS: [&str; 9] =
    ["priority", "version", "timestamp", "hostname", "app_name", "procid", "msgid", "structured_data", "message"];

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Writes all members, without the closing brace.
pub(super) fn write(line: &[u8], names: &MemberNames, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    let mut cursor = Cursor::new(line);
    for (index, &value) in header(&mut cursor)?.iter().enumerate() {
        names.push(out, index, value);
    }
    names.begin(out, 7);
    if cursor.eat(b"-") {
        out.extend_from_slice(b"null");
    } else {
        structured_data(&mut cursor, out)?;
    }
    names.push(out, 8, message(&mut cursor)?);
    Ok(())
}

fn header<'a>(cursor: &mut Cursor<'a>) -> Result<[Option<&'a [u8]>; 7], Mismatch> {
    let mut fields = [None; 7];
    cursor.expect(b"<", "`<`")?;
    fields[0] = Some(number(cursor, "a priority of 1 to 3 digits")?);
    cursor.expect(b">", "`>`")?;
    fields[1] = Some(number(cursor, "a version of 1 to 3 digits")?);
    cursor.expect(b" ", "a space")?;
    let start = *cursor;
    if !cursor.eat(b"-") {
        rfc3339_time(cursor)?;
    }
    fields[2] = value(cursor.since(start));
    cursor.expect(b" ", "a space")?;
    let expected = ["a host or `-`", "an application or `-`", "a process or `-`", "a message id or `-`"];
    for (field, expected) in fields[3..].iter_mut().zip(expected) {
        *field = value(cursor.word_and_space(expected)?);
    }
    Ok(fields)
}

fn number<'a>(cursor: &mut Cursor<'a>, expected: &'static str) -> Result<&'a [u8], Mismatch> {
    let start = *cursor;
    let digits = cursor.digits();
    if (1..=3).contains(&digits.len()) { Ok(digits) } else { Err(start.mismatch(expected)) }
}

fn message<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, Mismatch> {
    if cursor.is_at_end() {
        return Ok(None);
    }
    cursor.expect(b" ", "a space or the end")?;
    cursor.eat(BYTE_ORDER_MARK);
    Ok(Some(cursor.rest()))
}

fn structured_data(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    let mut ids = HashSet::new();
    loop {
        let start = *cursor;
        cursor.expect(b"[", "`-` or `[`")?;
        let id = name(cursor)?;
        if !ids.insert(id) {
            return Err(start.mismatch("an element with another id"));
        }
        out.push(if ids.len() == 1 { b'{' } else { b',' });
        push_string(out, id);
        out.push(b':');
        write_element(&element(cursor)?, out);
        if !cursor.rest().starts_with(b"[") {
            out.push(b'}');
            return Ok(());
        }
    }
}

type Parameters<'a> = Vec<(&'a [u8], Vec<Cow<'a, [u8]>>)>;

/// The parameters up to the closing bracket, by name and in the order in which the names appear.
fn element<'a>(cursor: &mut Cursor<'a>) -> Result<Parameters<'a>, Mismatch> {
    let (mut parameters, mut places) = (Parameters::new(), HashMap::new());
    while !cursor.eat(b"]") {
        cursor.expect(b" ", "a space or `]`")?;
        let name = name(cursor)?;
        cursor.expect(b"=\"", "`=\"`")?;
        let value = parameter_value(cursor)?;
        let place = *places.entry(name).or_insert(parameters.len());
        match parameters.get_mut(place) {
            Some((_, values)) => values.push(value),
            None => parameters.push((name, vec![value])),
        }
    }
    Ok(parameters)
}

fn write_element(parameters: &Parameters<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, values)) in parameters.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_string(out, name);
        out.push(b':');
        match values.as_slice() {
            [value] => push_string(out, value),
            values => write_list(values, out),
        }
    }
    out.push(b'}');
}

fn write_list(values: &[Cow<'_, [u8]>], out: &mut Vec<u8>) {
    for (index, value) in values.iter().enumerate() {
        out.push(if index == 0 { b'[' } else { b',' });
        push_string(out, value);
    }
    out.push(b']');
}

fn name<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Mismatch> {
    let len = cursor.rest().iter().take_while(|byte| !matches!(byte, b'=' | b' ' | b']' | b'"')).count();
    if len == 0 { Err(cursor.mismatch("a name")) } else { Ok(cursor.take(len)) }
}

/// The value up to its closing quote, without the backslashes before `"`, `\` and `]`; others stay, as the RFC says.
fn parameter_value<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, [u8]>, Mismatch> {
    let (start, rest) = (*cursor, cursor.rest());
    let mut unescaped: Option<Vec<u8>> = None;
    let mut run = 0; // where what is not in `unescaped` yet begins
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &rest[at..]) {
        at += found;
        if rest[at] == b'"' {
            cursor.take(at + 1);
            let tail = &rest[run..at];
            return Ok(match unescaped {
                Some(text) => Cow::Owned([&text, tail].concat()),
                None => Cow::Borrowed(tail),
            });
        }
        if matches!(rest.get(at + 1), Some(b'"' | b'\\' | b']')) {
            unescaped.get_or_insert_default().extend_from_slice(&rest[run..at]);
            run = at + 1;
            at += 2;
        } else {
            at += 1;
        }
    }
    Err(start.mismatch("a value and its closing `\"`"))
}

fn value(text: &[u8]) -> Option<&[u8]> {
    (text != b"-").then_some(text)
}
