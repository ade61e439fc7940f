//! The JSON log of these runs: whole lines only, some of them bad if so wished, and what must come of them.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::workload::Workload;
use crate::{Result, bad};

pub struct Log {
    pub path: PathBuf,
    pub bytes: u64,
    /// Of the good lines.
    pub good: Sum,
    pub bad: u64,
}

/// Rows, whatever their order is: how many, and all their trace ids added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    pub rows: u64,
    pub ids: u64,
}

impl Sum {
    pub fn add(&mut self, trace_id: &[u8]) {
        self.rows += 1;
        // FNV: that lost and doubled lines make up for each other takes luck.
        let hash = trace_id.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        self.ids = self.ids.wrapping_add(hash);
    }
}

impl Log {
    /// A log of about `bytes` bytes in `folder`, in the page cache; `bad` in a hundred of its lines are spoilt.
    pub fn make(cache: &Path, folder: &Path, bytes: u64, bad: usize) -> Result<Self> {
        let path = folder.join(format!("{bad}-percent-bad.log"));
        let mut source = BufReader::new(File::open(Workload::Json.file(cache, bytes)?)?);
        let mut out = BufWriter::new(File::create(&path)?);
        let mut log = Self { path, bytes: 0, good: Sum::default(), bad: 0 };
        let (mut line, mut next, mut text) = (Vec::new(), Vec::new(), Vec::new());
        source.read_until(b'\n', &mut line)?;
        for index in 0.. {
            next.clear();
            // The last line was cut when the log was made: it is left out.
            if source.read_until(b'\n', &mut next)? == 0 {
                break;
            }
            let whole = line.strip_suffix(b"\n").unwrap_or(&line);
            text.clear();
            if bad::spoil(whole, index, bad, &mut text) {
                log.bad += 1;
            } else {
                text.extend_from_slice(whole);
                log.good.add(trace_id(whole).ok_or("a line of the log has no trace id")?);
            }
            text.push(b'\n');
            out.write_all(&text)?;
            log.bytes += text.len() as u64;
            std::mem::swap(&mut line, &mut next);
        }
        out.flush()?;
        // Its way to the disk must not fall into the first case.
        out.get_ref().sync_all()?;
        Ok(log)
    }
}

fn trace_id(line: &[u8]) -> Option<&[u8]> {
    const KEY: &[u8] = b"\"trace_id\":\"";
    let start = line.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    line.get(start..start + 32)
}
