//! Ask, read, rewrite, answer: everything that is not a listed segment goes through here, since only the answer tells
//! whether it is a playlist.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use url::Url;

use super::answer::{Beginning, Body, full, mark, no_answer, pass_on, sentence};
use super::request::Way;
use super::{Shared, address, headers, segment};
use crate::engine::origin::{self, Caller};
use crate::manifest::hls::{self, Master, Playlist};
use crate::manifest::rewrite::{self, Use};
use crate::manifest::{Format, Limits, is_manifest};

/// What tells a playlist from anything else, in bytes: a byte order mark and `#EXTM3U`.
const SIGNATURE: usize = 10;
/// File names that players take for segments; others get one of these appended.
const SEGMENT_NAMES: [&str; 22] = [
    "ts", "m4s", "mp4", "m4a", "m4v", "aac", "mp3", "ac3", "ec3", "eac3", "vtt", "webvtt", "cmfa", "cmfv",
    "mov", "mpg", "mpegts", "m2ts", "mts", "3gp", "html", "wav",
];
/// Types of what is never a playlist, whatever else is said of it.
const MEDIA: [&str; 6] = ["video/", "audio/mp4", "audio/aac", "audio/ogg", "image/", "font/"];
/// Fields that speak of the origin's bytes, and not of a rewritten playlist's.
const OF_THE_BYTES: [HeaderName; 7] = [
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::ACCEPT_RANGES,
    header::ETAG,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
];

/// Answers a request for a URL of an origin.
pub async fn answer(
    asked: Request<Incoming>,
    url: Url,
    way: Way,
    caller: Caller,
    shared: &Arc<Shared>,
) -> Response<Body> {
    let began = Instant::now();
    let (head, body) = asked.into_parts();
    if head.method == Method::GET
        && let Some(answer) = segment::answer(&head.headers, &url, way, &caller, shared).await
    {
        return answer;
    }
    let body = headers::has_body(&head.method, &head.headers)
        .then(|| body.map_err(|error| origin::Error::Abandoned(error.to_string())).boxed());
    let method = head.method.clone();
    let range = range(&head.headers, &url, way);
    let request =
        origin::Request { caller: caller.clone(), method: method.clone(), url: url.clone(), range, body };
    let response = match shared.engine.origin().send(request).await {
        Ok(response) => response,
        Err(error) => return no_answer(&error),
    };
    if method == Method::GET && is_whole(&response) && may_be_playlist(&response) {
        return playlist(response, &url, way, caller, shared, began).await;
    }
    let playlist = method == Method::HEAD && way == Way::Ours && says_playlist(&response);
    let mut answer = pass_on(response, way == Way::Ours, began.elapsed());
    if playlist && answer.status().is_success() {
        describe(answer.headers_mut());
    }
    answer
}

/// The Range to ask for. Players ask for playlists with `bytes=0-`; an answer without a range is as good (RFC 9110
/// §14.2), and can be rewritten.
fn range(asked: &HeaderMap, url: &Url, way: Way) -> Option<String> {
    let range = asked.get(header::RANGE)?.to_str().ok()?;
    let ignored = named_playlist(url) && (way == Way::Ours || range.trim() == "bytes=0-");
    (!ignored).then(|| range.to_owned())
}

fn named_playlist(url: &Url) -> bool {
    let path = url.path().to_ascii_lowercase();
    path.ends_with(".m3u8") || path.ends_with(".m3u")
}

fn kind(response: &origin::Response) -> String {
    let kind = response.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.unwrap_or_default().to_ascii_lowercase()
}

/// Whether the name or the type says playlist.
fn says_playlist(response: &origin::Response) -> bool {
    kind(response).contains("mpegurl") || named_playlist(&response.url)
}

/// Whether nothing speaks against a playlist; segments and media are never looked into.
fn may_be_playlist(response: &origin::Response) -> bool {
    let kind = kind(response);
    says_playlist(response) || !MEDIA.iter().any(|media| kind.starts_with(media))
}

/// Whether the body is a file, all of it and as it is.
fn is_whole(response: &origin::Response) -> bool {
    let fields = &response.headers;
    let plain = fields.get(header::CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
    plain
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

async fn playlist(
    response: origin::Response,
    asked: &Url,
    way: Way,
    caller: Caller,
    shared: &Arc<Shared>,
    began: Instant,
) -> Response<Body> {
    let most = Limits::default().bytes;
    let announced = response.headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let origin::Response { url, reach, status, headers, body } = response;
    let mut body = Beginning::new(body);
    if !body.read(SIGNATURE).await
        && let Some(error) = body.failure()
    {
        return no_answer(error);
    }
    let is_hls = is_manifest(None, &url, &body.bytes()) == Some(Format::Hls);
    if !is_hls || announced.is_some_and(|length| length > most) || body.read(most + 1).await {
        if is_hls && way == Way::Ours {
            return too_long(&url, most);
        }
        let body = body.boxed();
        let response = origin::Response { url, reach, status, headers, body };
        return pass_on(response, way == Way::Ours, began.elapsed());
    }
    if let Some(error) = body.failure() {
        return no_answer(error);
    }
    let text = body.bytes();
    let response = origin::Response { url, reach, status, headers, body: body.boxed() };
    list(&response, asked, &text, &caller, shared).await;
    answer_with(&response, &text, way, began)
}

fn too_long(url: &Url, most: usize) -> Response<Body> {
    let url = without_query(url);
    let text =
        format!("the playlist at {url} is larger than {most} bytes: it can't be rewritten for this address");
    sentence(StatusCode::BAD_GATEWAY, &text)
}

/// Tells the engine what the playlist lists; one that can't be understood is passed on all the same.
async fn list(response: &origin::Response, asked: &Url, text: &[u8], caller: &Caller, shared: &Shared) {
    match hls::parse(&response.url, text, &Limits::default(), &shared.setup.rules) {
        Ok(Playlist::Master(master)) => remember(&master, caller, shared),
        Ok(Playlist::Media(mut media)) => {
            media.listing.timeline.alternatives = shared.masters.has_siblings(caller.viewer, asked);
            // What a playlist names is never more private than the host that it came from.
            let named = Caller { reach: response.reach, ..caller.clone() };
            shared.engine.listed(media.listing, &named).await;
        }
        Err(error) => {
            let url = without_query(&response.url);
            if shared.masters.is_first_complaint(url) {
                tracing::warn!("the playlist at {url} is passed on without P2P: {error}");
            }
        }
    }
}

/// Whoever is in a master with several variants may be switched away from.
fn remember(master: &Master, caller: &Caller, shared: &Shared) {
    if master.variants.len() > 1 {
        let variants = master.variants.iter().map(|variant| &variant.url);
        for url in variants.chain(master.renditions.iter().map(|rendition| &rendition.url)) {
            shared.masters.name(caller.viewer, url);
        }
    }
}

fn answer_with(response: &origin::Response, text: &Bytes, way: Way, began: Instant) -> Response<Body> {
    let text = match way {
        Way::Forward => text.clone(),
        Way::Ours => rewritten(response, text),
    };
    let length = text.len();
    let mut answer = Response::new(full(text));
    *answer.headers_mut() = headers::to_player(&response.headers, way == Way::Ours);
    let fields = answer.headers_mut();
    if way == Way::Ours {
        describe(fields);
    }
    fields.remove(header::CONTENT_RANGE);
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    mark(&mut answer, "http", began.elapsed());
    answer
}

fn rewritten(response: &origin::Response, text: &Bytes) -> Bytes {
    let fragments = text.windows(11).any(|window| window.eq_ignore_ascii_case(b"#EXT-X-MAP:"));
    let mut map =
        |url: &Url, what: Use| address::path_for(url, response.reach, extension(url, what, fragments));
    // What can't be rewritten is sent as it is: a player may still make something of it.
    rewrite::hls(&response.url, text, &mut map).unwrap_or_else(|_| text.clone())
}

/// Headers of a rewritten playlist.
fn describe(fields: &mut HeaderMap) {
    for name in &OF_THE_BYTES {
        fields.remove(name);
    }
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.apple.mpegurl"));
}

/// The extension to append so that a player takes the file for what it is; `None` when its own will do.
fn extension(url: &Url, what: Use, fragments: bool) -> Option<&'static str> {
    let name = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
    let own = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
    match what {
        Use::Playlist => (!matches!(own.as_str(), "m3u8" | "m3u")).then_some("m3u8"),
        Use::Segment if SEGMENT_NAMES.contains(&own.as_str()) => None,
        Use::Segment => Some(if fragments { "m4s" } else { "ts" }),
        Use::Map => (!SEGMENT_NAMES.contains(&own.as_str())).then_some("mp4"),
        Use::Key | Use::Other => None,
    }
}

fn without_query(url: &Url) -> &str {
    url.as_str().split('?').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_get_an_extension_that_players_take() {
        for (url, what, fragments, expected) in [
            ("http://o/a.ts", Use::Segment, false, None),
            ("http://o/a.TS?x=1", Use::Segment, false, None),
            ("http://o/a.php?x=a.ts", Use::Segment, false, Some("ts")),
            ("http://o/seg", Use::Segment, true, Some("m4s")),
            ("http://o/init", Use::Map, true, Some("mp4")),
            ("http://o/list", Use::Playlist, false, Some("m3u8")),
            ("http://o/list.m3u8", Use::Playlist, false, None),
            ("http://o/key.bin", Use::Key, false, None),
        ] {
            assert_eq!(extension(&Url::parse(url).unwrap(), what, fragments), expected, "{url}");
        }
    }
}
