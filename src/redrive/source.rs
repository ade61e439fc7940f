//! The source of a redrive: each error object is a source partition, and a line's place in it the position of its record.
//!
//! Always true: an object is journalled before anything of it is read, and stays known when it is done, so that nothing of it is
//! read a second time; what an earlier life has left is read first, as pending deliveries wait for it. An object that is another
//! by now, or gone, is reported and not read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tracing::error;

use crate::batches::{Batch, Told};
use crate::config::model::RedriveSourceConfig;
use crate::destination::ErrorClass;
use crate::destination::retry::RetryLimits;
use crate::failpoint;
use crate::journal::{NewPartition, PartitionRow};
use crate::memory::{Permit, guarded};
use crate::record::{self, Chunk, PartitionId, PlacedEvidence, Position, PositionRange, SourceEnds, SourcePartition};
use crate::source::{Source, SourceContext, SourceError, SourceEvent};

use super::Progress;
use super::envelope::{self, Unreadable};
use super::gather::{Gathered, is_processed};
use super::job::Whose;
use super::lines::{LINE_BYTES_MAX, Line, Lines};
use super::objects::{self, ErrorObject, Listing, ObjectError, ObjectReader, Objects};
use super::pace::Pace;

/// Objects that are looked up and journalled together: each time all that are known are gone through.
const REGISTERED: usize = 1000;
/// Largest chunk, and the smallest that a small `memory_limit_mb` leads to.
const CHUNK_MAX: u64 = 1 << 20;
const CHUNK_MIN: u64 = 64 << 10;
/// What a chunk costs beside its bytes.
const CHUNK_OVERHEAD: u64 = 1024;
/// How long to wait for memory until it is asked again whether to stop.
const MEMORY_STEP: Duration = Duration::from_millis(100);

/// Reads error objects again.
pub struct RedriveSource {
    config: RedriveSourceConfig,
    context: SourceContext,
    runtime: Handle,
    chunk: u64,
    pace: Pace,
    limits: RetryLimits,
    progress: Arc<Progress>,
}

/// What an error object is known by, as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownBy {
    key: String,
    size: u64,
    modified: jiff::Timestamp,
    etag: String,
    /// It was not there any more when the rest of it was to be read, and people were told so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_missing: bool,
}

/// Why an object that the journal knows is not read again.
pub(super) const CHANGED: &str = "it has changed since a redrive has read it";
/// Tells why an object of the journal is not looked for.
const ELSEWHERE: &str = "it is in another place than the error output is now";

/// An error object that is being read.
struct RedrivenObject {
    id: PartitionId,
    name: String,
}

impl SourcePartition for RedrivenObject {
    fn id(&self) -> PartitionId {
        self.id
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn evidence(&self, _: Position) -> Option<PlacedEvidence> {
        None
    }

    fn settled(&self, _: Position) {}
}

/// The stream takes nothing any more.
struct Ended;

/// What has come of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// It was there.
    Seen,
    Missing,
    /// The stream takes nothing any more.
    Ended,
}

impl Read {
    fn of(sent: Result<(), Ended>, read: Self) -> Self {
        sent.map_or(Self::Ended, |()| read)
    }
}

/// Why reading an object has come to an end before its own.
enum Stop {
    Ended,
    Object(ObjectError),
}

impl From<Ended> for Stop {
    fn from(_: Ended) -> Self {
        Self::Ended
    }
}

impl From<ObjectError> for Stop {
    fn from(error: ObjectError) -> Self {
        Self::Object(error)
    }
}

impl Source for RedriveSource {
    fn run(mut self: Box<Self>) -> Result<(), SourceError> {
        let (runtime, stop) = (self.runtime.clone(), self.context.stop.clone());
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = stop.cancelled() => Ok(()),
                result = self.read_all() => result,
            }
        })
    }
}

impl RedriveSource {
    /// Nothing is read yet. Called within the async runtime.
    pub fn new(config: RedriveSourceConfig, context: SourceContext) -> Self {
        let chunk = (context.budget.share() / 16 / context.copies).clamp(CHUNK_MIN, CHUNK_MAX);
        let pace = Pace::new(config.job.rate);
        let (progress, limits) = (context.counters.redrive.clone().unwrap_or_default(), RetryLimits::from_env());
        Self { config, context, runtime: Handle::current(), chunk, pace, limits, progress }
    }

    async fn read_all(&mut self) -> Result<(), SourceError> {
        self.wait_for_beginning().await;
        self.progress.begin_life();
        // What is read of a line until it is part of a chunk.
        let _reading = self.context.budget.overdraw(2 * self.chunk);
        let objects = objects::open(&self.config.error_output).await;
        let reads_on = self.finish_begun(&objects).await?;
        if reads_on && self.read_listed(&objects).await? {
            // Nobody listens when the stream has ended.
            let _ = self.send(SourceEvent::End).await;
        }
        Ok(())
    }

    /// Object stores tell the time in whole seconds: nothing is sent in the second in which objects are still to be read.
    async fn wait_for_beginning(&self) {
        let until = self.config.job.began.duration_since(record::now());
        if let Ok(wait) = Duration::try_from(until) {
            tokio::time::sleep(wait).await;
        }
    }

    /// What was begun in an earlier life, or by an earlier redrive. False when the stream has ended.
    async fn finish_begun(&mut self, objects: &Arc<dyn Objects>) -> Result<bool, SourceError> {
        let stream = self.context.stream;
        let begun = self.context.journal.run("unfinished", move |journal| journal.unfinished(stream)).await?;
        for row in begun {
            let Ok(known) = serde_json::from_str::<KnownBy>(&row.evidence) else {
                error!(place = row.place, "what an error object is known by cannot be read; it is left alone");
                continue;
            };
            if !self.finish(objects, row, known).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The rest of one object. That one is missing is told once; should it come back, it is read.
    async fn finish(
        &mut self,
        objects: &Arc<dyn Objects>,
        row: PartitionRow,
        known: KnownBy,
    ) -> Result<bool, SourceError> {
        let (was_missing, object) = (known.is_missing, ErrorObject::from(known.clone()));
        let read = if row.place == place(objects, &object) {
            if !was_missing {
                self.found(known.size);
            }
            self.read_one(objects, object, (row.id, row.checkpoint), was_missing).await?
        } else {
            if !was_missing {
                self.found(known.size);
                self.progress.add_object_left(&row.place, &ELSEWHERE);
            }
            self.lose(row.id, row.place, row.checkpoint).await
        };
        if read == Read::Missing && !was_missing {
            let evidence = KnownBy { is_missing: true, ..known };
            let evidence = serde_json::to_string(&evidence).unwrap_or_default();
            self.context.journal.run("missing object", move |journal| journal.set_evidence(row.id, &evidence)).await?;
        }
        Ok(read != Read::Ended)
    }

    /// All that the job means and no redrive has read. False when the stream has ended.
    async fn read_listed(&mut self, objects: &Arc<dyn Objects>) -> Result<bool, SourceError> {
        let selection = self.config.selection.clone();
        let mut listing = Listing::new(objects.clone(), selection.prefixes.clone(), self.limits);
        loop {
            let mut page = Vec::new();
            while page.len() < REGISTERED {
                let Some(object) = listing.next().await.map_err(SourceError::ErrorObjects)? else { break };
                match selection.whose(&object) {
                    Whose::Own => page.push(object),
                    Whose::Another => {}
                    Whose::Unclear => self.progress.add_object_left(&place(objects, &object), &Whose::UNCLEAR),
                }
            }
            if page.is_empty() {
                return Ok(true);
            }
            for (object, id) in self.register(objects, page).await? {
                if self.read_one(objects, object, (id, Position::BEGINNING), false).await? == Read::Ended {
                    return Ok(false);
                }
            }
        }
    }

    /// Journals the objects of a page that are new, and gives those back.
    async fn register(
        &self,
        objects: &Arc<dyn Objects>,
        page: Vec<ErrorObject>,
    ) -> Result<Vec<(ErrorObject, PartitionId)>, SourceError> {
        let (journal, stream) = (&self.context.journal, self.context.stream);
        let places: Vec<_> = page.iter().map(|object| place(objects, object)).collect();
        let asked = places.clone();
        let known = journal.run("known objects", move |journal| journal.at_places(stream, &asked)).await?;
        let mut new = Vec::new();
        for (object, place) in page.into_iter().zip(&places) {
            match known.get(place) {
                None => new.push(object),
                Some(rows) => self.pass_over(&object, rows),
            }
        }
        if new.is_empty() {
            return Ok(Vec::new());
        }
        new.iter().for_each(|object| self.found(object.size));
        let rows: Vec<_> = new.iter().map(|object| new_partition(objects, object)).collect();
        let ids = journal.run("register", move |journal| journal.register(stream, &rows)).await?;
        failpoint::pass("objects-registered");
        Ok(new.into_iter().zip(ids).collect())
    }

    /// An object whose place is in the journal already.
    fn pass_over(&self, object: &ErrorObject, rows: &[PartitionRow]) {
        let is_same =
            |row: &&PartitionRow| serde_json::from_str::<KnownBy>(&row.evidence).is_ok_and(|known| known.is_of(object));
        let began_ms = self.config.job.began.as_millisecond();
        let figure = match rows.iter().find(is_same).map(|row| row.gone_since) {
            Some(Some(at)) if at < began_ms => &self.progress.objects_before,
            // By an earlier life of this redrive.
            Some(Some(_)) => &self.progress.objects_done,
            // It was read, or reported, a moment ago.
            Some(None) => return,
            None => {
                self.found(object.size);
                return self.progress.add_object_left(&object.key, &CHANGED);
            }
        };
        self.found(object.size);
        self.done(figure, object.size);
    }

    fn found(&self, size: u64) {
        self.progress.objects.fetch_add(1, Ordering::Relaxed);
        self.progress.object_bytes.fetch_add(size, Ordering::Relaxed);
    }

    fn done(&self, figure: &AtomicU64, size: u64) {
        figure.fetch_add(1, Ordering::Relaxed);
        self.progress.bytes_done.fetch_add(size, Ordering::Relaxed);
    }

    /// One object from its checkpoint to its end. That it is gone is no news if it `was_missing`.
    async fn read_one(
        &mut self,
        objects: &Arc<dyn Objects>,
        object: ErrorObject,
        (id, checkpoint): (PartitionId, Position),
        was_missing: bool,
    ) -> Result<Read, SourceError> {
        let (name, size) = (place(objects, &object), object.size);
        let handle = Arc::new(RedrivenObject { id, name: name.clone() });
        let mut at = checkpoint;
        let error = match self.read_lines(objects, object, handle, &mut at).await {
            Ok(()) => {
                if was_missing {
                    self.found(size); // It has come back.
                }
                self.done(&self.progress.objects_done, size);
                return Ok(Read::of(self.send(SourceEvent::Gone(id)).await, Read::Seen));
            }
            Err(Stop::Ended) => return Ok(Read::Ended),
            Err(Stop::Object(ObjectError::Attempt(error))) if error.class != ErrorClass::Denied => {
                return Err(SourceError::ErrorObjects(error));
            }
            Err(Stop::Object(error)) => error,
        };
        if !(was_missing && matches!(error, ObjectError::Gone)) {
            self.progress.add_object_left(&name, &error);
        }
        match error {
            ObjectError::Gone => Ok(self.lose(id, name, at).await),
            ObjectError::Changed => {
                let lost = self.lose(id, name, at).await;
                Ok(if lost == Read::Ended { lost } else { Read::Seen })
            }
            // It is there; the next redrive tries again.
            ObjectError::Damaged(_) | ObjectError::Attempt(_) => Ok(Read::Seen),
        }
    }

    /// What comes at `from` and behind cannot be read.
    async fn lose(&self, partition: PartitionId, name: String, from: Position) -> Read {
        Read::of(self.send(SourceEvent::Unreadable { partition, name, from, is_cut: false }).await, Read::Missing)
    }

    /// From `at` on, which follows what the stream has got.
    async fn read_lines(
        &mut self,
        objects: &Arc<dyn Objects>,
        object: ErrorObject,
        handle: Arc<RedrivenObject>,
        at: &mut Position,
    ) -> Result<(), Stop> {
        let checkpoint = *at;
        let key = object.key.clone();
        let reader = ObjectReader::open(objects.clone(), object, checkpoint.offset(), self.limits).await?;
        let mut told = self.context.told.take(handle.id);
        self.send(SourceEvent::Opened { partition: handle.clone(), checkpoint }).await?;
        let (mut lines, mut gathered) = (Lines::new(reader, checkpoint.offset()), Gathered::default());
        loop {
            let Line { start, end, bytes } = match lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    // What stands before the damage is sound.
                    self.send_gathered(&handle, &mut gathered, &mut told, at).await?;
                    return Err(error.into());
                }
            };
            let failed = bytes.as_deref().ok_or(Unreadable::TooLong(LINE_BYTES_MAX)).and_then(envelope::read);
            let failed = failed.inspect_err(|reason| self.progress.add_unreadable(&key, start, reason));
            let stage = failed.as_ref().ok().map(|failed| is_processed(failed, self.config.needs_keys));
            if stage.is_none_or(|stage| !gathered.goes_on(start, stage)) {
                self.send_gathered(&handle, &mut gathered, &mut told, at).await?;
            }
            if gathered.is_empty() && at.offset() < start {
                self.skip(handle.id, start, at).await?; // Blank lines.
            }
            match (failed, stage) {
                (Ok(failed), Some(stage)) => {
                    self.progress.count_read(&failed);
                    gathered.push(start, end, stage, failed);
                }
                (Ok(_) | Err(_), _) => self.skip(handle.id, end, at).await?,
            }
            if self.is_enough(&gathered, &told) {
                self.send_gathered(&handle, &mut gathered, &mut told, at).await?;
            }
        }
        self.send_gathered(&handle, &mut gathered, &mut told, at).await?;
        Ok(())
    }

    /// Whether what has gathered is a chunk: as it was before, or as large as a chunk may be.
    fn is_enough(&self, gathered: &Gathered, told: &Told) -> bool {
        if gathered.is_empty() {
            return false;
        }
        match (told.end_of(Position::at(gathered.start)), told.border(Position::at(gathered.start))) {
            (Some(end), _) => Position::at(gathered.end) >= end,
            (None, Some(border)) if Position::at(gathered.end) >= border => true,
            (None, _) => gathered.memory() >= self.chunk || self.pace.is_enough(gathered.records()),
        }
    }

    async fn send_gathered(
        &mut self,
        handle: &Arc<RedrivenObject>,
        gathered: &mut Gathered,
        told: &mut Told,
        at: &mut Position,
    ) -> Result<(), Ended> {
        let gathered = std::mem::take(gathered);
        if gathered.is_empty() {
            return Ok(());
        }
        let batch = told.holding(Position::at(gathered.start), Position::at(gathered.end));
        told.pass(Position::at(gathered.end));
        self.pace.wait(gathered.records()).await;
        let permit = self.memory_for(gathered.memory())?;
        let (records, bytes) = (gathered.records() as u64, gathered.end - gathered.start);
        let chunk = chunk_of(handle.clone(), gathered, batch, permit);
        self.context.counters.records.fetch_add(records, Ordering::Relaxed);
        self.context.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        failpoint::pass("read");
        self.send(SourceEvent::Chunk(chunk)).await?;
        *at = at.plus(bytes);
        Ok(())
    }

    /// What lies between `at` and `end` holds no record.
    async fn skip(&self, partition: PartitionId, end: u64, at: &mut Position) -> Result<(), Ended> {
        self.send(SourceEvent::Skipped { partition, range: PositionRange::new(at.offset(), end) }).await?;
        *at = Position::at(end);
        Ok(())
    }

    /// Memory for a chunk of so many bytes and for each buffer that it goes to. Blocks this thread, which is the source's own.
    fn memory_for(&self, bytes: u64) -> Result<Arc<Permit>, Ended> {
        let wanted = (bytes + CHUNK_OVERHEAD) * self.context.copies;
        loop {
            if let Some(permit) = self.context.budget.acquire(wanted, &self.context.stop, MEMORY_STEP) {
                permit.absorb(self.context.budget.overdraw(wanted.saturating_sub(permit.bytes())));
                return Ok(permit);
            }
            if self.context.stop.is_cancelled() || self.context.events.is_closed() {
                return Err(Ended);
            }
        }
    }

    async fn send(&self, event: SourceEvent) -> Result<(), Ended> {
        self.context.events.send(event).await.map_err(|_| Ended)
    }
}

fn chunk_of(partition: Arc<RedrivenObject>, gathered: Gathered, batch: Option<Batch>, permit: Arc<Permit>) -> Chunk {
    let Gathered { start, end: _, data, ends, source_ends, earlier, is_processed } = gathered;
    let at = |ms| jiff::Timestamp::from_millisecond(ms).ok();
    Chunk {
        partition,
        start: Position::at(start),
        data: guarded(data, permit.clone()),
        ends: Arc::new(ends),
        delimiter_len: 0,
        last_is_bare: false,
        source_ends: Some(SourceEnds::Offsets(Arc::new(source_ends))),
        made: None,
        record_ends: None,
        partitions: None,
        rows: None,
        origins: None,
        earlier: Some(Arc::new(earlier)),
        is_processed,
        arrival: batch.and_then(|batch| at(batch.arrival_ms)).unwrap_or_else(record::now),
        failed_at: batch.and_then(|batch| batch.failed_ms).and_then(at),
        permit,
    }
}

/// Where an object lies, as the journal and people know it.
pub(super) fn place(objects: &Arc<dyn Objects>, object: &ErrorObject) -> String {
    format!("{}/{}", objects.name(), object.key)
}

fn new_partition(objects: &Arc<dyn Objects>, object: &ErrorObject) -> NewPartition {
    NewPartition {
        place: place(objects, object),
        device: 0,
        inode: 0,
        checkpoint: Position::BEGINNING,
        evidence: serde_json::to_string(&KnownBy::from(object)).unwrap_or_default(),
        copy_of: None,
    }
}

impl KnownBy {
    /// An ETag is of the content; without one the time has to do.
    pub(super) fn is_of(&self, object: &ErrorObject) -> bool {
        let has_etag = !self.etag.is_empty() && !object.etag.is_empty();
        let is_same = if has_etag { self.etag == object.etag } else { self.modified == object.modified };
        is_same && self.size == object.size
    }
}

impl From<&ErrorObject> for KnownBy {
    fn from(object: &ErrorObject) -> Self {
        let ErrorObject { key, size, modified, etag } = object.clone();
        Self { key, size, modified, etag, is_missing: false }
    }
}

impl From<KnownBy> for ErrorObject {
    fn from(known: KnownBy) -> Self {
        let KnownBy { key, size, modified, etag, is_missing: _ } = known;
        Self { key, size, modified, etag }
    }
}

#[cfg(test)]
mod tests;
