//! The elements of an MPD as ranges of its bytes, so that what is found can also be replaced in place; and the bounds
//! that stand before anything else reads it.
//!
//! Entities beyond XML's own five are never expanded and a document type is not read, so nothing can grow.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::manifest::{Error, Limits};

/// How deep elements may be nested; an MPD needs nine levels.
const DEEPEST: usize = 32;
/// Attributes of one element; an MPD needs some twenty. The parser compares each with all before it.
const MOST_ATTRIBUTES: usize = 100;
/// Elements for each segment that [`Limits`] allows, and as many again for everything else.
const ELEMENTS_EACH: usize = 2;

/// One attribute, raw.
#[derive(Clone, Debug)]
pub(super) struct Attribute<'a> {
    /// As written: those of an MPD have no namespace prefix.
    pub name: &'a str,
    /// As written: entities are not replaced.
    pub value: &'a str,
    /// Where `value` is in the document.
    pub range: Range<usize>,
}

/// What is met on the way through a document.
#[derive(Debug)]
pub(super) enum Met<'a, 'e> {
    /// An element begins.
    Start(&'e Element<'a>),
    /// An element without children ended; its text, raw.
    Text(&'e Element<'a>, &'a str, Range<usize>),
}

/// An element that is open.
#[derive(Debug)]
pub(super) struct Element<'a> {
    /// Without a namespace prefix.
    pub name: &'a str,
    /// Where its `<` is.
    pub start: usize,
    /// Just past its name.
    pub named: usize,
    /// Just past the `>` of its opening.
    pub opened: usize,
    /// In the order written.
    pub attributes: Vec<Attribute<'a>>,
    childless: bool,
}

impl<'a> Element<'a> {
    /// The attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        self.attributes.iter().find(|a| a.name == name)
    }
}

/// How many elements of an MPD are read within the limits: some for each segment, and as many again for everything else.
pub(super) fn most_elements(limits: &Limits) -> usize {
    limits.segments.saturating_mul(2 * ELEMENTS_EACH)
}

/// Goes through `text` and its `most` elements once, in linear time and without copying it.
///
/// # Errors
/// What is not well-formed, nested too deeply, too long, or declares a document type; and what `meet` returns.
pub(super) fn walk<'a>(
    text: &'a str,
    most: usize,
    meet: &mut dyn FnMut(usize, Met<'a, '_>) -> Result<(), Error>,
) -> Result<(), Error> {
    // The caller has taken one off. The reader would take off another, and all places would be wrong.
    if text.starts_with('\u{feff}') {
        return Err(Error::NotXml { line: 1 });
    }
    let mut reader = Reader::from_str(text);
    let (mut open, mut elements, mut at): (Vec<Element<'a>>, usize, usize) = (Vec::new(), 0, 0);
    let malformed = |at: usize| Error::NotXml { line: line_of(text, at) };
    loop {
        let event = reader.read_event().map_err(|_| malformed(at))?;
        let after = usize::try_from(reader.buffer_position()).unwrap_or(text.len()).min(text.len());
        let (start, empty) = match event {
            Event::Eof if open.is_empty() && elements > 0 => return Ok(()),
            Event::Eof => return Err(malformed(at)),
            Event::DocType(declared) => {
                let line = line_of(text, at);
                let entities = declared.contains("<!ENTITY");
                return Err(if entities { Error::Entities { line } } else { Error::DocumentType { line } });
            }
            Event::Start(start) => (start, false),
            Event::Empty(start) => (start, true),
            other => {
                if matches!(other, Event::End(_)) {
                    let element = open.pop().ok_or_else(|| malformed(at))?;
                    if element.childless && element.opened <= at {
                        let content = element.opened..at;
                        let inside = text.get(content.clone()).ok_or_else(|| malformed(at))?;
                        meet(open.len(), Met::Text(&element, inside, content))?;
                    }
                }
                at = after;
                continue;
            }
        };
        elements += 1;
        if elements > most {
            return Err(Error::TooMany { line: line_of(text, at), what: "elements", most });
        }
        if open.len() == DEEPEST {
            return Err(overwhelming(text, at, "nested elements", DEEPEST));
        }
        if let Some(parent) = open.last_mut() {
            parent.childless = false;
        }
        // What was read is a slice of the document, so its own place in it is known.
        let read = text.get(at..after).ok_or_else(|| malformed(at))?;
        let begins = at + read.find('<').unwrap_or(0);
        let element = element(text, &start, begins, after).ok_or_else(|| malformed(begins))?;
        if element.attributes.len() > MOST_ATTRIBUTES {
            return Err(overwhelming(text, begins, "attributes of one element", MOST_ATTRIBUTES));
        }
        meet(open.len(), Met::Start(&element))?;
        if !empty {
            open.push(element);
        }
        at = after;
    }
}

fn overwhelming(text: &str, at: usize, what: &'static str, most: usize) -> Error {
    Error::Overwhelming { line: line_of(text, at), what, most }
}

fn element<'a>(text: &'a str, tag: &BytesStart<'_>, start: usize, opened: usize) -> Option<Element<'a>> {
    let named = start + 1 + tag.name().as_ref().len();
    let name = text.get(start + 1..named).filter(|name| is_name(name)).map(local)?;
    let inside = text.get(named..opened)?;
    let mut attributes = Vec::new();
    let mut rest = inside;
    // The reader has found the end of the tag, quotes and all; what is left is NAME="VALUE" after NAME="VALUE".
    while let Some(equals) = rest.find('=') {
        let key = rest[..equals].trim();
        let after = &rest[equals + 1..];
        let quote = after.trim_start().chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let from = after.find(quote)? + 1;
        let length = after[from..].find(quote)?;
        let value = &after[from..from + length];
        let begins = opened - rest.len() + equals + 1 + from;
        if !is_name(key) {
            return None;
        }
        attributes.push(Attribute { name: key, value, range: begins..begins + length });
        rest = &after[from + length + 1..];
    }
    Some(Element { name, start, named, opened, attributes, childless: true })
}

/// Whether nothing in it could be something else than a name (XML 1.0 §2.3): the reader takes a quote for the beginning of a
/// value wherever it stands, and would find another end of the tag once a value in it is replaced.
fn is_name(text: &str) -> bool {
    let part =
        |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c) || !c.is_ascii() && !c.is_whitespace();
    !text.is_empty() && text.chars().all(part)
}

/// A name without its namespace prefix.
fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// The line, from 1, of the byte `at`.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
}

/// The value `raw` of an attribute with its entities replaced and white space as blanks (XML 1.0 §3.3.3); `None` for an
/// entity that XML itself does not define.
pub(super) fn value(raw: &str) -> Option<String> {
    let plain = raw.trim().replace("\r\n", " ").replace(['\t', '\n', '\r'], " ");
    quick_xml::escape::unescape(&plain).ok().map(|text| text.into_owned())
}

/// The text that `raw`, the inside of an element without children, stands for: without comments, and CDATA as it is.
pub(super) fn content(raw: &str) -> Option<String> {
    let (mut text, mut rest) = (String::new(), raw);
    while let Some(at) = rest.find('<') {
        text.push_str(&quick_xml::escape::unescape(&rest[..at]).ok()?);
        let mark = &rest[at..];
        let (begin, end, kept) = if mark.starts_with("<![CDATA[") {
            (9, "]]>", true)
        } else if mark.starts_with("<!--") {
            (4, "-->", false)
        } else if mark.starts_with("<?") {
            (2, "?>", false)
        } else {
            return None;
        };
        let (inside, after) = mark[begin..].split_once(end)?;
        if kept {
            text.push_str(inside);
        }
        rest = after;
    }
    text.push_str(&quick_xml::escape::unescape(rest).ok()?);
    Some(text.trim().to_owned())
}
