//! Files that are no transform component: said by `check`, with what to do.

use serde_json::json;

use crate::support::{Hydrant, Scratch, config, write_config};

use super::{component, transformed};

#[track_caller]
fn check(scratch: &Scratch, path: &std::path::Path) -> String {
    let steps = [json!({ "wasm": { "component": path } })];
    let config = config(scratch, [transformed(scratch, "s", steps)]);
    let yaml = std::fs::read_to_string(write_config(scratch, &config)).expect("what was written");
    Hydrant::check(scratch, &yaml).expect_code(2).stderr
}

#[test]
fn each_error_says_what_is_wrong() {
    let cases = [
        ("core_module.wat", "it is a core module, not a component"),
        ("unknown_import.wat", "which Hydrant does not offer"),
        ("wasi_http.wat", "wasi:http/"),
        ("version_2.wat", "built for `hydrant:transform@2.0.0`, and this Hydrant offers 1.0.0"),
        ("version_1_9.wat", "built for `hydrant:transform@1.9.0`"),
        ("no_init.wat", "exports no function `init`"),
        ("other_transform.wat", "does not fit"),
        ("other_world.wat", "exports no function"),
        ("table_too_large.wat", "exceeds the limit"),
    ];
    for (name, expected) in cases {
        let scratch = Scratch::new();
        let stderr = check(&scratch, &component(&scratch, name));
        assert!(stderr.contains(expected), "{name}: {stderr}");
        assert!(stderr.contains("hydrant.yaml:") && stderr.contains("component"), "{name}: {stderr}");
    }
}

#[test]
fn what_is_no_webassembly_is_said_to_be_none() {
    let scratch = Scratch::new();
    let cases = [
        (&b""[..], "the file is empty"),
        (b"(component)", "text format"),
        (b"\x7fELF....", "no WebAssembly component"),
    ];
    for (bytes, expected) in cases {
        let path = scratch.path("x.wasm");
        std::fs::write(&path, bytes).expect("written");
        let stderr = check(&scratch, &path);
        assert!(stderr.contains(expected), "{stderr}");
    }
    let stderr = check(&scratch, &scratch.path("missing.wasm"));
    assert!(stderr.contains("cannot be read"), "{stderr}");
}

#[test]
fn a_damaged_component_is_not_valid() {
    let scratch = Scratch::new();
    let mut bytes = std::fs::read(component(&scratch, "hostile.wasm")).expect("read");
    bytes.truncate(bytes.len() / 2);
    let path = scratch.path("half.wasm");
    std::fs::write(&path, bytes).expect("written");
    let stderr = check(&scratch, &path);
    assert!(stderr.contains("not valid"), "{stderr}");
}
