//! The DynamoDB server of the tests: it does what lease tables need.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};

use crate::support::DynamoDb;
use crate::support::dynamodb::{Table, n, number, row, s, ss, text};

fn lease(key: &str) -> crate::support::dynamodb::Row {
    row([("leaseKey", s(key)), ("leaseCounter", n(0)), ("checkpoint", s("TRIM_HORIZON"))])
}

/// Takes the lease if its counter is this.
fn take(server: &DynamoDb, table: &Table, owner: &str, counter: u64) -> Result<(), Option<String>> {
    let update = server.client().update_item().table_name(table.name()).key("leaseKey", s("shard"));
    let update = update
        .update_expression("SET leaseOwner = :owner, leaseCounter = leaseCounter + :one REMOVE checkpointOwner")
        .condition_expression("leaseCounter = :counter")
        .expression_attribute_values(":owner", s(owner))
        .expression_attribute_values(":one", n(1))
        .expression_attribute_values(":counter", n(counter))
        .return_values(ReturnValue::AllNew);
    server.block_on(update.send()).map(drop).map_err(|error| error.code().map(str::to_owned))
}

#[test]
fn a_conditional_update_is_for_one_of_two() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    assert_eq!((table.status(), table.rows().len()), (None, 0), "not there yet");
    table.create();
    table.put(lease("shard"));
    assert_eq!(take(server, &table, "one", 0), Ok(()));
    assert_eq!(take(server, &table, "other", 0), Err(Some("ConditionalCheckFailedException".to_owned())));
    let found = table.row("shard").expect("the lease");
    assert_eq!((text(&found, "leaseOwner"), number(&found, "leaseCounter")), (Some("one"), Some(1)));
    table.delete_row("shard");
    assert_eq!(table.row("shard"), None);
    let missing = Err(Some("ConditionalCheckFailedException".to_owned()));
    assert_eq!(take(server, &table, "one", 1), missing, "of what is not there, too");
}

#[test]
fn rows_of_every_type_come_back_in_pages() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    let mut put = lease("first");
    put.insert("parentShardId".to_owned(), ss(["shardId-1", "shardId-2"]));
    put.insert("pendingCheckpointState".to_owned(), AttributeValue::B(Blob::new(b"\0\xff".to_vec())));
    table.put(put.clone());
    // More than the 1 MB of a page.
    let filler = "x".repeat(30_000);
    for number in 0..60 {
        let mut put = lease(&format!("lease-{number}"));
        put.insert("unknown".to_owned(), s(&filler));
        table.put(put);
    }
    let one = server.block_on(server.client().scan().table_name(table.name()).send()).expect("a page");
    assert!(one.last_evaluated_key.is_some(), "in pages");
    let rows = table.rows();
    assert_eq!(rows.len(), 61);
    let (found, set) = (&rows["first"], |row: &AttributeValue| row.as_ss().expect("a set").iter().cloned().collect());
    let sets: [BTreeSet<String>; 2] = [set(&found["parentShardId"]), set(&put["parentShardId"])];
    assert_eq!(sets[0], sets[1]);
    assert_eq!(found["pendingCheckpointState"], put["pendingCheckpointState"]);
}
