//! The lines of a playlist as ranges of its bytes, so that what is found can also be replaced in place.
//!
//! Nothing here copies, and nothing fails: bytes that make no sense are skipped. Each byte is looked at once by
//! [`lines`] and at most once more by [`attributes`].

use std::ops::Range;

use url::Url;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// `text` without a UTF-8 byte order mark at its start.
pub(super) fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(BOM).unwrap_or(text)
}

/// One line without its ending and the white space around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// From 1.
    pub number: usize,
    /// Where `text` begins in the playlist.
    pub start: usize,
    pub text: &'a [u8],
}

/// What a line is.
#[derive(Clone, Copy, Debug)]
pub(super) enum What<'a> {
    /// Nothing, or a comment.
    Nothing,
    /// `#EXT…`, with what follows the colon.
    Tag(Tag<'a>),
    /// Anything else.
    Uri,
}

/// A tag and its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag<'a> {
    name: &'a [u8],
    /// Where `value` begins in the playlist.
    pub start: usize,
    pub value: &'a [u8],
}

impl<'a> Line<'a> {
    pub fn what(&self) -> What<'a> {
        if !self.text.starts_with(b"#") {
            return if self.text.is_empty() { What::Nothing } else { What::Uri };
        }
        if !self.text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"#EXT")) {
            return What::Nothing;
        }
        let name = self.text.iter().position(|&byte| byte == b':').unwrap_or(self.text.len());
        let value = (name + 1).min(self.text.len());
        let start = self.start + value;
        What::Tag(Tag { name: self.text[..name].trim_ascii_end(), start, value: &self.text[value..] })
    }
}

impl Tag<'_> {
    /// Whether it is the tag `name` (with its `#`), in whatever case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The lines of `text`, which end with LF, CR LF or (as ffmpeg and hls.js have it) CR alone.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut at = text.len() - without_bom(text).len();
    let mut number = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let ending = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        let line = &rest[..end];
        let start = at + (line.len() - line.trim_ascii_start().len());
        at += end + ending;
        number += 1;
        Some(Line { number, start, text: line.trim_ascii() })
    })
}

/// One `NAME=value` of an attribute list (RFC 8216 §4.2).
#[derive(Clone, Debug)]
pub(super) struct Attribute<'a> {
    pub name: &'a [u8],
    /// Without the quotes.
    pub value: &'a [u8],
    /// Where `value` is in the playlist.
    pub range: Range<usize>,
    pub quoted: bool,
}

impl Attribute<'_> {
    /// Whether it is the attribute `name`, in whatever case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The attributes of a tag; ends at the first that is not one, such as a quotation mark without its partner.
pub(super) fn attributes<'a>(tag: &Tag<'a>) -> impl Iterator<Item = Attribute<'a>> {
    let (list, start) = (tag.value, tag.start);
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = list.get(at..)?;
        let equals = rest.iter().position(|&byte| byte == b'=')?;
        // A name without a value in front of this one ends at its comma.
        let name = rest[..equals].rsplit(|&byte| byte == b',').next()?.trim_ascii();
        let from = at + equals + 1 + leading_space(&rest[equals + 1..]);
        let quoted = list[from..].starts_with(b"\"");
        let from = from + usize::from(quoted);
        let closing = if quoted { b'"' } else { b',' };
        let to = match list[from..].iter().position(|&byte| byte == closing) {
            Some(length) => from + length,
            None if quoted => return None,
            None => list.len(),
        };
        // Past the value and, where there is one, the comma after it.
        let next = list[to..].iter().position(|&byte| byte == b',').map_or(list.len(), |comma| to + comma);
        at = next + 1;
        let value = if quoted { &list[from..to] } else { list[from..to].trim_ascii_end() };
        Some(Attribute { name, value, range: start + from..start + from + value.len(), quoted })
    })
}

fn leading_space(bytes: &[u8]) -> usize {
    bytes.len() - bytes.trim_ascii_start().len()
}

/// The http or https URL that `reference` means on a page at `base`.
///
/// `None` for everything that is to be left alone: other schemes (`data:`, `skd:`), what is empty or not UTF-8,
/// and what still holds a variable (`{$name}`, EXT-X-DEFINE), which only the player can fill in.
pub(super) fn resolve(base: &Url, reference: &[u8]) -> Option<Url> {
    let reference = std::str::from_utf8(reference).ok()?;
    // Control characters at either end mean nothing in a URL.
    if reference.bytes().all(|byte| byte <= b' ') || reference.contains("{$") {
        return None;
    }
    let url = base.join(reference).ok()?;
    // A host of dots exists nowhere, and as part of a path it would be taken for a step upwards.
    let host = url.host_str()?.bytes().any(|byte| byte != b'.');
    // A tab in the middle means nothing in a URL either: without it there may be a variable after all.
    let plain = host && !url.as_str().contains("{$");
    (plain && matches!(url.scheme(), "http" | "https")).then_some(url)
}
