//! Answers: the origin's passed on, and our own sentences.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};

use super::headers;
use crate::engine::origin;

/// The body of any answer.
pub type Body = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A body of known bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
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
    let body = response.body.map_err(Into::into).boxed();
    let mut answer = Response::new(body);
    *answer.status_mut() = response.status;
    *answer.headers_mut() = headers::to_player(&response.headers, inert);
    mark(&mut answer, "http", waited);
    answer
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
        origin::Error::Redirect(_) => (StatusCode::BAD_GATEWAY, error.to_string()),
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

/// A body that begins with bytes that were read already.
pub fn after(first: Bytes, rest: origin::Body) -> origin::Body {
    After { first: Some(first), rest }.boxed()
}

struct After {
    first: Option<Bytes>,
    rest: origin::Body,
}

impl http_body::Body for After {
    type Data = Bytes;
    type Error = origin::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, origin::Error>>> {
        match self.first.take() {
            Some(first) if !first.is_empty() => {
                std::task::Poll::Ready(Some(Ok(http_body::Frame::data(first))))
            }
            _ => std::pin::Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }
}
