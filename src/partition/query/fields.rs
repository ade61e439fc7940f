//! The fields that a program reads, so that no value has to be made of all of a record.
//!
//! Always true: of what this makes of a record a program gives what it gives of all of it; where it is not sure, it makes nothing.

use std::borrow::Cow;
use std::fmt;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::path::Part;
use jaq_json::{Map, Num, Val};
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Names of fields of the record itself; at least one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fields(Vec<String>);

impl Fields {
    /// `None` where a program may look at more than some fields, or it cannot be told.
    pub fn of(program: &str) -> Option<Self> {
        let term = jaq_core::load::parse(program, |parser| parser.term())?;
        let mut names = Vec::new();
        collect(&term, &mut names)?;
        names.sort();
        names.dedup();
        (!names.is_empty()).then_some(Self(names))
    }

    /// An object of these fields, of a record that must be JSON to its end. `None` where one of them is more than text, a whole
    /// number, a boolean or null, where the record is no object, or where serde cannot read it: whether it is JSON is for others
    /// to say.
    pub fn input(&self, record: &[u8]) -> Option<Val> {
        let mut reader = serde_json::Deserializer::from_slice(record);
        let found = reader.deserialize_any(Object(&self.0)).ok()?;
        reader.end().ok()?;
        found
    }
}

/// Adds the fields that `term` reads of its input.
fn collect(term: &Term<&str>, names: &mut Vec<String>) -> Option<()> {
    match term {
        Term::Num(_) | Term::Var(_) => Some(()),
        Term::Call("true" | "false" | "null" | "empty", arguments) if arguments.is_empty() => Some(()),
        Term::Str(_, parts) => parts.iter().try_for_each(|part| match part {
            StrPart::Str(_) | StrPart::Char(_) => Some(()),
            StrPart::Term(term) => collect(term, names),
        }),
        Term::Arr(None) => Some(()),
        Term::Arr(Some(inner)) | Term::Neg(inner) => collect(inner, names),
        // What comes behind `|` or `catch` sees nothing of the record but what it is given.
        Term::BinOp(left, BinaryOp::Pipe(None), _) | Term::TryCatch(left, _) => collect(left, names),
        Term::BinOp(left, BinaryOp::Pipe(Some(Pattern::Var(_))), right)
        | Term::BinOp(
            left,
            BinaryOp::Comma | BinaryOp::Alt | BinaryOp::Or | BinaryOp::And | BinaryOp::Math(_) | BinaryOp::Cmp(_),
            right,
        ) => {
            collect(left, names)?;
            collect(right, names)
        }
        Term::IfThenElse(cases, Some(otherwise)) => {
            for (condition, then) in cases {
                collect(condition, names)?;
                collect(then, names)?;
            }
            collect(otherwise, names)
        }
        Term::Path(head, path) => {
            let mut parts = path.0.iter().map(|(part, _)| part);
            match head.as_ref() {
                Term::Id => names.push(name(parts.next()?)?.to_owned()),
                head => collect(head, names)?,
            }
            parts.try_for_each(|part| match part {
                Part::Index(index) => collect(index, names),
                Part::Range(from, to) => [from, to].into_iter().flatten().try_for_each(|term| collect(term, names)),
            })
        }
        _ => None,
    }
}

fn name<'a>(part: &'a Part<Term<&str>>) -> Option<&'a str> {
    match part {
        Part::Index(Term::Str(None, parts)) => match parts.as_slice() {
            [StrPart::Str(name)] => Some(name),
            _ => None,
        },
        _ => None,
    }
}

/// A record of which these fields are wanted.
struct Object<'f>(&'f [String]);

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Option<Val>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Option<Val>, A::Error> {
        let (mut found, mut is_sure) = (Map::default(), true);
        while let Some(Name(key)) = fields.next_key()? {
            if !self.0.iter().any(|name| *name == *key) {
                fields.next_value::<IgnoredAny>()?;
                continue;
            }
            match fields.next_value::<Scalar>()? {
                // Of several with one name the last counts.
                Scalar(Some(value)) => drop(found.insert(Val::utf8_str(key.into_owned().into_bytes()), value)),
                Scalar(None) => is_sure = false,
            }
        }
        Ok(is_sure.then(|| Val::obj(found)))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Option<Val>, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Option<Val>, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Option<Val>, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Option<Val>, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Option<Val>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<Val>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<Val>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// A field's name, without a copy where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// A value; `None` for those that jaq's own reader has to read, since serde would round or nest them.
struct Scalar(Option<Val>);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(OfScalar)
    }
}

struct OfScalar;

impl<'de> Visitor<'de> for OfScalar {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(Some(Val::Bool(value))))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar(isize::try_from(value).ok().map(|value| Val::Num(Num::Int(value)))))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar(isize::try_from(value).ok().map(|value| Val::Num(Num::Int(value)))))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar(None))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar(Some(Val::utf8_str(value.as_bytes().to_vec()))))
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar, E> {
        Ok(Scalar(Some(Val::Null)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Scalar, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar(None))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::path::any_json;
    use super::*;
    use crate::partition::query::Query;

    const PROGRAMS: [(&str, &[&str]); 13] = [
        (".a % 7", &["a"]),
        (".b | tostring | .[0:2]", &["b"]),
        (r#""\(.a)-\(.b // "none")""#, &["a", "b"]),
        (".a // .b // \"none\"", &["a", "b"]),
        (".a[.b]?", &["a", "b"]),
        (".a.c[1:.b]", &["a", "b"]),
        ("if .a == 1 then .b else .c end", &["a", "b", "c"]),
        ("try (.a | tonumber) catch \"no\"", &["a"]),
        (".a as $x | $x + .b", &["a", "b"]),
        ("[.a, .b] | join(\"/\")", &["a", "b"]),
        ("-.a, empty", &["a"]),
        ("(.a | length) + 1", &["a"]),
        (".[\"a\"] | [., keys?] | length", &["a"]),
    ];

    #[test]
    fn the_fields_are_told_or_the_whole_record_is_read() {
        for (program, fields) in PROGRAMS {
            let fields = fields.iter().map(|field| (*field).to_owned()).collect();
            assert_eq!(Fields::of(program), Some(Fields(fields)), "{program}");
        }
        for program in [
            ".",
            "..",
            "length",
            "keys",
            ".[]",
            "{a: .a, b: .}",
            "if .a then 1 end",
            "[.] | .[0]",
            ". as {a: $x} | $x",
            "def f: .; f",
            "first(.a)",
            ".a = 1 | .b",
            "reduce .a as $x (.; .)",
            "\"\\(.)\"",
            ".[(.a)]",
            "1",
        ] {
            assert_eq!(Fields::of(program), None, "{program}");
        }
    }

    proptest! {
        #[test]
        fn some_fields_give_what_the_whole_record_gives(
            record in any_json(),
            program in prop::sample::select(PROGRAMS.to_vec()),
            cut in 0..6usize,
        ) {
            let record = record.as_bytes();
            let record = if cut == 0 { &record[..record.len() / 2] } else { record };
            let query = Query::compile(program.0).unwrap();
            let by_all = query.by_program(record);
            prop_assert_eq!(query.value(record), by_all);
        }
    }
}
