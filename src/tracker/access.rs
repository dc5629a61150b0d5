//! Who may see a publisher's numbers: this machine, networks that are named for it, and whoever has the token.
//!
//! Whoever is behind a proxy is shown by the token alone, since the address is the proxy's. Requests of this machine are
//! only answered under a name that is its own for certain: a page of another site, in a browser here, can give its own
//! name our address.

use std::net::IpAddr;

use http::{HeaderMap, Uri, header};

use super::networks::Network;

/// Fields by which proxies say that they are some.
const PROXIED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Who may.
#[derive(Debug)]
pub struct Access {
    from: Vec<Network>,
    token: Option<blake3::Hash>,
}

impl Access {
    /// These networks besides this machine, and whoever says the token unless it is empty.
    #[must_use]
    pub fn new(from: &[Network], token: &str) -> Self {
        let token = (!token.is_empty()).then(|| blake3::hash(token.as_bytes()));
        Self { from: from.to_vec(), token }
    }

    /// Whether a request may see them.
    #[must_use]
    pub fn allows(&self, from: IpAddr, uri: &Uri, headers: &HeaderMap) -> bool {
        if self
            .token
            .is_some_and(|token| said(uri, headers).any(|text| blake3::hash(text.as_bytes()) == token))
        {
            return true;
        }
        if PROXIED.iter().any(|field| headers.contains_key(*field)) {
            return false;
        }
        let from = from.to_canonical();
        (from.is_loopback() && by_own_name(headers)) || self.from.iter().any(|network| network.contains(from))
    }
}

/// Tokens that a request says: as a bearer's (RFC 6750), or in the address, for browsers. Hashes are compared, and that
/// takes as long for a wrong one.
fn said(uri: &Uri, headers: &HeaderMap) -> impl Iterator<Item = String> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ")).map(|token| token.trim().to_owned());
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let query = query.filter(|(name, _)| name == "token").map(|(_, value)| value.into_owned());
    bearer.into_iter().chain(query.collect::<Vec<_>>())
}

fn by_own_name(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let host = host.to_str().unwrap_or_default();
    let bare =
        host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(bare, _)| bare);
    let bare = bare.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(access: &Access, from: &str, path: &str, fields: &[(&'static str, &str)]) -> bool {
        let headers =
            fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        access.allows(from.parse().unwrap(), &path.parse().unwrap(), &headers)
    }

    #[test]
    fn this_machine_sees_them_and_nobody_else() {
        let access = Access::new(&[], "");
        for (from, host, may) in [
            ("127.0.0.1", "127.0.0.1:7224", true),
            ("::1", "[::1]:7224", true),
            ("::ffff:127.0.0.1", "localhost:7224", true),
            ("127.0.0.1", "evil.example", false),
            ("127.0.0.1", "evil.example:7224", false),
            ("192.0.2.1", "192.0.2.9:7224", false),
        ] {
            assert_eq!(asks(&access, from, "/stats", &[("host", host)]), may, "{from} {host}");
        }
        for field in PROXIED {
            let fields = [("host", "127.0.0.1"), (field, "192.0.2.1")];
            assert!(!asks(&access, "127.0.0.1", "/stats", &fields), "{field}");
        }
        let fields = [("host", "192.0.2.9"), ("authorization", "Bearer ")];
        assert!(!asks(&access, "192.0.2.1", "/stats?token=", &fields), "no token is not the empty one");
    }

    #[test]
    fn networks_and_the_token_are_let_in() {
        let access = Access::new(&["10.0.0.0/8".parse().unwrap()], "se cret");
        assert!(asks(&access, "10.9.9.9", "/", &[("host", "tracker.example")]));
        assert!(!asks(&access, "10.9.9.9", "/", &[("x-forwarded-for", "192.0.2.1")]));
        let (from, host) = ("192.0.2.1", ("host", "tracker.example"));
        assert!(asks(&access, from, "/?token=se+cret", &[host, ("x-forwarded-for", "192.0.2.1")]));
        assert!(asks(&access, from, "/", &[host, ("authorization", "Bearer se cret")]));
        assert!(!asks(&access, from, "/?token=secret", &[host]));
        assert!(!asks(&access, from, "/", &[host, ("authorization", "Bearer x")]));
    }
}
