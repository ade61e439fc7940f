//! The error output types: what stands in the keys of failed records' objects, as Firehose names them.

/// Error output type of records that could not be processed.
pub const PROCESSING_FAILED: &str = "processing-failed";
/// Error output type of records that belong to no partition.
pub const METADATA_FAILED: &str = "metadata-extraction-failed";
/// Error output type of records that could not be converted.
pub const CONVERSION_FAILED: &str = "format-conversion-failed";
/// Error output type of records that an HTTP endpoint has not taken.
pub const HTTP_ENDPOINT_FAILED: &str = "http-endpoint-failed";
/// Error output type of documents that OpenSearch has not taken; `elasticsearch-failed` before 2021.
pub const OPENSEARCH_FAILED: &str = "AmazonOpenSearchService-failed";
