//! Compiled code on disk, so that a component of CPython does not cost ten seconds at each start.
//!
//! Always true: only code that this engine has compiled from these bytes is run. A file is recognised by the SHA-256 of the
//! component, the engine's version and settings, and a hash of its own content, and is believed only where nobody but this
//! user can write. Anything else is compiled anew; no trouble with the cache is more than a line in the log.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tracing::{debug, warn};
use wasmtime::Engine;
use wasmtime::component::Component as Code;
use xxhash_rust::xxh3::xxh3_128;

/// What nobody has loaded for so long is deleted when something is added.
const KEPT_FOR: Duration = Duration::from_secs(60 * 24 * 3600);
const EXTENSION: &str = "cwasm";

/// The place of one component's code.
pub(super) struct Cache {
    dir: PathBuf,
    /// All but the hash of the content.
    stem: String,
}

impl Cache {
    pub fn new(dir: &Path, engine: &Engine, sha256: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        // Another Hydrant may know other settings that the engine's hash leaves out.
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        Self { dir: dir.to_owned(), stem: format!("{sha256}-{:016x}-", hasher.finish()) }
    }

    /// The code, if there is any that can be trusted.
    pub fn load(&self, engine: &Engine) -> Option<Code> {
        let path = self.find()?;
        let Some(bytes) = self.read(&path) else {
            warn!(file = %path.display(), "cached code of a component is damaged or not this user's own: compiled anew");
            return None;
        };
        // SAFETY: the bytes hash to what their name says, which `store` gave to code that this engine's version made, and
        // nobody else could write them: `read` has looked at the owners and permissions of file and folders.
        match unsafe { Code::deserialize(engine, &bytes) } {
            Ok(code) => {
                let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
                Some(code)
            }
            Err(error) => {
                warn!(file = %path.display(), %error, "cached code of a component is of no use: compiled anew");
                None
            }
        }
    }

    /// Keeps the code for the next start.
    pub fn store(&self, code: &Code) {
        let result = code.serialize().map_err(std::io::Error::other).and_then(|bytes| self.write(&bytes));
        if let Err(error) = result {
            debug!(folder = %self.dir.display(), %error, "a component's code cannot be cached");
        }
    }

    fn find(&self) -> Option<PathBuf> {
        let named = |entry: fs::DirEntry| {
            let name = entry.file_name().into_string().ok()?;
            (name.starts_with(&self.stem) && name.ends_with(EXTENSION)).then(|| entry.path())
        };
        fs::read_dir(&self.dir).ok()?.filter_map(Result::ok).find_map(named)
    }

    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let folders = [Some(self.dir.as_path()), self.dir.parent()];
        let are_ours = folders.into_iter().flatten().all(is_ours) && is_ours(path);
        let bytes = fs::read(path).ok().filter(|_| are_ours)?;
        (path == self.path(&bytes)).then_some(bytes)
    }

    fn path(&self, bytes: &[u8]) -> PathBuf {
        self.dir.join(format!("{}{:032x}.{EXTENSION}", self.stem, xxh3_128(bytes)))
    }

    fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        self.clean();
        let staged = self.dir.join(format!("{}{}.new", self.stem, std::process::id()));
        let mut file = File::create(&staged)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_data());
        written.and_then(|()| fs::rename(&staged, self.path(bytes))).inspect_err(|_| {
            let _ = fs::remove_file(&staged);
        })
    }

    /// Deletes what this component had here before, and what nobody has used for long.
    fn clean(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name();
            let is_ours = name.to_str().is_some_and(|name| name.starts_with(&self.stem) && name.ends_with(EXTENSION));
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let is_old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > KEPT_FOR));
            if is_ours || is_old {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Whether it belongs to this user or root, and nobody else may write it.
fn is_ours(path: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    fs::metadata(path).is_ok_and(|meta| (meta.uid() == own || meta.uid() == 0) && meta.mode() & 0o022 == 0)
}
