//! The same MPD with other URIs: nothing else changes, not a byte.
//!
//! Only what would lead a player past us is written anew: base URLs of the MPD itself, and further down what is absolute
//! or begins at the root of a host. Whatever is relative then resolves to where it should. Where a remote element (xlink) is
//! named relatively, which some players take for relative to the MPD whatever its base URLs, it is written anew as well; one
//! named in full, events and licence servers stay as they are. What a remote element holds is relative to the MPD that it is
//! put into, so nothing is written down as its base.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use url::Url;

use super::xml::{self, Element, Met};
use crate::manifest::Error;
use crate::manifest::lines::without_bom;
use crate::manifest::rewrite::{MAX_REWRITTEN, Use};

/// Attributes that hold a URI or a template of one.
const URI_ATTRIBUTES: [(&str, &str, Use); 9] = [
    ("SegmentTemplate", "media", Use::Segment),
    ("SegmentTemplate", "initialization", Use::Map),
    ("SegmentTemplate", "index", Use::Other),
    ("SegmentTemplate", "bitstreamSwitching", Use::Map),
    ("SegmentURL", "media", Use::Segment),
    ("SegmentURL", "index", Use::Other),
    ("Initialization", "sourceURL", Use::Map),
    ("RepresentationIndex", "sourceURL", Use::Other),
    ("BitstreamSwitching", "sourceURL", Use::Map),
];

/// Elements whose content may be anything.
const OPAQUE: [&str; 4] = ["EventStream", "ContentProtection", "EssentialProperty", "SupplementalProperty"];

/// Copies the MPD `text`, found at `base` (after redirects), with the URIs that `map` gives.
///
/// `map` is called with absolute http and https URLs; `None` leaves one as it is. `delay` is written down as
/// MPD@suggestedPresentationDelay, which must not be there yet: without it several players start at the very edge.
/// Linear in the length of `text`, however many segments it spells out.
///
/// # Errors
/// What is no XML, or a bomb: see [`Error::is_bomb`]. Anything else can be sent as it is.
pub fn mpd(
    base: &Url,
    text: &[u8],
    delay: Option<Duration>,
    map: &mut dyn FnMut(&Url, Use) -> Option<String>,
) -> Result<Bytes, Error> {
    let bom = &text[..text.len() - without_bom(text).len()];
    let text = std::str::from_utf8(&text[bom.len()..]).map_err(|_| Error::NotXml { line: 1 })?;
    let mut edits = Edits {
        base,
        bases: Vec::new(),
        map,
        found: Vec::new(),
        prefix: "",
        based: None,
        remote: false,
        opaque: None,
    };
    xml::walk(text, usize::MAX, &mut |depth, met| {
        if edits.is_opaque(depth, &met) {
            return Ok(());
        }
        match met {
            Met::Start(element) => edits.start(text, depth, element, delay),
            Met::Text(element, content, range) => edits.text(depth, element.name, content, range),
        }
        Ok(())
    })?;
    edits.finish(bom, text)
}

/// Whether a player at our address would not resolve `reference` to what it is by `base`.
fn leaves(base: &Url, reference: &str) -> bool {
    // A query alone would be that of the folder which is written down as the base.
    if reference.starts_with(['/', '\\', '?']) {
        return true;
    }
    // Above the root of a host there is nothing; but above where we put that root there is something.
    let climbs = reference.split(['/', '\\']).filter(|part| *part == "..").count();
    climbs >= base.path().matches('/').count().max(1) || Url::parse(reference).is_ok()
}

struct Edits<'a, 'm> {
    base: &'a Url,
    /// The first base URL of each level, where one has been met.
    bases: Vec<Option<Url>>,
    map: &'m mut dyn FnMut(&Url, Use) -> Option<String>,
    found: Vec<(Range<usize>, String)>,
    /// The root's namespace prefix, with its colon.
    prefix: &'a str,
    /// Where a BaseURL of the MPD would have to stand; `None` once there is one.
    based: Option<usize>,
    /// It is not an MPD but what one names as a part of it.
    remote: bool,
    /// The depth of the element that is open and whose content is not an MPD's.
    opaque: Option<usize>,
}

impl<'a> Edits<'a, '_> {
    /// Whether it is part of an event or of a key system's data, which may look like anything.
    fn is_opaque(&mut self, depth: usize, met: &Met<'a, '_>) -> bool {
        if self.opaque.is_some_and(|at| depth > at) {
            return true;
        }
        if let Met::Start(element) = met {
            self.opaque = OPAQUE.contains(&element.name).then_some(depth);
        }
        false
    }

    fn start(&mut self, text: &'a str, depth: usize, element: &Element<'a>, delay: Option<Duration>) {
        self.bases.truncate(depth);
        self.bases.push(None);
        if depth == 0 {
            let name = &text[element.start + 1..element.named];
            self.prefix = &name[..name.len() - element.name.len()];
            self.remote = element.name != "MPD";
            if let Some(delay) = delay.filter(|_| element.attribute("suggestedPresentationDelay").is_none()) {
                let attribute = format!(" suggestedPresentationDelay=\"PT{}S\"", delay.as_secs_f64());
                self.found.push((element.named..element.named, attribute));
            }
            return;
        }
        self.linked(element);
        if depth == 1 && self.based.is_none() && !self.remote && element.name != "ProgramInformation" {
            self.based = Some(element.start);
        }
        for &(name, attribute, usage) in URI_ATTRIBUTES.iter().filter(|(name, ..)| *name == element.name) {
            debug_assert_eq!(name, element.name);
            if let Some(attribute) = element.attribute(attribute) {
                self.replace(depth, xml::value(attribute.value), attribute.range.clone(), usage, false);
            }
        }
        let scheme = element.attribute("schemeIdUri").map_or("", |scheme| scheme.value);
        if element.name == "UTCTiming"
            && scheme.contains(":http-")
            && let Some(value) = element.attribute("value")
        {
            // There may be several, with spaces between.
            for url in value.value.split_ascii_whitespace() {
                let begins = value.range.start + (url.as_ptr() as usize - value.value.as_ptr() as usize);
                self.replace(0, xml::value(url), begins..begins + url.len(), Use::Aside, false);
            }
        }
    }

    /// A remote element that is not named in full.
    fn linked(&mut self, element: &Element<'a>) {
        let Some(href) = element.attribute("xlink:href") else { return };
        let Some(named) = xml::value(href.value).filter(|named| Url::parse(named).is_err()) else { return };
        // By a base URL, where there is one, or by the MPD's own: only without one all players mean the same.
        let based = self.bases.iter().any(Option::is_some);
        if !based || leaves(self.base, &named) {
            self.replace(0, Some(named), href.range.clone(), Use::Aside, true);
        }
    }

    fn text(&mut self, depth: usize, name: &str, content: &str, range: Range<usize>) {
        match name {
            "BaseURL" => {
                let Some(level) = depth.checked_sub(1) else { return };
                // Not to those beside it: they are alternatives.
                let text = xml::content(content);
                let url = text.as_ref().and_then(|text| self.nearest(level).join(text).ok());
                // One that belongs to the MPD is always written anew: whatever is relative below rests on it.
                self.replace(level, text, range, Use::Other, depth == 1 && !self.remote);
                if let Some(level) = self.bases.get_mut(level) {
                    *level = level.take().or(url);
                }
                if depth == 1 {
                    self.based = Some(usize::MAX);
                }
            }
            "Location" | "PatchLocation" if depth == 1 => {
                self.replace(0, xml::content(content), range, Use::Playlist, true);
            }
            _ => {}
        }
    }

    /// What a relative URI is relative to, by the base URLs of the levels above this depth.
    fn nearest(&self, depth: usize) -> Cow<'a, Url> {
        let above = self.bases[..depth.min(self.bases.len())].iter().rev().flatten().next();
        above.map_or(Cow::Borrowed(self.base), |url| Cow::Owned(url.clone()))
    }

    fn replace(
        &mut self,
        depth: usize,
        reference: Option<String>,
        range: Range<usize>,
        usage: Use,
        always: bool,
    ) {
        let Some(reference) = reference else { return };
        let base = self.nearest(depth);
        if !always && !leaves(&base, &reference) {
            return;
        }
        let Ok(url) = base.join(&reference) else { return };
        // A variable in the host's name would not survive as one.
        let named = url.host_str().is_some_and(|host| !host.contains('$'));
        if !named || !matches!(url.scheme(), "http" | "https") {
            return;
        }
        if let Some(replacement) = (self.map)(&url, usage) {
            self.found.push((range, quick_xml::escape::escape(replacement).into_owned()));
        }
    }

    fn finish(mut self, bom: &[u8], text: &str) -> Result<Bytes, Error> {
        if let Some(at) = self.based.filter(|&at| at != usize::MAX)
            && let Some(url) = self.base.join("./").ok().and_then(|url| (self.map)(&url, Use::Other))
        {
            let (prefix, url) = (self.prefix, quick_xml::escape::escape(url));
            self.found.push((at..at, format!("<{prefix}BaseURL>{url}</{prefix}BaseURL>")));
        }
        self.found.sort_by_key(|(range, _)| range.start);
        let longer: usize = self.found.iter().map(|(_, replacement)| replacement.len()).sum();
        if bom.len() + text.len() + longer > MAX_REWRITTEN {
            return Err(Error::RewrittenTooLong);
        }
        let (mut out, mut copied) = (Vec::with_capacity(bom.len() + text.len() + longer), 0);
        out.extend_from_slice(bom);
        for (range, replacement) in self.found {
            out.extend_from_slice(&text.as_bytes()[copied..range.start]);
            out.extend_from_slice(replacement.as_bytes());
            copied = range.end;
        }
        out.extend_from_slice(&text.as_bytes()[copied..]);
        Ok(Bytes::from(out))
    }
}
