//! Whom a Node meets, measures, believes, serves and lets go.

use std::time::Duration;

use super::holds::held;
use super::rig::*;
use crate::delivery::*;
use crate::model::ids::{PeerId, SegmentId, SwarmId};
use crate::model::timeline::{Choice, Kind, Segment, Timeline};
use crate::wire::message::{Message, Slot};

fn pings(out: &[Output]) -> usize {
    let ping =
        |output: &&Output| matches!(output, Output::Say { message: Message::Ping { reply: false, .. }, .. });
    out.iter().filter(ping).count()
}

#[test]
fn neighbours_are_pinged_often_only_while_pieces_leave() {
    let mut rig = Rig::playing();
    for n in 1..4 {
        rig.befriend(n);
    }
    // Whoever comes is pinged; all of them answer.
    for (n, nonce) in (1..4).flat_map(|n| (1..9).map(move |nonce| (n, nonce))) {
        rig.say(n, Message::Ping { nonce, reply: true });
    }
    let idle = rig.sleep_until(rig.now + Duration::from_secs(5));
    assert_eq!(pings(&idle), 0, "in 5 idle seconds");
    let answered = |rig: &mut Rig, out: &[Output]| {
        for output in out {
            if let Output::Say { peer, message: Message::Ping { nonce, reply: false } } = *output {
                rig.tell(Input::Said { peer, message: Message::Ping { nonce, reply: true } });
            }
        }
        pings(out)
    };
    let request = |piece| Message::Request { segment: segment(1), piece, within_ms: 4000 };
    let mut busy = 0;
    for piece in 0..2 {
        let out = rig.say(1, request(piece));
        let sent = |o: &Output| matches!(o, Output::SendPiece { piece: p, .. } if *p == piece);
        assert!(out.iter().any(sent), "{out:?}");
        busy += answered(&mut rig, &out);
        for _ in 0..10 {
            let out = rig.sleep_until(rig.now + Duration::from_millis(100));
            busy += answered(&mut rig, &out);
        }
        rig.tell(Input::Sent { peer: peer(1), segment: segment(1), piece });
    }
    assert!((5..=16).contains(&busy), "{busy} pings in 2 s of uploading");
    let after = rig.sleep_until(rig.now + Duration::from_secs(3));
    assert!(pings(&after) <= 3, "{} pings after the last piece", pings(&after));
}

#[test]
fn what_a_stranger_announces_is_kept_up_to_a_limit() {
    let mut rig = Rig::playing();
    rig.tell(Input::Joined { peer: peer(1) });
    rig.say(1, Message::Hello { version: 1, features: 0, uploads: true });
    rig.say(1, Message::Joined { slot: Slot(0), swarm: swarm() });
    for sequence in 0..1000 {
        rig.have(1, 2 + sequence % 3, 0..1);
    }
    assert!(!rig.node.neighbours()[0].confirmed, "nothing it said could be compared");
    let waiting = rig.node.neighbours()[0].pending.len();
    assert!((1..=64).contains(&waiting), "{waiting} announcements wait");
    let (slot, segment, pieces) = (Slot(0), segment(2), Vec::new());
    rig.say(1, Message::Have { slot, segment, sequence: 2, length: 0, loading: false, pieces });
    let pending = &rig.node.neighbours()[0].pending;
    let loads =
        |m: &&Message| matches!(m, Message::Have { segment: of, loading: true, .. } if *of == segment);
    assert_eq!(pending.iter().filter(loads).count(), 0, "it has said that it loads that no longer");
    assert!(pending.iter().any(|m| matches!(m, Message::Have { loading: true, .. })));
}

#[test]
fn a_crowd_that_asks_at_once_is_refused_but_for_a_few() {
    let mut rig = Rig::playing();
    let mut accepted = 0;
    for n in 1..=60 {
        rig.befriend(n);
        for piece in 0..3 {
            let out = rig.say(n, Message::Request { segment: segment(1), piece, within_ms: 4000 });
            let refused = |o: &Output| matches!(o, Output::Say { message: Message::Busy { .. }, .. });
            accepted += usize::from(!out.iter().any(refused));
        }
    }
    let most = policy::UPLOADS_UNMEASURED + policy::UNDER_WAY as usize;
    assert!((2..=most).contains(&accepted), "{accepted} of 180 are to be served");
}

/// When the Node closes the connection with a neighbour to make place for somebody new, from now on.
fn lets_go(rig: &mut Rig) -> Duration {
    let began = rig.now;
    for second in 1..=200 {
        // A player that asked no more would count as gone.
        let out = rig.sleep_until(began + Duration::from_secs(second));
        if out.iter().any(|o| matches!(o, Output::Disconnect { shun: false, .. })) {
            return rig.now - began;
        }
        if second % 4 == 0 {
            let sequence = 2 + second / 4;
            rig.list(sequence.saturating_sub(2)..sequence + 1);
            rig.plays(sequence);
        }
    }
    panic!("a full house stays as it is");
}

/// In a swarm that is larger than the house, which is full.
fn full_house() -> Rig {
    let mut rig = Rig::playing();
    rig.tell(Input::Tracker { tracker: 0, up: true, interval_s: 60 });
    rig.tell(Input::SwarmSize { tracker: 0, swarm: swarm(), viewers: 1_000 });
    for n in 1..=rig.node.policy().max_neighbours {
        rig.befriend(n);
    }
    rig
}

#[test]
fn once_a_minute_somebody_new_is_tried_and_sooner_where_neighbours_are_too_slow() {
    let calm = lets_go(&mut full_house());
    assert!(calm > policy::SWAP / 2 && calm <= policy::SWAP * 2, "{calm:?}");
    let mut rig = full_house();
    held(&mut rig, 2, None);
    let hurried = lets_go(&mut rig);
    assert!(hurried <= policy::SWAP_SHORT * 2, "{hurried:?}");
}

/// Whom the Node lets go to make place for somebody new, from now on.
fn let_go(rig: &mut Rig) -> PeerId {
    let connected = |rig: &Rig| rig.node.neighbours().iter().map(|n| n.peer).collect::<Vec<_>>();
    let before = connected(rig);
    lets_go(rig);
    let left = connected(rig);
    before.into_iter().find(|peer| !left.contains(peer)).expect("somebody has gone")
}

/// Among neighbours that were of no use the first one goes; one that has brought a piece stays, and so does one that has taken
/// one.
#[test]
fn a_neighbour_that_was_of_use_stays_when_somebody_new_is_tried() {
    assert_eq!(let_go(&mut full_house()), peer(1), "nobody was of use");
    let mut rig = full_house();
    let (from, piece) = requests(&rig.have(1, 2, 0..1))[0];
    let length = grid().span(piece).len() as u32;
    let input = Input::Piece { peer: from, segment: segment(2), piece, length, hash: hash(2, piece) };
    assert!(rig.tell(input).contains(&Output::Keep { segment: segment(2), piece }));
    rig.say(2, Message::Request { segment: segment(1), piece: 0, within_ms: 4000 });
    rig.tell(Input::Sent { peer: peer(2), segment: segment(1), piece: 0 });
    assert_eq!(let_go(&mut rig), peer(3));
}

/// A player that goes to another rendition may come back to this one.
#[test]
fn a_neighbour_that_watches_nothing_of_ours_is_kept_for_a_while() {
    let kept = Duration::from_secs(30);
    for comes_back in [false, true] {
        let mut rig = Rig::playing();
        rig.befriend(1);
        let began = rig.now;
        let mut left = None;
        for second in 1..=60 {
            match second {
                4 => drop(rig.say(1, Message::Left { slot: Slot(0) })),
                20 if comes_back => drop(rig.say(1, Message::Joined { slot: Slot(0), swarm: swarm() })),
                _ => {}
            }
            let out = rig.sleep_until(began + Duration::from_secs(second));
            let gone = out.iter().any(|o| matches!(o, Output::Disconnect { shun: false, .. }));
            left = left.or(gone.then_some(rig.now - began));
            if second % 4 == 0 {
                let sequence = 1 + second / 4;
                rig.list(sequence.saturating_sub(2)..sequence + 1);
                rig.plays(sequence);
            }
        }
        match (comes_back, left) {
            (true, left) => assert_eq!(left, None, "it came back"),
            (false, Some(left)) => assert!(left > kept && left <= kept + TARGET * 2, "after {left:?}"),
            (false, None) => panic!("it is kept for ever"),
        }
    }
}

/// Sound beside the pictures, in a rendition of its own, one segment ahead of them.
fn with_sound(rig: &mut Rig) -> impl Fn(u64) -> SegmentId + use<> {
    let swarm = SwarmId::of("cdn.example/live/sound.m3u8");
    let name = move |sequence: u64| SegmentId::of(swarm, sequence, &format!("sound{sequence}.aac"));
    let segments =
        (0..5).map(|sequence| Segment { id: name(sequence), sequence, duration: TARGET }).collect();
    let timeline = Timeline { swarm, kind: Kind::Live, target: TARGET, choice: Choice::default(), segments };
    rig.tell(Input::Listed { timeline, viewer: 2 });
    for sequence in 0..2 {
        let (ask, segment) = (AskId(100 + sequence), name(sequence));
        let out = rig.tell(Input::Asked { ask, viewer: 2, swarm, segment, from: 0, to: None });
        let (fetch, ..) = fetch_in(&out).expect("nobody else is there");
        rig.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: true });
        rig.tell(Input::Arrived { fetch, up_to: LENGTH });
        rig.tell(Input::Fetched { fetch });
        rig.tell(Input::Took { ask, up_to: LENGTH });
        rig.tell(Input::Done { ask });
    }
    name
}

/// What the Node knows neighbour 1 to have of a segment of either rendition.
fn known(rig: &Rig, rendition: usize, segment: SegmentId) -> Option<u64> {
    rig.node.sessions()[rendition].active.get(segment).map(|pieces| pieces.words.of(0))
}

#[test]
fn what_a_stranger_said_of_another_rendition_counts_there_once_it_is_believed() {
    let mut rig = Rig::playing();
    let sound = with_sound(&mut rig);
    let of_sound = SwarmId::of("cdn.example/live/sound.m3u8");
    rig.tell(Input::Joined { peer: peer(1) });
    rig.say(1, Message::Hello { version: 1, features: 0, uploads: true });
    for (slot, swarm) in [(Slot(0), swarm()), (Slot(1), of_sound)] {
        rig.say(1, Message::Joined { slot, swarm });
        rig.say(1, Message::Window { slot, first: 0, last: u64::MAX });
    }
    let have = |slot, segment, sequence| {
        let pieces = (0..grid().pieces()).map(|piece| (piece, hash(sequence, piece))).collect();
        Message::Have { slot, segment, sequence, length: LENGTH, loading: false, pieces }
    };
    rig.say(1, have(Slot(1), sound(2), 2));
    assert!(!rig.node.neighbours()[0].confirmed);
    rig.have(1, 1, 0..grid().pieces());
    assert!(rig.node.neighbours()[0].confirmed, "of the pictures it said what is true");
    assert_eq!(known(&rig, 1, sound(2)), Some(grid().all()));
    // A name of the one is never opened in the other.
    rig.say(1, have(Slot(0), sound(4), 3));
    assert_eq!((known(&rig, 0, sound(2)), known(&rig, 0, sound(4))), (None, None));
    // Whoever leaves a rendition has nothing of it any more, and of the other what it had.
    rig.have(1, 2, 0..1);
    rig.say(1, Message::Left { slot: Slot(1) });
    assert_eq!(known(&rig, 1, sound(2)), Some(0));
    assert_eq!(known(&rig, 0, segment(2)), Some(1));
}

/// Who gives a segment up gives up with it what others said of it.
#[test]
fn a_neighbour_that_lost_a_segment_and_comes_back_to_it_is_told_of_it_again() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    let window = Message::Window { slot: Slot(0), first: 0, last: u64::MAX };
    let told = |out: &[Output]| {
        let of = |o: &Output| match o {
            Output::Say { message: Message::Have { segment: of, pieces, .. }, .. } if *of == segment(0) => {
                Some(pieces.len())
            }
            _ => None,
        };
        out.iter().filter_map(of).collect::<Vec<_>>()
    };
    let all = usize::from(grid().pieces());
    let out = rig.say(1, window.clone());
    assert!(told(&out).is_empty(), "it knows already");
    rig.say(1, Message::Lost { segment: segment(0) });
    assert_eq!(told(&rig.say(1, window.clone())), [all]);
    assert!(told(&rig.say(1, window)).is_empty());
}

#[test]
fn who_was_to_be_sent_what_is_gone_hears_so_and_nothing_is_counted() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    let request = |piece| Message::Request { segment: segment(1), piece, within_ms: 4000 };
    let sends = |out: &[Output], piece| {
        out.contains(&Output::SendPiece { peer: peer(1), segment: segment(1), piece })
    };
    let out = rig.say(1, request(0));
    assert!(sends(&out, 0), "{out:?}");
    assert!(!sends(&rig.say(1, request(1)), 1), "one after the other");
    rig.now += Duration::from_secs(1);
    let (peer, segment) = (peer(1), segment(1));
    let out = rig.tell(Input::Unsent { peer, segment, piece: 0 });
    let message = Message::Busy { segment, piece: 0, retry_ms: 0 };
    assert!(out.contains(&Output::Say { peer, message: message.clone() }), "{out:?}");
    assert!(sends(&out, 1), "the next one goes: {out:?}");
    let neighbour = &rig.node.neighbours()[0];
    assert_eq!((neighbour.uploaded, neighbour.worth, rig.node.totals().uploaded), (0, 0, 0));
    let out = rig.tell(Input::Unsent { peer, segment, piece: 0 });
    assert!(!out.contains(&Output::Say { peer, message }), "it is not under way any more");
}
