//! What a redrive would read: it lists and counts, sends nothing and writes nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::model::DeliveryStreamConfig;
use crate::destination::ErrorClass;
use crate::destination::retry::RetryLimits;

use super::envelope::{self, Failed, Unreadable};
use super::job::{Job, Selection, Whose};
use super::lines::{LINE_BYTES_MAX, Line, Lines};
use super::objects::{self, ErrorObject, Listing, ObjectError, ObjectReader, Objects};
use super::{Progress, RedriveError};

/// Reads every object of the job. `show` hears of each, with the failed records and the unreadable lines in it, and may fail.
pub async fn run(
    job: &Job,
    stream: &DeliveryStreamConfig,
    limits: RetryLimits,
    progress: &Progress,
    show: &mut (dyn FnMut(&ErrorObject, u64, u64) -> io::Result<()> + Send),
) -> Result<(), RedriveError> {
    let selection = Selection::new(job, stream);
    let place = objects::open(&stream.error_output.destination).await;
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
        match read(&place, &object, limits, of_line).await {
            Ok(()) => drop(progress.objects_done.fetch_add(1, Ordering::Relaxed)),
            Err(ObjectError::Attempt(error)) if error.class != ErrorClass::Denied => return Err(error.into()),
            Err(error) => progress.add_object_left(&object.key, &error),
        }
        progress.bytes_done.fetch_add(object.size, Ordering::Relaxed);
        show(&object, records, unreadable).map_err(|error| RedriveError::Failed(format!("cannot write: {error}")))?;
    }
    Ok(())
}

async fn read(
    place: &Arc<dyn Objects>,
    object: &ErrorObject,
    limits: RetryLimits,
    of_line: &mut (dyn FnMut(Result<Failed, Unreadable>, u64) + Send),
) -> Result<(), ObjectError> {
    let reader = ObjectReader::open(place.clone(), object.clone(), 0, limits).await?;
    let mut lines = Lines::new(reader, 0);
    while let Some(Line { start, bytes, .. }) = lines.next().await? {
        let failed = bytes.as_deref().ok_or(Unreadable::TooLong(LINE_BYTES_MAX)).and_then(envelope::read);
        of_line(failed, start);
    }
    Ok(())
}
