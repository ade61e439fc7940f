//! A DynamoDB server on loopback, for lease tables. One serves all tests of a run, each with tables of its own; whoever has to kill it
//! starts one of their own.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
};
use tokio::runtime::Runtime;

use super::s3::{ACCESS_KEY, SECRET_KEY, runtime};
use super::scratch::Scratch;
use super::script::Script;
use super::servers::free_port;
use super::wait::wait_until;

/// An item, by the names of its attributes.
pub type Row = BTreeMap<String, AttributeValue>;

/// A running server; it ends with this value, or with the process of the tests.
pub struct DynamoDb {
    script: Script,
    client: Client,
    runtime: Runtime,
}

impl DynamoDb {
    /// The one for all tests.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: LazyLock<Option<DynamoDb>> =
            LazyLock::new(|| DynamoDb::start(free_port(), tempfile::tempfile().expect("a file for its log")));
        SHARED.as_ref()
    }

    /// One of the test's own, without what it was told in another life.
    pub fn own(scratch: &Scratch, port: u16) -> Option<Self> {
        Self::start(port, File::create(scratch.path("dynamodb.log")).expect("a file for its log"))
    }

    fn start(port: u16, log: File) -> Option<Self> {
        let script = Script::start("dynamodb", port, log)?;
        let client = client(&script.url());
        Some(Self { script, client, runtime: runtime() })
    }

    pub fn url(&self) -> String {
        self.script.url()
    }

    pub fn port(&self) -> u16 {
        self.script.port
    }

    /// For calls that are not made here; it tries everything once.
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn block_on<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// A name that no other test's table has; the table is not there yet.
    pub fn table(&self) -> Table<'_> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        self.named(&format!("leases-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The table of this name, whether it is there or not.
    pub fn named(&self, name: &str) -> Table<'_> {
        Table { server: self, name: name.to_owned() }
    }
}

/// A table of one test; it goes with this value.
pub struct Table<'a> {
    server: &'a DynamoDb,
    name: String,
}

impl Table<'_> {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As the KCL makes a lease table: keyed by `leaseKey`, paid per request.
    pub fn create(&self) {
        let key = KeySchemaElement::builder().attribute_name("leaseKey").key_type(KeyType::Hash).build();
        let attribute = AttributeDefinition::builder()
            .attribute_name("leaseKey")
            .attribute_type(ScalarAttributeType::S)
            .build()
            .expect("a name and a type");
        let create = self.server.client.create_table().table_name(&self.name).billing_mode(BillingMode::PayPerRequest);
        let create = create.key_schema(key.expect("a name and a type")).attribute_definitions(attribute);
        self.server.block_on(create.send()).expect("a table made");
        wait_until("the table is active", || self.status() == Some(TableStatus::Active));
    }

    /// `None` where there is no table.
    pub fn status(&self) -> Option<TableStatus> {
        let describe = self.server.client.describe_table().table_name(&self.name);
        match self.server.block_on(describe.send()) {
            Ok(output) => output.table.and_then(|table| table.table_status),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => None,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Every item, by its `leaseKey`; none where there is no table.
    pub fn rows(&self) -> BTreeMap<String, Row> {
        let scan = || self.server.client.scan().table_name(&self.name).consistent_read(true);
        let scanned = self.server.block_on(scan().into_paginator().items().send().collect::<Result<Vec<_>, _>>());
        let items = match scanned {
            Ok(items) => items,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) => {
                return BTreeMap::new();
            }
            Err(error) => panic!("{error:?}"),
        };
        let keyed = items.into_iter().map(|item| {
            let row: Row = item.into_iter().collect();
            (text(&row, "leaseKey").expect("a key").to_owned(), row)
        });
        keyed.collect()
    }

    pub fn row(&self, lease_key: &str) -> Option<Row> {
        self.rows().remove(lease_key)
    }

    /// Replaces the whole item.
    pub fn put(&self, row: Row) {
        let put = self.server.client.put_item().table_name(&self.name).set_item(Some(row.into_iter().collect()));
        self.server.block_on(put.send()).expect("an item put");
    }

    pub fn delete_row(&self, lease_key: &str) {
        let delete = self.server.client.delete_item().table_name(&self.name);
        self.server.block_on(delete.key("leaseKey", s(lease_key)).send()).expect("an item deleted");
    }
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        let _ = self.server.block_on(self.server.client.delete_table().table_name(&self.name).send());
    }
}

/// An item of these attributes.
pub fn row<'a>(attributes: impl IntoIterator<Item = (&'a str, AttributeValue)>) -> Row {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A text.
pub fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A number.
pub fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A set of texts.
pub fn ss<'a>(texts: impl IntoIterator<Item = &'a str>) -> AttributeValue {
    AttributeValue::Ss(texts.into_iter().map(str::to_owned).collect())
}

/// The text under this name, if there is one.
#[track_caller]
pub fn text<'a>(row: &'a Row, name: &str) -> Option<&'a str> {
    row.get(name).map(|value| value.as_s().expect("a text").as_str())
}

/// The number under this name, if there is one.
#[track_caller]
pub fn number(row: &Row, name: &str) -> Option<u64> {
    row.get(name).map(|value| value.as_n().expect("a number").parse().expect("a whole one"))
}

/// A client of our own, which tries everything once.
pub fn client(endpoint: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
        .region(Region::new("eu-west-1"))
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}
