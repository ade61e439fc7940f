//! The instruments themselves: an account that overlooks a lost line or a proxy that hurts nobody would prove nothing.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use tokio::runtime::Runtime;

use crate::support::lines::Rotation;
use crate::support::objects::keys;
use crate::support::s3::{BUCKET, client, runtime};
use crate::support::{Fault, FaultProxy, Ledger, Log, Objects, S3Server, Scratch};

/// One log of six lines in two files, and its lines.
fn six_lines(scratch: &Scratch) -> (Ledger, Vec<String>) {
    let mut log = Log::create(&scratch.logs(), "app.log", Rotation::Shift);
    log.append(3);
    log.rotate();
    log.append(3);
    let read = |name: &str| std::fs::read_to_string(scratch.logs().join(name)).expect("the log");
    let text = read("app.log.1") + &read("app.log");
    (Ledger::of(&[log]), text.split_inclusive('\n').map(str::to_owned).collect())
}

fn verdict(ledger: &Ledger, scratch: &Scratch, objects: &[&str]) -> Result<(), String> {
    let folder = scratch.path("verdict");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).expect("a folder made");
    for (n, object) in objects.iter().enumerate() {
        std::fs::write(folder.join(format!("{n}")), object).expect("an object written");
    }
    ledger.verify(&Objects::read(&folder))
}

#[test]
fn the_account_sees_what_is_lost_doubled_cut_foreign_or_out_of_order() {
    let scratch = Scratch::new();
    let (ledger, lines) = six_lines(&scratch);
    let [a, b, c, d, e, f] = &lines[..] else { panic!("six lines") };
    let judge = |objects: &[&str]| verdict(&ledger, &scratch, objects);

    assert_eq!(judge(&[&[a, b, c, d].map(String::as_str).concat(), &[e, f].map(String::as_str).concat()]), Ok(()));
    let two_files_in_turns = [d, a, b, e, f, c].map(String::as_str).concat();
    assert_eq!(judge(&[&two_files_in_turns]), Ok(()), "order counts within a file");

    let expect = |objects: &[&str], problem: &str| {
        let verdict = judge(objects).expect_err(problem);
        assert!(verdict.contains(problem), "{problem}: {verdict}");
    };
    let rest = [b, c, d, e, f].map(String::as_str).concat();
    expect(&[&rest], "1 lines missing between 0 and 0");
    expect(&[a, &rest, b], "are in");
    expect(&[&a[..a.len() - 1], &rest], "does not end with a whole line");
    expect(&[&a[1..], &rest], "was never written");
    expect(&[&a[..20], &rest], "holds what nobody wrote");
    expect(&[a, &rest, "hello\n"], "holds what nobody wrote");
    expect(&[a, &[c, b, d, e, f].map(String::as_str).concat()], "after number");
    expect(&[], "6 lines missing");
}

#[test]
#[should_panic(expected = "has changed or gone")]
fn an_object_that_is_replaced_is_noticed() {
    let scratch = Scratch::new();
    let path = scratch.out().join("object");
    std::fs::write(&path, "one\n").expect("an object written");
    let objects = Objects::read(&scratch.out());
    std::fs::write(&path, "two\n").expect("an object written");
    objects.check_unchanged();
}

/// One PUT without retries: the error's code or the lack of one, and whether S3 has the object.
fn put(runtime: &Runtime, client: &Client, s3: &S3Server, key: &str) -> (Result<(), Option<String>>, bool) {
    let body = ByteStream::from_static(b"data\n");
    let put = client.put_object().bucket(BUCKET).key(key).if_none_match("*").body(body).send();
    let outcome = runtime.block_on(put);
    let outcome = outcome.map(drop).map_err(|error| error.code().map(str::to_owned));
    (outcome, keys(&s3.bucket()).iter().any(|there| there == key))
}

#[test]
fn every_fault_does_what_its_name_says() {
    let scratch = Scratch::new();
    let s3 = S3Server::start(&scratch.path("s3"));
    let proxy = FaultProxy::start(s3.address(), 1, &[]);
    let (runtime, client) = (runtime(), client(&proxy.endpoint()));
    let coded = |code: &str| Err(Some(code.to_owned()));
    let expected = [
        (Fault::Pass, Ok(()), true),
        (Fault::InternalError, coded("InternalError"), false),
        (Fault::SlowDown, coded("SlowDown"), false),
        (Fault::AccessDenied, coded("AccessDenied"), false),
        (Fault::NoSuchBucket, coded("NoSuchBucket"), false),
        (Fault::Hang, Err(None), false),
        (Fault::ResetBeforeBody, Err(None), false),
        (Fault::ResetAfterBody, Err(None), false),
        (Fault::LostAnswer, Err(None), true),
    ];
    for (fault, outcome, there) in expected {
        proxy.play(&[fault]);
        assert_eq!(put(&runtime, &client, &s3, &format!("{fault:?}")), (outcome, there), "{fault:?}");
        assert!(proxy.met(fault) > 0);
    }
    proxy.heal();
    assert_eq!(put(&runtime, &client, &s3, "LostAnswer").0, coded("PreconditionFailed"), "the first object stays");
}
