//! Every rule of prefixes, a row each, and properties of arbitrary texts.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use PrefixKind::{ErrorOutput, Prefix};

const AT: &str = "2026-07-13T14:05:09.999Z";

fn evaluate(template: &PrefixTemplate, zone: &str, error_type: Option<&str>) -> String {
    let mut number = 0;
    let mut random = || {
        number += 1;
        format!("random{number:05}")
    };
    template.evaluate(AT.parse().unwrap(), &TimeZoneName::parse(zone).unwrap(), error_type, &[], &mut random)
}

#[test]
fn folders_with_a_name_and_an_equals_sign_are_columns() {
    for (prefix, names) in [
        ("web/day=!{timestamp:yyyy-MM-dd}/hour=!{recordTime:HH}/", &["day", "hour"][..]),
        ("customer=!{partitionKeyFromQuery:c}/x", &["customer"]),
        ("!{timestamp:'year='yyyy'/month='MM}/", &["year", "month"]),
        ("kind=web/!{timestamp:yyyy/MM}/=a/b/", &["kind"]),
        ("a!{firehose:random-string}/b=!{timestamp:HH}-", &[]),
        ("plain/", &[]),
    ] {
        assert_eq!(PrefixTemplate::parse(prefix, Prefix).unwrap().hive_columns(), names, "{prefix}");
    }
}

#[test]
fn allowed_prefixes_evaluate_as_firehoses() {
    let table = [
        ("plain text stays, without a time or a slash", ErrorOutput, "errors", "errors"),
        ("timestamp", Prefix, "!{timestamp:yyyy/MM/dd/HH}/", "2026/07/13/14/"),
        ("unquoted letters are evaluated, quoted are not", Prefix, "!{timestamp:yyyy'/month='MM}/", "2026/month=07/"),
        ("two quotes are one", Prefix, "!{timestamp:''yy''}/", "'26'/"),
        ("a colon in a pattern", Prefix, "!{timestamp:HH:mm}/", "14:05/"),
        ("padding", Prefix, "!{timestamp:pppM}/", "  7/"),
        ("optional sections", Prefix, "!{timestamp:yyyy[-MM]}/", "2026-07/"),
        ("zones and offsets", Prefix, "!{timestamp:VV z O X x Z}/", "UTC UTC GMT Z +00 +0000/"),
        ("week fields", Prefix, "!{timestamp:YYYY'-w'ww e}/", "2026-w29 2/"),
        ("day of the year", Prefix, "!{timestamp:DDD}/", "194/"),
        ("seconds are the finest", Prefix, "!{timestamp:ss.SSS n}/", "09.000 0/"),
        ("every timestamp tells the same instant", Prefix, "!{timestamp:mm:ss}/!{timestamp:mm:ss}", "05:09/05:09"),
        (
            "a random string, new at each occurrence",
            Prefix,
            "!{firehose:random-string}/!{firehose:random-string}",
            "random00001/random00002",
        ),
        (
            "a random string in an error prefix",
            ErrorOutput,
            "!{firehose:error-output-type}/!{firehose:random-string}",
            "processing-failed/random00001",
        ),
        (
            "the error type, the same at each occurrence",
            ErrorOutput,
            "!{firehose:error-output-type}/!{firehose:error-output-type}",
            "processing-failed/processing-failed",
        ),
        (
            "a timestamp in an error prefix",
            ErrorOutput,
            "!{timestamp:yyyy}/!{firehose:error-output-type}/",
            "2026/processing-failed/",
        ),
        ("`!`, `{`, `}` and `$` are text elsewhere", Prefix, "!a{b}$!/!", "!a{b}$!/!"),
        ("`!!{` is text and then an expression", Prefix, "!!{timestamp:yy}", "!26"),
        ("dots that are no folder", Prefix, "..a/b../.c/...", "..a/b../.c/..."),
        ("no `/` is added", Prefix, "!{timestamp:yyyy}", "2026"),
        ("empty", Prefix, "", ""),
    ];
    for (rule, kind, text, expected) in table {
        let template = PrefixTemplate::parse(text, kind).unwrap_or_else(|error| panic!("{rule}: {error:?}"));
        assert_eq!(template.text(), text, "{rule}");
        let error_type = (kind == ErrorOutput).then_some("processing-failed");
        assert_eq!(evaluate(&template, "UTC", error_type), expected, "{rule}");
    }
}

#[test]
fn broken_rules_are_errors_with_their_place() {
    let long = "a".repeat(1025);
    let umlauts = "ä".repeat(1025);
    let evaluated = format!("{}!{{timestamp:yyyy}}", "a".repeat(509));
    let zones = "!{timestamp:VV}/".repeat(11);
    let random = format!("{}{}", "a".repeat(400), "!{firehose:random-string}".repeat(11));
    let types = "!{firehose:error-output-type}".repeat(18);
    // rule, where, text, offset, a part of message or help
    let table: &[(&str, PrefixKind, &str, usize, &str)] = &[
        ("unknown namespace, nearest", Prefix, "a/!{timestmap:yyyy}", 4, "did you mean `timestamp`?"),
        ("namespaces are case-sensitive", Prefix, "!{Timestamp:yyyy}", 2, "did you mean `timestamp`?"),
        ("no blanks around a namespace", Prefix, "!{ firehose:random-string}", 2, "did you mean `firehose`?"),
        ("unknown namespace, nothing near", Prefix, "!{x:y}", 2, "`partitionKeyFromQuery`"),
        ("unknown firehose value, nearest", Prefix, "!{firehose:random_string}", 11, "did you mean `random-string`?"),
        ("unknown firehose value, nothing near", ErrorOutput, "!{firehose:}", 11, "`random-string`"),
        ("no namespace", Prefix, "a!{yyyy}", 3, "has no `:`"),
        ("nothing at all", Prefix, "!{}", 2, "has no `:`"),
        ("unclosed", Prefix, "a/!{timestamp:yyyy", 2, "not closed"),
        ("unclosed at the end", Prefix, "a/!{", 2, "not closed"),
        ("`!{` in an expression", Prefix, "!{timestamp:!{yyyy}}", 12, "only begin an expression"),
        ("`!{` in quotes", Prefix, "!{timestamp:yyyy'!{'}", 17, "only begin an expression"),
        ("`!{` before the end of an expression", Prefix, "!{timestamp:yyyy!{timestamp:MM}", 16, "only begin"),
        ("an empty time pattern", Prefix, "!{timestamp:}", 12, "empty"),
        ("an unknown letter", Prefix, "é/!{timestamp:yyyyTHH}", 19, "`'T'`"),
        ("a pattern's open quote", Prefix, "!{timestamp:yyyy'a}", 16, "not closed"),
        ("a pattern's `}` in quotes", Prefix, "!{timestamp:'}'}", 12, "not closed"),
        ("a pattern's reserved `#`", Prefix, "!{timestamp:yyyy#}", 16, "reserved"),
        ("error type in a prefix", Prefix, "!{firehose:error-output-type}/", 11, "error output prefix only"),
        ("query keys in an error prefix", ErrorOutput, "!{partitionKeyFromQuery:a}", 2, "not allowed in an error"),
        ("Lambda keys in an error prefix", ErrorOutput, "!{partitionKeyFromLambda:a}", 2, "not allowed in an error"),
        ("record time in an error prefix", ErrorOutput, "!{recordTime:yyyy}", 2, "not allowed in an error"),
        ("a key has a name", Prefix, "!{partitionKeyFromQuery:}", 24, "no name"),
        ("a record time's unknown letter", Prefix, "!{recordTime:yyyyTHH}", 17, "`'T'`"),
        ("expressions without the error type", ErrorOutput, "a/!{timestamp:yyyy}/", 0, "error-output-type"),
        ("random without the error type", ErrorOutput, "a/!{firehose:random-string}/", 0, "error-output-type"),
        ("1,024 characters as given", Prefix, &long, 1024, "1024 characters"),
        ("1,024 characters, not bytes", Prefix, &umlauts, 2048, "1024 characters"),
        ("512 bytes evaluated", Prefix, &evaluated, 509, "513 bytes"),
        ("512 bytes evaluated, the longest zone", Prefix, &zones, 160, "561 bytes"),
        ("512 bytes evaluated, random strings", Prefix, &random, 650, "521 bytes"),
        ("512 bytes evaluated, the longest type", ErrorOutput, &types, 29 * 17, "540 bytes"),
        ("no leading slash", Prefix, "/a/", 0, "first `/`"),
        ("no leading slash, evaluated", Prefix, "!{timestamp:'/'yyyy}/", 0, "when it is evaluated"),
        ("no `..`", Prefix, "../a/", 0, "`..`"),
        ("no `..` in the middle", ErrorOutput, "a/../b/", 2, "`..`"),
        ("no `..` at the end", Prefix, "ä/..", 3, "`..`"),
        ("no `.`, which some stores refuse", Prefix, "a/./b", 2, "`.`"),
        ("no `..` from a pattern", Prefix, "!{timestamp:yyyy/../MM}", 17, "`..`"),
        ("no `..` from quotes", Prefix, "a/!{timestamp:'..'}/b", 2, "when it is evaluated"),
        ("no `..` from neighbours", Prefix, "a/!{timestamp:'.'}./b", 2, "when it is evaluated"),
        ("no NUL", Prefix, "a\0b", 1, "control character"),
        ("no line feed", ErrorOutput, "a/\n", 2, "control character"),
        ("no C1 control characters", Prefix, "\u{85}", 0, "control character"),
    ];
    for (rule, kind, text, offset, part) in table {
        let error = PrefixTemplate::parse(text, *kind).expect_err(rule);
        assert_eq!(error.offset, *offset, "{rule}: {error:?}");
        assert!(format!("{} {}", error.message, error.help).contains(part), "{rule}: {error:?}");
    }
}

#[test]
fn a_destinations_prefix_is_completed_as_firehose_does() {
    for (rule, given, text, expected) in [
        ("none: the time", None, "!{timestamp:yyyy/MM/dd/HH}/", "2026/07/13/14/"),
        ("empty is none", Some(""), "!{timestamp:yyyy/MM/dd/HH}/", "2026/07/13/14/"),
        ("plain: the time behind it", Some("a/"), "a/!{timestamp:yyyy/MM/dd/HH}/", "a/2026/07/13/14/"),
        ("no slash is put between", Some("legacy"), "legacy!{timestamp:yyyy/MM/dd/HH}/", "legacy2026/07/13/14/"),
        ("with a time: as it is", Some("a/!{timestamp:yyyy}/"), "a/!{timestamp:yyyy}/", "a/2026/"),
        (
            "with any expression: as it is",
            Some("!{firehose:random-string}"),
            "!{firehose:random-string}",
            "random00001",
        ),
    ] {
        let template = PrefixTemplate::for_destination(given).unwrap_or_else(|error| panic!("{rule}: {error:?}"));
        assert_eq!((template.text(), evaluate(&template, "UTC", None).as_str()), (text, expected), "{rule}");
    }
    let too_long_with_time = "a".repeat(499);
    assert_eq!(PrefixTemplate::for_destination(Some(&too_long_with_time)).unwrap_err().offset, 499);
    assert_eq!(PrefixTemplate::for_destination(Some("a/..")).unwrap_err().offset, 2);
}

#[test]
fn an_error_outputs_prefix_is_completed_as_firehose_does() {
    for (rule, given, prefix, expected) in [
        (
            "given with expressions",
            Some("e/!{firehose:error-output-type}/"),
            Some("a/!{timestamp:yyyy}"),
            "e/processing-failed/",
        ),
        ("given without: no time is added", Some("errors/"), Some("a/"), "errors/"),
        ("neither", None, None, "processing-failed/2026/07/13/14/"),
        ("a plain prefix", None, Some("a/"), "a/processing-failed/2026/07/13/14/"),
        ("no slash is put between", None, Some("legacy"), "legacyprocessing-failed/2026/07/13/14/"),
        ("empty is none", Some(""), Some(""), "processing-failed/2026/07/13/14/"),
    ] {
        let template =
            PrefixTemplate::for_error_output(given, prefix).unwrap_or_else(|error| panic!("{rule}: {error:?}"));
        assert_eq!(evaluate(&template, "UTC", Some("processing-failed")), expected, "{rule}");
    }
    for (rule, given, prefix, part) in [
        ("needed when the prefix has a time", None, Some("a/!{timestamp:yyyy}/"), "is needed"),
        ("needed when the prefix has any expression", None, Some("!{firehose:random-string}"), "is needed"),
        ("empty is none", Some(""), Some("!{firehose:random-string}"), "is needed"),
        ("a bad prefix", None, Some("/a"), "begins with `/`"),
        ("given and bad", Some("!{timestamp:yyyy}"), Some("/a"), "must contain"),
    ] {
        let error = PrefixTemplate::for_error_output(given, prefix).expect_err(rule);
        assert!(error.message.contains(part), "{rule}: {error:?}");
    }
}

#[test]
fn the_time_zone_counts_for_every_expression() {
    let template = PrefixTemplate::parse("!{timestamp:yyyy-MM-dd'T'HH}/!{timestamp:VV}/", Prefix).unwrap();
    assert_eq!(evaluate(&template, "", None), "2026-07-13T14/UTC/");
    assert_eq!(evaluate(&template, "Asia/Tokyo", None), "2026-07-13T23/Asia/Tokyo/");
    assert_eq!(evaluate(&template, "Pacific/Auckland", None), "2026-07-14T02/Pacific/Auckland/");
}

#[test]
fn a_template_serializes_as_its_text() {
    let template = PrefixTemplate::for_destination(Some("a/")).unwrap();
    assert_eq!(serde_json::to_string(&template).unwrap(), "\"a/!{timestamp:yyyy/MM/dd/HH}/\"");
}

/// Pieces of prefixes, good and bad, in any order.
fn prefixes() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z./!{}é]{0,6}",
        "!\\{timestamp:[a-zA-Z'/.\\[\\]p]{0,8}\\}",
        "!\\{timestamp:(yyyy|MM|dd|ww|VV|zzzz|B|ppppppH|'[a./]*'|/|\\.){0,6}\\}",
        Just("!{firehose:random-string}".to_owned()),
        Just("!{firehose:error-output-type}".to_owned()),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,60}", other in prefixes()) {
        for text in [text, other] {
            for kind in [Prefix, ErrorOutput] {
                if let Err(error) = PrefixTemplate::parse(&text, kind) {
                    prop_assert!(text.is_char_boundary(error.offset), "{:?}", error);
                }
            }
            let _ = PrefixTemplate::for_error_output(Some(&text), Some(&text));
        }
    }

    #[test]
    fn what_parses_evaluates_at_any_instant_to_a_harmless_prefix(
        text in prefixes(),
        second in 0_i64..7_258_118_400,
        zone in prop::sample::select(
            vec!["", "America/Argentina/ComodRivadavia", "Africa/Monrovia", "Asia/Kathmandu"],
        ),
    ) {
        let Ok(template) = PrefixTemplate::parse(&text, ErrorOutput) else { return Ok(()) };
        let at = Timestamp::from_second(second).unwrap();
        let zone = TimeZoneName::parse(zone).unwrap();
        let prefix = template.evaluate(at, &zone, Some("decompression-failed"), &[], &mut || "AAAAAAAAAAA".to_owned());
        prop_assert!(prefix.len() <= 512);
        prop_assert!(!prefix.starts_with('/'), "{}", prefix);
        prop_assert!(prefix.split('/').all(|component| component != "." && component != ".."), "{}", prefix);
    }
}

#[test]
fn values_of_records_stand_where_their_expressions_stood() {
    let text =
        "!{partitionKeyFromQuery:a}/x=!{partitionKeyFromLambda:a}/!{recordTime:yyyy/MM}/!{partitionKeyFromQuery:a}-";
    let template = PrefixTemplate::parse(text, Prefix).unwrap();
    let dynamic: Vec<_> = template.dynamic().collect();
    let [(2, Dynamic::Query(query)), (31, Dynamic::Lambda(lambda)), (59, Dynamic::RecordTime(time))] =
        dynamic.as_slice()
    else {
        panic!("{dynamic:?}")
    };
    assert_eq!((query.as_str(), lambda.as_str()), ("a", "a"));
    let components = template.components();
    assert_eq!(components[0], (0, vec![0]));
    assert_eq!(components[1], (2, vec![1]));
    assert_eq!(components[3..], [(2, vec![]), (1, vec![0])]);
    let zone = TimeZoneName::parse("Asia/Tokyo").unwrap();
    let at = "2026-07-31T20:00:00Z".parse().unwrap();
    let values = [String::from("q"), String::from("l"), time.print(at, &zone)];
    let evaluated = template.evaluate(at, &zone, None, &values, &mut || unreachable!());
    assert_eq!(evaluated, "q/x=l/2026/08/q-");
    for (text, offset) in [("a/!{recordTime:'..'}/", 2), ("!{recordTime:'/'}", 0)] {
        assert_eq!(PrefixTemplate::parse(text, Prefix).unwrap_err().offset, offset, "{text}");
    }
}
