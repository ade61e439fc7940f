//! How far an attempt has come, and how long each of its phases may last.
//!
//! Always true: an attempt that makes no progress ends, and its error says in which phase it stood still. The connection has a limit
//! of its own, and all phases together have one.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::Response;
use tokio::sync::watch;

/// So much of a body is handed over at a time: the measure of progress.
const SLICE_BYTES: usize = 64 << 10;

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    /// With so many bytes of the body still to be handed over.
    Writing(usize),
    /// All of the request is handed over, and nothing of the answer is there.
    Waiting,
}

/// How long a phase may last without progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub write: Duration,
    pub first_byte: Duration,
    pub read: Duration,
}

/// In which phase an attempt has stood still, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stalled {
    Writing(Duration),
    Waiting(Duration),
    Reading(Duration),
}

/// Why there is no answer, or not all of it.
#[derive(Debug)]
pub enum Cut {
    Broken(reqwest::Error),
    Stalled(Stalled),
}

/// A request's body, which tells how much of it is left.
pub struct Tracked {
    left: Bytes,
    phase: Arc<watch::Sender<Phase>>,
}

/// The phases of one attempt.
pub struct Attempt {
    limits: Limits,
    phase: Arc<watch::Sender<Phase>>,
}

impl Attempt {
    pub fn new(limits: Limits) -> Self {
        Self { limits, phase: Arc::new(watch::Sender::new(Phase::Connecting)) }
    }

    pub fn body(&self, bytes: Bytes) -> Tracked {
        Tracked { left: bytes, phase: self.phase.clone() }
    }

    /// What sending comes to, if it goes on.
    pub async fn send<T>(&self, sending: impl Future<Output = Result<T, reqwest::Error>>) -> Result<T, Cut> {
        self.watch(sending).await.map_err(Cut::Stalled)?.map_err(Cut::Broken)
    }

    /// The body of an answer; `None` of one that is larger.
    pub async fn read(&self, mut response: Response, bytes_max: u64) -> Result<Option<Vec<u8>>, Cut> {
        let mut body = Vec::new();
        while let Some(chunk) = self.next(response.chunk()).await.map_err(Cut::Stalled)?.map_err(Cut::Broken)? {
            if (body.len() + chunk.len()) as u64 > bytes_max {
                return Ok(None);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }

    async fn watch<T>(&self, sending: impl Future<Output = T>) -> Result<T, Stalled> {
        let (mut sending, mut phases) = (pin!(sending), self.phase.subscribe());
        loop {
            let stalled = self.limit(*phases.borrow_and_update());
            tokio::select! {
                biased; // an answer that has arrived is worth more than a limit
                sent = &mut sending => return Ok(sent),
                // There is always a sender: this.
                Ok(()) = phases.changed() => {}
                stalled = after(stalled) => return Err(stalled),
            }
        }
    }

    async fn next<T>(&self, reading: impl Future<Output = T>) -> Result<T, Stalled> {
        let limit = self.limits.read;
        tokio::time::timeout(limit, reading).await.map_err(|_| Stalled::Reading(limit))
    }

    fn limit(&self, phase: Phase) -> Option<(Duration, Stalled)> {
        match phase {
            Phase::Connecting => None,
            Phase::Writing(_) => Some((self.limits.write, Stalled::Writing(self.limits.write))),
            Phase::Waiting => Some((self.limits.first_byte, Stalled::Waiting(self.limits.first_byte))),
        }
    }
}

impl Stalled {
    /// `whom` is the other side, for people.
    pub fn of(self, whom: &str) -> String {
        match self {
            Self::Writing(time) => format!("{whom} took nothing more of the request for {time:?}"),
            Self::Waiting(time) => format!("the request was sent, and no answer of {whom} began within {time:?}"),
            Self::Reading(time) => format!("nothing more of the answer of {whom} came for {time:?}"),
        }
    }
}

async fn after(limit: Option<(Duration, Stalled)>) -> Stalled {
    match limit {
        Some((time, stalled)) => {
            tokio::time::sleep(time).await;
            stalled
        }
        None => std::future::pending().await,
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.left.len().min(SLICE_BYTES);
        let slice = self.left.split_to(length);
        self.phase.send_replace(match self.left.len() {
            0 => Phase::Waiting,
            left => Phase::Writing(left),
        });
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        write: Duration::from_millis(20),
        first_byte: Duration::from_millis(30),
        read: Duration::from_millis(40),
    };

    async fn next(body: &mut Tracked) -> Option<Bytes> {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        frame.map(|Ok(frame)| frame.into_data().unwrap())
    }

    #[tokio::test]
    async fn a_body_is_handed_over_in_slices_that_are_counted() {
        let (attempt, bytes) = (Attempt::new(LIMITS), Bytes::from(vec![7; 2 * SLICE_BYTES + 1]));
        let mut body = attempt.body(bytes.clone());
        assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
        let mut whole = Vec::new();
        for phase in [Phase::Writing(SLICE_BYTES + 1), Phase::Writing(1), Phase::Waiting] {
            whole.extend(next(&mut body).await.unwrap());
            assert_eq!(*attempt.phase.borrow(), phase);
        }
        assert!(body.is_end_stream() && next(&mut body).await.is_none());
        assert_eq!(whole, bytes);
    }

    #[tokio::test]
    async fn a_phase_without_progress_ends_the_attempt() {
        let bytes = Bytes::from(vec![7; 2 * SLICE_BYTES]);
        let attempt = Attempt::new(LIMITS);
        let mut body = attempt.body(bytes.clone());
        let stalled = attempt.watch(async {
            next(&mut body).await;
            std::future::pending::<()>().await;
        });
        assert_eq!(stalled.await, Err(Stalled::Writing(LIMITS.write)));
        let stalled = attempt.watch(async {
            next(&mut body).await;
            std::future::pending::<()>().await;
        });
        assert_eq!(stalled.await, Err(Stalled::Waiting(LIMITS.first_byte)));
        assert_eq!(attempt.next(std::future::pending::<()>()).await, Err(Stalled::Reading(LIMITS.read)));
        assert_eq!(Attempt::new(LIMITS).watch(async { 5 }).await, Ok(5));
    }
}
