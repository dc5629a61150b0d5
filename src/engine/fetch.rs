//! One fetch of (part of) a segment from the origin, from request to last byte.

use std::ops::Range;
use std::sync::Arc;

use bytes::Buf;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use tokio::sync::{mpsc, watch};
use url::Url;

use super::NoAnswer;
use super::brain::Event;
use super::memory::{Buffer, Hashed};
use super::origin::{Body, Caller, Error, Insisting, Origin, Refusal, Request, Response};
use crate::delivery::{Fault, FetchId};
use crate::model::timeline::{PieceGrid, Place};

/// What of an error answer's body is kept to be passed on.
const REFUSAL_BODY: usize = 64 * 1024;

/// A fetch to be made.
#[derive(Debug)]
pub struct Job {
    /// Its name.
    pub fetch: FetchId,
    /// Where the segment is.
    pub place: Place,
    /// On whose behalf.
    pub caller: Caller,
    /// First byte of the segment that is wanted.
    pub from: u32,
    /// One past the last; `None`: to its end.
    pub to: Option<u32>,
    /// Where the bytes go.
    pub buffer: Arc<Buffer>,
    /// How far it may read ahead; offset in the segment.
    pub allowed: watch::Receiver<u32>,
}

/// What a fetch tells the brain.
#[derive(Debug)]
pub enum News {
    /// The origin answers.
    Head {
        /// The segment's length, where known.
        length: Option<u64>,
        /// Sharing is not forbidden.
        shareable: bool,
        /// All headers of the answer.
        headers: HeaderMap,
    },
    /// Bytes are in the buffer.
    Bytes {
        /// Up to here.
        up_to: u32,
        /// Pieces that became whole.
        hashed: Vec<Hashed>,
    },
    /// It brought all it promised.
    Whole {
        /// Pieces that became whole when the length became known.
        hashed: Vec<Hashed>,
    },
    /// It failed.
    Failed {
        /// How, for the Node.
        fault: Fault,
        /// How, for the player.
        answer: NoAnswer,
    },
}

/// Carries the fetch out; every step goes to `events`, which makes the fetch wait when the brain is behind.
pub async fn run(job: Job, origin: Origin, events: mpsc::Sender<Event>) {
    let fetch = job.fetch;
    let news = match follow(job, &origin, &events).await {
        Ok(hashed) => News::Whole { hashed },
        Err((fault, answer)) => News::Failed { fault, answer },
    };
    let _ = events.send(Event::Fetch { fetch, news }).await;
}

type Failed = (Fault, NoAnswer);

/// What was listed is a URL.
fn no_url() -> Failed {
    (Fault::Refused, NoAnswer::PassThrough)
}

/// The origin has begun to answer with another file.
fn another() -> Failed {
    (Fault::Broken, NoAnswer::Failed(broken("the origin has another file there by now")))
}

async fn follow(mut job: Job, origin: &Origin, events: &mpsc::Sender<Event>) -> Result<Vec<Hashed>, Failed> {
    let base = job.place.range.as_ref().map_or(0, |r| r.start);
    let wanted = u64::from(job.from)..job.to.map_or(u64::MAX, u64::from);
    let url = job.place.url.url().ok_or_else(no_url)?;
    let request = || ask_for(&job, url.clone(), job.from);
    let response = origin.send_twice(request).await.map_err(unreachable)?;
    if !matches!(response.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
        return Err(refused(response).await);
    }
    let file = place_of(&response);
    let version = Version::of(file.total, &response.headers);
    let length = match &job.place.range {
        Some(range) => Some(range.end - range.start),
        None => file.total,
    };
    if file.start > base + wanted.start {
        return Err((Fault::Refused, NoAnswer::PassThrough));
    }
    let (of, hashed) = job.buffer.begin(length.and_then(PieceGrid::for_length));
    // An encoded body is the origin's and the player's business alone: one that can't be kept is passed through.
    let length =
        if response.headers.contains_key(header::CONTENT_ENCODING) { Some(u64::MAX) } else { length };
    let news = News::Head { length, shareable: may_share(&response.headers), headers: response.headers };
    send(events, job.fetch, news).await?;
    if !hashed.is_empty() {
        send(events, job.fetch, News::Bytes { up_to: job.from, hashed }).await?;
    }
    let end = wanted.end.min(length.unwrap_or(u64::MAX));
    // What a server without Range support sends before the bytes that are wanted.
    let mut skip = base + wanted.start - file.start;
    let mut at = job.from;
    let mut body = Insisting::new(response.body);
    while u64::from(at) < end {
        wait_for(&mut job.allowed, at).await;
        let frame =
            match body.frame(rest(&job, origin, &url, at, version.as_ref().filter(|_| skip == 0))).await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Err((Fault::Broken, NoAnswer::Failed(error))),
                None if length.is_none() && job.to.is_none() => break,
                None => {
                    return Err((
                        Fault::Broken,
                        NoAnswer::Failed(broken("the origin closed the connection early")),
                    ));
                }
            };
        let Ok(mut data) = frame.into_data() else { continue };
        let skipped = skip.min(data.len() as u64);
        data.advance(skipped as usize);
        skip -= skipped;
        data.truncate(usize::try_from(end - u64::from(at)).unwrap_or(usize::MAX));
        if data.is_empty() {
            continue;
        }
        let up_to = u32::try_from(data.len()).ok().and_then(|n| at.checked_add(n));
        // A length that was not told is bounded all the same.
        let Some(up_to) = up_to.filter(|&up_to| up_to <= PieceGrid::MAX_LENGTH) else {
            return Err((Fault::Refused, NoAnswer::PassThrough));
        };
        // Another fetch was told another length since: what this one brings is not wanted any more.
        let hashed = job.buffer.write(of, at, data).ok_or_else(another)?;
        at = up_to;
        send(events, job.fetch, News::Bytes { up_to, hashed }).await?;
    }
    // The last chunk of a chunked body tells that it is whole, and lets the connection be used again.
    while u64::from(at) >= end && !body.is_over() {
        match body.frame(std::future::ready(None)).await {
            Some(Ok(frame)) if frame.is_trailers() => {}
            _ => break,
        }
    }
    Ok(match length {
        None => PieceGrid::for_length(at.into()).map(|grid| job.buffer.end(of, grid)).unwrap_or_default(),
        Some(_) => Vec::new(),
    })
}

/// The body of an answer that brings the same file from offset `at` of the segment on. Only of a file whose length is known
/// can be told that it is the same, and only a server that understands Range begins within it.
async fn rest(job: &Job, origin: &Origin, url: &Url, at: u32, version: Option<&Version>) -> Option<Body> {
    let version = version?;
    let response = origin.send(ask_for(job, url.clone(), at)).await.ok()?;
    let base = job.place.range.as_ref().map_or(0, |r| r.start);
    let file = place_of(&response);
    let answers = matches!(response.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
    let same = answers && Version::of(file.total, &response.headers).as_ref() == Some(version);
    let plain = !response.headers.contains_key(header::CONTENT_ENCODING);
    (same && plain && file.start == base + u64::from(at)).then_some(response.body)
}

async fn send(events: &mpsc::Sender<Event>, fetch: FetchId, news: News) -> Result<(), Failed> {
    let gone = |_| (Fault::Broken, NoAnswer::PassThrough);
    events.send(Event::Fetch { fetch, news }).await.map_err(gone)
}

async fn wait_for(allowed: &mut watch::Receiver<u32>, at: u32) {
    // An error means that nobody limits it any more.
    let _ = allowed.wait_for(|&up_to| up_to > at).await;
}

/// What of the segment is wanted, from offset `at` on.
fn ask_for(job: &Job, url: Url, at: u32) -> Request {
    let (caller, range) = (job.caller.clone(), range_header(job, at));
    Request { caller, method: Method::GET, url, range, body: None }
}

fn range_header(job: &Job, at: u32) -> Option<String> {
    let from = u64::from(at);
    match (&job.place.range, job.to) {
        (None, None) if from == 0 => None,
        (None, None) => Some(format!("bytes={from}-")),
        (None, Some(to)) => Some(format!("bytes={from}-{}", u64::from(to) - 1)),
        (Some(range), to) => {
            let end = to.map_or(range.end, |to| range.start + u64::from(to));
            Some(format!("bytes={}-{}", range.start + from, end - 1))
        }
    }
}

/// What tells one file under a URL from its successor: length, and tag or date where there is one.
#[derive(Debug, PartialEq, Eq)]
struct Version(u64, Option<HeaderValue>);

impl Version {
    fn of(total: Option<u64>, headers: &HeaderMap) -> Option<Self> {
        let tag = headers.get(header::ETAG).or_else(|| headers.get(header::LAST_MODIFIED));
        Some(Self(total?, tag.cloned()))
    }
}

/// Where in the file a body begins, and how long the file is.
struct InFile {
    start: u64,
    total: Option<u64>,
}

fn place_of(response: &Response) -> InFile {
    let length = response.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    if response.status != StatusCode::PARTIAL_CONTENT {
        return InFile { start: 0, total: length };
    }
    let range =
        response.headers.get(header::CONTENT_RANGE).and_then(|value| content_range(value.to_str().ok()?));
    range.map_or(InFile { start: 0, total: None }, |(span, total)| InFile { start: span.start, total })
}

/// `bytes 0-99/1000` (RFC 9110 §14.4) as the bytes carried and the file's length, where told.
#[must_use]
pub fn content_range(value: &str) -> Option<(Range<u64>, Option<u64>)> {
    let (span, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then(|| (first..last.saturating_add(1), total.trim().parse().ok()))
}

/// Whether the origin lets others have what it gave us (RFC 9111 §5.2.2).
#[must_use]
pub fn may_share(headers: &HeaderMap) -> bool {
    let mut directives =
        headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    !directives.any(|value| {
        value.split(',').any(|directive| {
            let name = directive.split('=').next().unwrap_or_default().trim();
            name.eq_ignore_ascii_case("private") || name.eq_ignore_ascii_case("no-store")
        })
    })
}

fn unreachable(error: Error) -> Failed {
    // It may lead where a player follows and we, unasked, do not.
    if matches!(error, Error::Redirect(_)) {
        return (Fault::Refused, NoAnswer::PassThrough);
    }
    let fault = if error.retryable() { Fault::Unavailable } else { Fault::Refused };
    (fault, NoAnswer::Failed(error))
}

fn broken(why: &str) -> Error {
    Error::Unreachable(why.to_owned())
}

async fn refused(response: Response) -> Failed {
    let Response { status, headers, body, .. } = response;
    let fault = match status.as_u16() {
        401 | 403 => Fault::Denied,
        404 | 410 => Fault::Missing,
        408 | 429 | 500..=599 => Fault::Unavailable,
        _ => Fault::Refused,
    };
    let body = match http_body_util::Limited::new(body, REFUSAL_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => bytes::Bytes::new(),
    };
    (fault, NoAnswer::Refused(Refusal { status, headers, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_range_is_read() {
        for (text, expected) in [
            ("bytes 0-99/1000", Some((0..100, Some(1000)))),
            ("bytes 5-5/*", Some((5..6, None))),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("items 0-1/2", None),
            ("bytes 0-18446744073709551615/1", Some((0..u64::MAX, Some(1)))),
        ] {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }

    /// Not with its own words: a player may be led on where we, unasked, are not.
    #[test]
    fn where_a_redirect_is_not_followed_the_player_asks_itself() {
        for (error, passed) in [
            (Error::Redirect("no".into()), true),
            (broken("no"), false),
            (Error::Forbidden("no".into()), false),
        ] {
            let (_, answer) = unreachable(error);
            assert_eq!(matches!(answer, NoAnswer::PassThrough), passed, "{answer}");
        }
    }

    #[test]
    fn private_answers_are_not_shared() {
        for (value, shared) in [
            ("public, max-age=60", true),
            ("no-cache", true),
            ("max-age=3, no-store", false),
            ("Private", false),
            ("private=\"set-cookie\"", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(value));
            assert_eq!(may_share(&headers), shared, "{value}");
        }
    }
}
