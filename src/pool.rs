//! The compute pool: work that burns CPU runs here, as many pieces at a time as there are cores, and never on the async
//! workers.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle};

/// Cheap to clone; all clones share the same cores.
#[derive(Clone)]
pub struct ComputePool {
    places: Arc<Semaphore>,
    cores: usize,
}

impl ComputePool {
    /// A pool as wide as the machine.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { places: Arc::new(Semaphore::new(cores)), cores }
    }

    pub fn cores(&self) -> usize {
        self.cores
    }

    /// Runs `work` when a core is free. A panic in it reaches whoever awaits the handle.
    pub fn spawn<T, F>(&self, work: F) -> JoinHandle<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let places = self.places.clone();
        tokio::spawn(async move {
            // The semaphore is never closed; without a place the work would merely be unlimited.
            let _place = places.acquire_owned().await;
            join(tokio::task::spawn_blocking(work)).await
        })
    }
}

impl Default for ComputePool {
    fn default() -> Self {
        Self::new()
    }
}

/// Awaits a task and goes on with its panic, if it had one.
pub async fn join<T>(task: impl Future<Output = Result<T, JoinError>>) -> T {
    match task.await {
        Ok(value) => value,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Only the end of the runtime cancels our tasks, and with it whoever waits here.
        Err(_) => std::future::pending().await,
    }
}
