//! A proxy between Hydrant and S3 that does to requests what networks and overloaded servers do.
//!
//! Which request meets which fault is dealt from a seed, each round of faults shuffled, so that every one occurs however few the
//! requests are.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::http1::{Head, read_body, read_head, reset, until_closed};
use super::rng::Rng;
use super::s3::runtime;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// None: the request reaches S3 and the answer comes back.
    Pass,
    InternalError,
    SlowDown,
    /// The request is taken whole and never answered; S3 does not see it.
    Hang,
    ResetBeforeBody,
    ResetAfterBody,
    /// S3 does what was asked, and nobody hears of it.
    LostAnswer,
    AccessDenied,
    NoSuchBucket,
}

impl Fault {
    /// Those that pass by themselves; a person has to act on the others.
    pub const FLEETING: [Fault; 6] = [
        Fault::InternalError,
        Fault::SlowDown,
        Fault::Hang,
        Fault::ResetBeforeBody,
        Fault::ResetAfterBody,
        Fault::LostAnswer,
    ];
}

pub struct FaultProxy {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    runtime: Option<Runtime>,
}

struct Script {
    rng: Rng,
    faults: Vec<Fault>,
    round: Vec<Fault>,
    /// What every question whether an object exists meets.
    looks: Option<Fault>,
    met: BTreeMap<Fault, u64>,
}

impl Script {
    fn next(&mut self, head: &Head) -> Fault {
        if let Some(fault) = self.looks.filter(|_| head.bytes.starts_with(b"HEAD ")) {
            *self.met.entry(fault).or_default() += 1;
            return fault;
        }
        if self.round.is_empty() {
            self.round = self.faults.clone();
            self.rng.shuffle(&mut self.round);
        }
        let fault = self.round.pop().unwrap_or(Fault::Pass);
        *self.met.entry(fault).or_default() += 1;
        fault
    }
}

impl FaultProxy {
    pub fn start(upstream: SocketAddr, seed: u64, faults: &[Fault]) -> Self {
        let runtime = runtime();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port on loopback");
        let address = listener.local_addr().expect("its address");
        let (faults, round, met) = (faults.to_vec(), Vec::new(), BTreeMap::new());
        let script = Script { rng: Rng::new(seed), faults, round, looks: None, met };
        let script = Arc::new(Mutex::new(script));
        runtime.spawn(serve(listener, upstream, script.clone()));
        Self { address, script, runtime: Some(runtime) }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on these, in shuffled rounds.
    pub fn play(&self, faults: &[Fault]) {
        let mut script = self.script.lock().expect("no holder panics");
        script.faults = faults.to_vec();
        script.round.clear();
    }

    /// From now on nobody may ask whether an object exists, as with credentials that may only put.
    pub fn refuse_looks(&self) {
        self.script.lock().expect("no holder panics").looks = Some(Fault::AccessDenied);
    }

    /// From now on every request passes.
    pub fn heal(&self) {
        self.play(&[]);
    }

    /// How many requests have met this fault.
    pub fn met(&self, fault: Fault) -> u64 {
        self.script.lock().expect("no holder panics").met.get(&fault).copied().unwrap_or(0)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("faults met: {:?}", self.script.lock().map(|script| script.met.clone()));
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(listener: TcpListener, upstream: SocketAddr, script: Arc<Mutex<Script>>) {
    loop {
        let (client, _) = listener.accept().await.expect("a listener on loopback accepts");
        let script = script.clone();
        tokio::spawn(async move {
            // Broken connections are this proxy's trade.
            let _ = relay(client, upstream, &script).await;
        });
    }
}

/// Requests of one connection, until either side ends it.
async fn relay(mut client: TcpStream, upstream: SocketAddr, script: &Mutex<Script>) -> io::Result<()> {
    let mut ahead = Vec::new();
    loop {
        let Some(head) = read_head(&mut client, &mut ahead).await? else { return Ok(()) };
        let fault = script.lock().expect("no holder panics").next(&head);
        if fault == Fault::ResetBeforeBody {
            return reset(client);
        }
        if head.expects_continue() {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let body = read_body(&mut client, &mut ahead, &head).await?;
        match fault {
            Fault::ResetBeforeBody => return reset(client),
            Fault::ResetAfterBody => return reset(client),
            Fault::Hang => return until_closed(&mut client).await,
            Fault::InternalError => client.write_all(&error(&head, 500, "InternalError")).await?,
            Fault::SlowDown => client.write_all(&error(&head, 503, "SlowDown")).await?,
            Fault::AccessDenied => client.write_all(&error(&head, 403, "AccessDenied")).await?,
            Fault::NoSuchBucket => client.write_all(&error(&head, 404, "NoSuchBucket")).await?,
            Fault::LostAnswer => {
                ask(upstream, &head, &body).await?;
                return reset(client);
            }
            Fault::Pass => {
                let answer = ask(upstream, &head, &body).await?;
                client.write_all(&answer).await?;
            }
        }
    }
}

/// One request on a connection of its own, and the whole answer.
async fn ask(upstream: SocketAddr, head: &Head, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(&head.bytes).await?;
    server.write_all(body).await?;
    let mut ahead = Vec::new();
    loop {
        let answer = read_head(&mut server, &mut ahead).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if answer.status() == Some(100) {
            continue;
        }
        let mut bytes = answer.bytes.clone();
        if !head.bytes.starts_with(b"HEAD ") && !matches!(answer.status(), Some(204 | 304)) {
            bytes.extend(read_body(&mut server, &mut ahead, &answer).await?);
        }
        return Ok(bytes);
    }
}

fn error(head: &Head, status: u16, code: &str) -> Vec<u8> {
    let xml = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>by the fault proxy</Message></Error>");
    let start = format!(
        "HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nx-amz-request-id: FAULT\r\nContent-Length: {}\r\n\r\n",
        xml.len()
    );
    match head.bytes.starts_with(b"HEAD ") {
        true => start.into_bytes(),
        false => (start + &xml).into_bytes(),
    }
}
