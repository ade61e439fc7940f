//! Many workers at the same rows: of each state of a row one change is made.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;

use super::*;
use crate::support::rng::Rng;

pub(super) const WORKERS: usize = 8;
const ROWS: usize = 4;

pub(super) fn rows() -> Vec<Lease> {
    (0..ROWS).map(|number| Lease::new(&format!("shardId-{number:012}"), Checkpoint::TrimHorizon)).collect()
}

#[test]
fn of_all_who_take_a_lease_at_once_one_has_it() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    let made = server.block_on(async {
        let mut tasks = JoinSet::new();
        for number in 0..WORKERS {
            let us = worker(server, &table, &format!("w{number}"));
            tasks.spawn(async move {
                let mut made = Vec::new();
                for lease in rows() {
                    // All of them create it, too.
                    if matches!(us.create(&lease).await.unwrap(), Outcome::Done(_)) {
                        made.push(format!("create {}", lease.key));
                    }
                    match us.take(&lease).await.unwrap() {
                        Outcome::Done(taken) => {
                            assert_eq!(taken.owner.as_deref(), Some(&*format!("w{number}")));
                            made.push(format!("take {}", lease.key));
                        }
                        Outcome::Lost(found) => assert!(found.is_some_and(|found| found.counter == 1)),
                    }
                }
                made
            });
        }
        tasks.join_all().await.concat()
    });
    assert_eq!(made.len(), 2 * ROWS, "{made:?}");
    assert_eq!(made.iter().collect::<BTreeSet<_>>().len(), 2 * ROWS, "{made:?}");
    assert!(table.rows().values().all(|row| row["leaseCounter"] == n(1)));
}

/// What a worker that takes, renews and writes checkpoints as it likes has done: rows and the counters that it made.
pub(super) async fn work(us: DynamoDbTable, mut rng: Rng, rounds: usize) -> Vec<(String, u64)> {
    let (mut made, mut known) = (Vec::new(), rows());
    for _ in 0..rounds {
        let lease = &mut known[rng.between(0, ROWS as u64) as usize];
        let outcome = match rng.between(0, 6) {
            0 | 1 => us.take(lease).await,
            2 => us.renew(lease).await,
            3 if lease.pending.is_none() => us.prepare(lease, at(lease.counter), Bytes::from_static(b"id")).await,
            3 => us.finish(lease, lease.pending.as_ref().unwrap().checkpoint).await,
            4 => us.release(lease).await,
            _ => us.checkpoint(lease, at(lease.counter)).await,
        };
        match outcome.unwrap() {
            Outcome::Done(after) => {
                made.push((after.key.to_string(), after.counter));
                *lease = after;
            }
            Outcome::Lost(found) => *lease = found.expect("nobody deletes it"),
        }
    }
    made
}

#[test]
fn each_state_of_a_row_comes_from_one_change() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    let first = worker(server, &table, "first");
    rows().iter().for_each(|lease| drop(done(server.block_on(first.create(lease)))));
    let made = server.block_on(async {
        let mut tasks = JoinSet::new();
        for number in 0..WORKERS {
            tasks.spawn(work(worker(server, &table, &format!("w{number}")), Rng::new(number as u64), 60));
        }
        tasks.join_all().await.concat()
    });
    let mut counters = BTreeMap::<_, BTreeSet<u64>>::new();
    for (key, counter) in &made {
        assert!(counters.entry(key).or_default().insert(*counter), "{key}: two changes made {counter}");
    }
    for (key, row) in table.rows() {
        let count = counters.get(&key).map_or(0, BTreeSet::len);
        assert_eq!(row["leaseCounter"], n(count), "{key}: every change that was made was told of");
    }
}
