//! Bytes of a manifest to what is in them, and back with other URIs.
//!
//! Reading ([`hls::parse`]) and rewriting ([`rewrite::hls`]) do not depend on each other: a manifest that is too
//! large or too odd to be listed is still rewritten, so it plays, and merely isn't shared. [`fitness`], [`proposal`] and
//! [`remarks`] are what people are told of a stream; delivery never asks them.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use serde::{Deserialize, Serialize};
use url::Url;

mod canonical;
pub mod choice;
pub mod dash;
pub mod fitness;
pub mod hls;
pub mod identity;
mod lines;
pub mod proposal;
pub mod remarks;
mod resolve;
pub mod rewrite;
pub mod variables;

#[cfg(test)]
mod tests;

/// How much of a manifest is looked into; what has more is passed on but not shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The longest manifest, in bytes. More lets longer recordings be shared and costs about twice as much memory
    /// while one is read. Enough for [`segments`](Self::segments) with names of 300 bytes.
    pub bytes: usize,
    /// The longest part of a file up to the end of its segment index, in bytes; it is kept while the file is played.
    pub index: usize,
    /// The most segments of a rendition, and the most keys and init segments each. Each costs some 500 bytes of
    /// memory for as long as the rendition is watched. All renditions that an MPD spells out may have ten times as many.
    pub segments: usize,
    /// The longest line, in bytes.
    pub line: usize,
    /// The most variants, alternative renditions and I-frame playlists of a master playlist together, and Representations of a
    /// Period; those of all Periods may be ten times as many.
    pub renditions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let (bytes, index) = (32 * 1024 * 1024, 4 * 1024 * 1024);
        Self { bytes, index, segments: 100_000, line: 16 * 1024, renditions: 200 }
    }
}

/// Why nothing is known of a manifest. Only a bomb ([`Error::is_bomb`]) is a reason to keep it from the player.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No `#EXTM3U` at its beginning (RFC 8216 §4.3.1.1).
    #[error("not an HLS playlist: it does not begin with #EXTM3U")]
    NotHls,
    /// Neither a tag of a media playlist nor one of a master playlist.
    #[error("neither a master nor a media playlist: no tag says which")]
    NeitherKind,
    /// Longer than [`Limits::bytes`].
    #[error("playlist of {bytes} bytes, at most {most} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// A line longer than [`Limits::line`].
    #[error("line {line} has {bytes} bytes, at most {most} are read")]
    LongLine {
        /// Its number, from 1.
        line: usize,
        /// Its length.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// More of something than [`Limits`] allows.
    #[error("line {line}: more than {most} {what}")]
    TooMany {
        /// The line that is one too many, from 1.
        line: usize,
        /// Of what.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// A number without which segments can't be told apart.
    #[error("line {line}: {tag} is not followed by a number that fits 64 bits")]
    Number {
        /// The line, from 1.
        line: usize,
        /// The tag.
        tag: &'static str,
    },
    /// The parser made something else of the playlist than we did; a defect of ours, and nothing is listed.
    #[error("playlist could not be parsed")]
    Unparsed,
    /// No well-formed XML up to this line, or not in UTF-8.
    #[error("line {line}: not well-formed XML in UTF-8")]
    NotXml {
        /// The line, from 1.
        line: usize,
    },
    /// XML that defines entities (XML 1.0 §4.2), which may stand for more and more of each other.
    #[error("line {line}: entities are declared, and no manifest needs any")]
    Entities {
        /// The line, from 1.
        line: usize,
    },
    /// Elements within elements, or attributes of one, so many that readers are overwhelmed; no MPD needs them.
    #[error("line {line}: more than {most} {what}")]
    Overwhelming {
        /// The line that is one too many, from 1.
        line: usize,
        /// Of what.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// XML with a document type (XML 1.0 §2.8); no MPD needs it.
    #[error("line {line}: a document type declaration is not read")]
    DocumentType {
        /// The line, from 1.
        line: usize,
    },
    /// XML, but its root is no MPD.
    #[error("not a DASH manifest: the root element is not MPD")]
    NotMpd,
    /// An MPD that breaks its schema.
    #[error("the MPD could not be read: {why}")]
    Mpd {
        /// What the parser says.
        why: String,
    },
    /// With the new URIs the playlist would be longer than [`rewrite::MAX_REWRITTEN`].
    #[error("playlist would have more than {} bytes when rewritten", rewrite::MAX_REWRITTEN)]
    RewrittenTooLong,
}

impl Error {
    /// Whether it is made to harm whoever reads it. A player is a reader, too.
    #[must_use]
    pub fn is_bomb(&self) -> bool {
        matches!(self, Self::Entities { .. } | Self::Overwhelming { .. })
    }
}

/// What kind of manifest something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An HLS playlist, master or media.
    Hls,
    /// A DASH MPD.
    Dash,
}

/// What tells an MPD that neither name nor type tells, in bytes: what may stand in front of its root.
pub const XML_SIGNATURE: usize = 1024;

/// Whether a body that begins with `first_bytes` is a manifest.
///
/// HLS is recognised by `#EXTM3U` alone, at the very start or after a UTF-8 BOM, since origins send every content
/// type with it; give at least ten bytes. DASH is XML that is named so, by content type or by `.mpd`, or whose root is MPD, as
/// far as that can be seen: give [`XML_SIGNATURE`] of what begins with `<`.
#[must_use]
pub fn is_manifest(content_type: Option<&str>, url: &Url, first_bytes: &[u8]) -> Option<Format> {
    let text = lines::without_bom(first_bytes);
    if text.starts_with(b"#EXTM3U") {
        return Some(Format::Hls);
    }
    let essence = content_type.and_then(|of| of.split(';').next()).unwrap_or_default().trim();
    let named = essence.eq_ignore_ascii_case("application/dash+xml")
        || url.path().to_ascii_lowercase().ends_with(".mpd");
    let text = text.trim_ascii_start();
    let beginning = text.get(..XML_SIGNATURE).unwrap_or(text);
    (text.starts_with(b"<") && (named || begins_an_mpd(beginning))).then_some(Format::Dash)
}

/// Whether the first element is MPD, in whatever namespace.
fn begins_an_mpd(text: &[u8]) -> bool {
    let is_root = |at: usize| {
        let ends = text.get(at + 3).is_some_and(|next| next.is_ascii_whitespace() || *next == b'>');
        let prefix = text[..at].rsplit(|byte| *byte == b'<').next().unwrap_or_default();
        let name = prefix.strip_suffix(b":").unwrap_or(prefix);
        ends && name.iter().all(u8::is_ascii_alphanumeric) && prefix.len() < at
    };
    memchr::memmem::find_iter(text, b"MPD").any(is_root)
}
