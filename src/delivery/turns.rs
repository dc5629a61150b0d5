//! Whose turn it is to take the first copy of a segment, and what is said before it is taken.
//!
//! Turns are counted from when each viewer saw the segment, so those of two that saw it at different times may meet. Who is
//! to take it therefore says that it is loading and waits until another can have said the same; of two that do, the one with
//! the better ticket takes it, and the other takes its word back.

use std::time::Duration;

use super::lottery;
use super::neighbours::Neighbour;
use super::pieces::Pieces;
use super::policy::LOADING_PATIENCE;
use super::session::Session;
use super::supply::{View, usable};
use super::words::Has;
use crate::model::ids::PeerId;
use crate::model::time::Time;

/// When it is our turn to take the first copy, and how long we say so before we do.
pub struct Turn {
    pub at: Time,
    claim: Duration,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is not our turn before then.
    Wait(Time),
    /// Neighbours may object until then.
    Claim(Time),
    /// Now.
    Take,
}

/// Whether neighbours are bringing a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nobody is known to.
    Nobody,
    /// Somebody said that it loads; nobody waits for that longer than until then.
    Until(Time),
    /// Somebody has pieces, or, where lots are drawn, loads them: that others go on is up to theirs.
    Open,
}

impl Turn {
    /// When it comes; `None` when we may not upload.
    pub fn of(
        session: &Session,
        pieces: &Pieces,
        since: Time,
        neighbours: &[Neighbour],
        view: &View<'_>,
    ) -> Option<Self> {
        if !view.policy.upload {
            return None;
        }
        let sequence = pieces.segment.sequence;
        // Who is elsewhere in a recording hears nothing of it, and takes no turn at it.
        let near = |n: &&Neighbour| {
            n.gives(session.swarm)
                && n.watch(session.swarm).is_some_and(|w| (w.window.0..=w.window.1).contains(&sequence))
        };
        let rivals = neighbours.iter().filter(near);
        let round_trip = rivals.clone().filter_map(|n| n.round_trip).max().unwrap_or_default();
        let (crowd, duration) = (session.crowd(view.uplink), pieces.segment.duration);
        let heard = if session.joined && session.entitled { rivals.clone().count() as u32 } else { 0 };
        let claim = lottery::claim(heard, crowd, round_trip, duration);
        let wait = lottery::wait(view.me, pieces.id(), rivals.map(|n| n.peer), crowd, round_trip, duration);
        Some(Self { at: since.max(session.settled_at) + wait, claim })
    }

    /// A turn that was claimed stays one: who came since takes part in the next.
    pub fn step(&self, pieces: &Pieces, now: Time) -> Step {
        match pieces.claimed {
            Some((_, until)) if until > now => Step::Claim(until),
            Some(_) => Step::Take,
            None if self.at > now => Step::Wait(self.at),
            None if self.claim.is_zero() => Step::Take,
            None => Step::Claim(now + self.claim),
        }
    }
}

/// Whether neighbours have a segment or are getting it, and show that they do.
pub fn expected(session: &Session, pieces: &Pieces, neighbours: &[Neighbour], view: &View<'_>) -> Expected {
    let patience = pieces.segment.duration / LOADING_PATIENCE;
    let mut expected = Expected::Nobody;
    for (n, neighbour) in neighbours.iter().enumerate() {
        let Some(has) = pieces.words.has(n).filter(|_| usable(neighbour, session) && !neighbour.owes())
        else {
            continue;
        };
        if has.bits & !pieces.held() != 0 {
            return Expected::Open;
        }
        let Some(since) = has.loading.filter(|_| !is_beaten(pieces, neighbour.peer, has, view.me)) else {
            continue;
        };
        let until = pieces.fed_by_peers.map_or(since, |fed| fed.max(since)) + patience;
        if until > view.now {
            expected = match expected {
                Expected::Until(other) => Expected::Until(other.max(until)),
                _ => Expected::Until(until),
            };
        }
    }
    match expected {
        Expected::Until(_) if session.crowd(view.uplink).chance().is_some() => Expected::Open,
        expected => expected,
    }
}

/// Whether a neighbour that has nothing yet spoke up while we claim the segment, and ours is the better ticket.
fn is_beaten(pieces: &Pieces, peer: PeerId, has: Has, me: PeerId) -> bool {
    let Some(((from, _), since)) = pieces.claimed.zip(has.loading) else { return false };
    let ticket = |peer: PeerId| (lottery::ticket(peer, pieces.id()), peer);
    has.bits == 0 && since >= from && ticket(me) < ticket(peer)
}
