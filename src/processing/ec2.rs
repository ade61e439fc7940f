//! What the EC2 instance metadata service says of the machine, asked once when a delivery stream starts.
//!
//! Through the SDK's client, so that IMDSv2 and `AWS_EC2_METADATA_SERVICE_ENDPOINT` are as everywhere. Paths: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html>

use std::time::Duration;

use aws_config::imds::Client;
use jiff::Timestamp;

use super::Ec2Metadata;

/// Where there is no such service, a start is held up for so long at most.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Tags are asked one by one. If that takes too long, the other fields are still known.
const TAGS_TIMEOUT: Duration = Duration::from_secs(1);

/// Everything that the service knows within two seconds; nothing where there is none.
pub async fn fetch() -> Ec2Metadata {
    // The SDK's providers look at it, its client does not.
    let is_disabled = std::env::var("AWS_EC2_METADATA_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    if is_disabled {
        return Ec2Metadata::default();
    }
    let client = Client::builder().connect_timeout(TIMEOUT).read_timeout(TIMEOUT).max_attempts(1).build();
    tokio::time::timeout(TIMEOUT, ask(&client)).await.unwrap_or_default()
}

async fn ask(client: &Client) -> Ec2Metadata {
    let Some(instance_id) = get(client, "meta-data/instance-id").await else { return Ec2Metadata::default() };
    let metadata_timestamp = Some(format!("{:.3}", Timestamp::now()));
    let (region, availability_zone, private_ip, instance_type, ami_id, identity, tags) = tokio::join!(
        get(client, "meta-data/placement/region"),
        get(client, "meta-data/placement/availability-zone"),
        get(client, "meta-data/local-ipv4"),
        get(client, "meta-data/instance-type"),
        get(client, "meta-data/ami-id"),
        get(client, "dynamic/instance-identity/document"),
        tokio::time::timeout(TAGS_TIMEOUT, tags(client)),
    );
    let account_id = identity.and_then(|document| {
        let document: serde_json::Value = serde_json::from_str(&document).ok()?;
        document["accountId"].as_str().map(str::to_owned)
    });
    Ec2Metadata {
        instance_id: Some(instance_id),
        region,
        availability_zone,
        private_ip,
        instance_type,
        account_id,
        ami_id,
        tags: tags.ok().flatten(),
        metadata_timestamp,
    }
}

/// The tags, where the instance allows them in its metadata.
async fn tags(client: &Client) -> Option<Vec<(String, String)>> {
    const PATH: &str = "meta-data/tags/instance";
    let keys = get(client, PATH).await?;
    let mut tags = Vec::new();
    for key in keys.lines().filter(|key| !key.is_empty()) {
        // One that has just been taken away is none.
        tags.extend(get(client, &format!("{PATH}/{key}")).await.map(|value| (key.to_owned(), value)));
    }
    Some(tags)
}

async fn get(client: &Client, path: &str) -> Option<String> {
    let value = client.get(format!("/latest/{path}")).await.ok()?;
    Some(value.as_ref().to_owned())
}
