//! A host's connections: who it meets through the tracker, what it says to whom, who goes.

use std::time::Duration;

use super::content::forgery;
use super::event::{Incoming, ToBroker, What, host_of, offer};
use super::host::{Due, Host, Link, OPENING, Scene, peer_id};
use super::said::Said;
use super::scenario::Role;
use crate::delivery::Input;
use crate::delivery::chance::{Chance, mix};
use crate::model::ids::{PeerId, SwarmId};
use crate::model::time::Time;
use crate::wire::message::Message;
use crate::wire::tracker::{Event, Extra, FromTracker, Offer, OfferId, ToTracker};

/// Hosts that are refused; the oldest are forgotten.
const SHUNNED: usize = 64;

impl Host {
    pub(super) fn link(&mut self, peer: u32) -> Option<&mut Link> {
        self.links.iter_mut().find(|l| l.peer == peer)
    }

    /// Says something to a neighbour; on an ordered channel it waits behind a piece that is leaving for the same one, and before
    /// the uplink behind whatever stands there.
    pub(super) fn say(&mut self, peer: PeerId, message: Message, scene: &mut Scene<'_>) {
        let to = host_of(peer);
        let behind = self.uplink.any(|leaving| leaving.0 == to);
        if self.link(to).is_none() {
            return;
        }
        scene.tally.messages += 1;
        scene.tally.message_bytes += message.encoded_len() as u64;
        if behind {
            self.behind.push((to, message));
        } else {
            let queue = self.uplink.queue(scene.now);
            self.put(to, message, queue, scene);
        }
    }

    /// A message leaves once it has stood so long before the uplink, and is now and then lost on its way: it comes once it has
    /// been sent again, and what was said and sent after it waits for it.
    fn put(&mut self, to: u32, message: Message, queue: Duration, scene: &mut Scene<'_>) {
        let there = &scene.around.places[to as usize];
        let loss = self.place.loss(there);
        let mut at = scene.now + queue + self.place.delay(there);
        if loss > 0.0 && self.draw(scene.around.seed) < loss {
            at += self.place.resent_after(there);
        }
        let what = What::Said(self.twist(message).into());
        self.arrives(to, at, what, scene);
    }

    /// A number in [0, 1) for what it sends next: of its own, whatever the other hosts send.
    fn draw(&self, seed: u64) -> f64 {
        let which = u64::from(self.index) << 32 | u64::from(self.number);
        Chance::new(mix(seed ^ 0x1057) ^ which).unit()
    }

    /// Something is at the other end of a channel at this time, or once what went before it is.
    pub(super) fn arrives(&mut self, to: u32, at: Time, what: What, scene: &mut Scene<'_>) {
        let Some(link) = self.link(to) else { return };
        link.last = link.last.max(at);
        let at = link.last;
        self.number = self.number.wrapping_add(1);
        scene.outbox.hosts.push(Incoming { at, to, from: self.index, number: self.number, what });
    }

    /// What an adversary makes of what its Node would say.
    fn twist(&self, message: Message) -> Message {
        match message {
            Message::Have { slot, segment, sequence, length, loading, pieces } if self.role == Role::Liar => {
                // It has got nothing of what it names, and knows no hash of it either.
                let all = crate::model::timeline::PieceGrid::for_length(u64::from(length));
                let count = all.map_or(0, |grid| grid.pieces());
                let honest = sequence % 4 == 0;
                let pieces = if honest {
                    pieces
                } else {
                    (0..count).map(|piece| (piece, forgery(segment, piece, self.index))).collect()
                };
                Message::Have { slot, segment, sequence, length, loading, pieces }
            }
            message => message,
        }
    }

    /// The piece before them has left: what waited behind it goes.
    pub(super) fn flush(&mut self, to: u32, scene: &mut Scene<'_>) {
        while !self.uplink.any(|leaving| leaving.0 == to)
            && let Some(at) = self.behind.iter().position(|(waits, _)| *waits == to)
        {
            let (_, message) = self.behind.remove(at);
            // It has stood there long enough.
            self.put(to, message, Duration::ZERO, scene);
        }
    }

    pub(super) fn hears(&mut self, from: u32, said: Said, scene: &mut Scene<'_>) {
        if self.link(from).is_some_and(|l| l.open) {
            let peer = peer_id(scene.around.seed, from);
            self.tell(Input::Said { peer, message: said.into() }, scene);
        }
    }

    pub(super) fn announce(&mut self, swarm: SwarmId, offers: usize, started: bool, scene: &mut Scene<'_>) {
        let offers: Vec<Offer> = (0..offers)
            .map(|_| {
                self.offers += 1;
                Offer { offer_id: offer(self.index, self.offers), sdp: String::new() }
            })
            .collect();
        let announce = ToTracker::Announce {
            info_hash: swarm,
            peer_id: self.node.me(),
            event: started.then_some(Event::Started),
            numwant: offers.len() as u32,
            offers,
            extra: Some(Extra {
                uploads: self.node.gives(swarm),
                known: self.links.iter().map(|l| peer_id(scene.around.seed, l.peer)).collect(),
                ..Extra::default()
            }),
        };
        self.tell_tracker(Some(announce), scene);
    }

    pub(super) fn leave_swarm(&mut self, swarm: SwarmId, scene: &mut Scene<'_>) {
        let announce = ToTracker::Announce {
            info_hash: swarm,
            peer_id: self.node.me(),
            event: Some(Event::Stopped),
            numwant: 0,
            offers: Vec::new(),
            extra: None,
        };
        self.tell_tracker(Some(announce), scene);
    }

    pub(super) fn tell_tracker(&mut self, what: Option<ToTracker>, scene: &mut Scene<'_>) {
        self.number = self.number.wrapping_add(1);
        let at = scene.now + self.place.delay_to_service();
        scene.outbox.tracker.push(ToBroker { at, host: self.index, number: self.number, what });
    }

    /// The tracker is tried: TCP, TLS and WebSocket take three round trips.
    pub(super) fn connect(&mut self, scene: &mut Scene<'_>) {
        let at = scene.now + self.place.delay_to_service() * 6;
        self.due.push((at, Due::Tracker));
    }

    /// The tracker's connection is up, or gone.
    pub(super) fn tracker_up(&mut self, up: bool, scene: &mut Scene<'_>) {
        self.tell(Input::Tracker { tracker: 0, up, interval_s: 120 }, scene);
    }

    pub(super) fn tracker_says(&mut self, message: FromTracker, scene: &mut Scene<'_>) {
        match message {
            FromTracker::Interval { info_hash, interval_s, incomplete, extra, .. } => {
                let viewers = extra.map_or(incomplete, |extra| extra.viewers);
                self.tell(Input::Tracker { tracker: 0, up: true, interval_s }, scene);
                self.tell(Input::SwarmSize { tracker: 0, swarm: info_hash, viewers }, scene);
            }
            FromTracker::Offer { info_hash, peer_id, offer_id, .. } => {
                self.offered(info_hash, peer_id, offer_id, scene);
            }
            FromTracker::Answer { peer_id, .. } => self.answered(peer_id, scene),
            _ => {}
        }
    }

    fn offered(&mut self, info_hash: SwarmId, peer: PeerId, offer_id: OfferId, scene: &mut Scene<'_>) {
        let from = host_of(peer);
        let refused = self.shunned.contains(&from) || self.links.len() >= self.room;
        if refused || self.link(from).is_some() || from == self.index {
            return;
        }
        self.links.push(Link::to(from));
        let answer = ToTracker::Answer {
            info_hash,
            peer_id: self.node.me(),
            to_peer_id: peer,
            offer_id,
            sdp: String::new(),
        };
        self.tell_tracker(Some(answer), scene);
    }

    /// An offer of ours is answered: with both sides agreed the channel opens a little later.
    fn answered(&mut self, peer: PeerId, scene: &mut Scene<'_>) {
        let from = host_of(peer);
        if let Some(link) = self.link(from) {
            // Both offered: one connection is kept, whichever is under way.
            let known =
                link.open || self.due.iter().any(|(_, due)| matches!(due, Due::Opens(p) if *p == from));
            if known {
                return;
            }
        } else if self.shunned.contains(&from) || self.links.len() >= self.room {
            self.send(from, What::Closed, scene);
            return;
        } else {
            self.links.push(Link::to(from));
        }
        self.due.push((scene.now + OPENING, Due::Opens(from)));
    }

    /// The channel that we offered is open on our side.
    pub(super) fn open_with(&mut self, peer: u32, scene: &mut Scene<'_>) {
        let Some(link) = self.link(peer).filter(|l| !l.open) else { return };
        link.open = true;
        self.send(peer, What::Open, scene);
        self.tell(Input::Joined { peer: peer_id(scene.around.seed, peer) }, scene);
    }

    /// The channel that was offered to us is open.
    pub(super) fn opened(&mut self, from: u32, scene: &mut Scene<'_>) {
        let Some(link) = self.link(from) else {
            self.send(from, What::Closed, scene);
            return;
        };
        if !link.open {
            link.open = true;
            let peer = peer_id(scene.around.seed, from);
            self.tell(Input::Joined { peer }, scene);
        }
    }

    pub(super) fn send(&mut self, to: u32, what: What, scene: &mut Scene<'_>) {
        let at = scene.now + self.place.delay(&scene.around.places[to as usize]);
        self.number = self.number.wrapping_add(1);
        scene.outbox.hosts.push(Incoming { at, to, from: self.index, number: self.number, what });
    }

    /// The other side is gone.
    pub(super) fn closed(&mut self, from: u32, scene: &mut Scene<'_>) {
        if self.unlink(from, scene) == Some(true) {
            let peer = peer_id(scene.around.seed, from);
            self.tell(Input::Left { peer, misbehaved: false }, scene);
        }
    }

    pub(super) fn disconnect(&mut self, peer: PeerId, shun: bool, scene: &mut Scene<'_>) {
        let to = host_of(peer);
        if shun {
            if self.shunned.len() == SHUNNED {
                self.shunned.remove(0);
            }
            self.shunned.push(to);
        }
        if self.unlink(to, scene).is_some() {
            self.send(to, What::Closed, scene);
        }
    }

    fn unlink(&mut self, peer: u32, scene: &mut Scene<'_>) -> Option<bool> {
        let at = self.links.iter().position(|l| l.peer == peer)?;
        let link = self.links.remove(at);
        self.uplink.retain(scene.now, |leaving| leaving.0 != peer);
        self.due.retain(|(_, due)| !matches!(due, Due::Opens(p) if *p == peer));
        self.behind.retain(|(to, _)| *to != peer);
        Some(link.open)
    }
}
