//! A payload as the body of a request.
//!
//! The checksum is computed before the upload and sent as a header. The SDK's alternative for files, a trailer, would
//! change the transfer's encoding to one that not every store understands.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};

use crate::encode::payload::Payload;

/// Bytes that are read from a file at a time.
const READ_BYTES: usize = 256 * 1024;

/// CRC-32 of the whole payload, as S3's header has it. Of a file it also checks that it has its length.
pub(super) async fn checksum(payload: &Arc<Payload>) -> io::Result<String> {
    let crc = match payload.parts() {
        Some(parts) => {
            let mut hasher = crc32fast::Hasher::new();
            parts.iter().for_each(|part| hasher.update(part));
            hasher.finalize()
        }
        None => {
            let payload = Arc::clone(payload);
            tokio::task::spawn_blocking(move || checksum_of_file(&payload)).await.map_err(io::Error::other)??
        }
    };
    Ok(BASE64_STANDARD.encode(crc.to_be_bytes()))
}

fn checksum_of_file(payload: &Payload) -> io::Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    let mut block = vec![0; READ_BYTES];
    let mut offset = 0;
    if let Some((_, file)) = payload.file() {
        loop {
            match file.read_at(&mut block, offset) {
                Ok(0) => break,
                Ok(read) => {
                    hasher.update(&block[..read]);
                    offset += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    if offset != payload.len() {
        let message = format!("the payload has {offset} bytes on disk instead of {}", payload.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(hasher.finalize())
}

/// The body. What is in memory is small, so that joining its parts for the time of the attempt is cheap.
pub(super) async fn stream(payload: &Payload) -> io::Result<ByteStream> {
    if let Some((path, _)) = payload.file() {
        let file = tokio::fs::File::open(path).await?;
        let body = ByteStream::read_from().file(file).buffer_size(READ_BYTES).build().await;
        return body.map_err(io::Error::from);
    }
    let bytes = match payload.parts().unwrap_or_default() {
        [] => Bytes::new(),
        [part] => part.clone(),
        parts => {
            let mut joined = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
            parts.iter().for_each(|part| joined.extend_from_slice(part));
            joined.freeze()
        }
    };
    Ok(ByteStream::from(bytes))
}
