//! What a fleet's worker asks is answered as the table in memory answers it, with which fleets are simulated.

use std::sync::Arc;

use hydrant::source::kinesis::leases::operation::{Answer, Change, LeaseTable, Update};
use hydrant::source::kinesis::leases::simulation::table::MemoryTable;

use super::*;
use crate::support::{CallFault, CallProxy};

fn changes() -> impl Strategy<Value = Change> {
    let states = prop::option::of(prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from));
    let children = prop::collection::btree_set("shardId-[0-9]{12}", 0..3);
    prop_oneof![
        Just(Change::Renew),
        Just(Change::Take),
        Just(Change::Release),
        (0..9u64, states).prop_map(|(cut, state)| Change::Pend(PendingCheckpoint { checkpoint: at(cut), state })),
        (0..9u64, children).prop_map(|(cut, children)| Change::Settle { checkpoint: at(cut), children }),
        Just(Change::Settle { checkpoint: Checkpoint::ShardEnd, children: BTreeSet::new() }),
    ]
}

#[derive(Debug, Clone)]
enum Asked {
    Create,
    /// By one of two workers, with a counter so far below the row's.
    Update {
        who: usize,
        behind: u64,
        change: Change,
    },
    DeleteEnded,
}

fn questions() -> impl Strategy<Value = Asked> {
    let update = (0..2usize, prop::sample::select(vec![0, 0, 0, 0, 1]), changes());
    prop_oneof![
        1 => Just(Asked::Create),
        8 => update.prop_map(|(who, behind, change)| Asked::Update { who, behind, change }),
        1 => Just(Asked::DeleteEnded),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_tables_answer_the_same(script in prop::collection::vec(questions(), 1..30)) {
        let Some(server) = DynamoDb::shared() else { return Ok(()) };
        let table = server.table();
        table.create();
        let (real, mut model) = (worker(server, &table, "w0"), MemoryTable::default());
        for asked in script {
            match asked {
                Asked::Create => {
                    let lease = Lease::new(SHARD, Checkpoint::Latest);
                    let is_created = server.block_on(LeaseTable::create(&real, &lease)).unwrap();
                    prop_assert_eq!(is_created, model.create(lease));
                }
                Asked::Update { who, behind, change } => {
                    let counter = model.get(SHARD).map_or(0, |lease| lease.counter).saturating_sub(behind);
                    let update = Update { key: SHARD.into(), worker: ["w0", "w1"][who].into(), counter, change };
                    prop_assert_eq!(server.block_on(real.update(&update)).unwrap(), model.update(&update));
                }
                Asked::DeleteEnded => {
                    server.block_on(real.delete_ended(SHARD)).unwrap();
                    model.delete_ended(SHARD);
                }
            }
            let row = server.block_on(real.get(SHARD)).unwrap().and_then(Found::into_lease);
            prop_assert_eq!(row.as_ref(), model.get(SHARD));
        }
    }
}

#[test]
fn what_was_written_and_not_heard_of_is_refused_with_the_row_that_tells() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    let proxy = CallProxy::start(server.port());
    let us = DynamoDbTable::new(client(&proxy.endpoint()), table.name(), "us", patient());
    table.put(of_java(7));
    let me = Arc::<str>::from("us");
    let update = |counter, change| Update { key: SHARD.into(), worker: me.clone(), counter, change };
    let pending = PendingCheckpoint { checkpoint: at(9), state: Some(Bytes::from_static(b"id")) };
    for update in [
        update(7, Change::Take),
        update(8, Change::Renew),
        update(9, Change::Pend(pending)),
        update(10, Change::Settle { checkpoint: at(9), children: BTreeSet::new() }),
    ] {
        proxy.next("UpdateItem", [CallFault::LostAnswer]);
        match server.block_on(us.update(&update)).unwrap() {
            Answer::Refused(Some(row)) => assert!(update.was_written(&row), "{row:?}"),
            answer => panic!("{answer:?}"),
        }
    }
    // What nobody knows is there yet.
    assert!(table.row(SHARD).unwrap().contains_key("ofTomorrow"));
}
