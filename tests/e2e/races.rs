//! Files that change between two of Hydrant's steps: each order of the two comes out right.

use std::fs;

use crate::support::Scene;
use crate::support::packing::gzip;

#[test]
fn a_copy_made_since_the_walk_began_is_not_read_beside_a_shorter_one() {
    for point in ["walked:2", "found:2"] {
        let scene = Scene::with_two_lines();
        let hydrant = scene.run_to(point);
        scene.arrive(&["1", "2"]);
        scene.copy("app.log", "app.log-copy");
        hydrant.wait_until_halted();
        scene.append("app.log", "3\n");
        scene.copy("app.log", "app.log.1");
        scene.truncate("app.log");
        scene.compress("app.log.1", "app.log.1.gz", gzip);
        hydrant.go_on();
        scene.arrive(&["1", "2", "3"]);
        assert_eq!(hydrant.said("lost_bytes"), 0);
        scene.ends_with(hydrant, &["1", "2", "3"]);
    }
}

#[test]
fn a_copy_that_is_compressed_between_the_listing_and_its_opening_is_not_read_beside_a_shorter_one() {
    let scene = Scene::with_two_lines();
    let hydrant = scene.run_to("walked:2");
    scene.arrive(&["1", "2"]);
    hydrant.halt();
    scene.copy("app.log", "app.log-copy");
    scene.append("app.log", "3\n");
    scene.copy("app.log", "app.log.1");
    scene.truncate("app.log");
    hydrant.go_on();
    hydrant.wait_until_halted();
    scene.compress("app.log.1", "app.log.1.gz", gzip);
    hydrant.go_on();
    scene.arrive(&["1", "2", "3"]);
    assert_eq!(hydrant.said("lost_bytes"), 0);
    scene.ends_with(hydrant, &["1", "2", "3"]);
}

#[test]
fn a_twin_whose_original_is_truncated_while_they_are_compared_is_not_read_again() {
    let scene = Scene::with_two_lines();
    let hydrant = scene.run_to("examining:1");
    scene.arrive(&["1", "2"]);
    let packed = gzip(&fs::read(scene.path("app.log")).expect("a log"));
    scene.scratch.log("app.log.1.gz", packed);
    hydrant.wait_until_halted();
    scene.truncate("app.log");
    scene.append("app.log", "3\n");
    hydrant.go_on();
    scene.arrive(&["1", "2", "3"]);
    scene.ends_with(hydrant, &["1", "2", "3"]);
}

#[test]
fn a_file_that_is_renamed_again_while_it_is_searched_for_is_found() {
    let mut scene = Scene::with_two_lines();
    scene.config["delivery_streams"][0]["source"]["file"]["paths"] =
        [scene.path("app.log").to_str().expect("a text")].into();
    scene.drain();
    scene.rename("app.log", "old.log");
    scene.append("old.log", "3\n");
    let hydrant = scene.run_to("searching:1");
    hydrant.wait_until_halted();
    scene.rename("old.log", "older.log");
    hydrant.go_on();
    scene.arrive(&["1", "2", "3"]);
    scene.ends_with(hydrant, &["1", "2", "3"]);
}
