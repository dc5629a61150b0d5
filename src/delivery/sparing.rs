//! What of a segment the origin brings while neighbours are sending some of it, and what is left to them.

use std::ops::Range;

use super::pieces::{Ask, Pieces};

/// Stretches of a segment; an open end is the segment's.
pub type Gaps = Vec<(u32, Option<u32>)>;

/// Of `gaps` those stretches that no neighbour is sending. All of them where fewer than `free` requests would be left for what
/// neighbours then fail to bring, each part of it between two fetches by itself: it would have to wait for one of them to end.
#[must_use]
pub fn rest(pieces: &Pieces, ask: &Ask, gaps: &Gaps, free: usize) -> Gaps {
    let Some(grid) = pieces.grid else { return gaps.clone() };
    // An answer that has not begun is held back no longer: players measure by its first byte.
    let begins = |span: &Range<u32>| ask.ready <= ask.from && span.contains(&ask.from);
    let flying = pieces.flights.iter().map(|flight| grid.span(flight.piece)).filter(|span| !begins(span));
    let rest = without(gaps, flying);
    let left = without(gaps, rest.iter().map(|(from, to)| *from..to.unwrap_or(u32::MAX)));
    let fetched = || rest.iter().map(|(from, _)| *from).chain(pieces.fetches.iter().map(|fetch| fetch.from));
    let apart = left.windows(2).filter(|two| fetched().any(|from| (two[0].0..two[1].0).contains(&from)));
    let needed = rest.len() + apart.count() + usize::from(!left.is_empty());
    if needed <= free { rest } else { gaps.clone() }
}

/// What of the gaps is in none of the spans.
fn without(gaps: &Gaps, spans: impl Iterator<Item = Range<u32>>) -> Gaps {
    spans.fold(gaps.clone(), |gaps, Range { start, end }| {
        let outside = |(from, to): (u32, Option<u32>)| {
            let stop = to.unwrap_or(u32::MAX);
            let before = (from < start.min(stop)).then(|| (from, Some(start.min(stop))));
            let after = (end.max(from) < stop).then_some((end.max(from), to));
            if start >= stop || end <= from { [Some((from, to)), None] } else { [before, after] }
        };
        gaps.into_iter().flat_map(outside).flatten().collect()
    })
}
