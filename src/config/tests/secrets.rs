//! Nothing that is shown holds a secret.

use super::*;

/// Whatever the operator may see of the mistakes in `text`.
fn shown(text: &str) -> String {
    let errors = errors(text);
    format!("{errors}\n{errors:?}\n{}\n{}", errors.render(100, false), errors.render(100, true))
}

#[test]
fn no_mistake_shows_a_secret() {
    let role = |rest: &str| format!("aws:\n  assume_role: {{ role_arn: 'arn:aws:iam::1:role/r', {rest} }}\n{STREAM}");
    let cases = [
        // Beside a mistake on its line, of another kind, and as a mistake itself.
        role("external_id: hunter2, x: 1"),
        role("external_id: [hunter2]"),
        role("external_id: 'hunter2 hunter2'"),
        role("external_id: &secret hunter2, x: *secret"),
        role("external_id: hunter2, external_id: hunter2"),
        // Fallen into the place of a key, or under an unknown one.
        role("external_id:hunter2"),
        role("external-id: hunter2"),
        role("? external_id hunter2"),
        format!("aws: {{ secret_access_key: hunter2 }}\n{STREAM}"),
        format!("aws:\n  Session_Token:\n    - hunter2\n    - x: hunter2\n  regoin: x\n{STREAM}"),
        format!("aws:\n  password: |\n    hunter2\n    hunter2\n  regoin: x\n{STREAM}"),
        // Not YAML at all.
        format!("{STREAM}aws:\n  assume_role:\n    external_id: hunter2: x\n"),
        format!("{STREAM}aws:\n  assume_role:\n    external_id: \"hunter2\n"),
        format!("{STREAM}aws: {{ assume_role: {{ external_id: hunter2 \n}}\n"),
        format!("{STREAM}aws:\n  assume_role:\n    external_id: !x hunter2\n"),
        // In a URL.
        format!("aws: {{ endpoint_url: 'http://user:hunter2@store' }}\n{STREAM}"),
        format!("aws: {{ regoin: x, endpoint_url: 'http://user:hunter2@store' }}\n{STREAM}"),
    ];
    for text in cases {
        let shown = shown(&text);
        assert!(!shown.contains(HIDDEN), "{text}\n{shown}");
    }
}

#[test]
fn no_mistake_shows_what_a_variable_holds() {
    let stream = |rest: &str| STREAM.to_owned() + rest;
    let cases = [
        format!("memory_limit_mb: ${{HIDDEN}}\n{STREAM}"),
        format!("state_dir: /a\nshutdown_timeout_seconds: \"a-${{HIDDEN}}\"\n{STREAM}"),
        format!(
            "aws:\n  region: ${{HIDDEN}} x\n  endpoint_url: ${{HIDDEN}}\n  force_path_style: ${{HIDDEN}}\n{STREAM}"
        ),
        format!("aws:\n  assume_role:\n    role_arn: ${{HIDDEN}}\n    external_id: ${{HIDDEN}} x\n{STREAM}"),
        format!("include: /nowhere/${{HIDDEN}}\n{STREAM}"),
        stream("    compression: ${HIDDEN}\n"),
        stream("    output_delimiter: ${HIDDEN}${HIDDEN}${HIDDEN}\n"),
        stream(
            "    backup:\n      mode: ${HIDDEN}\n      error_output_prefix: ${EXPRESSION}\n      directory: { path: /b }\n",
        ),
        STREAM.replace("/nowhere/*.log", "\"/nowhere/{${HIDDEN}\""),
        STREAM.replace("web", "\"${HIDDEN} x\""),
        STREAM.replace("path: /nowhere-else", "path: /b, time_zone: \"${HIDDEN}\", file_extension: \"${HIDDEN}\""),
    ];
    for text in cases {
        let shown = shown(&text);
        assert!(!shown.contains(HIDDEN), "{text}\n{shown}");
        assert!(shown.contains("${HIDDEN}") || shown.contains("${EXPRESSION}") || shown.contains("secret"), "{shown}");
    }
}

#[test]
fn no_mistake_shows_what_a_file_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("value");
    std::fs::write(&path, "hunter2 x\n").unwrap();
    let shown = shown(&format!("aws:\n  region: ${{file:{}}}\n{STREAM}", path.display()));
    assert!(!shown.contains(HIDDEN) && shown.contains("the value of `${file:"), "{shown}");
}

#[test]
fn the_configuration_itself_does_not_show_its_secrets() {
    let s3 = "s3: { bucket: lake, assume_role: { role_arn: 'arn:aws:iam::1:role/r', external_id: \"${HIDDEN}\" } }";
    let config = config(&STREAM.replace("directory: { path: /nowhere-else }", s3));
    assert!(!format!("{config:?}").contains(HIDDEN));
    let ObjectStoreConfig::S3(s3, _) = objects(&config.delivery_streams[0].destination) else { panic!("{config:?}") };
    assert_eq!(s3.assume_role.as_ref().unwrap().external_id, Some(Secret(HIDDEN.to_owned())));
}

#[test]
fn a_snippet_shows_the_line_at_fault() {
    let rendered = errors(&format!("memory_limit: 64\n{STREAM}")).render(100, false);
    assert!(rendered.contains("[hydrant.yaml:1:1]") && rendered.contains("memory_limit: 64"), "{rendered}");
    let rendered = errors(&format!("aws: {{ secret: x }}\n{STREAM}")).render(100, false);
    assert!(rendered.contains("hydrant.yaml:1:8: unknown key `secret`") && !rendered.contains("aws: {"), "{rendered}");
}
