//! What a scalar says: its `${…}` replaced, and its type by YAML 1.2's core schema.
//!
//! Replacing happens once: what a variable or a file holds is never looked at for further `${…}`. Errors name the
//! variable or the file, never its content.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::quoted;

/// `${file:…}` is for secrets and single values, not for whole documents.
const SUBSTITUTED_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What a configuration takes from around it: variables, and the folder that relative paths count from.
///
/// Has no `Debug`: variables hold secrets.
pub struct Environment {
    pub variables: BTreeMap<String, OsString>,
    pub working_folder: PathBuf,
    pub purpose: Purpose,
}

/// What a configuration is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Its streams are going to run.
    Run,
    /// Everything in it is tried, and nothing is kept of that.
    Check,
    /// The daemon's files and journal are looked at: its processors are not built, and what they would read need not be there.
    Look,
}

impl Environment {
    pub fn of_process() -> io::Result<Self> {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        Ok(Self { variables, working_folder: std::env::current_dir()?, purpose: Purpose::Run })
    }

    /// As the process will find it. Folders are not looked at, `..` stays.
    pub(super) fn absolute(&self, path: &str) -> PathBuf {
        self.working_folder.join(path).components().collect()
    }
}

/// The type of an unquoted scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Type {
    Null,
    Boolean(bool),
    Whole(i64),
    Decimal(f64),
    String,
}

impl Type {
    pub fn is_number(self) -> bool {
        matches!(self, Self::Whole(_) | Self::Decimal(_))
    }
}

/// YAML 1.2 core schema: `yes` is a string, `0o17` is 15.
pub(super) fn core_schema(text: &str) -> Type {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Type::Null,
        "true" | "True" | "TRUE" => return Type::Boolean(true),
        "false" | "False" | "FALSE" => return Type::Boolean(false),
        _ => {}
    }
    let radix = |prefix: &str, radix| {
        let digits = text.strip_prefix(prefix)?;
        (!digits.starts_with(['+', '-'])).then(|| i64::from_str_radix(digits, radix).ok())?
    };
    if let Some(number) = radix("0o", 8).or_else(|| radix("0x", 16)) {
        return Type::Whole(number);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        // Past i64 it is still a number, just in no range that we have.
        return text.parse().map_or_else(|_| Type::Decimal(text.parse().unwrap_or(f64::INFINITY)), Type::Whole);
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Type::Decimal(f64::NAN);
    }
    let looks_decimal = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    match text.parse::<f64>() {
        Ok(number) if looks_decimal => Type::Decimal(number),
        Ok(_) | Err(_) => Type::String,
    }
}

/// Why a `${…}` could not be replaced. `offset` counts bytes of the scalar.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SubstitutionError {
    pub offset: usize,
    pub message: String,
    pub help: String,
}

/// The text with every `${…}` and `$$` replaced, and whether there was any `${…}`.
pub(super) fn substitute(text: &str, environment: &Environment) -> Result<(String, bool), SubstitutionError> {
    let mut result = String::with_capacity(text.len());
    let (mut rest, mut substituted) = (text, false);
    while let Some(dollar) = rest.find('$') {
        let (before, from_dollar) = rest.split_at(dollar);
        result.push_str(before);
        if let Some(after) = from_dollar.strip_prefix("$$") {
            result.push('$');
            rest = after;
        } else if let Some(after) = from_dollar.strip_prefix("${") {
            let offset = text.len() - from_dollar.len();
            let error = |(message, help): (String, String)| SubstitutionError { offset, message, help };
            let (expression, after) = after
                .split_once('}')
                .ok_or_else(|| error(("`${` without its `}`".to_owned(), "`$${` is a plain `${`".to_owned())))?;
            result.push_str(&replacement(expression, environment).map_err(error)?);
            substituted = true;
            rest = after;
        } else {
            result.push('$');
            rest = &from_dollar[1..];
        }
    }
    result.push_str(rest);
    Ok((result, substituted))
}

/// Message and help where there is none.
fn replacement(expression: &str, environment: &Environment) -> Result<String, (String, String)> {
    if let Some(path) = expression.strip_prefix("file:") {
        return content(Path::new(path)).map(trim_newline).map_err(|reason| {
            let message = format!("{} cannot be read: {reason}", quoted(&format!("${{file:{path}}}")));
            (
                message,
                "the path is absolute, the file is UTF-8 and may be read by the user that runs Hydrant".to_owned(),
            )
        });
    }
    let (name, default) = match expression.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (expression, None),
    };
    if !is_variable_name(name) || default.is_some_and(|default| default.contains("${")) {
        // Not shown: the default of a misspelt one may be the secret itself.
        let message = "what is between `${` and `}` names no variable and no file".to_owned();
        let help = "there are `${NAME}`, `${NAME:-default}` and `${file:/path}`; `$${` is a plain `${`".to_owned();
        return Err((message, help));
    }
    match (environment.variables.get(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => value.to_str().map(str::to_owned).ok_or_else(|| {
            (format!("the environment variable `{name}` is not UTF-8"), "set it to UTF-8 text".to_owned())
        }),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err((
            format!("the environment variable `{name}` is not set"),
            format!("set it, or give a default: `${{{name}:-default}}`"),
        )),
    }
}

fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn content(path: &Path) -> Result<String, String> {
    if !path.is_absolute() {
        return Err("the path is not absolute".to_owned());
    }
    // Opening a pipe would wait for its writer.
    if !path.metadata().map_err(|error| reason(&error))?.is_file() {
        return Err("not a file".to_owned());
    }
    let bytes = read_at_most(path, SUBSTITUTED_FILE_BYTES_MAX).map_err(|error| reason(&error))?;
    let bytes = bytes.ok_or_else(|| format!("larger than {} KB", SUBSTITUTED_FILE_BYTES_MAX / 1024))?;
    String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
}

fn trim_newline(mut content: String) -> String {
    if content.ends_with('\n') {
        content.pop();
        if content.ends_with('\r') {
            content.pop();
        }
    }
    content
}

/// `None` if there is more. Looks at the size first, and still stops in time where the size tells nothing.
pub(super) fn read_at_most(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = File::open(path)?;
    if file.metadata()?.len() > bytes_max {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= bytes_max).then_some(bytes))
}

/// The reason in the words of the other messages, without the system's number for it.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}
