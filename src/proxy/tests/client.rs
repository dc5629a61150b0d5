//! A player that says exactly what it is told to.

use std::net::SocketAddr;

use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

/// An answer, taken off the wire.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// The body came to the end that its head promised.
    pub whole: bool,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub struct Client {
    stream: TcpStream,
    address: SocketAddr,
    read: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: soon(TcpStream::connect(address)).await.unwrap(), address, read: Vec::new() }
    }

    pub async fn say(&mut self, text: impl AsRef<[u8]>) {
        soon(self.stream.write_all(text.as_ref())).await.unwrap();
    }

    /// Says `METHOD target` with the right Host and `more` header lines, each with its line end.
    pub async fn ask(&mut self, method: &str, target: &str, more: &str) -> Reply {
        let host = self.address;
        self.say(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n")).await;
        self.reply(method == "HEAD").await
    }

    pub async fn get(&mut self, target: &str) -> Reply {
        self.ask("GET", target, "").await
    }

    /// The next answer's head, and its body unless it has none.
    pub async fn reply(&mut self, bodiless: bool) -> Reply {
        let (status, headers) = loop {
            let (status, headers) = self.head().await;
            if status >= 200 {
                break (status, headers);
            }
        };
        let mut reply = Reply { status, headers, body: Vec::new(), whole: true };
        if bodiless || status == 204 || status == 304 {
            return reply;
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            self.chunks(&mut reply).await;
        } else if let Some(length) = reply.header("content-length") {
            let length = length.parse().unwrap();
            reply.whole = self.fill(length).await;
            reply.body = self.take(length);
        } else {
            while self.more().await {}
            reply.body = std::mem::take(&mut self.read);
        }
        reply
    }

    async fn head(&mut self) -> (u16, HeaderMap) {
        loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.take(end + 4);
                let mut lines = std::str::from_utf8(&head).unwrap().trim_end().split("\r\n");
                let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
                let mut headers = HeaderMap::new();
                for line in lines {
                    let (name, value) = line.split_once(':').unwrap();
                    let name: http::HeaderName = name.parse().unwrap();
                    headers.append(name, value.trim().parse().unwrap());
                }
                return (status, headers);
            }
            let text = String::from_utf8_lossy(&self.read).into_owned();
            assert!(self.more().await, "closed before the head of an answer ended: {text:?}");
        }
    }

    async fn chunks(&mut self, reply: &mut Reply) {
        loop {
            let end = loop {
                if let Some(end) = self.read.windows(2).position(|window| window == b"\r\n") {
                    break end;
                }
                if !self.more().await {
                    reply.whole = false;
                    return;
                }
            };
            let line = self.take(end + 2);
            let length = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
            reply.whole = self.fill(length + 2).await;
            let chunk = self.take(length + 2);
            reply.body.extend_from_slice(&chunk[..length.min(chunk.len())]);
            if length == 0 || !reply.whole {
                return;
            }
        }
    }

    /// Reads until `length` bytes are there; false if the end came first.
    async fn fill(&mut self, length: usize) -> bool {
        while self.read.len() < length {
            if !self.more().await {
                return false;
            }
        }
        true
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        self.read.drain(..length.min(self.read.len())).collect()
    }

    /// Reads once; false at the end, however it came.
    async fn more(&mut self) -> bool {
        soon(self.stream.read_buf(&mut self.read)).await.unwrap_or(0) > 0
    }

    /// Exactly these bytes come next.
    pub async fn hears(&mut self, bytes: &[u8]) {
        assert!(self.fill(bytes.len()).await, "closed early");
        assert_eq!(self.take(bytes.len()), bytes);
    }

    /// The next line, without its end.
    pub async fn hears_line(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(2).position(|window| window == b"\r\n") {
                let line = self.take(end + 2);
                return String::from_utf8(line).unwrap().trim_end().to_owned();
            }
            assert!(self.more().await, "closed early");
        }
    }

    /// Nothing comes any more but the end.
    pub async fn is_closed(&mut self) {
        assert!(!self.more().await, "{:?}", String::from_utf8_lossy(&self.read));
    }
}
