//! `log_to_json`: lines of well known logs, or of a pattern, become JSON objects.
//!
//! Invariant: an object has all fields of its layout, in order, each a string or null; a line that does not match fails
//! with what was expected where. The well known layouts are scanned byte by byte in one pass, without a regular expression.

use serde::Serialize;

use super::json_text::MemberNames;
use super::{ConfigError, Failure, Origin, Processor, Records};
use cursor::Mismatch;
use pattern::Pattern;

mod apache;
mod apache_error;
mod cursor;
mod grok;
mod pattern;
mod rfc5424;
mod syslog;

/// Turns each line of a log into a JSON object. Differs from Kinesis Agent's LOGTOJSON in this: a line that does not
/// match goes to the error output instead of being lost; IPv6 hosts, escaped quotes, empty quoted fields, users with
/// spaces and messages without a program match too; a carriage return at the end is ignored. Values are text as it was
/// logged (escapes included), bytes that are not UTF-8 become U+FFFD.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogToJsonConfig {
    /// What the lines look like: `format` or `pattern`.
    pub layout: LogLayout,
    /// Names for the fields in place of the layout's own, as many as it has and in its order; none keeps them. A `pattern`
    /// without named groups takes the names of its groups from here.
    pub field_names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLayout {
    /// A well known layout.
    Format(LogFormat),
    /// A regular expression whose named groups are the fields, with grok's `%{NAME:field}` if you like. It must match the
    /// whole record; `.` matches line feeds too. A group that took no part is null.
    Pattern(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// `host ident authuser [datetime] "request" response bytes`; anything may follow. `-` is null.
    CommonApacheLog,
    /// Common and `"referer" "agent"`, as nginx's `combined`; anything may follow. `-` is null.
    CombinedApacheLog,
    /// `[timestamp] [module:severity] [pid processid:tid threadid] [client client] message`, module, pid, tid and client
    /// optional. `client` has its port if the line has it.
    ApacheErrorLog,
    /// RFC 3164 as it is found in files: `Mmm d hh:mm:ss hostname program[processid]: message`, perhaps after `<PRI>`.
    /// Of a line without program only `message` has the rest.
    Syslog,
    /// The same with a timestamp of RFC 3339, the agent's RFC3339SYSLOG.
    Rfc3339Syslog,
    /// RFC 5424: priority, version, timestamp, hostname, app_name, procid, msgid, structured_data (an object of objects),
    /// message (without byte order mark). `-` is null.
    Rfc5424Syslog,
}

impl LogFormat {
    /// The format's name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::CommonApacheLog => "common_apache_log",
            Self::CombinedApacheLog => "combined_apache_log",
            Self::ApacheErrorLog => "apache_error_log",
            Self::Syslog => "syslog",
            Self::Rfc3339Syslog => "rfc3339_syslog",
            Self::Rfc5424Syslog => "rfc5424_syslog",
        }
    }

    /// Its fields in order.
    pub fn fields(self) -> &'static [&'static str] {
        const APACHE: &[&str] =
            &["host", "ident", "authuser", "datetime", "request", "response", "bytes", "referer", "agent"];
        match self {
            Self::CommonApacheLog => &APACHE[..7],
            Self::CombinedApacheLog => APACHE,
            Self::ApacheErrorLog => &["timestamp", "module", "severity", "processid", "threadid", "client", "message"],
            Self::Syslog | Self::Rfc3339Syslog => &["timestamp", "hostname", "program", "processid", "message"],
            Self::Rfc5424Syslog => &rfc5424::FIELDS,
        }
    }
}

/// The values of a line's fields; formats with fewer fields leave the last ones alone.
type Fields<'a> = [Option<&'a [u8]>; 9];

pub(super) struct LogToJson {
    layout: Layout,
    names: MemberNames,
}

enum Layout {
    Format(LogFormat),
    Pattern(Pattern),
}

impl LogToJson {
    pub fn new(config: LogToJsonConfig) -> Result<Self, ConfigError> {
        ConfigError::check_unique("field_names", &config.field_names)?;
        let (layout, own, called) = match config.layout {
            LogLayout::Format(format) => {
                let own = format.fields().iter().map(|&name| name.to_owned()).collect();
                (Layout::Format(format), own, format.name())
            }
            LogLayout::Pattern(text) => {
                let (pattern, own) = Pattern::new(&text, &config.field_names)?;
                (Layout::Pattern(pattern), own, "the pattern")
            }
        };
        Ok(Self { layout, names: names(own, config.field_names, called)? })
    }
}

fn names(own: Vec<String>, given: Vec<String>, layout: &str) -> Result<MemberNames, ConfigError> {
    if !given.is_empty() && given.len() != own.len() {
        let message = format!("`field_names` has {} names, {layout} has {} fields", given.len(), own.len());
        return Err(ConfigError::new("field_names", message).with_help(format!("its fields are {}", own.join(", "))));
    }
    let names = if given.is_empty() { own } else { given };
    Ok(MemberNames::new(names.iter().map(String::as_bytes)))
}

impl Processor for LogToJson {
    fn process(&self, record: &[u8], _: &Origin<'_>, out: &mut Records) -> Result<(), Failure> {
        let line = record.strip_suffix(b"\r").unwrap_or(record);
        let buffer = out.buffer();
        match &self.layout {
            Layout::Format(format) => write_line(*format, line, &self.names, buffer)
                .map_err(|mismatch| Failure::new(format!("the record is no {}: {mismatch}", format.name())))?,
            Layout::Pattern(pattern) => pattern.write(line, &self.names, buffer)?,
        }
        buffer.push(b'}');
        out.end()
    }
}

fn write_line(format: LogFormat, line: &[u8], names: &MemberNames, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    let fields = match format {
        LogFormat::CommonApacheLog => apache::common(line)?,
        LogFormat::CombinedApacheLog => apache::combined(line)?,
        LogFormat::ApacheErrorLog => apache_error::scan(line)?,
        LogFormat::Syslog => syslog::rfc3164(line)?,
        LogFormat::Rfc3339Syslog => syslog::rfc3339(line)?,
        LogFormat::Rfc5424Syslog => return rfc5424::write(line, names, out),
    };
    // Room for the names and quotes of nine fields and a few escapes, so that the buffer grows at most once.
    out.reserve(line.len() + line.len() / 8 + 160);
    for (index, &value) in fields[..names.len()].iter().enumerate() {
        names.push(out, index, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
