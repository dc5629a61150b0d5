//! What memory to give up.
//!
//! Played live segments go after [`LIVE_KEEP`]; beyond the limit the segments go that nobody here needs, first those of
//! which the neighbours have most copies, then the oldest. What a player waits for, or what is on its way, stays.

use std::cmp::Reverse;

use super::pieces::Pieces;
use super::policy::{EVICTION_PART, EVICTION_STEP, LIVE_KEEP};
use super::session::Session;
use crate::model::ids::SegmentId;
use crate::model::time::Time;
use crate::model::timeline::Kind;

/// The room that is left free at each look at memory, in bytes: after as much new content memory is looked at again, so
/// that the limit holds in between.
pub fn slack(limit: u64) -> u64 {
    EVICTION_STEP.min(limit / EVICTION_PART)
}

/// The segments to give up now: too old, or too much for `limit` bytes over all sessions.
pub fn victims(sessions: &[Session], limit: u64, now: Time) -> Vec<(usize, SegmentId)> {
    let mut gone: Vec<(usize, SegmentId)> = Vec::new();
    let mut used = 0;
    let mut spare = Vec::new();
    for (index, session) in sessions.iter().enumerate() {
        let rear = session.rear();
        for pieces in session.active.iter() {
            let bytes = pieces.footprint();
            let behind = rear.is_none_or(|rear| pieces.segment.sequence < rear);
            // A name that no manifest has listed in all that time was a lie, or a stream that went another way.
            let unneeded = behind || !pieces.listed;
            if pieces.idle() && unneeded && expired(session, pieces, now) {
                gone.push((index, pieces.id()));
                continue;
            }
            used += bytes;
            if pieces.idle() && bytes > 0 {
                let copies = pieces.words.bits().filter(|&bits| bits != 0).count();
                spare.push((!behind, Reverse(copies), pieces.segment.sequence, index, pieces.id(), bytes));
            }
        }
    }
    if used > limit {
        spare.sort_by_key(|&(needed, copies, sequence, ..)| (needed, copies, sequence));
        for (_, _, _, index, id, bytes) in spare {
            if used <= limit {
                break;
            }
            gone.push((index, id));
            used -= bytes;
        }
    }
    gone
}

fn expired(session: &Session, pieces: &Pieces, now: Time) -> bool {
    let listed =
        session.timeline.segments.first().is_some_and(|first| pieces.segment.sequence >= first.sequence);
    let never_came = pieces.held() == 0;
    let gone = session.timeline.kind == Kind::Live && (!listed || never_came);
    let invented = session.timeline.kind.grows() && !pieces.listed;
    (gone || invented) && now - pieces.seen > LIVE_KEEP
}
