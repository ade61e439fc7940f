//! A receiver that judges each record: an index of documents, and one attempt with several requests.
//!
//! A document is taken once by its id in its index, and what it has taken it never refuses; some it refuses for good, others it
//! takes now or later. An attempt may be taken in part, and its answer lost. How many requests go together changes at each attempt.

use std::collections::{BTreeMap, BTreeSet};

use super::receiver::{of, whole};
use super::*;
use crate::requests::{Piece, RequestState, Said, Whole, pieces};

#[derive(Default)]
pub(super) struct Index {
    /// By the concrete index, what makes an id that does not follow from the record, and what does.
    documents: BTreeMap<(String, u64, Content), Formed>,
    ids: u64,
    /// By delivery, of which some life has journalled that they are acknowledged.
    answered: BTreeSet<(i64, Content)>,
}

impl Index {
    pub(super) fn documents(&self) -> impl Iterator<Item = &Formed> {
        self.documents.values()
    }

    fn has(&self, to: &str, content: Content) -> bool {
        self.documents.keys().any(|(at, _, known)| (at.as_str(), *known) == (to, content))
    }

    fn take(&mut self, to: &str, document: Formed, derives_ids: bool) {
        self.ids += u64::from(!derives_ids);
        self.documents.entry((to.to_owned(), self.ids, document.0)).or_insert(document);
    }
}

impl Process<'_> {
    fn index(&mut self) -> &mut Index {
        self.received().index.as_mut().expect("it judges each record")
    }

    /// One attempt for some of the requests that are not decided.
    pub(super) fn bulk(&mut self, upload: usize) -> Result<(), Crash> {
        let some = 1 + self.world.rng.below(3) as usize;
        let Upload { row, payload, requests, .. } = &self.uploads[upload];
        let (row, payload) = (*row, payload.clone());
        let planned = requests.iter().flatten().filter(|request| request.state == RequestState::Planned);
        let group: Vec<Request> = planned.take(some).cloned().collect();
        let documents: Vec<Formed> = group.iter().flat_map(|request| of(&payload, request)).collect();
        let to = match self.world.rules.journals_addressees {
            true => self.world.journal[&row].intent.addressee.clone(),
            false => self.world.configuration.to_string(),
        };
        let is_answered = |content: Content, process: &mut Self| {
            process.index().answered.contains(&(row, content)) || process.is_done(content)
        };
        if documents.iter().any(|(content, _)| is_answered(*content, self)) {
            let wrong = format!("some of {group:?} of {row} is sent again after its acknowledgement was journalled");
            self.world.unequal.get_or_insert(wrong);
        }
        match self.world.rng.below(8) {
            0 => {
                let number = self.number_of(upload, &group[0]);
                let is_one = group.len() == 1 && group[0].end - group[0].first > 1;
                if is_one { self.split(upload, number) } else { Ok(()) }
            }
            1 | 2 => {
                // Some of it is taken, and the answer is lost.
                for document in documents {
                    self.judge(&to, document);
                }
                Ok(())
            }
            _ => {
                let said: Vec<_> = documents.iter().map(|&document| (1, self.judge(&to, document))).collect();
                let rest = Said::Later(0);
                let pieces = match self.world.rules.judges_each {
                    true => pieces(&group, &said, rest),
                    false => pieces(&group, &[(u64::MAX, Said::Accepted)], rest),
                };
                self.world.maybe_crash()?;
                self.judged(upload, &group, &pieces)
            }
        }
    }

    fn number_of(&self, upload: usize, request: &Request) -> usize {
        let mut requests = self.uploads[upload].requests.iter().flatten();
        requests.position(|known| known.first == request.first).expect("it is one of them")
    }

    /// Of one document, which is taken if it is accepted.
    fn judge(&mut self, to: &str, document: Formed) -> Said {
        let (file, record, part) = document.0;
        let (is_there, rules) = (self.index().has(to, document.0), self.world.rules);
        let is_fatal = self.world.dice(0, file, record, part + 200, 10) == 0;
        let chance = self.world.rng.below(8);
        if is_there && rules.derives_ids {
            return Said::Accepted;
        }
        match chance {
            _ if is_fatal && !is_there => Said::Refused(0),
            0 => Said::Later(0),
            // Its retry duration is over.
            1 if !is_there => Said::Refused(1),
            _ => {
                self.index().take(to, document, rules.derives_ids);
                Said::Accepted
            }
        }
    }

    /// What was said of a group becomes of its requests.
    fn judged(&mut self, upload: usize, group: &[Request], pieces: &[Piece]) -> Result<(), Crash> {
        let Upload { row, payload, .. } = &self.uploads[upload];
        let (row, payload, rules) = (*row, payload.clone(), self.world.rules);
        let request = |piece: &Piece| {
            let planned = Request::planned(piece.first, piece.end);
            let whole = Whole::of(&whole(&payload, &planned));
            let state = match piece.said {
                Said::Accepted => RequestState::Acknowledged(whole),
                Said::Refused(_) => RequestState::Failed(None, whole),
                Said::Later(_) => RequestState::Planned,
            };
            Request { state, ..planned }
        };
        let runs: Vec<Request> = pieces.iter().map(request).collect();
        for run in &runs {
            let is_journalled = match run.state {
                RequestState::Acknowledged(_) => rules.journals_answers,
                RequestState::Failed(..) => rules.journals_failures,
                RequestState::Planned => true,
            };
            let run = if is_journalled { run.clone() } else { Request::planned(run.first, run.end) };
            if let Some(sent) = self.received().journal.get_mut(&row) {
                // As the table does it: by the first record.
                sent.requests.retain(|known| known.first != run.first);
                sent.requests.push(run.clone());
                sent.requests.sort_by_key(|known| known.first);
            }
            if matches!(run.state, RequestState::Acknowledged(_)) {
                let answered = of(&payload, &run).into_iter().map(|(content, _)| (row, content));
                self.index().answered.extend(answered);
                let records = whole(&payload, &Request::planned(run.first, run.end));
                self.note_done(row, &records);
            }
            if !rules.journals_runs_together {
                self.world.maybe_crash()?;
            }
        }
        let requests = self.uploads[upload].requests.as_mut().expect("it has requests");
        requests.retain(|known| !group.iter().any(|one| one.first == known.first));
        requests.extend(runs);
        requests.sort_by_key(|request| request.first);
        self.world.maybe_crash()
    }
}
