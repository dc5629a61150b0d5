//! Playlists that come compressed although nobody asked for it: only their plain text can be rewritten and listed.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, header};

/// Whether a body with these headers is as it is, with no coding around it.
pub fn is_plain(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_none_or(|coding| coding == "identity")
}

/// Whether gzip, and nothing else, is around it (RFC 9110 §8.4.1.3).
pub fn is_gzip(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let gzip = |value: &http::HeaderValue| {
        [&b"gzip"[..], b"x-gzip"].iter().any(|name| value.as_bytes().eq_ignore_ascii_case(name))
    };
    codings.next().is_some_and(gzip) && codings.next().is_none()
}

/// What is in it; `None` where it is broken or has more than `most` bytes.
pub fn gunzip(coded: &[u8], most: usize) -> Option<Bytes> {
    let mut text = Vec::new();
    // One byte more tells a text that is too long; no more than that is ever unpacked.
    MultiGzDecoder::new(coded).take(most as u64 + 1).read_to_end(&mut text).ok()?;
    (text.len() <= most).then(|| Bytes::from(text))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        coder.write_all(text).unwrap();
        coder.finish().unwrap()
    }

    #[test]
    fn no_more_is_unpacked_than_may_be_read() {
        let text = vec![b'#'; 100_000];
        let coded = gzip(&text);
        assert_eq!(gunzip(&coded, 100_000).as_deref(), Some(&text[..]));
        assert_eq!(gunzip(&coded, 99_999), None);
        assert_eq!(gunzip(&coded[..coded.len() - 9], 100_000), None, "broken off");
        assert_eq!(gunzip(b"#EXTM3U\n", 100), None);
        assert_eq!(gunzip(&[gzip(b"a"), gzip(b"b")].concat(), 2).as_deref(), Some(&b"ab"[..]));
    }

    #[test]
    fn only_gzip_alone_is_taken_off() {
        let fields = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, http::HeaderValue::from_static(value));
            }
            headers
        };
        for (values, plain, gzip) in [
            (&[][..], true, false),
            (&["identity"], true, false),
            (&["gzip"], false, true),
            (&["X-GZip"], false, true),
            (&["br"], false, false),
            (&["gzip, br"], false, false),
            (&["gzip", "br"], false, false),
        ] {
            assert_eq!((is_plain(&fields(values)), is_gzip(&fields(values))), (plain, gzip), "{values:?}");
        }
    }
}
