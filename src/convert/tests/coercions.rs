//! What becomes of each kind of value in each type of column: the reference's table, cell by cell, and what we decided beyond.

use super::*;

/// What a cell of the table holds.
enum Cell {
    Is(Json),
    /// A failure whose message has this in it.
    Fails(&'static str),
}

use Cell::{Fails, Is};

/// Of one value in a column of one type: by speculation, by the slow path, and again by speculation that has learnt.
fn check(data_type: &str, value: &str, options: &InputOptions, expected: &Cell) {
    let schema = schema(&[("before", "int"), ("c", data_type), ("after", "int")]);
    let decoder = Decoder::new(&schema, options.clone()).unwrap();
    let record = format!("{{\"before\":1,\"c\":{value},\"after\":2}}\n");
    for mut decoder in [decoder.clone(), decoder.without_speculation()] {
        let (columns, failures) = decode(&mut decoder, &[record.as_bytes(), record.as_bytes()]);
        match expected {
            Is(expected) => {
                assert_eq!(failures, [], "{value} into {data_type}, {:?}", options.deserializer);
                for index in 0..2 {
                    let row = row(&columns, &schema, index);
                    let expected = json!({"before": 1, "c": expected, "after": 2});
                    assert_eq!(row, expected, "{value} into {data_type}, {:?}", options.deserializer);
                }
            }
            Fails(reason) => {
                assert_eq!(
                    (columns.rows(), failures.len()),
                    (0, 2),
                    "{value} into {data_type}, {:?}",
                    options.deserializer
                );
                let message = &failures[0].message;
                assert!(message.contains(reason), "{value} into {data_type}, {:?}: {message}", options.deserializer);
                let expected = "Data does not match the schema. Column `c";
                assert!(message.starts_with(expected), "{message}");
                assert_eq!(failures[0].code, ErrorCode::MalformedData);
                assert_eq!(&record.as_bytes()[failures[0].bytes.clone()], record.trim_end().as_bytes());
            }
        }
    }
}

#[test]
fn every_cell_of_the_table_holds() {
    let structure = "struct<a:int,b:string>";
    let same = |cell: fn() -> Cell| (cell(), cell());
    #[rustfmt::skip]
    let table: Vec<(&str, &str, (Cell, Cell))> = vec![
        // Numeric string into numeric column.
        ("tinyint", r#""12""#, (Is(json!(12)), Fails("a number is expected"))),
        ("int", r#""-12""#, (Is(json!(-12)), Fails("a number is expected"))),
        ("bigint", r#""12""#, (Is(json!(12)), Fails("a number is expected"))),
        ("float", r#""1.5""#, (Is(json!(1.5)), Fails("a number is expected"))),
        ("double", r#""1e3""#, (Is(json!(1000.0)), Fails("a number is expected"))),
        ("double", r#""NaN""#, (Is(json!("NaN")), Fails("a number is expected"))),
        ("decimal(5,2)", r#""1.5""#, (Is(json!("150")), Fails("a number is expected"))),
        // Non-numeric string into numeric column.
        ("int", r#""oops""#, (Fails(r#"For input string: "oops""#), Fails("a number is expected"))),
        ("double", r#""inf""#, (Fails(r#"For input string: "inf""#), Fails("a number is expected"))),
        ("bigint", r#""""#, (Fails(r#"For input string: """#), Fails("a number is expected"))),
        ("decimal(5,2)", r#""1,5""#, (Fails(r#"For input string: "1,5""#), Fails("a number is expected"))),
        // Number and boolean into string column.
        ("string", "1.50", same(|| Is(json!("1.50")))),
        ("string", "-0", same(|| Is(json!("-0")))),
        ("string", "1E400", same(|| Is(json!("1E400")))),
        ("string", "true", same(|| Is(json!("true")))),
        ("varchar(5)", "false", same(|| Is(json!("false")))),
        ("varchar(4)", "false", same(|| Fails("it has 5 characters"))),
        // Object and array into string column.
        ("string", r#"{"A" : [1, "x"]}"#, (Is(json!(r#"{"a":[1,"x"]}"#)), Fails("One or more fields have incorrect format"))),
        ("string", "[1.0 , null]", (Is(json!("[1.0,null]")), Fails("One or more fields have incorrect format"))),
        // Scalar into array.
        ("array<int>", "7", (Is(json!([7])), Fails("Start of Array expected"))),
        ("array<string>", r#""x""#, (Is(json!(["x"])), Fails("Start of Array expected"))),
        ("array<struct<a:int>>", r#"{"a":1}"#, (Is(json!([{"a": 1}])), Fails("Start of Array expected"))),
        ("array<array<int>>", "[[1],2]", (Is(json!([[1], [2]])), Fails("Start of Array expected"))),
        ("array<int>", r#""x""#, (Fails("Column `c[0]` of type int cannot take this string"), Fails("Start of Array expected"))),
        // Array into struct.
        (structure, r#"[1,"x"]"#, (Is(json!({"a": 1, "b": "x"})), Fails("Start of Object expected"))),
        (structure, "[1]", (Is(json!({"a": 1, "b": null})), Fails("Start of Object expected"))),
        (structure, r#"[1,"x",3]"#, (Is(json!({"a": 1, "b": "x"})), Fails("Start of Object expected"))),
        // Scalar into struct.
        (structure, "42", (Fails("Data is not JSONObject  but java.lang.Long with value 42"), Fails("Start of Object expected"))),
        (structure, "4.5", (Fails("Data is not JSONObject  but java.lang.Double with value 4.5"), Fails("Start of Object expected"))),
        (structure, r#""x""#, (Fails("Data is not JSONObject  but java.lang.String with value x"), Fails("Start of Object expected"))),
        (structure, "true", (Fails("Data is not JSONObject  but java.lang.Boolean with value true"), Fails("Start of Object expected"))),
        // Non-object into map.
        ("map<string,int>", "[1]", (Fails("an object is expected"), Fails("Start of Object expected"))),
        ("map<string,int>", "1", (Fails("an object is expected"), Fails("Start of Object expected"))),
        // Map keys.
        ("map<string,int>", r#"{"Aa":1,"b":null}"#, (Is(json!({"aa": 1, "b": null})), Is(json!({"Aa": 1, "b": null})))),
        ("map<string,int>", r#"{"Aa":1,"aa":2}"#, (Is(json!({"aa": 2})), Is(json!({"Aa": 1, "aa": 2})))),
        ("map<int,string>", r#"{"1":"x"}"#, same(|| Is(json!({"1": "x"})))),
        ("map<int,string>", r#"{"x":"x"}"#, same(|| Fails("Column `c.x` of type int"))),
        ("map<date,int>", r#"{"1970-01-02":1}"#, same(|| Is(json!({"1": 1})))),
        // Integer overflow, and a fraction into an integer.
        ("tinyint", "127", same(|| Is(json!(127)))),
        ("tinyint", "128", same(|| Fails("\"128\" is out of range"))),
        ("smallint", "-32769", same(|| Fails("out of range"))),
        ("int", "2147483648", same(|| Fails("out of range"))),
        ("bigint", "9223372036854775807", same(|| Is(json!(i64::MAX)))),
        ("bigint", "9223372036854775808", same(|| Fails("out of range"))),
        ("int", "1.5", same(|| Fails("\"1.5\" is no integer"))),
        ("int", "1e-1", same(|| Fails("is no integer"))),
        ("int", "1.0", same(|| Is(json!(1)))),
        ("bigint", "1e3", same(|| Is(json!(1000)))),
        ("float", "1e39", same(|| Fails("out of range"))),
        ("double", "1e309", same(|| Fails("out of range"))),
        ("double", "-0.0", same(|| Is(json!(-0.0)))),
        ("double", "0.1", same(|| Is(json!(0.1)))),
        ("double", "123456789012345678", same(|| Is(json!(123456789012345680.0)))),
        // Decimals.
        ("decimal(5,2)", "123.456", same(|| Is(json!("12346")))),
        ("decimal(5,2)", "-0.005", same(|| Is(json!("-1")))),
        ("decimal(5,2)", "999.994", same(|| Is(json!("99999")))),
        ("decimal(5,2)", "999.995", same(|| Fails("out of range"))),
        ("decimal(5,2)", "1e3", same(|| Fails("out of range"))),
        ("decimal(38,38)", "0.12345678901234567890123456789012345678", same(|| Is(json!("12345678901234567890123456789012345678")))),
        // Kinds that fit nowhere.
        ("int", "true", same(|| Fails("this boolean: a number is expected"))),
        ("double", "[1]", same(|| Fails("this array: a number is expected"))),
        ("boolean", "1", same(|| Fails("true or false is expected"))),
        ("boolean", r#""TRUE""#, (Is(json!(true)), Fails("true or false is expected"))),
        ("boolean", r#""yes""#, same(|| Fails("true or false is expected"))),
        ("date", "1", same(|| Fails("text such as 2026-12-31 is expected"))),
        ("timestamp", "true", same(|| Fails("a timestamp is text or a number"))),
        ("timestamp", "{}", same(|| Fails("a timestamp is text or a number"))),
        // Text with a length.
        ("char(2)", r#""éé""#, same(|| Is(json!("éé")))),
        ("char(2)", r#""abc""#, same(|| Fails("it has 3 characters"))),
        // Dates and times.
        ("date", r#""1970-01-31""#, same(|| Is(json!(30)))),
        ("date", r#""1970-1-2""#, same(|| Is(json!(1)))),
        ("date", r#""1970-02-30""#, same(|| Fails("is no date"))),
        ("date", r#""1970-01-31T00:00:00Z""#, same(|| Fails("is no date"))),
        ("timestamp", r#""1970-01-01T00:00:01.5Z""#, (Is(json!(1_500_000)), Fails("has none of the formats"))),
        ("timestamp", r#""1970-01-01T00:00:01+00:00""#, same(|| Fails("has none of the formats"))),
        ("timestamp", r#""1970-01-01 00:00:01.123456789""#, same(|| Is(json!(1_123_456)))),
        ("timestamp", r#""1970-1-1 0:0:1""#, same(|| Is(json!(1_000_000)))),
        ("timestamp", "1.25", (Is(json!(1_250_000)), Fails("has none of the formats"))),
        ("timestamp", r#""1.25""#, (Is(json!(1_250_000)), Fails("has none of the formats"))),
        ("timestamp", "999999999999", (Is(json!(999_999_999_999_000_000i64)), Fails("has none of the formats"))),
        ("timestamp", "1000000000000", (Is(json!(1_000_000_000_000_000i64)), Fails("has none of the formats"))),
        ("timestamp", "-1000000000000", (Is(json!(-1_000_000_000_000_000i64)), Fails("has none of the formats"))),
        ("timestamp", "99999999999999999", (Fails("out of range"), Fails("has none of the formats"))),
    ];
    for (data_type, value, (openx, in_hive)) in &table {
        check(data_type, value, &InputOptions::default(), openx);
        check(data_type, value, &hive(), in_hive);
    }
    let every_type = [
        "boolean",
        "tinyint",
        "int",
        "bigint",
        "float",
        "double",
        "decimal",
        "string",
        "char(1)",
        "date",
        "timestamp",
        "array<int>",
        "map<string,int>",
        structure,
    ];
    for data_type in every_type {
        check(data_type, "null", &InputOptions::default(), &Is(Json::Null));
        check(data_type, "null", &hive(), &Is(Json::Null));
    }
    let cased = InputOptions { case_insensitive: false, ..InputOptions::default() };
    check("string", r#"{"A":1}"#, &cased, &Is(json!(r#"{"A":1}"#)));
    check("map<string,int>", r#"{"A":1}"#, &cased, &Is(json!({"A": 1})));
    check(structure, r#"{"A":1,"b":"x"}"#, &cased, &Is(json!({"a": null, "b": "x"})));
}

#[test]
fn of_keys_that_are_read_as_the_same_value_the_last_counts() {
    let cases = [
        ("map<int,string>", r#"{"1":"a","2":"b","01":"c","1.0":"d","1e0":"e"}"#, json!({"1": "e", "2": "b"})),
        ("map<bigint,int>", r#"{"10":1,"1e1":2}"#, json!({"10": 2})),
        ("map<boolean,int>", r#"{"TRUE":1,"false":2,"true":3}"#, json!({"true": 3, "false": 2})),
        ("map<decimal(4,1),int>", r#"{"1.0":1,"1":2,"1.04":3,"1.1":4}"#, json!({"10": 3, "11": 4})),
        (
            "map<float,int>",
            r#"{"0.5":1,"5e-1":2,"NaN":3,"Infinity":4,"-Infinity":5}"#,
            json!({"0.5": 2, "NaN": 3, "inf": 4, "-inf": 5}),
        ),
        ("map<double,int>", r#"{"0.0":1,"-0.0":2}"#, json!({"-0.0": 2})),
        ("map<date,int>", r#"{"1970-01-02":1,"1970-1-2":2}"#, json!({"1": 2})),
        ("map<timestamp,int>", r#"{"1970-01-01T00:00:01Z":1,"1970-01-01 00:00:01":2,"1":3}"#, json!({"1000000": 3})),
        ("map<string,int>", r#"{"A":1,"a":2,"01":3,"1":4}"#, json!({"a": 2, "01": 3, "1": 4})),
        ("map<int,map<int,int>>", r#"{"1":{"1":1},"01":{"2":2,"02":3}}"#, json!({"1": {"2": 3}})),
    ];
    for (data_type, value, expected) in &cases {
        check(data_type, value, &InputOptions::default(), &Is(expected.clone()));
    }
    check("map<int,int>", r#"{"1":1,"x":2}"#, &InputOptions::default(), &Fails("`c.x`"));
    // A value that another one replaces is not looked at.
    check("map<int,int>", r#"{"01":"x","1":2}"#, &InputOptions::default(), &Is(json!({"1": 2})));
}

#[test]
fn fields_of_a_wide_struct_are_found_by_their_names() {
    let fields: Vec<_> = (0..2000).map(|n| format!("Field{n}:int")).collect();
    let data_type = format!("struct<{}>", fields.join(","));
    let members: Vec<_> = (0..2000).rev().map(|n| format!("\"FIELD{n}\":{n}")).collect();
    let expected: serde_json::Map<_, _> = (0..2000).map(|n| (format!("Field{n}"), json!(n))).collect();
    check(&data_type, &format!("{{{}}}", members.join(",")), &InputOptions::default(), &Is(expected.into()));
}

#[test]
fn binary_is_a_schema_error_for_openx_and_base64_for_hive() {
    let nested = schema(&[("x", "int"), ("c", "array<struct<b:binary>>")]);
    let error = Decoder::new(&nested, InputOptions::default()).unwrap_err();
    assert_eq!(error, SchemaError::Binary { column: String::from("c") });
    assert!(error.to_string().contains("not supported by org.openx.data.JsonSerDe: binary"));
    check("binary", r#""AP8=""#, &hive(), &Is(json!([0, 255])));
    check("binary", r#""AP8""#, &hive(), &Fails("no base64"));
    check("binary", "1", &hive(), &Fails("base64 text is expected"));
}
