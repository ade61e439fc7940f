//! What is known of the machine and the process before the first record.
//!
//! Invariant: nothing here changes while the process lives, and nothing is asked of the network: who starts the process
//! has fetched it.

use serde::Serialize;

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
    pub(super) fn get(&self, field: Ec2Field) -> Option<&str> {
        let value = match field {
            Ec2Field::InstanceId => &self.instance_id,
            Ec2Field::Region => &self.region,
            Ec2Field::AvailabilityZone => &self.availability_zone,
            Ec2Field::PrivateIp => &self.private_ip,
            Ec2Field::InstanceType => &self.instance_type,
            Ec2Field::AccountId => &self.account_id,
            Ec2Field::AmiId => &self.ami_id,
        };
        value.as_deref()
    }
}
