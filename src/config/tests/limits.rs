//! Whatever a file holds, reading it ends soon and without a panic.

use std::fs::File;

use proptest::prelude::*;

use super::*;
use crate::config::tree::{self, NODES_MAX};

/// The first message.
fn message(errors: &ConfigErrors) -> &str {
    &errors.errors()[0].message
}

#[test]
fn a_billion_laughs_are_refused_as_soon_as_they_are_too_many() {
    let mut text = "l0: &l0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n".to_owned();
    for level in 1..30 {
        let laughs = vec![format!("*l{}", level - 1); 10].join(", ");
        text.push_str(&format!("l{level}: &l{level} [{laughs}]\n"));
    }
    let errors = errors(&text);
    assert_eq!(message(&errors), "the configuration has more than 100000 values");
    // The fifth level is the first with more than 100,000, and nothing behind it has been looked at.
    assert_eq!((errors.errors().len(), errors.errors()[0].line), (1, 5));

    let mut nodes = NODES_MAX;
    let parsed = tree::parse(&text, 0, &mut nodes);
    assert!(parsed.root.is_none());
    assert!(nodes < NODES_MAX, "what was read is counted");
}

#[test]
fn an_alias_shares_the_nodes_of_its_anchor() {
    let mut nodes = NODES_MAX;
    let parsed = tree::parse("a: &a { b: 1 }\nc: *a\n", 0, &mut nodes);
    assert!(parsed.root.is_some() && parsed.errors.is_empty());
    // The top with its two keys, and twice a mapping with a key and a value.
    assert_eq!(NODES_MAX - nodes, 3 + 2 * 3);
}

#[test]
fn a_file_without_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hydrant.yaml");
    // Sparse, and too large for any reader: only its metadata can have been looked at.
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let errors = load_in(&path, &environment()).unwrap_err();
    assert_eq!(message(&errors), "the file is larger than 4 MB");
    // Its metadata tells nothing.
    let errors = load_in(Path::new("/dev/zero"), &environment()).unwrap_err();
    assert_eq!(message(&errors), "the file is larger than 4 MB");
    let errors = load(&"# a comment\n".repeat(400_000)).unwrap_err();
    assert_eq!(message(&errors), "the file is larger than 4 MB");
}

#[test]
fn a_file_that_is_not_utf_8_is_refused_where_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hydrant.yaml");
    std::fs::write(&path, b"state_dir: /a\r\naws: { region: \xc3\xa4\xff }\n").unwrap();
    let errors = load_in(&path, &environment()).unwrap_err();
    let error = &errors.errors()[0];
    assert_eq!((error.line, error.column, error.message.as_str()), (2, 17, "this byte is not UTF-8"));
}

#[test]
fn more_globs_than_anybody_needs_are_refused() {
    let paths = "'/nowhere/*',".repeat(6000);
    let errors = errors(&STREAM.replace("/nowhere/*.log", &format!("[{paths}]")));
    assert_eq!(errors.errors().len(), 1);
    assert_eq!(message(&errors), "the configuration has more than 5000 globs");
}

#[test]
fn a_mark_of_the_byte_order_is_left_out() {
    let config = config(&format!("\u{feff}memory_limit_mb: 64\r\n{STREAM}"));
    assert_eq!(config.memory_limit, 64 * 1024 * 1024);
}

#[test]
fn thousands_of_mistakes_are_summed_up() {
    let text: String = (0..5000).map(|number| format!("unknown{number}: 1\n")).collect();
    let errors = errors(&text);
    assert_eq!(errors.errors().len(), 100);
    assert!(errors.to_string().ends_with("\nand 4900 more mistakes"), "{errors}");
    assert!(errors.render(80, false).ends_with("and 4900 more mistakes\n"));
}

#[test]
fn a_mistake_behind_an_alias_is_reported_once() {
    let text = format!(
        "{STREAM}    buffering: &hints {{ size_mb: 0 }}\n    backup: {{ buffering: *hints, directory: {{ path: /b }} }}\n"
    );
    assert_eq!(errors(&text).errors().len(), 1);
}

const PIECES: [&str; 40] = [
    "a",
    "- ",
    "-",
    ": ",
    ":",
    "? ",
    "\n",
    "\n  ",
    "\n    ",
    "\t",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "&a ",
    "*a",
    "!!str ",
    "!x ",
    "| ",
    "> ",
    "|+2\n",
    "'",
    "\"",
    "\\",
    "#",
    " #",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "%TAG ! x\n",
    "@",
    "`",
    "${",
    "$$",
    "\r",
    "\u{feff}",
    "\u{85}",
    "ä",
    "<<: ",
];

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        read_and_show(&text);
    }

    #[test]
    fn no_near_yaml_makes_it_panic(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)) {
        read_and_show(&pieces.concat());
    }

    #[test]
    fn no_damaged_configuration_makes_it_panic(
        damages in prop::collection::vec((any::<prop::sample::Index>(), 0..20_usize, prop::sample::select(&PIECES[..])), 1..6),
    ) {
        let mut text: Vec<char> = include_str!("../../../config/s3-compatible.yaml").chars().collect();
        for (at, length, piece) in damages {
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, piece.chars());
        }
        read_and_show(&text.into_iter().collect::<String>());
    }
}

fn read_and_show(text: &str) {
    if let Err(errors) = load(text) {
        assert!(!errors.errors().is_empty());
        assert!(!errors.to_string().is_empty() && !errors.render(80, true).is_empty());
    }
}
