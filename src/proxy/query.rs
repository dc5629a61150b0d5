//! The pairs of a query, as they are written.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::borrow::Cow;

use url::Url;

/// Whether a pair of the query is such.
#[must_use]
pub fn has(url: &Url, such: fn(&str) -> bool) -> bool {
    url.query().is_some_and(|query| query.split('&').any(such))
}

/// The URL without such pairs; the others stay as they are written.
#[must_use]
pub fn without(url: &Url, such: fn(&str) -> bool) -> Cow<'_, Url> {
    if !has(url, such) {
        return Cow::Borrowed(url);
    }
    let pairs = url.query().unwrap_or_default().split('&');
    let others: Vec<&str> = pairs.filter(|pair| !such(pair)).collect();
    let mut plain = url.clone();
    plain.set_query((!others.is_empty()).then(|| others.join("&")).as_deref());
    Cow::Owned(plain)
}
