//! The buffer map: what is here of a rendition from the playhead on, segment by segment.
//!
//! The playhead can't be seen. It is placed where the lower bound of the player's buffer puts it, so it is never ahead of
//! the real one by more than what the player has taken; of several players, the one furthest behind is meant.

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
    let Some(demand) = session.demands.iter().min_by_key(|d| d.front) else { return Vec::new() };
    let critical = critical(session, policy).as_secs_f64();
    let horizon = session.horizon(policy.prefetch).unwrap_or(demand.front);
    // Without a whole segment in its hands the player begins with what it asked for.
    let (reached, ahead) = match demand.taken_to() {
        Some(taken) => (taken + 1, demand.buffered(now).as_secs_f64()),
        None => (demand.front, 0.0),
    };
    let places = places(session, reached);
    // What of the player's buffer is known ends where `reached` begins.
    let before: f64 = places.range(..reached).map(|(_, place)| place.duration.as_secs_f64()).sum();
    let mut starts = ahead - before;
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
    squares.drain(..played.saturating_sub(PLAYED));
    let wanted = squares.iter().filter(|s| s.window != Window::Beyond).count();
    squares.truncate((wanted + BEYOND).min(SQUARES));
    squares
}

/// What is listed, and what is held or known beside that, by sequence number; as much as can end up on the map.
fn places(session: &Session, reached: u64) -> BTreeMap<u64, Place<'_>> {
    let reach = SQUARES as u64;
    let range = reached.saturating_sub(reach)..reached.saturating_add(reach);
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
