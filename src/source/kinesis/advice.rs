//! What a person can do about an answer of the service.

/// Where reading begins is asked for here alone.
const GET_SHARD_ITERATOR: &str = "GetShardIterator";

/// `None` where the answer says it all, or nobody has to do anything.
pub(super) fn advice(operation: &str, code: &str) -> Option<String> {
    let advice = match (operation, code) {
        ("DescribeStreamSummary", "ResourceNotFoundException") => {
            "check `stream`, `region` and whose account the credentials are of, or give the ARN of the stream"
        }
        (GET_SHARD_ITERATOR, "InvalidArgumentException") => {
            "check that `initial_position` names a record of this shard, or a time that has come"
        }
        (_, "AccessDeniedException" | "AccessDenied") => return Some(format!("allow kinesis:{operation}")),
        (_, "KMSAccessDeniedException") => "allow kms:Decrypt for the key of the stream",
        (_, "KMSDisabledException" | "KMSInvalidStateException" | "KMSNotFoundException") => {
            "the records cannot be read before the key of the stream can be used again: look at it in KMS"
        }
        (
            _,
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException",
        ) => "check the credentials, the region and this machine's clock",
        _ => return None,
    };
    Some(advice.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_can_mend_comes_with_advice() {
        for (operation, code, part) in [
            ("DescribeStreamSummary", "ResourceNotFoundException", "`region`"),
            (GET_SHARD_ITERATOR, "InvalidArgumentException", "`initial_position`"),
            ("GetRecords", "AccessDeniedException", "kinesis:GetRecords"),
            ("GetRecords", "KMSAccessDeniedException", "kms:Decrypt"),
            ("ListShards", "InvalidSignatureException", "clock"),
        ] {
            assert!(advice(operation, code).is_some_and(|advice| advice.contains(part)), "{operation} {code}");
        }
        // A shard that is gone is nobody's mistake, throttling passes.
        assert_eq!(advice("GetRecords", "ResourceNotFoundException"), None);
        assert_eq!(advice("GetRecords", "ProvisionedThroughputExceededException"), None);
    }
}
