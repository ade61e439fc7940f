//! What was said of requests becomes of them: acknowledged, failed for good, cut into runs, or to be tried again.
//!
//! Always true: all that one answer has decided is journalled in one transaction before the delivery goes on, unless it is an
//! acknowledgement of the whole delivery, which the settlement says; halves are journalled before one of them is sent; and that
//! records have failed for good is journalled before they go to the child, so that no life does both.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use tokio::time::Instant;

use crate::failpoint;
use crate::journal::{Journal, JournalError};
use crate::requests::{Piece, Reason, Request, RequestState, Said, Whole};

use super::attempt::{Answer, Ended};
use super::parts::{self, Part};
use super::sending::Way;
use super::waiting::Waiting;

/// What has become of some requests of a delivery.
#[derive(Default)]
pub(super) struct Decided {
    pub(super) delivered: u64,
    pub(super) rejected: Vec<Rejected>,
    /// To be tried again.
    pub(super) back: Vec<Waiting>,
    /// Attempts that decided something, and the bytes of their bodies.
    pub(super) attempts: u64,
    pub(super) bytes: u64,
}

/// Records that go into the child.
#[derive(Debug, Clone)]
pub(super) struct Rejected {
    pub(super) records: u64,
    /// Of the first, by which the journal knows why.
    pub(super) first: u64,
    /// Where they lie, in the order of the payload's frames.
    pub(super) payload: Range<u64>,
}

/// The reasons of one answer: those that are the same are held once.
struct Reasons<'a> {
    answer: &'a Answer,
    known: HashMap<(usize, u32), Arc<Reason>>,
    ended_ms: i64,
}

impl Reasons<'_> {
    fn of(&mut self, grounds: usize, attempts: u32) -> Arc<Reason> {
        let (answer, ended_ms) = (self.answer, self.ended_ms);
        let reason = self.known.entry((grounds, attempts)).or_insert_with(|| {
            let grounds = answer.grounds.get(grounds);
            let code = grounds.map(|grounds| grounds.code.clone()).unwrap_or_default();
            let message = grounds.map(|grounds| grounds.message.clone()).unwrap_or_default();
            Arc::new(Reason { code, message, attempts, ended_ms })
        });
        reason.clone()
    }
}

impl Decided {
    pub(super) fn add(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.rejected.extend(other.rejected);
        self.back.extend(other.back);
        self.attempts += other.attempts;
        self.bytes += other.bytes;
    }

    fn add_part(&mut self, part: Part, before: &Waiting, due: Instant) {
        match &part.request.state {
            RequestState::Acknowledged(_) => self.delivered += part.records(),
            RequestState::Failed(..) => self.rejected.push(Rejected::of(&part)),
            RequestState::Planned => {
                let (tries, attempts) = (before.tries.clone(), before.attempts);
                self.back.push(Waiting { part, tries, attempts, due: Some(due), is_left: true });
            }
        }
    }
}

impl Rejected {
    pub(super) fn of(part: &Part) -> Self {
        Self { records: part.records(), first: part.request.first, payload: part.cut.payload.clone() }
    }
}

impl Way {
    /// Some requests that go together, as far as they are decided in one place. `None` when cancelled.
    pub(super) async fn decide(self: Arc<Self>, mut group: Vec<Waiting>) -> Result<Option<Decided>, JournalError> {
        let cancel = self.shipping.cancel.clone();
        let slot = tokio::select! {
            slot = self.outage.slot() => slot,
            () = cancel.cancelled() => return Ok(None),
        };
        let mut decided = Decided::default();
        loop {
            let ended = tokio::select! {
                biased; // an answer that has arrived is worth more than a prompt end
                ended = self.attempt_until_judged(&mut group, &mut decided.back) => ended,
                () = cancel.cancelled() => return Ok(None),
            };
            match ended {
                Ended::TooLarge => self.make_less(&mut group).await?,
                Ended::Judged(answer) => {
                    self.judged(&group, answer, &mut decided).await?;
                    break;
                }
            }
        }
        drop(slot);
        Ok(Some(decided))
    }

    /// Of several requests less go together from now on; one becomes two.
    async fn make_less(&self, group: &mut Vec<Waiting>) -> Result<(), JournalError> {
        let [only] = group.as_slice() else { return Ok(()) };
        let Some(halves) = only.part.request.halves() else { return Ok(()) };
        let tries = self.tries();
        let parts = parts::cut_at(self, &only.part, vec![halves.0.end, halves.1.end]).await;
        self.journal_requests(vec![halves.0, halves.1]).await?;
        failpoint::pass("request-split");
        *group = parts.into_iter().map(|(part, _)| Waiting::new(part, tries.clone())).collect();
        Ok(())
    }

    async fn judged(&self, group: &[Waiting], answer: Answer, decided: &mut Decided) -> Result<(), JournalError> {
        let due = Instant::now() + answer.delay;
        let texts = answer.grounds.iter().map(|grounds| (grounds.code.len() + grounds.message.len()) as u64).sum();
        let _covered = self.shipping.budget.overdraw(texts);
        let mut reasons =
            Reasons { answer: &answer, known: HashMap::new(), ended_ms: crate::record::now().as_millisecond() };
        let (mut changed, mut now) = (Vec::new(), Decided::default());
        for (number, waiting) in group.iter().enumerate() {
            let from = answer.pieces.partition_point(|piece| piece.request < number);
            let to = answer.pieces.partition_point(|piece| piece.request <= number);
            let pieces = &answer.pieces[from..to];
            let runs = self.runs(&waiting.part, pieces, &answer.whole[number]).await;
            for ((mut part, whole), piece) in runs.into_iter().zip(pieces) {
                part.request.state = match piece.said {
                    Said::Accepted => RequestState::Acknowledged(whole),
                    Said::Later(_) if !answer.given_up[number] => RequestState::Planned,
                    Said::Refused(of) | Said::Later(of) => {
                        RequestState::Failed(Some(reasons.of(of, waiting.attempts)), whole)
                    }
                };
                if pieces.len() > 1 || part.request.state != RequestState::Planned {
                    changed.push(part.request.clone());
                }
                now.add_part(part, waiting, due);
            }
        }
        failpoint::pass("request-decided");
        // Of a delivery that is taken at once, the settlement says that it is acknowledged.
        if !changed.is_empty() && now.delivered < self.records {
            self.journal_requests(changed).await?;
        }
        failpoint::pass("request-journalled");
        decided.add(Decided { attempts: 1, bytes: answer.bytes, ..now });
        Ok(())
    }

    /// A part as what was said of it cuts it, and what each run holds whole.
    async fn runs(&self, part: &Part, pieces: &[Piece], whole: &Whole) -> Vec<(Part, Whole)> {
        match pieces {
            [_] => vec![(part.clone(), whole.clone())],
            _ => parts::cut_at(self, part, pieces.iter().map(|piece| piece.end).collect()).await,
        }
    }

    async fn journal_requests(&self, requests: Vec<Request>) -> Result<(), JournalError> {
        let row = self.row;
        let call = move |journal: &Journal| journal.replace_requests(row, &requests);
        self.shipping.journal("requests", call).await
    }
}
