//! AWS Glue as a registry: tables of its Data Catalog, and subjects that are schemas of its Schema Registry.

mod client;

use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use tracing::warn;

use super::registry::{BoxFuture, Listed, Registry, RegistryError};
use super::{Column, Schema, SchemaName, Table, Version, avro, json_schema};
use crate::config::model::GlueConfig;
use client::{CallError, GlueClient};

/// Pages of a listing, and items on them: what keeps a server that never comes to an end from being asked for ever.
const PAGES_MAX: usize = 10_000;
const ITEMS_MAX: usize = 1_000_000;

pub struct GlueRegistry {
    name: String,
    client: GlueClient,
    catalog_id: Option<String>,
    schema_registry: String,
    timeout: Duration,
}

impl GlueRegistry {
    pub fn new(name: &str, config: &GlueConfig) -> Result<Self, RegistryError> {
        let client =
            GlueClient::new(config).map_err(|reason| RegistryError::Denied { registry: name.to_owned(), reason })?;
        let (catalog_id, schema_registry) = (config.catalog_id.clone(), config.schema_registry.clone());
        Ok(Self { name: name.to_owned(), client, catalog_id, schema_registry, timeout: config.timeout })
    }

    /// A table of the Data Catalog. Location, SerDe and formats are not looked at, as in Firehose.
    async fn table(&self, database: &str, table: &str, version: Version) -> Result<Schema, RegistryError> {
        let what = || match version {
            Version::Latest => format!("table `{database}/{table}`"),
            Version::Number(number) => format!("version {number} of table `{database}/{table}`"),
        };
        let (found, number) = match version {
            Version::Latest => {
                let input = self.in_catalog(&[("DatabaseName", database), ("Name", table)]);
                let answer = self.call("GetTable", &input, what).await?;
                let number = version_id(&answer["Table"]);
                match number {
                    Some(number) => (answer["Table"].clone(), number),
                    None => self.latest_version(database, table).await?,
                }
            }
            Version::Number(number) => {
                let id = number.to_string();
                let names = [("DatabaseName", database), ("TableName", table), ("VersionId", &id)];
                let answer = self.call("GetTableVersion", &self.in_catalog(&names), what).await?;
                (answer["TableVersion"]["Table"].clone(), number)
            }
        };
        self.schema(format!("{}/{database}/{table}", self.name), Some(number), |_| columns(&found))
    }

    /// For catalogs whose tables do not name their version.
    async fn latest_version(&self, database: &str, table: &str) -> Result<(Json, u64), RegistryError> {
        let names = self.in_catalog(&[("DatabaseName", database), ("TableName", table)]);
        let what = || format!("table `{database}/{table}`");
        let mut latest: Option<(Json, u64)> = None;
        let take = |mut version: Json| {
            if let Some(number) = version_id(&version)
                && latest.as_ref().is_none_or(|(_, known)| *known < number)
            {
                latest = Some((version["Table"].take(), number));
            }
        };
        self.pages("GetTableVersions", names, "TableVersions", what, take).await?;
        latest.ok_or_else(|| RegistryError::NotFound {
            registry: self.name.clone(),
            what: format!("version of table `{database}/{table}`"),
        })
    }

    /// A schema of the Schema Registry.
    async fn subject(&self, subject: &str, version: Version) -> Result<Schema, RegistryError> {
        let number = match version {
            Version::Latest => json!({ "LatestVersion": true }),
            Version::Number(number) => json!({ "VersionNumber": number }),
        };
        let id = json!({ "SchemaName": subject, "RegistryName": self.schema_registry });
        let what = || format!("{version} version of schema `{subject}` in `{}`", self.schema_registry);
        let input = json!({ "SchemaId": id, "SchemaVersionNumber": number });
        let answer = self.call("GetSchemaVersion", &input, what).await?;
        if !answer["SchemaDefinition"].is_string() {
            return Err(self.away(String::from("GetSchemaVersion is answered without a `SchemaDefinition`")));
        }
        let text = |key: &str| answer[key].as_str().unwrap_or_default();
        let name = format!("{}/{subject}", self.name);
        self.schema(name, answer["VersionNumber"].as_u64(), |_| {
            match text("Status") {
                "AVAILABLE" | "" => {}
                status => return Err(format!("its status is {status}")),
            }
            match text("DataFormat") {
                "AVRO" => avro::table(text("SchemaDefinition")),
                "JSON" => json_schema::table(text("SchemaDefinition")),
                format => Err(format!("its data format is {format}; AVRO and JSON are read")),
            }
        })
    }

    fn schema(
        &self,
        name: String,
        version: Option<u64>,
        table: impl FnOnce(&Self) -> Result<Table, String>,
    ) -> Result<Schema, RegistryError> {
        match table(self) {
            Ok(table) => Ok(Schema { name, version, table }),
            Err(reason) => Err(RegistryError::Unusable { schema: name, reason }),
        }
    }

    /// Who may look into one of the two only, sees that one.
    async fn all(&self) -> Result<Vec<Listed>, RegistryError> {
        let mut all = match (self.tables().await, self.subjects().await) {
            (Ok(tables), Ok(subjects)) => [tables, subjects].concat(),
            (Ok(found), Err(error)) | (Err(error), Ok(found)) if !found.is_empty() => {
                warn!(%error, "the list is not complete");
                found
            }
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    async fn tables(&self) -> Result<Vec<Listed>, RegistryError> {
        let what = || String::from("Data Catalog");
        let (mut databases, mut tables) = (Vec::new(), Vec::new());
        let take = |database: Json| databases.extend(database["Name"].as_str().map(str::to_owned));
        self.pages("GetDatabases", self.in_catalog(&[]), "DatabaseList", what, take).await?;
        for database in &databases {
            let input = self.in_catalog(&[("DatabaseName", database)]);
            let take = |table: Json| {
                if let Some(Ok(name)) = table["Name"].as_str().map(|table| SchemaName::table(database, table)) {
                    tables.push(Listed { name, versions: version_id(&table).into_iter().collect() });
                }
            };
            self.pages("GetTables", input, "TableList", what, take).await?;
        }
        Ok(tables)
    }

    async fn subjects(&self) -> Result<Vec<Listed>, RegistryError> {
        let input = json!({ "RegistryId": { "RegistryName": self.schema_registry } });
        let what = || format!("Schema Registry `{}`", self.schema_registry);
        let mut subjects = Vec::new();
        let name = |schema: Json| SchemaName::subject(schema["SchemaName"].as_str()?).ok();
        let take = |schema| subjects.extend(name(schema).map(|name| Listed { name, versions: Vec::new() }));
        match self.pages("ListSchemas", input, "Schemas", what, take).await {
            // Who has tables only has no Schema Registry.
            Ok(()) | Err(RegistryError::NotFound { .. }) => Ok(subjects),
            Err(error) => Err(error),
        }
    }

    /// All items of a listing, one at a time.
    async fn pages(
        &self,
        operation: &str,
        mut input: Json,
        key: &str,
        what: impl Fn() -> String,
        mut take: impl FnMut(Json),
    ) -> Result<(), RegistryError> {
        let mut items = 0;
        for _ in 0..PAGES_MAX {
            let mut answer = self.call(operation, &input, &what).await?;
            if let Json::Array(page) = answer[key].take() {
                items += page.len();
                page.into_iter().for_each(&mut take);
            }
            let next = answer["NextToken"].take();
            if next.as_str().is_none_or(str::is_empty) {
                return Ok(());
            }
            if items > ITEMS_MAX || next == input["NextToken"] {
                break;
            }
            input["NextToken"] = next;
        }
        Err(self.away(format!("{operation} does not come to an end")))
    }

    fn away(&self, reason: String) -> RegistryError {
        RegistryError::Away { registry: self.name.clone(), reason }
    }

    async fn call(&self, operation: &str, input: &Json, what: impl FnOnce() -> String) -> Result<Json, RegistryError> {
        let registry = self.name.clone();
        self.client.call(operation, input).await.map_err(|error| match error {
            CallError::NotFound => RegistryError::NotFound { registry, what: what() },
            CallError::Denied(reason) => RegistryError::Denied { registry, reason },
            CallError::Away(reason) => RegistryError::Away { registry, reason },
        })
    }

    fn in_catalog(&self, names: &[(&str, &str)]) -> Json {
        let named = names.iter().copied().chain(self.catalog_id.as_deref().map(|id| ("CatalogId", id)));
        Json::Object(named.map(|(key, value)| (key.to_owned(), Json::from(value))).collect::<Map<_, _>>())
    }
}

impl Registry for GlueRegistry {
    fn resolve<'a>(&'a self, name: &'a SchemaName, version: Version) -> BoxFuture<'a, Result<Schema, RegistryError>> {
        let resolve = async move {
            match name {
                SchemaName::Table { database, table } => self.table(database, table, version).await,
                SchemaName::Subject(subject) => self.subject(subject, version).await,
            }
        };
        Box::pin(async move {
            // Of several calls, too.
            let resolved = tokio::time::timeout(self.timeout, resolve).await;
            resolved.unwrap_or_else(|_| Err(self.away(format!("no answer within {:?}", self.timeout))))
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, RegistryError>> {
        Box::pin(self.all())
    }
}

/// Versions are numbers in strings.
fn version_id(of: &Json) -> Option<u64> {
    of["VersionId"].as_str()?.parse().ok()
}

fn columns(table: &Json) -> Result<Table, String> {
    let list = |columns: &Json| -> Result<Vec<Column>, String> {
        columns.as_array().map_or(&[][..], Vec::as_slice).iter().map(column).collect()
    };
    let columns = list(&table["StorageDescriptor"]["Columns"])?;
    Table::new(columns, list(&table["PartitionKeys"])?).map_err(|error| error.to_string())
}

fn column(column: &Json) -> Result<Column, String> {
    let name = column["Name"].as_str().unwrap_or_default();
    // Glue takes a column without a type; nobody can read it.
    let data_type = column["Type"].as_str().unwrap_or_default().parse();
    let data_type = data_type.map_err(|error| format!("column `{name}`: {error}"))?;
    let comment = column["Comment"].as_str().map(str::to_owned);
    Ok(Column { name: name.to_owned(), data_type, is_required: false, comment })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tables_columns_are_read_as_they_stand() {
        let table = json!({
            "StorageDescriptor": { "Columns": [
                { "Name": "ts", "Type": "timestamp" },
                { "Name": "tags", "Type": "array<string>", "Comment": "free text" },
            ] },
            "PartitionKeys": [{ "Name": "day", "Type": "date" }],
        });
        let read = columns(&table).unwrap();
        assert_eq!(read.columns()[1].comment.as_deref(), Some("free text"));
        assert_eq!((read.columns().len(), read.partition_columns()[0].name.as_str()), (2, "day"));
        let bad = json!({ "StorageDescriptor": { "Columns": [{ "Name": "u", "Type": "uniontype<int,string>" }] } });
        assert!(columns(&bad).unwrap_err().contains("column `u`"), "the column is named");
        assert!(columns(&json!({})).is_err());
    }
}
