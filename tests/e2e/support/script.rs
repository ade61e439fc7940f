//! A server that a script in `tests/servers` runs until the end of its standard input.

use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::servers::missing;
use super::wait::wait_until;

/// It ends when this is dropped, or when the process of the tests does, however it does.
pub struct Script {
    child: Child,
    pub port: u16,
}

impl Script {
    /// The script of this name, on loopback; `None` where it has not been installed.
    pub fn start(name: &str, port: u16, log: File) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(name);
        if !is_there(&script) {
            return missing(name, &format!("install Node.js 20 or newer and npm, and run tests/servers/{name}"));
        }
        let mut command = Command::new(script);
        command.args(["run", &port.to_string()]);
        command.stdin(Stdio::piped()).stdout(log.try_clone().expect("the same file")).stderr(log);
        let mut child = command.spawn().expect("the script starts");
        wait_until(&format!("{name} listens"), || {
            let ended = child.try_wait().expect("our own child can be waited for");
            assert!(ended.is_none(), "{name} has ended: {ended:?}");
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(Self { child, port })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn is_there(script: &PathBuf) -> bool {
    let run = Command::new(script).arg("there").output();
    run.is_ok_and(|output| output.status.success())
}
