//! `hydrant new-transform`: in each language a project that builds and passes its own test at once.
//!
//! The toolchains are those of `transforms/toolchains/find`. Where one is missing a developer is told what is skipped and how
//! to get it; with `HYDRANT_REQUIRE_TOOLCHAINS=1`, as in CI, that is a failure.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Finished, Hydrant, Scratch};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn new_transform(scratch: &Scratch, language: &str, dir: &str) -> Finished {
    let args = ["new-transform", "--language", language, dir];
    Hydrant::start(scratch, &args.map(std::ffi::OsStr::new), &[]).wait()
}

/// In the environment of whoever runs the tests: toolchains and their caches are there.
fn bash(dir: &Path, script: &str) -> Output {
    let script = format!("set -eo pipefail; . '{ROOT}/transforms/toolchains/find'; {script}");
    let mut command = Command::new("bash");
    // What cargo tells its tests is not for another cargo.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command.args(["-c", &script]).current_dir(dir).output().expect("bash runs")
}

/// Makes a project, builds it with `build`, runs its test with `test`, and looks at the component.
fn builds_and_passes(language: &str, find: &str, test: &str, build: &str, component: &str) {
    let found = bash(Path::new(ROOT), find);
    if !found.status.success() {
        let text = format!("{language}: {}", String::from_utf8_lossy(&found.stderr));
        assert!(std::env::var("HYDRANT_REQUIRE_TOOLCHAINS").as_deref() != Ok("1"), "{text}");
        eprintln!("skipped, {text}");
        return;
    }
    let scratch = Scratch::new();
    new_transform(&scratch, language, "geo-lookup").expect_code(0);
    let dir = scratch.root().join("geo-lookup");
    for step in [test, build] {
        let output = bash(&dir, &format!("{find}; {step}"));
        assert!(output.status.success(), "{language}, {step}: {output:#?}");
    }
    let bytes = fs::read(dir.join(component)).unwrap();
    assert_eq!(bytes[..8], *b"\0asm\x0d\0\x01\0", "it is a component, not a core module");
}

#[test]
fn a_rust_project_builds_and_passes_its_test() {
    // One folder for its dependencies: the examples have the same.
    let target = format!("--target-dir '{ROOT}/transforms/target'");
    let test = format!("unset RUSTC; cargo test --quiet {target}");
    let build = format!(
        "cargo build --quiet --release --target wasm32-wasip2 {target}; mkdir target; \
         cp '{ROOT}/transforms/target/wasm32-wasip2/release/geo_lookup.wasm' target"
    );
    builds_and_passes("rust", "find_rust", &test, &build, "target/geo_lookup.wasm");
}

#[test]
fn a_javascript_project_builds_and_passes_its_test() {
    let build = "npm install --silent --no-audit --no-fund --prefer-offline && npm run --silent build";
    builds_and_passes("javascript", "find_javascript", "npm test --silent", build, "geo-lookup.wasm");
}

#[test]
fn a_python_project_builds_and_passes_its_test() {
    let build = "componentize-py -d wit -w transform componentize --stub-wasi app -o geo-lookup.wasm";
    builds_and_passes("python", "find_python", "python3 -m unittest", build, "geo-lookup.wasm");
}

#[test]
fn a_c_project_builds_and_passes_its_test() {
    builds_and_passes("c", "find_c", "make test", "make \"${c_toolchain[@]}\"", "geo-lookup.wasm");
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.root().join("mine")).unwrap();
    fs::write(scratch.root().join("mine/README.md"), "mine").unwrap();
    let finished = new_transform(&scratch, "rust", "mine").expect_code(2);
    assert!(finished.stderr.contains("not empty"), "{finished}");
    assert_eq!(fs::read_to_string(scratch.root().join("mine/README.md")).unwrap(), "mine");
    assert_eq!(fs::read_dir(scratch.root().join("mine")).unwrap().count(), 1);
}

#[test]
fn a_wrong_name_or_language_is_2() {
    let scratch = Scratch::new();
    assert!(new_transform(&scratch, "rust", "Geo").expect_code(2).stderr.contains("`Geo`"));
    assert!(new_transform(&scratch, "cobol", "geo").expect_code(2).stderr.contains("javascript"));
    assert!(!scratch.root().join("Geo").exists() && !scratch.root().join("geo").exists());
}

#[test]
fn a_folder_that_cannot_be_made_is_1() {
    let scratch = Scratch::new();
    fs::write(scratch.root().join("file"), "").unwrap();
    let finished = new_transform(&scratch, "c", "file/geo").expect_code(1);
    assert!(finished.stderr.contains("geo") && finished.stdout.is_empty(), "{finished}");
}
