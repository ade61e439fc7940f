//! Partition keys by jq: a program that makes one value of a record.
//!
//! Always true: what a program makes depends on the record alone. Whatever could tell it the time, the environment or other
//! records, and what would end or write to this process, is refused when it is compiled. A run ends: see `bounded`. Plain paths
//! as `.customer.id` take a short way that gives the same values, and of other programs the fields that they read are enough,
//! where those can be told.

mod bounded;
mod fields;
mod path;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use jaq_core::load::parse::Def;
use jaq_core::load::{Arena, File, Loader, span};
use jaq_core::{Compiler, Ctx, Filter, Vars, data, load, unwrap_valr};
use jaq_json::{Val, read};
use serde::de::IgnoredAny;

use fields::Fields;
use path::Path;

type Data = data::JustLut<Val>;

/// A stack must hold as many calls of a reader.
const DEPTH_MAX: usize = 256;

/// What of jaq's own functions a program must not use, under the names that it has for them.
const REFUSED: [&str; 14] = [
    "now",
    "localtime",
    "strflocaltime",
    "env",
    "input",
    "inputs",
    "halt",
    "halt_error",
    "debug",
    "debug_empty",
    "stderr",
    "stderr_empty",
    "repl",
    "input_line_number",
];

/// Under this name a program is called.
const PROGRAM: &str = "hydrant_program";

/// What jq has and jaq does not.
const ADDED: &str = "
def leaf_paths: paths(scalars);
def IN(s): any(s == .; .);
def IN(src; s): any(src == s; .);
";

/// A compiled program.
pub struct Query {
    text: String,
    program: Filter<Data>,
    /// The short way, if there is one.
    path: Option<Path>,
    fields: Option<Fields>,
}

/// What is wrong with a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// The byte in the program at which the mistake begins.
    pub offset: usize,
    pub message: String,
    pub help: String,
}

/// Why a record has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("Non JSON record provided: {0}")]
    NotJson(String),
    #[error("{0}")]
    Failed(String),
    #[error("partitionKeys values must not be null or empty")]
    Empty,
    #[error("the value is {0}, not a string, a number or a boolean")]
    NotScalar(&'static str),
    #[error("the program gives more than one value")]
    Several,
    #[error("the value is not UTF-8")]
    NotUtf8,
    #[error("the record is nested more than {DEPTH_MAX} deep")]
    TooDeep,
}

impl Query {
    /// Compiles a program once for all records.
    pub fn compile(text: &str) -> Result<Self, QueryError> {
        Ok(Self { text: text.to_owned(), program: compile(text)?, path: Path::parse(text), fields: Fields::of(text) })
    }

    /// The program.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value for one record. Numbers and booleans are written as jq writes them.
    pub fn value(&self, record: &[u8]) -> Result<String, ValueError> {
        if has_surrogate(record) {
            return self.by_program(record);
        }
        if let Some(found) = self.path.as_ref().and_then(|path| path.value(record)) {
            return found;
        }
        let input = self.fields.as_ref().and_then(|fields| fields.input(record));
        input.map_or_else(|| self.by_program(record), |input| self.run(input))
    }

    fn by_program(&self, record: &[u8]) -> Result<String, ValueError> {
        // jaq's own reader takes more than JSON, and nests without a limit.
        serde_json::from_slice::<IgnoredAny>(record).map_err(|error| ValueError::NotJson(error.to_string()))?;
        if depth(record) > DEPTH_MAX {
            return Err(ValueError::TooDeep);
        }
        self.run(read::parse_single(record).map_err(|error| ValueError::NotJson(error.to_string()))?)
    }

    /// Within bounds, whoever calls it.
    fn run(&self, input: Val) -> Result<String, ValueError> {
        let failed = |reason: &str| Err(ValueError::Failed(reason.to_owned()));
        // A mistake in jaq is this record's alone.
        let result = catch_unwind(AssertUnwindSafe(|| bounded::run(|| self.only_value(input))));
        result.unwrap_or_else(|_| Ok(failed("the program panicked"))).unwrap_or_else(failed)
    }

    fn only_value(&self, input: Val) -> Result<String, ValueError> {
        let context = Ctx::<Data>::new(&self.program.lut, Vars::new([]));
        let mut values = self.program.id.run((context, input)).map(unwrap_valr);
        let value = values.next().ok_or(ValueError::Empty)?.map_err(|error| ValueError::Failed(error.to_string()))?;
        if values.next().is_some() {
            return Err(ValueError::Several);
        }
        text_of(&value)
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Query").field(&self.text).finish()
    }
}

impl PartialEq for Query {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

fn text_of(value: &Val) -> Result<String, ValueError> {
    let text = match value {
        Val::Null => return Err(ValueError::Empty),
        Val::Arr(_) => return Err(ValueError::NotScalar("an array")),
        Val::Obj(_) => return Err(ValueError::NotScalar("an object")),
        Val::Bool(_) => value.to_string(),
        Val::Num(_) => match value.to_string() {
            // As jq has it, which knows no such number.
            nan if nan == "NaN" => return Err(ValueError::Empty),
            // A whole number is written as one, however it came about.
            number => number.strip_suffix(".0").map_or_else(|| number.clone(), str::to_owned),
        },
        Val::TStr(bytes) | Val::BStr(bytes) => std::str::from_utf8(bytes).map_err(|_| ValueError::NotUtf8)?.to_owned(),
    };
    if text.is_empty() { Err(ValueError::Empty) } else { Ok(text) }
}

/// Whether there may be an escape of half a surrogate pair. jaq refuses one that stands alone, wherever it is, and serde only
/// where it reads it.
fn has_surrogate(json: &[u8]) -> bool {
    memchr::memchr_iter(b'\\', json).any(|at| matches!(json.get(at + 1..at + 3), Some([b'u', b'd' | b'D'])))
}

/// How deep arrays and objects are nested in JSON.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut is_string, mut is_escaped) = (0usize, 0, false, false);
    for byte in json {
        match (is_string, byte) {
            (true, _) if is_escaped => is_escaped = false,
            (true, b'\\') => is_escaped = true,
            (_, b'"') => is_string = !is_string,
            (false, b'[' | b'{') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What is wrong with a program is found in the program itself, and then it is compiled with its bounds.
fn compile(text: &str) -> Result<Filter<Data>, QueryError> {
    compile_as(text, text, definitions())?;
    let program = load::parse(text, |parser| parser.term()).ok_or_else(|| unreadable(text, text.len()))?;
    let program = Def { name: PROGRAM, args: Vec::new(), body: program };
    compile_as(text, PROGRAM, definitions().into_iter().chain([program]).map(bounded::definition))
}

/// jq's definitions.
fn definitions<'t>() -> Vec<Def<&'t str>> {
    let added = load::parse(ADDED, |parser| parser.defs()).unwrap_or_default();
    let all = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).chain(added);
    all.filter(|def| is_allowed(def.name)).collect::<Vec<_>>()
}

fn is_allowed(name: &str) -> bool {
    !REFUSED.contains(&name)
}

/// `code` is `text`, or what calls it.
fn compile_as<'t>(
    text: &'t str,
    code: &'t str,
    definitions: impl IntoIterator<Item = Def<&'t str>>,
) -> Result<Filter<Data>, QueryError> {
    let functions = jaq_core::funs::<Data>().chain(jaq_std::funs()).chain(jaq_json::funs());
    let functions = functions.filter(|(name, args, _)| is_allowed(name) && (*name, args.len()) != ("range", 3));
    let functions = functions.chain(bounded::functions());
    let arena = Arena::default();
    let modules = Loader::new(definitions).load(&arena, File { code, path: () }).map_err(|errors| {
        let error = errors.into_iter().next().map(|(_, error)| error);
        error.map_or_else(|| unreadable(text, text.len()), |error| not_loaded(text, &error))
    })?;
    Compiler::default().with_funs(functions).compile(modules).map_err(|errors| {
        let first = errors.into_iter().flat_map(|(_, errors)| errors).next();
        first.map_or_else(|| unreadable(text, text.len()), |(name, _)| undefined(text, name))
    })
}

fn not_loaded(text: &str, error: &load::Error<&str>) -> QueryError {
    match error {
        load::Error::Io(modules) => {
            let offset = modules.first().map_or(0, |(module, _)| span(text, module).start);
            QueryError {
                offset,
                message: String::from("a program for a partition key cannot load modules"),
                help: String::from("write what you need of it into the program: `def f: …; f`"),
            }
        }
        load::Error::Lex(errors) => {
            let rest = errors.first().map_or("", |(_, rest)| rest);
            unreadable(text, text.len() - rest.len())
        }
        load::Error::Parse(errors) => {
            let found = errors.first().map_or("", |(_, found)| found);
            let offset = if found.is_empty() { text.len() } else { span(text, found).start };
            unreadable(text, offset)
        }
    }
}

fn unreadable(text: &str, offset: usize) -> QueryError {
    let at = text.get(offset..).and_then(|rest| rest.split_whitespace().next());
    let message = match at {
        Some(found) => format!("`{text}` is no jq program: `{found}` is not expected here"),
        None => format!("`{text}` is no jq program: it ends too early"),
    };
    QueryError { offset, message, help: String::from("for example `.customer_id`, or `.tags[0] | ascii_downcase`") }
}

fn undefined(text: &str, name: &str) -> QueryError {
    let inside = text.as_bytes().as_ptr_range().contains(&name.as_ptr());
    let offset = if inside { span(text, name).start } else { 0 };
    if REFUSED.contains(&name) || name == "$ENV" {
        let help = "a record's partition must be a function of the record alone, so that it is the same after a crash";
        return QueryError {
            offset,
            message: format!("`{name}` is not allowed in a partition key"),
            help: help.to_owned(),
        };
    }
    let help = format!("jq's functions and variables are there as jaq 3 has them, but for {}", super::listed(&REFUSED));
    QueryError { offset, message: format!("the program has nothing called `{name}`"), help }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, record: &str) -> Result<String, ValueError> {
        Query::compile(text).unwrap().value(record.as_bytes())
    }

    #[test]
    fn a_value_is_what_jq_prints_without_quotes() {
        let record = r#"{"id":"Ä\n","n":12345678901234567890123,"f":1.5,"b":false,"a":[{"x":"y"}],"now":"then"}"#;
        let table = [
            (".id", "Ä\n"),
            (".n", "12345678901234567890123"),
            (".f", "1.5"),
            (".b", "false"),
            (".a[0].x", "y"),
            (".now", "then"),
            (r#"."id""#, "Ä\n"),
            (".n | tostring | .[0:3]", "123"),
            (r#""\(.f)-\(.b)""#, "1.5-false"),
            (".none // \"other\"", "other"),
            ("first(.a[].x, .id)", "y"),
        ];
        for (text, expected) in table {
            assert_eq!(value(text, record).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_record_without_a_value_fails() {
        let table = [
            (".a", r#"{"b":1}"#, "must not be null or empty"),
            (".a", r#"{"a":null}"#, "must not be null or empty"),
            (".a", r#"{"a":""}"#, "must not be null or empty"),
            ("empty", "{}", "must not be null or empty"),
            (".a", r#"{"a":{}}"#, "an object"),
            ("[.a]", r#"{"a":1}"#, "an array"),
            (".a.b", r#"{"a":1}"#, "cannot index"),
            (".a,.a", r#"{"a":1}"#, "more than one value"),
            (".a", "not json", "Non JSON record provided"),
            (".a", r#"{"a":1}{"a":2}"#, "Non JSON record provided"),
            (".a|tostring", r#"{"a":1}{"a":2}"#, "Non JSON record provided"),
            (".a|tostring", "{a:1}", "Non JSON record provided"),
            ("error(\"no\")", "{}", "no"),
        ];
        for (text, record, part) in table {
            let error = value(text, record).unwrap_err().to_string();
            assert!(error.contains(part), "{text} {record}: {error}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(value(".a", &deep), Err(ValueError::NotScalar("an array")));
        assert_eq!(value(".a|length", &deep), Err(ValueError::TooDeep));
        assert_eq!(depth(br#"{"a":["[[\"[[\\",[]]}[]"#), 3);
    }

    #[test]
    fn what_serde_and_jaq_read_differently_is_jaqs() {
        let table = [
            (r#"{"a":1E400,"b":"x"}"#, Some("1E400"), Some("x")),
            (r#"{"a":1e-400,"b":"x"}"#, Some("1e-400"), Some("x")),
            (r#"{"a":-0,"b":"x"}"#, Some("0"), Some("x")),
            (r#"{"a":"\ud83d\ude00","b":"x"}"#, Some("😀"), Some("x")),
            (r#"{"a":"\\ud800","b":"x"}"#, Some(r"\ud800"), Some("x")),
            (r#"{"a":"\ud800","b":"x"}"#, None, None),
            (r#"{"a":"x\uDFFF","b":"x"}"#, None, None),
            (r#"{"a":"\ud800\u0061","b":"x"}"#, None, None),
            (r#"{"\udc00":1,"a":"y","b":"x"}"#, None, None),
        ];
        for (record, a, b) in table {
            for (text, expected) in [(".a", a), (".b", b), (".b + \"\"", b), ("[.b] | add", b), ("tojson | \"x\"", b)] {
                match (value(text, record), expected) {
                    (Ok(found), Some(expected)) => assert_eq!(found, expected, "{text} {record}"),
                    (Err(ValueError::NotJson(_)), None) => {}
                    (found, expected) => panic!("{text} {record}: {found:?}, not {expected:?}"),
                }
            }
        }
    }

    #[test]
    fn every_run_ends() {
        for (text, part) in [
            ("until(false; .)", "too many steps"),
            ("[recurse(.)]", "too many steps"),
            ("last(range(infinite))", "too many steps"),
            ("reduce range(0; 1; 0) as $x (0; . + 1)", "too many steps"),
            ("[repeat(1)] | length", "too many steps"),
            ("first(repeat(empty))", "too many steps"),
            ("def f: (try error(\"x\") catch f); f", ""),
            ("def f: f?; f // \"x\"", ""),
            ("first(repeat(try error(\"x\") catch empty)) // \"x\"", "too many steps"),
            ("def f: 1 + f; f", "calls itself too often"),
            ("def f: [f]; f", "calls itself too often"),
            ("def f: .a | 1 + f; path(f)", "calls itself too often"),
            ("until(false; [.])", "nests values too deep"),
            ("reduce range(1000000) as $x (null; {a: .})", "nests values too deep"),
            ("reduce range(100) as $x (\"x\"; . + .)", "too large"),
            ("def f($s): f($s + $s); f(\"x\")", "too large"),
            ("def f($s): f($s + $s); f([1])", "too large"),
            ("\"x\" * .n", "too large"),
            (".n * \"x\"", "too large"),
            ("\"x\" * .big", "too large"),
            (".n *= \"x\" | .n", "too large"),
            ("reduce range(100) as $x (.big; . * .)", "too large"),
            ("[limit(.n; repeat(1))] | length", "too many steps"),
            ("[limit(10000000; repeat(\"x\" * 4000000))] | length", "too large"),
            ("(\"x\" * 1000000) as $x | [range(100000) | $x + \"y\"] | length", "too large"),
            ("[.n] | .[1000000000000] = 1 | length", ""),
        ] {
            let record = "{\"n\":1000000000000,\"big\":1000000000000000000000000000000}";
            match value(text, record) {
                Ok(value) => assert!(part.is_empty(), "{text}: {value}"),
                Err(error) => assert!(error.to_string().contains(part), "{text}: {error}"),
            }
        }
    }

    #[test]
    fn bounds_change_nothing_else() {
        for (text, expected) in [
            ("def f($x): $x + 1; f(1) * 2", "4"),
            (".a += 1 | .a", "3"),
            (".a *= 2 | .a", "4"),
            ("[range(0; 10; 3)] | join(\"-\")", "0-3-6-9"),
            ("[range(3; 0; -1)] | map(. + 1) | add", "9"),
            ("[range(2.5)] | length", "3"),
            ("path(first(.a, .b)) | .[0]", "a"),
            ("(.. | select(type == \"number\")) |= . + 1 | .a", "3"),
            ("to_entries | map(.key) | join(\",\")", "a,b"),
            ("del(.a) | keys[0]", "b"),
            ("\"ab\" * 3", "ababab"),
            ("{a: {b: 1}} * {a: {c: 2}} | .a | keys | join(\",\")", "b,c"),
            ("\"\\(.a + 1)\"", "3"),
            ("label $out | foreach .b[] as $x (0; . + $x; if . > 2 then ., break $out else empty end)", "3"),
            (".b as [$x, $y] | $x + $y", "3"),
            ("[.b[] | if . > 1 then \"x\" * . else \"y\" end] | add", "yxx"),
            ("[.b[.a - 1:]] | flatten | length", "1"),
            // What grows in a fold is not copied each time.
            ("reduce range(20000) as $x ([]; . + [$x]) | length", "20000"),
            ("reduce range(20000) as $x (\"\"; . + \"abcdef\") | length", "120000"),
            ("[range(20000) | tostring] | join(\"-\") | length", "108889"),
            ("[range(20000)] | map([.]) | add | length", "20000"),
        ] {
            assert_eq!(value(text, "{\"a\":2,\"b\":[1,2]}").as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_function_of_the_record_is_refused() {
        for (text, name, offset) in [
            ("now", "now", 0),
            (".a | env.HOME", "env", 5),
            ("$ENV.HOME", "$ENV", 0),
            ("input", "input", 0),
            ("[inputs]", "inputs", 1),
            ("halt", "halt", 0),
            ("def f: now; f", "now", 7),
            ("localtime", "localtime", 0),
            ("input_line_number", "input_line_number", 0),
            (".a|debug", "debug", 3),
        ] {
            let error = Query::compile(text).unwrap_err();
            assert_eq!(
                (error.message.as_str(), error.offset),
                (&*format!("`{name}` is not allowed in a partition key"), offset)
            );
        }
    }

    #[test]
    fn a_mistake_in_a_program_is_said_with_its_place() {
        for (text, offset, part) in [
            (".a |", 4, "ends too early"),
            ("\"", 1, "ends too early"),
            (".a + * 2", 5, "`*` is not expected"),
            ("nothing", 0, "nothing called `nothing`"),
            ("import \"m\" as m; m::f", 8, "cannot load modules"),
            ("", 0, "ends too early"),
        ] {
            let error = Query::compile(text).unwrap_err();
            assert!(error.message.contains(part), "{text}: {error:?}");
            assert_eq!(error.offset, offset, "{text}: {error:?}");
        }
    }
}
