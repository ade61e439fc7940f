//! A folder for one test. It goes when the test passes and stays, its path printed, when the test fails.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

pub struct Scratch {
    dir: Option<TempDir>,
}

impl Scratch {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("hydrant-e2e-").tempdir().expect("a temporary folder");
        let scratch = Self { dir: Some(dir) };
        for folder in ["logs", "out", "backup"] {
            std::fs::create_dir(scratch.path(folder)).expect("a folder in it");
        }
        scratch
    }

    pub fn root(&self) -> &Path {
        self.dir.as_ref().expect("there until the drop").path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    pub fn out(&self) -> PathBuf {
        self.path("out")
    }

    pub fn backup(&self) -> PathBuf {
        self.path("backup")
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Writes a whole file under `logs` and gives its path.
    pub fn log(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.logs().join(name);
        std::fs::create_dir_all(path.parent().expect("it lies in logs")).expect("the folder of a log");
        std::fs::write(&path, content).expect("a log written");
        path
    }
}

/// A file in the way of the objects of a `blockable_directory`: it can take nothing while this lives.
pub struct InTheWay(PathBuf);

impl InTheWay {
    pub fn of(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).expect("the destination's folder");
        let path = directory.join("p");
        std::fs::write(&path, "").expect("a file in the way");
        Self(path)
    }
}

impl Drop for InTheWay {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(dir) = self.dir.take()
        {
            println!("kept for a look: {}", dir.keep().display());
        }
    }
}

pub fn append(path: &Path, content: impl AsRef<[u8]>) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("a log opened");
    file.write_all(content.as_ref()).expect("a log appended to");
}
