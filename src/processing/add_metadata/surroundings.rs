//! What is known of the machine and the process before the first record.
//!
//! Invariant: nothing here changes while the process lives, and nothing is asked of the network: who starts the process
//! has fetched it.

use serde::Serialize;

use super::super::json_text::{MemberNames, push_string};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ec2Field {
    InstanceId,
    Region,
    AvailabilityZone,
    PrivateIp,
    InstanceType,
    AccountId,
    AmiId,
    /// The instance's tags, as an object.
    Tags,
    /// When the service was asked.
    MetadataTimestamp,
}

/// What the instance metadata service says; nothing on other machines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ec2Metadata {
    pub instance_id: Option<String>,
    pub region: Option<String>,
    pub availability_zone: Option<String>,
    pub private_ip: Option<String>,
    pub instance_type: Option<String>,
    pub account_id: Option<String>,
    pub ami_id: Option<String>,
    /// Only where the instance allows tags in its metadata.
    pub tags: Option<Vec<(String, String)>>,
    /// RFC 3339 in UTC.
    pub metadata_timestamp: Option<String>,
}

/// What is known of the machine and the process.
pub struct Surroundings<'a> {
    /// The name of the machine.
    pub host: String,
    pub ec2: Ec2Metadata,
    /// An environment variable's value, if it is set.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Ec2Metadata {
    /// Writes a field as JSON; null where it is not known.
    pub(super) fn push(&self, field: Ec2Field, out: &mut Vec<u8>) {
        let value = match field {
            Ec2Field::InstanceId => &self.instance_id,
            Ec2Field::Region => &self.region,
            Ec2Field::AvailabilityZone => &self.availability_zone,
            Ec2Field::PrivateIp => &self.private_ip,
            Ec2Field::InstanceType => &self.instance_type,
            Ec2Field::AccountId => &self.account_id,
            Ec2Field::AmiId => &self.ami_id,
            Ec2Field::MetadataTimestamp => &self.metadata_timestamp,
            Ec2Field::Tags => return push_tags(out, self.tags.as_deref()),
        };
        match value {
            Some(value) => push_string(out, value.as_bytes()),
            None => out.extend_from_slice(b"null"),
        }
    }
}

/// Kinesis Agent writes the keys in lower case, as columns of a table need them. Keys that would become the same stay as
/// they are.
fn push_tags(out: &mut Vec<u8>, tags: Option<&[(String, String)]>) {
    let Some(tags) = tags else { return out.extend_from_slice(b"null") };
    if tags.is_empty() {
        return out.extend_from_slice(b"{}");
    }
    let lower: Vec<String> = tags.iter().map(|(key, _)| key.to_lowercase()).collect();
    let is_alone = |key: &String| lower.iter().filter(|other| *other == key).count() == 1;
    let names = tags.iter().zip(&lower).map(|((key, _), lower)| if is_alone(lower) { lower } else { key });
    let names = MemberNames::new(names.map(|name| name.as_bytes()));
    for (index, (_, value)) in tags.iter().enumerate() {
        names.push(out, index, Some(value.as_bytes()));
    }
    out.push(b'}');
}
