//! The caps that stand before the parser, the plain copy of a playlist that it is given, and the segments.
//!
//! m3u8-rs needs up to 1,000 bytes a segment, takes a title with a comma or a fractional target duration for
//! another segment, stops without a word at bytes that aren't UTF-8, keeps only the last of several keys, and
//! searches the whole rest of the text for the `=` of an attribute without a value. So it is only ever shown the
//! tags that matter here, each in its plainest form; segments, of which there may be very many, are read here, and
//! keys and init segments are collected on the way.

use std::fmt::{Arguments, Write};
use std::time::Duration;

use super::lines::{Line, Tag, What, attributes, lines, without_bom};
use super::{Error, Limits};

/// The longest duration that is believed, for a segment as for the target; longer ones count as this.
pub(super) const MAX_DURATION: Duration = Duration::from_secs(3600);

/// A playlist in the few forms that m3u8-rs reads right, and its segments.
#[derive(Debug, Default)]
pub(super) struct Canonical<'a> {
    /// All but the segments, for m3u8-rs.
    pub head: String,
    /// The segments, in order.
    pub segments: Vec<Cut<'a>>,
    /// Whether it is a master playlist; `None` until a tag has said so.
    pub master: Option<bool>,
    /// URIs of keys, as written, without immediate repetitions.
    pub keys: Vec<&'a [u8]>,
    /// URIs of init segments, likewise.
    pub maps: Vec<&'a [u8]>,
    /// URIs of parts, and of what the server says will come next, likewise.
    pub parts: Vec<&'a [u8]>,
    /// How many segments a delta update leaves out before the first one (EXT-X-SKIP).
    pub skipped: u64,
    /// The line that numbers the first segment; 0 when none does.
    pub numbered_at: usize,
    durations: usize,
    renditions: usize,
    /// What was said of the segment whose URI comes next; `None`: no EXTINF yet.
    duration: Option<Option<Duration>>,
    range: Option<Option<ByteRange>>,
    gap: bool,
    variant: bool,
}

/// A segment as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut<'a> {
    /// `None` where it is no text.
    pub uri: Option<&'a str>,
    /// To the millisecond, at most [`MAX_DURATION`].
    pub duration: Duration,
    /// The bytes of the file that it is, where it is not the whole file.
    pub range: Option<ByteRange>,
    /// Whether all of it is there and could be read.
    pub listed: bool,
}

/// `length[@offset]` (RFC 8216 §4.3.2.2).
pub(super) type ByteRange = (u64, Option<u64>);

/// Checks `text` against the limits and makes the plain copy.
pub(super) fn canonical<'a>(text: &'a [u8], limits: &Limits) -> Result<Canonical<'a>, Error> {
    if !without_bom(text).starts_with(b"#EXTM3U") {
        return Err(Error::NotHls);
    }
    if text.len() > limits.bytes {
        return Err(Error::TooLong { bytes: text.len(), most: limits.bytes });
    }
    let mut copy = Canonical { head: String::from("#EXTM3U\n"), ..Canonical::default() };
    for line in lines(text) {
        if line.text.len() > limits.line {
            return Err(Error::LongLine { line: line.number, bytes: line.text.len(), most: limits.line });
        }
        match line.what() {
            What::Nothing => {}
            What::Tag(tag) => copy.tag(&line, &tag, limits)?,
            What::Uri => copy.uri(line.text),
        }
    }
    Ok(copy)
}

impl<'a> Canonical<'a> {
    fn tag(&mut self, line: &Line<'_>, tag: &Tag<'a>, limits: &Limits) -> Result<(), Error> {
        let line = line.number;
        if tag.is("#EXTINF") {
            self.master.get_or_insert(false);
            bounded(&mut self.durations, limits.segments, "segments", line)?;
            self.duration = Some(duration(tag.value));
        } else if tag.is("#EXT-X-BYTERANGE") {
            self.range = Some(byte_range(tag.value));
        } else if tag.is("#EXT-X-GAP") {
            self.gap = true;
        } else if tag.is("#EXT-X-KEY") {
            collect(&mut self.keys, tag, limits.segments, "keys", line)?;
        } else if tag.is("#EXT-X-MAP") {
            collect(&mut self.maps, tag, limits.segments, "init segments", line)?;
        } else if tag.is("#EXT-X-PART") || tag.is("#EXT-X-PRELOAD-HINT") {
            collect(&mut self.parts, tag, limits.segments, "parts", line)?;
        } else if tag.is("#EXT-X-TARGETDURATION") {
            self.master.get_or_insert(false);
            let seconds = duration(tag.value).map_or(0, |target| target.as_millis().div_ceil(1000));
            self.push(format_args!("#EXT-X-TARGETDURATION:{seconds}\n"));
        } else if tag.is("#EXT-X-MEDIA-SEQUENCE") {
            self.master.get_or_insert(false);
            let number = number(tag.value).ok_or(Error::Number { line, tag: "#EXT-X-MEDIA-SEQUENCE" })?;
            self.numbered_at = line;
            self.push(format_args!("#EXT-X-MEDIA-SEQUENCE:{number}\n"));
        } else if tag.is("#EXT-X-PLAYLIST-TYPE") {
            self.master.get_or_insert(false);
            if tag.value.trim_ascii().eq_ignore_ascii_case(b"EVENT") {
                self.push(format_args!("#EXT-X-PLAYLIST-TYPE:EVENT\n"));
            }
        } else if tag.is("#EXT-X-ENDLIST") {
            self.master.get_or_insert(false);
            self.push(format_args!("#EXT-X-ENDLIST\n"));
        } else if tag.is("#EXT-X-SKIP") {
            let skipped = value_of(tag, "SKIPPED-SEGMENTS").and_then(number);
            let skipped = skipped.and_then(|more| self.skipped.checked_add(more));
            self.skipped = skipped.ok_or(Error::Number { line, tag: "#EXT-X-SKIP" })?;
        } else {
            self.master_tag(line, tag, limits)?;
        }
        Ok(())
    }

    fn master_tag(&mut self, line: usize, tag: &Tag<'a>, limits: &Limits) -> Result<(), Error> {
        let stream = tag.is("#EXT-X-STREAM-INF");
        let iframes = tag.is("#EXT-X-I-FRAME-STREAM-INF");
        if !stream && !iframes && !tag.is("#EXT-X-MEDIA") {
            return Ok(());
        }
        self.master.get_or_insert(true);
        bounded(&mut self.renditions, limits.renditions, "renditions", line)?;
        let bandwidth = value_of(tag, "BANDWIDTH").and_then(number).unwrap_or(0);
        if stream {
            self.push(format_args!("#EXT-X-STREAM-INF:BANDWIDTH={bandwidth}\n"));
            self.variant = true;
        } else if let Some(uri) = value_of(tag, "URI").and_then(text) {
            if iframes {
                self.push(format_args!("#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={bandwidth},URI=\"{uri}\"\n"));
            } else {
                let kind = value_of(tag, "TYPE").and_then(word).unwrap_or("VIDEO");
                // The group and the name are of no interest and must not be missing; closed captions have no URI.
                if kind != "CLOSED-CAPTIONS" {
                    let name = "GROUP-ID=\"-\",NAME=\"-\"";
                    self.push(format_args!("#EXT-X-MEDIA:TYPE={kind},{name},URI=\"{uri}\"\n"));
                }
            }
        }
        Ok(())
    }

    fn uri(&mut self, uri: &'a [u8]) {
        if self.master == Some(true) {
            if let Some(uri) = text(uri).filter(|_| self.variant) {
                self.push(format_args!("{uri}\n"));
            }
            self.variant = false;
            return;
        }
        // RFC 8216 §4.3.2.1: without EXTINF it is no segment, and players skip it.
        let Some(duration) = self.duration.take() else { return };
        let range = self.range.take();
        let gap = std::mem::take(&mut self.gap);
        let uri = text(uri);
        let listed = !gap && uri.is_some() && duration.is_some() && range != Some(None);
        let duration = duration.unwrap_or_default();
        self.segments.push(Cut { uri, duration, range: range.flatten(), listed });
    }

    fn push(&mut self, text: Arguments<'_>) {
        // Writing to a String can't fail.
        let _ = self.head.write_fmt(text);
    }
}

fn bounded(count: &mut usize, most: usize, what: &'static str, line: usize) -> Result<(), Error> {
    *count += 1;
    if *count > most { Err(Error::TooMany { line, what, most }) } else { Ok(()) }
}

fn collect<'a>(
    uris: &mut Vec<&'a [u8]>,
    tag: &Tag<'a>,
    most: usize,
    what: &'static str,
    line: usize,
) -> Result<(), Error> {
    let Some(uri) = value_of(tag, "URI").filter(|uri| uris.last() != Some(uri)) else { return Ok(()) };
    uris.push(uri);
    if uris.len() > most { Err(Error::TooMany { line, what, most }) } else { Ok(()) }
}

fn value_of<'a>(tag: &Tag<'a>, name: &str) -> Option<&'a [u8]> {
    attributes(tag).find(|attribute| attribute.is(name)).map(|attribute| attribute.value)
}

/// A URI that m3u8-rs can hold: UTF-8, not empty, no quotation marks.
fn text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.is_empty() && !text.contains(['"', '\0'])).then_some(text)
}

fn word(bytes: &[u8]) -> Option<&str> {
    text(bytes).filter(|text| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
}

fn number(bytes: &[u8]) -> Option<u64> {
    let digits = text(bytes.trim_ascii())?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Seconds up to the first comma or space, to the millisecond; `None` when negative or no number at all.
fn duration(value: &[u8]) -> Option<Duration> {
    let value = value.trim_ascii_start();
    let end = value.iter().position(|byte| *byte == b',' || byte.is_ascii_whitespace());
    let seconds: f64 = text(&value[..end.unwrap_or(value.len())])?.parse().ok()?;
    if seconds.is_nan() || seconds < 0.0 {
        return None;
    }
    let milliseconds = seconds.min(MAX_DURATION.as_secs_f64()) * 1000.0;
    Some(Duration::from_millis(milliseconds.round() as u64))
}

/// `length[@offset]`, or `None` when it can't be that.
fn byte_range(value: &[u8]) -> Option<ByteRange> {
    let value = value.trim_ascii();
    let value = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
    match value.iter().position(|&byte| byte == b'@') {
        Some(at) => Some((number(&value[..at])?, Some(number(&value[at + 1..])?))),
        None => Some((number(value)?, None)),
    }
}
