//! Who is met: offers that trackers bring, and answers to ours.
//!
//! What comes with an offer is proved by nobody until the connection is open, and costs its sender a message. So those that are
//! not open yet have a small part of the room, and make room for whoever answers an offer of ours.

use super::owner::{Begin, CONNECTIONS, ConnectionId, Internal, Owner};
use crate::engine::peer::Ended;
use crate::engine::sdp::{self, Neighbourhood};
use crate::model::ids::{PeerId, SwarmId};
use crate::wire::tracker::{OfferId, ToTracker};

/// Of the room one part in so many is for offers of others that are not open yet …
const KNOCKING: usize = 3;
/// … and so many places at least.
const KNOCKING_LEAST: usize = 2;

impl Owner {
    /// A peer offers a connection: taken unless we have or are making one, it is us, or it is refused.
    pub(super) async fn offered(
        &mut self,
        tracker: usize,
        swarm: SwarmId,
        peer: PeerId,
        offer_id: OfferId,
        offer: &str,
    ) {
        let knocking = self.knocking().count();
        if peer == self.options.me || self.connections.len() >= CONNECTIONS {
            return;
        }
        if self.peers.contains_key(&peer)
            || self.peers.len() >= self.room
            || knocking >= (self.room / KNOCKING).max(KNOCKING_LEAST)
        {
            return;
        }
        let offer = match sdp::incoming(offer, &self.neighbourhood()) {
            Ok(offer) if self.shunned.refuses(peer, offer.certificate) => return,
            Ok(offer) => offer,
            Err(why) => {
                tracing::debug!("an offer of {peer} is not taken: {why}");
                return;
            }
        };
        let id = self.reserve();
        let (inbox, me) = (self.inbox.clone(), self.options.me);
        let begin: Begin = Box::new(move |link, options| {
            Box::pin(async move {
                let answer = match link.answer(offer.text, &options).await {
                    Ok(answer) => sdp::outgoing(&answer),
                    Err(error) => {
                        tracing::debug!("an offer of {peer} could not be answered: {error}");
                        return false;
                    }
                };
                let answer = ToTracker::Answer {
                    info_hash: swarm,
                    peer_id: me,
                    to_peer_id: peer,
                    offer_id,
                    sdp: answer,
                };
                inbox.send(Internal::Answer { id, tracker, answer: Box::new(answer) }).await.is_ok()
            })
        });
        if self.spawn((id, swarm), Some((peer, offer.certificate)), None, begin).await {
            self.peers.insert(peer, id);
        }
    }

    /// A peer answers one of our offers. When it has also sent one itself, the offer of the smaller id is kept.
    pub(super) fn answered(&mut self, peer: PeerId, offer_id: &OfferId, answer: &str) {
        let ours =
            self.connections.iter().find(|(_, c)| c.offer.as_ref() == Some(offer_id)).map(|(id, _)| *id);
        let Some(id) = ours else { return };
        let answer = sdp::incoming(answer, &self.neighbourhood()).ok();
        let Some(answer) = answer
            .filter(|answer| peer != self.options.me && !self.shunned.refuses(peer, answer.certificate))
        else {
            self.close(id);
            return;
        };
        let rival = self.peers.get(&peer).copied();
        let glare_lost = rival.and_then(|rival| self.connections.get(&rival)).is_some_and(|c| {
            // Another certificate is somebody else's, who only calls itself so.
            let same = c.certificate == Some(answer.certificate);
            c.open || c.ours || (same && peer < self.options.me)
        });
        let full = rival.is_none() && self.peers.len().saturating_sub(self.knocking().count()) >= self.room;
        if full || glare_lost {
            self.close(id);
            return;
        }
        if let Some(rival) = rival {
            self.close(rival);
        } else if self.peers.len() >= self.room
            && let Some(oldest) = self.knocking().min()
        {
            self.close(oldest);
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let _ = connection.peer.set(peer);
        connection.certificate = Some(answer.certificate);
        connection.offer = None;
        self.peers.insert(peer, id);
        let link = connection.link.clone();
        let (inbox, deadline) = (self.inbox.clone(), self.options.opening);
        self.tasks.spawn(async move {
            let accepted = tokio::time::timeout(deadline, link.accept(answer.text)).await;
            if !matches!(accepted, Ok(Ok(()))) {
                let _ = inbox.send(Internal::Ended(id, Ended::Gone)).await;
            }
        });
    }

    /// Connections that began with an offer of somebody else's and are not open yet.
    fn knocking(&self) -> impl Iterator<Item = ConnectionId> {
        self.connections.iter().filter(|(_, c)| !c.ours && !c.open).map(|(id, _)| *id)
    }

    fn neighbourhood(&self) -> Neighbourhood {
        Neighbourhood { own: self.options.addresses.now(), lan: self.options.lan }
    }
}
