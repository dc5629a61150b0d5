//! One player's connection: how long it may take for a request, and how long it may do nothing.
//!
//! A request under way has no limit here: a paused player rightly leaves its answer unread for an hour.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::answer::Body;

/// How long a client may take for a request's head, from the first byte of it; for the first request, from the start.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a connection is kept without a request. Players alternate between two connections and ask once in a
/// segment's duration.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Nothing is under way.
const IDLE: u8 = 0;
/// A request is being read.
const HEAD: u8 = 1;
/// A request is being answered, or a tunnel is open.
const BUSY: u8 = 2;

/// What a connection is doing; shared by its socket and its answers.
#[derive(Clone, Debug)]
pub struct Doing(Arc<AtomicU8>);

impl Doing {
    /// A request has been read; it is being answered until what this returns is dropped.
    #[must_use]
    pub fn begin(&self) -> Busy {
        self.0.store(BUSY, Ordering::Relaxed);
        Busy(Some(self.clone()))
    }

    /// Whether its first request has not come yet, or one is half here.
    #[must_use]
    pub fn awaits_a_request(&self) -> bool {
        self.0.load(Ordering::Relaxed) == HEAD
    }
}

/// A request is being answered.
#[derive(Debug)]
pub struct Busy(Option<Doing>);

impl Busy {
    /// The connection is a tunnel from now on, with limits of its own.
    pub fn for_ever(mut self) {
        self.0 = None;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(doing) = &self.0 {
            doing.0.store(IDLE, Ordering::Relaxed);
        }
    }
}

/// An answer's body; when it is gone, the connection is idle.
#[derive(Debug)]
pub struct Held {
    body: Body,
    failed: Option<Box<dyn std::error::Error + Send + Sync>>,
    _busy: Option<Busy>,
}

impl Held {
    /// `body`, whose end is the end of `busy`.
    #[must_use]
    pub fn new(body: Body, busy: Option<Busy>) -> Self {
        Self { body, failed: None, _busy: busy }
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Err(error)) => {
                // The connection ends with the failure, at once: what came before it is to be written first.
                self.failed = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The limits of a connection.
#[derive(Clone, Copy, Debug)]
struct Limits {
    head: Duration,
    idle: Duration,
}

/// A player's socket, which fails when its time is up.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    doing: Doing,
    limits: Limits,
    /// What `alarm` is set for.
    set_for: u8,
    alarm: Pin<Box<Sleep>>,
}

impl Connection {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self::with(stream, Limits { head: HEAD_TIME, idle: KEEP_ALIVE })
    }

    fn with(stream: TcpStream, limits: Limits) -> Self {
        let doing = Doing(Arc::new(AtomicU8::new(HEAD)));
        let alarm = Box::pin(tokio::time::sleep(limits.head));
        Self { stream, doing, limits, set_for: HEAD, alarm }
    }

    /// What it is doing, to be told of requests.
    #[must_use]
    pub fn doing(&self) -> Doing {
        self.doing.clone()
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let doing = self.doing.0.load(Ordering::Relaxed);
        if doing != self.set_for {
            self.set_for = doing;
            match doing {
                IDLE => self.alarm.as_mut().reset(Instant::now() + self.limits.idle),
                HEAD => self.alarm.as_mut().reset(Instant::now() + self.limits.head),
                _ => {}
            }
        }
        doing != BUSY && self.alarm.as_mut().poll(cx).is_ready()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(done) => {
                let _ = this.doing.0.compare_exchange(IDLE, HEAD, Ordering::Relaxed, Ordering::Relaxed);
                Poll::Ready(done)
            }
            Poll::Pending if this.is_late(cx) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn pair(limits: Limits) -> (TcpStream, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, Connection::with(listener.accept().await.unwrap().0, limits))
    }

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(3600);

    async fn is_late(ours: &mut Connection) {
        let read = ours.read(&mut [0]).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    async fn waits(ours: &mut Connection) {
        assert!(tokio::time::timeout(SHORT * 10, ours.read(&mut [0])).await.is_err());
    }

    #[tokio::test]
    async fn a_request_has_to_come_and_to_end() {
        let (mut client, mut ours) = pair(Limits { head: SHORT, idle: LONG }).await;
        is_late(&mut ours).await;
        drop(ours.doing().begin());
        waits(&mut ours).await;
        client.write_all(b"G").await.unwrap();
        assert_eq!(ours.read(&mut [0]).await.unwrap(), 1);
        is_late(&mut ours).await;
    }

    #[tokio::test]
    async fn an_idle_connection_ends_and_one_at_work_does_not() {
        let (_client, mut ours) = pair(Limits { head: LONG, idle: SHORT }).await;
        let busy = ours.doing().begin();
        waits(&mut ours).await;
        drop(busy);
        is_late(&mut ours).await;
        ours.doing().begin().for_ever();
        waits(&mut ours).await;
    }
}
