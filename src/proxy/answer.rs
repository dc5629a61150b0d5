//! Answers: the origin's passed on, and our own sentences.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};

use super::{address, headers};
use crate::engine::origin;

/// The body of any answer.
pub type Body = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A body of known bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A body that comes frame by frame.
pub fn streamed<S>(frames: S) -> Body
where
    S: Stream<Item = Result<Frame<Bytes>, Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    StreamBody::new(Exclusive(Mutex::new(Box::pin(frames)))).boxed()
}

/// A stream that only its owner polls, so that nothing in it needs to be shared between threads.
struct Exclusive<S>(Mutex<Pin<Box<S>>>);

impl<S: Stream> Stream for Exclusive<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll_next(cx)
    }
}

/// One plain sentence with a status: an answer of the daemon's own.
pub fn sentence(status: StatusCode, text: &str) -> Response<Body> {
    let mut answer = Response::new(full(format!("{text}\n")));
    *answer.status_mut() = status;
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers::make_inert(fields);
    answer
}

/// An origin's answer, streamed through.
pub fn pass_on(response: origin::Response, inert: bool, waited: Duration) -> Response<Body> {
    let mut kept = headers::to_player(&response.headers, inert);
    if inert {
        redirect_to_us(&mut kept, &response);
    }
    let mut answer = Response::new(response.body.map_err(Into::into).boxed());
    *answer.status_mut() = response.status;
    *answer.headers_mut() = kept;
    mark(&mut answer, "http", waited);
    answer
}

/// A Location that is left to the player, such as the one of a 201, leads it back to us and not past us.
fn redirect_to_us(kept: &mut http::HeaderMap, response: &origin::Response) {
    let Some(location) = kept.remove(header::LOCATION) else { return };
    let url = response.url.join(&origin::location(&location)).ok();
    let path = url.filter(|url| matches!(url.scheme(), "http" | "https"));
    let path = path.and_then(|url| address::path_for(&(&url).into(), response.reach, None));
    if let Some(path) = path.and_then(|path| HeaderValue::from_str(&path).ok()) {
        kept.insert(header::LOCATION, path);
    }
}

/// An origin's refusal, kept whole.
pub fn refusal(refusal: origin::Refusal, inert: bool, waited: Duration) -> Response<Body> {
    let mut answer = Response::new(full(refusal.body));
    *answer.status_mut() = refusal.status;
    *answer.headers_mut() = headers::to_player(&refusal.headers, inert);
    // The body may have been cut: its length is what is here.
    answer.headers_mut().remove(header::CONTENT_LENGTH);
    mark(&mut answer, "http", waited);
    answer
}

/// What is said when the origin has no answer.
pub fn no_answer(error: &origin::Error) -> Response<Body> {
    let (status, text) = match error {
        origin::Error::TooSlow(..) => (StatusCode::GATEWAY_TIMEOUT, error.to_string()),
        origin::Error::Forbidden(_) => (StatusCode::FORBIDDEN, error.to_string()),
        origin::Error::Invalid(_) => (StatusCode::BAD_REQUEST, error.to_string()),
        origin::Error::Unreachable(_) => {
            (StatusCode::BAD_GATEWAY, format!("the origin can't be reached: {error}"))
        }
        origin::Error::Redirect(_) | origin::Error::Certificate(_) => {
            (StatusCode::BAD_GATEWAY, error.to_string())
        }
        // Nobody is left to read it.
        origin::Error::Abandoned(_) => (StatusCode::BAD_REQUEST, error.to_string()),
    };
    sentence(status, &text)
}

/// Says where the bytes come from and how long they were waited for (Server-Timing, W3C).
pub fn mark(answer: &mut Response<Body>, source: &'static str, waited: Duration) {
    let fields = answer.headers_mut();
    fields.insert("x-paceline-source", HeaderValue::from_static(source));
    let timing = format!("{source};dur={:.1}", waited.as_secs_f64() * 1e3);
    if let Ok(timing) = HeaderValue::from_str(&timing) {
        fields.append("server-timing", timing);
    }
}

/// The beginning of an origin's body, read to see what it is. Nothing is copied.
#[derive(Debug)]
pub struct Beginning {
    frames: VecDeque<Bytes>,
    length: usize,
    /// How the body ended, where it did.
    ended: Option<Result<(), origin::Error>>,
    rest: origin::Body,
}

impl Beginning {
    /// Nothing of `rest` is read yet.
    #[must_use]
    pub fn new(rest: origin::Body) -> Self {
        Self { frames: VecDeque::new(), length: 0, ended: None, rest }
    }

    /// Reads until there are `least` bytes, or the end. Returns whether there are.
    pub async fn read(&mut self, least: usize) -> bool {
        while self.length < least && self.ended.is_none() {
            match self.rest.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.length += data.len();
                        self.frames.push_back(data);
                    }
                }
                Some(Err(error)) => self.ended = Some(Err(error)),
                None => self.ended = Some(Ok(())),
            }
        }
        self.length >= least
    }

    /// What was read so far, in one piece.
    pub fn bytes(&mut self) -> Bytes {
        if self.frames.len() != 1 {
            let mut whole = Vec::with_capacity(self.length);
            self.frames.iter().for_each(|frame| whole.extend_from_slice(frame));
            self.frames = VecDeque::from([Bytes::from(whole)]);
        }
        self.frames[0].clone()
    }

    /// Why it broke off, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&origin::Error> {
        self.ended.as_ref().and_then(|ended| ended.as_ref().err())
    }
}

/// What was read, then the rest.
impl http_body::Body for Beginning {
    type Data = Bytes;
    type Error = origin::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, origin::Error>>> {
        if let Some(data) = self.frames.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match &mut self.ended {
            Some(ended) => Poll::Ready(std::mem::replace(ended, Ok(())).err().map(Err)),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
            && match &self.ended {
                Some(ended) => ended.is_ok(),
                None => self.rest.is_end_stream(),
            }
    }
}
