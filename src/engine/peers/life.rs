//! One connection's task, from its first step to its end.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};

use super::options::Options;
use super::owner::{Begin, ConnectionId, INBOX, Internal};
use crate::engine::link::Event;
use crate::engine::peer::{Ended, Incoming, Outgoing, Peer};
use crate::model::ids::PeerId;
use crate::wire::message::Message;

/// One connection's task.
pub(super) struct Life {
    pub id: ConnectionId,
    pub link: Peer,
    pub peer: Arc<OnceLock<PeerId>>,
    pub options: Arc<Options>,
    pub inbox: mpsc::Sender<Internal>,
    pub events: mpsc::Sender<Event>,
}

impl Life {
    pub async fn live(
        self,
        begin: Begin,
        ours: bool,
        control: mpsc::Receiver<Message>,
        bulk: mpsc::Receiver<Outgoing>,
    ) {
        let (id, inbox) = (self.id, self.inbox.clone());
        // A panic of the stack ends this connection, no other.
        let ended = AssertUnwindSafe(self.through(begin, ours, control, bulk)).catch_unwind().await;
        let _ = inbox.send(Internal::Ended(id, ended.unwrap_or(Ended::Misbehaved))).await;
    }

    async fn through(
        self,
        begin: Begin,
        ours: bool,
        control: mpsc::Receiver<Message>,
        bulk: mpsc::Receiver<Outgoing>,
    ) -> Ended {
        if !begin(self.link.clone(), Arc::clone(&self.options)).await {
            return Ended::Gone;
        }
        let patience =
            if ours { self.options.offer_life + self.options.opening } else { self.options.opening };
        let (opened, open) = oneshot::channel();
        let (incoming, arriving) = mpsc::channel(INBOX);
        let run = self.link.run(patience, opened, incoming, control, bulk);
        let (ended, ()) = tokio::join!(run, self.forward(open, arriving));
        ended
    }

    /// Hands on what comes, once the brain knows the peer.
    async fn forward(&self, open: oneshot::Receiver<()>, mut arriving: mpsc::Receiver<Incoming>) {
        if open.await.is_err() {
            return;
        }
        let (ready, known) = oneshot::channel();
        let _ = self.inbox.send(Internal::Opened(self.id, ready)).await;
        let (Ok(()), Some(&peer)) = (known.await, self.peer.get()) else { return };
        while let Some(incoming) = arriving.recv().await {
            let event = match incoming {
                Incoming::Said(message) => Event::Said { peer, message },
                Incoming::Piece { segment, piece, bytes, hash } => {
                    Event::Piece { peer, segment, piece, bytes, hash }
                }
                Incoming::Sent { segment, piece } => Event::Sent { peer, segment, piece },
            };
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }
}
