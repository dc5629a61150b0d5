//! How a player addresses us, for manifests that have to name whole URLs of ours.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use http::{HeaderMap, header};

use crate::manifest::rewrite::Use;

/// What URLs of ours begin with, up to the path.
///
/// Programs put the URLs of an MPD together in ways of their own, and only what is absolute survives all of them. Before us
/// there may be a proxy that speaks TLS, and says so. A page has rules for URLs and needs no more than a path: what it knows
/// us by it knows best, also where no proxy says anything. What a script asks for by itself would be looked for at the page's
/// own host.
#[derive(Clone, Debug)]
pub struct Ours {
    whole: String,
    of_page: bool,
}

impl Ours {
    /// As whoever asks with these headers has to read them.
    #[must_use]
    pub fn of(asked: &HeaderMap) -> Self {
        let host = asked.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let scheme = if speaks_tls(asked) { "https" } else { "http" };
        Self { whole: format!("{scheme}://{host}"), of_page: is_of_page(asked) }
    }

    /// The beginning of what is used so.
    #[must_use]
    pub fn begin(&self, usage: Use) -> &str {
        if self.of_page && usage != Use::Aside { "" } else { &self.whole }
    }
}

/// Whether a script in a browser asks. One that loads from its own site names no origin, and browsers leave the other field out
/// where they take a site for insecure.
fn is_of_page(asked: &HeaderMap) -> bool {
    asked.contains_key(header::ORIGIN) || asked.get("sec-fetch-mode").is_some_and(|mode| mode == "cors")
}

/// Whether the proxy that the player speaks to says that this is over TLS (RFC 7239 §5.4, and the field before it).
fn speaks_tls(asked: &HeaderMap) -> bool {
    let first = |name: &str| asked.get(name)?.to_str().ok()?.split(',').next().map(str::trim);
    let proto = first("x-forwarded-proto").or_else(|| {
        let pairs = first("forwarded")?.split(';').filter_map(|pair| pair.trim().split_once('='));
        let found = pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("proto"));
        found.map(|(_, proto)| proto.trim_matches('"'))
    });
    proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_that_of_whoever_the_player_speaks_to() {
        for (fields, begins) in [
            (&[][..], "http://box.example"),
            (&[("x-forwarded-proto", "https")], "https://box.example"),
            (&[("x-forwarded-proto", "HTTPS, http")], "https://box.example"),
            (&[("x-forwarded-proto", "http, https")], "http://box.example"),
            (&[("forwarded", "for=1.2.3.4;Proto=\"https\", for=5.6.7.8")], "https://box.example"),
            (&[("forwarded", "for=1.2.3.4;proto=http;x")], "http://box.example"),
            (&[("x-forwarded-proto", "http"), ("forwarded", "proto=https")], "http://box.example"),
            (&[("origin", "https://box.example")], ""),
            (&[("origin", "null"), ("x-forwarded-proto", "https")], ""),
            (&[("sec-fetch-mode", "cors")], ""),
            // A program that would be taken for a browser.
            (&[("sec-fetch-mode", "navigate")], "http://box.example"),
        ] {
            let fields = fields.iter().chain(&[("host", "box.example")]);
            let asked = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            let ours = Ours::of(&asked.collect());
            assert_eq!(ours.begin(Use::Other), begins);
            assert!(
                ours.begin(Use::Aside).ends_with("://box.example")
                    && ours.begin(Use::Aside).starts_with(begins)
            );
        }
    }
}
