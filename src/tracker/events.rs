//! `/-/events`: the last hour, and then the statistics every two seconds, as server-sent events (HTML, 9.2).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior};

use super::answer::{Body, ask, private, sentence};
use super::connection::{Door, Inbox};

/// Listeners at the same time; the next one is turned away and may try again.
pub const LISTENERS: usize = 8;
/// From one event to the next.
const EVERY: Duration = Duration::from_secs(2);

/// One listener; its place is free again when this is dropped.
struct Listener {
    door: Arc<Door>,
    ticks: Interval,
    begun: bool,
    _place: OwnedSemaphorePermit,
}

/// An answer that ends when the client goes, or with the tracker.
pub fn follow(door: &Arc<Door>) -> Response<Body> {
    let Ok(place) = Arc::clone(&door.room).try_acquire_owned() else {
        let text = format!("{LISTENERS} listen already; close another page");
        return sentence(StatusCode::SERVICE_UNAVAILABLE, &text);
    };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = Listener { door: Arc::clone(door), ticks, begun: false, _place: place };
    let events = futures_util::stream::unfold(listener, |mut listener| async {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(event)), listener))
    });
    private(StreamBody::new(events).boxed_unsync(), "text/event-stream")
}

impl Listener {
    async fn next(&mut self) -> Option<Bytes> {
        // JSON on one line: a line end would end the field.
        if !std::mem::replace(&mut self.begun, true) {
            let past = ask(&self.door, Inbox::Past).await?;
            return Some(format!("event: past\ndata: {past}\n\n").into());
        }
        self.ticks.tick().await;
        let stats = ask(&self.door, Inbox::Stats).await?;
        Some(format!("event: stats\ndata: {stats}\n\n").into())
    }
}
