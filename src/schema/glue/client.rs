//! Calls to Glue: JSON 1.1, signed.
//!
//! Not by the SDK's crate, which takes longer to build than the rest of AWS together; six calls are made of it here.

use aws_config::BehaviorVersion;
use aws_config::SdkConfig;
use serde_json::Value as Json;
use tokio::sync::Mutex;

use super::super::http::{HttpClient, Request, shortened};
use crate::aws;
use crate::config::model::{GlueConfig, TlsConfig};

const SERVICE: &str = "glue";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const REGION_OF_SERVERS_WITHOUT: &str = "us-east-1";

pub(super) struct GlueClient {
    config: GlueConfig,
    http: HttpClient,
    /// As the SDK has found it; anew after a refusal.
    found: Mutex<Option<SdkConfig>>,
}

/// Why a call has no result. The text is a reason for people.
#[derive(Debug)]
pub(super) enum CallError {
    /// `EntityNotFoundException`
    NotFound,
    Denied(String),
    Away(String),
}

impl GlueClient {
    pub fn new(config: &GlueConfig) -> Result<Self, String> {
        let http = HttpClient::new(&TlsConfig::default(), config.timeout)?;
        Ok(Self { config: config.clone(), http, found: Mutex::default() })
    }

    /// One call, which reads only, within the time-out.
    pub async fn call(&self, operation: &str, input: &Json) -> Result<Json, CallError> {
        // Credentials may have to be asked for, too.
        let limit = self.config.timeout;
        match tokio::time::timeout(limit, self.attempt(operation, input)).await {
            Ok(result) => result,
            Err(_) => Err(CallError::Away(format!("no answer within {limit:?}"))),
        }
    }

    async fn attempt(&self, operation: &str, input: &Json) -> Result<Json, CallError> {
        let found = self.found().await?;
        let url = self.url(&found);
        let body = input.to_string().into_bytes();
        let headers = signed(&found, &url, operation, &body).await?;
        let answer =
            self.http.send(Request { is_post: true, url: &url, headers, body }).await.map_err(CallError::Away)?;
        let json: Json = serde_json::from_slice(&answer.body)
            .map_err(|_| CallError::Away(format!("{operation}: status {}: {}", answer.status, answer.text())))?;
        if answer.is_success() {
            return Ok(json);
        }
        let error = error(operation, answer.status, &json);
        if matches!(error, CallError::Denied(_)) {
            // Credentials that have appeared or changed since must be found.
            self.found.lock().await.take();
        }
        Err(error)
    }

    async fn found(&self) -> Result<SdkConfig, CallError> {
        let mut found = self.found.lock().await;
        if let Some(found) = &*found {
            return Ok(found.clone());
        }
        let config = &self.config;
        let loader = aws_config::defaults(BehaviorVersion::latest());
        let region_default = config.endpoint_url.as_ref().map(|_| REGION_OF_SERVERS_WITHOUT);
        let loaded = aws::load(loader, config.region.as_deref(), region_default, config.assume_role.as_ref()).await;
        let loaded = loaded.ok_or_else(|| {
            let reason = "no region: set `region` in the registry or in `aws`, or AWS_REGION in the environment";
            CallError::Denied(String::from(reason))
        })?;
        Ok(found.insert(loaded).clone())
    }

    fn url(&self, found: &SdkConfig) -> String {
        let region = found.region().map_or(REGION_OF_SERVERS_WITHOUT, |region| region.as_ref());
        // The regions of China are their own partition.
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let given = self.config.endpoint_url.as_deref().or(found.endpoint_url());
        let url = given.map_or_else(|| format!("https://glue.{region}.{domain}"), str::to_owned);
        format!("{}/", url.trim_end_matches('/'))
    }
}

/// All headers of the request, the signature among them.
async fn signed(
    found: &SdkConfig,
    url: &str,
    operation: &str,
    body: &[u8],
) -> Result<Vec<(String, String)>, CallError> {
    let credentials = aws::credentials(found).await.map_err(CallError::Denied)?;
    let target = format!("AWSGlue.{operation}");
    let own = [("content-type", CONTENT_TYPE), ("x-amz-target", target.as_str())];
    let region = found.region().map_or(REGION_OF_SERVERS_WITHOUT, |region| region.as_ref());
    let request =
        aws::Signable { method: "POST", service: SERVICE, region, url, headers: &own, body, has_checksum: false };
    let signature = aws::signature(credentials, &request).map_err(CallError::Denied)?;
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(own.chain(signature).collect())
}

fn error(operation: &str, status: u16, json: &Json) -> CallError {
    let text = |keys: &[&str]| keys.iter().find_map(|key| json.get(key)?.as_str()).unwrap_or_default();
    // `com.amazonaws.glue#EntityNotFoundException`, or the last part alone.
    let kind = text(&["__type"]).rsplit('#').next().unwrap_or_default();
    let message = shortened(text(&["Message", "message"]));
    let reason = format!("{operation}: {kind}: {message}");
    match kind {
        "EntityNotFoundException" => CallError::NotFound,
        "ThrottlingException" | "OperationTimeoutException" | "InternalServiceException" => CallError::Away(reason),
        _ if status >= 500 || status == 429 => CallError::Away(reason),
        _ => CallError::Denied(reason),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_says_whether_to_wait() {
        let of = |status, kind: &str| error("GetTable", status, &json!({ "__type": kind, "Message": "a\nb" }));
        assert!(matches!(of(400, "EntityNotFoundException"), CallError::NotFound));
        assert!(matches!(of(400, "com.amazonaws.glue#EntityNotFoundException"), CallError::NotFound));
        assert!(
            matches!(of(400, "ThrottlingException"), CallError::Away(reason) if reason == "GetTable: ThrottlingException: a b")
        );
        assert!(matches!(of(503, ""), CallError::Away(_)));
        assert!(matches!(of(400, "AccessDeniedException"), CallError::Denied(_)));
    }

    #[tokio::test]
    async fn calls_are_signed_for_glue() {
        let credentials =
            aws_credential_types::Credentials::new("AKID", "secret", Some(String::from("token")), None, "test");
        let found = SdkConfig::builder()
            .region(aws_config::Region::from_static("eu-west-1"))
            .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(credentials))
            .build();
        let headers = signed(&found, "https://glue.eu-west-1.amazonaws.com/", "GetTable", b"{}").await.unwrap();
        let value = |name: &str| headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str());
        let authorization = value("authorization").unwrap();
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"), "{authorization}");
        assert!(authorization.contains("/eu-west-1/glue/aws4_request, SignedHeaders=content-type;host;x-amz-date;"));
        assert_eq!(value("x-amz-security-token"), Some("token"));
        assert_eq!(value("x-amz-target"), Some("AWSGlue.GetTable"));
    }
}
