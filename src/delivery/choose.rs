//! Which piece next, from which neighbour.
//!
//! The segment needed first goes first; in it the piece that fewest neighbours have, ties at random, so that everyone
//! pulls other pieces and they can trade. The neighbours that proved fastest are asked first. Little is in flight at
//! any time: a request never waits in a slow neighbour's queue while another could serve it.

use std::time::Duration;

use super::chance::Chance;
use super::neighbours::Neighbour;
use super::pieces::{Flight, Pieces, ones};
use super::policy::{ENDGAME, FEW_HOLDERS, IN_FLIGHT, IN_FLIGHT_EACH, IN_FLIGHT_FEW, Policy};
use super::session::Session;
use super::supply::{earlier, usable};
use super::{Output, Wake};
use crate::model::time::Time;
use crate::wire::message::Message;

/// Asks neighbours for what is wanted, as far as the limits allow; answers when another try makes sense.
pub fn choose(
    session: &mut Session,
    neighbours: &mut [Neighbour],
    policy: &Policy,
    now: Time,
    chance: &mut Chance,
    out: &mut Vec<Output>,
) -> Option<(Time, Wake)> {
    if !policy.p2p || !session.watched() {
        return None;
    }
    let wanted = wanted(session, policy, now);
    if wanted.is_empty() {
        return None;
    }
    let mut order: Vec<usize> = (0..neighbours.len()).filter(|&n| usable(&neighbours[n], session)).collect();
    order.sort_by_key(|&n| neighbours[n].preference());
    let mut wake = None;
    for n in order {
        if neighbours[n].busy_until > now {
            wake = earlier(wake, (neighbours[n].busy_until, Wake::Busy));
            continue;
        }
        while neighbours.iter().map(|n| n.flights).sum::<usize>() < IN_FLIGHT {
            let pick = wanted.iter().find_map(|&(index, left)| {
                pick(&session.active[index], n, neighbours, left, chance).map(|piece| (index, piece, left))
            });
            let Some((index, piece, left)) = pick else { break };
            let within = left.min(Duration::from_millis(u64::from(u16::MAX)));
            let pieces = &mut session.active[index];
            let (peer, segment) = (neighbours[n].peer, pieces.id());
            pieces.flights.push(Flight { piece, peer, asked: now });
            neighbours[n].flights += 1;
            let within_ms = within.as_millis() as u16;
            out.push(Output::Say { peer, message: Message::Request { segment, piece, within_ms } });
        }
    }
    wake
}

/// Segments worth asking for, the most urgent first, each with the time left for it.
fn wanted(session: &Session, policy: &Policy, now: Time) -> Vec<(usize, Duration)> {
    let (buffered, ahead) = (session.buffered(now), session.buffered(now) + session.timeline.target);
    let (Some(front), Some(horizon)) = (session.front(), session.horizon(policy.prefetch)) else {
        return Vec::new();
    };
    let mut wanted = Vec::new();
    for (index, pieces) in session.active.iter().enumerate() {
        let sequence = pieces.segment.sequence;
        if pieces.complete() || !pieces.shareable {
            continue;
        }
        if !pieces.asks.is_empty() {
            wanted.push((index, buffered));
        } else if sequence > front && sequence <= horizon {
            wanted.push((index, ahead));
        }
    }
    wanted
}

/// The piece of this segment to ask neighbour `n` for.
fn pick(
    pieces: &Pieces,
    n: usize,
    neighbours: &[Neighbour],
    left: Duration,
    chance: &mut Chance,
) -> Option<u8> {
    let has = neighbours[n].has(pieces.id())?;
    let holders = neighbours.iter().filter(|o| o.has(pieces.id()).is_some_and(|h| h.bits != 0)).count();
    let depth = if holders < FEW_HOLDERS { IN_FLIGHT_FEW } else { IN_FLIGHT_EACH };
    if neighbours[n].flights >= depth {
        return None;
    }
    let mut open = pieces.open() & has.bits;
    if open == 0 && left < ENDGAME {
        open = doubled(pieces, n, neighbours) & has.bits;
    }
    rarest(open, pieces, neighbours, chance)
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
    let coming = pieces.grid.map_or(0, |grid| pieces.coming(grid));
    once & !more & !coming & !pieces.held()
}

fn rarest(open: u64, pieces: &Pieces, neighbours: &[Neighbour], chance: &mut Chance) -> Option<u8> {
    let mut best: Option<(u32, u64)> = None;
    for piece in ones(open) {
        let copies = neighbours
            .iter()
            .filter(|n| n.has(pieces.id()).is_some_and(|h| h.bits & 1 << piece != 0))
            .count();
        let copies = copies as u32;
        best = Some(match best {
            Some((least, _)) if copies < least => (copies, 1 << piece),
            Some((least, bits)) if copies == least => (least, bits | 1 << piece),
            Some(other) => other,
            None => (copies, 1 << piece),
        });
    }
    let (_, bits) = best?;
    ones(bits).nth(chance.below(bits.count_ones() as usize))
}
