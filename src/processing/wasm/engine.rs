//! The engine that runs all components of this process, and the clock that stops them.
//!
//! Always true: while a guest runs, the epoch moves on; while none runs, nobody wakes up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use tracing::warn;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How often a running guest is looked at.
const TICK: Duration = Duration::from_millis(1);
/// A guest's stack; a deeper recursion traps. Threads that call guests need more than that.
const STACK_BYTES: usize = 1 << 20;
/// Elements of each table: what StarlingMonkey and CPython need several times over.
const TABLE_ELEMENTS: usize = 200_000;
/// Of a memory that goes back to the pool so much is cleared by writing; the rest is given back to the system, and zeroed by it
/// page by page when it is touched again. A batch of 1 MB takes some 2 MB on its way through.
const KEPT_RESIDENT: usize = 4 << 20;
/// Instances of one component have at most so many modules; CPython's have 38.
const CORE_INSTANCES_PER_COMPONENT: u32 = 200;
/// Modules that may live at a time, in all instances of all streams: address space only.
const TOTAL_CORE_INSTANCES: u32 = 10_000;

/// One for the process: compiled code belongs to its engine.
pub(super) fn engine() -> Result<&'static Engine, &'static wasmtime::Error> {
    static ENGINE: LazyLock<Result<Engine, wasmtime::Error>> = LazyLock::new(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
        Engine::new(config().allocation_strategy(InstanceAllocationStrategy::Pooling(pool(cores)))).or_else(|error| {
            warn!(%error, "there is no address space for a pool of WASM instances: each one is made on its own and needs 4 GB of it (`ulimit -v`: 6 GB are enough for one at a time)");
            Engine::new(&config())
        })
    });
    ENGINE.as_ref()
}

/// What changes here changes the hash by which cached code is recognised.
fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_features(wasmtime::WasmFeatures::THREADS, false)
        .concurrency_support(false)
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);
    config
}

fn pool(cores: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    pool.table_elements(TABLE_ELEMENTS)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .total_core_instances(TOTAL_CORE_INSTANCES)
        .total_tables(TOTAL_CORE_INSTANCES)
        .linear_memory_keep_resident(KEPT_RESIDENT)
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(cores * 2);
    pool
}

/// While one is held the epoch moves on each [`TICK`]. No lock: a thread of low priority could keep it from all others.
pub(super) struct Ticking;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

impl Ticking {
    /// The first one starts the thread, which lives as long as the process.
    pub(super) fn begin(engine: &'static Engine) -> std::io::Result<Self> {
        static THREAD: OnceLock<Thread> = OnceLock::new();
        static STARTING: Mutex<()> = Mutex::new(());
        if THREAD.get().is_none() {
            let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
            if THREAD.get().is_none() {
                let handle = std::thread::Builder::new().name(String::from("epoch")).spawn(move || tick(engine))?;
                let _ = THREAD.set(handle.thread().clone());
            }
        }
        if RUNNING.fetch_add(1, Ordering::SeqCst) == 0
            && let Some(thread) = THREAD.get()
        {
            thread.unpark();
        }
        Ok(Self)
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick(engine: &Engine) {
    loop {
        // An `unpark` that comes between the two is remembered.
        while RUNNING.load(Ordering::SeqCst) == 0 {
            std::thread::park();
        }
        std::thread::sleep(TICK);
        engine.increment_epoch();
    }
}
