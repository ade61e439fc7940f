//! A registry with Confluent's REST interface: <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::http::{Answer, HttpClient, Request, shortened};
use super::registry::{BoxFuture, Listed, Registry, RegistryError};
use super::{Schema, SchemaName, Version, avro, json_schema};
use crate::config::model::{ConfluentConfig, ConfluentCredentials};

const ACCEPT: &str = "application/vnd.schemaregistry.v1+json, application/json";

pub struct ConfluentRegistry {
    name: String,
    url: String,
    authorization: Option<String>,
    http: HttpClient,
}

impl ConfluentRegistry {
    /// Reads the certificates.
    pub fn new(name: &str, config: &ConfluentConfig) -> Result<Self, RegistryError> {
        let http = HttpClient::new(&config.tls, config.timeout)
            .map_err(|reason| RegistryError::Denied { registry: name.to_owned(), reason })?;
        let authorization = match &config.credentials {
            ConfluentCredentials::None => None,
            ConfluentCredentials::Basic { username, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.0))))
            }
            ConfluentCredentials::Bearer(token) => Some(format!("Bearer {}", token.0)),
        };
        Ok(Self { name: name.to_owned(), url: config.url.clone(), authorization, http })
    }

    async fn subject(&self, subject: &str, version: Version) -> Result<Schema, RegistryError> {
        let path = format!("/subjects/{}/versions/{version}", percent_encoded(subject));
        let found = self.get(&path, || format!("subject `{subject}` with version {version}")).await?;
        let name = format!("{}/{subject}", self.name);
        match table(&found) {
            Ok(table) => Ok(Schema { name, version: found["version"].as_u64(), table }),
            Err(reason) => Err(RegistryError::Unusable { schema: name, reason }),
        }
    }

    async fn all(&self) -> Result<Vec<Listed>, RegistryError> {
        let subjects = self.get("/subjects", || String::from("subjects")).await?;
        let Json::Array(subjects) = subjects else {
            return Err(self.away(String::from("/subjects is answered with something else than a list")));
        };
        let mut names: Vec<_> =
            subjects.iter().filter_map(|subject| SchemaName::subject(subject.as_str()?).ok()).collect();
        names.sort();
        Ok(names.into_iter().map(|name| Listed { name, versions: Vec::new() }).collect())
    }

    async fn get(&self, path: &str, what: impl FnOnce() -> String) -> Result<Json, RegistryError> {
        let mut headers = vec![(String::from("accept"), String::from(ACCEPT))];
        headers.extend(self.authorization.clone().map(|value| (String::from("authorization"), value)));
        let url = format!("{}{path}", self.url);
        let request = Request { is_post: false, url: &url, headers, body: Vec::new() };
        let answer = self.http.send(request).await.map_err(|reason| self.away(reason))?;
        if !answer.is_success() {
            return Err(self.refusal(&answer, what()));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|_| self.away(format!("{url} is answered with no JSON: {}", answer.text())))
    }

    fn refusal(&self, answer: &Answer, what: String) -> RegistryError {
        let registry = self.name.clone();
        let json: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
        let said = json["message"].as_str().map_or_else(|| answer.text(), shortened);
        let reason = format!("status {}: {said}", answer.status);
        match (answer.status, json["error_code"].as_u64()) {
            // Subject, version: the interface's own codes. Without one, nobody who knows the interface has answered.
            (404, Some(404 | 40401 | 40402 | 40403)) => RegistryError::NotFound { registry, what },
            (404, _) => self.away(format!("{reason}; is `url` the registry's?")),
            (429 | 500.., _) | (300..400, _) => self.away(reason),
            _ => RegistryError::Denied { registry, reason },
        }
    }

    fn away(&self, reason: String) -> RegistryError {
        RegistryError::Away { registry: self.name.clone(), reason }
    }
}

impl Registry for ConfluentRegistry {
    fn resolve<'a>(&'a self, name: &'a SchemaName, version: Version) -> BoxFuture<'a, Result<Schema, RegistryError>> {
        Box::pin(async move {
            match name {
                SchemaName::Subject(subject) => self.subject(subject, version).await,
                SchemaName::Table { .. } => Err(RegistryError::NameKind {
                    registry: self.name.clone(),
                    name: name.to_string(),
                    expected: "a Confluent registry has subjects",
                }),
            }
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, RegistryError>> {
        Box::pin(self.all())
    }
}

/// What the answer for one version says. `schemaType` is left out for Avro, which was there first.
fn table(found: &Json) -> Result<super::Table, String> {
    if let Some(reference) = found["references"].as_array().and_then(|references| references.first()) {
        let name = reference["name"].as_str().or(reference["subject"].as_str()).unwrap_or_default();
        return Err(format!(
            "it refers to another subject (`{name}`), and references are not followed; register it with the other's types \
             written out"
        ));
    }
    let schema = found["schema"].as_str().ok_or("the answer has no `schema`")?;
    match found["schemaType"].as_str().unwrap_or("AVRO") {
        "AVRO" => avro::table(schema),
        "JSON" => json_schema::table(schema),
        other => Err(format!("its type is {other}; AVRO and JSON are read")),
    }
}

/// Of one segment of a path.
fn percent_encoded(segment: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    segment.bytes().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_subject_is_one_segment_of_the_path() {
        assert_eq!(percent_encoded("team/orders value+ü"), "team%2Forders%20value%2B%C3%BC");
    }

    #[test]
    fn what_is_no_table_by_itself_is_refused() {
        let record = r#"{ "type": "record", "name": "R", "fields": [{ "name": "a", "type": "int" }] }"#;
        assert!(table(&json!({ "schema": record })).is_ok());
        let reference = json!([{ "name": "com.acme.Other", "subject": "other", "version": 1 }]);
        let error = table(&json!({ "schema": record, "references": reference })).unwrap_err();
        assert!(error.contains("`com.acme.Other`"), "{error}");
        assert!(table(&json!({ "schema": "…", "schemaType": "PROTOBUF" })).unwrap_err().contains("PROTOBUF"));
        assert!(table(&json!({})).is_err());
    }
}
