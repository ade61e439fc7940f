//! A lease table in memory, with the meaning that updates have everywhere.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use crate::source::kinesis::leases::lease::{Checkpoint, Lease};
use crate::source::kinesis::leases::operation::{Answer, LeaseTable, Update};

#[derive(Debug, Clone, Default)]
pub struct MemoryTable {
    rows: BTreeMap<Arc<str>, Lease>,
}

impl MemoryTable {
    pub fn rows(&self) -> impl Iterator<Item = &Lease> {
        self.rows.values()
    }

    pub fn get(&self, key: &str) -> Option<&Lease> {
        self.rows.get(key)
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows behind a key, so many at most.
    pub fn page(&self, behind: Option<&Arc<str>>, rows_max: usize) -> impl Iterator<Item = &Lease> {
        let from = behind.map_or(Bound::Unbounded, |key| Bound::Excluded(Arc::clone(key)));
        self.rows.range((from, Bound::Unbounded)).map(|(_, lease)| lease).take(rows_max)
    }

    pub fn create(&mut self, lease: Lease) -> bool {
        let is_new = !self.rows.contains_key(&lease.key);
        self.rows.entry(Arc::clone(&lease.key)).or_insert(lease);
        is_new
    }

    pub fn update(&mut self, update: &Update) -> Answer {
        match self.rows.get_mut(&update.key) {
            Some(lease) if update.holds(lease) => {
                update.apply(lease);
                Answer::Written(lease.clone())
            }
            lease => Answer::Refused(lease.cloned()),
        }
    }

    pub fn delete_ended(&mut self, key: &str) {
        if self.rows.get(key).is_some_and(|lease| lease.checkpoint == Checkpoint::ShardEnd) {
            self.rows.remove(key);
        }
    }
}

/// For what is tested beside real time.
impl LeaseTable for Mutex<MemoryTable> {
    type Error = Infallible;

    async fn scan(&self) -> Result<Vec<Lease>, Infallible> {
        Ok(self.lock().unwrap_or_else(PoisonError::into_inner).rows().cloned().collect())
    }

    async fn create(&self, lease: &Lease) -> Result<bool, Infallible> {
        Ok(self.lock().unwrap_or_else(PoisonError::into_inner).create(lease.clone()))
    }

    async fn update(&self, update: &Update) -> Result<Answer, Infallible> {
        Ok(self.lock().unwrap_or_else(PoisonError::into_inner).update(update))
    }

    async fn delete_ended(&self, key: &str) -> Result<(), Infallible> {
        self.lock().unwrap_or_else(PoisonError::into_inner).delete_ended(key);
        Ok(())
    }
}
