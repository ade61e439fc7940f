//! Readers of compressed objects that share no code with Hydrant: the formats' usual tools, as child processes.
//!
//! Where a tool is missing, a developer is told what is skipped and how to get it; with `HYDRANT_REQUIRE_SERVERS=1`, as in
//! CI, the test fails.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the Python scripts exit with when a package that it needs is not there.
const PACKAGE_MISSING: i32 = 77;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Gzip,
    Unzip,
    Zstd,
    /// snappy-java's stream.
    Xerial,
    /// Hadoop's layout.
    Hadoop,
    /// For Parquet, by [`parquet_rows`].
    PyArrow,
    /// For Parquet, by [`parquet_rows`].
    DuckDb,
}

/// The rows of each file; `None` when the reader is missing and may be.
pub fn parquet_rows(reader: Reader, files: &[&Path]) -> Option<Vec<serde_json::Value>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/parquet_reader.py");
    let name = if reader == Reader::DuckDb { "duckdb" } else { "pyarrow" };
    let output = reader.run(Command::new(python()).arg(script).arg(name).args(files))?;
    let lines = output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Some(lines.map(|line| serde_json::from_slice(line).unwrap()).collect())
}

impl Reader {
    /// What `payload` decodes to; `None` when the tool is missing and may be. Panics when the tool refuses the payload.
    pub fn decode(self, payload: &[u8]) -> Option<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(self.file_name());
        fs::write(&path, payload).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/snappy_reader.py");
        let python = python();
        let path: &OsStr = path.as_ref();
        match self {
            Self::Gzip => self.run(Command::new("gzip").arg("-dc").arg(path)),
            Self::Zstd => self.run(Command::new("zstd").arg("-qdc").arg(path)),
            Self::Unzip => {
                self.run(Command::new("unzip").arg("-tqq").arg(path))?;
                self.run(Command::new("unzip").arg("-p").arg(path))
            }
            Self::Xerial => self.run(Command::new(python).arg(script).arg("xerial").arg(path)),
            Self::Hadoop => self.run(Command::new(python).arg(script).arg("hadoop").arg(path)),
            Self::PyArrow | Self::DuckDb => panic!("{self:?} reads Parquet"),
        }
    }

    /// Standard output of a command of this reader's tool.
    pub fn run(self, command: &mut Command) -> Option<Vec<u8>> {
        let output = match command.output() {
            Err(error) if error.kind() == ErrorKind::NotFound => return self.missing(&format!("{command:?}")),
            output => output.unwrap(),
        };
        let Output { status, stdout, stderr } = output;
        let stderr = String::from_utf8_lossy(&stderr);
        if !matches!(self, Self::Gzip | Self::Unzip | Self::Zstd) && status.code() == Some(PACKAGE_MISSING) {
            return self.missing(&stderr);
        }
        // The tools report some kinds of damage as mere warnings.
        assert!(status.success() && stderr.is_empty(), "{self:?} refuses the payload: {status}: {stderr}");
        Some(stdout)
    }

    fn file_name(self) -> &'static str {
        match self {
            Self::Gzip => "payload.gz",
            Self::Unzip => "payload.zip",
            Self::Zstd => "payload.zst",
            Self::Xerial | Self::Hadoop => "payload.snappy",
            Self::PyArrow | Self::DuckDb => "payload.parquet",
        }
    }

    fn missing(self, what: &str) -> Option<Vec<u8>> {
        let how = match self {
            Self::Gzip => "install gzip",
            Self::Unzip => "install unzip",
            Self::Zstd => "install zstd",
            Self::Xerial | Self::Hadoop | Self::PyArrow | Self::DuckDb => {
                "run tests/servers/python-venv, or set HYDRANT_TEST_PYTHON"
            }
        };
        let text = format!("SKIPPED: {self:?} is not there ({}): {how}", what.trim());
        assert!(env::var_os("HYDRANT_REQUIRE_SERVERS").is_none_or(|value| value != "1"), "{text}");
        // Not `eprintln!`: the test harness would keep it to itself when the test passes.
        let _ = writeln!(io::stderr(), "{text}");
        None
    }
}

/// The interpreter that has the packages of `tests/servers/python-venv`.
fn python() -> PathBuf {
    if let Some(python) = env::var_os("HYDRANT_TEST_PYTHON") {
        return python.into();
    }
    let cache = match (env::var_os("HYDRANT_TEST_CACHE"), env::home_dir()) {
        (Some(cache), _) => cache.into(),
        (None, home) => home.unwrap_or_default().join(".cache/hydrant-tests"),
    };
    cache.join("venv/bin/python")
}
