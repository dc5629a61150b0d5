//! `/-/events`: the last minutes, and then the statistics once a second, as server-sent events (HTML, 9.2), for as long as
//! somebody listens.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Interval, MissedTickBehavior};

use crate::engine::Handle;
use crate::proxy::answer::{Body, sentence, streamed};
use crate::proxy::attend::ended;
use crate::proxy::headers;

/// Listeners at the same time; the next one is turned away and may try again.
const LISTENERS: usize = 8;
/// From one event to the next.
const EVERY: Duration = Duration::from_secs(1);

/// Who may listen, and until when.
#[derive(Debug)]
pub(crate) struct Events {
    room: Arc<Semaphore>,
    closed: watch::Receiver<bool>,
}

/// One listener; its place is free again when this is dropped.
struct Listener {
    engine: Handle,
    ticks: Interval,
    begun: bool,
    closed: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Events {
    /// Events that end when `closed` turns true.
    pub(crate) fn new(closed: watch::Receiver<bool>) -> Self {
        Self { room: Arc::new(Semaphore::new(LISTENERS)), closed }
    }

    /// An answer that ends when the client goes, when no more requests are to be taken, or with the engine.
    pub(super) fn follow(&self, engine: &Handle) -> Response<Body> {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            let text = format!("{LISTENERS} listen already; close another dashboard");
            return sentence(StatusCode::SERVICE_UNAVAILABLE, &text);
        };
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (engine, closed) = (engine.clone(), self.closed.clone());
        let listener = Listener { engine, ticks, begun: false, closed, _place: place };
        let events = futures_util::stream::unfold(listener, |mut listener| async {
            let event = listener.next().await?;
            Some((Ok(Frame::data(event)), listener))
        });
        let mut answer = Response::new(streamed(events));
        let fields = answer.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers::make_inert(fields);
        answer
    }
}

impl Listener {
    async fn next(&mut self) -> Option<Bytes> {
        let first = !std::mem::replace(&mut self.begun, true);
        let document = async {
            if first {
                return ("past", self.engine.past().await);
            }
            self.ticks.tick().await;
            ("stats", self.engine.stats().await)
        };
        let (name, document) = tokio::select! {
            () = ended(&mut self.closed) => return None,
            named = document => named,
        };
        if document.is_null() {
            return None;
        }
        // JSON on one line: a line end would end the field.
        Some(format!("event: {name}\ndata: {document}\n\n").into())
    }
}
