//! Who is in which swarm, and who meets whom.
//!
//! A tracker forgets: everything here ends by itself, at the latest three intervals after the last announcement. It
//! relays an answer only to whoever's offer it has just relayed to the answerer, so nobody can be spoken to uninvited.
//! No step costs more than the offers it carries, however large the swarm.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::accounts::{Accounts, Flow, Key};
use super::expiries::{Entry, Expiries};
use super::names::Names;
use crate::model::ids::{PeerId, SwarmId};
use crate::model::time::Time;
use crate::wire::tracker::{Account, Event, Extra, FromTracker, MAX_OFFERS, Offer, OfferId, ToTracker};

/// An offer can be answered this long.
const OFFER_LIFE: Duration = Duration::from_secs(120);
/// Offers relayed to one connection that wait for an answer; the oldest are forgotten.
const PENDING: usize = 64;
/// Announcements that a connection may make at once, and how fast it may make more.
const BURST: f64 = 40.0;
/// Announcements per second after that.
const RATE: f64 = 4.0;
/// Members looked at to find a receiver of an offer; the one that got the fewest lately takes it.
const LOOKED_AT: usize = 4;

/// A connection, numbered by who accepted it, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What a tracker allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Swarms at the same time.
    pub swarms: usize,
    /// Members of all swarms together.
    pub members: usize,
    /// Swarms that one connection may be in.
    pub swarms_each: usize,
    /// How often to announce.
    pub interval: Duration,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A connection is there, from this network. Needs no telling where there is one network only.
    Came(ConnectionId, usize),
    /// A client said something.
    Said(ConnectionId, ToTracker),
    /// A connection is gone.
    Gone(ConnectionId),
    /// Nothing but time.
    Tick,
}

/// To whom something is to be said, and what.
pub type Output = (ConnectionId, FromTracker);

/// What came of everything so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Announcements taken.
    pub announces: u64,
    /// Offers relayed.
    pub offers: u64,
    /// Answers relayed.
    pub answers: u64,
    /// Messages refused: too many, or over a limit.
    pub refused: u64,
    /// Answers to nothing.
    pub forged: u64,
}

#[derive(Clone, Debug)]
struct Member {
    connection: ConnectionId,
    peer: PeerId,
    /// It may be asked for pieces.
    uploads: bool,
    /// Offers it was given lately.
    given: u32,
    until: Time,
    /// Where its end is waited for.
    entry: Entry,
    /// The account that it last told of.
    account: Option<Key>,
}

#[derive(Clone, Debug, Default)]
struct Swarm {
    members: Vec<Member>,
    index: BTreeMap<ConnectionId, usize>,
    /// Members that may be asked for pieces.
    uploaders: usize,
}

/// How many there are, and what it comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Viewers.
    pub viewers: usize,
    /// Those of them that may be asked for pieces.
    pub uploaders: usize,
    /// What they took and gave.
    pub flow: Flow,
}

#[derive(Clone, Debug)]
struct Pending {
    swarm: SwarmId,
    /// Whom the receiver was then.
    receiver: PeerId,
    offerer: PeerId,
    offer_id: OfferId,
    connection: ConnectionId,
    until: Time,
}

#[derive(Clone, Debug)]
struct Connection {
    swarms: Vec<SwarmId>,
    names: Names,
    pending: VecDeque<Pending>,
    tokens: f64,
    filled: Time,
    network: usize,
}

/// All swarms of a tracker.
#[derive(Clone, Debug)]
pub struct Swarms {
    limits: Limits,
    swarms: BTreeMap<SwarmId, Swarm>,
    connections: BTreeMap<ConnectionId, Connection>,
    expiries: Expiries,
    members: usize,
    /// Connections that are in a swarm, by network.
    watching: Vec<usize>,
    accounts: Accounts,
    stats: Stats,
    chance: u64,
}

impl Swarms {
    /// No swarms; `seed` decides who gets which offer.
    #[must_use]
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self::of_networks(1, limits, seed)
    }

    /// No swarms, of viewers in so many networks.
    #[must_use]
    pub fn of_networks(networks: usize, limits: Limits, seed: u64) -> Self {
        Self {
            limits,
            swarms: BTreeMap::new(),
            connections: BTreeMap::new(),
            expiries: Expiries::default(),
            members: 0,
            watching: vec![0; networks.max(1)],
            accounts: Accounts::new(networks),
            stats: Stats::default(),
            chance: seed,
        }
    }

    /// Takes in one thing that happened and appends what is to be said about it.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        self.expire(now);
        self.accounts.forget(now);
        match input {
            Input::Tick => {}
            Input::Came(connection, network) => {
                self.connection(connection, now).network = network.min(self.watching.len() - 1);
            }
            Input::Gone(connection) => self.gone(now, connection),
            Input::Said(from, ToTracker::Scrape { info_hashes }) => {
                let files = info_hashes.into_iter().map(|hash| (hash, self.size(hash))).collect();
                out.push((from, FromTracker::Scrape { files }));
            }
            Input::Said(from, ToTracker::Answer { info_hash, peer_id, to_peer_id, offer_id, sdp }) => {
                self.answer(now, from, (info_hash, peer_id, to_peer_id, offer_id), sdp, out);
            }
            Input::Said(from, ToTracker::Announce { info_hash, peer_id, event, numwant, offers, extra }) => {
                if let Some(why) = self.refusal(now, from, info_hash, peer_id) {
                    self.stats.refused += 1;
                    out.push((from, FromTracker::Failure(why.into())));
                    return;
                }
                // Others' clients don't say whether they upload: they do.
                let uploads = extra.as_ref().is_none_or(|extra| extra.uploads);
                let Extra { known, account, .. } = extra.unwrap_or_default();
                if event == Some(Event::Stopped) {
                    self.account(now, from, info_hash, account);
                    self.leave(now, info_hash, from);
                } else {
                    let who = (info_hash, peer_id, uploads);
                    self.announce(now, from, who, numwant, (offers, &known), out);
                    self.uploads(from, info_hash, uploads);
                    self.account(now, from, info_hash, account);
                }
            }
        }
    }

    /// When time alone will change something.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Time> {
        self.expiries.first()
    }

    /// Members whose end is waited for: all of them, and nobody twice.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.expiries.len()
    }

    /// Members of a swarm.
    #[must_use]
    pub fn size(&self, swarm: SwarmId) -> u32 {
        self.swarms.get(&swarm).map_or(0, |s| u32::try_from(s.members.len()).unwrap_or(u32::MAX))
    }

    /// Swarms, and members of all of them.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (self.swarms.len(), self.members)
    }

    /// What came of everything so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// How often viewers are asked to announce themselves.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.limits.interval
    }

    /// What viewers say of themselves.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Connections that are in a swarm, in each network: a viewer of picture and sound apart is in two swarms, and one.
    #[must_use]
    pub fn watching(&self) -> &[usize] {
        &self.watching
    }

    /// The swarms.
    pub fn census(&self) -> impl Iterator<Item = (SwarmId, Census)> {
        self.swarms.iter().map(|(id, swarm)| {
            let (viewers, uploaders) = (swarm.members.len(), swarm.uploaders);
            (*id, Census { viewers, uploaders, flow: self.accounts.swarm(*id) })
        })
    }

    fn connection(&mut self, from: ConnectionId, now: Time) -> &mut Connection {
        self.connections.entry(from).or_insert_with(|| Connection {
            swarms: Vec::new(),
            names: Names::default(),
            pending: VecDeque::new(),
            tokens: BURST,
            filled: now,
            network: 0,
        })
    }

    /// Notes whether a member may be asked for pieces.
    fn uploads(&mut self, from: ConnectionId, swarm: SwarmId, uploads: bool) {
        let Some(swarm) = self.swarms.get_mut(&swarm) else { return };
        let Some(member) = swarm.index.get(&from).map(|&at| &mut swarm.members[at]) else { return };
        swarm.uploaders += usize::from(uploads);
        swarm.uploaders -= usize::from(std::mem::replace(&mut member.uploads, uploads));
    }

    /// Takes in what a member says of itself.
    fn account(&mut self, now: Time, from: ConnectionId, id: SwarmId, account: Option<Account>) {
        let (Some(account), Some(swarm)) = (account, self.swarms.get_mut(&id)) else { return };
        let Some(member) = swarm.index.get(&from).map(|&at| &mut swarm.members[at]) else { return };
        let key = (id, member.peer, account.began_us);
        if let Some(before) = member.account.replace(key).filter(|before| *before != key) {
            self.accounts.left(now, before, from);
        }
        let network = self.connections.get(&from).map_or(0, |connection| connection.network);
        self.accounts.report(now, key, (from, network), &account);
    }

    /// Why an announcement is not taken. In a swarm a connection goes by one id as long as it is there: otherwise one client
    /// could be as many viewers as it likes, and take every place that others have for strangers.
    fn refusal(
        &mut self,
        now: Time,
        from: ConnectionId,
        swarm: SwarmId,
        peer: PeerId,
    ) -> Option<&'static str> {
        if !self.may_announce(from, now) {
            return Some("too many announcements; wait a little");
        }
        let known = self.swarms.get(&swarm).and_then(|s| Some(s.members[*s.index.get(&from)?].peer));
        if let Some(known) = known {
            return (known != peer).then_some("this connection is in the swarm by another peer_id");
        }
        let life = self.limits.interval * 3;
        let may = self.connection(from, now).names.take(peer, now, life);
        (!may).then_some("too many peer ids over one connection; wait a little")
    }

    fn may_announce(&mut self, from: ConnectionId, now: Time) -> bool {
        let connection = self.connection(from, now);
        connection.tokens = (connection.tokens + RATE * (now - connection.filled).as_secs_f64()).min(BURST);
        connection.filled = now;
        let may = connection.tokens >= 1.0;
        connection.tokens -= f64::from(u8::from(may));
        may
    }

    fn announce(
        &mut self,
        now: Time,
        from: ConnectionId,
        (swarm, peer, uploads): (SwarmId, PeerId, bool),
        numwant: u32,
        (offers, known): (Vec<Offer>, &[PeerId]),
        out: &mut Vec<Output>,
    ) {
        if !self.enter(now, from, swarm, peer) {
            self.stats.refused += 1;
            out.push((from, FromTracker::Failure("this tracker is full".into())));
            return;
        }
        self.stats.announces += 1;
        let viewers = self.size(swarm);
        // Spread over a tenth, so that those who came together do not come back together.
        let interval = self.limits.interval.as_secs() as u32;
        let spread = self.draw(interval as usize / 10 + 1) as u32;
        let extra = Some(Extra { viewers, ..Extra::default() });
        let interval_s = interval - spread;
        out.push((
            from,
            FromTracker::Interval { info_hash: swarm, interval_s, complete: 0, incomplete: viewers, extra },
        ));
        let most = (numwant as usize).min(MAX_OFFERS);
        let mut taken: Vec<ConnectionId> = vec![from];
        for Offer { offer_id, sdp } in offers.into_iter().take(most) {
            let found = self.receiver(swarm, (peer, uploads), &taken, known);
            let Some((receiver, receiver_peer)) = found else { break };
            taken.push(receiver);
            let Some(connection) = self.connections.get_mut(&receiver) else { continue };
            if connection.pending.len() == PENDING {
                connection.pending.pop_front();
            }
            let until = now + OFFER_LIFE;
            let (offerer, pending) = (peer, offer_id.clone());
            connection.pending.push_back(Pending {
                swarm,
                receiver: receiver_peer,
                offerer,
                offer_id: pending,
                connection: from,
                until,
            });
            self.stats.offers += 1;
            out.push((receiver, FromTracker::Offer { info_hash: swarm, peer_id: peer, offer_id, sdp }));
        }
    }

    /// Puts a peer into a swarm, or notes that it is still there; false over a limit.
    fn enter(&mut self, now: Time, from: ConnectionId, swarm: SwarmId, peer: PeerId) -> bool {
        let until = now + self.limits.interval * 3;
        if let Some(known) = self.swarms.get_mut(&swarm)
            && let Some(&at) = known.index.get(&from)
        {
            let member = &mut known.members[at];
            member.until = until;
            member.given /= 2;
            return true;
        }
        let Some(connection) = self.connections.get_mut(&from) else { return false };
        let new_swarm = !self.swarms.contains_key(&swarm);
        if connection.swarms.len() >= self.limits.swarms_each
            || self.members >= self.limits.members
            || (new_swarm && self.swarms.len() >= self.limits.swarms)
        {
            return false;
        }
        self.watching[connection.network] += usize::from(connection.swarms.is_empty());
        connection.swarms.push(swarm);
        let known = self.swarms.entry(swarm).or_default();
        known.index.insert(from, known.members.len());
        let entry = self.expiries.add(until, (swarm, from));
        let (connection, uploads) = (from, false);
        known.members.push(Member { connection, peer, given: 0, until, entry, uploads, account: None });
        self.members += 1;
        true
    }

    /// Another member to give an offer to: of a few drawn by chance, one that has a use for it, and of those the one that
    /// got the fewest.
    fn receiver(
        &mut self,
        swarm: SwarmId,
        (offerer, uploads): (PeerId, bool),
        taken: &[ConnectionId],
        known: &[PeerId],
    ) -> Option<(ConnectionId, PeerId)> {
        let count = self.swarms.get(&swarm)?.members.len();
        let mut best: Option<usize> = None;
        let mut start = self.draw(count);
        // A small swarm is looked through whole, a large one only at places drawn by chance.
        let looks = if count <= LOOKED_AT * 8 { count } else { LOOKED_AT };
        for _ in 0..looks {
            let members = &self.swarms.get(&swarm)?.members;
            let member = &members[start];
            let free = !taken.contains(&member.connection)
                && member.peer != offerer
                && !known.contains(&member.peer);
            // Two that give nothing have nothing for each other.
            let last = |m: &Member| (!uploads && !m.uploads, m.given);
            if free && best.is_none_or(|best| last(member) < last(&members[best])) {
                best = Some(start);
            }
            start = if looks == count { (start + 1) % count } else { self.draw(count) };
        }
        let member = &mut self.swarms.get_mut(&swarm)?.members[best?];
        member.given = member.given.saturating_add(1);
        Some((member.connection, member.peer))
    }

    fn answer(
        &mut self,
        now: Time,
        from: ConnectionId,
        (swarm, peer, to, offer): (SwarmId, PeerId, PeerId, OfferId),
        sdp: String,
        out: &mut Vec<Output>,
    ) {
        let pending = self.connections.get_mut(&from).and_then(|connection| {
            let ours = |p: &Pending| {
                (p.swarm, p.receiver, p.offerer) == (swarm, peer, to) && p.offer_id == offer && p.until > now
            };
            let at = connection.pending.iter().position(ours)?;
            connection.pending.remove(at)
        });
        let Some(pending) = pending else {
            self.stats.forged += 1;
            return;
        };
        // Whoever offered may have left: then the answer is lost, which is nobody's mistake.
        let there = self.swarms.get(&swarm).is_some_and(|s| s.index.contains_key(&pending.connection));
        if there {
            self.stats.answers += 1;
            out.push((
                pending.connection,
                FromTracker::Answer { info_hash: swarm, peer_id: peer, offer_id: offer, sdp },
            ));
        }
    }

    fn leave(&mut self, now: Time, swarm: SwarmId, from: ConnectionId) {
        let Some(known) = self.swarms.get_mut(&swarm) else { return };
        let Some(at) = known.index.remove(&from) else { return };
        let member = known.members.swap_remove(at);
        known.uploaders -= usize::from(member.uploads);
        if let Some(moved) = known.members.get(at) {
            known.index.insert(moved.connection, at);
        }
        self.members -= 1;
        self.expiries.remove(member.entry);
        if known.members.is_empty() {
            self.swarms.remove(&swarm);
        }
        if let Some(connection) = self.connections.get_mut(&from) {
            connection.swarms.retain(|s| *s != swarm);
            self.watching[connection.network] -= usize::from(connection.swarms.is_empty());
        }
        if let Some(account) = member.account {
            self.accounts.left(now, account, from);
        }
    }

    fn gone(&mut self, now: Time, from: ConnectionId) {
        let Some(connection) = self.connections.get(&from) else { return };
        for swarm in connection.swarms.clone() {
            self.leave(now, swarm, from);
        }
        self.connections.remove(&from);
    }

    fn expire(&mut self, now: Time) {
        while let Some((swarm, connection)) = self.expiries.due(now) {
            let Some(known) = self.swarms.get_mut(&swarm) else { continue };
            let Some(&at) = known.index.get(&connection) else { continue };
            let member = &mut known.members[at];
            if member.until > now {
                member.entry = self.expiries.add(member.until, (swarm, connection));
            } else {
                self.leave(now, swarm, connection);
            }
        }
    }

    /// A number below `bound` (SplitMix64); 0 for a bound of 0.
    fn draw(&mut self, bound: usize) -> usize {
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.chance;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((u128::from(x ^ (x >> 31))) * bound as u128) >> 64) as usize
    }
}
