//! One request to its decision: acknowledged, split, or failed for good.
//!
//! Always true: an acknowledgement is journalled before the delivery goes on, unless its settlement says the same; halves are
//! journalled before one of them is sent; and that a request has failed for good is journalled before its records go to the child,
//! so that no life does both.

use std::sync::Arc;

use bytes::Bytes;
use tracing::{debug, error, warn};

use crate::destination::outage::Tries;
use crate::destination::receiver::{Grounds, RequestError, Verdict};
use crate::destination::retry::random;
use crate::destination::{AttemptError, ErrorClass};
use crate::failpoint;
use crate::journal::{Journal, JournalError};
use crate::memory::Permit;
use crate::pool::join;
use crate::positions::RecordSet;
use crate::requests::{self, Reason, Request, RequestState};

use super::parts::{self, Part};
use super::sending::Way;

/// How the attempts for a request end.
enum Ended {
    Accepted,
    TooLarge,
    GivenUp(Reason),
}

/// A body that is on its way, with the memory that it takes.
struct Body {
    bytes: Bytes,
    _permit: Permit,
    records: RecordSet,
}

impl Way {
    /// A part, or what it was split into, decided. `None` when cancelled.
    pub(super) async fn decide(self: Arc<Self>, part: Part) -> Result<Option<Vec<Part>>, JournalError> {
        let cancel = self.shipping.cancel.clone();
        let slot = tokio::select! {
            slot = self.outage.slots.acquire() => slot,
            () = cancel.cancelled() => return Ok(None),
        };
        let (mut waiting, mut decided) = (vec![part], Vec::new());
        while let Some(mut part) = waiting.pop() {
            let mut records = RecordSet::default();
            let tried = tokio::select! {
                biased; // an answer that has arrived is worth more than a prompt end
                ended = self.attempt_until_decided(&mut part, &mut records) => ended,
                () = cancel.cancelled() => return Ok(None),
            };
            part.request.state = match tried {
                Ended::Accepted => RequestState::Acknowledged(records),
                Ended::GivenUp(reason) => RequestState::Failed(reason, records),
                Ended::TooLarge => match part.request.halves() {
                    Some(halves) => {
                        let (first, second) = parts::split(&self, &part, &halves).await;
                        self.journal_split(halves).await?;
                        failpoint::pass("request-split");
                        waiting.extend([second, first]);
                        continue;
                    }
                    None => RequestState::Failed(self.refused(&part), records),
                },
            };
            failpoint::pass("request-decided");
            // Of a delivery that is one request, the settlement says that it is acknowledged.
            let is_all = part.records() == self.records;
            if !(is_all && matches!(part.request.state, RequestState::Acknowledged(_))) {
                self.journal_decision(part.request.clone()).await?;
            }
            failpoint::pass("request-journalled");
            decided.push(part);
        }
        drop(slot);
        Ok(Some(decided))
    }

    /// Firehose's way of trying again, in turn with others while the receiver is away.
    async fn attempt_until_decided(&self, part: &mut Part, records: &mut RecordSet) -> Ended {
        let (limits, patience) = (self.shipping.limits, self.receiver.patience());
        let id = requests::id(&self.uuid, part.request.first, part.request.end);
        let mut tries = Tries::new(patience.retry, limits);
        loop {
            let admitted = self.outage.admit(limits).await;
            if let Some((_, pause)) = admitted.as_ref().filter(|_| tries.failures() == 0) {
                tokio::time::sleep(*pause).await;
                self.outage.has_waited(*pause);
            }
            let body = self.body(&id, part).await;
            (part.sent_bytes, *records) = (body.bytes.len() as u64, body.records.clone());
            failpoint::pass_soon("request-sent");
            let answer = self.receiver.send(&id, "", body.bytes.clone(), part.records()).await;
            drop(body);
            let failed = match answer {
                // No receiver of this kind is delivered to yet.
                Ok(Verdict::Each(_)) => unjudged(),
                Ok(verdict) => {
                    self.outage.succeeded();
                    self.shipping.status.clear_problem(&self.key);
                    let (stream, key, attempt) = (&self.shipping.stream_name, &self.key, tries.failures() + 1);
                    debug!(%stream, key, request = id, attempt, ?verdict, "a request was answered");
                    return match verdict {
                        Verdict::TooLarge => Ended::TooLarge,
                        Verdict::Accepted | Verdict::Each(_) => Ended::Accepted,
                    };
                }
                Err(failed) => failed,
            };
            self.outage.failed();
            let delay = tries.failed(failed.retry_after, random());
            let delay = delay.filter(|_| !self.outage.is_longer_than(patience.retry));
            self.report(&id, tries.failures(), &failed, delay);
            let Some(delay) = delay else { return Ended::GivenUp(given_up(&failed, tries.failures())) };
            tokio::time::sleep(delay).await;
            if admitted.is_some() {
                self.outage.has_waited(delay);
            }
        }
    }

    /// Formed anew for each attempt, so that nothing is held while it waits.
    async fn body(&self, id: &str, part: &Part) -> Body {
        let (receiver, id, cut) = (self.receiver.clone(), id.to_owned(), part.cut.clone());
        let frames = parts::frames_of(self, &part.cut).await;
        let permit = self.shipping.budget.overdraw(frames.len() as u64 * 3);
        let form = move || {
            let records = parts::whole_in(&frames, &cut);
            (receiver.body(&id, "", &[&frames], crate::record::now()), records)
        };
        let (bytes, records) = join(self.shipping.pool.spawn(form)).await;
        self.shipping.budget.cover(&permit, bytes.len() as u64);
        Body { bytes, _permit: permit, records }
    }

    fn report(&self, id: &str, attempt: u32, failed: &RequestError, retry_in: Option<std::time::Duration>) {
        let (stream, key, to, error) = (&self.shipping.stream_name, &self.key, self.receiver.name(), &failed.error);
        self.shipping.status.set_problem(&self.key, format!("{to}: {error}"));
        let code = &error.code;
        let Some(retry_in) = retry_in else {
            error!(%stream, key, %to, code, %error, request = id, attempt, "a request is given up: its records go to the error output");
            self.shipping.status.clear_problem(&self.key);
            return;
        };
        if error.class == ErrorClass::Denied {
            error!(%stream, key, %to, code, %error, request = id, attempt, ?retry_in, "a request is refused: a person must act");
        } else {
            warn!(%stream, key, %to, code, %error, request = id, attempt, ?retry_in, "a request failed; it is tried again");
        }
    }

    fn refused(&self, part: &Part) -> Reason {
        let (stream, key, to) = (&self.shipping.stream_name, &self.key, self.receiver.name());
        error!(%stream, key, %to, record = part.request.first, "a single record is refused as too large: it goes to the error output");
        let Grounds { code, message } = self.receiver.too_large();
        Reason { code, message, attempts: 1, ended_ms: crate::record::now().as_millisecond() }
    }

    async fn journal_split(&self, halves: (Request, Request)) -> Result<(), JournalError> {
        let row = self.row;
        self.shipping.journal("split", move |journal: &Journal| journal.split(row, &halves)).await
    }

    async fn journal_decision(&self, request: Request) -> Result<(), JournalError> {
        let row = self.row;
        self.shipping.journal("decide", move |journal: &Journal| journal.decide(row, &request)).await
    }
}

/// An answer of which nothing counts.
fn unjudged() -> RequestError {
    let message = "records are not judged one by one".to_owned();
    let error = AttemptError { class: ErrorClass::Transient, code: "Unjudged".to_owned(), message, ambiguous: true };
    RequestError { error, retry_after: None }
}

fn given_up(failed: &RequestError, attempts: u32) -> Reason {
    Reason {
        code: failed.error.code.clone(),
        message: failed.error.message.clone(),
        attempts,
        ended_ms: crate::record::now().as_millisecond(),
    }
}
