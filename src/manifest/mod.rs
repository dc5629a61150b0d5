//! Bytes of a manifest to what is in them, and back with other URIs.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

pub mod hls;
pub mod identity;
pub mod rewrite;

/// What a manifest may cost us. It stands before the parser, which needs up to 1,000 bytes of memory a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text.
    pub bytes: usize,
    /// Segments of a media playlist.
    pub segments: usize,
    /// Bytes of one line.
    pub line: usize,
    /// Variants and renditions of a master playlist.
    pub renditions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 4 << 20, segments: 20_000, line: 16 << 10, renditions: 200 }
    }
}

/// Why a manifest is not understood. It may still be passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a playlist at all.
    #[error("it does not begin with #EXTM3U")]
    NotAPlaylist,
    /// More than the limit of something.
    #[error("it has {found} {what}, {limit} are allowed")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much was found (counting stops there).
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The parser gives up.
    #[error("it is not a valid playlist: {0}")]
    Invalid(String),
}

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Whether these are the first bytes of an HLS playlist (RFC 8216 §4.3.1.1), a byte order mark before them forgiven.
#[must_use]
pub fn is_playlist(first_bytes: &[u8]) -> bool {
    let text = first_bytes.strip_prefix(BOM).unwrap_or(first_bytes);
    let text = text.trim_ascii_start();
    text.len() >= 7 && text[..7].eq_ignore_ascii_case(b"#EXTM3U")
}
