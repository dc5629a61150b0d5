//! A second try beside a first that is silent.
//!
//! A connection on which nothing comes (a cache that hangs, a packet filter that has forgotten it) may stay so until it is
//! given up, long after players have. Another one usually leads elsewhere, and costs the origin one request.

use std::pin::pin;

use http_body_util::BodyExt;

use super::{Body, Error, Origin, Request, Response};
use crate::delivery::policy::ASK_BESIDE;

type Frame = Option<Result<hyper::body::Frame<bytes::Bytes>, Error>>;

impl Origin {
    /// Sends `request`, and once more beside it if there is no answer for [`ASK_BESIDE`]. The first answer counts; a
    /// refusal of the second only if the first fails: an origin may serve one at a time.
    ///
    /// # Errors
    /// As [`send`](Self::send), when neither is answered.
    pub async fn send_twice(&self, request: impl Fn() -> Request) -> Result<Response, Error> {
        let mut first = pin!(self.send(request()));
        if let Ok(answer) = tokio::time::timeout(ASK_BESIDE, &mut first).await {
            return answer;
        }
        let mut second = pin!(self.send(request()));
        let refused = tokio::select! {
            answer = &mut first => return if answer.is_ok() { answer } else { second.await },
            answer = &mut second => match answer {
                Ok(answer) if answer.status.is_success() => return Ok(answer),
                refused => refused,
            },
        };
        match first.await {
            Ok(answer) => Ok(answer),
            Err(error) => refused.or(Err(error)),
        }
    }
}

/// A body that is asked for once more, from where it stands, if nothing comes of it for [`ASK_BESIDE`].
#[derive(Debug)]
pub struct Insisting {
    body: Body,
    again: bool,
}

impl Insisting {
    /// Of an answer that has begun.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self { body, again: true }
    }

    /// The next frame. `rest` asks for what is still to come, and answers with a body in which exactly that comes, or with
    /// `None`; it is dropped when the first body goes on meanwhile.
    pub async fn frame(&mut self, rest: impl Future<Output = Option<Body>>) -> Frame {
        if !self.again {
            return self.body.frame().await;
        }
        if let Ok(frame) = tokio::time::timeout(ASK_BESIDE, self.body.frame()).await {
            return frame;
        }
        self.again = false;
        let mut rest = pin!(rest);
        let other = tokio::select! {
            frame = self.body.frame() => return frame,
            other = &mut rest => other,
        };
        if let Some(other) = other {
            self.body = other;
        }
        self.body.frame().await
    }

    /// Whether nothing more comes.
    #[must_use]
    pub fn is_over(&self) -> bool {
        http_body::Body::is_end_stream(&self.body)
    }
}
