//! The `[origin]` section of the configuration.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::{Deserialize, Serialize};
use url::Url;

/// The `[origin]` section of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How long connecting to an origin may take, in seconds, over all its addresses.
    pub connect_timeout_s: u64,
    /// How long an origin may take from the request to the head of its answer, in seconds.
    pub first_byte_timeout_s: u64,
    /// How long an origin may pause within an answer, in seconds.
    pub idle_timeout_s: u64,
    /// How long an unused connection to an origin is kept, in seconds; most servers close theirs after 60 to 75.
    pub keep_alive_s: u64,
    /// How long one address of an origin is tried alone before the next is tried as well, in milliseconds. RFC 8305
    /// recommends 250; less costs connections, more costs waiting where IPv6 is broken.
    pub next_address_ms: u64,
    /// An HTTP proxy that origins are asked through, such as `http://proxy.example:3128`. Empty: none. The environment
    /// variable http_proxy is not looked at, since it usually points to this daemon.
    pub proxy: String,
    /// Headers to send with every request, each as `Name: value`.
    pub headers: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout_s: 10,
            first_byte_timeout_s: 30,
            idle_timeout_s: 30,
            keep_alive_s: 55,
            next_address_ms: 250,
            proxy: String::new(),
            headers: Vec::new(),
        }
    }
}

/// A mistake in the options.
#[derive(Debug, thiserror::Error)]
pub enum BadOptions {
    /// A header that is none.
    #[error("origin.headers: `{0}` is not a header; write it as `Name: value`")]
    Header(String),
    /// A header that says how a message is delimited or where it goes.
    #[error("origin.headers: `{0}` is set by the connection and can't be chosen")]
    Framing(String),
    /// A proxy that is none.
    #[error("origin.proxy: `{0}` is not a URL such as http://proxy.example:3128")]
    Proxy(String),
    /// No certificate authority is known to this system.
    #[error("no certificate authorities found on this system ({0}); install the package ca-certificates")]
    Certificates(String),
}

/// Headers that delimit or route a message: a wrong one would let a request be read as two.
const FRAMING: [HeaderName; 6] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::UPGRADE,
];

impl Options {
    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_s)
    }

    pub(super) fn first_byte_timeout(&self) -> Duration {
        Duration::from_secs(self.first_byte_timeout_s)
    }

    pub(super) fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_s)
    }

    pub(super) fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.keep_alive_s)
    }

    pub(super) fn next_address(&self) -> Duration {
        Duration::from_millis(self.next_address_ms)
    }

    /// `host:port` of the proxy, if there is one.
    pub(super) fn proxy(&self) -> Result<Option<String>, BadOptions> {
        if self.proxy.is_empty() {
            return Ok(None);
        }
        let bad = || BadOptions::Proxy(self.proxy.clone());
        let url = Url::parse(&self.proxy).ok().filter(|url| url.scheme() == "http").ok_or_else(bad)?;
        let host = url.host_str().ok_or_else(bad)?;
        Ok(Some(format!("{host}:{}", url.port().unwrap_or(80))))
    }

    /// The extra headers.
    pub(super) fn headers(&self) -> Result<HeaderMap, BadOptions> {
        let mut headers = HeaderMap::new();
        for line in &self.headers {
            let (name, value) = header_line(line).ok_or_else(|| BadOptions::Header(line.clone()))?;
            if FRAMING.contains(&name) {
                return Err(BadOptions::Framing(line.clone()));
            }
            headers.append(name, value);
        }
        Ok(headers)
    }
}

fn header_line(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().parse().ok()?, value.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_in_options_are_named() {
        let with = |proxy: &str, headers: &[&str]| Options {
            proxy: proxy.into(),
            headers: headers.iter().map(ToString::to_string).collect(),
            ..Options::default()
        };
        assert_eq!(with("", &[]).proxy().unwrap(), None);
        assert_eq!(with("http://p.example", &[]).proxy().unwrap().unwrap(), "p.example:80");
        assert_eq!(with("http://[::1]:3128/", &[]).proxy().unwrap().unwrap(), "[::1]:3128");
        for proxy in ["p.example:3128", "socks5://p.example", "nonsense"] {
            assert!(matches!(with(proxy, &[]).proxy(), Err(BadOptions::Proxy(_))), "{proxy}");
        }
        let headers = with("", &["X-A: 1", "x-a:2"]).headers().unwrap();
        assert_eq!(headers.get_all("x-a").iter().count(), 2);
        for line in ["X-A", ": x", "X A: 1", "X-A: \n"] {
            let refused = with("", &[line]).headers();
            assert!(matches!(refused, Err(BadOptions::Header(_))) || line == "X-A: \n", "{line}");
        }
        for line in ["Host: x", "content-length: 5", "Transfer-Encoding: chunked"] {
            assert!(matches!(with("", &[line]).headers(), Err(BadOptions::Framing(_))), "{line}");
        }
    }
}
