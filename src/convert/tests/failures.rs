//! Each object of a record is a row or a failure of its own, and says why.

use super::*;

fn outcome(
    options: &InputOptions,
    columns: &[(&str, &str)],
    record: &[u8],
) -> (Vec<Json>, Vec<(ErrorCode, String, String)>) {
    let schema = schema(columns);
    let decoder = Decoder::new(&schema, options.clone()).unwrap();
    let mut outcomes = [decoder.clone(), decoder.without_speculation()].map(|mut decoder| {
        let (columns, failures) = decode(&mut decoder, &[record]);
        let rows = (0..columns.rows()).map(|index| row(&columns, &schema, index)).collect::<Vec<_>>();
        let failures = failures.into_iter().map(|failure| {
            (failure.code, failure.message, String::from_utf8_lossy(&record[failure.bytes]).into_owned())
        });
        (rows, failures.collect::<Vec<_>>())
    });
    assert_eq!(outcomes[0], outcomes[1]);
    std::mem::take(&mut outcomes[0])
}

fn failures(record: &[u8]) -> (usize, Vec<(ErrorCode, String, String)>) {
    let (rows, failures) = outcome(&InputOptions::default(), &[("a", "int"), ("b", "string")], record);
    (rows.len(), failures)
}

#[test]
fn the_objects_of_a_record_fail_alone() {
    use ErrorCode::{MalformedData, ParseError};
    // A failure's code, what its message says, and its bytes.
    type Expected<'a> = (ErrorCode, &'a str, &'a str);
    let cases: [(&[u8], usize, &[Expected]); 21] = [
        (b"{\"a\":1}{\"a\":2} \r\n {\"a\":3}\n", 3, &[]),
        (b"{}", 1, &[]),
        (b"{ }\n", 1, &[]),
        (
            b"{\"a\":1}{\"a\":\"x\"}{\"a\":3}",
            2,
            &[(MalformedData, "Data does not match the schema. Column `a` of type int", "{\"a\":\"x\"}")],
        ),
        (
            b"{\"a\":1}{\"a\":{\"a\":2}\n",
            1,
            &[(ParseError, "Encountered malformed JSON. At byte 13: the record ends too early", "{\"a\":{\"a\":2}\n")],
        ),
        (b"{\"a\":1} x", 1, &[(ParseError, "At byte 0: a value is expected", "x")]),
        (b"{\"a\":1},{\"a\":2}", 1, &[(ParseError, "At byte 0: a value is expected", ",{\"a\":2}")]),
        (b"", 0, &[(MalformedData, "The record was empty or contained only whitespace.", "")]),
        (b" \n", 0, &[(MalformedData, "The record was empty or contained only whitespace.", " \n")]),
        (b"42\n", 0, &[(MalformedData, "The input JSON contained a primitive at the top level.", "42\n")]),
        (b"\"x\"", 0, &[(MalformedData, "The input JSON contained a primitive at the top level.", "\"x\"")]),
        (b"[{\"a\":1}]", 0, &[(MalformedData, "Data does not match the schema. An array", "[{\"a\":1}]")]),
        (b"2026-01-01 text\n", 0, &[(ParseError, "an object is expected", "2026-01-01 text\n")]),
        (b"text\n", 0, &[(ParseError, "At byte 0: a value is expected", "text\n")]),
        (b"{\"a\":01}", 0, &[(ParseError, "At byte 6: `,` or `}` is expected", "{\"a\":01}")]),
        (b"{\"a\":1,}", 0, &[(ParseError, "At byte 7: a key in quotes", "{\"a\":1,}")]),
        (b"{\"b\":\"x\ty\"}", 0, &[(ParseError, "At byte 7: a control character", "{\"b\":\"x\ty\"}")]),
        (b"{\"b\":\"\xff\"}", 0, &[(ParseError, "At byte 6: a string is not UTF-8", "{\"b\":\"\u{fffd}\"}")]),
        (b"{\"z\":\"\xff\"}", 0, &[(ParseError, "At byte 6: a string is not UTF-8", "{\"z\":\"\u{fffd}\"}")]),
        (b"{\"b\":\"\\ud800\"}", 0, &[(ParseError, "At byte 6: half of a surrogate pair", "{\"b\":\"\\ud800\"}")]),
        (b"{\"a\":1}\0", 1, &[(ParseError, "At byte 0: a value is expected", "\0")]),
    ];
    for (record, rows, expected) in cases {
        let (found, failures) = failures(record);
        let text = String::from_utf8_lossy(record);
        assert_eq!((found, failures.len()), (rows, expected.len()), "{text}: {failures:?}");
        for ((code, message, bytes), (expected_code, reason, expected_bytes)) in failures.iter().zip(expected) {
            assert_eq!((code, bytes.as_str()), (expected_code, *expected_bytes), "{text}");
            assert!(message.contains(reason), "{text}: {message}");
        }
    }
}

#[test]
fn of_equal_keys_the_last_wins() {
    let columns = [("a", "int"), ("b", "struct<x:int>")];
    let (rows, failed) = outcome(&InputOptions::default(), &columns, br#"{"a":"oops","A":1,"a":2,"b":{"x":1,"X":2}}"#);
    assert_eq!((rows, failed), (vec![json!({"a": 2, "b": {"x": 2}})], vec![]));
}

#[test]
fn keys_are_matched_as_the_options_say() {
    let columns = [("user_id", "int"), ("ts", "int"), ("s", "struct<in_ner:int>")];
    let record = r#"{"User.ID":1,"Time":2,"ts":3,"S":{"In.Ner":4}}"#.as_bytes();
    let mut options = InputOptions::default();
    let read = |options: &InputOptions| outcome(options, &columns, record).0[0].clone();
    assert_eq!(read(&options), json!({"user_id": null, "ts": 3, "s": {"in_ner": null}}));
    options.convert_dots_in_json_keys_to_underscores = true;
    assert_eq!(read(&options), json!({"user_id": 1, "ts": 3, "s": {"in_ner": 4}}));
    options.column_to_json_key.insert(String::from("ts"), String::from("TIME"));
    assert_eq!(read(&options), json!({"user_id": 1, "ts": 2, "s": {"in_ner": 4}}));
    options.case_insensitive = false;
    assert_eq!(read(&options), json!({"user_id": null, "ts": null, "s": null}));
    options.column_to_json_key.insert(String::from("ts"), String::from("Time"));
    assert_eq!(read(&options), json!({"user_id": null, "ts": 2, "s": null}));
}

#[test]
fn a_required_column_fails_without_a_value() {
    let mut schema = schema(&[("a", "int"), ("b", "string")]);
    schema[0].is_required = true;
    let mut decoder = Decoder::new(&schema, InputOptions::default()).unwrap();
    let records: [&[u8]; 4] = [b"{\"a\":1}", b"{\"b\":\"x\"}", b"{\"a\":null,\"b\":\"x\"}", b"{\"a\":2,\"b\":null}"];
    let (columns, failures) = decode(&mut decoder, &records);
    assert_eq!((columns.rows(), failures.len()), (2, 2));
    assert!(failures[0].message.contains("Column `a` of type int must have a value"), "{failures:?}");
}

#[test]
fn unknown_fields_are_dropped_refused_or_rescued() {
    let columns = [("a", "int"), ("s", "array<struct<x:int>>"), ("rest", "string")];
    let record = br#"{"a":1,"s":[{"x":1},{"X":2,"New":[1.50]}],"Other":{"B":"c"},"rest":5,"Other":null}"#;
    let read = |on_unknown_field| {
        let options = InputOptions { on_unknown_field, ..InputOptions::default() };
        let (rows, failures) = outcome(&options, &columns, record);
        (rows.into_iter().next(), failures.into_iter().next().map(|(_, message, _)| message))
    };
    let (ignored, _) = read(OnUnknownField::Ignore);
    assert_eq!(ignored, Some(json!({"a": 1, "s": [{"x": 1}, {"x": 2}], "rest": "5"})));
    let (_, refused) = read(OnUnknownField::ErrorOutput);
    assert!(refused.is_some_and(|message| message.contains("No column takes the field `Other`")));
    let (rescued, _) = read(OnUnknownField::Rescue(String::from("rest")));
    let rest = r#"{"Other":null,"rest":5,"s[1].New":[1.50]}"#;
    assert_eq!(rescued, Some(json!({"a": 1, "s": [{"x": 1}, {"x": 2}], "rest": rest})));
    let options =
        InputOptions { on_unknown_field: OnUnknownField::Rescue(String::from("rest")), ..InputOptions::default() };
    let (rows, _) = outcome(&options, &columns, br#"{"a":1}"#);
    assert_eq!(rows[0], json!({"a": 1, "s": null, "rest": null}));
}

#[test]
fn schemas_that_nothing_can_be_read_with_are_refused() {
    let error = |columns: &[(&str, &str)], options: InputOptions| Decoder::new(&schema(columns), options).unwrap_err();
    let same = |first: &str, second: &str, key: &str| SchemaError::SameKey {
        first: first.to_owned(),
        second: second.to_owned(),
        key: key.to_owned(),
    };
    assert_eq!(error(&[], InputOptions::default()), SchemaError::NoColumns);
    assert_eq!(error(&[("a", "int"), ("A", "int")], InputOptions::default()), same("a", "A", "a"));
    assert_eq!(error(&[("a.b", "int")], hive()), SchemaError::Dot { column: String::from("a.b") });
    let mapped = |column: &str, key: &str| InputOptions {
        column_to_json_key: [(column.to_owned(), key.to_owned())].into(),
        ..InputOptions::default()
    };
    assert_eq!(error(&[("a", "int"), ("b", "int")], mapped("b", "A")), same("a", "b", "a"));
    assert_eq!(error(&[("a", "int")], mapped("x", "y")), SchemaError::NoSuchColumn { column: String::from("x") });
    let rescue = |column: &str| InputOptions {
        on_unknown_field: OnUnknownField::Rescue(column.to_owned()),
        ..InputOptions::default()
    };
    for column in ["a", "x"] {
        let expected = SchemaError::Rescue { column: column.to_owned() };
        assert_eq!(error(&[("a", "int")], rescue(column)), expected);
    }
}

#[test]
fn a_record_is_read_the_same_wherever_it_ends() {
    // Cut at every byte, with the next record right behind it, or nothing.
    let whole = br#"{"a": 12, "b":"a \"longer\" text, \u00e9, that is more than a block", "c":[1]}"#;
    let schema = schema(&[("a", "int"), ("b", "string")]);
    let decoder = Decoder::new(&schema, InputOptions::default()).unwrap();
    for cut in 0..=whole.len() {
        let (mut fast, mut slow) = (decoder.clone(), decoder.clone().without_speculation());
        decode(&mut fast, &[whole]);
        for behind in [&b""[..], b"\"}", b"3}", whole] {
            let data = [&whole[..cut], behind].concat();
            let read = |decoder: &mut Decoder| {
                let (mut columns, mut failures) = (decoder.columns(), Vec::new());
                decoder.decode(&data, 0..cut, &mut columns, &mut failures).unwrap();
                (columns, failures)
            };
            let outcome = read(&mut fast);
            assert_eq!(outcome, read(&mut slow), "{}", String::from_utf8_lossy(&data));
            assert_eq!(outcome.0.rows(), usize::from(cut == whole.len()));
        }
    }
}

#[test]
fn nothing_is_taken_for_a_time_that_was_seen_before() {
    for text in ["\0".repeat(16), "1970-01-01T00:0".to_owned(), "1970-01-01T00:00".to_owned()] {
        for end in [":00", ":00Z", ":60Z", "Z"] {
            let record = format!("{{\"t\":\"{text}{end}\"}}                    ");
            let (rows, failures) = outcome(&InputOptions::default(), &[("t", "timestamp")], record.as_bytes());
            let is_time = text.len() == 16 && end == ":00Z" && !text.contains('\0');
            assert_eq!((rows.len(), failures.len()), if is_time { (1, 0) } else { (0, 1) }, "{record:?}");
        }
    }
}
