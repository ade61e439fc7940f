//! A schema's life in a directory registry, through the commands.

use serde_json::{Value, json};

use super::{configure, hydrant, with_config};
use crate::support::Scratch;

const LAKE: &str = "  lake: { directory: { path: registry } }";

fn scene(conversion: &str) -> Scratch {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("registry")).expect("a registry");
    configure(&scratch, LAKE, conversion);
    scratch
}

fn write(scratch: &Scratch, name: &str, content: &str) {
    std::fs::write(scratch.path(name), content).expect("a file written");
}

#[test]
fn help_has_examples() {
    let scratch = Scratch::new();
    for command in ["infer", "check", "show", "push"] {
        let finished = hydrant(&scratch, &["schema", command, "--help"]).expect_code(0);
        assert!(finished.stdout.contains(&format!("hydrant schema {command}")), "{finished}");
    }
}

#[test]
fn records_become_a_schema_that_is_pushed_shown_and_evolves() {
    let scratch = scene("");
    let records = r#"{"ts":"2026-11-21T10:00:00Z","id":1,"user":{"name":"ann","age":30}}
{"ts":"2026-11-21T10:00:01Z","id":"x-17","user":{"name":"bob"},"tags":["a"]}
not JSON
"#;
    write(&scratch, "sample.ndjson", records);
    let inferred = hydrant(&scratch, &["schema", "infer", "sample.ndjson"]).expect_code(0);
    let conflict = "id: conflict: bigint 1 times, such as 1; string 1 times, such as \"x-17\"; proposed as string";
    assert!(inferred.stdout.contains(&format!("  # {conflict}\n  - name: id\n    type: string\n")), "{inferred}");
    assert!(inferred.stderr.contains(conflict) && inferred.stderr.contains("in line 3"), "{inferred}");
    let packed = zstd::encode_all(records.as_bytes(), 1).expect("compressed");
    std::fs::write(scratch.path("sample.ndjson.zst"), packed).expect("written");
    let of_packed = hydrant(&scratch, &["schema", "infer", "sample.ndjson.zst"]).expect_code(0);
    assert_eq!(of_packed.stdout, inferred.stdout, "{of_packed}");
    write(&scratch, "1.yaml", &inferred.stdout);

    let push = |file: &str, more: &[&str]| {
        with_config(&scratch, &[&["schema", "push", "lake/web/access", file], more].concat())
    };
    assert_eq!(push("1.yaml", &[]).expect_code(0).stdout, "lake/web/access@1\n");
    let again = push("1.yaml", &[]).expect_code(0);
    assert!(again.stdout == "lake/web/access@1\n" && again.stderr.contains("already"), "{again}");

    let shown = with_config(&scratch, &["schema", "show", "lake/web/access"]).expect_code(0);
    let expected = "column\ttype\tkind\tcomment\nts\ttimestamp\tnullable\t\nid\tstring\tnullable\t\n\
                    user\tstruct<name:string,age:bigint>\tnullable\t\ntags\tarray<string>\tnullable\t\n";
    assert_eq!(shown.stdout, expected);

    let added = format!("{}  - name: added\n    type: int\n", inferred.stdout);
    write(&scratch, "2.yaml", &added);
    assert_eq!(push("2.yaml", &[]).expect_code(0).stdout, "lake/web/access@2\n");
    let removed = added.replace("type: timestamp", "type: string");
    write(&scratch, "3.yaml", &removed);
    let refused = push("3.yaml", &[]).expect_code(1);
    assert!(refused.stderr.contains("ts: string, was timestamp: another type"), "{refused}");
    assert!(refused.stdout.is_empty() && !scratch.path("registry/web/access/3.yaml").exists(), "{refused}");
    assert_eq!(push("3.yaml", &["--compatibility", "none"]).expect_code(0).stdout, "lake/web/access@3\n");

    let list = with_config(&scratch, &["schema", "show", "lake"]).expect_code(0);
    assert_eq!(list.stdout, "schema\tversions\nlake/web/access\t1 2 3\n");
    let registries = with_config(&scratch, &["schema", "show", "--json"]).expect_code(0);
    let registry: Value = serde_json::from_str(&registries.stdout).expect("JSON");
    assert_eq!((&registry["registry"], &registry["kind"]), (&json!("lake"), &json!("directory")));
}

#[test]
fn two_versions_are_compared_wherever_they_are() {
    let scratch = scene("");
    write(&scratch, "1.yaml", "columns:\n  - { name: a, type: int }\n  - { name: b, type: string }\n");
    write(&scratch, "2.yaml", "columns:\n  - { name: a, type: bigint }\n  - { name: b, type: string }\n");
    with_config(&scratch, &["schema", "push", "lake/web/access", "1.yaml"]).expect_code(0);
    with_config(&scratch, &["schema", "push", "lake/web/access", "2.yaml"]).expect_code(0);
    for (from, to) in [("1.yaml", "2.yaml"), ("lake/web/access@1", "lake/web/access"), ("lake/web/access@1", "2.yaml")]
    {
        let check =
            |more: &[&str]| with_config(&scratch, &[&["schema", "check", "--from", from, "--to", to], more].concat());
        let text = check(&[]).expect_code(0);
        assert_eq!(text.stdout, "path\tbackward\tforward\tchange\na\tyes\tno\twidened to bigint, was int\n");
        assert!(text.stderr.contains("backward compatible, not forward"), "{text}");
        let json: Value =
            serde_json::from_str(&check(&["--json", "--compatibility", "full"]).expect_code(1).stdout).expect("JSON");
        assert_eq!((&json["level"], &json["changes"][0]["path"]), (&json!("backward"), &json!("a")));
    }
    let missing =
        with_config(&scratch, &["schema", "check", "--from", "lake/web/access@9", "--to", "2.yaml"]).expect_code(2);
    assert!(missing.stderr.contains("has no version 9 of `web/access`"), "{missing}");
}

#[test]
fn what_is_wrong_with_a_schema_is_said_with_its_place() {
    let scratch = scene("");
    write(&scratch, "1.yaml", "columns:\n  - { name: a, type: intt }\n  - { nme: b, type: int }\n");
    let finished = with_config(&scratch, &["schema", "push", "lake/web/access", "1.yaml"]).expect_code(2);
    assert!(finished.stderr.contains("1.yaml:2:22: this is no column type"), "{finished}");
    assert!(
        finished.stderr.contains("1.yaml:3:7: unknown key `nme`") && finished.stderr.contains("did you mean `name`?"),
        "{finished}"
    );
    for (arguments, said) in [
        (&["schema", "show", "lak"][..], "there is no registry `lak`"),
        (&["schema", "show", "lake/web/none"], "has no `web/none`"),
        (&["schema", "show", "lake/../none"], "is no name"),
    ] {
        let finished = with_config(&scratch, arguments).expect_code(2);
        assert!(finished.stderr.contains(said), "{finished}");
    }
    write(&scratch, "beyond.ndjson", "{\"a\":1E400}\n{\"a\":\"\\ud800\"}\n{\"a\":2}\n");
    let beyond = hydrant(&scratch, &["schema", "infer", "beyond.ndjson"]).expect_code(0);
    for said in [
        "1 of the samples are no objects; the first is in line 2: no JSON: at byte 7: half of a surrogate pair stands alone",
        "a: conflict: bigint 1 times, such as 2; a number beyond a double 1 times, such as 1E400; proposed as string",
    ] {
        assert!(beyond.stderr.contains(said), "{said}: {beyond}");
    }
    write(&scratch, "empty.ndjson", "[1]\n");
    hydrant(&scratch, &["schema", "infer", "empty.ndjson"]).expect_code(1);
}

#[test]
fn check_resolves_schemas_and_says_what_does_not_fit_them() {
    let conversion = "    format_conversion:
      schema: { registry: lake, database: web, table: access }
      parquet: { bloom_filters: [b], compression: { zstd: { level: 3 } } }";
    let scratch = scene(conversion);
    let check = || with_config(&scratch, &["check"]);
    let missing = check().expect_code(2);
    assert!(missing.stderr.contains("web: registry `lake` has no `web/access`"), "{missing}");
    write(&scratch, "1.yaml", "columns:\n  - { name: a, type: int }\n");
    with_config(&scratch, &["schema", "push", "lake/web/access", "1.yaml"]).expect_code(0);
    let misfit = check().expect_code(2);
    assert!(misfit.stdout.contains("converted to Parquet, schema lake/web/access version 1: 1 columns"), "{misfit}");
    assert!(misfit.stderr.contains("`bloom_filters` names a column `b` that lake/web/access version 1"), "{misfit}");
    assert!(misfit.stdout.contains("buffered up to 128 MB or 300s, zstd level 3"), "{misfit}");
    assert!(!scratch.state().exists(), "nothing is kept by who looks");
}
