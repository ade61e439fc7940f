//! The child of a delivery: one object with the envelopes of all that a receiver has not taken of it.
//!
//! Always true: its key is journalled before it is put, and which records it holds, with which reasons, follows from what is
//! journalled of the failed requests: another life forms it of the same under the same key, and the first object stays.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::destination::Object;
use crate::destination::receiver::Receiver;
use crate::encode::frames;
use crate::encode::lane::Lane;
use crate::failpoint;
use crate::journal::{Journal, JournalError};
use crate::output::{Place, Target};
use crate::pool::join;
use crate::record::Content;
use crate::requests::{Child, Reason};

use super::judging::Rejected;
use super::parts;
use super::sending::Way;

/// So much is formed at once: an endpoint's words stand in every line.
const LINES_BYTES: usize = 256 << 10;
/// And so many reasons, of up to some KB each, are held at a time.
const REASONS_MAX: usize = 256;

impl Way {
    /// Puts what was rejected, in the order of its records, where failed records go, however long that takes. Its bytes; `None` when cancelled.
    pub(super) async fn put_child(
        &self,
        rejected: Vec<Rejected>,
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
        let mut rejected = VecDeque::from(rejected);
        while !rejected.is_empty() {
            self.push_envelopes(next_of(&mut rejected), &mut lane).await?;
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
            key: output.key_as(
                Some(self.receiver.error_type()),
                &self.shipping.stream_name,
                self.shipping.version,
                self.arrival,
                &uuid,
                &[],
            ),
            uuid,
            destination: serde_json::to_string(&output.place.locator).unwrap_or_default(),
        };
        let (row, journalled) = (self.row, child.clone());
        self.shipping.journal("intend child", move |journal: &Journal| journal.intend_child(row, &journalled)).await?;
        Ok((child, output.place.clone()))
    }

    async fn push_envelopes(&self, some: Vec<Rejected>, lane: &mut Lane) -> Result<(), JournalError> {
        let reasons = self.reasons(&some).await?;
        let ranges: Vec<_> = some.into_iter().map(|one| one.payload).collect();
        let bytes = ranges.iter().map(|range| range.end - range.start).sum();
        let covered = self.shipping.budget.overdraw(bytes);
        let mut rest: VecDeque<_> = parts::frames_in(self, ranges).await.into_iter().zip(reasons).collect();
        while !rest.is_empty() {
            let (receiver, to) = (self.receiver.clone(), self.to.clone());
            let envelopes = move || envelopes(&*receiver, &to, rest);
            let (lines, records, behind) = join(self.shipping.pool.spawn(envelopes)).await;
            rest = behind;
            if records == 0 {
                break;
            }
            let permit = Arc::new(self.shipping.budget.overdraw(lines.len() as u64));
            lane.push_ready(Content::Bytes(lines), records, &permit).await;
            lane.hand_over().await;
        }
        drop(covered);
        Ok(())
    }

    /// Of each of some that follow each other, as the journal has them.
    async fn reasons(&self, some: &[Rejected]) -> Result<Vec<Arc<Reason>>, JournalError> {
        let firsts = some.first().map_or(0, |one| one.first)..=some.last().map_or(0, |one| one.first);
        let row = self.row;
        let call = move |journal: &Journal| journal.reasons(row, firsts.clone());
        let mut known = self.shipping.journal("reasons", call).await?;
        let unreadable = || JournalError::Content { what: format!("a reason of delivery {}", row.0) };
        some.iter().map(|one| known.remove(&one.first).map(Arc::new).ok_or_else(unreadable)).collect()
    }
}

/// Frames of records that failed alike.
type Failed = (Bytes, Arc<Reason>);

/// The lines of the first records, how many those are, and the others.
fn envelopes(receiver: &dyn Receiver, to: &str, mut rest: VecDeque<Failed>) -> (Bytes, u64, VecDeque<Failed>) {
    let (mut lines, mut records) = (Vec::new(), 0);
    while lines.len() < LINES_BYTES
        && let Some((frames, reason)) = rest.front_mut()
    {
        let Some((frame, behind)) = frames::take(frames) else {
            rest.pop_front();
            continue;
        };
        lines.extend_from_slice(&receiver.envelope(to, &frame, reason));
        let taken = frames.len() - behind.len();
        frames.advance(taken);
        records += 1;
    }
    (Bytes::from(lines), records, rest)
}

/// Some at the beginning that are formed together.
fn next_of(rejected: &mut VecDeque<Rejected>) -> Vec<Rejected> {
    let (mut some, mut bytes) = (Vec::new(), 0);
    while bytes < LINES_BYTES as u64
        && some.len() < REASONS_MAX
        && let Some(one) = rejected.pop_front()
    {
        bytes += one.payload.end - one.payload.start;
        some.push(one);
    }
    some
}
