//! Reading a bucket: what is in it, and what an object holds.

use std::time::SystemTime;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use jiff::Timestamp;

use crate::destination::{AttemptError, ErrorClass};

use super::{S3Destination, classify};

/// An object as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub size: u64,
    pub modified: Timestamp,
    /// As the store gives it, quotes included; empty where it gives none.
    pub etag: String,
}

/// What asking for an object's content came to.
pub enum Content {
    Bytes(ByteStream),
    /// Another object has its key by now.
    Changed,
    Gone,
}

impl S3Destination {
    /// The next objects under `prefix` whose keys come after `after`, in the order of keys, and whether there are more.
    /// One attempt.
    pub async fn list(&self, prefix: &str, after: &str) -> Result<(Vec<Listed>, bool), AttemptError> {
        let request = self.request("LIST", prefix);
        let send = async |client: &Client| {
            let list = client.list_objects_v2().bucket(&self.config.bucket).prefix(prefix);
            let list = list.set_start_after(Some(after.to_owned()).filter(|after| !after.is_empty()));
            let answer = list.send().await.map_err(|error| request.failed(&error))?;
            let has_more = answer.is_truncated().unwrap_or_default();
            let listed: Vec<_> = answer.contents.unwrap_or_default().into_iter().filter_map(listed).collect();
            if has_more && listed.is_empty() {
                return Err(endless(&request.bucket_and_key()));
            }
            Ok((listed, has_more))
        };
        self.attempt(&request, self.config.request_timeout, send).await
    }

    /// An object's bytes from `from` on, which must be within it. One attempt, which ends with the answer's head.
    pub async fn get(&self, listed: &Listed, from: u64) -> Result<Content, AttemptError> {
        let request = self.request("GET", &listed.key);
        let send = async |client: &Client| {
            let get = client.get_object().bucket(&self.config.bucket).key(&listed.key);
            let get = get.set_if_match(Some(listed.etag.clone()).filter(|etag| !etag.is_empty()));
            match get.set_range((from > 0).then(|| format!("bytes={from}-"))).send().await {
                // A store that does not know `If-Match` answers as if it had not been asked; one without ranges sends all.
                Ok(answer) if !is_same(&listed.etag, answer.e_tag()) => Ok(Content::Changed),
                Ok(answer) if answer.content_length() != i64::try_from(listed.size - from).ok() => Ok(Content::Changed),
                Ok(answer) => Ok(Content::Bytes(answer.body)),
                Err(error) => match (classify::status(&error), error.as_service_error()) {
                    (Some(404), Some(refusal)) if refusal.is_no_such_key() => Ok(Content::Gone),
                    (Some(412 | 416), _) => Ok(Content::Changed),
                    _ => Err(request.failed(&error)),
                },
            }
        };
        self.attempt(&request, self.config.request_timeout, send).await
    }
}

fn listed(object: aws_sdk_s3::types::Object) -> Option<Listed> {
    let modified = object.last_modified.and_then(|time| SystemTime::try_from(time).ok());
    Some(Listed {
        key: object.key?,
        size: object.size.and_then(|size| u64::try_from(size).ok())?,
        modified: Timestamp::try_from(modified?).ok()?,
        etag: object.e_tag.unwrap_or_default(),
    })
}

/// Some stores leave the quotes away in one of the two answers.
fn is_same(listed: &str, found: Option<&str>) -> bool {
    let bare = |etag: &str| etag.trim_start_matches("W/").trim_matches('"').to_owned();
    found.is_none_or(|found| listed.is_empty() || bare(listed) == bare(found))
}

/// Asking again would give the same page.
fn endless(place: &str) -> AttemptError {
    let message = format!("LIST {place}: the store says that there is more and shows nothing");
    AttemptError { class: ErrorClass::Denied, code: "UnexpectedAnswer".to_owned(), message, ambiguous: false }
}
