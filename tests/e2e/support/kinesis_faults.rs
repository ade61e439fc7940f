//! A proxy before Kinesis and DynamoDB that lets calls fail as a test wants it, and counts them.
//!
//! Which operation a call is for stands in `X-Amz-Target`. Whose shard a page of records is read from stands nowhere but in the answer
//! that the iterator has come from, so answers are read too. SubscribeToShard is made here, of the server's GetRecords: what the server
//! has for it does not end with the shard.

mod event_stream;
mod relay;
mod subscription;
mod tls;

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use self::subscription::TAKE_OVER;
pub use self::tls::TlsRelay;
use super::s3::runtime;

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFault {
    /// Nothing: the server gets it, and the answer comes back.
    Pass,
    /// The server does not see it; this status with this error code is the answer.
    Refused(u16, &'static str),
    /// The server does not see it; this status with this body is the answer.
    Answer(u16, String),
    /// The server does not see it; the answer to SubscribeToShard is a stream with nothing but this exception.
    Exception(&'static str),
    /// The connection is cut before the server has seen the call.
    CutBefore,
    /// The server does what was asked, the connection is cut, and nobody hears of it.
    LostAnswer,
    /// The connection is cut when so many bytes of the answer's body have come.
    CutWithin(usize),
    /// The server does not see it, and nothing is answered, for as long as the client bears it.
    Hang,
    /// So many bytes of the answer's body come, and then nothing, for as long as the client bears it.
    StallWithin(usize),
}

impl CallFault {
    /// Both services say it so.
    pub const THROTTLED: Self = Self::Refused(400, "ProvisionedThroughputExceededException");
    pub const LIMIT_EXCEEDED: Self = Self::Refused(400, "LimitExceededException");
    pub const EXPIRED_ITERATOR: Self = Self::Refused(400, "ExpiredIteratorException");
    pub const EXPIRED_NEXT_TOKEN: Self = Self::Refused(400, "ExpiredNextTokenException");
    pub const NOT_FOUND: Self = Self::Refused(400, "ResourceNotFoundException");
    pub const IN_USE: Self = Self::Refused(400, "ResourceInUseException");
    pub const ACCESS_DENIED: Self = Self::Refused(400, "AccessDeniedException");
    pub const INTERNAL_FAILURE: Self = Self::Refused(500, "InternalFailure");
    /// DynamoDB's.
    pub const INTERNAL_SERVER_ERROR: Self = Self::Refused(500, "InternalServerError");
    pub const UNAVAILABLE: Self = Self::Refused(503, "ServiceUnavailable");
}

/// A call that was made.
#[derive(Debug, Clone)]
pub struct Call {
    /// As in `GetRecords`.
    pub operation: String,
    /// The shard that it is about; with DynamoDB, the item's `leaseKey`.
    pub shard: Option<String>,
    /// What was asked.
    pub body: Value,
    /// How many calls of this operation there were for this shard before.
    pub number: usize,
    pub at: Instant,
    /// What became of it.
    pub fault: CallFault,
}

/// Calls to its endpoint go to the server; it ends with this value.
pub struct CallProxy {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    cuts: watch::Sender<()>,
    runtime: Option<Runtime>,
}

impl CallProxy {
    /// In front of what listens on this port of loopback.
    pub fn start(upstream: u16) -> Self {
        let runtime = runtime();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port on loopback");
        let address = listener.local_addr().expect("its address");
        let (script, cuts) = (Arc::new(Mutex::new(Script::default())), watch::Sender::new(()));
        let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, upstream));
        runtime.spawn(relay::serve(listener, upstream, script.clone(), cuts.subscribe()));
        Self { address, script, cuts, runtime: Some(runtime) }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next calls of this operation meet these, one after the other; they come before what a rule says.
    pub fn next(&self, operation: &str, faults: impl IntoIterator<Item = CallFault>) {
        self.queue(operation, None, faults);
    }

    /// The same for the calls that are about one shard or lease.
    pub fn next_of(&self, operation: &str, shard: &str, faults: impl IntoIterator<Item = CallFault>) {
        self.queue(operation, Some(shard), faults);
    }

    fn queue(&self, operation: &str, shard: Option<&str>, faults: impl IntoIterator<Item = CallFault>) {
        let queued = faults.into_iter().map(|fault| Queued {
            operation: operation.to_owned(),
            shard: shard.map(str::to_owned),
            fault,
        });
        self.script().queue.extend(queued);
    }

    /// From now on every call that no queue has a fault for is asked about here.
    pub fn rule(&self, rule: impl FnMut(&Call) -> CallFault + Send + 'static) {
        self.script().rule = Some(Box::new(rule));
    }

    /// From now on every call passes.
    pub fn heal(&self) {
        let mut script = self.script();
        script.rule = None;
        script.queue.clear();
    }

    /// Cuts every connection there is, those of subscriptions among them.
    pub fn cut(&self) {
        self.cuts.send_replace(());
    }

    /// Ends every subscription there is, as the service does after five minutes.
    pub fn end_subscriptions(&self) {
        self.script().holders.clear();
    }

    /// Faults that still wait for their call.
    pub fn waiting(&self) -> usize {
        self.script().queue.len()
    }

    /// How many calls of this operation were made.
    pub fn count(&self, operation: &str) -> usize {
        self.script().calls.iter().filter(|call| call.operation == operation).count()
    }

    /// How many of them were about this shard or lease.
    pub fn count_of(&self, operation: &str, shard: &str) -> usize {
        self.script().number(operation, Some(shard))
    }

    /// How many calls have met this fault.
    pub fn met(&self, fault: &CallFault) -> usize {
        self.script().calls.iter().filter(|call| call.fault == *fault).count()
    }

    /// Every call until now.
    pub fn calls(&self) -> Vec<Call> {
        self.script().calls.clone()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no holder panics")
    }
}

impl Drop for CallProxy {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(script) = self.script.lock()
        {
            let hurt = script.calls.iter().filter(|call| call.fault != CallFault::Pass);
            let hurt: Vec<_> = hurt.map(|call| (&call.operation, &call.shard, &call.fault)).collect();
            println!("{} calls, of them met a fault: {hurt:?}", script.calls.len());
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type Rule = Box<dyn FnMut(&Call) -> CallFault + Send>;

struct Queued {
    operation: String,
    shard: Option<String>,
    fault: CallFault,
}

#[derive(Default)]
struct Script {
    queue: VecDeque<Queued>,
    rule: Option<Rule>,
    calls: Vec<Call>,
    /// How many of an operation were about a shard.
    counts: HashMap<(String, Option<String>), usize>,
    /// Whose shard an iterator is.
    iterators: HashMap<String, String>,
    /// Which subscription holds a consumer's shard, and since when.
    holders: HashMap<(String, String), (usize, Instant)>,
    tickets: usize,
}

/// Whether a subscription still holds its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Yes,
    ByAnother,
    Ended,
}

impl Script {
    /// What becomes of a call, and the shard that it is about.
    fn next(&mut self, operation: &str, body: Value) -> (CallFault, Option<String>) {
        let shard = self.shard(&body);
        let number = self.number(operation, shard.as_deref());
        let (operation, at) = (operation.to_owned(), Instant::now());
        let mut call = Call { operation, shard, body, number, at, fault: CallFault::Pass };
        let queued = self.queue.iter().position(|queued| {
            queued.operation == call.operation && (queued.shard.is_none() || queued.shard == call.shard)
        });
        if let Some(queued) = queued.and_then(|at| self.queue.remove(at)) {
            call.fault = queued.fault;
        } else if let Some(rule) = &mut self.rule {
            call.fault = rule(&call);
        }
        *self.counts.entry((call.operation.clone(), call.shard.clone())).or_default() += 1;
        let next = (call.fault.clone(), call.shard.clone());
        self.calls.push(call);
        next
    }

    /// Takes a consumer's shard over, if nobody has within the last seconds.
    fn subscribe(&mut self, key: &(String, String)) -> Option<usize> {
        if self.holders.get(key).is_some_and(|(_, since)| since.elapsed() < TAKE_OVER) {
            return None;
        }
        self.tickets += 1;
        self.holders.insert(key.clone(), (self.tickets, Instant::now()));
        Some(self.tickets)
    }

    fn holds(&self, key: &(String, String), ticket: usize) -> Held {
        match self.holders.get(key) {
            Some((holder, _)) if *holder == ticket => Held::Yes,
            Some(_) => Held::ByAnother,
            None => Held::Ended,
        }
    }

    fn number(&self, operation: &str, shard: Option<&str>) -> usize {
        let of = (operation.to_owned(), shard.map(str::to_owned));
        self.counts.get(&of).copied().unwrap_or(0)
    }

    fn shard(&self, body: &Value) -> Option<String> {
        let named = [&body["ShardId"], &body["ShardToSplit"], &body["ShardToMerge"], &body["Key"]["leaseKey"]["S"]];
        let named = named.into_iter().find_map(|name| name.as_str()).or(body["Item"]["leaseKey"]["S"].as_str());
        let read = || self.iterators.get(body["ShardIterator"].as_str()?).map(String::as_str);
        named.or_else(read).map(str::to_owned)
    }

    /// The iterators of an answer are those of the shard that the call was about.
    fn learn(&mut self, shard: &str, answer: &[u8]) {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Iterators {
            #[serde(alias = "NextShardIterator")]
            shard_iterator: Option<String>,
        }
        if let Ok(Iterators { shard_iterator: Some(iterator) }) = serde_json::from_slice(answer) {
            self.iterators.insert(iterator, shard.to_owned());
        }
    }
}
