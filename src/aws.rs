//! Region and credentials of AWS, as the configuration says and as the SDK finds them for the rest.

use aws_config::sts::AssumeRoleProvider;
use aws_config::{ConfigLoader, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;

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
