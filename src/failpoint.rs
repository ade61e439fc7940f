//! Places at which a debug build can be told to die, for the crash tests. Release builds hold nothing of this.
//!
//! `HYDRANT_FAILPOINT=name:n` kills the process with SIGKILL when the point `name` is passed for the n-th time.

use crate::encode::payload::Payload;

/// Dies here if the tests say so.
#[inline]
pub fn pass(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass(name, std::time::Duration::ZERO);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Dies within the next milliseconds, while what follows is under way, if the tests say so.
#[inline]
pub fn pass_soon(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass(name, std::time::Duration::from_millis(2));
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Others may come in between here. For the tests the process stops at this point, as with SIGSTOP, when it is passed for the
/// n-th time, `HYDRANT_STOP=name:n`, or sleeps there for up to so many milliseconds each fourth time: `HYDRANT_JITTER=seed:ms`.
#[inline]
pub fn gap(name: &str) {
    #[cfg(debug_assertions)]
    armed::gap(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Keeps a payload that is about to leave, if the tests ask for it: `HYDRANT_DUMP_DIR`. Once it is there under its key, it is
/// there whole.
#[inline]
pub fn dump(key: &str, payload: &Payload) {
    #[cfg(debug_assertions)]
    armed::dump(key, payload);
    #[cfg(not(debug_assertions))]
    let _ = (key, payload);
}

/// Panics here once if the tests say so: `HYDRANT_PANIC_STREAM=name`.
#[inline]
pub fn panic_in(stream: &str) {
    #[cfg(debug_assertions)]
    armed::panic_in(stream);
    #[cfg(not(debug_assertions))]
    let _ = stream;
}

/// A long wait, which the tests may cut short: `HYDRANT_LINGER_MS`.
pub fn wait(default: std::time::Duration) -> std::time::Duration {
    #[cfg(debug_assertions)]
    return armed::wait(default);
    #[cfg(not(debug_assertions))]
    default
}

/// How many deliveries the journal may hold, which the tests may lower: `HYDRANT_UNPASSED_MAX`.
pub fn at_most(default: u64) -> u64 {
    #[cfg(debug_assertions)]
    return armed::at_most(default);
    #[cfg(not(debug_assertions))]
    default
}

#[cfg(debug_assertions)]
mod armed {
    use std::path::{Path, PathBuf};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use rustix::process::Signal;
    use xxhash_rust::xxh3::xxh3_64;

    use super::Payload;

    /// A point, and how often it is to be passed.
    struct Armed {
        point: Option<(String, u64)>,
        passed: AtomicU64,
    }

    static FAIL: LazyLock<Armed> = LazyLock::new(|| Armed::of("HYDRANT_FAILPOINT"));
    static STOP: LazyLock<Armed> = LazyLock::new(|| Armed::of("HYDRANT_STOP"));
    /// Random state, and the longest sleep.
    static JITTER: LazyLock<Option<(AtomicU64, u64)>> = LazyLock::new(|| {
        let (seed, millis) = number_of("HYDRANT_JITTER")?;
        Some((AtomicU64::new(seed.parse().ok()?), millis))
    });

    impl Armed {
        fn of(variable: &str) -> Self {
            Self { point: number_of(variable), passed: AtomicU64::new(0) }
        }

        fn is_due(&self, name: &str) -> bool {
            let Some((armed, count)) = &self.point else { return false };
            armed == name && self.passed.fetch_add(1, Ordering::Relaxed) + 1 == *count
        }
    }

    fn number_of(variable: &str) -> Option<(String, u64)> {
        let value = std::env::var(variable).ok()?;
        let (text, number) = value.rsplit_once(':')?;
        Some((text.to_owned(), number.parse().ok()?))
    }

    pub fn pass(name: &str, within: Duration) {
        if !FAIL.is_due(name) {
            return;
        }
        if within.is_zero() {
            kill(Signal::KILL);
        }
        std::thread::spawn(move || {
            std::thread::sleep(within);
            kill(Signal::KILL);
        });
    }

    pub fn gap(name: &str) {
        if STOP.is_due(name) {
            kill(Signal::STOP);
            // Another thread may take the signal, and this one would go on until that has its turn.
            std::thread::sleep(Duration::from_millis(100));
        }
        let Some((state, millis_max)) = JITTER.as_ref() else { return };
        let dice = xxh3_64(&state.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        if dice.is_multiple_of(4) {
            std::thread::sleep(Duration::from_millis(dice / 4 % (millis_max + 1)));
        }
    }

    pub fn dump(key: &str, payload: &Payload) {
        let Some(folder) = std::env::var_os("HYDRANT_DUMP_DIR").map(PathBuf::from) else { return };
        let path = folder.join(key);
        if let Err(error) = write_whole(&path, payload) {
            panic!("the tests asked for {}: {error}", path.display());
        }
    }

    fn write_whole(path: &Path, payload: &Payload) -> std::io::Result<()> {
        let content = match payload.file() {
            Some((file, _)) => std::fs::read(file)?,
            None => payload.parts().unwrap_or_default().concat(),
        };
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, content)?;
        std::fs::rename(&unfinished, path)
    }

    pub fn panic_in(stream: &str) {
        static DONE: AtomicU64 = AtomicU64::new(0);
        if std::env::var("HYDRANT_PANIC_STREAM").is_ok_and(|name| name == stream)
            && DONE.fetch_add(1, Ordering::Relaxed) == 0
        {
            panic!("the tests asked for a panic in `{stream}`");
        }
    }

    pub fn wait(default: Duration) -> Duration {
        static SHORT: LazyLock<Option<u64>> = LazyLock::new(|| std::env::var("HYDRANT_LINGER_MS").ok()?.parse().ok());
        SHORT.map_or(default, |millis| default.min(Duration::from_millis(millis)))
    }

    pub fn at_most(default: u64) -> u64 {
        let lower = std::env::var("HYDRANT_UNPASSED_MAX").ok().and_then(|value| value.parse().ok());
        lower.map_or(default, |lower: u64| default.min(lower))
    }

    fn kill(signal: Signal) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
    }
}
