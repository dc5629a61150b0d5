//! A body that is given up when it pauses for too long.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::Error;
use super::error::explain;

/// An origin's body, with a bound on the time between two frames.
#[derive(Debug)]
pub struct Patient {
    body: Incoming,
    host: Box<str>,
    patience: Duration,
    /// Made only when a frame has to be waited for.
    alarm: Option<Pin<Box<Sleep>>>,
    /// The last poll found nothing: the pause has begun. A reader that stays away is not the origin's pause.
    waiting: bool,
}

impl Patient {
    /// Gives `body`, which comes from `host`, up after `patience` without a frame.
    #[must_use]
    pub fn new(body: Incoming, host: &str, patience: Duration) -> Self {
        Self { body, host: host.into(), patience, alarm: None, waiting: false }
    }
}

impl Body for Patient {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| explain(&self.host, &error))));
        }
        let (patience, began) = (self.patience, !self.waiting);
        self.waiting = true;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        if began {
            alarm.as_mut().reset(Instant::now() + patience);
        }
        match Future::poll(alarm.as_mut(), cx) {
            Poll::Ready(()) => {
                Poll::Ready(Some(Err(Error::TooSlow(self.host.to_string(), patience.as_secs()))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
