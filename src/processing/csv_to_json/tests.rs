//! Rows and their objects; the quoting against a writer.

use proptest::prelude::*;

use super::super::testing::{all_from, one, origin};
use super::*;
use crate::record::NoHeader;

fn names(names: &[&str]) -> CsvToJsonConfig {
    CsvToJsonConfig::of(Columns::Names(names.iter().map(|&name| name.to_owned()).collect()))
}

fn csv(config: CsvToJsonConfig) -> CsvToJson {
    CsvToJson::new(config).unwrap()
}

#[test]
fn rows_become_objects() {
    let abc = csv(names(&["a", "b", "c"]));
    let table = [
        ("1,2,3", r#"{"a":"1","b":"2","c":"3"}"#),
        ("1,2,3\r", r#"{"a":"1","b":"2","c":"3"}"#),
        (r#""x, y","say ""hi""",z"#, r#"{"a":"x, y","b":"say \"hi\"","c":"z"}"#),
        ("\"two\nlines\",2,3", r#"{"a":"two\nlines","b":"2","c":"3"}"#),
        (r#"a "b" c, d,"""""#, r#"{"a":"a \"b\" c","b":" d","c":"\""}"#),
        ("1", r#"{"a":"1","b":null,"c":null}"#),
        ("", r#"{"a":null,"b":null,"c":null}"#),
        ("1,,", r#"{"a":"1","b":null,"c":null}"#),
        (",,3", r#"{"a":"","b":"","c":"3"}"#),
        (r#"1,"","""#, r#"{"a":"1","b":"","c":""}"#),
        ("1,2,3,,", r#"{"a":"1","b":"2","c":"3"}"#),
        ("1,2,3,4,,6", r#"{"a":"1","b":"2","c":"3","_extra":["4","","6"]}"#),
        (r#"1,2,3,"""#, r#"{"a":"1","b":"2","c":"3","_extra":[""]}"#),
    ];
    for (row, object) in table {
        assert_eq!(one(&abc, row.as_bytes()).as_deref(), Ok(object), "{row}");
    }
    assert_eq!(one(&abc, b"\xFF,2,3").unwrap(), "{\"a\":\"\u{FFFD}\",\"b\":\"2\",\"c\":\"3\"}");
}

#[test]
fn quotes_that_do_not_add_up_fail_the_row() {
    let abc = csv(names(&["a", "b", "c"]));
    let table = [
        (r#"1,"2,3"#, "column 2 has no closing quote"),
        (r#"""#, "column 1 has no closing quote"),
        (r#"1,"2"x,3"#, "column 2 has text behind its closing quote"),
        (r#"1,"2" ,3"#, "column 2 has text behind its closing quote"),
    ];
    for (row, reason) in table {
        assert_eq!(one(&abc, row.as_bytes()).err().unwrap_or_default(), reason, "{row}");
    }
}

#[test]
fn extra_columns_are_an_error_or_left_out_where_asked_for() {
    let error = csv(CsvToJsonConfig { extra: ExtraColumns::Error, ..names(&["a", "b"]) });
    assert_eq!(one(&error, b"1,2,3").unwrap_err(), "the row has more than 2 columns");
    assert_eq!(one(&error, b"1,2,,").unwrap(), r#"{"a":"1","b":"2"}"#);
    let drop = csv(CsvToJsonConfig { extra: ExtraColumns::Drop, ..names(&["a", "b"]) });
    assert_eq!(one(&drop, b"1,2,3,4").unwrap(), r#"{"a":"1","b":"2"}"#);
}

#[test]
fn delimiters_and_quotes_can_be_others() {
    let wide = csv(CsvToJsonConfig { delimiter: "||".into(), quote: Some('\''), ..names(&["a", "b"]) });
    assert_eq!(one(&wide, b"'x||''y'||a|b").unwrap(), r#"{"a":"x||'y","b":"a|b"}"#);
    let bare = csv(CsvToJsonConfig { delimiter: "\t".into(), quote: None, ..names(&["a", "b"]) });
    assert_eq!(one(&bare, b"\"x\ty\"").unwrap(), r#"{"a":"\"x","b":"y\""}"#);
}

#[test]
fn columns_are_named_by_the_header_of_the_records_own_file() {
    let csv = csv(CsvToJsonConfig::of(Columns::Header));
    let of = |header: &[u8], row: &[u8]| {
        all_from(&csv, row, &Origin { header: Ok(header), ..origin() }).map(|records| records.concat())
    };
    for _ in 0..2 {
        assert_eq!(of(b"\xEF\xBB\xBFid,\"full \"\"name\"\"\"\r", b"1,x").unwrap(), r#"{"id":"1","full \"name\"":"x"}"#);
        assert_eq!(of(b"b,a", b"1,x").unwrap(), r#"{"b":"1","a":"x"}"#);
        assert_eq!(of(b"a,a", b"1,x").unwrap_err(), "the header is unusable: `columns` has `a` twice");
        assert_eq!(of(b"\"a", b"1").unwrap_err(), "the header is malformed: column 1 has no closing quote");
    }
    let missing = one(&csv, b"1").unwrap_err();
    assert_eq!(missing, "there is no header for the columns' names: the source skips no header lines");
    let too_long = all_from(&csv, b"1", &Origin { header: Err(NoHeader::TooLong), ..origin() }).unwrap_err();
    assert_eq!(too_long, "there is no header for the columns' names: the header line is longer than 64 KB");
}

#[test]
fn remembered_headers_are_bounded() {
    let csv = csv(CsvToJsonConfig::of(Columns::Header));
    for number in 0..3 * HEADERS_MAX {
        let header = format!("column{number}");
        let origin = Origin { header: Ok(header.as_bytes()), ..origin() };
        assert_eq!(all_from(&csv, b"1", &origin).unwrap(), [format!(r#"{{"column{number}":"1"}}"#)]);
    }
    let Source::Header(known) = &csv.columns else { panic!("names") };
    assert!(known.read().unwrap().len() <= HEADERS_MAX);
}

#[test]
fn mistakes_are_explained() {
    let table = [
        (names(&[]), "columns", "`columns` must have at least one name"),
        (names(&["a", "b", "a"]), "columns", "`columns` has `a` twice"),
        (names(&["_extra"]), "columns", "a column is called `_extra`, as is the list of values beyond the last column"),
        (CsvToJsonConfig { delimiter: String::new(), ..names(&["a"]) }, "delimiter", "`delimiter` must not be empty"),
        (
            CsvToJsonConfig { delimiter: "\",".into(), ..names(&["a"]) },
            "delimiter",
            "`delimiter` must not have the quote '\"' in it",
        ),
        (
            CsvToJsonConfig { quote: Some('“'), ..names(&["a"]) },
            "quote",
            "`quote` must be one ASCII character, given '“'",
        ),
    ];
    for (config, key, message) in table {
        let error = CsvToJson::new(config).err().unwrap();
        assert_eq!((error.key, error.message.as_str()), (key, message));
    }
}

proptest! {
    #[test]
    fn what_a_csv_writer_quotes_comes_back(values in prop::collection::vec("[a\", \r\n\\\\ü]{0,6}", 1..6)) {
        let row: Vec<_> = values.iter().map(|value| format!("\"{}\"", value.replace('"', "\"\""))).collect();
        let columns: Vec<_> = (0..values.len()).map(|number| format!("c{number}")).collect();
        let csv = csv(CsvToJsonConfig::of(Columns::Names(columns.clone())));
        let object: serde_json::Value = serde_json::from_str(&one(&csv, row.join(",").as_bytes()).unwrap()).unwrap();
        for (column, value) in columns.iter().zip(&values) {
            prop_assert_eq!(object[column].as_str(), Some(value.as_str()));
        }
    }

    #[test]
    fn any_bytes_become_an_object_or_a_failure(bytes in prop::collection::vec(any::<u8>(), 0..40), tail in "[\",a]{0,8}") {
        let csv = csv(names(&["a", "b"]));
        if let Ok(object) = one(&csv, &[&bytes[..], tail.as_bytes()].concat()) {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&object).unwrap().is_object());
        }
    }
}
