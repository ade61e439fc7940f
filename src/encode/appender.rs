//! The end of a lane: what goes into a payload, in memory or on the disk.
//!
//! Always true: what was appended is in the payload, however long the disk did not take it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::error;

use crate::log_limit::LogLimit;
use crate::pool::join;

use super::lane::Forming;
use super::payload::{Payload, PayloadWriter};

/// After an error of the file system, until it is tried again.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Appender {
    writer: PayloadWriter,
    folder: PathBuf,
    log: Arc<LogLimit>,
}

impl Appender {
    pub fn new(forming: &Forming) -> Self {
        let writer = PayloadWriter::new(&forming.folder, &forming.entry_name, forming.memory_max);
        Self { writer, folder: forming.folder.clone(), log: forming.log.clone() }
    }

    /// Bytes that are held in memory.
    pub fn memory(&self) -> u64 {
        self.writer.memory()
    }

    /// Appends to the payload, and waits as long as the disk does not take it.
    pub async fn append(&mut self, bytes: Bytes) {
        if !bytes.is_empty() && !self.writer.append_in_memory(&bytes) {
            self.write(move |writer| writer.append(&bytes)).await;
        }
    }

    /// What is in memory goes to the disk; waits as long as the disk does not take it.
    pub async fn leave_memory(&mut self) {
        if self.memory() > 0 {
            self.write(PayloadWriter::leave_memory).await;
        }
    }

    async fn write(&mut self, write: impl Fn(&mut PayloadWriter) -> io::Result<()> + Clone + Send + 'static) {
        loop {
            let nothing = PayloadWriter::new(&self.folder, "", 0);
            let (mut writer, write) = (std::mem::replace(&mut self.writer, nothing), write.clone());
            let written = tokio::task::spawn_blocking(move || {
                let result = write(&mut writer);
                (writer, result)
            });
            let (writer, result) = join(written).await;
            self.writer = writer;
            match result {
                Ok(()) => return,
                Err(error) => {
                    if let Some(failures) = self.log.failed() {
                        let folder = self.folder.display();
                        error!(%error, %folder, failures, retry_in = ?RETRY, "a payload cannot be written; the stream waits");
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    pub fn finish(self) -> Payload {
        self.writer.finish()
    }
}
