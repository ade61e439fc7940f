//! The child of a delivery: one object with the envelopes of all that a receiver has not taken of it.
//!
//! Always true: its key is journalled before it is put, and which records it holds, with which reasons, follows from what is
//! journalled of the failed requests: another life forms it of the same under the same key, and the first object stays.

use std::sync::Arc;

use bytes::Bytes;

use crate::destination::Object;
use crate::encode::frames;
use crate::encode::lane::Lane;
use crate::envelope;
use crate::failpoint;
use crate::journal::{Journal, JournalError};
use crate::output::{Place, Target};
use crate::pool::join;
use crate::record::Content;
use crate::requests::{Child, Reason, RequestState};

use super::parts::{self, Part};
use super::sending::Way;

/// So much is formed at once: an endpoint's words stand in every line.
const LINES_BYTES: usize = 256 << 10;

impl Way {
    /// Puts what has failed of `parts` where failed records go, however long that takes. Its bytes; `None` when cancelled.
    pub(super) async fn put_child(
        &self,
        parts: Vec<Part>,
        before: Option<(Child, Place)>,
    ) -> Result<Option<u64>, JournalError> {
        let may_exist = before.is_some();
        let (child, place) = match before {
            Some(known) => known,
            None => self.intend_child().await?,
        };
        failpoint::pass("child-journalled");
        let destination = match &place.target {
            Target::Objects(destination) => destination.clone(),
            // A backup takes objects: the configuration has no other.
            Target::Requests(..) => return Ok(None),
        };
        let output = &self.shipping.child;
        let mut lane = Lane::open(output.forming(&child.uuid, self.arrival), self.shipping.pool.clone());
        for part in parts {
            self.push_envelopes(part, &mut lane).await;
        }
        let formed = lane.finish().await;
        let object = Object { key: child.key, payload: Arc::new(formed.payload), content_encoding: None };
        failpoint::dump(&object.key, &object.payload);
        let put = self.shipping.put_object(destination.as_ref(), &object, may_exist).await;
        if put.is_none() {
            return Ok(None);
        }
        failpoint::pass("child-put");
        Ok(Some(object.payload.len()))
    }

    async fn intend_child(&self) -> Result<(Child, Place), JournalError> {
        let output = &self.shipping.child;
        let uuid = uuid::Uuid::new_v4().to_string();
        let child = Child {
            key: output.key(&self.shipping.object_name, self.shipping.version, self.arrival, &uuid, &[]),
            uuid,
            destination: serde_json::to_string(&output.place.locator).unwrap_or_default(),
        };
        let (row, journalled) = (self.row, child.clone());
        self.shipping.journal("intend child", move |journal: &Journal| journal.intend_child(row, &journalled)).await?;
        Ok((child, output.place.clone()))
    }

    async fn push_envelopes(&self, part: Part, lane: &mut Lane) {
        let RequestState::Failed(reason, _) = part.request.state else { return };
        let frames = parts::frames_of(self, &part.cut).await;
        let covered = self.shipping.budget.overdraw(frames.len() as u64);
        let (frames, reason) = (Bytes::from(frames), Arc::new(reason));
        let mut rest = frames;
        while !rest.is_empty() {
            let (some, reason) = (rest.clone(), reason.clone());
            let (lines, records, taken) = join(self.shipping.pool.spawn(move || envelopes(&some, &reason))).await;
            if taken == 0 {
                return;
            }
            let permit = Arc::new(self.shipping.budget.overdraw(lines.len() as u64));
            lane.push_ready(Content::Bytes(lines), records, &permit).await;
            lane.hand_over().await;
            rest = rest.slice(taken..);
        }
        drop(covered);
    }
}

/// The lines of the first records, how many those are, and the length of their frames.
fn envelopes(frames: &[u8], reason: &Reason) -> (Bytes, u64, usize) {
    let (mut rest, mut lines, mut records) = (frames, Vec::new(), 0);
    while lines.len() < LINES_BYTES
        && let Some((frame, behind)) = frames::take(rest)
    {
        lines.extend_from_slice(&envelope::endpoint_failed(&frame, reason));
        (rest, records) = (behind, records + 1);
    }
    (Bytes::from(lines), records, frames.len() - rest.len())
}
