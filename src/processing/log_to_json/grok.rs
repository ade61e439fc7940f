//! Grok: `%{NAME}` and `%{NAME:field}` in a pattern stand for well known regular expressions.
//!
//! Invariant: an expansion ends, since no pattern of the table refers to itself, and has no capturing group but for
//! fields. The names are those people know from Logstash; the expressions are our own, and need no look-around.

use super::super::ConfigError;

/// A regular expression without references.
#[derive(Debug, Default)]
pub(super) struct Expanded {
    pub regex: String,
    /// The fields, by the number in their group's name.
    fields: Vec<String>,
}

/// Groups have names of ours, since those of regular expressions may not be used twice and have no `-`.
const GROUP_PREFIX: &str = "__grok_";

impl Expanded {
    /// The field that the group called `group` holds.
    pub fn field<'a>(&'a self, group: &'a str) -> &'a str {
        let number = group.strip_prefix(GROUP_PREFIX).and_then(|number| number.parse::<usize>().ok());
        number.and_then(|number| self.fields.get(number)).map_or(group, String::as_str)
    }
}

pub(super) fn expand(pattern: &str) -> Result<Expanded, ConfigError> {
    let mut expanded = Expanded::default();
    expand_into(&mut expanded, pattern)?;
    Ok(expanded)
}

fn expand_into(expanded: &mut Expanded, pattern: &str) -> Result<(), ConfigError> {
    let mut rest = pattern;
    while let Some((before, reference)) = rest.split_once("%{") {
        let Some((reference, after)) = reference.split_once('}') else {
            return Err(ConfigError::new("pattern", format!("`%{{{reference}` has no closing `}}`")));
        };
        expanded.regex.push_str(before);
        expand_reference(expanded, reference)?;
        rest = after;
    }
    expanded.regex.push_str(rest);
    Ok(())
}

fn expand_reference(expanded: &mut Expanded, reference: &str) -> Result<(), ConfigError> {
    let (name, field) = match reference.split_once(':') {
        Some((name, field)) => (name, Some(field)),
        None => (reference, None),
    };
    let (_, regex) = PATTERNS.iter().find(|(known, _)| *known == name).ok_or_else(|| unknown(name))?;
    match field {
        None => expanded.regex.push_str("(?:"),
        Some(field) if field.is_empty() || field.contains(':') => return Err(bad_field(reference, field)),
        Some(field) => {
            expanded.regex.push_str(&format!("(?<{GROUP_PREFIX}{}>", expanded.fields.len()));
            expanded.fields.push(field.to_owned());
        }
    }
    expand_into(expanded, regex)?;
    expanded.regex.push(')');
    Ok(())
}

fn bad_field(reference: &str, field: &str) -> ConfigError {
    let error = ConfigError::new("pattern", format!("`%{{{reference}}}` has no name of a field behind the colon"));
    if field.is_empty() { error } else { error.with_help("a type, as in `:int`, cannot be given: values are strings") }
}

fn unknown(name: &str) -> ConfigError {
    let similarity = |known: &&str| strsim::jaro_winkler(&name.to_ascii_uppercase(), known);
    let names = || PATTERNS.iter().map(|(known, _)| *known);
    let nearest = names().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    let error = ConfigError::new("pattern", format!("`{name}` is no pattern of grok"));
    match nearest.filter(|nearest| similarity(nearest) > 0.8) {
        Some(nearest) => error.with_help(format!("did you mean `{nearest}`?")),
        None => error.with_help(format!("the patterns are {}", names().collect::<Vec<_>>().join(", "))),
    }
}

/// Each may refer to those before it.
const PATTERNS: &[(&str, &str)] = &[
    // Text and numbers.
    ("DATA", r".*?"),
    ("GREEDYDATA", r".*"),
    ("SPACE", r"[ \t\r\n\x0B\x0C]*"),
    ("NOTSPACE", r"[^ \t\r\n\x0B\x0C]+"),
    ("WORD", r"[A-Za-z0-9_]+"),
    ("INT", r"[+-]?[0-9]+"),
    ("POSINT", r"[1-9][0-9]*"),
    ("NONNEGINT", r"[0-9]+"),
    ("BASE10NUM", r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"),
    ("NUMBER", r"%{BASE10NUM}"),
    ("BASE16NUM", r"[+-]?(?:0[xX])?[0-9A-Fa-f]+"),
    ("QUOTEDSTRING", r#""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`"#),
    ("QS", r"%{QUOTEDSTRING}"),
    ("UUID", r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"),
    ("USERNAME", r"[A-Za-z0-9._-]+"),
    ("USER", r"%{USERNAME}"),
    ("EMAILLOCALPART", r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+"),
    // Networks.
    ("MAC", r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}|(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}"),
    ("IPV4", r"(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"),
    (
        "IPV6",
        concat!(
            r"(?:(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}|(?:[0-9A-Fa-f]{1,4}:){6}%{IPV4}",
            r"|(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6})?::(?:(?:[0-9A-Fa-f]{1,4}:){0,5}%{IPV4}",
            r"|[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6})?)(?:%[0-9A-Za-z._-]+)?"
        ),
    ),
    ("IP", r"%{IPV6}|%{IPV4}"),
    ("HOSTNAME", r"[0-9A-Za-z_](?:[0-9A-Za-z_-]*[0-9A-Za-z_])?(?:\.[0-9A-Za-z_](?:[0-9A-Za-z_-]*[0-9A-Za-z_])?)*\.?"),
    ("HOST", r"%{HOSTNAME}"),
    ("IPORHOST", r"%{IP}|%{HOSTNAME}"),
    ("HOSTPORT", r"%{IPORHOST}:%{POSINT}"),
    ("EMAILADDRESS", r"%{EMAILLOCALPART}@%{HOSTNAME}"),
    // Paths and addresses.
    ("UNIXPATH", r"(?:/[^ \t\r\n/]*)+"),
    ("WINPATH", r"(?:[A-Za-z]:|\\)(?:\\[^\\?*\r\n]*)+"),
    ("PATH", r"%{UNIXPATH}|%{WINPATH}"),
    ("URIPROTO", r"[A-Za-z][A-Za-z0-9+.-]*"),
    ("URIHOST", r"%{IPORHOST}(?::%{POSINT})?"),
    ("URIPATH", r"(?:/[^ \t\r\n?#]*)+"),
    ("URIPARAM", r"\?[^ \t\r\n]*"),
    ("URIPATHPARAM", r"%{URIPATH}(?:%{URIPARAM})?"),
    ("URI", r"%{URIPROTO}://(?:%{USER}(?::[^@ ]*)?@)?(?:%{URIHOST})?(?:%{URIPATHPARAM})?"),
    // Times.
    (
        "MONTH",
        concat!(
            r"[Jj]an(?:uary)?|[Ff]eb(?:ruary)?|[Mm]ar(?:ch)?|[Aa]pr(?:il)?|[Mm]ay|[Jj]une?|[Jj]uly?|[Aa]ug(?:ust)?",
            r"|[Ss]ep(?:t(?:ember)?)?|[Oo]ct(?:ober)?|[Nn]ov(?:ember)?|[Dd]ec(?:ember)?"
        ),
    ),
    ("MONTHNUM", r"1[0-2]|0?[1-9]"),
    ("MONTHDAY", r"3[01]|[12][0-9]|0?[1-9]"),
    ("DAY", r"Mon(?:day)?|Tue(?:s(?:day)?)?|Wed(?:nesday)?|Thu(?:rs(?:day)?)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?"),
    ("YEAR", r"[0-9]{4}|[0-9]{2}"),
    ("HOUR", r"2[0-3]|[01]?[0-9]"),
    ("MINUTE", r"[0-5][0-9]"),
    ("SECOND", r"(?:60|[0-5]?[0-9])(?:[:.,][0-9]+)?"),
    ("TIME", r"%{HOUR}:%{MINUTE}(?::%{SECOND})?"),
    ("DATE_US", r"%{MONTHNUM}[/-]%{MONTHDAY}[/-]%{YEAR}"),
    ("DATE_EU", r"%{MONTHDAY}[./-]%{MONTHNUM}[./-]%{YEAR}"),
    ("DATE", r"%{DATE_US}|%{DATE_EU}"),
    ("DATESTAMP", r"%{DATE}[- ]%{TIME}"),
    ("ISO8601_TIMEZONE", r"Z|[+-]%{HOUR}(?::?%{MINUTE})?"),
    (
        "TIMESTAMP_ISO8601",
        r"%{YEAR}-%{MONTHNUM}-%{MONTHDAY}[T ]%{HOUR}:?%{MINUTE}(?::?%{SECOND})?(?:%{ISO8601_TIMEZONE})?",
    ),
    ("TZ", r"[A-Z]{3,4}"),
    ("HTTPDATE", r"%{MONTHDAY}/%{MONTH}/%{YEAR}:%{TIME} %{INT}"),
    ("HTTPDERROR_DATE", r"%{DAY} %{MONTH} %{MONTHDAY} %{TIME} %{YEAR}"),
    ("SYSLOGTIMESTAMP", r"%{MONTH} +%{MONTHDAY} %{TIME}"),
    // Lines of well known logs.
    (
        "LOGLEVEL",
        concat!(
            r"(?i:alert|trace|debug|notice|info(?:rmation)?|warn(?:ing)?|err(?:or)?|crit(?:ical)?|fatal|severe",
            r"|emerg(?:ency)?|panic)"
        ),
    ),
    ("PROG", r"[!-Z\\^-~]+?"),
    ("SYSLOGPROG", r"%{PROG:program}(?:\[%{POSINT:pid}\])?"),
    ("SYSLOGHOST", r"%{IPORHOST}"),
    ("SYSLOGFACILITY", r"<%{NONNEGINT:facility}\.%{NONNEGINT:priority}>"),
    ("SYSLOGBASE", r"%{SYSLOGTIMESTAMP:timestamp} (?:%{SYSLOGFACILITY} )?%{SYSLOGHOST:logsource} %{SYSLOGPROG}:"),
    ("SYSLOGLINE", r"%{SYSLOGBASE} +%{GREEDYDATA:message}"),
    (
        "COMMONAPACHELOG",
        concat!(
            r"%{IPORHOST:clientip} %{NOTSPACE:ident} %{NOTSPACE:auth} \[%{HTTPDATE:timestamp}\] ",
            r#""(?:%{WORD:verb} %{NOTSPACE:request}(?: HTTP/%{NUMBER:httpversion})?|%{DATA:rawrequest})" "#,
            r"%{NUMBER:response} (?:%{NUMBER:bytes}|-)"
        ),
    ),
    ("COMBINEDAPACHELOG", r"%{COMMONAPACHELOG} %{QS:referrer} %{QS:agent}"),
];

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    fn is_match(name: &str, text: &str) -> bool {
        let regex = expand(&format!("%{{{name}}}")).unwrap().regex;
        Regex::new(&format!(r"\A{regex}\z")).unwrap().is_match(text)
    }

    #[test]
    fn every_pattern_compiles() {
        for (name, _) in PATTERNS {
            let expanded = expand(&format!("%{{{name}:field}}")).unwrap();
            Regex::new(&expanded.regex).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    #[test]
    fn patterns_match_what_they_are_called_after() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("IPV4", &["0.0.0.0", "255.255.255.255", "10.0.99.199"], &["256.1.1.1", "1.2.3", "1.2.3.4.5"]),
            (
                "IPV6",
                &["::", "::1", "2001:db8::1", "fe80::1%eth0", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4"],
                &["1.2.3.4", "1:2:3", "12345::"],
            ),
            ("NUMBER", &["1", "-1.5", "+.5", "1."], &["", ".", "1e"]),
            ("QS", &[r#""a \" b""#, "''", "`x`"], &[r#""a"#, "a"]),
            ("UUID", &["123e4567-e89b-12d3-a456-426614174000"], &["123e4567e89b12d3a456426614174000"]),
            ("MAC", &["00:1b:44:11:3a:b7", "00-1B-44-11-3A-B7", "001b.4411.3ab7"], &["00:1b:44"]),
            ("HOSTNAME", &["a", "web-1.example.com", "my_host."], &["-a", "a..b", ""]),
            ("URI", &["https://u:p@example.com:8080/a/b?c=d#e", "s3://bucket", "file:///etc"], &["example.com/"]),
            ("EMAILADDRESS", &["a.b+c@example.com"], &["@example.com", "a@"]),
            (
                "TIMESTAMP_ISO8601",
                &["2026-07-13T14:05:09.123Z", "2026-07-13 14:05:09,123", "2026-07-13T14:05+0200"],
                &["2026-13-13T14:05:09Z", "13.07.2026"],
            ),
            ("HTTPDATE", &["13/Jul/2026:14:05:09 +0200"], &["13/07/2026:14:05:09 +0200"]),
            ("SYSLOGTIMESTAMP", &["Jul 13 14:05:09", "Jul  3 14:05:09"], &["13 Jul 14:05:09"]),
            ("MONTH", &["Jan", "january", "Jun", "July"], &["Janu", "xyz"]),
            ("LOGLEVEL", &["INFO", "warning", "Error", "emerg"], &["loud"]),
            ("PATH", &["/", "/var/log/a.log", r"C:\logs\a b.log"], &["var/log"]),
        ];
        for (name, matching, others) in table {
            matching.iter().for_each(|text| assert!(is_match(name, text), "{name} {text}"));
            others.iter().for_each(|text| assert!(!is_match(name, text), "{name} {text}"));
        }
    }

    #[test]
    fn mistakes_are_explained() {
        let table = [
            ("%{NUMBR:n}", "`NUMBR` is no pattern of grok", "did you mean `NUMBER`?"),
            ("%{number}", "`number` is no pattern of grok", "did you mean `NUMBER`?"),
            ("%{IP", "`%{IP` has no closing `}`", ""),
            ("%{IP:}", "`%{IP:}` has no name of a field behind the colon", ""),
            (
                "%{INT:n:int}",
                "`%{INT:n:int}` has no name of a field behind the colon",
                "a type, as in `:int`, cannot be given: values are strings",
            ),
        ];
        for (pattern, message, help) in table {
            let error = expand(pattern).unwrap_err();
            assert_eq!((error.message.as_str(), error.help.as_deref().unwrap_or_default()), (message, help));
        }
        let far = expand("%{%%%}").unwrap_err().help.unwrap();
        assert!(far.starts_with("the patterns are DATA, GREEDYDATA, "), "{far}");
    }
}
