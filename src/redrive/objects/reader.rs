//! An object's bytes in order, from any offset on, whatever becomes of the connection meanwhile.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use tokio::io::AsyncReadExt;

use crate::destination::retry::RetryLimits;
use crate::destination::{AttemptError, ErrorClass};

use super::{Body, ErrorObject, ObjectError, Objects, Patience};

/// Bytes that are read at a time.
const BLOCK_BYTES: usize = 128 << 10;
/// Compressed bytes that are decompressed at a time: they become at most a thousand times as many.
const COMPRESSED_BYTES: usize = 4 << 10;
/// How long the next bytes may take.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How a gzip stream begins. No line of JSON does.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Reads one object.
pub struct ObjectReader {
    objects: Arc<dyn Objects>,
    object: ErrorObject,
    body: Option<Body>,
    /// Where `body` stands in the object as it is stored.
    offset: u64,
    gzip: Option<MultiGzDecoder<Vec<u8>>>,
    /// Why nothing more can be decompressed, while what stands before is given out.
    damage: Option<String>,
    /// Decompressed bytes that the caller has had already.
    skip: u64,
    block: Vec<u8>,
    /// Bytes that stand before those at `offset`, and are still to be given out.
    head: Vec<u8>,
    limits: RetryLimits,
}

impl ObjectReader {
    /// Begins at `from`, counted in decompressed bytes if the object is a gzip stream, which its first bytes tell.
    pub async fn open(
        objects: Arc<dyn Objects>,
        object: ErrorObject,
        from: u64,
        limits: RetryLimits,
    ) -> Result<Self, ObjectError> {
        let (block, head) = (vec![0; BLOCK_BYTES], Vec::new());
        let mut reader =
            Self { objects, object, body: None, offset: 0, gzip: None, damage: None, skip: 0, block, head, limits };
        let read = reader.fill(GZIP_MAGIC.len()).await?;
        if reader.block[..read] == GZIP_MAGIC {
            (reader.gzip, reader.skip) = (Some(decoder()), from);
        } else if from > 0 {
            (reader.body, reader.offset) = (None, from);
            return Ok(reader);
        }
        reader.head = reader.block[..read].to_vec();
        Ok(reader)
    }

    /// The next bytes, of which there is at least one; `None` at the end. Cancel safe only in that it can be dropped.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ObjectError> {
        if let Some(damage) = self.damage.clone() {
            return Err(ObjectError::Damaged(damage));
        }
        let Some(mut gzip) = self.gzip.take() else {
            let read = self.fill(BLOCK_BYTES).await?;
            return Ok((read > 0).then(|| Bytes::copy_from_slice(&self.block[..read])));
        };
        loop {
            let read = self.fill(COMPRESSED_BYTES).await?;
            let decompressed = if read == 0 { gzip.try_finish() } else { gzip.write_all(&self.block[..read]) };
            self.damage = decompressed.err().map(|error| error.to_string());
            let mut bytes = Bytes::from(std::mem::take(gzip.get_mut()));
            let skipped = self.skip.min(bytes.len() as u64);
            self.skip -= skipped;
            // No more than `bytes` holds.
            let bytes = bytes.split_off(skipped as usize);
            if let Some(damage) = self.damage.clone().filter(|_| bytes.is_empty()) {
                return Err(ObjectError::Damaged(damage));
            }
            if read == 0 || !bytes.is_empty() {
                self.gzip = (read > 0).then_some(gzip);
                return Ok(Some(bytes).filter(|bytes| !bytes.is_empty()));
            }
        }
    }

    /// Reads so many bytes of the stored object into `block`, fewer only at its end.
    async fn fill(&mut self, wanted: usize) -> Result<usize, ObjectError> {
        let mut patience = Patience::new(self.limits);
        let mut filled = self.head.len();
        self.block[..filled].copy_from_slice(&self.head);
        self.head.clear();
        while filled < wanted && self.offset < self.object.size {
            match self.read(filled, wanted).await {
                Ok(read) => {
                    filled += read;
                    patience = Patience::new(self.limits);
                }
                Err(ObjectError::Attempt(error)) => {
                    self.body = None;
                    patience.wait(error).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    async fn read(&mut self, filled: usize, wanted: usize) -> Result<usize, ObjectError> {
        let body = match &mut self.body {
            Some(body) => body,
            body => body.insert(self.objects.body(&self.object, self.offset).await?),
        };
        let read = body.read(&mut self.block[filled..wanted]);
        match tokio::time::timeout(READ_TIMEOUT, read).await.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            Ok(0) => Err(broken(&self.object, "it ended early").into()),
            Ok(read) => {
                self.offset += read as u64;
                Ok(read)
            }
            Err(error) => Err(broken(&self.object, &crate::chain::chain(&error)).into()),
        }
    }
}

fn decoder() -> MultiGzDecoder<Vec<u8>> {
    MultiGzDecoder::new(Vec::new())
}

/// The bytes did not come to their end; they are asked for again from where they broke off.
fn broken(object: &ErrorObject, reason: &str) -> AttemptError {
    let message = format!("reading {}: {reason}", object.key);
    AttemptError { class: ErrorClass::Transient, code: "BrokenOff".to_owned(), message, ambiguous: false }
}
