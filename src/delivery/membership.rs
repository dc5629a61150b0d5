//! Whom to meet, keep, let go: when the trackers hear of each swarm, and with how many offers.

use std::time::Duration;

use super::chance::Chance;
use super::neighbours::Neighbour;
use super::policy::{
    ANNOUNCE_AGAIN, ANNOUNCE_GAP, ANNOUNCE_USUAL, FIRST_OFFERS, LISTENER_NEIGHBOURS, MOST_OFFERS, NEAR, PING,
    Policy, SOUGHT, SWAP, SWAP_SHORT,
};
use super::retry::Tracker;
use super::session::Session;
use super::supply::earlier;
use super::upload::Uploads;
use super::{Output, Wake};
use crate::model::ids::PeerId;
use crate::model::time::Time;
use crate::wire::message::Message;

/// A neighbour that watches nothing of ours is kept this long: the player may switch back.
const KEPT: Duration = Duration::from_secs(30);

/// What membership remembers between calls.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The configured trackers, in their order.
    pub trackers: Vec<Tracker>,
    ping_at: Option<Time>,
    probed: Time,
    turn: usize,
    /// When somebody new was last tried, or could have been for the first time.
    swapped_at: Option<Time>,
    swap_at: Option<Time>,
    nonce: u32,
}

impl Membership {
    /// With this many trackers, all to be tried when the first swarm is joined.
    #[must_use]
    pub fn new(trackers: usize) -> Self {
        Self {
            trackers: vec![Tracker::due(Time::ZERO); trackers],
            ping_at: None,
            probed: Time::ZERO,
            turn: 0,
            swapped_at: None,
            swap_at: None,
            nonce: 0,
        }
    }

    /// A tracker's connection changed; on its coming up every swarm is announced anew.
    pub fn tracker(
        &mut self,
        index: usize,
        up: bool,
        interval_s: u32,
        sessions: &mut [Session],
        now: Time,
        chance: &mut Chance,
    ) {
        let Some(tracker) = self.trackers.get_mut(index) else { return };
        if up {
            if !tracker.up {
                for session in sessions.iter_mut().filter(|s| s.joined) {
                    session.announce_at = Some(now);
                    session.announced_at = None;
                }
            }
            tracker.came_up(Duration::from_secs(u64::from(interval_s.clamp(15, 3600))));
        } else {
            tracker.went_down(now, chance);
        }
    }

    /// How many viewers a swarm has of which this tracker knows so many, and the others said what they have `told` before: as
    /// many as any knows that is there, since each may know but some.
    #[must_use]
    pub fn size(&self, tracker: usize, viewers: u32, told: &mut Vec<u32>) -> u32 {
        if self.trackers.len() < 2 || tracker >= self.trackers.len() {
            return viewers;
        }
        told.resize(self.trackers.len(), 0);
        told[tracker] = viewers;
        let there = self.trackers.iter().zip(told).filter(|(tracker, _)| tracker.up);
        there.map(|(_, told)| *told).fold(viewers, u32::max)
    }

    /// How often the trackers that are there want to hear: a swarm is announced to all of them at once, and who hears too late
    /// forgets us.
    fn interval(&self) -> Duration {
        let there = self.trackers.iter().filter(|tracker| tracker.up);
        there.map(|tracker| tracker.interval).min().unwrap_or(ANNOUNCE_USUAL)
    }

    /// Does what is due and answers when something will be next.
    pub fn drive(
        &mut self,
        sessions: &mut [Session],
        neighbours: &mut [Neighbour],
        policy: &Policy,
        now: Time,
        out: &mut Vec<Output>,
    ) -> Option<(Time, Wake)> {
        let mut wake = None;
        if !policy.p2p || !sessions.iter().any(|s| s.joined) {
            return None;
        }
        for (index, tracker) in self.trackers.iter_mut().enumerate() {
            match tracker.next {
                Some(next) if next <= now => {
                    tracker.next = None;
                    out.push(Output::Connect { tracker: index });
                }
                Some(next) => wake = earlier(wake, (next, Wake::Tracker)),
                None => {}
            }
        }
        if self.trackers.iter().any(|t| t.up) {
            for session in sessions.iter_mut().filter(|s| s.joined) {
                if session.announce_at.is_some_and(|at| at <= now) {
                    self.announce(session, neighbours, policy, now, out);
                }
                if let Some(at) = session.announce_at {
                    wake = earlier(wake, (at, Wake::Tracker));
                }
            }
        }
        if let Some(at) = self.swap_at {
            wake = earlier(wake, (at, Wake::Swap));
        }
        match self.ping(neighbours, now, out) {
            Some(ping) => earlier(wake, ping),
            None => wake,
        }
    }

    /// Once a minute somebody new is tried, and sooner by a viewer that comes short: with a full house the neighbour that
    /// was of least use since the last time makes place. Who is near would otherwise stay with who is near, and the swarm
    /// fall apart into islands.
    pub fn swap(
        &mut self,
        sessions: &mut [Session],
        neighbours: &mut [Neighbour],
        policy: &Policy,
        now: Time,
    ) -> Option<PeerId> {
        let last = *self.swapped_at.get_or_insert(now);
        // Out of turn only for who comes short, and no sooner than trackers may be asked again.
        let short = sessions.iter().filter(|s| s.joined && s.is_short(now));
        let soon = short.map(|s| {
            let heard = s.announced_at.map_or(now, |at| at + gap(s).min(SWAP_SHORT * 2));
            heard.max(last + SWAP_SHORT.max(s.timeline.target * 2))
        });
        let (turn, soon) = (last + SWAP, soon.min());
        let at = soon.map_or(turn, |soon| soon.min(turn));
        if now < at {
            self.swap_at = Some(at);
            return None;
        }
        let pause = if now < turn { SWAP_SHORT } else { SWAP };
        (self.swapped_at, self.swap_at) = (Some(now), Some(now + pause));
        if !self.trackers.iter().any(|t| t.up) {
            // Whoever goes could not be replaced.
            return None;
        }
        let mut leaves = None;
        for session in sessions.iter_mut().filter(|s| s.joined && crowded(s, policy) && !s.rests(now)) {
            if now < turn && !session.is_short(now) {
                continue;
            }
            let most = places(session, policy);
            let there = neighbours.iter().filter(|n| n.in_swarm(session.swarm)).count();
            if there >= most {
                let ripe =
                    |n: &&Neighbour| n.in_swarm(session.swarm) && now - n.since >= pause && n.flights == 0;
                leaves = neighbours.iter().filter(ripe).min_by_key(|n| (n.keeping(), n.peer)).map(|n| n.peer);
            }
            if (there < most || leaves.is_some()) && session.announced_at.is_some() {
                session.announce_at = Some(now);
            }
        }
        neighbours.iter_mut().for_each(|n| n.worth = 0);
        leaves
    }

    fn announce(
        &self,
        session: &mut Session,
        neighbours: &[Neighbour],
        policy: &Policy,
        now: Time,
        out: &mut Vec<Output>,
    ) {
        let started = session.announced_at.is_none();
        let missing = missing(session, neighbours, policy);
        let most = places(session, policy);
        let there = neighbours.iter().filter(|n| n.in_swarm(session.swarm)).count();
        let offers = match missing {
            // Nobody plays: it stays where others find it.
            _ if session.rests(now) => 0,
            // Nobody is missing, but there is a place for somebody by chance.
            0 if there < most && session.viewers as usize > there + 1 => 1,
            missing if started && session.viewers == 0 => missing.min(FIRST_OFFERS),
            missing => missing,
        };
        session.fruitless = if offers == 0 { 0 } else { session.fruitless.saturating_add(1) };
        session.announced_at = Some(now);
        // Who joins a growing swarm hears soon how large it has become: the lottery goes by that.
        let soon = ANNOUNCE_AGAIN * 2u32.pow(session.announcements.min(8));
        session.announcements = session.announcements.saturating_add(1);
        session.announce_at = Some(now + self.interval().min(soon));
        let (swarm, offers, account) = (session.swarm, offers.min(MOST_OFFERS), session.account(now));
        out.push(Output::Announce { swarm, offers, started, account });
    }

    /// Something changed in who is there: neighbours are looked for again soon if any are missing, the later the more
    /// often that was in vain.
    pub fn reconsider(&self, session: &mut Session, neighbours: &[Neighbour], policy: &Policy) {
        let Some(last) = session.announced_at else { return };
        if session.viewers > 0 && missing(session, neighbours, policy) > 0 {
            let soon = last + gap(session);
            session.announce_at = session.announce_at.map(|at| at.min(soon));
        }
    }

    /// Pings everybody every [`PING`]; answers when that will be next.
    pub fn ping(
        &mut self,
        neighbours: &mut [Neighbour],
        now: Time,
        out: &mut Vec<Output>,
    ) -> Option<(Time, Wake)> {
        if neighbours.is_empty() {
            self.ping_at = None;
            return None;
        }
        let at = *self.ping_at.get_or_insert(now);
        if at > now {
            return Some((at, Wake::Ping));
        }
        for neighbour in neighbours.iter_mut().filter(|n| may_ping(n, now)) {
            self.say_ping(neighbour, now, out);
        }
        self.ping_at = Some(now + PING);
        Some((now + PING, Wake::Ping))
    }

    fn say_ping(&mut self, neighbour: &mut Neighbour, now: Time, out: &mut Vec<Output>) {
        self.nonce = self.nonce.wrapping_add(1);
        neighbour.ping = Some((self.nonce, now));
        let message = Message::Ping { nonce: self.nonce, reply: false };
        out.push(Output::Say { peer: neighbour.peer, message });
    }

    /// A neighbour has come: its round trip is measured soon.
    pub fn greet(&mut self, now: Time) {
        self.ping_all(now);
    }

    /// All neighbours are pinged at `at`, if not before.
    pub fn ping_all(&mut self, at: Time) {
        self.ping_at = Some(self.ping_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// While pieces leave, one neighbour is pinged after the other, so that uploads can give way; answers when the next
    /// one is. First those whose own line is not full, and to whom nothing is on its way: a ping that waits behind our own
    /// pieces is no sign of a queue before the uplink.
    pub fn probe(
        &mut self,
        neighbours: &mut [Neighbour],
        uploads: &Uploads,
        now: Time,
        out: &mut Vec<Output>,
    ) -> Option<(Time, Wake)> {
        let apart = uploads.probing(now)?;
        if neighbours.is_empty() {
            return None;
        }
        let at = self.probed + spread(apart, self.nonce);
        if at > now {
            return Some((at, Wake::Ping));
        }
        let count = neighbours.len();
        let turns = (1..=count).map(|k| (self.turn + k) % count).filter(|&i| may_ping(&neighbours[i], now));
        let next = turns.min_by_key(|&i| {
            let neighbour = &neighbours[i];
            let near = neighbour.base.least().is_some_and(|base| base < NEAR);
            (near, neighbour.loaded(), uploads.sending_to(neighbour.peer))
        });
        if let Some(next) = next {
            self.turn = next;
            self.say_ping(&mut neighbours[next], now, out);
        }
        self.probed = now;
        Some((now + spread(apart, self.nonce), Wake::Ping))
    }
}

/// Half to one and a half times `apart`, evenly: pings in step with our own pieces would always meet the same of them.
fn spread(apart: Duration, nonce: u32) -> Duration {
    let golden = nonce.wrapping_mul(0x9E37_79B9);
    apart / 2 + apart * (golden >> 16) / (1 << 16)
}

/// How far announcements are apart at least: the further the more of them brought nobody.
fn gap(session: &Session) -> Duration {
    ANNOUNCE_GAP * 2u32.pow(session.fruitless.min(5))
}

/// No ping is under way to it, or one that is lost.
fn may_ping(neighbour: &Neighbour, now: Time) -> bool {
    neighbour.ping.is_none_or(|(_, at)| now - at >= PING)
}

/// There are more viewers than one of them can know.
fn crowded(session: &Session, policy: &Policy) -> bool {
    session.viewers > u32::from(policy.max_neighbours) + 1
}

/// How many neighbours a session may have.
pub fn places(session: &Session, policy: &Policy) -> usize {
    let most = policy.max_neighbours;
    let gives = session.terms.over(policy).upload;
    usize::from(if gives || !crowded(session, policy) { most } else { most.min(LISTENER_NEIGHBOURS) })
}

/// How many neighbours a session still looks for: everybody in a small swarm; in a large one part of a full house, so that
/// whoever comes later finds places free.
fn missing(session: &Session, neighbours: &[Neighbour], policy: &Policy) -> usize {
    let most = places(session, policy);
    let there = match session.viewers as usize {
        0 => most,
        viewers if !crowded(session, policy) => viewers - 1,
        _ if session.terms.over(policy).upload => (most as f64 * SOUGHT).ceil() as usize,
        _ => most,
    };
    there.saturating_sub(neighbours.iter().filter(|n| n.in_swarm(session.swarm)).count())
}

/// Neighbours that share no rendition with us and have had time to.
pub fn idle(sessions: &[Session], neighbours: &[Neighbour], now: Time) -> Vec<usize> {
    let useless = |n: &Neighbour| !sessions.iter().any(|s| s.joined && n.in_swarm(s.swarm));
    (0..neighbours.len())
        .filter(|&i| useless(&neighbours[i]) && now - neighbours[i].useful_at > KEPT)
        .collect()
}
