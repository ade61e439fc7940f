//! Against arrow-json where the two agree: columns of plain types, values of their kinds.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_schema::{DataType, Field, Schema};
use proptest::prelude::*;

use super::generate::quoted;
use super::*;

fn value(data_type: &'static str) -> BoxedStrategy<String> {
    let usual = match data_type {
        "int" => any::<i32>().prop_map(|number| number.to_string()).boxed(),
        "bigint" => any::<i64>().prop_map(|number| number.to_string()).boxed(),
        "double" => (-1e15..1e15f64).prop_map(|number| number.to_string()).boxed(),
        "boolean" => any::<bool>().prop_map(|value| value.to_string()).boxed(),
        _ => ".{0,50}".prop_map(|text| quoted(&text)).boxed(),
    };
    prop_oneof![6 => usual, 1 => Just(String::from("null"))].boxed()
}

proptest! {
    #[test]
    fn plain_columns_are_arrows(rows in prop::collection::vec((
        value("int"), value("bigint"), value("double"), value("boolean"), value("string"), 0..120usize
    ), 1..20)) {
        let schema = schema(&[("i", "int"), ("l", "bigint"), ("d", "double"), ("b", "boolean"), ("s", "string")]);
        let fields = [DataType::Int32, DataType::Int64, DataType::Float64, DataType::Boolean, DataType::Utf8];
        let fields: Vec<_> = schema.iter().zip(fields).map(|(column, data_type)| Field::new(&column.name, data_type, true)).collect();
        let records: Vec<Vec<u8>> = rows.into_iter().map(|(i, l, d, b, s, order)| {
            let mut fields = vec![format!("\"i\":{i}"), format!("\"l\":{l}"), format!("\"d\":{d}"), format!("\"b\":{b}"), format!("\"s\":{s}")];
            let moved = fields.remove(order % 5);
            fields.insert(order / 5 % 5, moved);
            format!("{{{}}}\n", fields.join(",")).into_bytes()
        }).collect();
        let mut theirs = ::arrow_json::ReaderBuilder::new(Arc::new(Schema::new(fields))).build_decoder().unwrap();
        let data = records.concat();
        prop_assert_eq!(theirs.decode(&data).unwrap(), data.len());
        let theirs = theirs.flush().unwrap().unwrap();
        let mut decoder = Decoder::new(&schema, InputOptions::default()).unwrap();
        let (ours, failures) = decode(&mut decoder, &records.iter().map(Vec::as_slice).collect::<Vec<_>>());
        prop_assert_eq!((ours.rows(), failures), (theirs.num_rows(), vec![]));
        for (index, column) in ours.columns.into_iter().enumerate() {
            let their = theirs.column(index);
            if let Values::Text(_) = &column.values {
                let cells: Vec<_> = (0..column.len()).map(|row| cell(&column, &Type::String, row)).collect();
                let their: Vec<_> = their.as_string::<i32>().iter().map(|text| json!(text)).collect();
                prop_assert_eq!(cells, their);
            } else {
                let our = super::super::arrays::array(column, their.data_type()).unwrap();
                prop_assert_eq!(&our, their);
            }
        }
    }
}
