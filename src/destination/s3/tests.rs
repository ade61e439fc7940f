//! The destination against a scripted HTTP server: what it sends, and what it makes of each answer.

use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future::ProvideCredentials as Provided;
use aws_sdk_s3::config::ProvideCredentials;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::config::model::{AssumeRole, Secret};
use crate::destination::contract::s3_server::{ACCESS_KEY, SECRET_KEY};
use crate::encode::payload::{Payload, PayloadWriter};

pub(crate) fn config(endpoint_url: &str) -> S3Config {
    S3Config {
        bucket: "lake".to_owned(),
        region: Some("eu-west-1".to_owned()),
        endpoint_url: Some(endpoint_url.to_owned()),
        assume_role: None,
        force_path_style: true,
        storage_class: None,
        sse: None,
        acl: None,
        conditional_put: true,
        request_timeout: Duration::from_secs(60),
    }
}

/// The test server's credentials, and nothing from this machine.
pub(crate) fn loader() -> ConfigLoader {
    loader_with(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
}

fn loader_with(credentials: impl ProvideCredentials + 'static) -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::latest()).credentials_provider(credentials)
}

enum Answer {
    Http(String),
    Raw(&'static [u8]),
    /// Closes the connection once the request has arrived.
    Close,
    /// Closes the connection before the body has been read.
    Reset,
    Hang,
}

const CREATED: &str = "HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

fn created() -> Answer {
    Answer::Http(CREATED.to_owned())
}

fn status(status: u16) -> Answer {
    Answer::Http(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"))
}

fn refusal(status: u16, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>because {code}</Message></Error>");
    Answer::Http(format!(
        "HTTP/1.1 {status} X\r\nx-amz-request-id: R17\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    ))
}

/// Gives its answers in order, one connection each, and ends with the requests it has seen.
async fn scripted(answers: Vec<Answer>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let (mut seen, mut open) = (Vec::new(), Vec::new());
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            if matches!(answer, Answer::Reset) {
                // Closing with unread bytes resets the connection.
                let _ = socket.read_u8().await;
                continue;
            }
            seen.push(read_request(&mut socket).await);
            match answer {
                Answer::Http(text) => socket.write_all(text.as_bytes()).await.unwrap(),
                Answer::Raw(bytes) => socket.write_all(bytes).await.unwrap(),
                Answer::Close | Answer::Reset => {}
                Answer::Hang => open.push(socket),
            }
        }
        if !open.is_empty() {
            std::future::pending::<()>().await;
        }
        seen
    });
    (url, task)
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let mut block = [0; 65_536];
        let read = socket.read(&mut block).await.unwrap();
        assert_ne!(read, 0, "the request ended early");
        request.extend_from_slice(&block[..read]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if request.len() >= head.len() + 4 + length.unwrap_or(0) {
            return text.into_owned();
        }
    }
}

fn object() -> Object {
    Object { key: "a/b".to_owned(), payload: Arc::new(Payload::from_bytes("content")), content_encoding: None }
}

/// One put against one answer.
async fn put(answer: Answer) -> Result<Put, AttemptError> {
    let (url, _server) = scripted(vec![answer]).await;
    S3Destination::open_with(&config(&url), loader).await.put(&object(), false).await
}

fn seen(error: &AttemptError) -> (ErrorClass, &str, bool) {
    (error.class, error.code.as_str(), error.ambiguous)
}

#[tokio::test]
async fn a_put_says_all_that_is_configured() {
    let (url, server) = scripted(vec![created(), created()]).await;
    let mut config = config(&url);
    config.storage_class = Some("STANDARD_IA".to_owned());
    config.acl = Some("bucket-owner-full-control".to_owned());
    config.sse = Some(ServerSideEncryption::Kms { key_id: "alias/lake".to_owned() });
    let mut object = object();
    object.content_encoding = Some("gzip");
    let destination = S3Destination::open_with(&config, loader).await;
    assert_eq!(destination.put(&object, true).await.unwrap(), Put::Created);
    config.sse = Some(ServerSideEncryption::S3);
    let destination = S3Destination::open_with(&config, loader).await;
    assert_eq!(destination.put(&object, true).await.unwrap(), Put::Created);

    let requests = server.await.unwrap();
    assert!(requests[0].starts_with("PUT /lake/a/b?x-id=PutObject HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[0].ends_with("\r\n\r\ncontent"));
    for header in [
        "if-none-match: *",
        "content-type: application/octet-stream",
        "content-encoding: gzip",
        "content-length: 7",
        "x-amz-storage-class: STANDARD_IA",
        "x-amz-acl: bucket-owner-full-control",
        "x-amz-server-side-encryption: aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id: alias/lake",
        &format!("x-amz-checksum-crc32: {}", BASE64_STANDARD.encode(crc32fast::hash(b"content").to_be_bytes())),
    ] {
        assert!(requests[0].contains(&format!("\r\n{header}\r\n")), "{header} in {}", requests[0]);
    }
    assert!(requests[1].contains("\r\nx-amz-server-side-encryption: AES256\r\n"));
}

#[tokio::test]
async fn a_payload_in_a_file_is_sent_as_it_is_with_its_length_and_checksum() {
    let (url, server) = scripted(vec![created()]).await;
    let folder = tempfile::tempdir().unwrap();
    let mut writer = PayloadWriter::new(folder.path(), "p", 0);
    writer.append(&Bytes::from_static(b"content")).unwrap();
    let object = Object { payload: Arc::new(writer.finish()), ..object() };
    let destination = S3Destination::open_with(&config(&url), loader).await;
    assert_eq!(destination.put(&object, false).await.unwrap(), Put::Created);
    let request = &server.await.unwrap()[0];
    assert!(request.contains("\r\ncontent-length: 7\r\n") && request.ends_with("\r\n\r\ncontent"), "{request}");
    assert!(request.contains("\r\nx-amz-checksum-crc32: "), "{request}");
    assert!(!request.contains("content-encoding") && !request.contains("trailer"), "{request}");
}

#[tokio::test]
async fn a_payload_file_that_has_changed_or_gone_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = PayloadWriter::new(folder.path(), "p", 0);
    writer.append(&Bytes::from_static(b"content")).unwrap();
    let object = Object { payload: Arc::new(writer.finish()), ..object() };
    let destination = S3Destination::open_with(&config("http://127.0.0.1:1"), loader).await;
    let (path, file) = object.payload.file().unwrap();
    file.set_len(3).unwrap();
    let error = destination.put(&object, false).await.unwrap_err();
    assert_eq!(seen(&error), (ErrorClass::Denied, "PayloadUnreadable", false));
    file.set_len(7).unwrap();
    std::fs::remove_file(path).unwrap();
    let error = destination.put(&object, false).await.unwrap_err();
    assert_eq!(seen(&error), (ErrorClass::Denied, "PayloadUnreadable", false));
}

#[tokio::test]
async fn a_taken_key_is_a_success() {
    assert_eq!(put(refusal(412, "PreconditionFailed")).await.unwrap(), Put::AlreadyThere);
    assert_eq!(put(status(412)).await.unwrap(), Put::AlreadyThere);
}

#[tokio::test]
async fn refusals_are_classified_and_explained() {
    use ErrorClass::{Denied, Throttled, Transient};
    for (answer, class, code, ambiguous, advice) in [
        (refusal(403, "AccessDenied"), Denied, "AccessDenied", false, "allow s3:PutObject on `arn:aws:s3:::lake/*`"),
        (refusal(403, "InvalidAccessKeyId"), Denied, "InvalidAccessKeyId", false, "check the credentials"),
        (refusal(403, "SignatureDoesNotMatch"), Denied, "SignatureDoesNotMatch", false, "check the credentials"),
        (refusal(403, "RequestTimeTooSkewed"), Denied, "RequestTimeTooSkewed", false, "clock"),
        (refusal(404, "NoSuchBucket"), Denied, "NoSuchBucket", false, "create the bucket `lake`"),
        (refusal(301, "PermanentRedirect"), Denied, "PermanentRedirect", false, "correct `region`"),
        (refusal(501, "NotImplemented"), Denied, "NotImplemented", false, "set `conditional_put: false`"),
        (refusal(400, "ExpiredToken"), Transient, "ExpiredToken", false, "because"),
        (refusal(409, "ConditionalRequestConflict"), Transient, "ConditionalRequestConflict", true, "because"),
        (refusal(500, "InternalError"), Transient, "InternalError", true, "because"),
        (refusal(503, "SlowDown"), Throttled, "SlowDown", true, "because"),
        (refusal(429, "TooManyRequests"), Throttled, "TooManyRequests", false, "because"),
    ] {
        let error = put(answer).await.unwrap_err();
        assert_eq!(seen(&error), (class, code, ambiguous));
        assert!(error.message.starts_with("PUT s3://lake/a/b: HTTP "), "{}", error.message);
        assert!(error.message.contains(&format!("{code}: because {code} (request id R17)")), "{}", error.message);
        assert!(error.message.contains(advice), "{}", error.message);
        assert!(!error.message.contains(SECRET_KEY) && !error.message.contains(ACCESS_KEY));
    }
    for (answer, class, code, ambiguous) in [
        (status(403), Denied, "Http403", false),
        (status(502), Transient, "Http502", true),
        (status(503), Transient, "Http503", true),
    ] {
        assert_eq!(seen(&put(answer).await.unwrap_err()), (class, code, ambiguous));
    }
}

#[tokio::test]
async fn what_is_no_answer_leaves_the_outcome_open() {
    for (answer, codes) in [
        (Answer::Close, &["NoAnswer", "ConnectionReset"][..]),
        (Answer::Reset, &["ConnectionReset", "NoAnswer"][..]),
        (Answer::Raw(b"SSH-2.0-OpenSSH_9\r\n"), &["NoAnswer"][..]),
        (Answer::Raw(b"HTTP/1.1 200 OK\r\netag"), &["NoAnswer", "ConnectionReset"][..]),
        (Answer::Raw(b"HTTP/1.1 500 X\r\ncontent-length: 9\r\n\r\n<Error"), &["UnexpectedAnswer"][..]),
        (Answer::Raw(b"HTTP/1.1 500 X\r\ncontent-length: 9\r\n\r\n<<not xml"), &["Http500"][..]),
        // Somebody else's welcome page.
        (Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhi!\n"), &["UnexpectedAnswer"][..]),
    ] {
        let error = put(answer).await.unwrap_err();
        assert_eq!((error.class, error.ambiguous), (ErrorClass::Transient, true), "{error}");
        assert!(codes.contains(&error.code.as_str()), "{error}");
    }
}

#[tokio::test]
async fn an_attempt_ends_after_its_time() {
    let (url, _server) = scripted(vec![Answer::Hang, Answer::Hang]).await;
    let config = S3Config { request_timeout: Duration::from_millis(50), ..config(&url) };
    let destination = S3Destination::open_with(&config, loader).await;
    let object = Object { payload: Arc::new(Payload::from_bytes("")), ..object() };
    let error = destination.put(&object, false).await.unwrap_err();
    assert_eq!(seen(&error), (ErrorClass::Transient, "Timeout", true));
    assert_eq!(seen(&destination.exists("a").await.unwrap_err()), (ErrorClass::Transient, "Timeout", false));
}

#[tokio::test]
async fn a_server_that_is_away_has_not_taken_anything() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = S3Destination::open_with(&config(&url), loader).await.put(&object(), false).await.unwrap_err();
    assert_eq!(seen(&error), (ErrorClass::Transient, "ConnectionRefused", false));
}

#[tokio::test]
async fn without_conditional_puts_an_object_that_may_exist_is_looked_up_first() {
    let (url, server) = scripted(vec![created(), created(), status(404), created(), status(403), created()]).await;
    let config = S3Config { conditional_put: false, ..config(&url) };
    let destination = S3Destination::open_with(&config, loader).await;
    assert_eq!(destination.put(&object(), false).await.unwrap(), Put::Created);
    assert_eq!(destination.put(&object(), true).await.unwrap(), Put::AlreadyThere);
    assert_eq!(destination.put(&object(), true).await.unwrap(), Put::Created);
    assert_eq!(destination.put(&object(), true).await.unwrap(), Put::Created);
    let requests = server.await.unwrap();
    let verbs: Vec<&str> = requests.iter().map(|request| request.split(' ').next().unwrap()).collect();
    assert_eq!(verbs, ["PUT", "HEAD", "HEAD", "PUT", "HEAD", "PUT"]);
    assert!(requests.iter().all(|request| !request.contains("if-none-match")));
}

#[tokio::test]
async fn a_look_up_that_fails_puts_nothing() {
    let (url, server) = scripted(vec![status(500)]).await;
    let config = S3Config { conditional_put: false, ..config(&url) };
    let error = S3Destination::open_with(&config, loader).await.put(&object(), true).await.unwrap_err();
    assert_eq!(seen(&error), (ErrorClass::Transient, "Http500", false));
    assert!(server.await.unwrap()[0].starts_with("HEAD"));
}

#[tokio::test]
async fn existence_is_what_head_says() {
    let (url, _server) = scripted(vec![created(), status(404), status(403), status(503)]).await;
    let destination = S3Destination::open_with(&config(&url), loader).await;
    assert_eq!(destination.exists("a").await.unwrap(), Existence::Present);
    assert_eq!(destination.exists("a").await.unwrap(), Existence::Absent);
    assert_eq!(destination.exists("a").await.unwrap(), Existence::Unknown);
    assert_eq!(seen(&destination.exists("a").await.unwrap_err()), (ErrorClass::Transient, "Http503", false));
}

/// Has no credentials when it is first asked.
#[derive(Debug)]
struct Late(std::sync::atomic::AtomicU32);

impl ProvideCredentials for Late {
    fn provide_credentials<'a>(&'a self) -> Provided<'a>
    where
        Self: 'a,
    {
        let asked = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Provided::ready(match asked {
            0 => Err(CredentialsError::not_loaded("nothing there")),
            _ => Ok(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test")),
        })
    }
}

#[tokio::test]
async fn missing_credentials_fail_the_attempt_and_are_found_once_they_appear() {
    let (url, _server) = scripted(vec![created()]).await;
    let provider = aws_credential_types::provider::SharedCredentialsProvider::new(Late(0.into()));
    let destination = S3Destination::open_with(&config(&url), move || loader_with(provider.clone())).await;
    let error = destination.put(&object(), false).await.unwrap_err();
    assert_eq!(seen(&error), (ErrorClass::Denied, "CredentialsNotLoaded", false));
    assert!(error.message.contains("s3://lake/a/b: no credentials"), "{}", error.message);
    assert_eq!(destination.put(&object(), false).await.unwrap(), Put::Created);
}

#[tokio::test]
async fn a_refusal_makes_the_next_attempt_load_credentials_anew_and_other_errors_do_not() {
    let answers =
        vec![status(500), created(), refusal(400, "ExpiredToken"), created(), refusal(403, "AccessDenied"), created()];
    let (url, server) = scripted(answers).await;
    let loads = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = Arc::clone(&loads);
    let destination = S3Destination::open_with(&config(&url), move || {
        let load = counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        loader_with(Credentials::new(format!("key-{load}"), SECRET_KEY, None, None, "test"))
    })
    .await;
    for _ in 0..6 {
        let _ = destination.put(&object(), false).await;
    }
    let keys: Vec<String> = server.await.unwrap().iter().map(|request| credential(request)).collect();
    assert_eq!(keys, ["key-0", "key-0", "key-0", "key-1", "key-1", "key-2"]);
}

/// The access key that signed a request.
fn credential(request: &str) -> String {
    let (_, rest) = request.split_once("Credential=").unwrap();
    rest.split('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_role_is_assumed_with_its_external_id() {
    let body = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
        <AccessKeyId>role-key</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey><SessionToken>t</SessionToken>\
        <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let refusal = "HTTP/1.1 403 X\r\ncontent-length: 104\r\nconnection: close\r\n\r\n\
        <ErrorResponse><Error><Code>AccessDenied</Code><Message>not authorized</Message></Error></ErrorResponse>";
    let (sts, asked) = scripted(vec![Answer::Raw(refusal.as_bytes()), Answer::Http(answer)]).await;
    let (url, server) = scripted(vec![created()]).await;
    let role_arn = "arn:aws:iam::123456789012:role/delivery".to_owned();
    let assume_role = Some(AssumeRole { role_arn, external_id: Some(Secret("external-17".to_owned())) });
    let config = S3Config { assume_role, ..config(&url) };
    let destination = S3Destination::open_with(&config, move || loader().endpoint_url(&sts)).await;

    let error = destination.put(&object(), false).await.unwrap_err();
    assert_eq!(seen(&error), (ErrorClass::Denied, "CredentialsFailed", false));
    assert!(error.message.contains("AccessDenied"), "{}", error.message);
    assert!(!error.message.contains("external-17"), "{}", error.message);

    assert_eq!(destination.put(&object(), false).await.unwrap(), Put::Created);
    assert_eq!(credential(&server.await.unwrap()[0]), "role-key");
    let asked = &asked.await.unwrap()[1];
    assert_eq!(credential(asked), ACCESS_KEY);
    for field in ["Action=AssumeRole", "RoleSessionName=hydrant", "ExternalId=external-17", "role%2Fdelivery"] {
        assert!(asked.contains(field), "{field} in {asked}");
    }
}

/// Knows no region.
#[derive(Debug)]
struct NoRegion;

impl aws_config::meta::region::ProvideRegion for NoRegion {
    fn region(&self) -> aws_config::meta::region::future::ProvideRegion<'_> {
        aws_config::meta::region::future::ProvideRegion::ready(None)
    }
}

#[tokio::test]
async fn a_missing_region_fails_the_attempt_unless_the_store_has_its_own_address() {
    let (url, server) = scripted(vec![created()]).await;
    let config = S3Config { region: None, ..config(&url) };
    let destination = S3Destination::open_with(&config, || loader().region(NoRegion)).await;
    assert_eq!(destination.put(&object(), false).await.unwrap(), Put::Created);
    assert!(server.await.unwrap()[0].contains("/us-east-1/s3/aws4_request"));

    let config = S3Config { endpoint_url: None, ..config };
    let destination = S3Destination::open_with(&config, || loader().region(NoRegion)).await;
    let error = destination.put(&object(), false).await.unwrap_err();
    assert_eq!(seen(&error), (ErrorClass::Denied, "MissingRegion", false));
    assert!(error.message.contains("s3://lake"), "{}", error.message);
}
