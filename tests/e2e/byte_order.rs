//! Files in UTF-16 whose byte order mark is gone: they, their copies and their twins keep the order that it has decided on.

use std::fs;
use std::io::Write;

use crate::support::packing::gzip;
use crate::support::{Hydrant, Scene, wait_until};

const MARK: &str = "\u{feff}";
const COPY: &str = "a file is a copy of another one";

fn big_endian(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn append(scene: &Scene, name: &str, text: &str) {
    let writer = fs::OpenOptions::new().append(true).create(true).open(scene.path(name));
    writer.expect("a writer").write_all(&big_endian(text)).expect("lines");
}

/// A scene whose `app.log` has a mark and the lines `1` and `2`.
fn marked() -> Scene {
    let mut scene = Scene::new();
    scene.config["delivery_streams"][0]["source"]["file"]["encoding"] = "utf-16".into();
    append(&scene, "app.log", &format!("{MARK}1\n2\n"));
    scene
}

/// A scene whose `app.log` was truncated and has the lines `3` and `4` now, without a mark; all is delivered.
fn without_mark() -> (Scene, Hydrant) {
    let scene = marked();
    let hydrant = scene.run_impatient();
    scene.arrive(&["1", "2"]);
    truncate(&scene, &hydrant);
    append(&scene, "app.log", "3\n4\n");
    scene.arrive(&["1", "2", "3", "4"]);
    (scene, hydrant)
}

fn truncate(scene: &Scene, hydrant: &Hydrant) {
    scene.truncate("app.log");
    wait_until("the truncation is seen", || hydrant.said("a file was truncated") == 1);
}

#[test]
fn a_copy_without_a_mark_gets_lines_of_its_own() {
    let (scene, hydrant) = without_mark();
    scene.copy("app.log", "app.log.1");
    wait_until("the copy is seen", || hydrant.said(COPY) == 1);
    append(&scene, "app.log.1", "5\n6\n");
    scene.arrive(&["1", "2", "3", "4", "5", "6"]);
    hydrant.kill_9();
    append(&scene, "app.log.1", "7\n");
    scene.drains_to(&["1", "2", "3", "4", "5", "6", "7"]);
}

#[test]
fn a_copy_without_a_mark_made_while_down_gets_lines_of_its_own() {
    let (scene, hydrant) = without_mark();
    hydrant.kill_9();
    scene.copy("app.log", "app.log.1");
    append(&scene, "app.log.1", "5\n6\n");
    scene.drains_to(&["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn what_truncation_would_have_lost_without_a_mark_is_read_from_the_copy() {
    let (scene, hydrant) = without_mark();
    hydrant.kill_9();
    append(&scene, "app.log", "5\n");
    scene.copy("app.log", "app.log.1");
    scene.truncate("app.log");
    append(&scene, "app.log", "6\n");
    scene.drains_to(&["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn what_truncation_would_have_lost_without_a_mark_is_read_from_the_twin() {
    let (scene, hydrant) = without_mark();
    hydrant.kill_9();
    append(&scene, "app.log", "5\n");
    scene.copy("app.log", "app.log.1");
    scene.compress("app.log.1", "app.log.1.gz", gzip);
    scene.truncate("app.log");
    append(&scene, "app.log", "6\n");
    scene.drains_to(&["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn a_copy_without_a_mark_outlives_its_original() {
    let (scene, hydrant) = without_mark();
    scene.copy("app.log", "app.log.1");
    wait_until("the copy is seen", || hydrant.said(COPY) == 1);
    append(&scene, "app.log", "5\n");
    scene.arrive(&["1", "2", "3", "4", "5"]);
    hydrant.kill_9();
    scene.truncate("app.log");
    append(&scene, "app.log", "6\n");
    scene.drains_to(&["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn with_latest_the_order_is_that_of_a_mark_that_nobody_read() {
    for is_down in [false, true] {
        let mut scene = marked();
        scene.config["delivery_streams"][0]["source"]["file"]["initial_position"] = "latest".into();
        let hydrant = scene.run();
        wait_until("the file is open", || hydrant.said("a file is read that was not seen before") == 1);
        if is_down {
            hydrant.kill_9();
            scene.truncate("app.log");
            append(&scene, "app.log", "3\n");
        } else {
            truncate(&scene, &hydrant);
            append(&scene, "app.log", "3\n");
            scene.arrive(&["3"]);
            hydrant.kill_9();
        }
        scene.drains_to(&["3"]);
    }
}

#[cfg(debug_assertions)]
#[test]
fn the_order_is_kept_after_a_sigkill_before_anything_is_settled() {
    let scene = marked();
    let finished = Hydrant::run_with_env(&scene.scratch, &scene.config, &[("HYDRANT_FAILPOINT", "sealed:1")]).wait();
    assert!(finished.killed(), "{finished}");
    scene.copy("app.log", "app.log.1");
    scene.truncate("app.log");
    append(&scene, "app.log", "3\n4\n");
    scene.drains_to(&["1", "2", "3", "4"]);
}
