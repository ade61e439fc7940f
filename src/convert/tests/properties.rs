//! Whatever comes in: speculation and the slow path make the same of it, and it is what the model says.
//!
//! `PROPTEST_CASES=100000 cargo test --lib convert::tests::properties` is the long run.

use proptest::prelude::*;

use super::generate::{columns, records};
use super::oracles::{model_agrees, shown};
use super::*;

fn shown_by(columns: &Columns, schema: &[schema::Column]) -> Vec<Json> {
    (0..columns.rows()).map(|index| row(columns, schema, index)).collect()
}

fn options() -> impl Strategy<Value = InputOptions> {
    let formats = prop::collection::vec(
        prop_oneof![
            Just(TimestampFormat::Iso8601),
            Just(TimestampFormat::Sql),
            Just(TimestampFormat::EpochMillis),
            Just(TimestampFormat::EpochSeconds),
            Just(TimestampFormat::Pattern("yyyy-MM-dd'T'HH:mm:ss.SSS'Z'".parse().unwrap())),
        ],
        0..3,
    );
    let unknown = prop_oneof![
        3 => Just(OnUnknownField::Ignore),
        1 => Just(OnUnknownField::ErrorOutput),
        1 => Just(OnUnknownField::Rescue(String::from("s"))),
    ];
    (any::<bool>(), any::<bool>(), formats, unknown).prop_map(
        |(is_hive, case_insensitive, formats, on_unknown_field)| InputOptions {
            deserializer: if is_hive { Deserializer::Hive } else { Deserializer::OpenX },
            case_insensitive,
            timestamp_formats: formats,
            on_unknown_field,
            ..InputOptions::default()
        },
    )
}

proptest! {
    #[test]
    fn speculation_changes_nothing(records in records(), options in options(), required in 0..20usize) {
        let mut schema = columns();
        if let Some(column) = schema.get_mut(required).filter(|column| column.name != "s") {
            column.is_required = true;
        }
        let decoder = Decoder::new(&schema, options).unwrap();
        let records: Vec<_> = records.iter().map(Vec::as_slice).collect();
        let (fast, fast_failures) = decode(&mut decoder.clone(), &records);
        let (slow, slow_failures) = decode(&mut decoder.without_speculation(), &records);
        prop_assert_eq!(fast_failures, slow_failures);
        prop_assert_eq!(shown(&fast), shown(&slow));
    }

    #[test]
    fn a_field_that_is_left_out_is_no_unknown_field(records in records(), options in options(), left_out in 0..20usize) {
        let mut schema = columns();
        let at = left_out % schema.len();
        prop_assume!(schema[at].name != "s");
        let left_out = vec![schema.remove(at).name];
        let options = InputOptions { left_out, ..options };
        let decoder = Decoder::new(&schema, options.clone()).unwrap();
        let records: Vec<_> = records.iter().map(Vec::as_slice).collect();
        let (fast, fast_failures) = decode(&mut decoder.clone(), &records);
        let (slow, slow_failures) = decode(&mut decoder.without_speculation(), &records);
        let is_of_it = |failure: &Failure| match failure.misfit.as_deref() {
            Some(Misfit::Unknown { path, .. }) => path.to_lowercase() == options.left_out[0].to_lowercase(),
            _ => false,
        };
        // Where case counts, a field of another case is another.
        prop_assert!(!options.case_insensitive || !fast_failures.iter().any(is_of_it), "{:?}", fast_failures);
        prop_assert_eq!(fast_failures, slow_failures);
        prop_assert_eq!(shown_by(&fast, &schema), shown_by(&slow, &schema));
    }

    #[test]
    fn rows_are_the_models(records in records()) {
        let decoder = Decoder::new(&columns(), InputOptions::default()).unwrap();
        for record in &records {
            if let Err(difference) = model_agrees(&mut decoder.clone(), record) {
                return Err(TestCaseError::fail(difference));
            }
        }
    }

    #[test]
    fn rows_that_are_taken_back_leave_nothing(records in records(), keep in any::<prop::sample::Index>()) {
        let decoder = Decoder::new(&columns(), InputOptions::default()).unwrap();
        let records: Vec<_> = records.iter().map(Vec::as_slice).collect();
        let (all, _) = decode(&mut decoder.clone(), &records);
        let keep = keep.index(all.rows() + 1);
        let mut again = all.clone();
        again.truncate(keep);
        prop_assert_eq!(shown(&again), &shown(&all)[..keep]);
        // And what is appended then stands as if nothing had been there.
        let mut decoder = decoder.clone();
        let (mut failures, data) = (Vec::new(), records.concat());
        let mut start = 0;
        for record in &records {
            decoder.decode(&data, start..start + record.len(), &mut again, &mut failures).unwrap();
            start += record.len();
        }
        prop_assert_eq!(&shown(&again)[keep..], shown(&all));
    }

    #[test]
    fn any_bytes_are_read_or_refused(records in prop::collection::vec(any::<Vec<u8>>(), 1..4), behind: Vec<u8>) {
        let mut decoder = Decoder::new(&columns(), InputOptions::default()).unwrap();
        for record in records {
            let (mut columns, mut failures) = (decoder.columns(), Vec::new());
            let data = [record.as_slice(), &behind].concat();
            let rows = decoder.decode(&data, 0..record.len(), &mut columns, &mut failures).unwrap();
            prop_assert_eq!(rows, columns.rows());
            prop_assert!(rows + failures.len() > 0);
        }
    }

    #[test]
    fn numbers_are_rounded_as_the_standard_library_does(whole in any::<u32>(), behind in "[0-9]{1,10}", is_negative: bool) {
        let sign = if is_negative { "-" } else { "" };
        let text = format!("{sign}{whole}.{behind}");
        let schema = schema(&[("x", "double"), ("f", "float")]);
        let mut decoder = Decoder::new(&schema, InputOptions::default()).unwrap();
        let record = format!("{{\"x\":{text},\"f\":{text}}}          ");
        let (columns, _) = decode(&mut decoder, &[record.as_bytes()]);
        let expected = (Values::Double(vec![text.parse().unwrap()]), Values::Float(vec![text.parse().unwrap()]));
        prop_assert_eq!(&columns.columns[0].values, &expected.0);
        prop_assert_eq!(&columns.columns[1].values, &expected.1);
    }
}

#[test]
fn very_many_keys_in_any_order_are_told_apart() {
    let names: Vec<String> = (0..600).map(|index| format!("{}{index}", "k".repeat(index % 40))).collect();
    let schema = schema(&names.iter().step_by(2).map(|name| (name.as_str(), "int")).collect::<Vec<_>>());
    let decoder = Decoder::new(&schema, InputOptions::default()).unwrap();
    let records: Vec<Vec<u8>> = (0..20)
        .map(|step| {
            let order = (0..600).map(|index| (index * (2 * step + 7) + step) % 600);
            // Of the steps that do not visit every place only the first visit counts.
            let mut order: Vec<usize> = order.collect();
            let mut seen = std::collections::HashSet::new();
            order.retain(|place| seen.insert(*place));
            let fields: Vec<_> = order.iter().map(|place| format!("\"{}\":{place}", names[*place])).collect();
            format!("{{{}}}\n", fields.join(",")).into_bytes()
        })
        .collect();
    let records: Vec<_> = records.iter().map(Vec::as_slice).collect();
    let (fast, failures) = decode(&mut decoder.clone(), &records);
    assert_eq!((fast.rows(), failures), (20, vec![]));
    assert_eq!(fast, decode(&mut decoder.without_speculation(), &records).0);
}
