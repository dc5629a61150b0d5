//! Ask, read, rewrite, answer: everything that is not a listed segment goes through here, since only the answer tells
//! whether it is a playlist.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use url::Url;

use super::answer::{Body, full, mark, no_answer, pass_on, sentence};
use super::request::Way;
use super::{Shared, address, headers, segment};
use crate::engine::origin::{self, Caller, Reach};
use crate::manifest::hls::{self, Master, Playlist};
use crate::manifest::rewrite::{self, Use};
use crate::manifest::{Format, Limits, is_manifest};

/// What tells a playlist from anything else, in bytes: a byte order mark, some blanks, `#EXTM3U`.
const SIGNATURE: usize = 64;
/// File names that players take for segments; others get one of these appended.
const SEGMENT_NAMES: [&str; 22] = [
    "ts", "m4s", "mp4", "m4a", "m4v", "aac", "mp3", "ac3", "ec3", "eac3", "vtt", "webvtt", "cmfa", "cmfv",
    "mov", "mpg", "mpegts", "m2ts", "mts", "3gp", "html", "wav",
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
        .then(|| body.map_err(|error| origin::Error::Unreachable(error.to_string())).boxed());
    let range = head.headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    // Players ask for playlists with `bytes=0-`; an answer without a range is as good, and can be rewritten.
    let range =
        range.filter(|range| !(named_playlist(&url) && range.trim() == "bytes=0-")).map(str::to_owned);
    let request = origin::Request { caller: caller.clone(), method: head.method.clone(), url, range, body };
    let response = match shared.engine.origin().send(request).await {
        Ok(response) => response,
        Err(error) => return no_answer(&error),
    };
    let readable = head.method == Method::GET && response.status.is_success() && plain(&response.headers);
    if readable && may_be_playlist(&response) {
        return playlist(response, way, caller, shared, began).await;
    }
    let lost_length = head.method == Method::HEAD && way == Way::Ours && may_be_playlist(&response);
    let mut answer = pass_on(response, way == Way::Ours, began.elapsed());
    if lost_length {
        // The rewritten playlist has another length than the origin's.
        answer.headers_mut().remove(header::CONTENT_LENGTH);
    }
    answer
}

fn named_playlist(url: &Url) -> bool {
    let path = url.path().to_ascii_lowercase();
    path.ends_with(".m3u8") || path.ends_with(".m3u")
}

/// Whether the name or the type says playlist, or the type says nothing; segments and media are never looked into.
fn may_be_playlist(response: &origin::Response) -> bool {
    let kind = response.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.to_ascii_lowercase();
    let media = ["video/", "audio/mp4", "audio/aac", "audio/ogg", "image/", "font/"];
    kind.contains("mpegurl") || named_playlist(&response.url) || !media.iter().any(|m| kind.starts_with(m))
}

fn plain(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity")
}

async fn playlist(
    mut response: origin::Response,
    way: Way,
    caller: Caller,
    shared: &Arc<Shared>,
    began: Instant,
) -> Response<Body> {
    let limits = Limits::default();
    let mut text = BytesMut::new();
    let mut ended = false;
    while text.len() < SIGNATURE && !ended {
        ended = !more(&mut response.body, &mut text).await;
    }
    if is_manifest(None, &response.url, &text) != Some(Format::Hls) {
        return not_a_playlist(response, text.freeze(), ended, way, began);
    }
    let announced =
        response.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    while !ended && text.len() <= limits.bytes && announced.is_none_or(|length| length <= limits.bytes) {
        ended = !more(&mut response.body, &mut text).await;
    }
    if text.len() > limits.bytes || announced.is_some_and(|length| length > limits.bytes) {
        return sentence(
            StatusCode::BAD_GATEWAY,
            &format!(
                "the playlist at {} is larger than {} bytes",
                without_query(&response.url),
                limits.bytes
            ),
        );
    }
    if announced.is_some_and(|length| text.len() < length) {
        return sentence(StatusCode::BAD_GATEWAY, "the origin broke off in the middle of the playlist");
    }
    let text = text.freeze();
    list(&response, &text, &caller, shared).await;
    answer_with(&response, &text, way, began)
}

/// Reads one more frame; false at the end.
async fn more(body: &mut origin::Body, text: &mut BytesMut) -> bool {
    match body.frame().await {
        Some(Ok(frame)) => {
            if let Ok(data) = frame.into_data() {
                text.extend_from_slice(&data);
            }
            true
        }
        Some(Err(_)) | None => false,
    }
}

/// Something else after all: what was read goes first, the rest follows.
fn not_a_playlist(
    response: origin::Response,
    read: Bytes,
    ended: bool,
    way: Way,
    began: Instant,
) -> Response<Body> {
    let inert = way == Way::Ours;
    if ended {
        let empty = full(read);
        let mut answer = Response::new(empty);
        *answer.status_mut() = response.status;
        *answer.headers_mut() = headers::to_player(&response.headers, inert);
        mark(&mut answer, "http", began.elapsed());
        return answer;
    }
    let origin::Response { url, reach, status, headers, body } = response;
    let body = crate::proxy::answer::after(read, body);
    pass_on(origin::Response { url, reach, status, headers, body }, inert, began.elapsed())
}

/// Tells the engine what the playlist lists; one that can't be understood is passed on all the same.
async fn list(response: &origin::Response, text: &[u8], caller: &Caller, shared: &Shared) {
    match hls::parse(&response.url, text, &Limits::default(), &shared.setup.rules) {
        Ok(Playlist::Master(master)) => remember(&master, response.reach, caller, shared),
        Ok(Playlist::Media(mut media)) => {
            let said = shared.masters.said(caller.viewer, &response.url);
            media.listing.timeline.alternatives = said.is_some_and(|(alternatives, _)| alternatives);
            let named = Caller { reach: response.reach, ..caller.clone() };
            shared.engine.listed(media.listing, &named).await;
        }
        Err(error) => {
            let url = without_query(&response.url);
            tracing::warn!("the playlist at {url} is passed on without P2P: {error}");
        }
    }
}

fn remember(master: &Master, reach: Reach, caller: &Caller, shared: &Shared) {
    let alternatives = master.variants.len() > 1;
    let variants = master.variants.iter().map(|variant| &variant.url);
    for url in variants.chain(master.renditions.iter().map(|rendition| &rendition.url)) {
        shared.masters.name(caller.viewer, url, alternatives, reach);
    }
}

fn answer_with(response: &origin::Response, text: &Bytes, way: Way, began: Instant) -> Response<Body> {
    let text = match way {
        Way::Forward => text.clone(),
        Way::Ours => {
            let fragments = text.windows(11).any(|window| window == b"#EXT-X-MAP:");
            let mut map =
                |url: &Url, what: Use| Some(address::path_for(url, extension(url, what, fragments)));
            // What can't be rewritten is sent as it is: a player may still make something of it.
            rewrite::hls(&response.url, text, &mut map).unwrap_or_else(|_| text.clone())
        }
    };
    let length = text.len();
    let mut answer = Response::new(full(text));
    *answer.headers_mut() = headers::to_player(&response.headers, way == Way::Ours);
    let fields = answer.headers_mut();
    for name in [header::CONTENT_RANGE, header::ACCEPT_RANGES, header::ETAG] {
        fields.remove(name);
    }
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if way == Way::Ours {
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.apple.mpegurl"));
    }
    mark(&mut answer, "http", began.elapsed());
    answer
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
