//! One worker, one step at a time.

use std::collections::BTreeMap;

use super::Fleet;
use super::table::{Batch, COPIES, Change, Delivery, Outputs, Pending, Row, Update};
use super::world::World;

#[derive(Default)]
pub(super) struct Worker {
    pub(super) configuration: u64,
    pub(super) readers: BTreeMap<usize, Reader>,
}

/// What a worker has of a shard whose lease it believes to own.
pub(super) struct Reader {
    counter: u64,
    /// As long as the table has no other checkpoint.
    start: Option<u64>,
    /// Everything before it is settled or sealed.
    sealed_to: u64,
    read: u64,
    /// What of it is not sealed.
    processed: Processed,
    /// What a predecessor has begun, until it is sealed again.
    begun: Option<Delivery>,
    sealed: Option<Sealed>,
}

#[derive(Default)]
struct Processed {
    batches: Vec<Batch>,
    outputs: Outputs,
    dropped: Vec<u64>,
}

struct Sealed {
    delivery: Delivery,
    is_pending: bool,
    unput: Outputs,
    dropped: Vec<u64>,
}

impl Reader {
    pub(super) fn new(world: &World, shard: usize, row: &Row) -> Self {
        let (start, mut begun) = match &row.pending {
            Some(Pending::Ours { start, delivery }) => (*start, delivery.clone()),
            Some(Pending::Foreign { cut }) if !world.rules.knows_its_states => {
                let foreign = Delivery { id: 0, cut: *cut, batches: Vec::new(), outputs: Outputs::new() };
                (None, Some(foreign))
            }
            Some(Pending::Foreign { .. }) | None => (None, None),
        };
        let from = row.checkpoint.or(start).unwrap_or(world.shards[shard].arrived);
        begun = begun.filter(|begun| begun.cut > from && world.rules.keeps_id);
        let start = start.filter(|_| row.checkpoint.is_none());
        Self {
            counter: row.counter,
            start,
            sealed_to: from,
            read: from,
            processed: Processed::default(),
            begun,
            sealed: None,
        }
    }
}

impl Processed {
    /// Parts with the records from `at` on, which lies in the last batch.
    fn split_off(&mut self, at: u64) -> Self {
        let is_behind = |record: &mut u64| *record >= at;
        let outputs = self.outputs.iter_mut();
        let outputs = outputs.map(|(&output, records)| (output, records.extract_if(.., is_behind).collect::<Vec<_>>()));
        let outputs = outputs.filter(|(_, records)| !records.is_empty()).collect();
        self.outputs.retain(|_, records| !records.is_empty());
        let dropped = self.dropped.extract_if(.., is_behind).collect();
        Self { batches: self.batches.last().copied().into_iter().collect(), outputs, dropped }
    }
}

impl Worker {
    pub(super) fn step(&mut self, world: &mut World, me: usize, shard: usize) {
        let Some(mut reader) = self.readers.remove(&shard) else { return };
        let mut step = Step { world, reader: &mut reader, me, shard, configuration: self.configuration };
        let is_owner = match step.world.below(6) {
            0 => step.ask(Change::Renew).is_some(),
            1 | 2 => {
                step.read();
                true
            }
            3 => {
                step.seal();
                true
            }
            _ => step.deliver(),
        };
        if is_owner {
            self.readers.insert(shard, reader);
        }
    }
}

struct Step<'a> {
    world: &'a mut World,
    reader: &'a mut Reader,
    me: usize,
    shard: usize,
    configuration: u64,
}

/// What has become of an update.
enum Asked {
    Written,
    /// Nobody knows, or an earlier one was.
    Again(Option<Row>),
}

impl Step<'_> {
    /// `None` if the lease is lost.
    fn ask(&mut self, change: Change) -> Option<Asked> {
        let update = Update { shard: self.shard, worker: self.me, counter: self.reader.counter, change };
        match self.world.update(update) {
            None => Some(Asked::Again(None)),
            Some(Ok(row)) => {
                self.reader.counter = row.counter;
                Some(Asked::Written)
            }
            Some(Err(row)) if row.owner == Some(self.me) && row.counter == self.reader.counter + 1 => {
                self.reader.counter = row.counter;
                Some(if self.world.rules.believes_the_row { Asked::Again(Some(row)) } else { Asked::Written })
            }
            Some(Err(_)) => None,
        }
    }

    /// The next batch: one of the delivery that was begun, else some of what has arrived.
    fn read(&mut self) {
        let (at, arrived) = (self.reader.read, self.world.shards[self.shard].arrived);
        let to = match &self.reader.begun {
            Some(begun) if self.world.rules.keeps_cut => begun.cut.min(arrived),
            _ => arrived,
        };
        if at >= to {
            return;
        }
        let batches = self.reader.begun.iter().flat_map(|begun| &begun.batches);
        let told = batches.copied().find(|batch| batch.start <= at && at < batch.end);
        let told = told.filter(|_| self.world.rules.tells_batches);
        let end = told.map_or(at + 1 + self.world.below(4), |told| told.end).min(to);
        let has_failed = match &self.reader.begun {
            Some(_) if self.world.rules.tells_failures => told.is_some_and(|told| told.has_failed),
            _ => self.world.one_in(8),
        };
        let arrival = told.map_or_else(|| self.world.random.next(), |told| told.arrival);
        let batch = Batch { start: at, end, arrival, has_failed };
        (at..end).for_each(|record| self.process(record, batch));
        self.reader.processed.batches.push(batch);
        self.reader.read = end;
    }

    fn process(&mut self, record: u64, batch: Batch) {
        if self.world.has_copies {
            self.reader.processed.outputs.entry(COPIES).or_default().push(record);
        }
        let seed = [self.configuration, batch.start, batch.end, batch.arrival, record];
        match self.world.dice(&seed, 8) {
            _ if batch.has_failed => self.reader.processed.outputs.entry(0).or_default().push(record),
            0 => {
                self.world.droppable.insert((self.shard, record));
                self.reader.processed.dropped.push(record);
            }
            side => self.reader.processed.outputs.entry(side % 3).or_default().push(record),
        }
    }

    fn seal(&mut self) {
        let shard = &self.world.shards[self.shard];
        let is_at_end = self.reader.read == shard.records && shard.arrived == shard.records;
        let end = self.reader.read + u64::from(is_at_end);
        if self.reader.sealed.is_some() || end <= self.reader.sealed_to {
            return;
        }
        let sealed = match self.reader.begun.take() {
            Some(begun)
                if self.world.rules.keeps_cut
                    && (end < begun.cut || self.reader.read < begun.cut.min(shard.records)) =>
            {
                self.reader.begun = Some(begun);
                return;
            }
            Some(begun) => {
                let cut = if self.world.rules.keeps_cut { begun.cut } else { end };
                self.seal_again(begun, cut)
            }
            None => self.seal_new(end),
        };
        self.reader.sealed_to = sealed.delivery.cut;
        self.reader.sealed = Some(sealed);
    }

    fn seal_new(&mut self, end: u64) -> Sealed {
        let (mut cut, mut rest) = (end, Processed::default());
        let last = self.reader.processed.batches.last().filter(|last| last.end == end && last.end - last.start > 1);
        if last.is_some() && !self.world.rules.cuts_between_batches {
            cut = end - 1;
            rest = self.reader.processed.split_off(cut);
        }
        let Processed { batches, mut outputs, dropped } = std::mem::replace(&mut self.reader.processed, rest);
        if outputs.len() > 1 && !self.world.rules.seals_all {
            let kept = outputs.pop_last();
            self.reader.processed.outputs.extend(kept);
        }
        self.world.last_id += 1;
        let delivery = Delivery { id: self.world.last_id, cut, batches, outputs: outputs.clone() };
        Sealed { delivery, is_pending: false, unput: outputs, dropped }
    }

    fn seal_again(&mut self, begun: Delivery, cut: u64) -> Sealed {
        let Processed { batches, outputs, dropped } = std::mem::take(&mut self.reader.processed);
        let is_equal = outputs == begun.outputs || !self.world.rules.compares_outputs;
        if is_equal || cut != begun.cut {
            let delivery = Delivery { cut, ..begun };
            return Sealed { delivery, is_pending: true, unput: outputs, dropped };
        }
        let from = batches.first().map_or(cut, |batch| batch.start);
        if self.world.rules.looks_for_objects && self.is_there(&begun) {
            let fates = begun.outputs.range(..COPIES);
            let is_in = |record: &u64| fates.clone().any(|(_, records)| records.contains(record));
            let records = self.world.shards[self.shard].records;
            let dropped = (from..cut.min(records)).filter(|record| !is_in(record)).collect();
            return Sealed { delivery: begun, is_pending: true, unput: Outputs::new(), dropped };
        }
        let may_double = !self.is_there(&begun) && self.world.fleet != Fleet::Alike;
        if may_double {
            self.world.given_up.extend((from..cut).map(|record| (self.shard, record)));
        }
        if self.world.rules.renames_others {
            self.world.last_id += 1;
        }
        let id = if self.world.rules.renames_others { self.world.last_id } else { begun.id };
        let delivery = Delivery { id, cut, batches, outputs: outputs.clone() };
        Sealed { delivery, is_pending: false, unput: outputs, dropped }
    }

    fn is_there(&self, delivery: &Delivery) -> bool {
        delivery.outputs.keys().all(|&output| self.world.objects.contains_key(&(delivery.id, output)))
    }

    /// Writes the cut, puts one object, or moves the checkpoint. False if the lease is lost.
    fn deliver(&mut self) -> bool {
        let Some(sealed) = &mut self.reader.sealed else { return true };
        let ends_early = !self.world.rules.ends_last && sealed.delivery.cut > self.world.shards[self.shard].records;
        let pends = self.world.rules.pends_first || sealed.unput.is_empty();
        if !sealed.is_pending && !sealed.delivery.outputs.is_empty() && !ends_early && pends {
            return self.pend();
        }
        let is_put = sealed.unput.len() < sealed.delivery.outputs.len() && !self.world.rules.settles_last;
        if sealed.unput.is_empty() || ends_early || is_put { self.settle() } else { self.put() }
    }

    fn pend(&mut self) -> bool {
        let Some(sealed) = &self.reader.sealed else { return true };
        let (id, delivery) = (sealed.delivery.id, Some(sealed.delivery.clone()));
        let start = self.reader.start.filter(|_| self.world.rules.carries_start);
        let asked = self.ask(Change::Pend(Pending::Ours { start, delivery }));
        let is_pending = match &asked {
            None => return false,
            Some(Asked::Written) => true,
            Some(Asked::Again(row)) => row.as_ref().and_then(Row::delivery).is_some_and(|delivery| delivery.id == id),
        };
        if let Some(sealed) = &mut self.reader.sealed {
            sealed.is_pending = is_pending;
        }
        true
    }

    fn put(&mut self) -> bool {
        let is_certain = self.world.shards[self.shard].row.owner == Some(self.me);
        if self.world.rules.puts_if_certain && !is_certain {
            return true;
        }
        let Some(sealed) = &mut self.reader.sealed else { return true };
        let Some((&output, records)) = sealed.unput.first_key_value() else { return true };
        if self.world.put(self.shard, (sealed.delivery.id, output), records.clone()) {
            sealed.unput.remove(&output);
        }
        true
    }

    fn settle(&mut self) -> bool {
        let Some(sealed) = &self.reader.sealed else { return true };
        let (cut, dropped) = (sealed.delivery.cut, sealed.dropped.clone());
        let is_settled = match self.ask(Change::Settle { cut, dropped }) {
            None => return false,
            Some(Asked::Written) => true,
            Some(Asked::Again(row)) => row.is_some_and(|row| row.checkpoint == Some(cut)),
        };
        if is_settled {
            (self.reader.sealed, self.reader.start) = (None, None);
        }
        // At the shard's end nobody needs the lease.
        !is_settled || cut <= self.world.shards[self.shard].records
    }
}
