//! The table before anything is done with it: made, waited for, looked at.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};
use hydrant::source::kinesis::leases::table::{Assignment, connect};
use tokio::task::JoinSet;

use super::*;
use crate::support::s3::{ACCESS_KEY, SECRET_KEY};
use crate::support::{CallFault, CallProxy};

#[test]
fn workers_that_start_together_make_one_table() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    let made = server.block_on(async {
        let mut tasks = JoinSet::new();
        for number in 0..8 {
            let us = worker(server, &table, &format!("w{number}"));
            tasks.spawn(async move {
                let is_made = us.prepare_table().await.unwrap();
                // It can be used at once.
                us.scan().await.unwrap();
                is_made
            });
        }
        tasks.join_all().await
    });
    assert_eq!(made.iter().filter(|is_made| **is_made).count(), 1, "{made:?}");
    assert_eq!(table.status(), Some(TableStatus::Active));
    let describe = server.client().describe_table().table_name(table.name()).send();
    let billing = server.block_on(describe).unwrap().table.unwrap().billing_mode_summary.unwrap();
    assert_eq!(billing.billing_mode, Some(BillingMode::PayPerRequest));
}

#[test]
fn a_table_on_its_way_out_is_made_again() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    server.block_on(server.client().delete_table().table_name(table.name()).send()).unwrap();
    assert!(server.block_on(worker(server, &table, "us").prepare_table()).unwrap());
    assert_eq!(table.status(), Some(TableStatus::Active));
}

#[test]
fn a_table_is_made_although_the_answer_is_lost() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    let proxy = CallProxy::start(server.port());
    proxy.next("CreateTable", [CallFault::UNAVAILABLE, CallFault::LostAnswer]);
    let us = DynamoDbTable::new(client(&proxy.endpoint()), table.name(), "us", patient());
    server.block_on(us.prepare_table()).unwrap();
    assert_eq!(table.status(), Some(TableStatus::Active));
}

#[test]
fn who_may_not_make_the_table_is_told_what_to_allow() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    let proxy = CallProxy::start(server.port());
    proxy.next("CreateTable", [CallFault::ACCESS_DENIED]);
    let us = DynamoDbTable::new(client(&proxy.endpoint()), table.name(), "us", patient());
    let error = server.block_on(us.prepare_table()).unwrap_err().to_string();
    for part in [table.name(), "AccessDeniedException", "allow dynamodb:DescribeTable", "CreateTable"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_table_for_something_else_is_refused() {
    let Some(server) = DynamoDb::shared() else { return };
    use ScalarAttributeType::{N, S};
    for (keys, reason) in [
        (&[("id", S)][..], "its partition key is `id`"),
        (&[("leaseKey", N)], "its `leaseKey` is of type N"),
        (&[("leaseKey", S), ("time", N)], "its key is made of `leaseKey` and `time`"),
    ] {
        let table = server.table();
        let mut create =
            server.client().create_table().table_name(table.name()).billing_mode(BillingMode::PayPerRequest);
        for (number, (name, of)) in keys.iter().enumerate() {
            let kind = if number == 0 { KeyType::Hash } else { KeyType::Range };
            create = create
                .key_schema(KeySchemaElement::builder().attribute_name(*name).key_type(kind).build().unwrap())
                .attribute_definitions(
                    AttributeDefinition::builder().attribute_name(*name).attribute_type(of.clone()).build().unwrap(),
                );
        }
        server.block_on(create.send()).unwrap();
        let error = server.block_on(worker(server, &table, "us").prepare_table()).unwrap_err();
        assert!(matches!(&error, TableError::OtherShape { reason: found, .. } if found == reason), "{error}");
        assert!(error.to_string().contains("name another one in `leases.dynamodb.table`"), "{error}");
    }
}

/// The item by which KCL 3 says which version's algorithms its workers follow.
fn migration(key: &str, version: &str) -> Row {
    row([
        (key, s("Migration3.0")),
        ("entityType", s("CLIENT_VERSION_MIGRATION")),
        ("cv", s(version)),
        ("mb", s("worker")),
        ("mts", n(1_700_000_000_000_u64)),
    ])
}

#[test]
fn a_table_that_a_leader_of_kcl_3_assigns_is_refused() {
    let Some(server) = DynamoDb::shared() else { return };
    let application = server.table();
    let coordinator = server.named(&format!("{}-CoordinatorState", application.name()));
    let table = server.table();
    table.create();
    let us = worker(server, &table, "us");
    let assignment = || server.block_on(us.assignment(application.name()));
    let is_led = |version: &str| {
        let error = assignment().unwrap_err();
        assert!(matches!(&error, TableError::Led { sign, .. } if sign.contains(version)), "{error}");
        assert!(error.to_string().contains("CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X"), "{error}");
    };
    assert_eq!(assignment().unwrap(), Assignment::ByWorkers, "a table of 2.x has nothing of the kind");

    let leader = row([("leaseKey", s("Leader")), ("entityType", s("LEADER")), ("ownerName", s("java"))]);
    table.put(leader);
    is_led("`Leader`");
    for (version, assigned) in [
        ("CLIENT_VERSION_2X", Some(Assignment::ByWorkers)),
        ("CLIENT_VERSION_UPGRADE_FROM_2X", Some(Assignment::ByWorkersUntilMigrated)),
        ("CLIENT_VERSION_3X_WITH_ROLLBACK", None),
        ("CLIENT_VERSION_3X", None),
        ("CLIENT_VERSION_4X", None),
    ] {
        table.put(migration("leaseKey", version));
        match assigned {
            // Whatever lock was left behind.
            Some(assigned) => {
                assert_eq!(assignment().unwrap(), assigned, "{version}");
                server.block_on(us.scan()).unwrap();
            }
            None => {
                is_led(version);
                // Each scan sees it, too.
                let error = server.block_on(us.scan()).unwrap_err();
                assert!(matches!(error, TableError::Led { .. }), "{error}");
            }
        }
    }

    // Until 3.4 it stands in a table of its own.
    table.delete_row("Migration3.0");
    table.delete_row("Leader");
    let key = KeySchemaElement::builder().attribute_name("key").key_type(KeyType::Hash).build().unwrap();
    let text = AttributeDefinition::builder().attribute_name("key").attribute_type(ScalarAttributeType::S);
    let create = server.client().create_table().table_name(coordinator.name()).billing_mode(BillingMode::PayPerRequest);
    server.block_on(create.key_schema(key).attribute_definitions(text.build().unwrap()).send()).unwrap();
    crate::support::wait::wait_until("the table is active", || coordinator.status() == Some(TableStatus::Active));
    assert_eq!(assignment().unwrap(), Assignment::ByWorkers);
    coordinator.put(migration("key", "CLIENT_VERSION_UPGRADE_FROM_2X"));
    assert_eq!(assignment().unwrap(), Assignment::ByWorkersUntilMigrated);
    coordinator.put(migration("key", "CLIENT_VERSION_3X"));
    is_led("CLIENT_VERSION_3X");
}

#[test]
fn who_may_read_nothing_but_the_lease_table_may_go_on() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    table.create();
    let proxy = CallProxy::start(server.port());
    proxy.rule(|call| match call.body["TableName"].as_str() {
        Some(name) if name.ends_with("-CoordinatorState") => CallFault::ACCESS_DENIED,
        _ => CallFault::Pass,
    });
    let us = DynamoDbTable::new(client(&proxy.endpoint()), table.name(), "us", patient());
    assert_eq!(server.block_on(us.assignment("other")).unwrap(), Assignment::ByWorkers);
    assert_eq!(proxy.met(&CallFault::ACCESS_DENIED), 2, "that of the application, and that of the table's name");
}

#[test]
fn a_client_comes_from_the_configuration() {
    let Some(server) = DynamoDb::shared() else { return };
    let table = server.table();
    let connected = server.block_on(async {
        let credentials = aws_credential_types::Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test");
        let loader = aws_config::defaults(aws_config::BehaviorVersion::latest()).credentials_provider(credentials);
        let client = connect(loader, Some("eu-west-1"), Some(&server.url()), None).await.expect("a region");
        DynamoDbTable::new(client, table.name(), "us", Limits::default()).prepare_table().await
    });
    assert!(connected.unwrap());
}
