//! Attempts for some requests of a delivery, until something is said of them.
//!
//! Always true: an attempt that nothing came of is made again by the same requests, or the first of them, while they wait for it in
//! their place; they come out of it when some record was judged, when a retry duration is over, or when less has to be sent.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{debug, error, warn};

use crate::destination::ErrorClass;
use crate::destination::receiver::{Grounds, Judged, Judgement, Patience, RequestError, Verdict};
use crate::destination::retry::random;
use crate::failpoint;
use crate::memory::Permit;
use crate::pool::join;
use crate::requests::{self, Piece, Request, Said, Whole, pieces};

use super::parts;
use super::sending::Way;
use super::waiting::Waiting;

/// What asks for less at a time, of a record that may be taken later.
const TOO_MANY: &str = "429";

/// How attempts end.
pub(super) enum Ended {
    TooLarge,
    Judged(Answer),
}

/// What was said of the requests of one attempt.
pub(super) struct Answer {
    pub(super) pieces: Vec<Piece>,
    pub(super) grounds: Vec<Grounds>,
    /// What each request holds whole.
    pub(super) whole: Vec<Whole>,
    /// Requests that are not tried again.
    pub(super) given_up: Vec<bool>,
    /// Until the others are.
    pub(super) delay: Duration,
    /// Of the body.
    pub(super) bytes: u64,
}

/// A body that is on its way, with the memory that it takes.
struct Body {
    bytes: Bytes,
    _permit: Permit,
    whole: Vec<Whole>,
}

/// An answer, or that there is none, in the form of one that judges each record.
#[derive(Default)]
struct Heard {
    said: Vec<(u64, Said)>,
    grounds: Vec<Grounds>,
    failed: Option<RequestError>,
}

/// Records by what was said of them.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    accepted: u64,
    refused: u64,
    later: u64,
}

impl Way {
    /// Makes attempts for `group`, from which goes to `surplus` what is too much for one.
    pub(super) async fn attempt_until_judged(&self, group: &mut Vec<Waiting>, surplus: &mut Vec<Waiting>) -> Ended {
        let (limits, patience) = (self.shipping.limits, self.receiver.patience());
        loop {
            let admitted = self.outage.admit(limits).await;
            surplus.extend(self.surplus_of(group));
            if let Some((_, pause)) = admitted.as_ref().filter(|_| group.iter().all(|one| one.attempts == 0)) {
                tokio::time::sleep(*pause).await;
                self.outage.has_waited(*pause);
            }
            let body = self.body(group).await;
            let records = group.iter().map(|one| one.part.records()).sum();
            group.iter_mut().for_each(|one| one.attempts += 1);
            let began = Instant::now();
            failpoint::pass_soon("request-sent");
            let answer = self.receiver.send(&self.id_of(group), &self.to, body.bytes.clone(), records).await;
            let took = if patience.counts_attempts { began.elapsed() } else { Duration::ZERO };
            let (bytes, whole) = (body.bytes.len() as u64, body.whole);
            drop((body.bytes, body._permit));
            let heard = match answer {
                Ok(Verdict::TooLarge) if records > 1 => {
                    self.was_too_large(group);
                    return Ended::TooLarge;
                }
                Ok(verdict) => self.heard(verdict),
                Err(failed) => Heard::failed(failed),
            };
            let unanswered = Said::Later(heard.grounds.len());
            let pieces = pieces(group.iter().map(|one| &one.part.request), &heard.said, unanswered);
            let counts = Counts::of(&pieces);
            let is_failure = heard.is_failure(counts, group);
            self.tell_outage(&heard, counts, is_failure);
            if is_failure && admitted.is_some() {
                self.outage.has_waited(took);
            }
            let (delay, given_up) = self.delay(group, &pieces, took, &heard, is_failure);
            let is_over = given_up.contains(&true);
            self.report(group, &heard, counts, (!is_over).then_some(delay));
            if is_failure && !is_over && counts.refused == 0 {
                tokio::time::sleep(delay).await;
                if admitted.is_some() {
                    self.outage.has_waited(delay);
                }
                continue;
            }
            let mut grounds = heard.grounds;
            grounds.push(unanswered_grounds());
            return Ended::Judged(Answer { pieces, grounds, whole, given_up, delay, bytes });
        }
    }

    /// What of a group is too much for one attempt as things are.
    fn surplus_of(&self, group: &mut Vec<Waiting>) -> Vec<Waiting> {
        let Some(bytes_max) = self.batch_bytes() else { return group.split_off(group.len().min(1)) };
        let (mut bytes, mut some) = (0, 0);
        for one in group.iter() {
            bytes += one.part.bytes();
            if some > 0 && bytes > bytes_max {
                break;
            }
            some += 1;
        }
        group.split_off(some)
    }

    fn was_too_large(&self, group: &[Waiting]) {
        self.shipping.status.clear_problem(&self.key);
        if self.receiver.batch_bytes().is_some() {
            self.outage.was_too_large(group.iter().map(|one| one.part.bytes()).sum());
        } else {
            self.outage.succeeded();
        }
    }

    fn heard(&self, verdict: Verdict) -> Heard {
        let said = |said| Heard { said: vec![(u64::MAX, said)], ..Heard::default() };
        match verdict {
            Verdict::Accepted => said(Said::Accepted),
            Verdict::TooLarge => Heard { grounds: vec![self.receiver.too_large()], ..said(Said::Refused(0)) },
            Verdict::Each(judged) => Heard::each(judged),
        }
    }

    fn tell_outage(&self, heard: &Heard, counts: Counts, is_failure: bool) {
        if is_failure {
            self.outage.failed();
        } else if counts.accepted > 0 || counts.later == 0 {
            self.outage.succeeded();
        }
        if heard.pushes_back() {
            self.outage.pushed_back();
        }
    }

    /// How long to wait with what may be taken later, and which requests have been tried for long enough.
    fn delay(
        &self,
        group: &mut [Waiting],
        pieces: &[Piece],
        took: Duration,
        heard: &Heard,
        is_failure: bool,
    ) -> (Duration, Vec<bool>) {
        let Patience { retry, .. } = self.receiver.patience();
        let is_over = is_failure && self.outage.is_longer_than(retry);
        let retry_after = heard.failed.as_ref().and_then(|failed| failed.retry_after);
        let (mut delay, mut given_up, random) = (Duration::ZERO, vec![false; group.len()], random());
        let mut last = None;
        for piece in pieces.iter().filter(|piece| matches!(piece.said, Said::Later(_))) {
            if last.replace(piece.request) == Some(piece.request) {
                continue;
            }
            match group[piece.request].tries.failed(took, retry_after, random).filter(|_| !is_over) {
                Some(own) => delay = delay.max(own),
                None => given_up[piece.request] = true,
            }
        }
        (delay, given_up)
    }

    /// Formed anew for each attempt, so that nothing is held while it waits.
    async fn body(&self, group: &[Waiting]) -> Body {
        let (receiver, id, to) = (self.receiver.clone(), self.id_of(group), self.to.clone());
        let cuts: Vec<_> = group.iter().map(|one| one.part.cut.clone()).collect();
        let mut frames = Vec::new();
        for cut in &cuts {
            frames.push(parts::frames_of(self, cut).await);
        }
        let bytes: usize = frames.iter().map(Vec::len).sum();
        let permit = self.shipping.budget.overdraw(bytes as u64 * 3);
        let form = move || {
            let whole = frames.iter().zip(&cuts).map(|(frames, cut)| parts::whole_in(frames, cut)).collect();
            let pieces: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
            (receiver.body(&id, &to, &pieces, crate::record::now()), whole)
        };
        let (bytes, whole) = join(self.shipping.pool.spawn(form)).await;
        self.shipping.budget.cover(&permit, bytes.len() as u64);
        Body { bytes, _permit: permit, whole }
    }

    /// Of its first request: where several go together nothing but the log needs it.
    fn id_of(&self, group: &[Waiting]) -> String {
        let request = group.first().map_or_else(|| Request::planned(0, 0), |one| one.part.request.clone());
        requests::id(&self.uuid, request.first, request.end)
    }

    /// `retry_in` where all that was not taken is tried again.
    fn report(&self, group: &[Waiting], heard: &Heard, counts: Counts, retry_in: Option<Duration>) {
        let (stream, key, to, request) =
            (&self.shipping.stream_name, &self.key, self.receiver.name(), self.id_of(group));
        let attempt = group.iter().map(|one| one.attempts).max().unwrap_or(0);
        let Counts { accepted, refused, later } = counts;
        if refused + later == 0 {
            self.shipping.status.clear_problem(&self.key);
            debug!(%stream, key, request, attempt, accepted, "a request was answered");
            return;
        }
        let unanswered = unanswered_grounds();
        let Grounds { code, message } = heard.grounds.last().unwrap_or(&unanswered);
        if later > 0 {
            self.shipping.status.set_problem(&self.key, format!("{to}: {code}: {message}"));
        }
        let Some(failed) = &heard.failed else {
            if refused == 0 && retry_in.is_some() {
                warn!(%stream, key, %to, code, error = message, request, attempt, accepted, later, ?retry_in, "some records were not taken; they are tried again");
            } else {
                let retry_in = retry_in.filter(|_| later > 0);
                error!(%stream, key, %to, code, error = message, request, attempt, accepted, refused, later, ?retry_in, "some records were not taken: what is refused or given up goes to the error output");
            }
            return;
        };
        let error = &failed.error;
        let Some(retry_in) = retry_in else {
            error!(%stream, key, %to, code, %error, request, attempt, "a request is given up: its records go to the error output");
            self.shipping.status.clear_problem(&self.key);
            return;
        };
        if error.class == ErrorClass::Denied {
            error!(%stream, key, %to, code, %error, request, attempt, ?retry_in, "a request is refused: a person must act");
        } else {
            warn!(%stream, key, %to, code, %error, request, attempt, ?retry_in, "a request failed; it is tried again");
        }
    }
}

impl Heard {
    /// Grounds that are the same are held once.
    fn each(judged: Vec<Judged>) -> Self {
        let mut heard = Self::default();
        let mut known = std::collections::HashMap::<Grounds, usize>::new();
        let grounds = &mut heard.grounds;
        let mut number = |of: Grounds| {
            *known.entry(of).or_insert_with_key(|of| {
                grounds.push(of.clone());
                grounds.len() - 1
            })
        };
        for Judged { records, judgement } in judged {
            let said = match judgement {
                Judgement::Accepted => Said::Accepted,
                Judgement::Refused(of) => Said::Refused(number(of)),
                Judgement::Later(of) => Said::Later(number(of)),
            };
            heard.said.push((records, said));
        }
        heard
    }

    fn failed(failed: RequestError) -> Self {
        let (code, message) = (failed.error.code.clone(), failed.error.message.clone());
        Self { said: vec![(u64::MAX, Said::Later(0))], grounds: vec![Grounds { code, message }], failed: Some(failed) }
    }

    /// Whether nothing came of it. Records that had been told from others before say nothing of those.
    fn is_failure(&self, counts: Counts, group: &[Waiting]) -> bool {
        let is_of_left = self.failed.is_none() && group.iter().all(|one| one.is_left);
        counts.accepted == 0 && counts.later > 0 && !is_of_left
    }

    fn pushes_back(&self) -> bool {
        let is_throttled = |failed: &RequestError| failed.error.class == ErrorClass::Throttled;
        let is_too_many =
            |&(_, said): &(u64, Said)| matches!(said, Said::Later(of) if self.grounds[of].code == TOO_MANY);
        self.failed.as_ref().is_some_and(is_throttled) || self.said.iter().any(is_too_many)
    }
}

impl Counts {
    fn of(pieces: &[Piece]) -> Self {
        let mut counts = Self::default();
        for piece in pieces {
            let count = match piece.said {
                Said::Accepted => &mut counts.accepted,
                Said::Refused(_) => &mut counts.refused,
                Said::Later(_) => &mut counts.later,
            };
            *count += piece.end - piece.first;
        }
        counts
    }
}

/// Of records of which an answer says nothing.
fn unanswered_grounds() -> Grounds {
    Grounds { code: "Hydrant.NoAnswer".to_owned(), message: "the answer says nothing of the record".to_owned() }
}
