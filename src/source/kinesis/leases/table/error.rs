//! Why the lease table cannot be used at this moment, or at all.

/// Permissions that the table takes.
const PERMISSIONS: &str =
    "dynamodb:DescribeTable, GetItem, Scan, UpdateItem and DeleteItem on it, and CreateTable unless it is there";

#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Throttling, a fault of the service, or no answer in time: worth another call later.
    #[error("lease table `{table}`: {message}")]
    Unanswered {
        table: String,
        message: String,
        is_throttled: bool,
        /// What was to be changed may have been changed all the same, or be changed yet.
        maybe_done: bool,
    },
    /// Permissions, credentials, an argument: nothing changes until a person acts.
    #[error("lease table `{table}`: {message}")]
    Refused {
        table: String,
        code: String,
        message: String,
        /// An earlier try of the same call may have changed it.
        maybe_done: bool,
    },
    /// There is no such table, any more.
    #[error("lease table `{table}` is not there")]
    Missing { table: String },
    /// It was made for something else.
    #[error(
        "table `{table}` is no lease table: {reason}; a lease table of the KCL has the partition key `leaseKey` (a string) and \
         no sort key: name another one in `leases.dynamodb.table`, which is made if it is not there"
    )]
    OtherShape { table: String, reason: String },
    /// An application that reads several streams keeps their leases there. Passing over them would be beginning anew.
    #[error(
        "lease table `{table}` has leases of several streams, among them `{stream}`: hydrant reads one stream with each table; \
         name another one in `leases.dynamodb.table`, which is made if it is not there"
    )]
    SeveralStreams { table: String, stream: String },
    /// An elected leader of KCL 3 says who has which lease, and takes away what others take.
    #[error(
        "lease table `{table}` is led by KCL 3's leader assignment: {sign}; as long as hydrant shares the table, run the Java \
         workers in the KCL's 2.x compatibility mode (CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X, after a roll-back with the \
         KCL's migration tool where it has been left), or stop them all and delete that item, or name another table"
    )]
    Led { table: String, sign: String },
    /// The row was a lease before it was changed, and cannot be read now.
    #[error("lease table `{table}`: row `{key}`: {reason}")]
    Unreadable { table: String, key: String, reason: String },
    /// The caller was about to break the order of preparing and finishing.
    #[error("lease `{key}`: {reason}")]
    OutOfOrder { key: String, reason: &'static str },
}

impl TableError {
    /// There is no region, and no `endpoint_url` that would do without.
    pub fn without_region(table: &str) -> Self {
        let message =
            "no region: set `region` in `leases.dynamodb`, in the source or in `aws`, or AWS_REGION in the environment";
        Self::Refused {
            table: table.to_owned(),
            code: String::from("MissingRegion"),
            message: message.to_owned(),
            maybe_done: false,
        }
    }

    /// Of a call that was to find out whether a change was made.
    pub(super) fn of_a_change(self) -> Self {
        match self {
            Self::Unanswered { table, message, is_throttled, .. } => {
                Self::Unanswered { table, message, is_throttled, maybe_done: true }
            }
            Self::Refused { table, code, message, .. } => Self::Refused { table, code, message, maybe_done: true },
            Self::Missing { .. }
            | Self::OtherShape { .. }
            | Self::SeveralStreams { .. }
            | Self::Led { .. }
            | Self::Unreadable { .. }
            | Self::OutOfOrder { .. } => self,
        }
    }

    /// Whether another call could go well without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unanswered { .. } => true,
            Self::Refused { .. }
            | Self::Missing { .. }
            | Self::OtherShape { .. }
            | Self::SeveralStreams { .. }
            | Self::Led { .. }
            | Self::Unreadable { .. }
            | Self::OutOfOrder { .. } => false,
        }
    }
}

/// What a person can do about a refusal.
pub(super) fn advice(code: &str) -> Option<String> {
    match code {
        "AccessDeniedException" | "AccessDenied" => Some(format!("allow {PERMISSIONS}")),
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "IncompleteSignature"
        | "InvalidClientTokenId"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized" => Some(String::from("check the credentials, the region and this machine's clock")),
        _ => None,
    }
}
