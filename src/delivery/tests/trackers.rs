//! What trackers are told and tell, and what neighbours are told of many renditions.

use std::collections::BTreeMap;
use std::time::Duration;

use super::rig::*;
use crate::delivery::*;
use crate::model::ids::{SegmentId, SwarmId};
use crate::model::time::Time;
use crate::model::timeline::{Choice, Kind, Segment, Timeline};
use crate::wire::message::{Message, Slot};

/// Somebody who plays a live stream, with so many trackers.
fn with_trackers(trackers: usize) -> Rig {
    let mut rig = Rig::playing();
    rig.node = Node::new(peer(0), policy::Policy::new(&policy::Options::default(), 64 << 20), trackers, 1);
    rig.list(0..3);
    rig.plays(0);
    rig.plays(1);
    rig
}

/// Plays on for so long, and says when the swarm was announced.
fn announced(rig: &mut Rig, during: Duration) -> Vec<Time> {
    let (began, mut at, mut sequence) = (rig.now, Vec::new(), 2);
    while rig.now - began < during {
        rig.list(sequence - 2..sequence + 1);
        rig.plays(sequence);
        let until = rig.now + TARGET;
        while let Some((wake, _)) = rig.node.next_wakeup().filter(|(wake, _)| *wake <= until) {
            let out = rig.sleep_until(wake);
            at.extend(out.iter().filter(|o| matches!(o, Output::Announce { .. })).map(|_| rig.now));
        }
        rig.now = until;
        sequence += 1;
    }
    at
}

/// The one that asks to hear every two minutes forgot a viewer that kept to the half hour of another.
#[test]
fn every_tracker_hears_as_often_as_it_wants() {
    for order in [[120, 1800], [1800, 120]] {
        let mut rig = with_trackers(2);
        for (tracker, interval_s) in (0..).zip(order) {
            rig.tell(Input::Tracker { tracker, up: true, interval_s });
        }
        let at = announced(&mut rig, Duration::from_secs(3000));
        let late: Vec<_> =
            at.windows(2).map(|two| two[1] - two[0]).filter(|apart| apart.as_secs() > 121).collect();
        assert!(at.len() > 20 && late.is_empty(), "{order:?}: {} times, {late:?}", at.len());
        rig.tell(Input::Tracker { tracker: usize::from(order[1] == 120), up: false, interval_s: 120 });
        let rare = announced(&mut rig, Duration::from_secs(3000)).len();
        assert!(rare < at.len() / 2, "{order:?}: the other one does not want to hear {rare} times");
    }
}

#[test]
fn a_swarm_is_as_large_as_any_tracker_that_is_there_knows() {
    let mut rig = with_trackers(2);
    let viewers = |rig: &Rig| rig.node.sessions()[0].viewers;
    let say =
        |rig: &mut Rig, tracker, viewers| rig.tell(Input::SwarmSize { tracker, swarm: swarm(), viewers });
    for tracker in 0..2 {
        rig.tell(Input::Tracker { tracker, up: true, interval_s: 120 });
    }
    say(&mut rig, 0, 500);
    say(&mut rig, 1, 2);
    assert_eq!(viewers(&rig), 500, "who knows few is no reason to seek nobody");
    say(&mut rig, 0, 300);
    assert_eq!(viewers(&rig), 300, "it shrinks");
    rig.tell(Input::Tracker { tracker: 0, up: false, interval_s: 120 });
    say(&mut rig, 1, 3);
    assert_eq!(viewers(&rig), 3, "what is gone says nothing any more");
    say(&mut rig, 7, 9);
    assert_eq!(viewers(&rig), 9, "whatever number it has");
}

/// One stream plays on, and others come and go: their numbers went round and fell together with its own, which neighbours took
/// for a farewell.
#[test]
fn no_two_renditions_have_one_name_however_many_come_and_go() {
    let mut rig = Rig::playing();
    let first = rig.node.sessions()[0].slot;
    let mut names: BTreeMap<Slot, SwarmId> = BTreeMap::from([(first, swarm())]);
    let mut others = 0;
    for n in 0..600u64 {
        let other = SwarmId::of(&format!("other {n}"));
        let segments: Vec<Segment> = (0..3)
            .map(|sequence| Segment { id: SegmentId::of(other, sequence, ""), sequence, duration: TARGET })
            .collect();
        let ids: Vec<SegmentId> = segments.iter().map(|s| s.id).collect();
        let (kind, choice) = (Kind::Vod, Choice::default());
        let timeline = Timeline { swarm: other, kind, target: TARGET, choice, segments: segments.into() };
        rig.tell(Input::Listed { timeline, viewer: 2 + n });
        rig.tell(Input::Joined { peer: peer(9) });
        for (sequence, segment) in (0..).zip(ids).take(2) {
            let ask = AskId(10_000 + 2 * n + sequence);
            let mut out =
                rig.tell(Input::Asked { ask, viewer: 2 + n, swarm: other, segment, from: 0, to: None });
            let Some((fetch, ..)) = fetch_in(&out) else { continue };
            out.extend(rig.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: true }));
            out.extend(rig.tell(Input::Arrived { fetch, up_to: LENGTH }));
            for piece in 0..grid().pieces() {
                out.extend(rig.tell(Input::Hashed { segment, piece, hash: hash(sequence, piece) }));
            }
            out.extend(rig.tell(Input::Fetched { fetch }));
            out.extend(rig.tell(Input::Took { ask, up_to: LENGTH }));
            out.extend(rig.tell(Input::Done { ask }));
            for output in out {
                if let Output::Say { message: Message::Joined { slot, swarm }, .. } = output {
                    let living =
                        |swarm: &SwarmId| rig.node.sessions().iter().any(|s| s.joined && s.swarm == *swarm);
                    let before =
                        names.insert(slot, swarm).filter(|before| *before != swarm && living(before));
                    assert_eq!(before, None, "{slot:?} after {n} others");
                    others += 1;
                }
            }
        }
        // The first one plays on; of the others each is left after a while.
        rig.list(0..3 + n);
        rig.plays(2 + n);
        rig.sleep_until(rig.now + TARGET);
    }
    assert!(others > 300, "{others} joined");
    assert!(rig.node.sessions().iter().any(|s| s.swarm == swarm() && s.joined && s.slot == first));
}

/// Each time it was told of all that is here again, beyond any limit of what is uploaded.
#[test]
fn who_joins_and_leaves_without_end_is_let_go() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    let mut told = 0;
    for round in 0..1_000 {
        let slot = Slot(0);
        let mut out = rig.say(1, Message::Left { slot });
        out.extend(rig.say(1, Message::Joined { slot, swarm: swarm() }));
        out.extend(rig.say(1, Message::Window { slot, first: 0, last: u64::MAX }));
        told += out.iter().filter(|o| matches!(o, Output::Say { message: Message::Have { .. }, .. })).count();
        if out.contains(&Output::Disconnect { peer: peer(1), shun: true }) {
            assert!((32..100).contains(&round) && told < 400, "{round} {told}");
            return;
        }
    }
    panic!("it was told {told} times");
}

#[test]
fn who_goes_from_one_rendition_to_the_other_stays() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    for round in 0..200 {
        let slot = Slot(0);
        rig.say(1, Message::Left { slot });
        rig.say(
            1,
            Message::Joined { slot, swarm: if round % 2 == 0 { SwarmId::of("low") } else { swarm() } },
        );
        rig.now += TARGET;
        rig.list(round..round + 3);
        rig.plays(round + 2);
        assert_eq!(rig.node.neighbours().len(), 1, "{round}");
    }
}

/// It came back by the next offer, whatever the log said.
#[test]
fn who_breaks_the_protocol_is_not_met_again() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    let left = |misbehaved| Input::Left { peer: peer(1), misbehaved };
    let refused = |out: &[Output]| out.contains(&Output::Disconnect { peer: peer(1), shun: true });
    assert!(refused(&rig.tell(left(true))));
    rig.befriend(1);
    assert!(!refused(&rig.tell(left(false))), "who only goes may come again");
}

/// A daemon for many players watches more than anybody remembers of it.
#[test]
fn who_watches_much_is_not_taken_for_one_that_joins_and_leaves_without_end() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    for number in 1..=200u8 {
        let joined = Message::Joined { slot: Slot(number), swarm: SwarmId::of(&number.to_string()) };
        let out = rig.say(1, joined);
        assert!(!out.contains(&Output::Disconnect { peer: peer(1), shun: true }), "{number}");
    }
}

/// What a neighbour remembers that we watch has few places, and an old one is not for ever.
#[test]
fn who_left_before_us_hears_that_we_leave_too() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    rig.say(1, Message::Left { slot: Slot(0) });
    rig.now += TARGET * 20;
    let out = rig.tell(Input::Tick);
    let message = Message::Left { slot: Slot(0) };
    assert!(out.contains(&Output::Say { peer: peer(1), message }), "{out:?}");
}
