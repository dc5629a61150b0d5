//! What viewers say they took and gave, added up.
//!
//! Nothing is counted twice, and nothing that no line could have carried. A viewer tells the whole of its account each
//! time, and only what it has grown by is added. An account that is met for the first time counts from its beginning only
//! if it is certainly new: it began after everything that has been forgotten here. Otherwise what it holds already is left
//! out. What is said can't be proven; it can't grow faster than the lines of as many viewers as there are.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::swarms::ConnectionId;
use crate::model::ids::{PeerId, SwarmId};
use crate::model::time::Time;
use crate::wire::tracker::Account;

/// What a viewer's line carries at most in either direction, in bytes per second: a gigabit.
const LINE: u64 = 125_000_000;
/// What an account may hold when it is met for the first time, in bytes: a few segments from before the first
/// announcement.
const FIRST: u64 = 64 << 20;
/// What a silent line can have carried counts up to this long.
const SILENT: Duration = Duration::from_secs(3600);
/// How long an account is remembered whose viewer has left.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Accounts of viewers that have left which are remembered; the oldest are forgotten first.
const MOST_REMEMBERED: usize = 16_384;
/// A rate is taken over at least this long: segments come in bursts.
const RATE_OVER: Duration = Duration::from_secs(5);

/// Payload bytes; or bytes per second, where it is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// From origins.
    pub http: u64,
    /// From peers: what origins did not have to send.
    pub p2p: u64,
    /// To peers.
    pub uploaded: u64,
}

impl Sums {
    /// Bytes from peers over all bytes; 0 before the first one.
    #[must_use]
    pub fn efficiency(&self) -> f64 {
        let all = self.p2p as f64 + self.http as f64;
        if all == 0.0 { 0.0 } else { self.p2p as f64 / all }
    }

    fn each(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            http: with(self.http, other.http),
            p2p: with(self.p2p, other.p2p),
            uploaded: with(self.uploaded, other.uploaded),
        }
    }

    fn add(&mut self, more: Self) {
        *self = self.each(more, u64::saturating_add);
    }

    fn take(&mut self, less: Self) {
        *self = self.each(less, u64::saturating_sub);
    }

    fn per_second(self, over: Duration) -> Self {
        let per = |bytes: u64| (bytes as f64 / over.as_secs_f64()) as u64;
        Self { http: per(self.http), p2p: per(self.p2p), uploaded: per(self.uploaded) }
    }

    /// What a line carried: one direction does not wait for the other.
    fn carried(self) -> u64 {
        self.http.saturating_add(self.p2p).max(self.uploaded)
    }
}

/// Bytes so far, and how many of them a second now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Since the start, or since the first account of it that is remembered.
    pub sums: Sums,
    /// Bytes per second, as of the last announcements of those who are there.
    pub rate: Sums,
}

/// An account's name: nobody but a viewer and its trackers knows when it began, so nobody else can speak for it.
pub type Key = (SwarmId, PeerId, u64);

#[derive(Clone, Debug)]
struct Entry {
    /// The most it has said.
    said: Sums,
    /// When it last said something.
    at: Time,
    /// What its line can have carried by then besides what was counted, in bytes.
    room: u64,
    /// When its rate was last taken, and what has been counted since.
    mark: (Time, Sums),
    rate: Sums,
    voice: Voice,
    network: usize,
}

/// Whether an account's viewer is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    /// It speaks through this connection.
    By(ConnectionId),
    /// It has left, then: where it stands in [`Accounts::left`].
    Left(Time),
}

#[derive(Clone, Debug, Default)]
struct Swarm {
    flow: Flow,
    entries: usize,
}

/// Accounts of viewers, and their sums.
#[derive(Clone, Debug)]
pub struct Accounts {
    entries: BTreeMap<Key, Entry>,
    /// Those that have left and not come back, each once, in the order in which they did.
    left: BTreeSet<(Time, Key)>,
    swarms: BTreeMap<SwarmId, Swarm>,
    networks: Vec<Flow>,
    total: Flow,
    /// What was said no later than this may have been forgotten.
    forgotten: Time,
    taken: u64,
    refused: u64,
}

impl Accounts {
    /// None, for viewers of this many networks.
    #[must_use]
    pub fn new(networks: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            left: BTreeSet::new(),
            swarms: BTreeMap::new(),
            networks: vec![Flow::default(); networks.max(1)],
            total: Flow::default(),
            forgotten: Time::ZERO,
            taken: 0,
            refused: 0,
        }
    }

    /// Of everybody.
    #[must_use]
    pub fn total(&self) -> Flow {
        self.total
    }

    /// Of a network.
    #[must_use]
    pub fn network(&self, network: usize) -> Flow {
        self.networks.get(network).copied().unwrap_or_default()
    }

    /// Of a swarm.
    #[must_use]
    pub fn swarm(&self, swarm: SwarmId) -> Flow {
        self.swarms.get(&swarm).map(|s| s.flow).unwrap_or_default()
    }

    /// Accounts taken, and refused because no line could have carried that.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.taken, self.refused)
    }

    /// Takes in what a member of a swarm says.
    pub fn report(&mut self, now: Time, key: Key, (by, network): (ConnectionId, usize), account: &Account) {
        let said = Sums { http: account.http, p2p: account.p2p, uploaded: account.uploaded };
        let network = network.min(self.networks.len() - 1);
        let entry = match self.entries.get_mut(&key) {
            Some(entry) => {
                let silent = (now - entry.at).min(SILENT);
                let carried = u64::try_from(silent.as_micros()).unwrap_or(u64::MAX) / 1000 * (LINE / 1000);
                entry.room = entry.room.saturating_add(carried).min(LINE * SILENT.as_secs());
                entry
            }
            None => {
                let age = Duration::from_millis(account.age_ms);
                let new = age < now - self.forgotten;
                self.swarms.entry(key.0).or_default().entries += 1;
                self.entries.entry(key).or_insert(Entry {
                    said: if new { Sums::default() } else { said },
                    at: now,
                    room: FIRST,
                    mark: (now, Sums::default()),
                    rate: Sums::default(),
                    voice: Voice::By(by),
                    network,
                })
            }
        };
        // Less than before is an announcement that was overtaken by a later one.
        let mut grown = said.each(entry.said, u64::saturating_sub);
        entry.said = said.each(entry.said, u64::max);
        if let Voice::Left(at) = std::mem::replace(&mut entry.voice, Voice::By(by)) {
            self.left.remove(&(at, key));
        }
        entry.at = now;
        if grown.carried() > entry.room {
            self.refused += 1;
            grown = Sums::default();
            entry.mark = (now, grown);
        } else {
            self.taken += 1;
            entry.room -= grown.carried();
            entry.mark.1.add(grown);
        }
        let over = now - entry.mark.0;
        let rate = if over < RATE_OVER { entry.rate } else { entry.mark.1.per_second(over) };
        if over >= RATE_OVER {
            entry.mark = (now, Sums::default());
        }
        let (before, from) =
            (std::mem::replace(&mut entry.rate, rate), std::mem::replace(&mut entry.network, network));
        for (flow, sums) in
            [(&mut self.total, grown), (&mut self.swarms.entry(key.0).or_default().flow, grown)]
        {
            flow.sums.add(sums);
            flow.rate.take(before);
            flow.rate.add(rate);
        }
        self.networks[from].rate.take(before);
        self.networks[network].rate.add(rate);
        self.networks[network].sums.add(grown);
    }

    /// A viewer has left a swarm; unless it has come back by another connection before the old one was noticed to be gone.
    pub fn left(&mut self, now: Time, key: Key, by: ConnectionId) {
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.voice == Voice::By(by)) else {
            return;
        };
        entry.voice = Voice::Left(now);
        entry.mark = (now, Sums::default());
        let rate = std::mem::take(&mut entry.rate);
        self.total.rate.take(rate);
        self.networks[entry.network].rate.take(rate);
        if let Some(swarm) = self.swarms.get_mut(&key.0) {
            swarm.flow.rate.take(rate);
        }
        self.left.insert((now, key));
        self.forget(now);
    }

    /// Forgets accounts of viewers that left long ago, or before many others.
    pub fn forget(&mut self, now: Time) {
        while let Some(&(at, key)) = self.left.first() {
            if self.left.len() <= MOST_REMEMBERED && now - at < REMEMBERED {
                return;
            }
            self.left.pop_first();
            let Some(entry) = self.entries.remove(&key) else { continue };
            self.forgotten = self.forgotten.max(entry.at);
            if let Some(swarm) = self.swarms.get_mut(&key.0) {
                swarm.entries -= 1;
                if swarm.entries == 0 {
                    self.swarms.remove(&key.0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SWARM: SwarmId = SwarmId([1; 20]);

    fn key(n: u64) -> Key {
        (SWARM, PeerId([n as u8; 20]), n)
    }

    fn account(age_s: u64, http: u64, p2p: u64, uploaded: u64) -> Account {
        Account { began_us: 0, age_ms: age_s * 1000, http, p2p, uploaded }
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    const WHO: (ConnectionId, usize) = (ConnectionId(1), 0);

    #[test]
    fn what_an_account_grows_by_is_counted_once() {
        let mut accounts = Accounts::new(2);
        accounts.report(at(100), key(1), WHO, &account(1, 10, 20, 5));
        accounts.report(at(110), key(1), WHO, &account(11, 110, 220, 5));
        // The same again, an older one that was overtaken, and one after an announcement that was lost.
        accounts.report(at(111), key(1), WHO, &account(11, 110, 220, 5));
        accounts.report(at(112), key(1), WHO, &account(5, 50, 60, 5));
        accounts.report(at(200), key(1), WHO, &account(101, 500, 900, 50));
        assert_eq!(accounts.total().sums, Sums { http: 500, p2p: 900, uploaded: 50 });
        assert_eq!(accounts.counts(), (5, 0));
        // It comes back by another connection and from another network before the old connection is gone.
        accounts.report(at(201), key(1), (ConnectionId(2), 1), &account(102, 510, 900, 50));
        accounts.left(at(202), key(1), ConnectionId(1));
        accounts.report(at(203), key(1), (ConnectionId(2), 1), &account(104, 520, 900, 50));
        accounts.left(at(204), key(1), ConnectionId(2));
        accounts.report(at(900), key(1), (ConnectionId(3), 1), &account(801, 600, 1000, 50));
        assert_eq!(accounts.total().sums, Sums { http: 600, p2p: 1000, uploaded: 50 });
        assert_eq!(accounts.swarm(SWARM).sums, accounts.total().sums);
        assert_eq!(accounts.network(1).sums, Sums { http: 100, p2p: 100, uploaded: 0 });
        // The player came back: a new account of the same viewer begins.
        accounts.report(at(901), (SWARM, key(1).1, 77), WHO, &account(0, 30, 0, 0));
        assert_eq!(accounts.total().sums.http, 630);
    }

    #[test]
    fn what_was_before_the_tracker_is_left_out() {
        let mut accounts = Accounts::new(1);
        accounts.report(at(50), key(1), WHO, &account(51, 1 << 40, 1 << 40, 0));
        assert_eq!((accounts.total().sums, accounts.counts()), (Sums::default(), (1, 0)));
        accounts.report(at(60), key(1), WHO, &account(61, (1 << 40) + 7, (1 << 40) + 8, 9));
        assert_eq!(accounts.total().sums, Sums { http: 7, p2p: 8, uploaded: 9 });
    }

    #[test]
    fn nobody_says_more_than_a_line_carries() {
        let mut accounts = Accounts::new(1);
        accounts.report(at(10), key(1), WHO, &account(1, FIRST + 1, 0, 0));
        accounts.report(at(10), key(2), WHO, &account(1, 0, 0, u64::MAX));
        accounts.report(at(10), key(3), WHO, &account(1, u64::MAX, u64::MAX, 0));
        assert_eq!((accounts.total().sums, accounts.counts()), (Sums::default(), (0, 3)));
        accounts.report(at(20), key(1), WHO, &account(11, FIRST + 1 + LINE * 10, 0, 0));
        assert_eq!((accounts.total().sums.http, accounts.counts()), (LINE * 10, (1, 3)));
        accounts.report(at(21), key(1), WHO, &account(12, FIRST + 1 + LINE * 10, LINE * 3, 0));
        assert_eq!((accounts.total().sums.p2p, accounts.counts()), (0, (1, 4)));
    }

    #[test]
    fn a_rate_is_that_of_those_who_are_there() {
        let mut accounts = Accounts::new(1);
        for who in 1..=2 {
            accounts.report(at(10), key(who), WHO, &account(0, 0, 0, 0));
            accounts.report(at(20), key(who), WHO, &account(10, 1000, 4000, 0));
        }
        assert_eq!(accounts.total().rate, Sums { http: 200, p2p: 800, uploaded: 0 });
        // Too soon for another rate; then nothing has come for a while.
        accounts.report(at(22), key(1), WHO, &account(12, 2000, 4000, 0));
        assert_eq!(accounts.total().rate, Sums { http: 200, p2p: 800, uploaded: 0 });
        accounts.report(at(40), key(1), WHO, &account(30, 2000, 4000, 0));
        assert_eq!(accounts.total().rate, Sums { http: 150, p2p: 400, uploaded: 0 });
        accounts.left(at(41), key(2), WHO.0);
        assert_eq!(accounts.swarm(SWARM).rate, Sums { http: 50, p2p: 0, uploaded: 0 });
    }

    #[test]
    fn what_is_forgotten_is_not_counted_again() {
        let mut accounts = Accounts::new(1);
        let when = |who: u64| at(100 + who / 100);
        for who in 0..MOST_REMEMBERED as u64 + 10 {
            accounts.report(when(who), key(who), WHO, &account(0, 1, 0, 0));
            accounts.left(when(who), key(who), WHO.0);
        }
        assert_eq!((accounts.entries.len(), accounts.left.len()), (MOST_REMEMBERED, MOST_REMEMBERED));
        let before = accounts.total().sums.http;
        accounts.report(at(300), key(3), WHO, &account(200, 1, 0, 0));
        assert_eq!(accounts.total().sums.http, before, "it was here once");
        accounts.forget(at(4300));
        assert_eq!((accounts.entries.len(), accounts.swarms.len()), (1, 1), "only who is there");
        accounts.left(at(4301), key(3), WHO.0);
        accounts.forget(at(8301));
        assert_eq!((accounts.entries.len(), accounts.swarms.len()), (0, 0));
    }

    #[test]
    fn who_comes_and_goes_makes_nobody_else_forgotten() {
        let mut accounts = Accounts::new(1);
        accounts.report(at(100), key(1), WHO, &account(0, 1, 0, 0));
        accounts.left(at(100), key(1), WHO.0);
        for _ in 0..MOST_REMEMBERED + 10 {
            accounts.report(at(101), key(2), WHO, &account(1, 1, 0, 0));
            accounts.left(at(101), key(2), WHO.0);
        }
        assert_eq!((accounts.entries.len(), accounts.left.len()), (2, 2));
        assert_eq!(accounts.forgotten, Time::ZERO);
        // Nor does it go itself with its first departure.
        accounts.report(at(3000), key(2), WHO, &account(2900, 1, 0, 0));
        accounts.left(at(3000), key(2), WHO.0);
        accounts.forget(at(5000));
        assert_eq!((accounts.entries.len(), accounts.left.len()), (1, 1));
        accounts.forget(at(6600));
        assert_eq!((accounts.entries.len(), accounts.left.len()), (0, 0));
    }

    /// What a viewer does next: takes and gives, tells (or its word is lost), tells something old, leaves, comes back.
    fn steps() -> impl Strategy<Value = Vec<(u64, u8, u64, [u64; 3])>> {
        let bytes = prop_oneof![Just(0), 0..5_000_000u64, 0..400_000_000u64];
        let step = (0..4u64, 0..8u8, 0..90u64, [bytes.clone(), bytes.clone(), bytes]);
        proptest::collection::vec(step, 1..120)
    }

    proptest! {
        #[test]
        fn totals_are_never_more_than_was_carried_nor_than_lines_carry(steps in steps()) {
            let mut accounts = Accounts::new(1);
            let mut truth = [Sums::default(); 4];
            let mut old = [Sums::default(); 4];
            let mut now = at(0);
            let mut told = Sums::default();
            for (who, what, seconds, [http, p2p, uploaded]) in steps {
                now += Duration::from_secs(seconds);
                let of = who as usize;
                truth[of].add(Sums { http, p2p, uploaded });
                let says = match what {
                    0..4 => truth[of],
                    4 => old[of],
                    5 => { accounts.left(now, key(who), WHO.0); continue }
                    _ => continue,
                };
                old[of] = says;
                let age = (now.as_micros() / 1000).saturating_sub(1);
                let account = Account { began_us: who, age_ms: age, http: says.http, p2p: says.p2p, uploaded: says.uploaded };
                accounts.report(now, key(who), WHO, &account);
                let before = std::mem::replace(&mut told, accounts.total().sums);
                prop_assert_eq!(before.each(told, u64::max), told, "sums only grow");
            }
            let mut all = Sums::default();
            truth.iter().for_each(|sums| all.add(*sums));
            prop_assert_eq!(all.each(told, u64::max), all, "never more than was carried");
            let lines = 4 * (FIRST + (now - Time::ZERO).as_secs() * LINE);
            prop_assert!(told.http + told.p2p <= lines && told.uploaded <= lines);
            prop_assert_eq!(accounts.swarm(SWARM), accounts.total());
            prop_assert_eq!(accounts.network(0), accounts.total());
        }

        #[test]
        fn who_leaves_no_doubt_is_counted_to_the_byte(
            steps in proptest::collection::vec((1..120u64, [0..50_000_000u64, 0..50_000_000u64, 0..50_000_000u64], any::<bool>()), 1..60),
        ) {
            let (mut accounts, mut truth, mut now) = (Accounts::new(1), Sums::default(), at(10));
            for (seconds, [http, p2p, uploaded], lost) in steps {
                now += Duration::from_secs(seconds);
                truth.add(Sums { http, p2p, uploaded });
                if !lost {
                    let age_ms = (now - at(10)).as_millis() as u64;
                    let account = Account { began_us: 0, age_ms, http: truth.http, p2p: truth.p2p, uploaded: truth.uploaded };
                    accounts.report(now, key(1), WHO, &account);
                }
            }
            let account = Account { began_us: 0, age_ms: (now - at(10)).as_millis() as u64, http: truth.http, p2p: truth.p2p, uploaded: truth.uploaded };
            accounts.report(now, key(1), WHO, &account);
            accounts.left(now, key(1), WHO.0);
            if accounts.counts().1 == 0 {
                prop_assert_eq!(accounts.total().sums, truth);
            } else {
                prop_assert!(truth.carried() > FIRST, "an honest viewer is only refused for what it had at first");
            }
            prop_assert_eq!(accounts.total().rate, Sums::default());
        }
    }
}
