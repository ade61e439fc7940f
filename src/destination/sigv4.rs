//! Requests signed as AWS wants them: API Gateway, Lambda's function URLs, OpenSearch.
//!
//! Credentials that have appeared or changed are found after a refusal, as for S3.

use std::sync::Arc;

use aws_config::{BehaviorVersion, SdkConfig};
use bytes::Bytes;
use reqwest::header::HeaderMap;
use tokio::sync::Mutex;

use crate::aws::{self, Signable};
use crate::config::model::EndpointAuth;
use crate::pool::join;

/// Signs requests; does nothing where the endpoint wants none of it.
pub(super) struct Signer {
    auth: EndpointAuth,
    found: Mutex<Option<SdkConfig>>,
}

impl Signer {
    pub fn new(auth: &EndpointAuth) -> Self {
        Self { auth: auth.clone(), found: Mutex::default() }
    }

    /// The headers that sign a request with these; an error is a reason for people.
    pub async fn sign(
        &self,
        method: &str,
        url: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Vec<(String, String)>, String> {
        let EndpointAuth::SigV4 { service, .. } = &self.auth else { return Ok(Vec::new()) };
        let found = self.found().await?;
        let credentials = aws::credentials(&found).await?;
        let region = found.region().map(ToString::to_string).unwrap_or_default();
        let (method, url, service, body) = (method.to_owned(), url.to_owned(), service.clone(), body.clone());
        let headers: Arc<Vec<(String, String)>> = Arc::new(
            headers
                .iter()
                .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
                .collect(),
        );
        let sign = move || {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let request = Signable {
                method: &method,
                service: &service,
                region: &region,
                url: &url,
                headers: &headers,
                body: &body,
                has_checksum: true,
            };
            aws::signature(credentials, &request)
        };
        // Hashing a large body takes a while.
        join(tokio::task::spawn_blocking(sign)).await
    }

    /// Looks for credentials afresh the next time.
    pub async fn forget(&self) {
        self.found.lock().await.take();
    }

    async fn found(&self) -> Result<SdkConfig, String> {
        let mut found = self.found.lock().await;
        if let Some(found) = &*found {
            return Ok(found.clone());
        }
        let EndpointAuth::SigV4 { region, assume_role, .. } = &self.auth else {
            return Err(String::from("nothing to sign"));
        };
        let loader = aws_config::defaults(BehaviorVersion::latest());
        let loaded = aws::load(loader, region.as_deref(), None, assume_role.as_ref()).await;
        let loaded = loaded.ok_or_else(|| {
            String::from("no region: set `region` under `sigv4` or in `aws`, or AWS_REGION in the environment")
        })?;
        Ok(found.insert(loaded).clone())
    }
}
