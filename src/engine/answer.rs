//! A body that follows a segment while it fills.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};

/// The bytes of an [`Answer`](super::Answer), handed out as soon as the brain says they may go.
#[derive(Debug)]
pub struct AnswerBody {}

/// The segment could not be completed; the connection to the player has to be closed.
#[derive(Debug, thiserror::Error)]
#[error("the segment could not be completed: {0}")]
pub struct BrokenOff(pub String);

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        Poll::Ready(None)
    }
}
