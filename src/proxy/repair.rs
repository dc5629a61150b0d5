//! What goes wrong at the origin and need not reach the player: a momentary error is asked again, a body that breaks off
//! is gone on with where it ended. Listed segments are repaired by the engine; this is for everything else.

use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use url::Url;

use super::{Shared, directives, range};
use crate::delivery::policy::{ASK_BESIDE, FETCH_TRIES, LONGEST_HOLD};
use crate::delivery::retry::origin_pause;
use crate::engine::origin::{Body, Caller, Error, Origin, Request, Response};

/// No try begins later than this after the first one, so that the last may take as long again within what players bear.
const TRIED: Duration = Duration::from_secs(4);

/// Asks the origin; a GET or HEAD is asked again when it fails in a way that may be over in a moment, and once more beside
/// the first when that is silent.
///
/// # Errors
/// The last try's.
pub async fn ask(
    caller: &Caller,
    method: &Method,
    url: &Url,
    range: Option<String>,
    body: Option<Body>,
    shared: &Shared,
) -> Result<Response, Error> {
    asked(caller, method, url, range, body, (shared, true)).await
}

/// The same, but never two at a time: for whom has other ways with an origin that is silent.
///
/// # Errors
/// The last try's.
pub async fn ask_alone(
    caller: &Caller,
    url: &Url,
    range: Option<String>,
    shared: &Shared,
) -> Result<Response, Error> {
    asked(caller, &Method::GET, url, range, None, (shared, false)).await
}

async fn asked(
    caller: &Caller,
    method: &Method,
    url: &Url,
    range: Option<String>,
    body: Option<Body>,
    (shared, beside): (&Shared, bool),
) -> Result<Response, Error> {
    let repeatable = body.is_none() && matches!(*method, Method::GET | Method::HEAD);
    // A server may keep a blocking reload waiting for as long as it likes (RFC 8216bis §6.2.5.2), and a part that is to come.
    let held = directives::any(url) || shared.parts.are_at(caller.viewer, url);
    let beside = beside && repeatable && !held && caller.own_browser;
    let (mut body, began, origin) = (body, Instant::now(), shared.engine.origin());
    for failures in 1.. {
        let request = |body| {
            let (method, url, range) = (method.clone(), url.clone(), range.clone());
            Request { caller: caller.clone(), method, url, range, body }
        };
        let answer = match beside {
            true => origin.send_twice(|| request(None)).await,
            false => origin.send(request(body.take())).await,
        };
        let Some(pause) = pause(&answer, failures).filter(|_| repeatable && failures < FETCH_TRIES) else {
            return answer;
        };
        if began.elapsed().saturating_add(pause) > TRIED {
            return answer;
        }
        drop(answer);
        tokio::time::sleep(pause).await;
    }
    Err(Error::Invalid("it was never asked".to_owned()))
}

/// How long to wait before what was answered so for the `failures`-th time is asked again; `None`: it is the answer. A server
/// that says when it will be back means it (RFC 9110 §10.2.3).
fn pause(answer: &Result<Response, Error>, failures: u8) -> Option<Duration> {
    let said = match answer {
        Ok(response) if is_momentary(response.status) => retry_after(&response.headers),
        Err(Error::Unreachable(_)) => Duration::ZERO,
        Ok(_) | Err(_) => return None,
    };
    Some(origin_pause(failures).max(said))
}

/// What a server can't do and won't, and what a network says that wants somebody to log in, is not over in a moment.
fn is_momentary(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500..=599)
        && !matches!(
            status,
            StatusCode::NOT_IMPLEMENTED
                | StatusCode::HTTP_VERSION_NOT_SUPPORTED
                | StatusCode::NETWORK_AUTHENTICATION_REQUIRED
        )
}

/// When to ask again, in seconds or as a date by the clock that wrote Date; at once, where that is not told.
fn retry_after(headers: &HeaderMap) -> Duration {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::trim);
    let Some(said) = text(header::RETRY_AFTER) else { return Duration::ZERO };
    if let Ok(seconds) = said.parse() {
        return Duration::from_secs(seconds);
    }
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let now = text(header::DATE).and_then(date).unwrap_or_else(SystemTime::now);
    date(said).and_then(|at| at.duration_since(now).ok()).unwrap_or_default()
}

/// The same answer with a body that is gone on with by Range when it breaks off, and asked for once more beside when nothing comes
/// of it, where that is safe: the file has a name for its version, and its length is known. Where it came from is asked as it was before: after a redirect that is another
/// host than the player's, which only has to break off to be asked again.
pub fn resumed(response: Response, method: &Method, shared: &Shared) -> Response {
    let Some(span) = span_of(&response).filter(|_| *method == Method::GET) else { return response };
    let validator = [header::ETAG, header::LAST_MODIFIED].into_iter().find_map(|name| {
        response.headers.get(name).filter(|value| !value.as_bytes().starts_with(b"W/")).cloned()
    });
    let Some(validator) = validator else { return response };
    let Response { url, caller, reach, status, headers, body } = response;
    let resume = Resume {
        origin: shared.engine.origin().clone(),
        caller: caller.clone(),
        url: url.clone(),
        validator,
        at: span.0,
        end: span.1,
        failures: 0,
    };
    // A part that is to come is silent for as long as it takes.
    let held = shared.parts.are_at(caller.viewer, &url);
    let alarm = (!held).then(|| Box::pin(tokio::time::sleep(ASK_BESIDE)));
    let body = Resuming { body: Some(body), resume, opening: None, alarm, waiting: false };
    Response { url, caller, reach, status, headers, body: body.boxed() }
}

/// Which bytes of the file the body carries.
fn span_of(response: &Response) -> Option<(u64, u64)> {
    if response.headers.contains_key(header::CONTENT_ENCODING) {
        return None;
    }
    match response.status {
        StatusCode::OK => {
            let length = response.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
            Some((0, length))
        }
        StatusCode::PARTIAL_CONTENT => {
            range::content_range(&response.headers).map(|(span, _)| (span.start, span.end))
        }
        _ => None,
    }
}

/// What is needed to go on.
#[derive(Clone, Debug)]
struct Resume {
    origin: Origin,
    caller: Caller,
    url: Url,
    validator: HeaderValue,
    at: u64,
    end: u64,
    failures: u8,
}

/// The rest, and how often something failed by then.
type Opening = Pin<Box<dyn Future<Output = Result<(Body, u8), Error>> + Send>>;

/// A body that outlives its connection.
struct Resuming {
    body: Option<Body>,
    resume: Resume,
    /// The rest is being asked for; beside the body, where there is one.
    opening: Option<std::sync::Mutex<Opening>>,
    /// When the rest is asked for though the body is there; once.
    alarm: Option<Pin<Box<tokio::time::Sleep>>>,
    /// It is waited for: a player that pauses reads nothing, and the body is not silent for that.
    waiting: bool,
}

impl Resume {
    /// Asks for the rest, again where that fails in a way that may be over in a moment. `error` is what is told in the end: how
    /// the body broke off.
    async fn open(mut self, error: Error) -> Result<(Body, u8), Error> {
        self.caller.headers.insert(header::IF_RANGE, self.validator.clone());
        let (began, mut wait) = (Instant::now(), origin_pause(self.failures));
        loop {
            tokio::time::sleep(wait).await;
            let request = Request {
                caller: self.caller.clone(),
                method: Method::GET,
                url: self.url.clone(),
                range: Some(format!("bytes={}-{}", self.at, self.end - 1)),
                body: None,
            };
            let answer = self.origin.send(request).await;
            let Some(pause) = pause(&answer, self.failures + 1) else {
                let rest =
                    answer.ok().filter(|response| is_rest(response, self.at..self.end, &self.validator));
                return rest.map(|response| (response.body, self.failures)).ok_or(error);
            };
            (wait, self.failures) = (pause, self.failures + 1);
            if self.failures >= FETCH_TRIES || began.elapsed().saturating_add(wait) > LONGEST_HOLD {
                return Err(error);
            }
        }
    }
}

impl Resuming {
    fn open(&mut self, error: Error) {
        let opening: Opening = Box::pin(self.resume.clone().open(error));
        self.opening = Some(std::sync::Mutex::new(opening));
    }

    /// Takes the rest for the body as soon as it is there. Ready with an error where there is no body and no rest.
    fn poll_opening(&mut self, cx: &mut Context<'_>) -> Poll<Option<Error>> {
        let Some(opening) = &mut self.opening else { return Poll::Ready(None) };
        let opening = opening.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let opened = std::task::ready!(opening.as_mut().poll(cx));
        self.opening = None;
        match opened {
            Ok((body, failures)) => {
                (self.body, self.resume.failures) = (Some(body), failures);
                Poll::Ready(None)
            }
            // What is there may go on yet.
            Err(error) => Poll::Ready(Some(error).filter(|_| self.body.is_none())),
        }
    }

    /// So many bytes of the body came: what is asked for beside begins where it was before.
    fn came(&mut self, bytes: usize) {
        self.resume.at += bytes as u64;
        self.opening = None;
        self.waiting = false;
    }
}

/// Whether these are the bytes that were asked for.
fn is_rest(response: &Response, bytes: Range<u64>, validator: &HeaderValue) -> bool {
    let same = [header::ETAG, header::LAST_MODIFIED]
        .iter()
        .any(|name| response.headers.get(name) == Some(validator));
    match response.status {
        StatusCode::PARTIAL_CONTENT => {
            range::content_range(&response.headers).is_some_and(|(span, _)| span == bytes)
        }
        // Before there was any of it, all of it.
        StatusCode::OK => same && span_of(response) == Some((bytes.start, bytes.end)),
        _ => false,
    }
}

impl http_body::Body for Resuming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        loop {
            if let Poll::Ready(Some(error)) = this.poll_opening(cx) {
                return Poll::Ready(Some(Err(error)));
            }
            let Some(body) = &mut this.body else {
                return if this.opening.is_some() { Poll::Pending } else { Poll::Ready(None) };
            };
            let error = match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.came(frame.data_ref().map_or(0, Bytes::len));
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(None) if this.resume.at >= this.resume.end => return Poll::Ready(None),
                Poll::Ready(None) => Error::Unreachable("the origin closed the connection early".to_owned()),
                Poll::Ready(Some(Err(error))) => error,
                Poll::Pending => {
                    let Some(alarm) = &mut this.alarm else { return Poll::Pending };
                    if !std::mem::replace(&mut this.waiting, true) {
                        alarm.as_mut().reset(tokio::time::Instant::now() + ASK_BESIDE);
                    }
                    std::task::ready!(alarm.as_mut().poll(cx));
                    this.alarm = None;
                    this.open(Error::Unreachable("nothing more came".to_owned()));
                    continue;
                }
            };
            this.body = None;
            this.resume.failures += 1;
            if this.resume.failures >= FETCH_TRIES || this.resume.at >= this.resume.end {
                return Poll::Ready(Some(Err(error)));
            }
            if this.opening.is_none() {
                this.open(error);
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.opening.is_none() && self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.resume.end.saturating_sub(self.resume.at))
    }
}
