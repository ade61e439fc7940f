//! Work that may take long and must not slow down anybody else: a thread of its own at the lowest priority.
//!
//! Always true: the compute pool has all its places while such work runs, and whoever needs a core gets it first. Work for which
//! nobody waits any more can find that out, and should end then.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tracing::warn;

/// As nice as a thread can be.
const NICE: i32 = 19;
/// Guests have a stack of their own limit inside this one.
const STACK_BYTES: usize = 4 << 20;

thread_local! {
    /// Of the work that this thread does.
    static ABANDONED: RefCell<Arc<AtomicBool>> = RefCell::default();
}

/// Whether this thread does work for which nobody waits any more. Never on a thread of any other kind.
pub(super) fn is_abandoned() -> bool {
    ABANDONED.with_borrow(|flag| flag.load(Ordering::Relaxed))
}

struct AbandonOnDrop(Arc<AtomicBool>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` and returns what it returns; goes on with its panic, if it had one. Dropped before, it tells the work so.
pub(super) async fn run<T, F>(work: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let waiting = AbandonOnDrop(Arc::default());
    let flag = waiting.0.clone();
    let run = move || {
        ABANDONED.set(flag);
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            warn!(%error, "a thread cannot be made nice");
        }
        let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
    };
    let thread = std::thread::Builder::new().name(String::from("patient")).stack_size(STACK_BYTES);
    if let Err(error) = thread.spawn(run) {
        panic!("a thread cannot be started: {error}");
    }
    match receiver.await {
        Ok(Ok(value)) => value,
        Ok(Err(panic)) => resume_unwind(panic),
        // The thread always sends.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_nice_and_the_others_are_not() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        assert_eq!(run(nice).await, NICE);
        assert_eq!(nice(), before);
    }

    #[tokio::test]
    async fn work_learns_that_nobody_waits_for_it_any_more() {
        let (sender, receiver) = oneshot::channel();
        let work = tokio::spawn(run(move || {
            while !is_abandoned() {
                std::thread::yield_now();
            }
            sender.send(()).unwrap();
        }));
        tokio::task::yield_now().await;
        work.abort();
        receiver.await.unwrap();
        assert!(!is_abandoned());
    }

    #[tokio::test]
    #[should_panic(expected = "as it was said")]
    async fn a_panic_goes_on_where_it_was_waited_for() {
        run(|| panic!("as it was said")).await
    }
}
