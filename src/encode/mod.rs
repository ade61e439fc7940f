//! From records to the content of an object: delimiters, compression, payloads.

pub mod codec;
mod gzip;
mod hadoop_snappy;
pub mod lane;
pub mod payload;
mod snappy;
mod zip;
mod zstd;
