//! Announcements that can't be gone by yet: their neighbour is not confirmed, or they are of segments that we do not want yet.

use super::neighbours::Neighbour;
use super::peering::{Have, Verdict};
use super::policy::Policy;
use super::session::Session;
use crate::model::ids::{SegmentId, SwarmId};
use crate::wire::message::{Message, Slot};

/// Announcements kept of a neighbour that is not confirmed yet, or of what is not wanted yet; later ones are forgotten.
const PENDING: usize = 64;
/// So many segments past what is wanted yet an announcement is kept: neighbours whose list is newer are not further ahead.
const EARLY: u64 = 8;

/// What becomes of an announcement of a segment that is not wanted: it is early where that lies a little past what we want next,
/// because our list is older than the neighbour's or our player behind its.
pub fn place(session: &Session, have: &Have<'_>, policy: &Policy) -> Verdict {
    let Some(front) = session.foremost().filter(|_| session.timeline.kind.grows()) else {
        return Verdict::Fine;
    };
    let (horizon, newest) = (session.horizon(front, policy), session.timeline.segments.last());
    let sequence = match session.listed(have.segment) {
        Some(listed) => listed.sequence,
        // Another name for what is listed is none that will be.
        None if newest.is_none_or(|newest| have.sequence <= newest.sequence) => return Verdict::Fine,
        None => have.sequence,
    };
    if sequence > horizon && sequence - horizon <= EARLY { Verdict::Early } else { Verdict::Fine }
}

/// Keeps an announcement that can't be gone by yet. That it loads a segment no longer is noted even where no room is left.
pub fn remember(neighbour: &mut Neighbour, message: Message) {
    if let Message::Have { segment: over, loading: false, .. } = message {
        for said in &mut neighbour.pending {
            if let Message::Have { segment, loading, .. } = said
                && *segment == over
            {
                *loading = false;
            }
        }
    }
    if neighbour.pending.len() < PENDING {
        neighbour.pending.push(message);
    }
}

/// Hands out what this neighbour said of a rendition before it could be gone by.
pub fn recall(neighbour: &mut Neighbour, swarm: SwarmId) -> Vec<Message> {
    let Some(watch) = neighbour.watch(swarm) else { return Vec::new() };
    let of = |message: &Message| matches!(message, Message::Have { slot, .. } if *slot == watch.slot);
    let (early, other) = std::mem::take(&mut neighbour.pending).into_iter().partition(of);
    neighbour.pending = other;
    early
}

/// Drops what a neighbour has taken back that could not be gone by yet: it must not be believed later.
pub fn take_back(neighbour: &mut Neighbour, which: impl Fn(Slot, SegmentId) -> bool) {
    neighbour.pending.retain(|message| match message {
        Message::Have { slot, segment, .. } => !which(*slot, *segment),
        _ => true,
    });
}
