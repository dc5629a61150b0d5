//! A manifest on its way from the origin: as a rule read to its end before anything is said of it, since only the whole
//! can be rewritten. One that trickles in is begun in time all the same, with what may stand in front of any manifest.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, StatusCode, header};
use http_body::Frame;
use http_body_util::BodyExt;
use url::Url;

use super::answer::{Beginning, Body, streamed};
use super::coding;
use super::names::{may_be_manifest, named_format};
use super::recent::Manifest;
use super::turns::{LONG, Turn, Turns};
use crate::delivery::policy::LONGEST_HOLD;
use crate::engine::origin::{self, Caller, Reach};
use crate::manifest::{Error, Format, XML_SIGNATURE, is_manifest};

/// What tells a playlist from anything else, in bytes: a byte order mark and `#EXTM3U`.
const SIGNATURE: usize = 10;
const BOM: &[u8] = b"\xef\xbb\xbf";
/// A player that is kept waiting for the rest gets an empty line this often.
const LINE: Duration = Duration::from_secs(LONGEST_HOLD.as_secs() / 2);

/// Whether the body is a file, all of it, and as it is or, with the name or type of a manifest, in gzip.
fn is_whole(response: &origin::Response) -> bool {
    let fields = &response.headers;
    (coding::is_plain(fields) || named_format(response).is_some() && coding::is_gzip(fields))
        && match response.status {
            StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => true,
            StatusCode::PARTIAL_CONTENT => fields
                .get(header::CONTENT_RANGE)
                .and_then(|range| range.to_str().ok()?.trim().strip_prefix("bytes 0-")?.split_once('/'))
                .and_then(|(last, total)| Some((last.parse::<u64>().ok()?, total.parse::<u64>().ok()?)))
                .is_some_and(|(last, total)| last.checked_add(1) == Some(total)),
            _ => false,
        }
}

/// Whether a manifest may come of this answer: of nothing else is the body to be looked into.
#[must_use]
pub fn may_come(response: &origin::Response) -> bool {
    is_whole(response) && may_be_manifest(response)
}

/// A manifest that is being read.
#[derive(Debug)]
pub struct Coming {
    url: Url,
    caller: Caller,
    reach: Reach,
    status: StatusCode,
    headers: HeaderMap,
    body: Beginning,
    most: usize,
    turns: Turns,
    turn: Option<Turn>,
}

/// What it turned out to be.
#[derive(Debug)]
pub enum Read {
    /// A manifest, all of it, without a coding around it.
    Whole(Format, Bytes),
    /// A manifest of more bytes than are read.
    TooLong,
    /// Something else; how much of it there is was not looked at.
    Other,
    /// It broke off: see [`Coming::failure`].
    Broken,
}

impl Coming {
    /// Nothing of the body is read yet; of a manifest no more than `most` bytes ever are, and more than [`LONG`] when it is its
    /// turn.
    #[must_use]
    pub fn new(response: origin::Response, most: usize, turns: &Turns) -> Self {
        let origin::Response { url, caller, reach, status, headers, body } = response;
        let (body, turns) = (Beginning::new(body), turns.clone());
        Self { url, caller, reach, status, headers, body, most, turns, turn: None }
    }

    /// Reads on. May be dropped and called again: what has come is kept.
    pub async fn read(&mut self) -> Read {
        let text = |name| self.headers.get(name).and_then(|value| value.to_str().ok());
        let announced = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
        let kind = text(header::CONTENT_TYPE).map(str::to_owned);
        let coded = coding::is_gzip(&self.headers);
        let enough = if coded { self.read_past_most().await } else { self.body.read(SIGNATURE).await };
        if !enough && self.body.failure().is_some() {
            return Read::Broken;
        }
        if !coded && self.body.bytes().trim_ascii_start().starts_with(b"<") {
            self.body.read(XML_SIGNATURE).await;
        }
        let decoded = if coded { self.decode().await } else { None };
        let beginning = decoded.as_ref().unwrap_or(&self.body.bytes()).clone();
        let Some(format) = is_manifest(kind.as_deref(), &self.url, &beginning) else { return Read::Other };
        if announced.is_some_and(|length| length > self.most) || self.read_past_most().await {
            return Read::TooLong;
        }
        if self.body.failure().is_some() {
            return Read::Broken;
        }
        Read::Whole(format, decoded.unwrap_or_else(|| self.body.bytes()))
    }

    /// Reads until there are more bytes than may be read, or the end. Returns whether there are.
    async fn read_past_most(&mut self) -> bool {
        if self.most > LONG && self.body.read(LONG + 1).await {
            self.take_turn().await;
        }
        self.body.read(self.most + 1).await
    }

    /// What is in the coded body, all of which has been read.
    async fn decode(&mut self) -> Option<Bytes> {
        let coded = self.body.bytes();
        if let Some(short) = coding::gunzip(&coded, self.most.min(LONG)) {
            return Some(short);
        }
        if self.most <= LONG {
            return None;
        }
        self.take_turn().await;
        coding::gunzip(&coded, self.most)
    }

    async fn take_turn(&mut self) {
        if self.turn.is_none() {
            self.turn = Some(self.turns.take().await);
        }
    }

    /// What it is by as much as has come; by its name and type, `named`, while that is too little to tell.
    pub fn format(&mut self, named: Option<Format>) -> Option<Format> {
        let arrived = self.arrived();
        if arrived.len() < SIGNATURE {
            return named;
        }
        let kind = self.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        is_manifest(kind, &self.url, &arrived)
    }

    /// Why it broke off, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&origin::Error> {
        self.body.failure()
    }

    /// Where it comes from.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The origin's headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The answer as the origin gave it, nothing of it lost.
    #[must_use]
    pub fn into_response(self) -> origin::Response {
        let Self { url, caller, reach, status, headers, body, .. } = self;
        origin::Response { url, caller, reach, status, headers, body: body.boxed() }
    }

    /// The manifest that was read.
    #[must_use]
    pub fn into_manifest(self, format: Format, text: Bytes) -> Manifest {
        let Self { url, reach, headers, turn, .. } = self;
        let turn = turn.filter(|_| text.len() > LONG);
        Manifest { url, reach, headers, text, format, turn }
    }

    /// What can be read of it by now.
    fn arrived(&mut self) -> Bytes {
        if coding::is_gzip(&self.headers) { Bytes::new() } else { self.body.bytes() }
    }
}

/// The body of an answer to a player that has waited as long as players do: the manifest's first line at once, an empty
/// one now and then, and all the rest, as `finish` makes it, when it is there. What is no manifest of this format in the end
/// breaks off.
pub fn slowly<F, Made>(mut coming: Coming, format: Format, finish: F) -> Body
where
    F: FnOnce(Manifest) -> Made + Send + 'static,
    Made: Future<Output = Result<Bytes, Error>> + Send,
{
    let first = beginning(format, &coming.arrived());
    let rest = stream::try_unfold(Some((coming, finish)), move |state| async move {
        let Some((mut coming, finish)) = state else { return Ok(None) };
        let Ok(read) = tokio::time::timeout(LINE, coming.read()).await else {
            return Ok(Some((Frame::data(Bytes::from_static(b"\n")), Some((coming, finish)))));
        };
        let text = match read {
            Read::Whole(found, text) if found == format => finish(coming.into_manifest(found, text)).await?,
            Read::Broken => return Err(coming.failure().map(ToString::to_string).unwrap_or_default().into()),
            _ => return Err("what came was not the manifest that its beginning was taken for".into()),
        };
        let from = head(format, &text).unwrap_or(text.len());
        Ok(Some((Frame::data(text.slice(from..)), None)))
    });
    streamed(stream::once(std::future::ready(Ok(Frame::data(first)))).chain(rest))
}

/// How a manifest begins of which this has arrived, and an empty line.
fn beginning(format: Format, arrived: &[u8]) -> Bytes {
    let begins: &[u8] = match (head(format, arrived), format) {
        (Some(length), _) => &arrived[..length],
        (None, Format::Hls) => b"#EXTM3U",
        (None, Format::Dash) => b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
    };
    [begins, b"\n"].concat().into()
}

/// How long the part is that only blank lines may follow or nothing may come before: the first line of a playlist, the
/// declaration of an XML document (empty where it has none). `None`: its end has not arrived.
fn head(format: Format, text: &[u8]) -> Option<usize> {
    const DECLARATION: &[u8] = b"<?xml";
    match format {
        Format::Hls => text.iter().position(|byte| matches!(byte, b'\n' | b'\r')).map(|at| at + 1),
        Format::Dash => {
            let bom = if text.starts_with(BOM) { BOM.len() } else { 0 };
            let document = &text[bom..];
            if document.len() >= DECLARATION.len() && !document.starts_with(DECLARATION) {
                return Some(bom);
            }
            memchr::memmem::find(text, b"?>").map(|at| at + 2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_in_two_parts_is_the_same_manifest() {
        let (hls, dash) = (Format::Hls, Format::Dash);
        let own = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
        for (format, text, arrived, expected) in [
            (hls, "#EXTM3U\n#EXTINF:4,\na.ts\n", 0, "#EXTM3U\n#EXTINF:4,\na.ts\n"),
            (hls, "#EXTM3U x=1\r\na.ts\r\n", 8, "#EXTM3U\n\na.ts\r\n"),
            (hls, "#EXTM3U x=1\r\na.ts\r\n", 15, "#EXTM3U x=1\r\n\na.ts\r\n"),
            (hls, "#EXTM3U\ra.ts\r", 9, "#EXTM3U\r\na.ts\r"),
            (hls, "\u{feff}#EXTM3U\na.ts\n", 12, "\u{feff}#EXTM3U\n\na.ts\n"),
            (dash, "<MPD></MPD>", 6, "\n<MPD></MPD>"),
            (dash, "<MPD></MPD>", 3, &format!("{own}<MPD></MPD>")),
            (dash, "<?xml version=\"1.0\"?><MPD/>", 21, "<?xml version=\"1.0\"?>\n<MPD/>"),
            (dash, "<?xml version=\"1.0\"?><MPD/>", 12, &format!("{own}<MPD/>")),
            (dash, "\u{feff}<MPD/>", 9, "\u{feff}\n<MPD/>"),
        ] {
            let first = beginning(format, &text.as_bytes()[..arrived]);
            let rest = &text.as_bytes()[head(format, text.as_bytes()).unwrap()..];
            assert_eq!(String::from_utf8([&first, rest].concat()).unwrap(), expected, "{text:?}");
        }
    }
}
