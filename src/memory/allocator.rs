//! How the C library's allocator is told to behave.
//!
//! Its own way is eight arenas for each core. What one thread has freed another one cannot have then, and memory that nobody
//! uses piles up in all of them: 190 MB where 90 MB are enough for one stream of Parquet, at the same speed.

/// Cores that share an arena.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const CORES_TO_AN_ARENA: usize = 4;

/// To be called before the first thread is started; what runs already stays where it is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn share_arenas() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let arenas = i32::try_from(cores.div_ceil(CORES_TO_AN_ARENA)).unwrap_or(i32::MAX);
    // SAFETY: it takes plain numbers. What it cannot do it leaves as it was.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
}

/// Other C libraries have no arenas.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn share_arenas() {}
