//! The client against servers that answer what a test tells them.

use std::collections::VecDeque;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::client::{INVALID_RESPONSE, UNSUPPORTED};
use super::*;
use crate::config::model::{DocumentId, DocumentsConfig, EndpointAuth, Secret, TlsConfig};
use crate::destination::ErrorClass;
use crate::destination::receiver::{Judged, Judgement};
use crate::partition::{IndexTemplate, Rotation};
use crate::positions::put_varint;

/// Served on the root path.
const ROOT: &str = r#"{"version":{"number":"2.19.0","distribution":"opensearch"}}"#;

pub(super) fn config(urls: &[&str]) -> OpenSearchConfig {
    OpenSearchConfig {
        urls: urls.iter().map(|url| EndpointUrl::new((*url).to_owned())).collect(),
        index: IndexTemplate::parse("web", Rotation::None).unwrap(),
        documents: DocumentsConfig { id: DocumentId::Derived, data_stream: false, type_name: None },
        routing: None,
        pipeline: None,
        gzip_level: None,
        retry: Duration::from_secs(300),
        in_flight: 1,
        bulk_bytes_max: 5 << 20,
        connect_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_secs(10),
        tls: TlsConfig::default(),
        proxy: None,
        auth: EndpointAuth::None,
        headers: Vec::new(),
    }
}

/// What a server does with a request.
enum Does {
    Answers(u16, &'static str, String),
    /// Takes it and closes the connection.
    Resets,
    /// Answers with half of what it promises.
    Halves(String),
}

fn says(status: u16, body: &str) -> Does {
    Does::Answers(status, "", body.to_owned())
}

/// A node that answers `GET /` with [`ROOT`], and each other request with the next of `script`.
struct Node {
    url: String,
    /// Heads and bodies of requests.
    serving: JoinHandle<Vec<(String, Vec<u8>)>>,
}

impl Node {
    async fn start(script: Vec<Does>) -> Self {
        Self::start_with(ROOT, script).await
    }

    async fn start_with(root: &'static str, script: Vec<Does>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self { url, serving: tokio::spawn(serve(listener, root, script.into())) }
    }

    /// What it was sent, once its script has come to its end.
    async fn requests(self) -> Vec<(String, Vec<u8>)> {
        tokio::time::timeout(Duration::from_secs(10), self.serving).await.expect("its script ends").unwrap()
    }
}

async fn serve(listener: TcpListener, root: &str, mut script: VecDeque<Does>) -> Vec<(String, Vec<u8>)> {
    let mut requests = Vec::new();
    while !script.is_empty() {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (head, body) = request(&mut stream).await;
        let does = if head.starts_with("GET / ") { Some(says(200, root)) } else { script.pop_front() };
        if !head.starts_with("GET / ") {
            requests.push((head, body));
        }
        let answer = match does {
            Some(Does::Answers(status, more, body)) => {
                format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n{body}",
                    body.len()
                )
            }
            Some(Does::Halves(body)) => {
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len() * 2)
            }
            Some(Does::Resets) | None => continue,
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = stream.shutdown().await;
    }
    requests
}

async fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
            let length =
                text.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if bytes.len() >= head + length.unwrap_or(0) {
                return (text, bytes[head..].to_vec());
            }
        }
        let read = stream.read(&mut chunk).await.unwrap();
        assert!(read > 0, "a request ends early");
        bytes.extend_from_slice(&chunk[..read]);
    }
}

fn frames(records: u64) -> Vec<u8> {
    let mut frames = Vec::new();
    for record in 0..records {
        for number in [2, 1, record * 10, 1, 0, 0] {
            put_varint(&mut frames, number);
        }
        frames.extend_from_slice(b"{}");
    }
    frames
}

/// Items with these statuses, as the cluster answers a body.
fn answer(cluster: &OpenSearch, statuses: &[u16]) -> String {
    let body = Sealed::open(cluster.body("", "web", &[&frames(statuses.len() as u64)], Timestamp::UNIX_EPOCH)).body;
    let ids = body.split(|byte| *byte == b'\n').step_by(2).map_while(|line| {
        let action: Value = serde_json::from_slice(line).ok()?;
        Some(action["create"]["_id"].clone())
    });
    let items: Vec<_> = ids
        .zip(statuses)
        .map(|(id, status)| {
            let error = (*status >= 400).then(|| serde_json::json!({"type": "t", "reason": "r"}));
            serde_json::json!({"create": {"_id": id, "status": status, "error": error}})
        })
        .collect();
    serde_json::json!({"took": 1, "errors": false, "items": items}).to_string()
}

async fn send(cluster: &OpenSearch, records: u64) -> Result<Verdict, RequestError> {
    let body = cluster.body("", "web", &[&frames(records)], Timestamp::UNIX_EPOCH);
    cluster.send("", "web", body, records).await
}

fn open(config: &OpenSearchConfig) -> OpenSearch {
    OpenSearch::new(config, "instance", "stream")
}

/// Answers of a cluster are made by one like it.
fn like() -> OpenSearch {
    open(&config(&["http://127.0.0.1:9"]))
}

#[tokio::test]
async fn a_bulk_is_sent_as_the_configuration_says() {
    let node = Node::start(vec![says(200, &answer(&like(), &[201, 201]))]).await;
    let cluster = open(&OpenSearchConfig {
        pipeline: Some("geo ip".to_owned()),
        gzip_level: Some(1),
        auth: EndpointAuth::ApiKey(Secret("hush".to_owned())),
        headers: vec![("X-Opaque-Id".to_owned(), Secret("me".to_owned()))],
        ..config(&[&format!("{}/es", node.url)])
    });
    // The root is another one behind this path.
    *cluster.is_fit.lock().await = true;
    assert_eq!(send(&cluster, 2).await.unwrap(), Verdict::Accepted);
    let (head, body) = node.requests().await.remove(0);
    let path = "POST /es/_bulk?filter_path=errors%2Citems.%2A._id%2Citems.%2A.status%2Citems.%2A.error&pipeline=geo%20ip HTTP/1.1";
    assert_eq!(head.lines().next(), Some(path));
    for header in [
        "content-type: application/x-ndjson",
        "content-encoding: gzip",
        "authorization: ApiKey hush",
        "x-opaque-id: me",
    ] {
        assert!(head.lines().any(|line| line.eq_ignore_ascii_case(header)), "{header}: {head}");
    }
    let mut plain = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&body[..]), &mut plain).unwrap();
    assert_eq!(plain.lines().count(), 4);
}

#[tokio::test]
async fn what_is_no_answer_to_the_bulk_is_a_failed_attempt() {
    let whole = answer(&like(), &[201, 201]);
    let node = Node::start(vec![
        Does::Answers(
            429,
            "Retry-After: 7\r\n",
            r#"{"error":{"type":"es_rejected_execution_exception","reason":"busy"}}"#.to_owned(),
        ),
        says(503, "no JSON"),
        says(401, ""),
        says(403, r#"{"error":{"type":"cluster_block_exception","reason":"blocked"},"status":403}"#),
        says(400, r#"{"error":{"type":"illegal_argument_exception","reason":"no pipeline"},"status":400}"#),
        says(302, ""),
        says(204, ""),
        says(200, &answer(&like(), &[201])),
        says(200, "<html>"),
        Does::Halves(whole.clone()),
        Does::Resets,
        says(200, &whole),
    ])
    .await;
    let cluster = open(&config(&[&node.url]));
    for (code, class, says) in [
        ("429", ErrorClass::Throttled, "es_rejected_execution_exception: busy"),
        ("503", ErrorClass::Throttled, "no JSON"),
        ("401", ErrorClass::Denied, "401"),
        ("403", ErrorClass::Transient, "blocked"),
        ("400", ErrorClass::Denied, "no pipeline"),
        ("302", ErrorClass::Denied, "302"),
        ("204", ErrorClass::Denied, "204"),
        (INVALID_RESPONSE, ErrorClass::Transient, "1 items for 2"),
        (INVALID_RESPONSE, ErrorClass::Transient, "expected value"),
        ("OS.ConnectionReset", ErrorClass::Transient, "broke"),
        ("OS.ConnectionReset", ErrorClass::Transient, "broke"),
    ] {
        let failed = send(&cluster, 2).await.expect_err(says);
        assert_eq!((failed.error.code.as_str(), failed.error.class), (code, class), "{failed}");
        assert!(failed.error.ambiguous && failed.error.message.contains(says), "{failed}");
        assert_eq!(failed.retry_after, (code == "429").then_some(Duration::from_secs(7)));
    }
    assert_eq!(send(&cluster, 2).await.unwrap(), Verdict::Accepted);
}

#[tokio::test]
async fn documents_are_judged_one_by_one_and_413_asks_for_less() {
    let node = Node::start(vec![says(413, "too large"), says(200, &answer(&like(), &[201, 400, 429, 409]))]).await;
    let cluster = open(&config(&[&node.url]));
    assert_eq!(send(&cluster, 4).await.unwrap(), Verdict::TooLarge);
    let Verdict::Each(judged) = send(&cluster, 4).await.unwrap() else { panic!("not all are taken") };
    let is = |run: &Judged| match run.judgement {
        Judgement::Accepted => 'a',
        Judgement::Refused(_) => 'r',
        Judgement::Later(_) => 'l',
    };
    // The reason of the 409 is none that documents have which are there.
    assert_eq!(judged.iter().map(is).collect::<String>(), "arlr");
}

#[tokio::test]
async fn another_node_is_asked_where_nothing_can_have_arrived() {
    let node = Node::start(vec![says(200, &answer(&like(), &[201])), says(200, &answer(&like(), &[201]))]).await;
    let cluster = open(&config(&["http://127.0.0.1:9", &node.url]));
    cluster.greet().await;
    assert!(*cluster.is_fit.lock().await, "the node that lives was greeted");
    assert_eq!(send(&cluster, 1).await.unwrap(), Verdict::Accepted);
    assert_eq!(send(&cluster, 1).await.unwrap(), Verdict::Accepted);
    assert_eq!(node.requests().await.len(), 2);
    let nobody = open(&config(&["http://127.0.0.1:9", "http://127.0.0.1:10"]));
    let failed = send(&nobody, 1).await.expect_err("nobody listens");
    assert_eq!((failed.error.code.as_str(), failed.error.ambiguous), ("OS.ConnectionError", false), "{failed}");
}

#[tokio::test]
async fn a_bulk_that_may_have_arrived_goes_to_another_node_only_by_another_attempt() {
    let broken = Node::start(vec![Does::Resets]).await;
    let node = Node::start(vec![says(200, &answer(&like(), &[201])), says(200, &answer(&like(), &[201]))]).await;
    let cluster = open(&config(&[&broken.url, &node.url]));
    let failed = send(&cluster, 1).await.expect_err("the connection breaks");
    assert!(failed.error.ambiguous, "{failed}");
    for _ in 0..2 {
        assert_eq!(send(&cluster, 1).await.unwrap(), Verdict::Accepted);
    }
    assert_eq!((broken.requests().await.len(), node.requests().await.len()), (1, 2));
}

#[tokio::test]
async fn a_cluster_that_cannot_do_it_is_sent_nothing() {
    let old = r#"{"version":{"number":"6.8.0"}}"#;
    let node = Node::start_with(old, vec![Does::Resets]).await;
    let cluster = open(&config(&[&node.url]));
    for _ in 0..2 {
        let failed = send(&cluster, 1).await.expect_err("types are wanted");
        assert_eq!((failed.error.code.as_str(), failed.error.class), (UNSUPPORTED, ErrorClass::Denied));
        assert!(
            failed.error.message.contains("Elasticsearch 6.8.0") && failed.error.message.contains("type_name"),
            "{failed}"
        );
    }
    assert_eq!(
        probe(&config(&[&node.url])).await.unwrap_err(),
        "the cluster is Elasticsearch 6.8.0, and its documents have types: set `type_name`"
    );
    assert!(!node.serving.is_finished(), "no bulk has come");
    node.serving.abort();
}

#[tokio::test]
async fn serverless_is_not_asked_what_it_is_but_whether_it_takes_ids() {
    let auth =
        EndpointAuth::SigV4 { service: "aoss".to_owned(), region: Some("eu-west-1".to_owned()), assume_role: None };
    let serverless = OpenSearchConfig { auth, ..config(&["http://127.0.0.1:9"]) };
    assert_eq!(path(&serverless), "/_bulk");
    let cluster = open(&serverless);
    assert!(cluster.ask_version(&serverless.urls[0]).await.is_ok());
    let documents = DocumentsConfig { id: DocumentId::None, ..serverless.documents.clone() };
    assert!(probe(&OpenSearchConfig { documents, ..serverless }).await.is_ok());
}
