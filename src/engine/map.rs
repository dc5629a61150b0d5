//! The buffer map: what is here of a rendition from the playhead on, segment by segment.
//!
//! The playhead can't be seen. It is placed where the lower bound of the player's buffer puts it, so the real one is never
//! further on; of several players, the one furthest behind is meant. What is wanted goes as far as the foremost needs it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::report::source;
use crate::delivery::account::Ledger;
use crate::delivery::pieces::{Pieces, ones};
use crate::delivery::policy::Policy;
use crate::delivery::session::Session;
use crate::model::ids::SegmentId;
use crate::model::time::Time;

/// Squares of one rendition.
const SQUARES: usize = 64;
/// Of them, segments before the playhead.
const PLAYED: usize = 4;
/// Of them, segments past the horizon.
const BEYOND: usize = 4;

/// One segment as the map shows it.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Square {
    sequence: u64,
    duration_s: f64,
    state: &'static str,
    fill: f64,
    window: Window,
}

/// Where a segment lies, seen from the playhead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Window {
    /// The player is past it.
    Played,
    /// What of it is missing is taken from the origin.
    Critical,
    /// Peers first.
    Prefetch,
    /// Not yet wanted.
    Beyond,
}

/// A segment that the map may show.
#[derive(Clone, Copy)]
struct Place<'a> {
    id: SegmentId,
    duration: Duration,
    pieces: Option<&'a Pieces>,
}

/// How far past the playhead nothing may be missing: the margin, and what the origin needs for a segment.
#[must_use]
pub(super) fn critical(session: &Session, policy: &Policy) -> Duration {
    policy.critical + session.fetch_time(None)
}

/// From shortly before the playhead to shortly past the horizon.
#[must_use]
pub(super) fn squares(session: &Session, policy: &Policy, now: Time) -> Vec<Square> {
    let all = || session.demands.iter().min_by_key(|d| d.front);
    let Some(demand) = session.players().min_by_key(|d| d.front).or_else(all) else { return Vec::new() };
    let critical = critical(session, policy).as_secs_f64();
    let horizon = session.horizon(session.foremost().unwrap_or(demand.front), policy);
    // Without a whole segment in its hands the player begins with what it asked for.
    let (reached, ahead) = match demand.taken_to() {
        Some(taken) => (taken + 1, demand.buffered(now)),
        None => (demand.front, Duration::ZERO),
    };
    let places = places(session, playhead(session, reached, ahead), reached);
    // What of the player's buffer is known ends where `reached` begins.
    let before: f64 = places.range(..reached).map(|(_, place)| place.duration.as_secs_f64()).sum();
    let mut starts = ahead.as_secs_f64() - before;
    let mut squares = Vec::new();
    for (&sequence, place) in &places {
        let ends = starts + place.duration.as_secs_f64();
        let window = match () {
            () if ends <= 0.0 => Window::Played,
            () if starts < critical => Window::Critical,
            () if sequence <= horizon => Window::Prefetch,
            () => Window::Beyond,
        };
        squares.push(square(sequence, place, window, &session.ledger));
        starts = ends;
    }
    let played = squares.iter().filter(|s| s.window == Window::Played).count();
    // What the player skipped was never wanted.
    let skipped = squares[..played].iter().rposition(|s| s.state == "missing").map_or(0, |at| at + 1);
    squares.drain(..skipped.max(played.saturating_sub(PLAYED)));
    let wanted = squares.iter().filter(|s| s.window != Window::Beyond).count();
    squares.truncate((wanted + BEYOND).min(SQUARES));
    squares
}

/// The listed segment in which a player is that has `ahead` of media in front of it, up to where `reached` begins.
fn playhead(session: &Session, reached: u64, ahead: Duration) -> u64 {
    let listed = &session.timeline.segments;
    let taken = listed[..listed.partition_point(|s| s.sequence < reached)].iter().rev();
    let mut left = ahead;
    let mut at = reached;
    for segment in taken {
        if left.is_zero() {
            break;
        }
        left = left.saturating_sub(segment.duration);
        at = segment.sequence;
    }
    at
}

/// What is listed, and what is held or known beside that, by sequence number; as much as can end up on the map.
fn places(session: &Session, playhead: u64, reached: u64) -> BTreeMap<u64, Place<'_>> {
    let reach = SQUARES as u64;
    let range = playhead.saturating_sub(reach)..reached.saturating_add(reach);
    let mut places = BTreeMap::new();
    for pieces in session.active.iter().filter(|p| range.contains(&p.segment.sequence)) {
        let place = Place { id: pieces.id(), duration: pieces.segment.duration, pieces: Some(pieces) };
        places.insert(pieces.segment.sequence, place);
    }
    let listed = &session.timeline.segments;
    let first = listed.partition_point(|s| s.sequence < range.start);
    for segment in listed[first..].iter().take_while(|s| s.sequence < range.end) {
        // A neighbour may have put a wrong name to the same number: what is listed holds.
        let pieces = session.active.get(segment.id);
        places.insert(segment.sequence, Place { id: segment.id, duration: segment.duration, pieces });
    }
    places
}

fn square(sequence: u64, place: &Place<'_>, window: Window, ledger: &Ledger) -> Square {
    let fill = place.pieces.map_or(0.0, fill);
    let state = match place.pieces {
        Some(pieces) if pieces.complete() => {
            ledger.records().find(|record| record.id == place.id).map_or("memory", source)
        }
        Some(pieces) if !pieces.fetches.is_empty() => "loading-http",
        Some(pieces) if !pieces.flights.is_empty() => "loading-p2p",
        _ => "missing",
    };
    let duration_s = (place.duration.as_secs_f64() * 1e3).round() / 1e3;
    Square { sequence, duration_s, state, fill, window }
}

/// The part of a segment's bytes that is here.
fn fill(pieces: &Pieces) -> f64 {
    if pieces.complete() {
        return 1.0;
    }
    let Some(grid) = pieces.grid else { return 0.0 };
    let held: usize = ones(pieces.held()).map(|piece| grid.span(piece).len()).sum();
    (held as f64 / f64::from(grid.length().max(1)) * 1e3).floor() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::demand::Demand;
    use crate::delivery::policy::Options;
    use crate::model::ids::SwarmId;
    use crate::model::timeline::{Choice, Kind, PieceGrid, Segment, Timeline};
    use crate::wire::digest::PieceHash;

    const SEGMENT: Duration = Duration::from_secs(4);
    const LENGTH: u64 = 4 << 14;

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn policy() -> Policy {
        Policy::new(&Options::default(), 1 << 20)
    }

    /// A film of so many segments, numbered from 100.
    fn film(segments: u64) -> Session {
        let segment = |n| Segment { id: SegmentId(n), sequence: n, duration: SEGMENT };
        let timeline = Timeline {
            swarm: SwarmId([0; 20]),
            kind: Kind::Vod,
            target: SEGMENT,
            choice: Choice::default(),
            segments: (100..100 + segments).map(segment).collect(),
        };
        Session::new(timeline, at(0))
    }

    /// Puts the first pieces of a segment into memory.
    fn hold(session: &mut Session, sequence: u64, pieces: u8) {
        let segment = *session.listed(SegmentId(sequence)).unwrap();
        let opened = session.open(segment, true, at(0));
        opened.set_length(PieceGrid::for_length(LENGTH).unwrap(), true);
        for piece in 0..pieces {
            opened.own_piece(piece, PieceHash([0; 16]));
        }
    }

    /// A player that began with segment 101 and has taken up to `taken` of them at once.
    fn plays(session: &mut Session, taken: u64) {
        let mut demand = Demand::new(1, 101, at(0));
        for sequence in 101..=taken {
            demand.asks(sequence, Duration::ZERO, at(0));
            demand.takes(sequence, SEGMENT, at(0));
        }
        session.demands.push(demand);
    }

    fn of(squares: &[Square], window: Window) -> Vec<(u64, &'static str)> {
        squares.iter().filter(|s| s.window == window).map(|s| (s.sequence, s.state)).collect()
    }

    #[test]
    fn nobody_plays_and_nothing_is_shown() {
        assert_eq!(squares(&film(9), &policy(), at(0)), []);
    }

    #[test]
    fn squares_lie_in_their_windows_as_the_playhead_moves_on() {
        let mut session = film(40);
        plays(&mut session, 104);
        (101..=105).for_each(|sequence| hold(&mut session, sequence, 4));
        hold(&mut session, 106, 1);
        session.ledger.of(SegmentId(101), 101).http = LENGTH;
        session.ledger.of(SegmentId(102), 102).http = 1;
        session.ledger.of(SegmentId(102), 102).p2p = 1;
        session.ledger.of(SegmentId(103), 103).p2p = LENGTH;
        let shown = squares(&session, &policy(), at(5));
        assert_eq!(of(&shown, Window::Played), [(101, "http")], "what was skipped is not shown");
        // A second margin and 1.95 s for the origin are critical: what is being played.
        assert_eq!(of(&shown, Window::Critical), [(102, "mixed")]);
        let prefetch = of(&shown, Window::Prefetch);
        assert_eq!(prefetch[..4], [(103, "p2p"), (104, "memory"), (105, "memory"), (106, "missing")]);
        assert_eq!(prefetch.last(), Some(&(111, "missing")), "30 s past what was asked for");
        assert_eq!(of(&shown, Window::Beyond).len(), BEYOND);
        let fill: Vec<f64> =
            shown.iter().filter(|s| (105..=107).contains(&s.sequence)).map(|s| s.fill).collect();
        assert_eq!(fill, [1.0, 0.25, 0.0]);
        let later = squares(&session, &policy(), at(15));
        assert_eq!(of(&later, Window::Played).len(), 3);
        assert_eq!(of(&later, Window::Critical), [(104, "memory"), (105, "memory")]);
    }

    #[test]
    fn before_anything_was_taken_the_playhead_is_where_the_player_asked() {
        let mut session = film(9);
        session.demands.push(Demand::new(1, 103, at(0)));
        let shown = squares(&session, &policy(), at(1));
        assert_eq!(of(&shown, Window::Critical), [(103, "missing")]);
        assert_eq!(of(&shown, Window::Played), []);
    }

    #[test]
    fn a_long_buffer_does_not_make_a_long_map() {
        let mut session = film(5_000);
        plays(&mut session, 400);
        (101..=400).for_each(|sequence| hold(&mut session, sequence, 4));
        // 150 segments are in the player's hands.
        let shown = squares(&session, &policy(), at(600));
        assert_eq!(shown.len(), SQUARES);
        assert_eq!(of(&shown, Window::Played).last(), Some(&(250, "memory")));
        assert_eq!(of(&shown, Window::Critical), [(251, "memory")]);
    }

    #[test]
    fn of_several_players_what_the_foremost_wants_is_wanted() {
        let mut session = film(60);
        plays(&mut session, 104);
        session.demands.push(Demand::new(2, 120, at(0)));
        let shown = squares(&session, &policy(), at(0));
        assert_eq!(shown.first().map(|s| s.sequence), Some(101), "from the playhead of the one behind");
        assert_eq!(of(&shown, Window::Prefetch).last(), Some(&(127, "missing")), "30 s past the other");
    }
}
