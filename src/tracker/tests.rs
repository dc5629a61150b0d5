//! Swarms without a network: viewers come, meet and go.

use std::collections::BTreeMap;
use std::time::Duration;

use super::swarms::*;
use crate::model::ids::{PeerId, SwarmId};
use crate::model::time::Time;
use crate::wire::tracker::{Account, Event, Extra, FromTracker, Offer, OfferId, ToTracker};

const LIMITS: Limits =
    Limits { swarms: 3, members: 2000, swarms_each: 2, interval: Duration::from_secs(120) };

fn swarm(n: u8) -> SwarmId {
    SwarmId([n; 20])
}

fn peer(n: u64) -> PeerId {
    let mut id = [0; 20];
    id[..8].copy_from_slice(&n.to_le_bytes());
    PeerId(id)
}

fn offers(count: usize) -> Vec<Offer> {
    (0..count).map(|n| Offer { offer_id: OfferId::from_bytes(&[n as u8]), sdp: format!("sdp{n}") }).collect()
}

struct Rig(Swarms, Time);

impl Rig {
    fn new() -> Self {
        Self(Swarms::new(LIMITS, 7), Time::ZERO)
    }

    fn announce(&mut self, who: u64, of: u8, event: Option<Event>, count: usize) -> Vec<Output> {
        let (info_hash, offers) = (swarm(of), offers(count));
        let message =
            ToTracker::Announce { info_hash, peer_id: peer(who), event, numwant: 10, offers, extra: None };
        self.tell(Input::Said(ConnectionId(who), message))
    }

    /// What a connection is told that announces itself by this peer id.
    fn announce_as(&mut self, from: u64, who: u64, of: u8, event: Option<Event>) -> Vec<Output> {
        let (info_hash, offers) = (swarm(of), offers(1));
        let message =
            ToTracker::Announce { info_hash, peer_id: peer(who), event, numwant: 1, offers, extra: None };
        self.tell(Input::Said(ConnectionId(from), message))
    }

    fn answer(&mut self, who: u64, to: u64, offer: u8) -> Vec<Output> {
        self.answer_as(who, who, to, offer)
    }

    fn answer_as(&mut self, from: u64, who: u64, to: u64, offer: u8) -> Vec<Output> {
        let message = ToTracker::Answer {
            info_hash: swarm(1),
            peer_id: peer(who),
            to_peer_id: peer(to),
            offer_id: OfferId::from_bytes(&[offer]),
            sdp: "answer".into(),
        };
        self.tell(Input::Said(ConnectionId(from), message))
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.0.handle(self.1, input, &mut out);
        out
    }
}

fn offered(out: &[Output]) -> Vec<u64> {
    out.iter().filter(|(_, m)| matches!(m, FromTracker::Offer { .. })).map(|(to, _)| to.0).collect()
}

#[test]
fn two_viewers_meet() {
    let mut rig = Rig::new();
    let out = rig.announce(1, 1, Some(Event::Started), 5);
    assert!(
        matches!(&out[..], [(_, FromTracker::Interval { incomplete: 1, .. })]),
        "nobody to offer to: {out:?}"
    );
    let out = rig.announce(2, 1, Some(Event::Started), 5);
    assert_eq!(offered(&out), [1], "one offer to each other, none to itself");
    let out = rig.answer(1, 2, 0);
    assert!(matches!(&out[..], [(ConnectionId(2), FromTracker::Answer { .. })]), "{out:?}");
    assert_eq!(rig.answer(1, 2, 0), [], "an offer is answered once");
}

#[test]
fn answers_to_nothing_are_not_relayed() {
    let mut rig = Rig::new();
    for who in 1..=3 {
        rig.announce(who, 1, None, 0);
    }
    rig.announce(2, 1, None, 1);
    assert_eq!(rig.answer(3, 1, 0), []);
    assert_eq!(rig.answer(2, 2, 0), []);
    assert_eq!(rig.answer(9, 2, 0), []);
    assert_eq!(rig.0.stats().forged, 3);
}

#[test]
fn nobody_answers_by_another_s_id() {
    let mut rig = Rig::new();
    rig.announce(1, 1, None, 0);
    rig.announce(2, 1, None, 1);
    assert_eq!(rig.answer_as(1, 3, 2, 0), []);
    assert_eq!(rig.0.stats().forged, 1);
    assert_eq!(rig.answer(1, 2, 0).len(), 1, "the one who was asked still may");
}

#[test]
fn in_a_swarm_a_connection_goes_by_one_id() {
    let mut rig = Rig::new();
    rig.announce(9, 1, None, 0);
    let refused = |out: &[Output]| matches!(out, [(_, FromTracker::Failure(_))]);
    assert_eq!(offered(&rig.announce_as(1, 1, 1, None)), [9]);
    for who in 2..8 {
        let out = rig.announce_as(1, who, 1, None);
        assert!(refused(&out), "no offer of it goes anywhere: {out:?}");
    }
    assert!(refused(&rig.announce_as(1, 9, 1, Some(Event::Stopped))));
    assert_eq!((rig.0.size(swarm(1)), rig.0.stats().refused), (2, 7));
    assert!(!refused(&rig.announce_as(1, 2, 2, None)), "a page has one for each stream");
    assert!(!refused(&rig.announce_as(1, 1, 1, None)));
}

#[test]
fn coming_and_going_makes_nobody_a_crowd() {
    let mut rig = Rig::new();
    rig.announce(9, 1, None, 0);
    let crowd = |rig: &mut Rig, from: u64| {
        let round = |who: u64| {
            rig.1 += Duration::from_secs(1);
            let offered = offered(&rig.announce_as(1, who, 1, Some(Event::Started))).len();
            rig.announce_as(1, who, 1, Some(Event::Stopped));
            offered
        };
        (from..from + 100).map(round).sum::<usize>()
    };
    assert_eq!(crowd(&mut rig, 100), 16);
    rig.1 += LIMITS.interval * 3;
    rig.announce(9, 1, None, 0);
    assert_eq!(crowd(&mut rig, 200), 16, "later there is room for others");
}

#[test]
fn whoever_stays_keeps_its_id_however_many_others_come() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        rig.announce_as(1, 1, 1, None);
        rig.1 += Duration::from_secs(200);
    }
    for who in 100..120 {
        rig.1 += Duration::from_secs(1);
        rig.announce_as(1, who, 2, Some(Event::Started));
        rig.announce_as(1, who, 2, Some(Event::Stopped));
    }
    assert!(matches!(rig.announce_as(1, 1, 1, None)[..], [(_, FromTracker::Interval { .. })]));
}

#[test]
fn whoever_comes_and_goes_is_waited_for_once() {
    let mut rig = Rig::new();
    rig.announce(1, 1, None, 0);
    for round in 0..10_000 {
        rig.announce(2 + round, 1, Some(Event::Started), 0);
        rig.announce(2 + round, 1, Some(Event::Stopped), 0);
        assert_eq!(rig.0.awaited(), 1, "round {round}");
    }
    rig.tell(Input::Gone(ConnectionId(1)));
    assert_eq!(rig.0.next_wakeup(), None);
}

#[test]
fn everyone_leaves_in_the_end() {
    let mut rig = Rig::new();
    rig.announce(1, 1, None, 0);
    rig.announce(1, 2, None, 0);
    rig.announce(2, 1, None, 0);
    rig.announce(2, 1, Some(Event::Stopped), 0);
    assert_eq!(rig.0.size(swarm(1)), 1);
    rig.tell(Input::Gone(ConnectionId(1)));
    assert_eq!(rig.0.sizes(), (0, 0));
    rig.announce(3, 1, None, 0);
    rig.1 += Duration::from_secs(300);
    rig.announce(4, 1, None, 0);
    assert_eq!(rig.0.size(swarm(1)), 2);
    rig.1 += Duration::from_secs(61);
    rig.tell(Input::Tick);
    assert_eq!(rig.0.size(swarm(1)), 1, "three intervals after its last word");
    assert!(rig.0.next_wakeup().is_some());
}

#[test]
fn viewers_are_counted_once_and_tell_what_they_took() {
    let mut rig = Rig::new();
    rig.0 = Swarms::of_networks(2, LIMITS, 7);
    rig.1 += Duration::from_secs(1);
    let tell = |rig: &mut Rig, who: u64, of: u8, event, uploads, p2p| {
        let account = Account { began_us: 9, age_ms: 0, http: 10, p2p, uploaded: 0 };
        let message = ToTracker::Announce {
            info_hash: swarm(of),
            peer_id: peer(who),
            event,
            numwant: 0,
            offers: Vec::new(),
            extra: Some(Extra { uploads, account: Some(account), ..Extra::default() }),
        };
        rig.tell(Input::Said(ConnectionId(who), message));
    };
    rig.tell(Input::Came(ConnectionId(1), 1));
    rig.tell(Input::Came(ConnectionId(2), 7));
    tell(&mut rig, 1, 1, Some(Event::Started), true, 1);
    tell(&mut rig, 1, 2, Some(Event::Started), true, 2);
    tell(&mut rig, 2, 1, Some(Event::Started), false, 3);
    rig.announce(3, 1, None, 0);
    assert_eq!(rig.0.watching(), [1, 2], "picture and sound are one viewer; an unknown network is the last");
    let census: Vec<_> = rig.0.census().map(|(_, c)| (c.viewers, c.uploaders, c.flow.sums.p2p)).collect();
    assert_eq!(census, [(3, 2, 4), (1, 1, 2)]);
    tell(&mut rig, 2, 1, None, true, 3);
    tell(&mut rig, 1, 1, Some(Event::Stopped), false, 30);
    tell(&mut rig, 1, 1, Some(Event::Stopped), false, 300);
    let census: Vec<_> = rig.0.census().map(|(_, c)| (c.viewers, c.uploaders, c.flow.sums.p2p)).collect();
    assert_eq!(census, [(2, 2, 33), (1, 1, 2)], "who leaves has a last word, and only one");
    rig.tell(Input::Gone(ConnectionId(1)));
    rig.tell(Input::Gone(ConnectionId(2)));
    rig.tell(Input::Gone(ConnectionId(3)));
    assert_eq!((rig.0.watching(), rig.0.sizes()), (&[0, 0][..], (0, 0)));
    assert_eq!(rig.0.accounts().total().sums.p2p, 35, "what was saved stays saved");
}

#[test]
fn whoever_gives_nothing_meets_somebody_who_does() {
    let mut rig = Rig::new();
    let says = |who: u64, uploads: bool, offers: Vec<Offer>| {
        let extra = Some(Extra { uploads, ..Extra::default() });
        let (info_hash, peer_id) = (swarm(1), peer(who));
        let announce = ToTracker::Announce { info_hash, peer_id, event: None, numwant: 10, offers, extra };
        Input::Said(ConnectionId(who), announce)
    };
    for who in 1..=12 {
        rig.tell(says(who, who <= 6, Vec::new()));
    }
    let mut met = offered(&rig.tell(says(12, false, offers(8))));
    assert_eq!(met.len(), 8, "with everybody else met, somebody like itself is better than nobody");
    met[..6].sort_unstable();
    assert_eq!(met[..6], [1, 2, 3, 4, 5, 6]);
    assert!(met[6..].iter().all(|who| *who > 6));
}

#[test]
fn limits_hold() {
    let mut rig = Rig::new();
    assert!(matches!(rig.announce(1, 1, None, 0)[0].1, FromTracker::Interval { .. }));
    assert!(matches!(rig.announce(1, 2, None, 0)[0].1, FromTracker::Interval { .. }));
    assert!(matches!(rig.announce(1, 3, None, 0)[0].1, FromTracker::Failure(_)), "a third swarm");
    rig.announce(2, 3, None, 0);
    assert!(matches!(rig.announce(3, 4, None, 0)[0].1, FromTracker::Failure(_)), "a fourth in all");
    let refused = (0..100)
        .filter(|_| rig.announce(2, 3, None, 0).iter().any(|(_, m)| matches!(m, FromTracker::Failure(_))))
        .count();
    assert!(refused > 50, "{refused} of 100 in no time were refused");
}

#[test]
fn offers_are_spread_evenly_over_a_large_swarm() {
    let mut rig = Rig::new();
    let mut given = BTreeMap::<u64, u32>::new();
    for who in 0..1000 {
        for to in offered(&rig.announce(who, 1, None, 10)) {
            assert_ne!(to, who);
            *given.entry(to).or_default() += 1;
        }
    }
    let most = given.values().max().copied().unwrap_or(0);
    assert!(most <= 80, "one member got {most} offers of about 10 on average");
}
