//! The same playlist with other URIs: nothing else changes, not a byte.
//!
//! What isn't understood (unknown tags, comments in any encoding, odd line endings) is copied; what is not http or
//! https (`data:`, `skd:`), or holds a variable of EXT-X-DEFINE that is not known here, stays as it is. Such a relative
//! URI still works: the player fills in the variable and resolves it against the rewritten playlist's own address.

use std::ops::Range;

use bytes::Bytes;
use url::Url;

use super::Error;
use super::lines::{Line, Tag, What, attributes, lines, without_bom};
use super::resolve::Resolver;
use super::variables::{Variables, defined};
use crate::model::address::Address;

/// The longest rewritten playlist, in bytes; beyond it the player gets the original. Twice the longest that
/// is read: relative names grow by the address of their folder.
pub const MAX_REWRITTEN: usize = 64 * 1024 * 1024;

/// What a URI in a playlist leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// Another playlist: it is to end in `.m3u8`.
    Playlist,
    /// Media: a segment or part of one. FFmpeg wants a media extension at its end.
    Segment,
    /// A decryption key, only ever from the origin.
    Key,
    /// An initialisation segment (EXT-X-MAP); wants a media extension too.
    Map,
    /// What a player asks for just as it is written, and not by where the manifest is: a clock (UTCTiming), a remote element.
    Aside,
    /// Anything else, such as session data or a steering manifest.
    Other,
}

/// The attributes that hold a URI, and what each leads to.
const URI_ATTRIBUTES: &[(&str, &str, Use)] = &[
    ("#EXT-X-KEY", "URI", Use::Key),
    ("#EXT-X-SESSION-KEY", "URI", Use::Key),
    ("#EXT-X-MAP", "URI", Use::Map),
    ("#EXT-X-MEDIA", "URI", Use::Playlist),
    ("#EXT-X-I-FRAME-STREAM-INF", "URI", Use::Playlist),
    ("#EXT-X-IMAGE-STREAM-INF", "URI", Use::Playlist),
    ("#EXT-X-RENDITION-REPORT", "URI", Use::Playlist),
    ("#EXT-X-PART", "URI", Use::Segment),
    ("#EXT-X-PRELOAD-HINT", "URI", Use::Segment),
    ("#EXT-X-SESSION-DATA", "URI", Use::Other),
    ("#EXT-X-CONTENT-STEERING", "SERVER-URI", Use::Other),
    ("#EXT-X-DATERANGE", "X-ASSET-URI", Use::Playlist),
    ("#EXT-X-DATERANGE", "X-ASSET-LIST", Use::Other),
];

/// Copies the HLS playlist `text`, found at `base` (after redirects), with the URIs that `map` gives.
///
/// `map` is called once for each http or https URI, in order and resolved against `base`; `None` leaves that URI as
/// it is, and so does a text that can't stand in a playlist (with a line break, a quotation mark or a space).
/// Linear in the length of `text`.
///
/// # Errors
/// [`Error::NotHls`] or [`Error::RewrittenTooLong`]: send the original.
pub fn hls(
    base: &Url,
    text: &[u8],
    map: &mut dyn FnMut(&Address, Use) -> Option<String>,
) -> Result<Bytes, Error> {
    hls_importing(base, text, &Variables::default(), map)
}

/// The same for a playlist whose master playlist is known to define `imported`.
///
/// What takes its value from the query of the playlist's address is given that value, where `map` gives that address
/// another form: the player may know the playlist by one without the query, such as a channel's.
///
/// # Errors
/// See [`hls`].
pub fn hls_importing(
    base: &Url,
    text: &[u8],
    imported: &Variables,
    map: &mut dyn FnMut(&Address, Use) -> Option<String>,
) -> Result<Bytes, Error> {
    if !without_bom(text).starts_with(b"#EXTM3U") {
        return Err(Error::NotHls);
    }
    let variables = Variables::of(base, text, imported);
    let resolver = Resolver::new(|reference: &str| variables.resolve(base, reference.as_bytes()));
    let out = Vec::with_capacity(2 * text.len());
    let mut copy = Copy { base, text, resolver, map, copied: 0, out };
    let mut next = None;
    let mut master = false;
    for line in lines(text) {
        match line.what() {
            What::Nothing => {}
            What::Tag(tag) => {
                if tag.is("#EXT-X-STREAM-INF") {
                    (next, master) = (Some(Use::Playlist), true);
                } else if tag.is("#EXTINF") {
                    (next, master) = (Some(Use::Segment), false);
                }
                copy.tag(&tag)?;
            }
            What::Uri => {
                let expected = next.take().unwrap_or(if master { Use::Playlist } else { Use::Segment });
                copy.line(&line, expected)?;
            }
        }
    }
    copy.finish()
}

/// The original up to `copied` is in `out`, with other URIs.
struct Copy<'a, F> {
    base: &'a Url,
    text: &'a [u8],
    resolver: Resolver<F>,
    map: &'a mut dyn FnMut(&Address, Use) -> Option<String>,
    copied: usize,
    out: Vec<u8>,
}

impl<F: FnMut(&str) -> Option<Url>> Copy<'_, F> {
    fn line(&mut self, line: &Line<'_>, expected: Use) -> Result<(), Error> {
        self.uri(line.start, line.text, |url| if names_playlist(url) { Use::Playlist } else { expected })
    }

    fn tag(&mut self, tag: &Tag<'_>) -> Result<(), Error> {
        if tag.is("#EXT-X-DEFINE") {
            return self.define(tag);
        }
        let known = || URI_ATTRIBUTES.iter().filter(|(name, ..)| tag.is(name));
        if known().next().is_none() {
            return Ok(());
        }
        let hints_map = tag.is("#EXT-X-PRELOAD-HINT")
            && attributes(tag).any(|attribute| attribute.is("TYPE") && attribute.value == b"MAP");
        for attribute in attributes(tag).filter(|attribute| attribute.quoted) {
            if let Some(&(.., usage)) = known().find(|(_, name, _)| attribute.is(name)) {
                let usage = if hints_map { Use::Map } else { usage };
                self.uri(attribute.range.start, attribute.value, |_| usage)?;
            }
        }
        Ok(())
    }

    /// Gives what is defined by the query of the playlist's address its value.
    fn define(&mut self, tag: &Tag<'_>) -> Result<(), Error> {
        let Some(query) = attributes(tag).find(|of| of.quoted && of.is("QUERYPARAM")) else { return Ok(()) };
        // One that says more than that is no definition.
        if attributes(tag).any(|of| of.is("NAME") || of.is("VALUE") || of.is("IMPORT")) {
            return Ok(());
        }
        let Some((name, value)) = defined(tag, self.base, &Variables::default()) else { return Ok(()) };
        if (self.map)(&self.base.into(), Use::Playlist).is_none() {
            return Ok(());
        }
        let begins = query.name.as_ptr() as usize - self.text.as_ptr() as usize;
        self.put(begins..query.range.end, format!("NAME=\"{name}\",VALUE=\"{value}").as_bytes())
    }

    /// Looks at the URI `reference`, which begins at `start` and is not copied yet.
    fn uri(&mut self, start: usize, reference: &[u8], usage: impl Fn(&Address) -> Use) -> Result<(), Error> {
        let text = std::str::from_utf8(reference).ok();
        let Some(url) = text.and_then(|text| self.resolver.resolve(text)) else { return Ok(()) };
        let Some(replacement) = (self.map)(&url, usage(&url)).filter(|text| is_safe(text)) else {
            return Ok(());
        };
        self.put(start..start + reference.len(), replacement.as_bytes())
    }

    /// Writes `replacement` in the place of `range`, which is not copied yet.
    fn put(&mut self, range: Range<usize>, replacement: &[u8]) -> Result<(), Error> {
        let before = &self.text[self.copied..range.start];
        if self.out.len() + before.len() + replacement.len() > MAX_REWRITTEN {
            return Err(Error::RewrittenTooLong);
        }
        self.out.extend_from_slice(before);
        self.out.extend_from_slice(replacement);
        self.copied = range.end;
        Ok(())
    }

    fn finish(mut self) -> Result<Bytes, Error> {
        let rest = &self.text[self.copied..];
        if self.out.len() + rest.len() > MAX_REWRITTEN {
            return Err(Error::RewrittenTooLong);
        }
        self.out.extend_from_slice(rest);
        Ok(Bytes::from(self.out))
    }
}

/// Channel lists (M3U) name playlists where a media playlist names its segments.
fn names_playlist(url: &Address) -> bool {
    const ENDING: &[u8] = b".m3u8";
    let place = url.place().as_bytes();
    place.len() > ENDING.len() && place[place.len() - ENDING.len()..].eq_ignore_ascii_case(ENDING)
}

/// Whether `text` can stand for a URI on a line of its own and between quotation marks.
fn is_safe(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('#')
        && !text.bytes().any(|byte| byte == b'"' || byte == b' ' || byte.is_ascii_control())
}
