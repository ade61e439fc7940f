//! What a redrive would read: it lists and counts, sends nothing and writes nothing.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::model::DeliveryStreamConfig;
use crate::destination::ErrorClass;
use crate::destination::retry::RetryLimits;
use crate::journal::{self, ObjectRow};
use crate::record::Position;

use super::envelope::{self, Failed, Unreadable};
use super::job::{Job, Selection, Whose};
use super::lines::{LINE_BYTES_MAX, Line, Lines};
use super::objects::{self, ErrorObject, Listing, ObjectError, ObjectReader, Objects};
use super::source::{self, KnownBy};
use super::{Progress, RedriveError, name_of};

/// Reads every object of the job but for what earlier redrives have settled. `show` hears of each, with the failed records and the
/// unreadable lines in it, and may fail.
pub async fn run(
    job: &Job,
    state_dir: &Path,
    stream: &DeliveryStreamConfig,
    limits: RetryLimits,
    progress: &Progress,
    show: &mut (dyn FnMut(&ErrorObject, u64, u64) -> io::Result<()> + Send),
) -> Result<(), RedriveError> {
    let selection = Selection::new(job, stream);
    let place = objects::open(&stream.error_output.destination).await;
    let (state_dir, name) = (state_dir.to_owned(), name_of(&stream.name));
    let reading = tokio::task::spawn_blocking(move || journal::objects_of(&state_dir, &name));
    let known = crate::pool::join(reading).await?;
    let mut listing = Listing::new(place.clone(), selection.prefixes.clone(), limits);
    while let Some(object) = listing.next().await? {
        match selection.whose(&object) {
            Whose::Own => {}
            Whose::Another => continue,
            Whose::Unclear => {
                progress.add_object_left(&object.key, &Whose::UNCLEAR);
                continue;
            }
        }
        progress.objects.fetch_add(1, Ordering::Relaxed);
        progress.object_bytes.fetch_add(object.size, Ordering::Relaxed);
        let from = match before(&known, &source::place(&place, &object), &object) {
            Before::Settled(from) => from,
            Before::Done => {
                progress.objects_before.fetch_add(1, Ordering::Relaxed);
                progress.bytes_done.fetch_add(object.size, Ordering::Relaxed);
                continue;
            }
            Before::Changed => {
                progress.add_object_left(&object.key, &source::CHANGED);
                continue;
            }
        };
        let (mut records, mut unreadable) = (0, 0);
        let of_line = &mut |line: Result<Failed, Unreadable>, start: u64| match line {
            Ok(failed) => {
                records += 1;
                progress.count_read(&failed);
            }
            Err(reason) => {
                unreadable += 1;
                progress.add_unreadable(&object.key, start, &reason);
            }
        };
        match read(&place, &object, from, limits, of_line).await {
            Ok(()) => drop(progress.objects_done.fetch_add(1, Ordering::Relaxed)),
            Err(ObjectError::Attempt(error)) if error.class != ErrorClass::Denied => return Err(error.into()),
            Err(error) => progress.add_object_left(&object.key, &error),
        }
        progress.bytes_done.fetch_add(object.size, Ordering::Relaxed);
        show(&object, records, unreadable).map_err(|error| RedriveError::Failed(format!("cannot write: {error}")))?;
    }
    Ok(())
}

/// What earlier redrives have done with an object.
enum Before {
    /// Everything up to here.
    Settled(Position),
    Done,
    /// It was another one.
    Changed,
}

fn before(known: &HashMap<String, Vec<ObjectRow>>, place: &str, object: &ErrorObject) -> Before {
    let Some(rows) = known.get(place) else { return Before::Settled(Position::BEGINNING) };
    let is_same =
        |row: &&ObjectRow| serde_json::from_str::<KnownBy>(&row.evidence).is_ok_and(|known| known.is_of(object));
    match rows.iter().find(is_same) {
        Some(row) if row.is_done => Before::Done,
        Some(row) => Before::Settled(row.checkpoint),
        None => Before::Changed,
    }
}

async fn read(
    place: &Arc<dyn Objects>,
    object: &ErrorObject,
    from: Position,
    limits: RetryLimits,
    of_line: &mut (dyn FnMut(Result<Failed, Unreadable>, u64) + Send),
) -> Result<(), ObjectError> {
    let reader = ObjectReader::open(place.clone(), object.clone(), from.offset(), limits).await?;
    let mut lines = Lines::new(reader, from.offset());
    while let Some(Line { start, bytes, .. }) = lines.next().await? {
        let failed = bytes.as_deref().ok_or(Unreadable::TooLong(LINE_BYTES_MAX)).and_then(envelope::read);
        of_line(failed, start);
    }
    Ok(())
}
