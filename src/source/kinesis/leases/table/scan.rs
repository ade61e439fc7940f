//! All rows of the table.

use tracing::warn;

use super::call::{Deadline, insist};
use super::error::TableError;
use super::leader::{MIGRATION_KEY, migrated};
use super::{DynamoDbTable, row};
use crate::source::kinesis::leases::lease::Lease;
use crate::source::kinesis::leases::row::{Item, Row};

/// What a scan has found. It is no moment's image: rows change while others are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    pub leases: Vec<Lease>,
    /// Their shards have a lease, and nobody here knows which.
    pub unreadable: Vec<UnreadableRow>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRow {
    pub key: String,
    pub reason: String,
}

impl DynamoDbTable {
    /// All rows, read consistently, page by page.
    pub async fn scan(&self) -> Result<Scan, TableError> {
        let (mut scan, mut from) = (Scan::default(), None);
        loop {
            let (items, next) = self.page(from.as_ref()).await?;
            for item in &items {
                self.add(&mut scan, item)?;
            }
            match next {
                None => return Ok(scan),
                // Asking again would give the same page.
                Some(next) if from.as_ref() == Some(&next) => return Err(self.endless()),
                Some(next) => from = Some(next),
            }
        }
    }

    fn add(&self, scan: &mut Scan, item: &Item) -> Result<(), TableError> {
        match row::read(item) {
            Row::Lease(lease) => scan.leases.push(*lease),
            Row::OfStream { stream, .. } => {
                return Err(TableError::SeveralStreams { table: self.name.clone(), stream });
            }
            Row::Unreadable { key, reason } => {
                warn!(table = self.name, lease_key = key, reason, "a row of the lease table cannot be read");
                scan.unreadable.push(UnreadableRow { key, reason });
            }
            Row::Entity { key, .. } if key == MIGRATION_KEY => {
                migrated(item).map_err(|sign| self.led(&self.name, MIGRATION_KEY, &sign))?;
            }
            Row::Entity { .. } => {}
        }
        Ok(())
    }

    async fn page(&self, from: Option<&Item>) -> Result<(Vec<Item>, Option<Item>), TableError> {
        let attempt = || async move {
            let scan = self.client.scan().table_name(&self.name).consistent_read(true);
            let answer = scan.set_exclusive_start_key(from.cloned()).send().await?;
            Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key.filter(|key| !key.is_empty())))
        };
        insist(&self.name, Deadline::of_long_call(&self.limits), attempt).await
    }

    fn endless(&self) -> TableError {
        let message = String::from("a scan says that there is more and gives the same page again");
        TableError::Refused {
            table: self.name.clone(),
            code: String::from("UnexpectedAnswer"),
            message,
            maybe_done: false,
        }
    }
}
