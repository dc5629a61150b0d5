//! Range to byte span (RFC 9110 §14).
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::ops::Range;

use http::{HeaderMap, header};

use crate::engine::{Span, fetch};

/// What a request's Range comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// These bytes.
    Span(Span),
    /// Something that only the origin can answer: the last bytes of a file, several ranges, a condition.
    Origin,
}

/// Conditions (RFC 9110 §13.1): whether they hold is known to the origin alone.
const CONDITIONS: [header::HeaderName; 5] = [
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// The bytes that a request asks for. A Range that is not one is ignored, as the RFC wants (§14.2).
#[must_use]
pub fn wanted(headers: &HeaderMap) -> Wanted {
    if CONDITIONS.iter().any(|name| headers.contains_key(name)) {
        return Wanted::Origin;
    }
    let mut values = headers.get_all(header::RANGE).iter();
    let Some(value) = values.next() else { return Wanted::Span(Span::Whole) };
    if values.next().is_some() {
        return Wanted::Origin;
    }
    let Some(set) = value.to_str().ok().and_then(bytes_unit) else { return Wanted::Span(Span::Whole) };
    if set.contains(',') {
        return Wanted::Origin;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Wanted::Span(Span::Whole) };
    if first.is_empty() {
        return if number(last).is_some() { Wanted::Origin } else { Wanted::Span(Span::Whole) };
    }
    let (first, last) = match (number(first), last.is_empty(), number(last)) {
        (Some(first), true, _) => (first, None),
        (Some(first), false, Some(last)) if first <= last => (first, Some(last.saturating_add(1))),
        _ => return Wanted::Span(Span::Whole),
    };
    Wanted::Span(Span::Part { from: first, to: last })
}

/// The bytes that an answer carries and the file's length, where told (RFC 9110 §14.4).
#[must_use]
pub fn content_range(headers: &HeaderMap) -> Option<(Range<u64>, Option<u64>)> {
    fetch::content_range(headers.get(header::CONTENT_RANGE)?.to_str().ok()?)
}

fn bytes_unit(value: &str) -> Option<&str> {
    let (unit, set) = value.split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then_some(set)
}

/// Digits only: a sign or a space makes it no number.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(value: &str) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, value.parse().unwrap());
        wanted(&headers)
    }

    #[test]
    fn ranges_are_read_or_ignored() {
        let part = |from, to| Wanted::Span(Span::Part { from, to });
        let whole = Wanted::Span(Span::Whole);
        for (value, expected) in [
            ("bytes=0-", part(0, None)),
            ("bytes=0-0", part(0, Some(1))),
            ("Bytes=5-9", part(5, Some(10))),
            ("bytes= 5-9", part(5, Some(10))),
            ("bytes=9-5", whole),
            ("bytes=-5", Wanted::Origin),
            ("bytes=0-1,5-6", Wanted::Origin),
            ("bytes=+1-2", whole),
            ("bytes=a-b", whole),
            ("bytes=-", whole),
            ("items=0-1", whole),
            ("bytes", whole),
            ("bytes=99999999999999999999-", part(u64::MAX, None)),
        ] {
            assert_eq!(of(value), expected, "{value}");
        }
        assert_eq!(wanted(&HeaderMap::new()), whole);
        for condition in CONDITIONS {
            let mut headers = HeaderMap::new();
            headers.insert(condition, header::HeaderValue::from_static("x"));
            assert_eq!(wanted(&headers), Wanted::Origin);
        }
    }

    /// RFC 9110 §14.1.2 as slowly and plainly as it can be written: the bytes of a file of `length` that are asked for.
    fn model(value: &str, length: u64) -> Option<Vec<u64>> {
        let set = value.strip_prefix("bytes=")?;
        let (first, last) = set.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if first.is_empty() || !digits(first) || !digits(last) || last.contains('-') {
            return None;
        }
        let first: u64 = first.parse().ok()?;
        let last: u64 = if last.is_empty() { u64::MAX } else { last.parse().ok()? };
        (first <= last).then(|| (0..length).filter(|&at| at >= first && at <= last).collect())
    }

    proptest! {
        #[test]
        fn a_valid_range_is_read_exactly(from in 0u64..1 << 40, length in 1u64..1 << 30) {
            let expected = Wanted::Span(Span::Part { from, to: Some(from + length) });
            prop_assert_eq!(of(&format!("bytes={from}-{}", from + length - 1)), expected);
        }

        #[test]
        fn the_same_bytes_are_wanted_as_in_the_model(value in "(bytes=)?[0-9]{0,2}-?[0-9]{0,2}", length in 0u64..50) {
            let bytes = match of(&value) {
                Wanted::Span(Span::Part { from, to }) => {
                    Some((0..length).filter(|&at| at >= from && to.is_none_or(|to| at < to)).collect::<Vec<_>>())
                }
                Wanted::Span(Span::Whole) | Wanted::Origin => None,
            };
            prop_assert_eq!(bytes, model(&value, length));
        }

        #[test]
        fn anything_else_never_panics(value in "[ -~]{0,40}") {
            of(&value);
        }
    }
}
