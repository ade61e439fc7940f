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

    use super::Payload;

    static ARMED: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let value = std::env::var("HYDRANT_FAILPOINT").ok()?;
        let (name, count) = value.rsplit_once(':')?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    static PASSED: AtomicU64 = AtomicU64::new(0);

    pub fn pass(name: &str, within: Duration) {
        let Some((armed, count)) = ARMED.as_ref() else { return };
        if armed != name || PASSED.fetch_add(1, Ordering::Relaxed) + 1 != *count {
            return;
        }
        if within.is_zero() {
            die();
        }
        std::thread::spawn(move || {
            std::thread::sleep(within);
            die();
        });
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

    fn die() {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
