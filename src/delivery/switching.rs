//! From one rendition to another of its group: who comes with what, and what is left behind.
//!
//! A player that switches asks for the next segment in another rendition, or for the same one again, and goes on there. One
//! that plays several at once, looks into each, or gives a switch up again asks for segments of the one it came from, too.
//! So one segment elsewhere is nothing yet; with the second in a row it has left, and nothing more is fetched for it where it
//! was. What is in memory stays for others, and neighbours are kept: it may come back.

use std::time::Duration;

use super::demand::Demand;
use super::policy::SEEK;
use super::session::Session;
use super::supply::withdraw;
use super::{Node, Output};
use crate::model::ids::SwarmId;

impl Node {
    /// The player as it comes from another rendition of the group, where it asked last, to go on here with `sequence`. `None`: it is
    /// new, or goes on here where it was, or is somewhere else altogether.
    pub(super) fn comes(&self, to: usize, viewer: u64, sequence: u64) -> Option<Demand> {
        let (here, group) = (&self.sessions[to], self.sessions[to].choice_of(viewer).group?);
        let own = here.demands.iter().find(|d| d.viewer == viewer);
        let members = self.sessions.iter().filter(|s| s.choice_of(viewer).group == Some(group));
        let demands =
            members.flat_map(|s| s.demands.iter().filter(|d| d.viewer == viewer).map(move |d| (s, d)));
        let (from, there) = demands.max_by_key(|(_, d)| d.asked_at())?;
        let goes_on_here =
            |own: &Demand| own.stays() && sequence.abs_diff(own.front) <= 1 || from.swarm == here.swarm;
        let place = from.timeline.number_of(&here.timeline, sequence);
        let near = there.stays() && there.front.abs_diff(place) <= SEEK;
        (near && !own.is_some_and(goes_on_here))
            .then(|| there.goes_on(place, sequence, in_doubt(from, here), self.now))
    }

    /// The player has asked for another segment here: renditions of the group in which it asks for none are left.
    pub(super) fn goes_on(&mut self, here: usize, viewer: u64, sequence: u64, out: &mut Vec<Output>) {
        let Some(group) = self.sessions[here].choice_of(viewer).group else { return };
        let (swarm, timeline) = (self.sessions[here].swarm, self.sessions[here].timeline.clone());
        for index in 0..self.sessions.len() {
            if self.sessions[index].choice_of(viewer).group == Some(group)
                && index != here
                && self.is_left(index, viewer, swarm)
            {
                let session = &mut self.sessions[index];
                let place = session.timeline.number_of(&timeline, sequence);
                let sure = session.timeline.is_timed_with(&timeline);
                session.demands.iter_mut().filter(|d| d.viewer == viewer).for_each(|d| d.is_at(place, sure));
                self.fetch_no_more(index, out);
            }
        }
    }

    /// Whether the player has left this rendition, now that it asks for another segment of `other`. What it still waits for here it
    /// has not left.
    fn is_left(&mut self, index: usize, viewer: u64, other: SwarmId) -> bool {
        let session = &mut self.sessions[index];
        let waits = session.active.awake().any(|(_, p)| p.asks.iter().any(|ask| ask.viewer == viewer));
        let Some(demand) = session.demands.iter_mut().find(|d| d.viewer == viewer) else { return false };
        demand.asks_elsewhere(other, waits)
    }

    /// Where nobody plays it any more, what was on its way ahead of a player is called back: from neighbours, and from the origin
    /// unless they were told that we load it.
    fn fetch_no_more(&mut self, index: usize, out: &mut Vec<Output>) {
        let session = &mut self.sessions[index];
        if session.front().is_some() {
            return;
        }
        for pieces in
            session.active.awake_mut().filter(|pieces| pieces.asks.is_empty() && pieces.contest.is_none())
        {
            withdraw(pieces, &mut self.neighbours, |_| true, out);
            let promised = (0..self.neighbours.len()).any(|n| pieces.words.told(n).is_some());
            let fetches = pieces.fetches.iter().map(|fetch| fetch.id).filter(|_| !promised);
            for fetch in fetches.collect::<Vec<_>>() {
                pieces.end_fetch(fetch);
                out.push(Output::CancelFetch { fetch });
            }
        }
    }
}

/// How much of what it has a player may throw away that seems to ask for what comes next: where numbers are all there is to go
/// by, those of the one that it comes to are ahead by as many as its list ends later than the time between the lists explains.
fn in_doubt(from: &Session, to: &Session) -> Duration {
    let (left, met) = (&from.timeline, &to.timeline);
    if left.is_timed_with(met) {
        return Duration::ZERO;
    }
    let last = |of: &Session| of.timeline.segments.last().map_or(0, |s| i128::from(s.sequence));
    let at = |of: &Session| i128::from(of.listed_at.as_micros());
    let between = if left.kind.grows() { at(to) - at(from) } else { 0 };
    // The one more that may have appeared is taken to have: half of all switches would cost a player what it has.
    let each = i128::try_from(left.target.as_micros()).unwrap_or(i128::MAX).max(1);
    let appeared = -(-between).div_euclid(each);
    let ahead = (last(to) - last(from) - appeared).max(0);
    left.target.saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX))
}
