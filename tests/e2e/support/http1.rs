//! Just enough HTTP/1.1 to know where a request and an answer end, for proxies that pass both on byte by byte: the `Host` header is
//! part of the signature.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The start line and headers of a request or an answer, as they came.
pub struct Head {
    pub bytes: Vec<u8>,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        text.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    pub fn expects_continue(&self) -> bool {
        self.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    }

    pub fn status(&self) -> Option<u16> {
        String::from_utf8_lossy(&self.bytes).split(' ').nth(1)?.parse().ok()
    }
}

/// `None` when the other side has closed the connection between two messages.
pub async fn read_head(stream: &mut TcpStream, ahead: &mut Vec<u8>) -> io::Result<Option<Head>> {
    loop {
        if let Some(end) = memchr::memmem::find(ahead, b"\r\n\r\n") {
            let rest = ahead.split_off(end + 4);
            return Ok(Some(Head { bytes: std::mem::replace(ahead, rest) }));
        }
        if stream.read_buf(ahead).await? == 0 {
            return if ahead.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
}

/// The body as it came, chunk sizes and trailers included.
pub async fn read_body(stream: &mut TcpStream, ahead: &mut Vec<u8>, head: &Head) -> io::Result<Vec<u8>> {
    let chunked = head.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let length = head.header("content-length").and_then(|value| value.parse::<usize>().ok()).unwrap_or(0);
    loop {
        let end = match chunked {
            true => chunked_end(ahead),
            false => (ahead.len() >= length).then_some(length),
        };
        if let Some(end) = end {
            let rest = ahead.split_off(end);
            return Ok(std::mem::replace(ahead, rest));
        }
        if stream.read_buf(ahead).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Where a chunked body ends, if all of it is there.
fn chunked_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = memchr::memmem::find(&bytes[at..], b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..at + line]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        at += line + 2;
        if size == 0 {
            break;
        }
        at += size + 2;
        if bytes.len() < at {
            return None;
        }
    }
    // Trailers, and the empty line after them.
    loop {
        let line = memchr::memmem::find(&bytes[at..], b"\r\n")?;
        at += line + 2;
        if line == 0 {
            return Some(at);
        }
    }
}

/// Closed without a farewell: the client sees a reset.
pub fn reset(client: TcpStream) -> io::Result<()> {
    client.set_zero_linger()
}

/// Takes whatever comes and says nothing, for as long as the client bears it.
pub async fn until_closed(client: &mut (impl AsyncReadExt + Unpin)) -> io::Result<()> {
    let mut ignored = [0; 4096];
    while client.read(&mut ignored).await? > 0 {}
    Ok(())
}
