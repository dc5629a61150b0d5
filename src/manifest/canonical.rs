//! The caps that stand before the parser, and the plain copy of a playlist that it is given.
//!
//! m3u8-rs needs up to 1,000 bytes a segment, takes a title with a comma or a fractional target duration for
//! another segment, stops without a word at bytes that aren't UTF-8, keeps only the last of several keys, and
//! searches the whole rest of the text for the `=` of an attribute without a value. So it is only ever shown the
//! tags that matter here, each in its plainest form, and only [`AT_ONCE`] segments at a time; everything else is
//! left out, and keys and init segments are collected on the way.

use std::fmt::{Arguments, Write};
use std::time::Duration;

use super::lines::{Line, Tag, What, attributes, lines, without_bom};
use super::{Error, Limits};

/// The longest duration that is believed, for a segment as for the target; longer ones count as this.
pub(super) const MAX_DURATION: Duration = Duration::from_secs(3600);

/// How many segments the parser is shown at once: a few hundred kilobytes of its memory, whatever the playlist.
const AT_ONCE: usize = 256;

/// The tag that marks a segment which can't be listed; RFC 8216bis §4.4.4.7 has it for missing ones.
pub(super) const UNLISTED: &str = "X-GAP";

/// A playlist in the few forms that m3u8-rs reads right.
#[derive(Debug, Default)]
pub(super) struct Canonical<'a> {
    /// All but the segments, for m3u8-rs.
    pub head: String,
    /// The segments in order, as playlists of up to [`AT_ONCE`] each.
    pub parts: Vec<String>,
    /// Whether it is a master playlist; `None` until a tag has said so.
    pub master: Option<bool>,
    /// URIs of keys, as written, without immediate repetitions.
    pub keys: Vec<&'a [u8]>,
    /// URIs of init segments, likewise.
    pub maps: Vec<&'a [u8]>,
    /// How many segments a delta update leaves out before the first one (EXT-X-SKIP).
    pub skipped: u64,
    /// How many segments the parts have.
    pub emitted: usize,
    /// The line that numbers the first segment; 0 when none does.
    pub numbered_at: usize,
    segments: usize,
    renditions: usize,
    /// What was said of the segment whose URI comes next; `None`: no EXTINF yet.
    duration: Option<Option<Duration>>,
    range: Option<Option<(u64, Option<u64>)>>,
    gap: bool,
    variant: bool,
}

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
            bounded(&mut self.segments, limits.segments, "segments", line)?;
            self.duration = Some(duration(tag.value));
        } else if tag.is("#EXT-X-BYTERANGE") {
            self.range = Some(byte_range(tag.value));
        } else if tag.is("#EXT-X-GAP") {
            self.gap = true;
        } else if tag.is("#EXT-X-KEY") {
            collect(&mut self.keys, tag, limits.segments, "keys", line)?;
        } else if tag.is("#EXT-X-MAP") {
            collect(&mut self.maps, tag, limits.segments, "init segments", line)?;
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

    fn uri(&mut self, uri: &[u8]) {
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
        let part = self.part();
        if gap || uri.is_none() || duration.is_none() || range == Some(None) {
            append(part, format_args!("#EXT-{UNLISTED}\n"));
        }
        match range {
            Some(Some((length, Some(offset)))) => {
                append(part, format_args!("#EXT-X-BYTERANGE:{length}@{offset}\n"));
            }
            Some(Some((length, None))) => append(part, format_args!("#EXT-X-BYTERANGE:{length}\n")),
            Some(None) | None => {}
        }
        // An empty line, since the parser takes a comma at the start of the next one for its own.
        let seconds = duration.unwrap_or_default().as_secs_f64();
        append(part, format_args!("#EXTINF:{seconds:.3},\n\n{}\n", uri.unwrap_or("?")));
    }

    /// Where the next segment is to be written.
    fn part(&mut self) -> &mut String {
        let index = self.emitted / AT_ONCE;
        self.emitted += 1;
        if self.parts.len() <= index {
            self.parts.push(String::from("#EXTM3U\n"));
        }
        &mut self.parts[index]
    }

    fn push(&mut self, text: Arguments<'_>) {
        append(&mut self.head, text);
    }
}

fn append(to: &mut String, text: Arguments<'_>) {
    // Writing to a String can't fail.
    let _ = to.write_fmt(text);
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

/// Seconds up to the first comma or space; `None` when negative or no number at all.
fn duration(value: &[u8]) -> Option<Duration> {
    let value = value.trim_ascii_start();
    let end = value.iter().position(|byte| *byte == b',' || byte.is_ascii_whitespace());
    let seconds: f64 = text(&value[..end.unwrap_or(value.len())])?.parse().ok()?;
    if seconds.is_nan() || seconds < 0.0 {
        return None;
    }
    Some(Duration::from_secs_f64(seconds.min(MAX_DURATION.as_secs_f64())))
}

/// `length[@offset]`, or `None` when it can't be that.
fn byte_range(value: &[u8]) -> Option<(u64, Option<u64>)> {
    let value = value.trim_ascii();
    let value = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
    match value.iter().position(|&byte| byte == b'@') {
        Some(at) => Some((number(&value[..at])?, Some(number(&value[at + 1..])?))),
        None => Some((number(value)?, None)),
    }
}
