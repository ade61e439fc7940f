//! The quickstart of the README, in a copy of its folder.

use std::path::Path;

use crate::support::{Finished, Hydrant, Scratch, delivered_lines, objects::keys};

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
    let delivered = delivered(&scratch, &objects);
    let mut requests: Vec<_> = delivered.iter().map(|line| request_of_record(line)).collect();
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

/// The request of a delivered record, whose visitor has to be masked.
fn request_of_record(record: &str) -> String {
    let record: serde_json::Value = serde_json::from_str(record).expect("JSON");
    assert_eq!(record["host"], "[redacted]");
    assert_eq!(record.as_object().map(serde_json::Map::len), Some(9), "{record}");
    record["request"].as_str().expect("a text").to_owned()
}

/// Its state is kept below the same folder.
fn objects(scratch: &Scratch) -> Vec<String> {
    keys(&scratch.path("quickstart-out")).into_iter().filter(|key| key.ends_with(".gz")).collect()
}

fn delivered(scratch: &Scratch, objects: &[String]) -> Vec<String> {
    let only = scratch.path("only-objects");
    for (n, key) in objects.iter().enumerate() {
        std::fs::create_dir_all(&only).expect("a folder made");
        std::fs::copy(scratch.path("quickstart-out").join(key), only.join(format!("{n}.gz")))
            .expect("an object copied");
    }
    delivered_lines(&only)
}
