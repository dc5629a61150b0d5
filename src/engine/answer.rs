//! A body that follows a segment while it fills.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::brain::Event;
use super::memory::Buffer;
use crate::delivery::AskId;

/// Where the bytes of an answer come from, as far as known when its head is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The origin, now.
    Http,
    /// Peers, now.
    P2p,
    /// Already here.
    Memory,
    /// More than one of these.
    Mixed,
}

impl Source {
    /// The word of the `X-Paceline-Source` header and of the statistics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::P2p => "p2p",
            Self::Memory => "memory",
            Self::Mixed => "mixed",
        }
    }
}

/// How far an answer may go; written by the brain, read by the body.
#[derive(Debug, Default)]
pub struct Progress {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    up_to: u32,
    end: Option<u32>,
    broken: Option<String>,
    waker: Option<Waker>,
}

impl Progress {
    /// The body may go up to here; `end`: where it ends, once that is known.
    pub fn advance(&self, up_to: u32, end: Option<u32>) {
        let mut state = self.lock();
        state.up_to = state.up_to.max(up_to);
        state.end = end.or(state.end);
        wake(state);
    }

    /// The rest will not come.
    pub fn break_off(&self, why: String) {
        let mut state = self.lock();
        state.broken = Some(why);
        wake(state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is plain values, right after any interruption.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Tells the brain when a request is over, however it ends.
#[derive(Debug)]
pub struct Guard {
    ask: AskId,
    /// Up to where its bytes were taken.
    took: u32,
    events: mpsc::Sender<Event>,
}

impl Guard {
    /// For this request.
    #[must_use]
    pub fn new(ask: AskId, events: mpsc::Sender<Event>) -> Self {
        Self { ask, took: 0, events }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let over = Event::Done { ask: self.ask, took: self.took };
        if let Err(mpsc::error::TrySendError::Full(over)) = self.events.try_send(over) {
            // The brain is behind: the message must not be lost, and a destructor can't wait.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                let events = self.events.clone();
                runtime.spawn(async move {
                    let _ = events.send(over).await;
                });
            }
        }
    }
}

/// The bytes of an [`Answer`](super::Answer), handed out as soon as the brain says they may go.
#[derive(Debug)]
pub struct AnswerBody {
    buffer: Arc<Buffer>,
    progress: Arc<Progress>,
    at: u32,
    end: Option<u32>,
    guard: Guard,
}

/// The segment could not be completed; the connection to the player has to be closed.
#[derive(Debug, thiserror::Error)]
#[error("the segment could not be completed: {0}")]
pub struct BrokenOff(pub String);

impl AnswerBody {
    /// A body over `buffer` from `from` on; `end` where it is known already.
    #[must_use]
    pub fn new(
        buffer: Arc<Buffer>,
        progress: Arc<Progress>,
        from: u32,
        end: Option<u32>,
        guard: Guard,
    ) -> Self {
        Self { buffer, progress, at: from, end, guard }
    }

    /// Tells the brain up to where the player's connection took its bytes; one that gets lost is made good by the next, and
    /// the last by the end.
    fn took(&mut self) {
        self.guard.took = self.at;
        let _ = self.guard.events.try_send(Event::Took { ask: self.guard.ask, up_to: self.at });
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        let mut state = this.progress.lock();
        this.end = this.end.or(state.end);
        if this.end.is_some_and(|end| this.at >= end) {
            return Poll::Ready(None);
        }
        let to = state.up_to.min(this.end.unwrap_or(u32::MAX));
        if to <= this.at {
            if let Some(why) = state.broken.clone() {
                return Poll::Ready(Some(Err(BrokenOff(why))));
            }
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        let bytes = this.buffer.read(this.at, to);
        if bytes.is_empty() {
            return Poll::Ready(Some(Err(BrokenOff("its bytes were taken back".into()))));
        }
        this.at += bytes.len() as u32;
        this.took();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_some_and(|end| self.at >= end)
    }

    fn size_hint(&self) -> SizeHint {
        match self.end {
            Some(end) => SizeHint::with_exact(u64::from(end.saturating_sub(self.at))),
            None => SizeHint::default(),
        }
    }
}
