//! What of a segment the origin brings while neighbours are sending some of it, and what is left to them.

use std::ops::Range;

use super::fetches::Fetch;
use super::pieces::{Ask, Pieces};

/// Stretches of a segment; an open end is the segment's.
pub type Gaps = Vec<(u32, Option<u32>)>;

/// Of `gaps` what no neighbour is sending, in as many requests as may be sent `now`, and in so few that of those that may be sent
/// `later`, too, enough are left for what neighbours then fail to bring, each part of it between two fetches by itself: it would have
/// to wait for one of them to end. Where there are too few: all.
#[must_use]
pub fn rest(pieces: &Pieces, ask: &Ask, gaps: &[(u32, Option<u32>)], (now, later): (usize, usize)) -> Gaps {
    let Some(grid) = pieces.grid else { return gaps.to_vec() };
    // An answer that has not begun is held back no longer: players measure by its first byte.
    let begins = |span: &Range<u32>| ask.ready <= ask.from && span.contains(&ask.from);
    let flying = pieces.flights.iter().map(|flight| grid.span(flight.piece)).filter(|span| !begins(span));
    let wanted = without(gaps, flying);
    if wanted.is_empty() {
        return if parts_of(gaps, &wanted, pieces) <= later { wanted } else { gaps.to_vec() };
    }
    let ways = (1..=wanted.len().min(now)).rev().map(|most| merged(&wanted, most, &pieces.fetches));
    let mut whole = ways.filter(|rest| without(&wanted, spans(rest)).is_empty());
    let found = whole.find(|rest| rest.len() + parts_of(&without(gaps, spans(rest)), rest, pieces) <= later);
    found.unwrap_or_else(|| gaps.to_vec())
}

/// How many requests what is `left` takes, beside those for the `rest` and those under way.
fn parts_of(left: &[(u32, Option<u32>)], rest: &[(u32, Option<u32>)], pieces: &Pieces) -> usize {
    let fetched = rest.iter().map(|(from, _)| *from).chain(pieces.fetches.iter().map(|fetch| fetch.from));
    let apart =
        |two: &&[(u32, Option<u32>)]| fetched.clone().any(|from| (two[0].0..two[1].0).contains(&from));
    left.windows(2).filter(apart).count() + usize::from(!left.is_empty())
}

fn spans(gaps: &[(u32, Option<u32>)]) -> impl Iterator<Item = Range<u32>> {
    gaps.iter().map(|(from, to)| *from..to.unwrap_or(u32::MAX))
}

/// What of the gaps is in none of the spans.
fn without(gaps: &[(u32, Option<u32>)], spans: impl Iterator<Item = Range<u32>>) -> Gaps {
    spans.fold(gaps.to_vec(), |gaps, Range { start, end }| {
        let outside = |(from, to): (u32, Option<u32>)| {
            let stop = to.unwrap_or(u32::MAX);
            let before = (from < start.min(stop)).then(|| (from, Some(start.min(stop))));
            let after = (end.max(from) < stop).then_some((end.max(from), to));
            if start >= stop || end <= from { [Some((from, to)), None] } else { [before, after] }
        };
        gaps.into_iter().flat_map(outside).flatten().collect()
    })
}

/// The same stretches in at most `most` requests: those with the least between them are taken together, and what lies
/// between is fetched twice rather than waited for one after the other.
///
/// What the origin is bringing already is never asked for again: beyond that the last stretches wait.
#[must_use]
pub fn merged(gaps: &[(u32, Option<u32>)], most: usize, fetches: &[Fetch]) -> Gaps {
    let mut merged = gaps.to_vec();
    while merged.len() > most.max(1) {
        let coming = |i: &usize| fetches.iter().any(|f| f.from >= merged[*i].0 && f.from < merged[i + 1].0);
        let between = |i: &usize| merged[*i].1.map_or(0, |end| merged[i + 1].0.saturating_sub(end));
        let pairs = (0..merged.len() - 1).filter(|i| !coming(i));
        let Some(at) = pairs.min_by_key(between) else { break };
        merged[at].1 = merged[at + 1].1;
        merged.remove(at + 1);
    }
    merged.truncate(most.max(1));
    merged
}
