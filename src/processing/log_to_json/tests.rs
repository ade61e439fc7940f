//! Lines and their objects, after the layouts and fields that Kinesis Agent documents; the scanners against plain
//! regular expressions.

use proptest::prelude::*;
use regex::bytes::Regex;

use super::super::testing::one;
use super::*;

fn format(format: LogFormat) -> LogToJson {
    LogToJson::new(LogToJsonConfig { layout: LogLayout::Format(format), field_names: Vec::new() }).unwrap()
}

fn pattern(pattern: &str, names: &[&str]) -> Result<LogToJson, ConfigError> {
    let field_names = names.iter().map(|&name| name.to_owned()).collect();
    LogToJson::new(LogToJsonConfig { layout: LogLayout::Pattern(pattern.to_owned()), field_names })
}

fn assert_objects(processor: &LogToJson, table: &[(&str, &str)]) {
    for (line, object) in table {
        assert_eq!(one(processor, line.as_bytes()).as_deref(), Ok(*object), "{line}");
    }
}

fn assert_reasons(processor: &LogToJson, table: &[(&str, &str)]) {
    for (line, reason) in table {
        assert_eq!(one(processor, line.as_bytes()).unwrap_err(), *reason, "{line}");
    }
}

const COMMON: &str =
    r#"64.242.88.10 - frank [07/Mar/2004:16:10:02 -0800] "GET /mailman/listinfo/hsdivision HTTP/1.1" 200 6291"#;

#[test]
fn common_lines_become_objects() {
    assert_objects(
        &format(LogFormat::CommonApacheLog),
        &[
            (
                COMMON,
                r#"{"host":"64.242.88.10","ident":null,"authuser":"frank","datetime":"07/Mar/2004:16:10:02 -0800","request":"GET /mailman/listinfo/hsdivision HTTP/1.1","response":"200","bytes":"6291"}"#,
            ),
            (
                r#"2001:db8::1 - john doe [07/Mar/2004:16:10:02 +0000] "-" 408 - "-" "-""#,
                r#"{"host":"2001:db8::1","ident":null,"authuser":"john doe","datetime":"07/Mar/2004:16:10:02 +0000","request":null,"response":"408","bytes":null}"#,
            ),
        ],
    );
}

#[test]
fn combined_lines_become_objects() {
    assert_objects(
        &format(LogFormat::CombinedApacheLog),
        &[
            (
                r#"h.example - - [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)""#,
                r#"{"host":"h.example","ident":null,"authuser":null,"datetime":"10/Oct/2000:13:55:36 -0700","request":"GET /apache_pb.gif HTTP/1.0","response":"200","bytes":"2326","referer":"http://www.example.com/start.html","agent":"Mozilla/4.08 [en] (Win98; I ;Nav)"}"#,
            ),
            (
                concat!(r#"::1 - "" [10/Oct/2000:13:55:36 -0700] "GET /\"q\" HTTP/1.0" 200 0 "" "a\\" extra"#, "\r"),
                r#"{"host":"::1","ident":null,"authuser":"\"\"","datetime":"10/Oct/2000:13:55:36 -0700","request":"GET /\\\"q\\\" HTTP/1.0","response":"200","bytes":"0","referer":"","agent":"a\\\\"}"#,
            ),
            (
                r#"h - - [10/Oct/2000:13:55:36 -0700] "GET C:\" 200 0 "-" "x""#,
                r#"{"host":"h","ident":null,"authuser":null,"datetime":"10/Oct/2000:13:55:36 -0700","request":"GET C:\\","response":"200","bytes":"0","referer":null,"agent":"x"}"#,
            ),
        ],
    );
}

#[test]
fn lines_that_are_not_combined_say_what_was_expected_where() {
    assert_reasons(
        &format(LogFormat::CombinedApacheLog),
        &[
            ("", "the record is no combined_apache_log: expected a host at byte 0"),
            ("h", "the record is no combined_apache_log: expected a space at byte 1"),
            (COMMON, "the record is no combined_apache_log: expected a space and the referer at byte 102"),
            (
                r#"h - - [10/Okt./2000:13:55:36 -0700] "x" 200 0 "-" "x""#,
                "the record is no combined_apache_log: expected a user and `[dd/Mmm/yyyy:hh:mm:ss ±hhmm]` at byte 4",
            ),
            (
                r#"h - - [10/Oct/2000:13:55:36 -0700] "GET / 200 0"#,
                "the record is no combined_apache_log: expected a text and its closing `\"` at byte 36",
            ),
            (
                r#"h - - [10/Oct/2000:13:55:36 -0700] "GET /" ok 0 "-" "-""#,
                "the record is no combined_apache_log: expected a number or `-` at byte 43",
            ),
        ],
    );
}

#[test]
fn apache_errors_become_objects() {
    assert_objects(
        &format(LogFormat::ApacheErrorLog),
        &[
            (
                "[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708:tid 4328636416] [client 72.15.99.187:3456] File does not exist: /usr/local/apache2/htdocs/favicon.ico",
                r#"{"timestamp":"Fri Sep 09 10:42:29.902022 2011","module":"core","severity":"error","processid":"35708","threadid":"4328636416","client":"72.15.99.187:3456","message":"File does not exist: /usr/local/apache2/htdocs/favicon.ico"}"#,
            ),
            (
                "[Wed Oct 11 14:32:52 2000] [error] [client 127.0.0.1] client denied by server configuration: /export",
                r#"{"timestamp":"Wed Oct 11 14:32:52 2000","module":null,"severity":"error","processid":null,"threadid":null,"client":"127.0.0.1","message":"client denied by server configuration: /export"}"#,
            ),
            (
                "[Sun Sep  4 06:00:00 2022] [:notice] [pid 7] [client [2001:db8::1]:443] [x] PHP\nStack",
                r#"{"timestamp":"Sun Sep  4 06:00:00 2022","module":null,"severity":"notice","processid":"7","threadid":null,"client":"[2001:db8::1]:443","message":"[x] PHP\nStack"}"#,
            ),
            (
                "[Sun Sep 04 06:00:00 2022] [mpm_event:notice] [pid x] [client a b] odd",
                r#"{"timestamp":"Sun Sep 04 06:00:00 2022","module":"mpm_event","severity":"notice","processid":null,"threadid":null,"client":null,"message":"[pid x] [client a b] odd"}"#,
            ),
        ],
    );
    assert_reasons(
        &format(LogFormat::ApacheErrorLog),
        &[
            ("2022-09-04 error", "the record is no apache_error_log: expected `[` at byte 0"),
            (
                "[Sun Sep 04 06:00:00. 2022] [x] y",
                "the record is no apache_error_log: expected `Www Mmm dd hh:mm:ss yyyy` at byte 1",
            ),
            (
                "[Sun Sep 04 06:00:00 2022] [x y] z",
                "the record is no apache_error_log: expected `[severity]` or `[module:severity]` at byte 28",
            ),
        ],
    );
}

#[test]
fn syslog_lines_become_objects() {
    assert_objects(
        &format(LogFormat::Syslog),
        &[
            (
                "Mar 12 12:00:08 server2 rcd[308]: Loaded 12 packages in 'ximian-red-carpet|351' (0.01878 seconds)",
                r#"{"timestamp":"Mar 12 12:00:08","hostname":"server2","program":"rcd","processid":"308","message":"Loaded 12 packages in 'ximian-red-carpet|351' (0.01878 seconds)"}"#,
            ),
            (
                "<34>Oct  1 22:14:15 mymachine postfix/smtp-amavis/smtp: 'su root' failed",
                r#"{"timestamp":"Oct  1 22:14:15","hostname":"mymachine","program":"postfix/smtp-amavis/smtp","processid":null,"message":"'su root' failed"}"#,
            ),
            (
                "Oct 1 22:14:15 <kern.info> fe80::1 Foo::Bar[1]:",
                r#"{"timestamp":"Oct 1 22:14:15","hostname":"fe80::1","program":"Foo::Bar","processid":"1","message":""}"#,
            ),
            (
                "Oct 11 22:14:15 host last message repeated 2 times\nand more",
                r#"{"timestamp":"Oct 11 22:14:15","hostname":"host","program":null,"processid":null,"message":"last message repeated 2 times\nand more"}"#,
            ),
            (
                "Oct 11 22:14:15 host",
                r#"{"timestamp":"Oct 11 22:14:15","hostname":"host","program":null,"processid":null,"message":""}"#,
            ),
        ],
    );
    assert_reasons(
        &format(LogFormat::Syslog),
        &[
            ("<3456>Oct 11 22:14:15 h p: m", "the record is no syslog: expected `Mmm dd hh:mm:ss` at byte 0"),
            ("<34>2003-10-11", "the record is no syslog: expected `Mmm dd hh:mm:ss` at byte 4"),
            ("Oct 11 22:14:15 ", "the record is no syslog: expected a host at byte 16"),
        ],
    );
}

#[test]
fn syslog_lines_with_times_of_rfc_3339_become_objects() {
    assert_objects(
        &format(LogFormat::Rfc3339Syslog),
        &[
            (
                "2026-07-13T14:05:09.003+02:00 host sshd[42]: Accepted",
                r#"{"timestamp":"2026-07-13T14:05:09.003+02:00","hostname":"host","program":"sshd","processid":"42","message":"Accepted"}"#,
            ),
            (
                "2026-07-13T14:05:09Z host kernel: x: y",
                r#"{"timestamp":"2026-07-13T14:05:09Z","hostname":"host","program":"kernel","processid":null,"message":"x: y"}"#,
            ),
        ],
    );
    assert_reasons(
        &format(LogFormat::Rfc3339Syslog),
        &[(
            "2026-07-13T14:05:09 host",
            "the record is no rfc3339_syslog: expected `yyyy-mm-ddThh:mm:ss` and `Z` or an offset at byte 0",
        )],
    );
}

#[test]
fn rfc_5424_lines_become_objects() {
    assert_objects(
        &format(LogFormat::Rfc5424Syslog),
        &[
            (
                "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{FEFF}'su root' failed on /dev/pts/8",
                r#"{"priority":"34","version":"1","timestamp":"2003-10-11T22:14:15.003Z","hostname":"mymachine.example.com","app_name":"su","procid":null,"msgid":"ID47","structured_data":null,"message":"'su root' failed on /dev/pts/8"}"#,
            ),
            (
                r#"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 evntslog 8710 - [exampleSDID@32473 iut="3" eventSource="App\]\"\\\n"][priority@32473 ip="::1" class="high" ip="::2"] An application event"#,
                r#"{"priority":"165","version":"1","timestamp":"2003-08-24T05:14:15.000003-07:00","hostname":"192.0.2.1","app_name":"evntslog","procid":"8710","msgid":null,"structured_data":{"exampleSDID@32473":{"iut":"3","eventSource":"App]\"\\\\n"},"priority@32473":{"ip":["::1","::2"],"class":"high"}},"message":"An application event"}"#,
            ),
            (
                "<0>1 - - - - - [timeQuality]",
                r#"{"priority":"0","version":"1","timestamp":null,"hostname":null,"app_name":null,"procid":null,"msgid":null,"structured_data":{"timeQuality":{}},"message":null}"#,
            ),
        ],
    );
    assert_reasons(
        &format(LogFormat::Rfc5424Syslog),
        &[
            ("34 x", "the record is no rfc5424_syslog: expected `<` at byte 0"),
            ("<1234>1 ", "the record is no rfc5424_syslog: expected a priority of 1 to 3 digits at byte 1"),
            ("<1>1 - - - - - x", "the record is no rfc5424_syslog: expected `-` or `[` at byte 15"),
            ("<1>1 - - - - - -x", "the record is no rfc5424_syslog: expected a space or the end at byte 16"),
            (
                r#"<1>1 - - - - - [a b="c]"#,
                "the record is no rfc5424_syslog: expected a value and its closing `\"` at byte 21",
            ),
            (
                "<1>1 - - - - - [a][a]",
                "the record is no rfc5424_syslog: expected an element with another id at byte 18",
            ),
        ],
    );
}

#[test]
fn patterns_name_the_fields() {
    let own = pattern(r"(?<level>[A-Z]+) (?:\[(?<thread>[^\]]*)\] )?(?<message>.*)", &[]).unwrap();
    assert_objects(
        &own,
        &[
            ("INFO [main] started\nin 3 s", r#"{"level":"INFO","thread":"main","message":"started\nin 3 s"}"#),
            ("WARN -\r", r#"{"level":"WARN","thread":null,"message":"-"}"#),
        ],
    );
    assert_reasons(&own, &[("x INFO y", "the record does not match the pattern")]);
    assert_eq!(one(&own, b"INFO \xFF.").unwrap(), "{\"level\":\"INFO\",\"thread\":null,\"message\":\"\u{FFFD}.\"}");
    let unnamed = pattern(r"(\d+) (\w+)", &["n", "w"]).unwrap();
    assert_objects(&unnamed, &[("1 a", r#"{"n":"1","w":"a"}"#)]);
    let verbose = pattern("(?x) (?<n>\\d+) # a number", &[]).unwrap();
    assert_objects(&verbose, &[("1", r#"{"n":"1"}"#)]);
}

#[test]
fn a_pattern_matches_the_whole_record_only() {
    let alternatives = pattern("(?<a>a)|(?<b>b+)", &[]).unwrap();
    assert_objects(&alternatives, &[("bb", r#"{"a":null,"b":"bb"}"#)]);
    assert_reasons(&alternatives, &[("ab", "the record does not match the pattern")]);
    let prefix_first = pattern("(?<a>a|ab)", &[]).unwrap();
    assert_objects(&prefix_first, &[("ab", r#"{"a":"ab"}"#)]);
}

#[test]
fn grok_names_the_fields() {
    let grok =
        pattern(r"%{TIMESTAMP_ISO8601:@timestamp} (?:%{IP:client-ip}|%{WORD:client-ip}) (?<rest>.*)", &[]).unwrap();
    assert_objects(
        &grok,
        &[
            ("2026-07-13 14:05:09,1 ::1 x", r#"{"@timestamp":"2026-07-13 14:05:09,1","client-ip":"::1","rest":"x"}"#),
            ("2026-07-13T14:05:09Z nobody ", r#"{"@timestamp":"2026-07-13T14:05:09Z","client-ip":"nobody","rest":""}"#),
        ],
    );
    assert_objects(
        &pattern("%{COMMONAPACHELOG}", &[]).unwrap(),
        &[(
            COMMON,
            r#"{"clientip":"64.242.88.10","ident":"-","auth":"frank","timestamp":"07/Mar/2004:16:10:02 -0800","verb":"GET","request":"/mailman/listinfo/hsdivision","httpversion":"1.1","rawrequest":null,"response":"200","bytes":"6291"}"#,
        )],
    );
    assert_objects(
        &pattern("%{SYSLOGLINE}", &["a", "b", "c", "d", "e", "f", "g"]).unwrap(),
        &[(
            "Mar  2 12:00:08 s rcd[308]: x",
            r#"{"a":"Mar  2 12:00:08","b":null,"c":null,"d":"s","e":"rcd","f":"308","g":"x"}"#,
        )],
    );
}

#[test]
fn fields_can_be_renamed() {
    let field_names = ["t", "h", "p", "i", "m"].map(String::from).to_vec();
    let config = LogToJsonConfig { layout: LogLayout::Format(LogFormat::Syslog), field_names };
    assert_objects(
        &LogToJson::new(config).unwrap(),
        &[("Oct 11 22:14:15 h p: m", r#"{"t":"Oct 11 22:14:15","h":"h","p":"p","i":null,"m":"m"}"#)],
    );
}

#[test]
fn mistakes_are_explained() {
    let of = |layout: LogLayout, names: &[&str]| {
        let field_names = names.iter().map(|&name| name.to_owned()).collect();
        let error = LogToJson::new(LogToJsonConfig { layout, field_names }).err().unwrap();
        format!("{}: {} ({})", error.key, error.message, error.help.unwrap_or_default())
    };
    assert_eq!(
        of(LogLayout::Format(LogFormat::Syslog), &["a"]),
        "field_names: `field_names` has 1 names, syslog has 5 fields (its fields are timestamp, hostname, program, processid, message)"
    );
    assert_eq!(of(LogLayout::Format(LogFormat::Syslog), &["a", "a"]), "field_names: `field_names` has `a` twice ()");
    let table = [
        (
            r"(\d+) (\d+)",
            &["a"][..],
            "field_names: `field_names` has 1 names, the pattern has 2 fields (its fields are group 1, group 2)",
        ),
        (
            r"\d+",
            &[],
            "pattern: the pattern has no named group (`(?<name>…)` or `%{PATTERN:name}` makes a field; `field_names` names groups without a name)",
        ),
        ("(?<a>x", &[], "pattern: the pattern is no regular expression: unclosed group ()"),
        ("a)(?<x>b", &[], "pattern: the pattern is no regular expression: unopened group ()"),
        (
            "(?<a>x)(?!y)",
            &[],
            "pattern: the pattern is no regular expression: look-around, including look-ahead and look-behind, is not supported (neither exists here, so that every match takes linear time)",
        ),
        ("%{IPP:a}", &[], "pattern: `IPP` is no pattern of grok (did you mean `IP`?)"),
    ];
    for (pattern, names, expected) in table {
        assert_eq!(of(LogLayout::Pattern(pattern.to_owned()), names), expected);
    }
}

/// What regular expressions say of a line: with escapes, else without.
fn model(format: LogFormat, line: &[u8]) -> Option<Vec<Option<String>>> {
    let dash_is_null = !matches!(format, LogFormat::Syslog);
    let quoted = [r#""((?:[^"\\]|\\.)*)""#, r#""([^"]*)""#];
    let regexes: Vec<String> = match format {
        LogFormat::CommonApacheLog | LogFormat::CombinedApacheLog => quoted
            .map(|quoted| {
                let tail =
                    if format == LogFormat::CommonApacheLog { "(?: |$)".into() } else { format!(" {quoted} {quoted}") };
                let time = r"\d\d/[A-Za-z]{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}";
                format!(r"(?s-u)^([^ ]+) ([^ ]+) (.+?) \[({time})\] {quoted} (\d+|-) (\d+|-){tail}")
            })
            .to_vec(),
        LogFormat::Syslog => {
            let time = r"[A-Za-z]{3} (?:[\d ]\d|\d) \d\d:\d\d:\d\d";
            let program = r"(?:([^ \[][^ ]*?)(?:\[([^ ]+)?\])?:(?: |$))?";
            vec![format!(r"(?s-u)^(?:<\d{{1,3}}>)?({time}) (?:<[^ ]*\.[^ ]*> )?([^ ]+)(?: |$){program}(.*)$")]
        }
        _ => unreachable!("no model"),
    };
    let captures = regexes.iter().find_map(|regex| Regex::new(regex).unwrap().captures(line))?;
    let value = |group: Option<regex::bytes::Match<'_>>| {
        let text = String::from_utf8_lossy(group?.as_bytes()).into_owned();
        (!(dash_is_null && text == "-")).then_some(text)
    };
    Some(captures.iter().skip(1).map(value).collect())
}

/// Lines of which most match.
fn line() -> impl Strategy<Value = String> {
    let quoted = || prop_oneof![9 => r#"([a-z -]{0,3}|\\"|\\\\|é|-){0,3}"#, 1 => r#"[a\\ "]{0,4}"#];
    let number = || prop_oneof![9 => "-|[0-9]{1,3}", 1 => "[0-9-]{0,3}"];
    let time = prop_oneof![9 => "1[0-9]/Jul/2026:1[0-9]:05:09 [+-]0200", 1 => "[0-9/]{0,3}"];
    let user = prop_oneof![5 => "-|[a-z]{1,3}", 1 => r"[a-z \[-]{0,4}"];
    let apache = ("[a-z:.0-9-]{1,3}", "[a-z-]{1,2}", user, time, quoted(), number(), number(), quoted(), quoted())
        .prop_map(|(host, ident, user, time, request, response, bytes, referer, agent)| {
            format!(r#"{host} {ident} {user} [{time}] "{request}" {response} {bytes} "{referer}" "{agent}""#)
        });
    let priority = prop_oneof![2 => "", 2 => "<[0-9]{1,3}>", 1 => "<[0-9]{0,4}>"];
    let rest = prop_oneof![r"[a-z:]{1,3}(\[[0-9a]{0,2}\])?:( [a-z \n]{0,5})?", r"[a-z:\[\]0-9 \n]{0,8}"];
    let syslog = (priority, "Jul [ 1]?[0-9] 1[0-9]:05:09", "(<k.i> )?", r"[a-z.:<>]{1,4}", rest)
        .prop_map(|(priority, time, facility, host, rest)| format!("{priority}{time} {facility}{host} {rest}"));
    prop_oneof![apache, syslog]
}

/// A few bytes of a line changed, or its end cut off, in one case of four each.
#[derive(Debug, Clone)]
struct Damage {
    changes: Vec<(prop::sample::Index, u8)>,
    cut: Option<prop::sample::Index>,
}

fn damage() -> impl Strategy<Value = Damage> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3);
    let changes = prop_oneof![3 => Just(Vec::new()), 1 => changes];
    let cut = prop_oneof![3 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)];
    (changes, cut).prop_map(|(changes, cut)| Damage { changes, cut })
}

fn damaged(line: String, damage: &Damage) -> Vec<u8> {
    let mut line = line.into_bytes();
    if line.is_empty() {
        return line;
    }
    for (at, byte) in &damage.changes {
        let at = at.index(line.len());
        line[at] = *byte;
    }
    if let Some(cut) = damage.cut {
        line.truncate(cut.index(line.len()));
    }
    line
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn scanners_agree_with_regular_expressions(
        line in line(), damage in damage(),
    ) {
        let line = damaged(line, &damage);
        prop_assume!(!line.ends_with(b"\r"));
        for layout in [LogFormat::CommonApacheLog, LogFormat::CombinedApacheLog, LogFormat::Syslog] {
            let object = one(&format(layout), &line).ok();
            let values = object.map(|object| {
                let object: serde_json::Value = serde_json::from_str(&object).unwrap();
                layout.fields().iter().map(|&field| object[field].as_str().map(str::to_owned)).collect::<Vec<_>>()
            });
            prop_assert_eq!(values, model(layout, &line), "{:?} {}", layout, String::from_utf8_lossy(&line));
        }
    }

    #[test]
    fn any_line_becomes_an_object_or_a_failure(
        line in prop_oneof![
            line(),
            "<[0-9]{1,3}>1 (-|2003-10-11T22:14:15Z) - - - - (\\[[ab]( [ab]=\"([a\\]\\[\\\\]|\\\\\")*\"){0,3}\\]){0,3}( a)?",
            "\\[Sun Sep  4 06:00:00 2022\\] \\[[a:]{0,3}\\]( \\[pid [0-9:tid]{0,4}\\])?( \\[client [a\\[\\]]{0,4}\\])? ?[a\\[]{0,3}",
            ".{0,30}",
        ],
        damage in damage(),
    ) {
        let line = damaged(line, &damage);
        for layout in [LogFormat::ApacheErrorLog, LogFormat::Rfc3339Syslog, LogFormat::Rfc5424Syslog] {
            if let Ok(object) = one(&format(layout), &line) {
                let object: serde_json::Value = serde_json::from_str(&object).unwrap();
                let mut names: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
                let mut fields = layout.fields().to_vec();
                names.sort_unstable();
                fields.sort_unstable();
                prop_assert_eq!(names, fields);
            }
        }
    }
}
