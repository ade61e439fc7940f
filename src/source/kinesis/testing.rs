//! A server on loopback that answers as it is told, one call to a connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader};
use aws_credential_types::Credentials;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::client::{KinesisClient, ServiceConfig, StreamId};
use crate::destination::retry::RetryLimits;

pub const SECRET_KEY: &str = "a-secret-key";

/// A call as it was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    pub operation: String,
    pub input: Json,
    pub head: String,
}

pub enum Answer {
    Ok(Json),
    /// Status and code.
    Error(u16, &'static str),
    Raw(String),
    /// The service has served it, and the connection breaks.
    Close,
    Hang,
}

/// Answers as the function says; the calls that came are written down.
pub async fn serve(mut answer: impl FnMut(&Seen) -> Answer + Send + 'static) -> (String, Arc<Mutex<Vec<Seen>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let calls = Arc::clone(&seen);
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let Some(call) = read(&mut socket).await else { continue };
            calls.lock().unwrap().push(call.clone());
            // Who was told to go away may have gone.
            let _ = match answer(&call) {
                Answer::Ok(json) => socket.write_all(http(200, &json.to_string()).as_bytes()).await,
                Answer::Error(status, code) => {
                    let body = json!({ "__type": code, "message": format!("because {code}") }).to_string();
                    socket.write_all(http(status, &body).as_bytes()).await
                }
                Answer::Raw(text) => socket.write_all(text.as_bytes()).await,
                Answer::Close => Ok(()),
                Answer::Hang => {
                    open.push(socket);
                    Ok(())
                }
            };
        }
    });
    (url, seen)
}

/// Gives these answers in order; a call too many is refused with a code of its own.
pub async fn scripted(answers: Vec<Answer>) -> (String, Arc<Mutex<Vec<Seen>>>) {
    let mut answers = VecDeque::from(answers);
    serve(move |_| answers.pop_front().unwrap_or(Answer::Error(400, "OneCallTooMany"))).await
}

pub fn http(status: u16, body: &str) -> String {
    http_with("", status, body)
}

/// With further lines in the head.
pub fn http_with(head: &str, status: u16, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\nx-amzn-requestid: R17\r\n{head}\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

async fn read(socket: &mut TcpStream) -> Option<Seen> {
    let mut request = Vec::new();
    loop {
        let mut block = [0; 65_536];
        let read = socket.read(&mut block).await.ok()?;
        if read == 0 {
            return None;
        }
        request.extend_from_slice(&block[..read]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_lowercase();
        let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if body.len() >= length {
            let operation = text.split_once("Kinesis_20131202.").map(|(_, rest)| rest.lines().next().unwrap_or(""));
            let operation = operation.unwrap_or_default().to_owned();
            return Some(Seen { operation, input: serde_json::from_str(body).unwrap_or_default(), head });
        }
    }
}

/// A header's value, of a head in lower case.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The test's credentials, and nothing from this machine.
pub fn loader() -> ConfigLoader {
    let credentials = Credentials::new("AKID", SECRET_KEY, None, None, "test");
    aws_config::defaults(BehaviorVersion::latest()).credentials_provider(credentials)
}

/// Of the stream `clicks`, with hardly any delay after an error.
pub fn client(url: &str) -> KinesisClient {
    let service =
        ServiceConfig { region: Some("eu-west-1".to_owned()), endpoint_url: Some(url.to_owned()), assume_role: None };
    let limits = RetryLimits { delay_max: Some(Duration::from_millis(1)), speed: None };
    KinesisClient::open_with(service, StreamId::Name("clicks".to_owned()), loader).with_retry_limits(limits)
}
