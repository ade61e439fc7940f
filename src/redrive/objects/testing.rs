//! An object that lies nowhere, for tests of what reads it.

use std::io::Cursor;

use jiff::Timestamp;

use super::{Body, ErrorObject, ObjectError, Objects, Page};
use crate::destination::{AttemptError, BoxFuture};

/// Holds one object, `a`.
pub struct InMemory {
    content: Vec<u8>,
    /// Each body breaks off after so many bytes.
    pub piece: usize,
}

impl InMemory {
    pub fn new(content: &[u8]) -> (Self, ErrorObject) {
        let (size, modified) = (content.len() as u64, Timestamp::UNIX_EPOCH);
        let object = ErrorObject { key: "a".to_owned(), size, modified, etag: String::new() };
        (Self { content: content.to_vec(), piece: usize::MAX }, object)
    }
}

impl Objects for InMemory {
    fn name(&self) -> String {
        String::from("memory")
    }

    fn page<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Page, AttemptError>> {
        Box::pin(async { Ok(Page { objects: Vec::new(), next: None }) })
    }

    fn body<'a>(&'a self, _: &'a ErrorObject, from: u64) -> BoxFuture<'a, Result<Body, ObjectError>> {
        let rest = &self.content[from as usize..];
        let piece = rest[..rest.len().min(self.piece)].to_vec();
        Box::pin(async move { Ok(Box::pin(Cursor::new(piece)) as Body) })
    }
}
