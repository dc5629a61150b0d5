//! What memory to give up.
//!
//! Played live segments go after [`LIVE_KEEP`]; beyond the limit the segments go that nobody here needs, first those of
//! which the neighbours have most copies, then the oldest; and then those that are needed last. What a player waits for, or
//! what is on its way, stays.
//!
//! How much is here is counted as it comes, and only where that is much is everything looked at.

use std::cmp::Reverse;
use std::time::Duration;

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

/// Segments of renditions that grow which are too old to be kept. There is no other that is given up for its age.
pub fn outdated(sessions: &[Session], now: Time) -> Vec<(usize, SegmentId)> {
    let mut gone = Vec::new();
    for (index, session) in sessions.iter().enumerate().filter(|(_, s)| s.timeline.kind.grows()) {
        let rear = session.rear();
        let old = session.active.iter().filter(|pieces| {
            // A name that no manifest has listed in all that time was a lie, or a stream that went another way.
            let unneeded = is_behind(pieces, rear) || !pieces.listed;
            pieces.idle() && unneeded && expired(session, pieces, now)
        });
        gone.extend(old.map(|pieces| (index, pieces.id())));
    }
    gone
}

/// What is to be given up so that all sessions together keep no more than `limit` bytes, and how many they keep then.
pub fn surplus(sessions: &[Session], limit: u64) -> (Vec<(usize, SegmentId)>, u64) {
    let all = |session: &Session| session.active.iter().map(Pieces::footprint).sum::<u64>();
    let mut used: u64 = sessions.iter().map(all).sum();
    let (mut gone, mut spare) = (Vec::new(), Vec::new());
    if used <= limit {
        return (gone, used);
    }
    for (index, session) in sessions.iter().enumerate() {
        let rear = session.rear();
        for pieces in session.active.iter().filter(|pieces| pieces.idle()) {
            let (bytes, needed) = (pieces.footprint(), !is_behind(pieces, rear));
            if bytes > 0 {
                let copies = pieces.words.bits().filter(|&bits| bits != 0).count();
                let (ahead, copies) =
                    if needed { (ahead(session, pieces), 0) } else { (Duration::ZERO, copies) };
                let rank = (needed, Reverse(ahead), Reverse(copies), pieces.segment.sequence);
                spare.push((rank, index, pieces.id(), bytes));
            }
        }
    }
    spare.sort_by_key(|&(rank, ..)| rank);
    for (_, index, id, bytes) in spare {
        if used <= limit {
            break;
        }
        gone.push((index, id));
        used -= bytes;
    }
    (gone, used)
}

/// Every player here is past it.
fn is_behind(pieces: &Pieces, rear: Option<u64>) -> bool {
    rear.is_none_or(|rear| pieces.segment.sequence < rear)
}

/// How much media lies between a segment and the player that comes to it next.
fn ahead(session: &Session, pieces: &Pieces) -> Duration {
    let sequence = pieces.segment.sequence;
    let before = session.players().map(|d| d.front).filter(|&front| front <= sequence).max();
    let between = sequence - before.unwrap_or(sequence);
    session.timeline.target.saturating_mul(u32::try_from(between).unwrap_or(u32::MAX))
}

fn expired(session: &Session, pieces: &Pieces, now: Time) -> bool {
    let listed =
        session.timeline.segments.first().is_some_and(|first| pieces.segment.sequence >= first.sequence);
    let never_came = pieces.held() == 0;
    let gone = session.timeline.kind == Kind::Live && (!listed || never_came);
    let invented = session.timeline.kind.grows() && !pieces.listed;
    (gone || invented) && now - pieces.seen > LIVE_KEEP
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::AskId;
    use crate::delivery::demand::Demand;
    use crate::delivery::pieces::Ask;
    use crate::model::ids::SwarmId;
    use crate::model::timeline::{Choice, PieceGrid, Segment, Timeline};
    use crate::wire::digest::PieceHash;

    const LENGTH: u64 = 1000;

    fn segment(sequence: u64) -> Segment {
        Segment { id: SegmentId(sequence), sequence, duration: Duration::from_secs(4) }
    }

    /// A rendition that lists 0 to 9, of which these are here, as many neighbours having each; its player has come to 3.
    fn session(kind: Kind, here: &[(u64, usize)]) -> Session {
        let segments = (0..10).map(segment).collect();
        let target = Duration::from_secs(4);
        let timeline =
            Timeline { swarm: SwarmId([1; 20]), kind, target, choice: Choice::default(), segments };
        let mut session = Session::new(timeline, Time::ZERO);
        session.demands.push(Demand::new(1, 3, Time::ZERO));
        for &(sequence, copies) in here {
            let pieces = session.open(segment(sequence), true, Time::ZERO);
            pieces.set_length(PieceGrid::for_length(LENGTH).unwrap(), true);
            pieces.own_piece(0, PieceHash([0; 16]));
            (0..copies).for_each(|n| pieces.words.announces(n, 1, false, Time::ZERO));
        }
        session
    }

    fn waits_for(session: &mut Session, sequence: u64) {
        let (from, to, now) = (0, None, Time::ZERO);
        let ask = Ask {
            id: AskId(1),
            viewer: 1,
            from,
            to,
            ready: 0,
            took: 0,
            asked: now,
            fed: now,
            needed: None,
            hit: true,
        };
        session.pieces(SegmentId(sequence)).unwrap().asks.push(ask);
    }

    fn names(gone: &[(usize, SegmentId)]) -> Vec<u64> {
        gone.iter().map(|(_, id)| id.0).collect()
    }

    #[test]
    fn what_nobody_needs_goes_first_and_of_it_what_others_have_and_of_that_the_oldest() {
        let mut sessions = [session(Kind::Vod, &[(0, 1), (1, 2), (2, 1), (3, 0), (4, 3), (5, 9), (6, 0)])];
        waits_for(&mut sessions[0], 5);
        assert_eq!(surplus(&sessions, 7 * LENGTH), (vec![], 7 * LENGTH), "to the byte");
        let (gone, used) = surplus(&sessions, 7 * LENGTH - 1);
        assert_eq!((names(&gone), used), (vec![1], 6 * LENGTH), "no more than has to");
        let (gone, used) = surplus(&sessions, 0);
        assert_eq!(names(&gone), [1, 0, 2, 6, 4, 3], "of what is needed the last first, whoever has it");
        assert_eq!(used, LENGTH, "what a player waits for stays");
    }

    #[test]
    fn what_the_nearest_player_comes_to_last_goes_before_what_another_comes_to_sooner() {
        let mut sessions = [session(Kind::Vod, &[(3, 0), (4, 0), (5, 0), (7, 0), (8, 0)])];
        sessions[0].demands.push(Demand::new(2, 7, Time::ZERO));
        assert_eq!(names(&surplus(&sessions, 0).0), [5, 4, 8, 3, 7]);
    }

    #[test]
    fn all_renditions_share_the_limit() {
        let sessions = [session(Kind::Vod, &[(1, 1), (2, 1)]), session(Kind::Live, &[(0, 1), (1, 2)])];
        let (gone, used) = surplus(&sessions, LENGTH);
        assert_eq!(gone, [(1, SegmentId(1)), (1, SegmentId(0)), (0, SegmentId(1))]);
        assert_eq!(used, LENGTH);
    }

    #[test]
    fn a_played_live_segment_goes_some_time_after_it_is_listed_no_more() {
        let kept = Time::ZERO + LIVE_KEEP;
        let later = kept + Duration::from_micros(1);
        for kind in [Kind::Live, Kind::Event, Kind::Vod] {
            let mut sessions = [session(kind, &[(1, 0), (2, 0), (3, 0)])];
            assert_eq!(outdated(&sessions, later), [], "{kind:?}: listed");
            sessions[0].timeline.segments = (2..10).map(segment).collect();
            assert_eq!(outdated(&sessions, kept), [], "{kind:?}: kept for others");
            let gone = if kind == Kind::Live { vec![1] } else { vec![] };
            assert_eq!(names(&outdated(&sessions, later)), gone, "{kind:?}");
            waits_for(&mut sessions[0], 1);
            assert_eq!(outdated(&sessions, later), [], "{kind:?}: a player waits for it");
        }
    }

    #[test]
    fn what_no_manifest_ever_listed_goes_though_nobody_is_past_it() {
        let later = Time::ZERO + LIVE_KEEP * 2;
        for kind in [Kind::Live, Kind::Event, Kind::Vod] {
            let mut sessions = [session(kind, &[(8, 0)])];
            sessions[0].pieces(SegmentId(8)).unwrap().listed = false;
            let gone = if kind.grows() { vec![8] } else { vec![] };
            assert_eq!(names(&outdated(&sessions, later)), gone, "{kind:?}");
        }
    }
}
