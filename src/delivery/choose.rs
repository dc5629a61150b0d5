//! Which piece next, from which neighbour.
//!
//! The segment needed first goes first; in it the piece that fewest neighbours have, ties at random, so that everyone
//! pulls other pieces and they can trade. The neighbours that proved fastest are asked first. Little is in flight at
//! any time: a request never waits in a slow neighbour's queue while another could serve it.

use std::time::Duration;

use smallvec::SmallVec;

use super::chance::Chance;
use super::neighbours::Neighbour;
use super::pieces::{Flight, Pieces, ones};
use super::policy::{
    ENDGAME, ENDGAME_PIECES, FEW_HOLDERS, IN_FLIGHT, IN_FLIGHT_EACH, IN_FLIGHT_FEW, Policy, UNHURRIED,
};
use super::session::Session;
use super::supply::{earlier, usable};
use super::{Output, Wake};
use crate::model::time::Time;
use crate::wire::message::Message;

/// A segment worth asking for.
struct Want {
    /// Its place in the session.
    index: usize,
    /// How long it can still take.
    left: Duration,
    /// Pieces that nobody was asked for.
    open: u64,
    /// How many neighbours have each piece: the bits of the number, lowest first, up to 15.
    copies: [u64; 4],
    /// Neighbours that have anything of it.
    holders: usize,
}

/// Neighbours in the order in which they are asked, each a number whose lowest [`PLACE`] bits are its place: numbers are
/// sorted faster than neighbours. In place, since it is made anew each time that one has more to give.
type Order = SmallVec<[u128; 16]>;

/// More neighbours than these bits can tell nobody has.
const PLACE: u32 = 16;

/// Asks neighbours (or `only` one of them: nothing is new with the others) for what is wanted, as far as the limits allow;
/// answers when another try makes sense.
pub fn choose(
    session: &mut Session,
    neighbours: &mut [Neighbour],
    only: Option<usize>,
    policy: &Policy,
    now: Time,
    chance: &mut Chance,
    out: &mut Vec<Output>,
) -> Option<(Time, Wake)> {
    if !policy.p2p || !session.joined || !session.watched() {
        return None;
    }
    let mut flying = neighbours.iter().map(|n| n.flights).sum::<usize>();
    if flying >= IN_FLIGHT {
        return None;
    }
    let (order, wake) = free(session, neighbours, only, now);
    if order.is_empty() {
        return wake;
    }
    let mut wanted = wanted(session, policy, now);
    if wanted.is_empty() {
        return None;
    }
    for n in order.into_iter().map(|asked| usize::from(asked as u16)) {
        while flying < IN_FLIGHT {
            let only_there = only_there(session, &wanted, n, neighbours, chance);
            let pick = only_there.or_else(|| {
                wanted.iter().enumerate().find_map(|(w, want)| {
                    let piece = pick(session, want, n, neighbours, chance)?;
                    Some((w, piece))
                })
            });
            let Some((w, piece)) = pick else { break };
            let Want { index, left, ref mut open, .. } = wanted[w];
            *open &= !(1 << piece);
            let within = left.min(Duration::from_millis(u64::from(u16::MAX)));
            let pieces = &mut session.active[index];
            let (peer, segment) = (neighbours[n].peer, pieces.id());
            pieces.flights.push(Flight { piece, peer, asked: now });
            neighbours[n].flights += 1;
            flying += 1;
            let within_ms = within.as_millis() as u16;
            out.push(Output::Say { peer, message: Message::Request { segment, piece, within_ms } });
        }
    }
    wake
}

/// Neighbours (or `only` that one, if it is) that may be asked now, those first that are asked first; and when the first of
/// the busy ones may be.
fn free(
    session: &Session,
    neighbours: &[Neighbour],
    only: Option<usize>,
    now: Time,
) -> (Order, Option<(Time, Wake)>) {
    let (mut order, mut wake) = (Order::new(), None);
    for (n, neighbour) in neighbours.iter().enumerate() {
        let meant = only.is_none_or(|only| only == n);
        if !meant || neighbour.flights >= IN_FLIGHT_FEW || !usable(neighbour, session) {
            continue;
        }
        if neighbour.busy_until > now {
            wake = earlier(wake, (neighbour.busy_until, Wake::Busy));
            continue;
        }
        let (owes, usual) = neighbour.preference();
        let last = if owes { 1 << 127 } else { 0 };
        order.push(last | usual.as_nanos() << PLACE | n as u128);
    }
    order.sort_unstable();
    (order, wake)
}

/// Segments worth asking for, the most urgent first.
fn wanted(session: &Session, policy: &Policy, now: Time) -> SmallVec<[Want; 4]> {
    let mut wanted = SmallVec::new();
    let buffered = session.buffered(now);
    let ahead = buffered + session.timeline.target;
    let Some(front) = session.front() else { return wanted };
    let horizon = session.horizon(front, policy);
    for (index, pieces) in session.active.awake() {
        let sequence = pieces.segment.sequence;
        if pieces.complete() || !pieces.shareable {
            continue;
        }
        let left = if !pieces.asks.is_empty() {
            buffered
        } else if sequence > front && sequence <= horizon {
            ahead
        } else {
            continue;
        };
        let open = pieces.open();
        if open == 0 && (left >= ENDGAME || !last_few(pieces)) {
            continue;
        }
        let (mut copies, mut holders) = ([0; 4], 0);
        for bits in pieces.words.bits() {
            holders += usize::from(bits != 0);
            add(&mut copies, bits);
        }
        wanted.push(Want { index, left, open, copies, holders });
    }
    wanted
}

/// Counts one more copy of each piece in `bits`; more than 15 count as 15.
fn add(copies: &mut [u64; 4], bits: u64) {
    let full = copies.iter().fold(u64::MAX, |all, plane| all & plane);
    let mut carry = bits & !full;
    for plane in copies {
        (*plane, carry) = (*plane ^ carry, *plane & carry);
    }
}

/// A piece that only neighbour `n` has, while what is needed first can be had from several: the sooner it is passed on,
/// the more can pass it on.
fn only_there(
    session: &Session,
    wanted: &[Want],
    n: usize,
    neighbours: &[Neighbour],
    chance: &mut Chance,
) -> Option<(usize, u8)> {
    let first = wanted.first()?;
    let grows = session.timeline.kind.grows();
    if !grows || wanted.len() < 2 || first.left < UNHURRIED || neighbours[n].flights >= IN_FLIGHT_EACH {
        return None;
    }
    wanted.iter().enumerate().skip(1).find_map(|(w, want)| {
        let [one, more @ ..] = want.copies;
        let bits = session.active[want.index].words.of(n);
        let rare = want.open & bits & one & !more.iter().fold(0, |all, plane| all | plane);
        (rare != 0).then(|| ones(rare).nth(chance.below(rare.count_ones() as usize)))?.map(|piece| (w, piece))
    })
}

/// The piece of this segment to ask neighbour `n` for.
fn pick(
    session: &Session,
    want: &Want,
    n: usize,
    neighbours: &[Neighbour],
    chance: &mut Chance,
) -> Option<u8> {
    let pieces = &session.active[want.index];
    let bits = pieces.words.of(n);
    let depth = if want.holders < FEW_HOLDERS { IN_FLIGHT_FEW } else { IN_FLIGHT_EACH };
    if bits == 0 || neighbours[n].flights >= depth {
        return None;
    }
    let mut open = want.open & bits;
    if open == 0 && want.open == 0 && want.left < ENDGAME && last_few(pieces) {
        open = doubled(pieces, n, neighbours) & bits;
    }
    // A player that waits a short while reads from the beginning, and the origin brings the rest in one stretch.
    let in_order = session.timeline.choice.adaptive && !pieces.asks.is_empty();
    if in_order { ones(open).next() } else { rarest(open, &want.copies, chance) }
}

/// Whether only so few pieces are under way that each may be asked for twice.
fn last_few(pieces: &Pieces) -> bool {
    let flying = pieces.flights.iter().fold(0u64, |bits, flight| bits | 1 << flight.piece);
    (1..=ENDGAME_PIECES).contains(&flying.count_ones())
}

/// In the endgame: pieces in flight from exactly one other neighbour.
fn doubled(pieces: &Pieces, n: usize, neighbours: &[Neighbour]) -> u64 {
    let (mut once, mut more) = (0u64, 0u64);
    for flight in &pieces.flights {
        let bit = 1 << flight.piece;
        let ours = flight.peer == neighbours[n].peer;
        more |= if ours { bit } else { once & bit };
        once |= bit;
    }
    let coming = pieces.grid.map_or(0, |grid| pieces.arriving(grid));
    once & !more & !coming & !pieces.held()
}

/// One of the pieces in `open` of which there are fewest copies, drawn by chance.
fn rarest(mut open: u64, copies: &[u64; 4], chance: &mut Chance) -> Option<u8> {
    if open == 0 {
        return None;
    }
    for plane in copies.iter().rev() {
        let without = open & !plane;
        if without != 0 {
            open = without;
        }
    }
    ones(open).nth(chance.below(open.count_ones() as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rarest_is_found_whatever_the_numbers() {
        let mut chance = Chance::new(3);
        for round in 0..200u64 {
            let holders: Vec<u64> = (0..chance.below(20)).map(|_| chance.bits() & 0xFFFF).collect();
            let mut copies = [0; 4];
            holders.iter().for_each(|&bits| add(&mut copies, bits));
            let count = |piece: u8| holders.iter().filter(|&&b| b & 1 << piece != 0).count().min(15);
            let open = chance.bits() & 0xFFFF;
            let least = ones(open).map(count).min();
            let drawn = rarest(open, &copies, &mut chance);
            assert_eq!(drawn.map(count), least, "round {round}");
            assert!(drawn.is_none_or(|piece| open & 1 << piece != 0));
        }
    }
}
