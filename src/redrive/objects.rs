//! Error objects: found page by page, and read from any offset on.
//!
//! Always true: what is held does not grow with the number of objects or their size; an object is read only as it was when
//! it was listed, and one that is another by now is reported instead. Offsets count the bytes behind gzip, where there is.

mod directory;
mod reader;
#[cfg(test)]
pub(super) mod testing;

pub(crate) use directory::INVALID_PREFIX;
pub use reader::ObjectReader;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncRead;

use crate::config::model::ObjectStoreConfig;
use crate::destination::retry::{Backoff, RetryLimits, random};
use crate::destination::s3::{Content, S3Destination};
use crate::destination::{AttemptError, BoxFuture, ErrorClass};

use directory::Directory;

/// An object as a listing shows it.
pub type ErrorObject = crate::destination::s3::Listed;

/// For how long what may pass by itself is tried again without any progress.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of an object as they are stored.
pub type Body = Pin<Box<dyn AsyncRead + Send>>;

/// The next objects of a listing.
pub struct Page {
    /// In the order of their keys.
    pub objects: Vec<ErrorObject>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// Another object has its key by now.
    #[error("the object is not what it was when it was listed")]
    Changed,
    #[error("the object is gone")]
    Gone,
    #[error("the object cannot be decompressed: {0}")]
    Damaged(String),
    #[error(transparent)]
    Attempt(#[from] AttemptError),
}

/// Where error objects lie. Each call is one attempt.
pub trait Objects: Send + Sync + 'static {
    /// For people: `s3://bucket` or the folder.
    fn name(&self) -> String;

    /// Objects under `prefix` whose keys come after `after`, in the order of keys.
    fn page<'a>(&'a self, prefix: &'a str, after: &'a str) -> BoxFuture<'a, Result<Page, AttemptError>>;

    /// The object as it is stored, from `from` on, which must be within it.
    fn body<'a>(&'a self, object: &'a ErrorObject, from: u64) -> BoxFuture<'a, Result<Body, ObjectError>>;
}

/// Opens the place of an error output, which need not be there yet.
pub async fn open(place: &ObjectStoreConfig) -> Arc<dyn Objects> {
    match place {
        ObjectStoreConfig::S3(s3, _) => Arc::new(S3Destination::open(s3).await),
        ObjectStoreConfig::Directory(directory, _) => Arc::new(Directory::new(&directory.path)),
    }
}

/// Whether keys may begin with `prefix` there.
pub fn check_prefix(place: &ObjectStoreConfig, prefix: &str) -> Result<(), AttemptError> {
    match place {
        ObjectStoreConfig::S3(..) => Ok(()),
        ObjectStoreConfig::Directory(directory, _) => directory::check(&directory.path, prefix).map(drop),
    }
}

impl Objects for S3Destination {
    fn name(&self) -> String {
        crate::destination::Destination::name(self)
    }

    fn page<'a>(&'a self, prefix: &'a str, after: &'a str) -> BoxFuture<'a, Result<Page, AttemptError>> {
        Box::pin(async move {
            let (objects, has_more) = self.list(prefix, after).await?;
            let next = objects.last().filter(|_| has_more).map(|last| last.key.clone());
            Ok(Page { objects, next })
        })
    }

    fn body<'a>(&'a self, object: &'a ErrorObject, from: u64) -> BoxFuture<'a, Result<Body, ObjectError>> {
        Box::pin(async move {
            match self.get(object, from).await? {
                Content::Bytes(bytes) => Ok(Box::pin(bytes.into_async_read()) as Body),
                Content::Changed => Err(ObjectError::Changed),
                Content::Gone => Err(ObjectError::Gone),
            }
        })
    }
}

/// The objects of a selection, one by one in the order of keys.
pub struct Listing {
    objects: Arc<dyn Objects>,
    /// Those that are still to be listed, in reverse order.
    prefixes: Vec<String>,
    page: std::vec::IntoIter<ErrorObject>,
    /// Where the next page of the last prefix begins; `None` once all of it is listed.
    next: Option<String>,
    limits: RetryLimits,
}

impl Listing {
    /// Lists what begins with one of `prefixes`, of which none begins with another one.
    pub fn new(objects: Arc<dyn Objects>, mut prefixes: Vec<String>, limits: RetryLimits) -> Self {
        prefixes.sort_unstable_by(|one, other| other.cmp(one));
        let next = (!prefixes.is_empty()).then(String::new);
        Self { objects, prefixes, page: Vec::new().into_iter(), next, limits }
    }

    /// The next object; `None` behind the last one. What may pass by itself is tried again for a minute.
    pub async fn next(&mut self) -> Result<Option<ErrorObject>, AttemptError> {
        loop {
            if let Some(object) = self.page.next() {
                return Ok(Some(object));
            }
            if self.next.is_none() {
                self.prefixes.pop();
                self.next = (!self.prefixes.is_empty()).then(String::new);
            }
            let (Some(prefix), Some(after)) = (self.prefixes.last(), &self.next) else { return Ok(None) };
            let mut patience = Patience::new(self.limits);
            let page = loop {
                match self.objects.page(prefix, after).await {
                    Ok(page) => break page,
                    Err(error) => patience.wait(error).await?,
                }
            };
            self.next = page.next;
            self.page = page.objects.into_iter();
        }
    }
}

/// Waits between the attempts of one thing, until a person has to act or time is up.
struct Patience {
    backoff: Backoff,
    began: tokio::time::Instant,
}

impl Patience {
    fn new(limits: RetryLimits) -> Self {
        Self { backoff: Backoff::new(limits), began: tokio::time::Instant::now() }
    }

    /// Gives the error back where another attempt is of no use.
    async fn wait(&mut self, error: AttemptError) -> Result<(), AttemptError> {
        match error.class {
            ErrorClass::Denied => Err(error),
            ErrorClass::Transient | ErrorClass::Throttled if self.began.elapsed() >= PATIENCE => Err(error),
            ErrorClass::Transient | ErrorClass::Throttled => {
                tracing::warn!(%error, "error objects cannot be read; trying again");
                tokio::time::sleep(self.backoff.delay(error.class, random())).await;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
