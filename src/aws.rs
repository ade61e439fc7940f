//! Region and credentials of AWS, as the configuration says and as the SDK finds them for the rest.

pub mod failure;

use std::time::SystemTime;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;

use crate::chain::chain;
use crate::config::model::AssumeRole;

const SESSION_NAME: &str = "hydrant";

/// `None` without a region. `region_default` is for services of others, which have regions in name only.
pub async fn load(
    mut loader: ConfigLoader,
    region: Option<&str>,
    region_default: Option<&'static str>,
    assume_role: Option<&AssumeRole>,
) -> Option<SdkConfig> {
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    let found = loader.load().await;
    let region = found.region().cloned().or_else(|| region_default.map(Region::from_static))?;
    let found = found.into_builder().region(region).build();
    let Some(role) = assume_role else { return Some(found) };
    let mut provider = AssumeRoleProvider::builder(&role.role_arn).session_name(SESSION_NAME).configure(&found);
    if let Some(external_id) = &role.external_id {
        provider = provider.external_id(&external_id.0);
    }
    let credentials = SharedCredentialsProvider::new(provider.build().await);
    Some(found.into_builder().credentials_provider(credentials).build())
}

/// The credentials that were found; an error is a reason for people.
pub async fn credentials(found: &SdkConfig) -> Result<Credentials, String> {
    let provider = found.credentials_provider().ok_or_else(|| String::from("no credentials"))?;
    provider.provide_credentials().await.map_err(|error| chain(&error))
}

/// A request to a service in a region.
pub struct Signable<'a> {
    pub method: &'a str,
    pub service: &'a str,
    pub region: &'a str,
    pub url: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
    /// Whether the body's hash goes into a header of its own, as some services ask for.
    pub has_checksum: bool,
}

/// The headers by which the request is signed, to be sent besides its own; an error is a reason for people. Burns CPU.
pub fn signature(credentials: Credentials, request: &Signable<'_>) -> Result<Vec<(String, String)>, String> {
    let mut settings = SigningSettings::default();
    if request.has_checksum {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let identity = credentials.into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(request.region)
        .name(request.service)
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .map_err(|error| chain(&error))?
        .into();
    let body = SignableBody::Bytes(request.body);
    let signable = SignableRequest::new(request.method, request.url, request.headers.iter().copied(), body);
    let signed = sign(signable.map_err(|error| chain(&error))?, &params).map_err(|error| chain(&error))?;
    let (instructions, _) = signed.into_parts();
    Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}
