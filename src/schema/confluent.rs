//! A registry with Confluent's REST interface: <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>.

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
            ConfluentCredentials::Basic { username, password } => Some(crate::http::basic(username, &password.0)),
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
            // Subject, version, schema: the interface's own codes. Without one, it is the path that is not there.
            (404, Some(40401..=40403)) => RegistryError::NotFound { registry, what },
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
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::config::model::{Secret, TlsConfig};

    /// A server on loopback that answers each connection with the same bytes, or never.
    async fn asked(answer: Option<(&'static str, &'static str)>) -> RegistryError {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = ConfluentConfig {
            url: format!("http://{}", listener.local_addr().unwrap()),
            credentials: ConfluentCredentials::Bearer(Secret(String::from("hunter2"))),
            tls: TlsConfig::default(),
            timeout: Duration::from_millis(if answer.is_some() { 60_000 } else { 100 }),
        };
        let server = tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let read = connection.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
                assert!(request.contains("get /subjects/orders/versions/latest "), "{request}");
                assert!(request.contains("authorization: bearer hunter2"), "{request}");
                match answer {
                    Some((status, body)) => {
                        let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n{body}");
                        connection.write_all(answer.as_bytes()).await.unwrap();
                    }
                    None => held.push(connection),
                }
            }
        });
        let registry = ConfluentRegistry::new("events", &config).unwrap();
        let name = SchemaName::subject("orders").unwrap();
        let error = registry.resolve(&name, Version::Latest).await.unwrap_err();
        server.abort();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        error
    }

    #[tokio::test]
    async fn each_answer_says_whether_an_earlier_one_may_stand_in() {
        for (status, body) in [
            ("503 Unavailable", "no"),
            ("404 Not Found", ""),
            ("404 Not Found", r#"{"error_code":404,"message":"no such path"}"#),
            ("302 Found\r\nlocation: http://127.0.0.1:1/", ""),
            ("200 OK", "<html>"),
            ("200 OK\r\ncontent-length: 60", "{"),
        ] {
            let error = asked(Some((status, body))).await;
            assert!(matches!(error, RegistryError::Away { .. }), "{status} {body}: {error}");
        }
        let late = asked(None).await;
        assert_eq!(late.to_string(), "registry `events` cannot be asked: no answer within 100ms");
        let denied = asked(Some(("401 Unauthorized", r#"{"error_code":401,"message":"Unauthorized!"}"#))).await;
        assert_eq!(denied.to_string(), "registry `events` refuses: status 401: Unauthorized!");
        let missing = asked(Some(("404 Not Found", r#"{"error_code":40401,"message":"no"}"#))).await;
        assert_eq!(missing.to_string(), "registry `events` has no subject `orders` with version latest");
        assert!(!missing.leaves_earlier_answers());
    }

    #[tokio::test]
    async fn a_refused_connection_is_away_and_says_why() {
        let config = ConfluentConfig {
            url: String::from("http://127.0.0.1:1"),
            credentials: ConfluentCredentials::None,
            tls: TlsConfig::default(),
            timeout: Duration::from_secs(60),
        };
        let registry = ConfluentRegistry::new("events", &config).unwrap();
        let error = registry.list().await.unwrap_err();
        assert!(error.to_string().contains("Connection refused"), "{error}");
    }

    #[test]
    fn certificates_are_read_when_the_registry_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let open = |ca: &std::path::Path| {
            let tls = TlsConfig { ca: Some(ca.to_owned()), client: None };
            let (url, credentials) = (String::from("https://127.0.0.1"), ConfluentCredentials::None);
            let config = ConfluentConfig { url, credentials, tls, timeout: Duration::from_secs(1) };
            ConfluentRegistry::new("events", &config).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(open(&file).contains("ca.pem cannot be read"));
        std::fs::write(&file, "no certificate").unwrap();
        assert!(open(&file).contains("holds no certificate"));
    }

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
