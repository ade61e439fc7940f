//! Servers that are programs of their own: moto, a Glue of ours, and Apicurio, on loopback, started and ended by the test.
//!
//! Where one is not installed, a developer is told what is skipped and how to get it; with `HYDRANT_REQUIRE_SERVERS=1`, as
//! in CI, the test fails.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::scratch::Scratch;
use super::wait::wait_until;

const APICURIO: &str = "apicurio-2.6.13.Final/apicurio-registry-app-2.6.13.Final-runner.jar";

/// A running server; it ends with this value.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Server {
    /// What Glue says of a registry's content, which moto does not: `tests/servers/glue.py`.
    pub fn glue(scratch: &Scratch) -> Option<Self> {
        let python = python_with("botocore.validate")?;
        let port = free_port();
        let mut command = Command::new(python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/glue.py")).arg(port.to_string());
        Some(Self::start(scratch, "glue", command, port))
    }

    /// Glue, and STS.
    pub fn moto(scratch: &Scratch) -> Option<Self> {
        let python = python_with("moto.server")?;
        let port = free_port();
        let mut command = Command::new(python);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
        Some(Self::start(scratch, "moto", command, port))
    }

    /// Confluent's interface.
    pub fn apicurio(scratch: &Scratch) -> Option<Self> {
        let jar = cache().join(APICURIO);
        let java = Command::new("java").arg("-version").output();
        if !jar.is_file() || java.is_err() {
            return missing("Apicurio", "install Java and Maven, and run tests/servers/apicurio");
        }
        let port = free_port();
        let mut command = Command::new("java");
        command.args(["-Xmx512m", "-Dquarkus.http.host=127.0.0.1", &format!("-Dquarkus.http.port={port}"), "-jar"]);
        command.arg(jar);
        Some(Self::start(scratch, "apicurio", command, port))
    }

    /// Any program that listens on `port` when it is ready.
    pub fn start(scratch: &Scratch, name: &str, mut command: Command, port: u16) -> Self {
        let log = File::create(scratch.path(&format!("{name}.log"))).expect("a file for its log");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the same file"))
            .stderr(log)
            .current_dir(scratch.root())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let mut server = Self { child, port };
        wait_until(&format!("{name} listens"), || {
            let ended = server.child.try_wait().expect("our own child can be waited for");
            assert!(ended.is_none(), "{name} has ended, see {name}.log: {ended:?}");
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What is answered to a POST, which has to be a success.
    #[track_caller]
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).expect("the server is there");
        let mut request = format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        connection.write_all(request.as_bytes()).expect("a request sent");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nobody else's, for as long as it takes to start a server there.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its number").port()
}

/// The interpreter that has the packages of `tests/servers/python-venv`.
pub fn python() -> PathBuf {
    std::env::var_os("HYDRANT_TEST_PYTHON").map_or_else(|| cache().join("venv/bin/python"), PathBuf::from)
}

pub fn python_with(module: &str) -> Option<PathBuf> {
    let python = python();
    let found = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    missing(module, "run tests/servers/python-venv, or set HYDRANT_TEST_PYTHON")
}

fn cache() -> PathBuf {
    match (std::env::var_os("HYDRANT_TEST_CACHE"), std::env::home_dir()) {
        (Some(cache), _) => cache.into(),
        (None, home) => home.unwrap_or_default().join(Path::new(".cache/hydrant-tests")),
    }
}

/// Fails the test where servers are required, else says what is skipped.
pub fn missing<T>(server: &str, how: &str) -> Option<T> {
    let required = std::env::var("HYDRANT_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
    assert!(!required, "{server} is not there, and HYDRANT_REQUIRE_SERVERS=1: {how}");
    // Not `eprintln!`: the test harness would keep it to itself when the test passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {server} is not there: {how}");
    None
}

/// An authority, and a certificate for 127.0.0.1 by it.
pub fn certificates(folder: &Path, authority: &str, leaf: &str) {
    let config = "[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=hydrant\n[ca]\nbasicConstraints=critical,CA:TRUE\n\
                  [leaf]\nbasicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1\n";
    std::fs::write(folder.join("openssl.cnf"), config).expect("written");
    let make = |name: &str, section: &str, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-config", "openssl.cnf", "-extensions", section, "-days", "1", "-nodes"]);
        command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        command.args([
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &format!("{name}.key"),
            "-out",
            &format!("{name}.pem"),
        ]);
        let output = command.args(more).current_dir(folder).output().expect("openssl is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    make(authority, "ca", &[]);
    make(leaf, "leaf", &["-CA", &format!("{authority}.pem"), "-CAkey", &format!("{authority}.key")]);
}
