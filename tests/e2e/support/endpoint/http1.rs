//! HTTP/1.1 by hand, so that every rule of it can be broken.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::take::{Taken, take};
use super::{Interruption, Reaction, State, UnderWay, answer, proper};

pub(super) async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let (socket, _) = listener.accept().await.expect("a listener on loopback accepts");
        state.lock().expect("no holder panics").connections += 1;
        tokio::spawn(converse(socket, state.clone()));
    }
}

async fn converse(mut socket: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let head_end = loop {
            if let Some(at) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
                break at + 4;
            }
            more(&mut socket, &mut bytes).await?;
        };
        let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
        let (_under_way, interruption) = UnderWay::begin(&state);
        if let Some(interruption) = interruption {
            return interrupt(socket, interruption).await;
        }
        let length: usize = header(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        while bytes.len() < head_end + length {
            more(&mut socket, &mut bytes).await?;
        }
        let body = bytes[head_end..head_end + length].to_vec();
        bytes.drain(..head_end + length);
        socket = match take(&head, body, &state) {
            Ok(taken) => react(socket, taken).await?,
            Err(_) => write(socket, &answer(400, &[], "")).await?,
        };
    }
}

async fn interrupt(mut socket: TcpStream, interruption: Interruption) -> Option<()> {
    match interruption {
        Interruption::Answer(bytes) => {
            socket.write_all(&bytes).await.ok()?;
            socket.shutdown().await.ok()?;
            while socket.read(&mut [0; 8192]).await.ok()? > 0 {}
            Some(())
        }
        Interruption::AnswerAndClose(bytes) => socket.write_all(&bytes).await.ok(),
        Interruption::StopReading => std::future::pending().await,
    }
}

async fn write(mut socket: TcpStream, bytes: &[u8]) -> Option<TcpStream> {
    socket.write_all(bytes).await.ok()?;
    Some(socket)
}

/// The connection, if it goes on.
async fn react(mut socket: TcpStream, Taken { id, reaction }: Taken) -> Option<TcpStream> {
    match reaction {
        Reaction::Accept => write(socket, &proper(200, &id, &[])).await,
        Reaction::AcceptPlainly => write(socket, &answer(201, &[], "thanks")).await,
        Reaction::AcceptAs(bytes) => write(socket, &bytes).await,
        Reaction::Refuse(status, headers) => write(socket, &proper(status, &id, headers)).await,
        Reaction::AcceptAndClose => write(socket, &proper(200, &id, &[])).await.and(None),
        Reaction::AcceptSlowly(between) => {
            for piece in proper(200, &id, &[]).chunks(40) {
                tokio::time::sleep(between).await;
                socket = write(socket, piece).await?;
            }
            Some(socket)
        }
        Reaction::Raw(bytes) => {
            socket.write_all(&bytes).await.ok()?;
            socket.shutdown().await.ok()?;
            None
        }
        Reaction::Stall(bytes) => {
            socket.write_all(&bytes).await.ok()?;
            // Until the client gives up.
            let _ = socket.read(&mut [0; 1]).await;
            None
        }
        Reaction::AcceptSilently | Reaction::Reset => {
            socket.set_zero_linger().ok()?;
            None
        }
    }
}

async fn more(socket: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let count = socket.read_buf(bytes).await.ok()?;
    (count > 0).then_some(())
}

fn header(head: &str, name: &str) -> Option<String> {
    let value = |line: &str| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    };
    head.lines().find_map(value)
}
