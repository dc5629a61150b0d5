//! Addresses as they are typed.

use std::net::SocketAddr;

/// An IP address with its port. No name: a daemon is steered where it listens, and not wherever a resolver leads.
///
/// # Errors
/// What would be right.
pub fn parse(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "write an IP address with its port, such as 127.0.0.1:7223, [::1]:7223 or 192.168.1.7:7223".to_owned()
    })
}
