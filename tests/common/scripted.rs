//! An origin that fails as its script says.
#![allow(dead_code, unreachable_pub)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// An origin that does to each request what its script says; everything else is like any origin.
pub struct Scripted {
    pub address: SocketAddr,
    pub requests: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

type Script = dyn Fn(u64, &str, &mut TcpStream) + Send + Sync;

impl Scripted {
    /// `script` is given the number of the request (from 0), its head, and the connection to answer on.
    pub fn start(script: impl Fn(u64, &str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    pub fn on(
        listener: TcpListener,
        script: impl Fn(u64, &str, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (requests, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, over) = (Arc::clone(&requests), Arc::clone(&ended));
        let script: Arc<Script> = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(mut stream), count, script) = (stream, Arc::clone(&count), Arc::clone(&script))
                else {
                    return;
                };
                std::thread::spawn(move || {
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                        head.push(byte[0]);
                    }
                    if head.is_empty() {
                        return;
                    }
                    let number = count.fetch_add(1, Ordering::SeqCst);
                    script(number, &String::from_utf8_lossy(&head), &mut stream);
                });
            }
        });
        Self { address, requests, ended }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// A whole answer, after which the connection closes.
pub fn respond(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// The range a request asks for, of a file of this length.
pub fn from_of(head: &str) -> usize {
    let range = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    range.and_then(|range| range.split('-').next()?.parse().ok()).unwrap_or(0)
}
