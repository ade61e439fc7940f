//! The shipped examples, against the pipeline tests beside them.

use std::path::{Path, PathBuf};

use crate::support::{
    Scratch,
    hydrant::{binary, command},
};

/// What `transforms/build` has made of `name`, else what is in the repository.
fn component(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built =
        std::env::var_os("HYDRANT_TEST_COMPONENTS").map(|folder| PathBuf::from(folder).join(format!("{name}.wasm")));
    let places = built.into_iter().chain([
        root.join(format!("transforms/target/components/{name}.wasm")),
        root.join(format!("transforms/{name}/{name}.wasm")),
    ]);
    places.into_iter().find(|path| path.exists())
}

#[track_caller]
fn passes_its_tests(name: &str) {
    let Some(component) = component(name) else {
        let text = format!("the component {name} is not built: transforms/build");
        assert!(std::env::var("HYDRANT_REQUIRE_TOOLCHAINS").as_deref() != Ok("1"), "{text}");
        return eprintln!("skipped: {text}");
    };
    let scratch = Scratch::new();
    // Failures name the file, and the tests name it as it is in the repository.
    let copy = scratch.path(&format!("{name}.wasm"));
    std::fs::copy(component, &copy).expect("the component copied");
    let mut command = command(binary(), &scratch);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("COMPONENT", copy);
    let output = command.args(["test", &format!("transforms/{name}/tests.yaml")]).output().expect("hydrant runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    assert!(text.contains("ok\t") && text.contains(", 0 failed"), "{text}");
}

#[test]
fn redact_does() {
    passes_its_tests("redact");
}

#[test]
fn hash_personal_data_does() {
    passes_its_tests("hash-personal-data");
}

#[test]
fn pass_through_does() {
    passes_its_tests("pass-through");
}

#[test]
fn enrich_filter_split_in_javascript_does() {
    passes_its_tests("enrich-filter-split");
}

#[test]
fn parse_custom_in_python_does() {
    passes_its_tests("parse-custom");
}
