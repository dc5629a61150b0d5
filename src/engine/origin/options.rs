//! The `[origin]` section of the configuration.

use std::ops::RangeInclusive;
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

/// A mistake in the options. What a header or a proxy's address says may hold a secret, so none of it is repeated.
#[derive(Debug, thiserror::Error)]
pub enum BadOptions {
    /// A header that is none; which one, from 1.
    #[error("number {0} is not a header; write it as `Name: value`")]
    Header(usize),
    /// A header that says how a message is delimited or where it goes; which one, from 1.
    #[error("number {0}: `{1}` is set by the connection and can't be chosen")]
    Framing(usize, HeaderName),
    /// A proxy that is none.
    #[error("it is not a URL such as http://proxy.example:3128")]
    Proxy,
    /// A proxy with a name or password, which nobody would send.
    #[error(
        "it carries a user name, which is not sent; use a proxy that asks for none, at http://proxy.example:3128"
    )]
    ProxyUser,
    /// A time within which nothing can happen, or that never ends: the key, and what it may be, in its unit.
    #[error("it is out of range; write {} to {}", .1.start(), .1.end())]
    Time(&'static str, RangeInclusive<u64>),
    /// No certificate authority is known to this system.
    #[error("no certificate authorities found on this system ({0}); install the package ca-certificates")]
    Certificates(String),
}

impl BadOptions {
    /// The key of the section that is wrong; empty for what is no key's fault.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Header(_) | Self::Framing(..) => "headers",
            Self::Proxy | Self::ProxyUser => "proxy",
            Self::Time(key, _) => key,
            Self::Certificates(_) => "",
        }
    }

    /// Which one of a list, from 0.
    #[must_use]
    pub fn entry(&self) -> Option<usize> {
        match self {
            Self::Header(number) | Self::Framing(number, _) => Some(number - 1),
            _ => None,
        }
    }
}

/// The longest that anything of an origin is waited for, in seconds.
const LONGEST_S: u64 = 3_600;

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

    /// How long nothing has to come on an HTTP/2 connection on which something is asked, for it to be tried …
    pub(super) fn ping_after() -> Duration {
        Duration::from_secs(5)
    }

    /// … and how long an answer is waited for, until it is given up with all that is asked on it. A network that is no more says
    /// nothing.
    pub(super) fn ping_answer() -> Duration {
        Duration::from_secs(5)
    }

    /// How long nothing of what was sent on a connection has to come through for it to be given up (RFC 5482). The system would try
    /// for a quarter of an hour.
    pub(super) fn unheard() -> Duration {
        Duration::from_secs(10)
    }

    pub(super) fn next_address(&self) -> Duration {
        Duration::from_millis(self.next_address_ms)
    }

    /// Whether origins can be asked with these options, but for the certificate authorities of the system.
    ///
    /// # Errors
    /// Which key is wrong.
    pub fn check(&self) -> Result<(), BadOptions> {
        self.proxy()?;
        self.headers()?;
        let times = [
            ("connect_timeout_s", self.connect_timeout_s, 1..=LONGEST_S),
            ("first_byte_timeout_s", self.first_byte_timeout_s, 1..=LONGEST_S),
            ("idle_timeout_s", self.idle_timeout_s, 1..=LONGEST_S),
            ("keep_alive_s", self.keep_alive_s, 0..=LONGEST_S),
            ("next_address_ms", self.next_address_ms, 0..=LONGEST_S * 1_000),
        ];
        let wrong = times.into_iter().find(|(_, value, range)| !range.contains(value));
        wrong.map_or(Ok(()), |(key, _, range)| Err(BadOptions::Time(key, range)))
    }

    /// `host:port` of the proxy, if there is one.
    pub(super) fn proxy(&self) -> Result<Option<String>, BadOptions> {
        if self.proxy.is_empty() {
            return Ok(None);
        }
        let url = Url::parse(&self.proxy).ok().filter(|url| url.scheme() == "http");
        let url = url.ok_or(BadOptions::Proxy)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadOptions::ProxyUser);
        }
        let host = url.host_str().ok_or(BadOptions::Proxy)?;
        Ok(Some(format!("{host}:{}", url.port().unwrap_or(80))))
    }

    /// The extra headers.
    pub(super) fn headers(&self) -> Result<HeaderMap, BadOptions> {
        let mut headers = HeaderMap::new();
        for (line, number) in self.headers.iter().zip(1..) {
            let (name, value) = header_line(line).ok_or(BadOptions::Header(number))?;
            if FRAMING.contains(&name) {
                return Err(BadOptions::Framing(number, name));
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
            assert!(matches!(with(proxy, &[]).proxy(), Err(BadOptions::Proxy)), "{proxy}");
        }
        let headers = with("", &["X-A: 1", "x-a:2"]).headers().unwrap();
        assert_eq!(headers.get_all("x-a").iter().count(), 2);
        for line in ["X-A", ": x", "X A: 1", "X-A: \n"] {
            let refused = with("", &[line]).headers();
            assert!(matches!(refused, Err(BadOptions::Header(1))) || line == "X-A: \n", "{line}");
        }
        for line in ["Host: x", "content-length: 5", "Transfer-Encoding: chunked"] {
            assert!(matches!(with("", &[line]).headers(), Err(BadOptions::Framing(1, _))), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_repeats_no_secret() {
        for (proxy, header) in [
            ("http://s1:s2@p.example:3128", ""),
            ("s1:s2@p.example", ""),
            ("", "Authorization s1"),
            ("", "Host: s1"),
        ] {
            let headers = if header.is_empty() { Vec::new() } else { vec![header.to_owned()] };
            let options = Options { proxy: proxy.into(), headers, ..Options::default() };
            let error = options.check().unwrap_err();
            assert!(!error.to_string().contains("s1"), "{error}");
            assert_eq!(error.key(), if header.is_empty() { "proxy" } else { "headers" });
        }
    }

    #[test]
    fn times_are_such_that_something_can_happen() {
        assert!(Options::default().check().is_ok());
        assert!(Options { keep_alive_s: 0, next_address_ms: 0, ..Options::default() }.check().is_ok());
        for options in [
            Options { connect_timeout_s: 0, ..Options::default() },
            Options { first_byte_timeout_s: 0, ..Options::default() },
            Options { idle_timeout_s: 0, ..Options::default() },
            Options { idle_timeout_s: u64::MAX, ..Options::default() },
            Options { keep_alive_s: u64::MAX, ..Options::default() },
            Options { next_address_ms: u64::MAX, ..Options::default() },
        ] {
            assert!(matches!(options.check(), Err(BadOptions::Time(..))), "{options:?}");
        }
    }
}
