//! What a delivery stream is doing, for the progress display, the service manager and the summary.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::account::Account;
use crate::redrive::Progress;
use crate::source::SourceCounters;

/// One stream's figures in this life of the process. They survive a restart of the stream.
#[derive(Debug, Default)]
pub struct StreamStatus {
    pub name: String,
    pub source: Arc<SourceCounters>,
    pub objects: AtomicU64,
    pub object_bytes: AtomicU64,
    pub records_delivered: AtomicU64,
    pub restarts: AtomicU64,
    /// With `--drain`: it failed too often.
    pub is_given_up: AtomicBool,
    /// Times at which an account did not balance.
    pub imbalances: AtomicU64,
    accounts: Mutex<Accounts>,
    problems: Mutex<BTreeMap<String, String>>,
}

/// The accounts of the lives of a stream: fates, and copies in the backup.
#[derive(Debug, Default, Clone, Copy)]
pub struct Accounts {
    pub fate: Account,
    pub copy: Account,
    /// Of lives that have ended.
    past_fate: Account,
    past_copy: Account,
}

impl StreamStatus {
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), ..Self::default() })
    }

    /// Of a redrive.
    pub fn of_redrive(name: &str, progress: Arc<Progress>) -> Arc<Self> {
        let source = Arc::new(SourceCounters { redrive: Some(progress), ..SourceCounters::default() });
        Arc::new(Self { name: name.to_owned(), source, ..Self::default() })
    }

    /// The account of the life that is under way.
    pub fn set_accounts(&self, fate: Account, copy: Account) {
        let mut accounts = lock(&self.accounts);
        (accounts.fate, accounts.copy) = (fate, copy);
        if let Some(redrive) = &self.source.redrive {
            redrive.set_fates(&fate);
        }
    }

    /// A life has ended; what was in flight then is read again in the next one.
    pub fn end_life(&self) {
        let mut accounts = lock(&self.accounts);
        let ended = |account: Account| Account {
            read: account.read - account.in_flight.min(account.read),
            in_flight: 0,
            ..account
        };
        accounts.past_fate = accounts.past_fate.plus(ended(accounts.fate));
        if let Some(redrive) = &self.source.redrive {
            redrive.end_life(&ended(accounts.fate));
        }
        accounts.past_copy = accounts.past_copy.plus(ended(accounts.copy));
        (accounts.fate, accounts.copy) = (Account::default(), Account::default());
    }

    /// The accounts of all lives in this process: fates, and copies in the backup.
    pub fn accounts(&self) -> (Account, Account) {
        let accounts = lock(&self.accounts);
        (accounts.past_fate.plus(accounts.fate), accounts.past_copy.plus(accounts.copy))
    }

    /// Something is wrong with `what` until it is cleared.
    pub fn set_problem(&self, what: &str, problem: String) {
        lock(&self.problems).insert(what.to_owned(), problem);
        self.show_problem();
    }

    pub fn clear_problem(&self, what: &str) {
        lock(&self.problems).remove(what);
        self.show_problem();
    }

    /// One of the problems there are, the first by name.
    pub fn problem(&self) -> Option<String> {
        lock(&self.problems).values().next().cloned()
    }

    fn show_problem(&self) {
        if let Some(redrive) = &self.source.redrive {
            redrive.set_problem(self.problem());
        }
    }

    /// Why it was given up, if it was.
    pub fn given_up(&self) -> Option<String> {
        let is_given_up = self.is_given_up.load(Ordering::Relaxed);
        is_given_up.then(|| self.problem().unwrap_or_else(|| String::from("it failed too often")))
    }

    pub fn bytes_read(&self) -> u64 {
        self.source.bytes.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
