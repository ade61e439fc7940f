//! The quickstart of the README, in a copy of its folder.

use std::path::Path;

use arrow_array::StringArray;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::{Finished, Hydrant, Scratch, objects::keys};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder made");
    for entry in std::fs::read_dir(from).expect("a folder of the checkout") {
        let entry = entry.expect("a folder of the checkout");
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).expect("a file copied")),
        }
    }
}

fn quickstart(scratch: &Scratch) -> Finished {
    let args = ["run", "--drain", "--config", "config/quickstart.yaml"];
    Hydrant::start(scratch, &args.map(AsRef::as_ref), &[]).wait().expect_code(0)
}

#[test]
fn the_quickstart_delivers_its_log_and_nothing_twice() {
    let scratch = Scratch::new();
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    copy(&checkout.join("config"), &scratch.path("config"));
    std::fs::create_dir_all(scratch.path("transforms/redact")).expect("a folder made");
    let component = "transforms/redact/redact.wasm";
    std::fs::copy(checkout.join(component), scratch.path(component)).expect("the component copied");
    let finished = quickstart(&scratch);
    assert!(finished.stderr.contains("quickstart-out"), "it says where to look: {finished}");

    let mut written = Vec::new();
    for name in keys(&scratch.path("config/quickstart")).into_iter().filter(|name| name.ends_with(".log")) {
        let text = std::fs::read_to_string(scratch.path("config/quickstart").join(name)).expect("a log");
        written.extend(text.lines().map(str::to_owned));
    }
    written.sort();
    assert!(written.len() > 1_000, "a few thousand lines");

    let objects: Vec<String> = objects(&scratch);
    assert!(!objects.is_empty());
    let rows: Vec<_> = objects.iter().flat_map(|key| rows(&scratch.path("quickstart-out").join(key))).collect();
    assert!(rows.iter().all(|(host, _)| host == "[redacted]"), "a visitor is not masked");
    let mut requests: Vec<_> = rows.into_iter().map(|(_, request)| request).collect();
    requests.sort();
    let mut expected: Vec<_> = written.iter().map(|line| request_of_line(line)).collect();
    expected.sort();
    assert!(requests == expected, "{} lines of {} were delivered, or others", requests.len(), expected.len());
    quickstart(&scratch);
    assert_eq!(self::objects(&scratch), objects, "nothing twice");
}

/// What stands between the first quotes of an access line.
fn request_of_line(line: &str) -> String {
    line.split('"').nth(1).expect("an access line has a request").to_owned()
}

/// Host and request of each row of a Parquet file.
fn rows(path: &Path) -> Vec<(String, String)> {
    let file = std::fs::File::open(path).expect("an object");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file").build().expect("rows");
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.expect("rows");
        assert_eq!(batch.num_columns(), 9);
        let texts = |name: &str| {
            let column = batch.column_by_name(name).expect("a column");
            column.as_any().downcast_ref::<StringArray>().expect("texts").clone()
        };
        let (hosts, requests) = (texts("host"), texts("request"));
        let text = |text: Option<&str>| text.expect("a text").to_owned();
        rows.extend(hosts.iter().zip(requests.iter()).map(|(host, request)| (text(host), text(request))));
    }
    rows
}

/// Its state is kept below the same folder.
fn objects(scratch: &Scratch) -> Vec<String> {
    keys(&scratch.path("quickstart-out")).into_iter().filter(|key| key.ends_with(".parquet")).collect()
}
