//! The file source: which files are read, and from where.

use crate::support::scratch::append;
use crate::support::{Hydrant, Scratch, config, delivered_lines, directory, objects::keys, stream, wait_until};

#[test]
fn several_globs_and_deep_ones_are_read_but_not_what_is_excluded() {
    let scratch = Scratch::new();
    for name in ["a.log", "b.txt", "deep/er/c.log", "deep/d.log", "deep/e.tmp.log", "skip/f.log", "g.other"] {
        scratch.log(name, format!("in {name}\n"));
    }
    let logs = scratch.logs();
    let mut stream = stream("s", &logs.join("**/*.log"), directory(&scratch.out()));
    stream["source"]["file"]["paths"] = serde_json::json!([logs.join("**/*.log"), logs.join("[ab].txt")]);
    stream["source"]["file"]["exclude"] = serde_json::json!(["*.tmp.log", logs.join("skip/*")]);
    Hydrant::drain(&scratch, &config(&scratch, [stream]));
    let expected = ["in a.log", "in b.txt", "in deep/d.log", "in deep/er/c.log"];
    assert_eq!(delivered_lines(&scratch.out()), expected);
}

#[test]
fn a_last_line_without_its_delimiter_waits_and_a_drain_delivers_it() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "whole\nhalf");
    let other = scratch.log("b.log", "");
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);

    let hydrant = Hydrant::run(&scratch, &config);
    wait_until("the whole line is there", || delivered_lines(&scratch.out()) == ["whole"]);
    append(&other, "later\n");
    wait_until("a later line is there", || delivered_lines(&scratch.out()) == ["later", "whole"]);
    hydrant.terminate().expect_code(0);
    assert_eq!(delivered_lines(&scratch.out()), ["later", "whole"], "the half line still waits");

    Hydrant::drain(&scratch, &config);
    assert_eq!(delivered_lines(&scratch.out()), ["half", "later", "whole"]);

    append(&log, "its rest\n");
    Hydrant::drain(&scratch, &config);
    assert_eq!(delivered_lines(&scratch.out()), ["half", "its rest", "later", "whole"]);
}

#[test]
fn a_half_line_that_is_completed_is_one_record() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "whole\nha");
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    let _hydrant = Hydrant::run(&scratch, &config);
    wait_until("the whole line is there", || delivered_lines(&scratch.out()) == ["whole"]);
    append(&log, "lf\n");
    wait_until("the other one too", || delivered_lines(&scratch.out()) == ["half", "whole"]);
}

#[test]
fn latest_begins_after_the_last_complete_record_and_later_files_at_their_start() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "old\nha");
    let mut stream = stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()));
    stream["source"]["file"]["initial_position"] = "latest".into();
    let config = config(&scratch, [stream]);
    let hydrant = Hydrant::run(&scratch, &config);

    // Files made before the first scan count as old. So make them until one is read: it came later.
    let mut made = 0;
    wait_until("a file that came later is read", || {
        if made < 200 {
            scratch.log(&format!("later-{made}.log"), format!("later {made}\n"));
            made += 1;
        }
        !keys(&scratch.out()).is_empty()
    });
    append(&log, "lf\nnew\n");
    wait_until("the old file's new lines are there", || delivered_lines(&scratch.out()).contains(&"new".to_owned()));
    hydrant.terminate().expect_code(0);

    // What comes while it is down came later, too.
    append(&log, "down\n");
    scratch.log("down.log", "made while down\n");
    Hydrant::drain(&scratch, &config);
    let delivered = delivered_lines(&scratch.out());
    let old_file: Vec<&String> = delivered.iter().filter(|line| !line.starts_with("later ")).collect();
    assert_eq!(old_file, ["down", "half", "made while down", "new"]);
    assert!(delivered.contains(&format!("later {}", made - 1)), "{delivered:?}");
}

#[test]
fn an_empty_file_that_grows_and_empty_lines_are_read() {
    let scratch = Scratch::new();
    let log = scratch.log("a.log", "");
    let config = config(&scratch, [stream("s", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    Hydrant::drain(&scratch, &config);
    assert_eq!(keys(&scratch.out()), Vec::<String>::new());
    append(&log, "\none\n\n");
    Hydrant::drain(&scratch, &config);
    assert_eq!(delivered_lines(&scratch.out()), ["", "", "one"]);
}

#[test]
fn a_folder_that_appears_later_is_found() {
    let scratch = Scratch::new();
    let config = config(&scratch, [stream("s", &scratch.logs().join("**/*.log"), directory(&scratch.out()))]);
    scratch.log("first.log", "first\n");
    let _hydrant = Hydrant::run(&scratch, &config);
    wait_until("it runs", || delivered_lines(&scratch.out()) == ["first"]);
    scratch.log("new/folder/second.log", "second\n");
    wait_until("the new folder is read", || delivered_lines(&scratch.out()) == ["first", "second"]);
}
