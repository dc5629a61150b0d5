//! The user's own upstream proxy.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest answer to CONNECT, in bytes.
const ANSWER: usize = 8 * 1024;

/// Asks the proxy at the other end of `stream` for a tunnel (RFC 9110 §9.3.6).
///
/// # Errors
/// When it refuses, or answers with something else than HTTP.
pub async fn connect(stream: &mut TcpStream, host: &str, port: u16) -> io::Result<()> {
    // An IPv6 address comes in with or without its brackets.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let at = if bare.contains(':') { format!("[{bare}]:{port}") } else { format!("{bare}:{port}") };
    stream.write_all(format!("CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == ANSWER {
            return Err(io::Error::other("the upstream proxy's answer is too long"));
        }
        // Byte by byte, so that nothing of what follows is taken.
        answer.push(stream.read_u8().await?);
    }
    let status = answer.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    if answer.starts_with(b"HTTP/1.") && status.starts_with(b"2") {
        return Ok(());
    }
    let status: String = status.iter().take(3).map(|&byte| char::from(byte)).collect();
    Err(io::Error::other(format!(
        "the upstream proxy refused a tunnel to {at} ({})",
        status.escape_default()
    )))
}
