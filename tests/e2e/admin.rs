//! The admin address: what it answers, to whom, and that nothing it is asked does any harm.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::admin::{free_address, get, post, send, wait_for};
use crate::support::{Hydrant, Scratch, config, delivered_lines, directory, stream, wait_until, write_config};

fn configuration(scratch: &Scratch, listen: Option<SocketAddr>) -> Value {
    let mut config = config(scratch, [stream("web", &scratch.logs().join("*.log"), directory(&scratch.out()))]);
    if let Some(listen) = listen {
        config["admin"] = json!({ "listen": listen });
    }
    config
}

#[test]
fn it_says_how_the_daemon_is() {
    let scratch = Scratch::new();
    scratch.log("a.log", "1\n2\n3\n");
    let address = free_address();
    let hydrant = Hydrant::run(&scratch, &configuration(&scratch, Some(address)));
    let health = wait_for(address);
    let state_dir = scratch.state().canonicalize().expect("the daemon has made it");
    assert_eq!(health["state_dir"], json!(state_dir));
    wait_until("it says that all is delivered", || {
        let streams = &get(address, "/health").expect("an answer").json()["delivery_streams"];
        let web = streams.as_array().expect("a list").iter().find(|stream| stream["name"] == "web");
        web.is_some_and(|web| web["records_delivered"] == 3 && web["records_read"] == 3 && web["problem"].is_null())
    });
    let answer = get(address, "/redrive").expect("an answer");
    assert_eq!((answer.status, answer.json()), (200, json!({ "redrives": [] })));
    assert!(answer.head.contains("cache-control: no-store") && answer.head.contains("connection: close"), "{answer:?}");
    assert!(!answer.head.contains("access-control"), "{answer:?}");
    hydrant.terminate().expect_code(0);
    assert!(get(address, "/health").is_none(), "the address is free again");
}

#[test]
fn nobody_listens_unless_it_is_configured() {
    let scratch = Scratch::new();
    let hydrant = Hydrant::run(&scratch, &configuration(&scratch, None));
    wait_until("the daemon runs", || hydrant.said("state database") > 0);
    assert_eq!(hydrant.said("admin address"), 0);
    hydrant.terminate().expect_code(0);
}

#[test]
fn requests_that_web_pages_can_send_are_refused() {
    let scratch = Scratch::new();
    let address = free_address();
    let hydrant = Hydrant::run(&scratch, &configuration(&scratch, Some(address)));
    wait_for(address);
    let own = format!("Host: {address}\r\n");
    let json = "Content-Type: application/json\r\n";
    let asked = |method: &str, headers: &str| {
        let request =
            format!("{method} /redrive HTTP/1.1\r\n{headers}Content-Length: 17\r\n\r\n{{\"stream\":\"none\"}}");
        send(address, request.as_bytes()).expect("an answer").status
    };
    assert_eq!(asked("POST", &format!("{own}{json}")), 404, "as the command asks: there is no such stream");
    for (headers, status) in [
        (format!("Host: evil.example:{}\r\n{json}", address.port()), 403),
        (format!("{own}{json}Origin: https://evil.example\r\n"), 403),
        (format!("{own}{json}Origin: null\r\n"), 403),
        (format!("{own}{json}Sec-Fetch-Site: cross-site\r\n"), 403),
        (format!("{own}Content-Type: text/plain\r\n"), 415),
        (own.clone(), 415),
        (json.to_owned(), 400),
    ] {
        assert_eq!(asked("POST", &headers), status, "{headers}");
    }
    assert_eq!(asked("GET", &format!("{own}Origin: https://evil.example\r\n")), 403);
    assert_eq!(asked("GET", "Host: evil.example\r\n"), 403);
    assert_eq!(asked("OPTIONS", &format!("{own}Origin: https://evil.example\r\n")), 403);
    hydrant.terminate().expect_code(0);
}

#[test]
fn what_is_no_request_is_refused_and_keeps_nobody_waiting() {
    let scratch = Scratch::new();
    let address = free_address();
    let hydrant = Hydrant::run(&scratch, &configuration(&scratch, Some(address)));
    wait_for(address);
    // As many as are served at a time, which never come to the point.
    let silent: Vec<_> = (0..32)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: ").expect("a part of a request");
            stream
        })
        .collect();
    assert_eq!(get(address, "/health").expect("an answer all the same").status, 200);
    drop(silent);

    for (path, status) in [("/", 404), ("/redrive/", 404), ("/health?a=b", 200), ("/../health", 404)] {
        assert_eq!(get(address, path).expect("an answer").status, status, "{path}");
    }
    let answer = post(address, "/health", "{}").expect("an answer");
    assert!(answer.status == 405 && answer.head.contains("allow: get, head"), "{answer:?}");
    for body in
        ["", "{", "[]", "{}", "\u{0}", r#"{"stream":7}"#, r#"{"stream":"web","rate":0}"#, r#"{"stream":"web","all":1}"#]
    {
        let answer = post(address, "/redrive", body).expect("an answer");
        assert!(answer.status == 400 && answer.json()["error"].is_string(), "{body}: {answer:?}");
    }
    let long = format!(r#"{{"stream":"{}"}}"#, "x".repeat(1 << 20));
    assert!(post(address, "/redrive", &long).is_none_or(|answer| answer.status == 413));
    let header = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    assert!(send(address, header.as_bytes()).is_none_or(|answer| (400..500).contains(&answer.status)));
    assert!(
        send(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS?\r\n\r\n").is_none_or(|a| a.status == 400)
    );
    assert_eq!(get(address, "/health").expect("an answer").status, 200);
    hydrant.terminate().expect_code(0);
}

#[test]
fn a_reload_moves_it() {
    let scratch = Scratch::new();
    let (first, second) = (free_address(), free_address());
    let hydrant = Hydrant::run(&scratch, &configuration(&scratch, Some(first)));
    wait_for(first);
    write_config(&scratch, &configuration(&scratch, Some(second)));
    hydrant.signal(Signal::HUP);
    wait_for(second);
    assert!(get(first, "/health").is_none());
    write_config(&scratch, &configuration(&scratch, None));
    hydrant.signal(Signal::HUP);
    wait_until("nobody listens any more", || get(second, "/health").is_none());
    hydrant.terminate().expect_code(0);
}

#[test]
fn records_flow_while_its_address_is_taken() {
    let scratch = Scratch::new();
    scratch.log("a.log", "1\n2\n");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let address = taken.local_addr().expect("its address");
    let hydrant = Hydrant::run(&scratch, &configuration(&scratch, Some(address)));
    wait_until("it says so", || hydrant.said("the admin address cannot be had") == 1);
    wait_until("records flow", || delivered_lines(&scratch.out()).len() == 2);
    drop(taken);
    wait_for(address);
    assert_eq!(hydrant.said("the admin address cannot be had"), 1);
    hydrant.terminate().expect_code(0);
}
