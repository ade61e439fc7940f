//! From records to the content of an object: delimiters, compression, payloads.

mod appender;
pub mod base64;
pub mod codec;
pub mod frames;
mod gzip;
mod hadoop_snappy;
pub mod lane;
mod pages;
pub mod payload;
mod snappy;
pub mod table;
mod zip;
mod zstd;
