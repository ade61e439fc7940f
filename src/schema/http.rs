//! The little HTTP that registries need: one request, one bounded answer, within one time-out.
//!
//! Always true: no error holds a header, a body that was sent, or what stands in a URL before its host.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity, Method};
use tokio::sync::OnceCell;

use crate::chain::chain;
use crate::config::model::TlsConfig;
use crate::http::{authorities, identity};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest schema of a real registry has a hundredth of it; a page of Glue's tables may have a tenth.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Of a server's own words in an error.
const REASON_CHARS_MAX: usize = 300;

pub(super) struct HttpClient {
    /// Made for the first request: who has no `https://` needs no certificate authorities, and a container may have none.
    client: OnceCell<Client>,
    authorities: Option<Vec<Certificate>>,
    identity: Option<Identity>,
    timeout: Duration,
}

/// What came back, whatever its status.
pub(super) struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

pub(super) struct Request<'a> {
    pub is_post: bool,
    pub url: &'a str,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl HttpClient {
    /// Reads the certificates. The error is a reason for people.
    pub fn new(tls: &TlsConfig, timeout: Duration) -> Result<Self, String> {
        let authorities = tls.ca.as_deref().map(authorities).transpose()?;
        let identity = tls.client.as_ref().map(identity).transpose()?;
        Ok(Self { client: OnceCell::new(), authorities, identity, timeout })
    }

    async fn client(&self, url: &str) -> Result<&Client, String> {
        let build = async || {
            let mut builder = Client::builder()
                .user_agent(concat!("hydrant/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT.min(self.timeout))
                .timeout(self.timeout)
                // Credentials go to whom they are for.
                .redirect(Policy::none());
            match &self.authorities {
                Some(authorities) => builder = builder.tls_certs_only(authorities.clone()),
                None if url.starts_with("http://") => builder = builder.tls_certs_only([]),
                None => {}
            }
            if let Some(identity) = &self.identity {
                builder = builder.identity(identity.clone());
            }
            builder.build().map_err(|error| chain(&error))
        };
        self.client.get_or_try_init(build).await
    }

    /// The answer; an error is a reason for people.
    pub async fn send(&self, request: Request<'_>) -> Result<Answer, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
            let mut value = HeaderValue::try_from(value).map_err(|_| format!("`{name}` cannot be a header"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let method = if request.is_post { Method::POST } else { Method::GET };
        let client = self.client(request.url).await?;
        let send = client.request(method, request.url).headers(headers).body(request.body).send();
        let mut response = send.await.map_err(|error| self.reason(error))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.reason(error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(format!("the answer is larger than {} MB", ANSWER_BYTES_MAX >> 20));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body })
    }

    fn reason(&self, error: reqwest::Error) -> String {
        if error.is_timeout() && !error.is_connect() {
            return format!("no answer within {:?}", self.timeout);
        }
        chain(&error.without_url())
    }
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What a server says in an error, or of itself: one line, not too long.
    pub fn text(&self) -> String {
        shortened(&String::from_utf8_lossy(&self.body))
    }
}

/// One line, not too long.
pub(super) fn shortened(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_CHARS_MAX).collect();
    clean.trim().to_owned()
}
