//! Runs the real binary over a log, into a directory, and looks at what it has delivered.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Usage};

pub const BUFFER_MB: u32 = 128;

/// The value of `compression`, as it stands in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compression {
    None,
    GzipDefault,
    Gzip(i32),
    SnappyDefault,
    ZstdDefault,
}

impl Compression {
    pub fn label(&self) -> String {
        match self {
            Self::None => "none".into(),
            Self::GzipDefault => "gzip".into(),
            Self::Gzip(level) => format!("gzip, level {level}"),
            Self::SnappyDefault => "snappy".into(),
            Self::ZstdDefault => "zstd".into(),
        }
    }

    fn yaml(&self) -> String {
        match self {
            Self::None => "none".into(),
            Self::GzipDefault => "gzip".into(),
            Self::Gzip(level) => format!("{{ gzip: {{ level: {level} }} }}"),
            Self::SnappyDefault => "snappy".into(),
            Self::ZstdDefault => "zstd".into(),
        }
    }
}

/// What happens to the records before they are buffered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processing {
    None,
    /// A component that gives every record back: what the boundary costs.
    PassThrough,
}

impl Processing {
    fn yaml(self) -> String {
        match self {
            Self::None => "[]".into(),
            Self::PassThrough => {
                let component = concat!(env!("CARGO_MANIFEST_DIR"), "/transforms/pass-through/pass-through.wasm");
                format!("[{{ wasm: {{ component: \"{component}\" }} }}]")
            }
        }
    }
}

/// Folders of one run, removed when it is over.
pub struct Run {
    folder: PathBuf,
}

impl Run {
    pub fn new(cache: &Path) -> Result<Self, Box<dyn Error>> {
        let folder = cache.join(format!("run-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn objects(&self) -> PathBuf {
        self.folder.join("objects")
    }

    /// The command that delivers the files of `glob`, and the file that takes what it says.
    pub fn command(
        &self,
        arguments: &[&str],
        glob: &Path,
        (processing, compression): (Processing, &Compression),
        buffering: &str,
    ) -> Result<(Command, PathBuf), Box<dyn Error>> {
        let configuration = self.folder.join("hydrant.yaml");
        let text = format!(
            "state_dir: {}\n\
             delivery_streams:\n\
             - name: bench\n\
            \x20 source: {{ file: {{ paths: [\"{}\"] }} }}\n\
            \x20 processing: {}\n\
            \x20 buffering: {buffering}\n\
            \x20 compression: {}\n\
            \x20 destination: {{ directory: {{ path: {} }} }}\n",
            self.folder.join("state").display(),
            glob.display(),
            processing.yaml(),
            compression.yaml(),
            self.objects().display(),
        );
        fs::write(&configuration, text)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_hydrant"));
        command.arg("run").args(arguments).arg("--config").arg(configuration);
        Ok((command, self.folder.join("said")))
    }

    /// Every complete object.
    pub fn delivered(&self) -> Result<Vec<PathBuf>, Box<dyn Error>> {
        let mut objects = Vec::new();
        if self.objects().exists() {
            let visible = |entry: &walkdir::DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
            for entry in walkdir::WalkDir::new(self.objects()).into_iter().filter_entry(visible) {
                let entry = entry?;
                if entry.file_type().is_file() {
                    objects.push(entry.into_path());
                }
            }
        }
        Ok(objects)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run with this process id, or by hand.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Delivers one file with `run --drain`: what it cost, and the objects' bytes.
pub fn drain(
    cache: &Path,
    input: &Path,
    processing: Processing,
    compression: &Compression,
) -> Result<(Usage, u64), Box<dyn Error>> {
    let run = Run::new(cache)?;
    let buffering = format!("{{ size_mb: {BUFFER_MB}, interval_seconds: 900 }}");
    let (mut command, said) = run.command(&["--drain"], input, (processing, compression), &buffering)?;
    let usage = process::run(&mut command, &said)?;

    let (mut stored, mut records) = (0, 0);
    for object in run.delivered()? {
        stored += fs::metadata(&object)?.len();
        records += content_length(compression, &object)?;
    }
    let read = fs::metadata(input)?.len();
    match compression {
        // snappy has no reader here; the tests read it back with a foreign one.
        Compression::SnappyDefault => {}
        _ if records == read => {}
        _ => return Err(format!("{}: {read} bytes went in, {records} came out", compression.label()).into()),
    }
    Ok((usage, stored))
}

/// Bytes in an object after decompression.
pub fn content_length(compression: &Compression, object: &Path) -> Result<u64, Box<dyn Error>> {
    let file = BufReader::new(File::open(object)?);
    Ok(match compression {
        Compression::None | Compression::SnappyDefault => fs::metadata(object)?.len(),
        Compression::GzipDefault | Compression::Gzip(_) => count(flate2::bufread::MultiGzDecoder::new(file))?,
        Compression::ZstdDefault => count(zstd::stream::read::Decoder::with_buffer(file)?)?,
    })
}

fn count(mut reader: impl Read) -> io::Result<u64> {
    let mut block = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        match reader.read(&mut block)? {
            0 => return Ok(total),
            length => total += length as u64,
        }
    }
}
