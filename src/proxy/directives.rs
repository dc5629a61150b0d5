//! Delivery directives: what a player of low-latency HLS asks the origin of a playlist for, in its query (RFC 8216bis
//! §6.2.5). With any of them it is the same playlist, and only the origin can answer them.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::borrow::Cow;

use url::Url;

use super::query;

/// What all of their names begin with.
const NAMES: &str = "_HLS_";

/// Whether there are any in this URL.
#[must_use]
pub fn any(url: &Url) -> bool {
    query::has(url, is_one)
}

/// Whether one makes the origin wait for what is to come.
#[must_use]
pub fn is_blocking(url: &Url) -> bool {
    url.query_pairs().any(|(name, _)| matches!(&*name, "_HLS_msn" | "_HLS_part"))
}

/// The playlist's URL, which is the same for all that a player asks of it.
#[must_use]
pub fn without(url: &Url) -> Cow<'_, str> {
    match query::without(url, is_one) {
        Cow::Borrowed(same) => Cow::Borrowed(same.as_str()),
        Cow::Owned(plain) => Cow::Owned(plain.into()),
    }
}

/// `url` with those of another's query, where it has any; the rest of that query is dropped.
#[must_use]
pub fn added(url: &Url, query: &str) -> Url {
    let mut all: Vec<&str> = query.split('&').filter(|pair| is_one(pair)).collect();
    let mut url = url.clone();
    if !all.is_empty() {
        let before = url.query().unwrap_or_default().to_owned();
        all.splice(..0, (!before.is_empty()).then_some(&before[..]));
        url.set_query(Some(&all.join("&")));
    }
    url
}

fn is_one(pair: &str) -> bool {
    pair.starts_with(NAMES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_told_from_the_rest_of_a_query() {
        for (text, plain) in [
            ("http://o.example/a.m3u8", "http://o.example/a.m3u8"),
            ("http://o.example/a.m3u8?x=%20_HLS_&&y", "http://o.example/a.m3u8?x=%20_HLS_&&y"),
            ("http://o.example/a.m3u8?_HLS_msn=8", "http://o.example/a.m3u8"),
            ("http://o.example/a.m3u8?x=1&_HLS_msn=8&y=%26&_HLS_part=2", "http://o.example/a.m3u8?x=1&y=%26"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((&*without(&url), any(&url)), (plain, text != plain));
            assert_eq!(is_blocking(&url), text != plain);
        }
        let skip = Url::parse("http://o.example/a.m3u8?_HLS_skip=YES").unwrap();
        assert!(any(&skip) && !is_blocking(&skip));
    }

    #[test]
    fn they_are_added_behind_what_a_channels_url_has() {
        for (url, query, both) in [
            ("http://o.example/a.m3u8", "", "http://o.example/a.m3u8"),
            ("http://o.example/a.m3u8?t=1", "x=2", "http://o.example/a.m3u8?t=1"),
            ("http://o.example/a.m3u8", "_HLS_msn=8&x=2", "http://o.example/a.m3u8?_HLS_msn=8"),
            (
                "http://o.example/a.m3u8?t=1",
                "_HLS_msn=8&_HLS_part=2",
                "http://o.example/a.m3u8?t=1&_HLS_msn=8&_HLS_part=2",
            ),
        ] {
            assert_eq!(added(&Url::parse(url).unwrap(), query).as_str(), both);
        }
    }
}
