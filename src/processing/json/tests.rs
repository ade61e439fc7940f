//! Objects before and after; flattening against a naive model.

use proptest::prelude::*;
use serde_json::{Map, Value as Tree};

use super::super::testing::{all, one};
use super::*;

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn json(config: JsonConfig) -> Json {
    Json::new(config).unwrap()
}

fn flat(separator: &str) -> JsonConfig {
    JsonConfig { flatten: Some(Flatten { separator: separator.to_owned() }), ..JsonConfig::default() }
}

const RECORD: &str = concat!(
    r#"{ "id": 12345678901234567890.10, "user": {"name":"a\u00e4","tags":[ {"x": 1} ],"geo":{}},"#,
    r#" "user.name": null, "e": 1E+2 }"#
);

#[test]
fn objects_are_checked_and_keep_their_text() {
    let check = json(JsonConfig::default());
    assert_eq!(
        one(&check, RECORD.as_bytes()).unwrap(),
        r#"{"id":12345678901234567890.10,"user":{"name":"a\u00e4","tags":[{"x":1}],"geo":{}},"user.name":null,"e":1E+2}"#
    );
    assert_eq!(one(&check, b"{\n}\r").unwrap(), "{}");
    let table = [
        ("", "expected `{` at line 1, column 1"),
        ("[1]", "expected `{` at line 1, column 1"),
        ("{\"a\":1}\n{}", "expected the end at line 2, column 1"),
        ("{\"a\":\n 01}", "expected `,` or `}` at line 2, column 3"),
    ];
    for (record, reason) in table {
        let expected = format!("the record is not a JSON object: {reason}");
        assert_eq!(one(&check, record.as_bytes()).unwrap_err(), expected);
        assert_eq!(one(&json(flat(".")), record.as_bytes()).unwrap_err(), expected);
    }
}

#[test]
fn nested_members_are_flattened() {
    let record = br#"{"a":{"b":{"c":1,"d":[{"e":2}]},"f":{}},"g":"h", "\u0061b":{"\"":3}}"#;
    assert_eq!(one(&json(flat(".")), record).unwrap(), r#"{"a.b.c":1,"a.b.d":[{"e":2}],"a.f":{},"g":"h","ab.\"":3}"#);
    assert_eq!(one(&json(flat("__")), br#"{"a":{"b":1.0}}"#).unwrap(), r#"{"a__b":1.0}"#);
    assert_eq!(one(&json(flat(".")), RECORD.as_bytes()).unwrap_err(), "two members would be called \"user.name\"");
}

#[test]
fn members_are_kept_renamed_and_removed() {
    let of = |remove: &[&str], keep_only: &[&str], rename: &[(&str, &str)], record: &str| {
        let rename = rename.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect();
        let config =
            JsonConfig { remove: strings(remove), keep_only: strings(keep_only), rename, ..JsonConfig::default() };
        one(&json(config), record.as_bytes())
    };
    let record = r#"{"a":{"b":{"c":1,"d":2},"e":3},"f":4,"x.y":5}"#;
    assert_eq!(of(&["a.b.c", "f", "none"], &[], &[], record).unwrap(), r#"{"a":{"b":{"d":2},"e":3},"x.y":5}"#);
    assert_eq!(of(&["a.b.c", "a.b.d"], &[], &[], record).unwrap(), r#"{"a":{"b":{},"e":3},"f":4,"x.y":5}"#);
    assert_eq!(of(&[], &["a.b", "x.y"], &[], record).unwrap(), r#"{"a":{"b":{"c":1,"d":2}},"x.y":5}"#);
    assert_eq!(of(&["a.b.d"], &["a.b", "f.g"], &[], record).unwrap(), r#"{"a":{"b":{"c":1}}}"#);
    assert_eq!(of(&[], &["none"], &[], record).unwrap(), "{}");
    assert_eq!(
        of(&[], &[], &[("a.b.c", "C"), ("a", "A"), ("x.y", "z")], record).unwrap(),
        r#"{"A":{"b":{"C":1,"d":2},"e":3},"f":4,"z":5}"#
    );
    assert_eq!(
        of(&[], &[], &[("a", "f"), ("f", "a")], record).unwrap(),
        r#"{"f":{"b":{"c":1,"d":2},"e":3},"a":4,"x.y":5}"#
    );
    assert_eq!(of(&[], &[], &[("a.b.c", "d")], record).unwrap_err(), "two members would be called `a.b.d`");
    assert_eq!(of(&["f"], &[], &[("a", "f")], record).unwrap(), r#"{"f":{"b":{"c":1,"d":2},"e":3},"x.y":5}"#);
}

#[test]
fn all_of_it_works_together() {
    let config = JsonConfig {
        remove: strings(&["user.tags"]),
        keep_only: strings(&["user", "id"]),
        rename: vec![("user.name".into(), "login".into())],
        ..flat("_")
    };
    let expected = r#"{"id":12345678901234567890.10,"user_login":"a\u00e4","user_geo":{}}"#;
    assert_eq!(one(&json(config), RECORD.replace(r#""user.name""#, r#""other""#).as_bytes()).unwrap(), expected);
}

#[test]
fn a_record_that_grows_too_much_when_flattened_fails() {
    let name = "n".repeat(1 << 20);
    let members: Vec<_> = (0..100).map(|number| format!("\"{number}\":1")).collect();
    let record = format!("{{\"{name}\":{{{}}}}}", members.join(","));
    let reason = one(&json(flat(".")), record.as_bytes()).unwrap_err();
    assert_eq!(reason, "the record is more than 64 MB when flattened");
}

#[test]
fn mistakes_are_explained() {
    let table = [
        (JsonConfig { remove: strings(&["a", "a"]), ..JsonConfig::default() }, "remove", "`remove` has `a` twice"),
        (
            JsonConfig { keep_only: strings(&[""]), ..JsonConfig::default() },
            "keep_only",
            "`keep_only` has an empty path",
        ),
        (
            JsonConfig { rename: vec![("".into(), "a".into())], ..JsonConfig::default() },
            "rename",
            "`rename` has an empty path",
        ),
        (flat(""), "flatten", "`separator` must not be empty"),
    ];
    for (config, key, message) in table {
        let error = Json::new(config).err().unwrap();
        assert_eq!((error.key, error.message.as_str()), (key, message));
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<i64>().prop_map(Tree::from),
        ".{0,4}".prop_map(Tree::from),
        Just(serde_json::json!([{"a": 1}])),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop::collection::btree_map(r#"[a-c"\\]{1,2}"#, inner, 0..4)
            .prop_map(|map| Tree::Object(map.into_iter().collect()))
    })
}

fn flatten_model(tree: &Tree, prefix: &str, flat: &mut Map<String, Tree>) {
    for (name, value) in tree.as_object().unwrap() {
        let name = format!("{prefix}{name}");
        match value {
            Tree::Object(members) if !members.is_empty() => flatten_model(value, &format!("{name}/"), flat),
            other => drop(flat.insert(name, other.clone())),
        }
    }
}

proptest! {
    #[test]
    fn flattening_agrees_with_a_model(tree in tree()) {
        prop_assume!(tree.is_object());
        let mut model = Map::new();
        flatten_model(&tree, "", &mut model);
        let text = serde_json::to_string_pretty(&tree).unwrap();
        let flat = one(&json(flat("/")), text.as_bytes()).unwrap();
        prop_assert_eq!(serde_json::from_str::<Tree>(&flat).unwrap(), Tree::Object(model));
    }

    #[test]
    fn removing_nothing_changes_nothing(tree in tree()) {
        let text = serde_json::to_string_pretty(&tree).unwrap();
        let nothing = json(JsonConfig { remove: strings(&["none.a", "a.none"]), ..JsonConfig::default() });
        let compact = all(&json(JsonConfig::default()), text.as_bytes());
        prop_assert_eq!(compact.is_ok(), tree.is_object());
        prop_assert_eq!(&all(&nothing, text.as_bytes()), &compact);
        if let Ok(compact) = compact {
            prop_assert_eq!(compact, [serde_json::to_string(&tree).unwrap()]);
        }
    }
}
