//! Where an output's objects or records go: an open destination, and its name in the journal.
//!
//! Always true: a [`Locator`] holds no secret, and what it names of objects can be asked for after the configuration has changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;

use crate::config::model::{
    AssumeRole, DestinationConfig, DirectoryConfig, DocumentsConfig, HttpEndpointConfig, Method, ObjectStoreConfig,
    OpenSearchConfig, Protocol, RawFormat, S3Config,
};
use crate::destination::directory::DirectoryDestination;
use crate::destination::http_endpoint::HttpEndpoint;
use crate::destination::opensearch::OpenSearch;
use crate::destination::outage::Outage;
use crate::destination::receiver::Receiver;
use crate::destination::s3::S3Destination;
use crate::destination::{AttemptError, Destination};
use crate::journal::Journal;
use crate::log_limit::LogLimit;

/// A payload stays in memory up to so many bytes when it is to be uploaded, and when it becomes a file anyway.
const MEMORY_UPLOAD: u64 = 4 << 20;
const MEMORY_FILE: u64 = 256 << 10;
/// Where no output says how long an attempt may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How payloads leave.
#[derive(Clone)]
pub enum Target {
    Objects(Arc<dyn Destination>),
    Requests(Arc<dyn Receiver>, Arc<Outage>),
}

impl Target {
    /// For people and logs.
    pub fn name(&self) -> String {
        match self {
            Self::Objects(destination) => destination.name(),
            Self::Requests(receiver, _) => receiver.name(),
        }
    }

    /// Whom of it a delivery is addressed to; nobody in most places.
    pub fn addressee(&self, at: Timestamp, values: &[String]) -> String {
        match self {
            Self::Objects(_) => String::new(),
            Self::Requests(receiver, _) => receiver.addressee(at, values),
        }
    }

    /// Of a receiver, the error output type of what it does not take.
    pub fn error_type(&self) -> Option<&'static str> {
        match self {
            Self::Objects(_) => None,
            Self::Requests(receiver, _) => Some(receiver.error_type()),
        }
    }

    /// Whether it takes records, a request at a time.
    pub fn is_receiver(&self) -> bool {
        match self {
            Self::Objects(_) => false,
            Self::Requests(..) => true,
        }
    }
}

/// A destination with what the journal has to know about it.
#[derive(Clone)]
pub struct Place {
    pub target: Target,
    pub locator: Locator,
    /// Where payloads are formed that do not stay in memory.
    pub(super) staging: PathBuf,
    pub(super) memory_max: u64,
    /// Of payloads there that cannot be written.
    pub(super) log: Arc<LogLimit>,
    connection: Arc<Connection>,
}

/// Where objects go, as it is journalled: enough to ask for one after the configuration has changed. No secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Locator {
    S3 {
        bucket: String,
        region: Option<String>,
        endpoint_url: Option<String>,
        force_path_style: bool,
        role_arn: Option<String>,
        conditional_put: bool,
    },
    Directory {
        path: PathBuf,
    },
    HttpEndpoint {
        /// Without its query, which may hold a key.
        url: String,
        /// Of the query. Another one is another place: it may say what becomes of the records.
        #[serde(default)]
        query_hash: Option<String>,
        /// How plain requests are made; nothing with Firehose's protocol.
        #[serde(default)]
        raw: Option<(RawFormat, Method)>,
    },
    OpenSearch {
        urls: Vec<String>,
        /// What documents are decides under which ids they are sent again.
        documents: DocumentsConfig,
    },
}

/// Where a stream may form its payloads.
#[derive(Clone, Copy)]
pub struct Room<'a> {
    pub stream: &'a str,
    pub journal: &'a Journal,
    /// Bytes of memory that the stream is guaranteed.
    pub memory_share: u64,
    /// What must have ended before the stream's next life begins.
    pub tasks: &'a TaskTracker,
}

/// What is needed to reach a destination, whatever the keys are.
#[derive(PartialEq)]
enum Connection {
    S3(S3Config),
    Directory(DirectoryConfig),
    HttpEndpoint(Box<HttpEndpointConfig>),
    OpenSearch(Box<OpenSearchConfig>),
}

impl Connection {
    fn of_destination(config: &DestinationConfig) -> Self {
        match config {
            DestinationConfig::Objects(store) => Self::of(store),
            DestinationConfig::HttpEndpoint(endpoint) => Self::HttpEndpoint(Box::new(endpoint.clone())),
            DestinationConfig::OpenSearch(cluster) => Self::OpenSearch(Box::new(cluster.clone())),
        }
    }

    fn of(config: &ObjectStoreConfig) -> Self {
        match config {
            ObjectStoreConfig::S3(s3, _) => Self::S3(s3.clone()),
            ObjectStoreConfig::Directory(directory, _) => Self::Directory(directory.clone()),
        }
    }
}

/// Destinations that are open already; two outputs to one place share a client.
pub(super) struct Places<'a> {
    pub room: Room<'a>,
    pub opened: Vec<Place>,
}

impl Place {
    async fn open(connection: Connection, room: Room<'_>) -> Result<Self, AttemptError> {
        let locator = Locator::of(&connection);
        let memory_max = |most: u64| most.min(room.memory_share / 16);
        let own_staging = || {
            let staging = room.journal.state_dir().join("staging").join(room.stream);
            sweep(&staging);
            staging
        };
        let (target, staging, memory_max) = match &connection {
            Connection::S3(s3) => {
                let staging = own_staging();
                (Target::Objects(Arc::new(S3Destination::open(s3).await)), staging, memory_max(MEMORY_UPLOAD))
            }
            Connection::Directory(directory) => {
                let owner = format!("{}-{}", room.journal.instance(), room.stream);
                let destination = DirectoryDestination::open(directory, &owner, room.tasks.clone());
                destination.sweep().await?;
                let staging = destination.staging().map(ToOwned::to_owned).unwrap_or_default();
                (Target::Objects(Arc::new(destination)), staging, memory_max(MEMORY_FILE))
            }
            Connection::HttpEndpoint(endpoint) => {
                let outage = Arc::new(Outage::new(endpoint.in_flight));
                let target = Target::Requests(Arc::new(HttpEndpoint::new(endpoint)), outage);
                (target, own_staging(), memory_max(MEMORY_UPLOAD))
            }
            Connection::OpenSearch(cluster) => {
                let outage = Arc::new(Outage::new(cluster.in_flight));
                let receiver = Arc::new(OpenSearch::new(cluster, room.journal.instance(), room.stream));
                let greeted = receiver.clone();
                room.tasks.spawn(async move { greeted.greet().await });
                (Target::Requests(receiver, outage), own_staging(), memory_max(MEMORY_UPLOAD))
            }
        };
        let (log, connection) = (Arc::default(), Arc::new(connection));
        Ok(Self { target, locator, staging, memory_max, log, connection })
    }

    /// Where payloads are formed, and from how many bytes on they leave memory.
    pub fn room(&self) -> (&Path, u64) {
        (&self.staging, self.memory_max)
    }

    /// A place that the configuration no longer knows, reached with what the journal remembers of it and what the present
    /// places of the stream have in common with it. `None` for a receiver that is not the present one: its credentials are not
    /// journalled, and it could not be asked what it has taken.
    pub(super) async fn open_retired(
        locator: &Locator,
        present: &[&Place],
        room: Room<'_>,
    ) -> Result<Option<Self>, AttemptError> {
        let present: Vec<_> = present.iter().map(|place| &*place.connection).collect();
        match locator.connection(&present) {
            Some(connection) => Self::open(connection, room).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Places<'_> {
    pub async fn open(&mut self, config: &ObjectStoreConfig) -> Result<Place, AttemptError> {
        self.connect(Connection::of(config)).await
    }

    pub async fn open_destination(&mut self, config: &DestinationConfig) -> Result<Place, AttemptError> {
        self.connect(Connection::of_destination(config)).await
    }

    async fn connect(&mut self, connection: Connection) -> Result<Place, AttemptError> {
        if let Some(place) = self.opened.iter().find(|place| *place.connection == connection) {
            return Ok(place.clone());
        }
        let place = Place::open(connection, self.room).await?;
        self.opened.push(place.clone());
        Ok(place)
    }
}

/// Removes what an earlier life of this stream left. What cannot be removed is only in the way of disk space.
fn sweep(staging: &Path) {
    for entry in std::fs::read_dir(staging).into_iter().flatten().flatten() {
        if let Err(error) = std::fs::remove_file(entry.path())
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %entry.path().display(), %error, "a left-over payload cannot be removed");
        }
    }
}

impl Locator {
    fn of(connection: &Connection) -> Self {
        match connection {
            Connection::S3(s3) => Self::S3 {
                bucket: s3.bucket.clone(),
                region: s3.region.clone(),
                endpoint_url: s3.endpoint_url.clone(),
                force_path_style: s3.force_path_style,
                role_arn: s3.assume_role.as_ref().map(|role| role.role_arn.clone()),
                conditional_put: s3.conditional_put,
            },
            Connection::Directory(directory) => Self::Directory { path: directory.path.clone() },
            Connection::HttpEndpoint(endpoint) => Self::HttpEndpoint {
                url: endpoint.url.shown().to_owned(),
                query_hash: endpoint.url.query_hash(),
                raw: match endpoint.protocol {
                    Protocol::Firehose { .. } => None,
                    Protocol::Raw { format, method, .. } => Some((format, method)),
                },
            },
            Connection::OpenSearch(cluster) => Self::OpenSearch {
                urls: cluster.urls.iter().map(|url| url.shown().to_owned()).collect(),
                documents: cluster.documents.clone(),
            },
        }
    }

    /// The way to the place. What the journal does not know, secrets among it, is that of one of the `present` outputs: how
    /// to assume the role of one with the same role, how to write of one with the same bucket. No way leads to a receiver that
    /// is not among them.
    fn connection(&self, present: &[&Connection]) -> Option<Connection> {
        let (mut buckets, mut clusters) = (Vec::new(), Vec::new());
        for connection in present {
            match connection {
                Connection::S3(s3) => buckets.push(s3),
                Connection::OpenSearch(cluster) => clusters.push(cluster),
                Connection::Directory(_) | Connection::HttpEndpoint(_) => {}
            }
        }
        let present = buckets;
        Some(match self {
            Self::S3 { bucket, region, endpoint_url, force_path_style, role_arn, conditional_put } => {
                let same_bucket = present.iter().find(|s3| s3.bucket == *bucket);
                let assume_role = role_arn.as_ref().map(|role_arn| {
                    let mut roles = present.iter().filter_map(|s3| s3.assume_role.as_ref());
                    let same_role = roles.find(|role| role.role_arn == *role_arn).cloned();
                    same_role.unwrap_or_else(|| AssumeRole { role_arn: role_arn.clone(), external_id: None })
                });
                Connection::S3(S3Config {
                    bucket: bucket.clone(),
                    region: region.clone(),
                    endpoint_url: endpoint_url.clone(),
                    assume_role,
                    force_path_style: *force_path_style,
                    storage_class: same_bucket.and_then(|s3| s3.storage_class.clone()),
                    sse: same_bucket.and_then(|s3| s3.sse.clone()),
                    acl: same_bucket.and_then(|s3| s3.acl.clone()),
                    conditional_put: *conditional_put,
                    request_timeout: same_bucket.map_or(REQUEST_TIMEOUT, |s3| s3.request_timeout),
                })
            }
            Self::Directory { path } => Connection::Directory(DirectoryConfig { path: path.clone() }),
            Self::HttpEndpoint { .. } => return None,
            Self::OpenSearch { urls, documents } => {
                let is_same = |cluster: &OpenSearchConfig| {
                    cluster.urls.iter().any(|url| urls.iter().any(|known| known == url.shown()))
                };
                // Nodes may have come and gone.
                let present = clusters.into_iter().find(|cluster| is_same(cluster))?;
                let same = OpenSearchConfig { documents: documents.clone(), ..OpenSearchConfig::clone(present) };
                Connection::OpenSearch(Box::new(same))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::{DocumentId, EndpointAuth, EndpointUrl, Secret, ServerSideEncryption, TlsConfig};
    use crate::partition::IndexTemplate;

    fn s3() -> S3Config {
        S3Config {
            bucket: "lake".to_owned(),
            region: Some("eu-west-1".to_owned()),
            endpoint_url: Some("http://127.0.0.1:9".to_owned()),
            assume_role: Some(AssumeRole {
                role_arn: "arn:aws:iam::123456789012:role/delivery".to_owned(),
                external_id: Some(Secret("hush".to_owned())),
            }),
            force_path_style: true,
            storage_class: Some("STANDARD_IA".to_owned()),
            sse: Some(ServerSideEncryption::Kms { key_id: "alias/lake".to_owned() }),
            acl: Some("private".to_owned()),
            conditional_put: false,
            request_timeout: Duration::from_secs(7),
        }
    }

    fn retired(locator: &Locator, present: &[&S3Config]) -> S3Config {
        let present: Vec<_> = present.iter().map(|&s3| Connection::S3(s3.clone())).collect();
        match locator.connection(&present.iter().collect::<Vec<_>>()) {
            Some(Connection::S3(s3)) => s3,
            _ => panic!("no bucket"),
        }
    }

    fn endpoint(url: &str) -> HttpEndpointConfig {
        HttpEndpointConfig {
            url: EndpointUrl::new(url.to_owned()),
            name: None,
            protocol: Protocol::Firehose { access_key: None, common_attributes: Vec::new(), source_arn: String::new() },
            gzip_level: None,
            retry: Duration::ZERO,
            in_flight: 3,
            request_bytes_max: 64 << 20,
            request_records_max: 10_000,
            connect_timeout: REQUEST_TIMEOUT,
            write_timeout: REQUEST_TIMEOUT,
            first_byte_timeout: REQUEST_TIMEOUT,
            read_timeout: REQUEST_TIMEOUT,
            response_timeout: REQUEST_TIMEOUT,
            tls: TlsConfig::default(),
            proxy: None,
            auth: EndpointAuth::Bearer(Secret("hush".to_owned())),
            headers: Vec::new(),
        }
    }

    fn cluster(url: &str, id: DocumentId) -> OpenSearchConfig {
        OpenSearchConfig {
            urls: vec![EndpointUrl::new(url.to_owned())],
            index: IndexTemplate::default(),
            documents: DocumentsConfig { id, data_stream: false, type_name: None },
            routing: None,
            pipeline: None,
            gzip_level: None,
            retry: Duration::ZERO,
            in_flight: 3,
            bulk_bytes_max: 5 << 20,
            connect_timeout: REQUEST_TIMEOUT,
            response_timeout: REQUEST_TIMEOUT,
            tls: TlsConfig::default(),
            proxy: None,
            auth: EndpointAuth::Bearer(Secret("hush".to_owned())),
            headers: Vec::new(),
        }
    }

    fn at_endpoint(config: &HttpEndpointConfig) -> Connection {
        Connection::HttpEndpoint(Box::new(config.clone()))
    }

    #[test]
    fn an_endpoint_is_the_same_with_other_keys_but_not_with_another_query_or_other_bodies() {
        let raw = |format, method| Protocol::Raw { format, method, success_codes: Vec::new() };
        let at = |url, protocol| HttpEndpointConfig { protocol, ..endpoint(url) };
        let one = at("https://a.example/?query=one", raw(RawFormat::Lines, Method::Post));
        let locator = Locator::of(&at_endpoint(&one));
        let other_keys = HttpEndpointConfig { auth: EndpointAuth::None, retry: REQUEST_TIMEOUT, ..one.clone() };
        assert_eq!(Locator::of(&at_endpoint(&other_keys)), locator);
        let others = [
            at("https://a.example/?query=two", raw(RawFormat::Lines, Method::Post)),
            at("https://a.example/", raw(RawFormat::Lines, Method::Post)),
            at("https://b.example/?query=one", raw(RawFormat::Lines, Method::Post)),
            at("https://a.example/?query=one", raw(RawFormat::Ndjson, Method::Post)),
            at("https://a.example/?query=one", raw(RawFormat::Lines, Method::Put)),
            endpoint("https://a.example/?query=one"),
        ];
        for other in others {
            let other = at_endpoint(&other);
            assert_ne!(Locator::of(&other), locator);
            assert!(locator.connection(&[&other]).is_none(), "nobody goes there again");
        }
        let old = r#"{"http_endpoint":{"url":"https://a.example/in"}}"#;
        let plain = Locator::of(&at_endpoint(&endpoint("https://a.example/in")));
        assert_eq!(serde_json::from_str::<Locator>(old).unwrap(), plain, "as journals have it");
    }

    #[test]
    fn a_cluster_is_the_same_as_long_as_one_of_its_nodes_is_and_its_documents_are_as_they_were() {
        let connection = |config: &OpenSearchConfig| Connection::OpenSearch(Box::new(config.clone()));
        let before = cluster("https://a.example", DocumentId::Derived);
        let locator = Locator::of(&connection(&before));
        let elsewhere = cluster("https://b.example", DocumentId::None);
        assert!(locator.connection(&[&connection(&elsewhere)]).is_none(), "another cluster");
        assert!(locator.connection(&[&at_endpoint(&endpoint("https://a.example"))]).is_none(), "no cluster any more");
        let mut grown = elsewhere;
        grown.urls.push(EndpointUrl::new("https://a.example".to_owned()));
        let expected = OpenSearchConfig { documents: before.documents, ..grown.clone() };
        assert!(locator.connection(&[&connection(&grown)]) == Some(connection(&expected)), "with one node more");
    }

    #[test]
    fn a_locator_comes_back_from_its_json_which_holds_no_secret() {
        let directory = Connection::Directory(DirectoryConfig { path: PathBuf::from("/out") });
        let http = Connection::HttpEndpoint(Box::new(endpoint("https://logs.example/in?key=hush")));
        let cluster = cluster("https://a.example", DocumentId::FromField("id".to_owned()));
        let cluster = Connection::OpenSearch(Box::new(cluster));
        for connection in [Connection::S3(s3()), directory, http, cluster] {
            let locator = Locator::of(&connection);
            let json = serde_json::to_string(&locator).unwrap();
            assert_eq!(serde_json::from_str::<Locator>(&json).unwrap(), locator);
            assert!(!json.contains("hush") && !json.contains("external"), "{json}");
        }
        let json = r#"{"s3":{"bucket":"lake","region":null,"endpoint_url":null,"force_path_style":false,
                       "role_arn":null,"conditional_put":true}}"#;
        assert!(serde_json::from_str::<Locator>(json).is_ok(), "as journals have it");
    }

    #[test]
    fn a_retired_place_is_reached_with_what_present_places_have_in_common_with_it() {
        let before = s3();
        let locator = Locator::of(&Connection::S3(before.clone()));
        let moved = S3Config { endpoint_url: None, region: None, conditional_put: true, ..s3() };
        assert_eq!(retired(&locator, &[&moved]), before, "the same bucket and role, elsewhere");

        let other_bucket = S3Config { bucket: "pond".to_owned(), ..s3() };
        let bare =
            S3Config { storage_class: None, sse: None, acl: None, request_timeout: REQUEST_TIMEOUT, ..before.clone() };
        assert_eq!(retired(&locator, &[&other_bucket]), bare, "the same role only");

        let other_role = S3Config { assume_role: None, ..s3() };
        let unknown = AssumeRole { external_id: None, ..before.assume_role.clone().unwrap() };
        let no_secret = S3Config { assume_role: Some(unknown), ..before.clone() };
        assert_eq!(retired(&locator, &[&other_role]), no_secret, "the same bucket only");
        assert_eq!(retired(&locator, &[&other_role, &other_bucket]), before, "each has a part");

        let without_role = Locator::of(&Connection::S3(other_role.clone()));
        assert_eq!(retired(&without_role, &[&before]), other_role, "no role is borrowed");
    }
}
