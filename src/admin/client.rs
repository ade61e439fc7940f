//! The other end of the admin address, for commands.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Begun, Health, RedriveRequest, Reports, canonical};
use crate::chain::chain;
use crate::redrive::{Job, Report};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the admin address {address} does not answer: {reason}")]
    Unreachable { address: SocketAddr, reason: String },
    #[error("{0}")]
    Refused(String),
    #[error("the admin address {address} gives no answer of hydrant's: {reason}")]
    Unexpected { address: SocketAddr, reason: String },
}

/// Asks one daemon.
pub struct Client {
    address: SocketAddr,
    http: reqwest::Client,
}

#[derive(Deserialize)]
struct Failure {
    error: String,
}

impl Client {
    /// The daemon that listens there, be it at all addresses of the machine.
    pub fn new(listen: SocketAddr) -> Result<Self, ClientError> {
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let address = SocketAddr::new(ip, listen.port());
        // It is on this machine: no proxy knows the way, and no certificate is asked for.
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]);
        let http = builder.connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT).build();
        let http = http.map_err(|error| ClientError::Unreachable { address, reason: chain(&error) })?;
        Ok(Self { address, http })
    }

    /// How the daemon is, if it is the one with this `state_dir`.
    pub async fn health_of(&self, state_dir: &Path) -> Result<Option<Health>, ClientError> {
        let health: Health = self.send(self.request(Method::GET, "/health")).await?;
        Ok(Some(health).filter(|health| health.state_dir == canonical(state_dir)))
    }

    /// Begins a redrive, which from then on goes on by itself.
    pub async fn redrive(&self, request: &RedriveRequest) -> Result<Job, ClientError> {
        // Strings and numbers always serialize.
        let body = serde_json::to_vec(request).unwrap_or_default();
        let request = self.request(Method::POST, "/redrive").header("content-type", "application/json").body(body);
        Ok(self.send::<Begun>(request).await?.job)
    }

    pub async fn reports(&self) -> Result<Vec<Report>, ClientError> {
        Ok(self.send::<Reports>(self.request(Method::GET, "/redrive")).await?.redrives)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let address = self.address;
        let unreachable = |error: reqwest::Error| ClientError::Unreachable { address, reason: chain(&error) };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            let unexpected = |reason: String| ClientError::Unexpected { address, reason };
            return serde_json::from_slice(&body).map_err(|error| unexpected(error.to_string()));
        }
        Err(match serde_json::from_slice::<Failure>(&body) {
            Ok(failure) => ClientError::Refused(failure.error),
            Err(_) => ClientError::Unexpected { address, reason: status.to_string() },
        })
    }
}
