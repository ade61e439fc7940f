//! Deliveries of earlier lives: their records are read again and put under their old keys.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tracing::{error, info};

use crate::delivery::{Plan, Shipment};
use crate::encode::codec::Codec;
use crate::encode::lane::Lane;
use crate::journal::Kind;
use crate::ledger::HolderId;
use crate::output::{DESTINATION, Format};
use crate::recovery::{Pending, Recovered};

use super::Stream;

/// A delivery of an earlier life whose records are being read again.
pub(super) struct Reforming {
    pub holder: HolderId,
    pub pending: Pending,
    pub lane: Lane,
    pub records: u64,
    /// Some of its records cannot be read again.
    pub is_shrunk: bool,
}

impl Stream {
    /// Takes over what earlier lives have left.
    pub(super) fn resume(&mut self, recovered: Recovered) {
        self.owners = recovered.owners;
        self.settled = recovered.settled;
        for pending in recovered.pending {
            let holder = self.new_holder();
            let intent = &pending.row.intent;
            let at = Timestamp::from_millisecond(intent.arrival_ms).unwrap_or_default();
            // An unreadable format is that of another version; the output's own is then as good as any.
            let format =
                serde_json::from_str(&intent.format).unwrap_or_else(|_| self.output(&intent.output).format().clone());
            let is_plain = self.output(&intent.output).format() == &format;
            let forming = if is_plain {
                self.output(&intent.output).forming(&intent.uuid, at)
            } else {
                format.forming(&pending.place, false, &intent.uuid, at)
            };
            info!(stream = %self.name, key = intent.key, records = intent.records, "a delivery is formed again");
            let lane = Lane::open(forming, self.pool.clone());
            self.makes_copies |= intent.kind == Kind::Copy;
            let reforming = Reforming { holder, lane, records: 0, is_shrunk: false, pending };
            self.reforming.insert(reforming.pending.row.id, reforming);
        }
    }

    /// Ships the deliveries of earlier lives whose records have all been read again.
    pub(super) fn ship_reformed(&mut self) {
        let complete = |reforming: &Reforming| {
            let set = &reforming.pending.row.intent.set;
            set.iter().all(|(partition, _)| set.end(partition).is_none_or(|end| self.ledger.read_to(partition) >= end))
        };
        let rows: Vec<_> = self.reforming.iter().filter(|(_, r)| complete(r)).map(|(&row, _)| row).collect();
        for row in rows {
            let Some(reforming) = self.reforming.remove(&row) else { continue };
            let intent = reforming.pending.row.intent;
            if reforming.records != intent.records && !reforming.is_shrunk {
                let (stream, key, journalled, found) = (&self.name, &intent.key, intent.records, reforming.records);
                error!(%stream, key, journalled, found, "a delivery does not hold the records that it was journalled with");
                self.status.imbalances.fetch_add(1, Ordering::Relaxed);
            }
            let format: Format =
                serde_json::from_str(&intent.format).unwrap_or_else(|_| self.output(&intent.output).format().clone());
            let shipment = Shipment {
                holder: reforming.holder,
                kind: intent.kind,
                is_error_output: intent.output != DESTINATION && intent.kind == Kind::Fate,
                destination: reforming.pending.place.destination.clone(),
                content_encoding: Codec::new(format.compression).content_encoding(),
                lane: reforming.lane,
                records: reforming.records,
                plan: Plan::Again { row, key: intent.key },
            };
            self.ship(shipment);
        }
    }
}
