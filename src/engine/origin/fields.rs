//! What of a request's fields is meant for whom.

use http::{HeaderMap, HeaderName, header};

/// Fields that speak of a copy which the player has of what it asks for: of that, and nothing else.
const OF_A_COPY: [HeaderName; 5] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
];

/// Fields that show who asks, to the host that was asked.
const OF_ONE_HOST: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

/// Those that can be sent for anything that the same host has.
#[must_use]
pub fn for_any_file(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in &OF_A_COPY {
        kept.remove(name);
    }
    kept
}

/// Those that can be sent to any host, for anything: where it redirects, or where it names what it lists.
#[must_use]
pub fn for_any_host(headers: &HeaderMap) -> HeaderMap {
    let mut kept = for_any_file(headers);
    for name in &OF_ONE_HOST {
        kept.remove(name);
    }
    kept
}
