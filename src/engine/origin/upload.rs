//! A request's body on its way out, and the wait for the answer to it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;

use super::{Body, Error};

/// A body that tells when it moves. Trailers end here: an origin may take them for headers (RFC 9110 §6.5.1).
#[derive(Debug)]
pub struct Upload {
    body: Body,
    moved: watch::Sender<()>,
}

impl Upload {
    /// `body`, and what tells of each of its frames; closed when the body is done with.
    #[must_use]
    pub fn new(body: Body) -> (Self, watch::Receiver<()>) {
        let (moved, seen) = watch::channel(());
        (Self { body, moved }, seen)
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.moved.send_replace(());
        Poll::Ready(frame.filter(|frame| !frame.as_ref().is_ok_and(Frame::is_trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Waits for `answer`, but at most `patience` after the last of the request went out.
///
/// `None`: it took too long.
pub async fn patiently<T>(
    answer: impl Future<Output = T>,
    patience: Duration,
    upload: Option<watch::Receiver<()>>,
) -> Option<T> {
    let Some(mut moved) = upload else { return tokio::time::timeout(patience, answer).await.ok() };
    let late = async {
        loop {
            match tokio::time::timeout(patience, moved.changed()).await {
                Ok(Ok(())) => {}
                // All of it is out: now it is the origin's turn.
                Ok(Err(_)) => return tokio::time::sleep(patience).await,
                Err(_) => return,
            }
        }
    };
    tokio::select! {
        answer = answer => Some(answer),
        () = late => None,
    }
}
