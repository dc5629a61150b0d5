//! Neighbours that contradict each other, take back what they said, leave and come back, while it is settled who is right.

use std::time::Duration;

use super::rig::*;
use crate::delivery::policy::Terms;
use crate::delivery::*;
use crate::wire::message::{Message, Slot};

/// The segment that is talked about.
const NEXT: u64 = 2;

/// What neighbour `n` says of the segment: these pieces, rightly or not.
fn says(rig: &mut Rig, n: u8, pieces: &[(u8, bool)]) -> Vec<Output> {
    let named =
        |&(piece, right): &(u8, bool)| (piece, hash(if right { NEXT } else { 70 + u64::from(n) }, piece));
    let (segment, pieces) = (segment(NEXT), pieces.iter().map(named).collect());
    let (slot, sequence, length) = (Slot(0), NEXT, LENGTH);
    rig.say(n, Message::Have { slot, segment, sequence, length, loading: false, pieces })
}

const ALL: [(u8, bool); 3] = [(0, true), (1, true), (2, true)];

/// The fetch of the segment that `out` begins, and from where.
fn settling(out: &[Output]) -> (FetchId, u32) {
    let fetch = out.iter().find_map(|output| match output {
        Output::Fetch { fetch, segment: of, from, .. } if *of == segment(NEXT) => Some((*fetch, *from)),
        _ => None,
    });
    fetch.expect("the origin is asked who is right")
}

/// The origin brings one piece.
fn brings(rig: &mut Rig, fetch: FetchId, piece: u8) -> Vec<Output> {
    let mut out = rig.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: true });
    let up_to = grid().span(piece).end;
    out.extend(rig.tell(Input::Arrived { fetch, up_to }));
    out.extend(rig.tell(Input::Hashed { segment: segment(NEXT), piece, hash: hash(NEXT, piece) }));
    out.extend(rig.tell(Input::Fetched { fetch }));
    out
}

fn shunned(out: &[Output], n: u8) -> bool {
    out.contains(&Output::Disconnect { peer: peer(n), shun: true })
}

/// The pieces of the segment that neighbour `n` counts as having.
fn known(rig: &Rig, n: u8) -> u64 {
    let at =
        rig.node.neighbours().iter().position(|neighbour| neighbour.peer == peer(n)).expect("it is there");
    rig.node.sessions()[0].active.get(segment(NEXT)).map_or(0, |pieces| pieces.words.of(at))
}

/// Neighbours 1 to 3, all believed.
fn among_friends() -> Rig {
    let mut rig = Rig::playing();
    (1..=3).for_each(|n| rig.befriend(n));
    rig
}

/// 1 says what is true, 2 says otherwise about the first piece; the fetch that settles it.
fn contested() -> (Rig, FetchId) {
    let mut rig = among_friends();
    says(&mut rig, 1, &ALL);
    let out = says(&mut rig, 2, &[(0, false)]);
    let (fetch, from) = settling(&out);
    assert_eq!(from, 0);
    (rig, fetch)
}

/// A stranger: there, and not believed yet.
fn meet(rig: &mut Rig, n: u8) {
    rig.tell(Input::Joined { peer: peer(n) });
    rig.say(n, Message::Hello { version: 1, features: 0, uploads: true });
    rig.say(n, Message::Joined { slot: Slot(0), swarm: swarm() });
    rig.say(n, Message::Window { slot: Slot(0), first: 0, last: u64::MAX });
}

#[test]
fn whoever_lied_is_shunned_though_it_took_it_back() {
    for way_out in [Message::Lost { segment: segment(NEXT) }, Message::Left { slot: Slot(0) }] {
        let (mut rig, fetch) = contested();
        rig.say(2, way_out);
        let out = brings(&mut rig, fetch, 0);
        assert!(shunned(&out, 2) && !shunned(&out, 1), "{out:?}");
        assert_eq!(rig.node.faults().contradicted_origin, 1);
    }
}

#[test]
fn whoever_lied_is_shunned_though_it_went_and_came_back() {
    let (mut rig, fetch) = contested();
    // More often than there is room for what is said.
    for _ in 0..100 {
        rig.tell(Input::Left { peer: peer(2), misbehaved: false });
        rig.befriend(2);
        says(&mut rig, 2, &[(0, true)]);
        says(&mut rig, 2, &[(0, false), (1, true)]);
    }
    rig.tell(Input::Left { peer: peer(2), misbehaved: false });
    meet(&mut rig, 2);
    says(&mut rig, 3, &ALL);
    let out = brings(&mut rig, fetch, 0);
    assert!(shunned(&out, 2), "{out:?}");
    assert_eq!((rig.node.neighbours().len(), known(&rig, 3)), (2, grid().all()));
}

#[test]
fn whoever_lied_is_shunned_though_it_is_away() {
    let (mut rig, fetch) = contested();
    rig.tell(Input::Left { peer: peer(2), misbehaved: false });
    let out = brings(&mut rig, fetch, 0);
    assert!(shunned(&out, 2), "{out:?}");
    assert_eq!(rig.node.faults().contradicted_origin, 1);
}

#[test]
fn whoever_seconds_a_lie_is_shunned_with_the_liar() {
    let mut rig = among_friends();
    let lie = |n: u8, rig: &mut Rig| {
        let (segment, sequence, pieces) = (segment(NEXT), NEXT, vec![(0, hash(77, 0))]);
        let have = Message::Have { slot: Slot(0), segment, sequence, length: LENGTH, loading: false, pieces };
        rig.say(n, have)
    };
    lie(2, &mut rig);
    lie(3, &mut rig);
    let (fetch, _) = settling(&says(&mut rig, 1, &ALL));
    let out = brings(&mut rig, fetch, 0);
    assert!(shunned(&out, 2) && shunned(&out, 3) && !shunned(&out, 1), "{out:?}");
    assert_eq!((rig.node.faults().contradicted_origin, known(&rig, 1)), (2, grid().all()));
}

#[test]
fn what_others_said_as_well_does_not_fall_with_a_liar() {
    let mut rig = among_friends();
    says(&mut rig, 2, &[(0, false), (1, true), (2, true)]);
    says(&mut rig, 3, &[(1, true), (2, true)]);
    let (fetch, _) = settling(&says(&mut rig, 1, &[(0, true)]));
    let out = brings(&mut rig, fetch, 0);
    assert!(shunned(&out, 2));
    let of_third = requests(&out).into_iter().filter(|(of, _)| *of == peer(3)).count();
    assert!(of_third > 0, "the rest still comes from neighbours: {out:?}");
}

#[test]
fn two_wrong_lengths_are_told_apart_from_the_right_one() {
    let mut rig = among_friends();
    let long = |rig: &mut Rig, n: u8, length: u32| {
        let (segment, sequence, pieces) = (segment(NEXT), NEXT, vec![(0, hash(NEXT, 0))]);
        rig.say(n, Message::Have { slot: Slot(0), segment, sequence, length, loading: false, pieces })
    };
    long(&mut rig, 1, LENGTH * 2);
    let (fetch, _) = settling(&says(&mut rig, 3, &ALL));
    long(&mut rig, 2, LENGTH * 3);
    let out = brings(&mut rig, fetch, 0);
    assert!(shunned(&out, 1) && shunned(&out, 2) && !shunned(&out, 3), "{out:?}");
    assert_eq!(known(&rig, 3), grid().all());
}

#[test]
fn where_nothing_may_be_shared_nobody_has_lied() {
    let (mut rig, fetch) = contested();
    let mut out = rig.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: false });
    out.extend(brings(&mut rig, fetch, 0));
    assert!((1..=3).all(|n| !shunned(&out, n)), "{out:?}");
    assert_eq!(rig.node.faults().contradicted_origin, 0);
}

/// Whoever does not tell a length, or one that is not kept, can settle nothing: he was asked again, and again.
#[test]
fn what_is_passed_through_is_not_settled() {
    for length in [None, Some(u64::MAX)] {
        let (mut rig, fetch) = contested();
        let mut out = rig.tell(Input::Head { fetch, length, shareable: true });
        out.extend(rig.sleep_until(rig.now + Duration::from_millis(300)));
        assert!(out.contains(&Output::CancelFetch { fetch }), "{length:?}: {out:?}");
        assert_eq!(fetch_in(&out), None, "{length:?}");
    }
}

/// The origin tells no length; a neighbour tells a shorter one while the segment comes.
#[test]
fn the_length_of_what_comes_is_not_a_neighbours_to_say() {
    let mut rig = among_friends();
    // A player that jumps ahead, and is not held.
    rig.list(0..8);
    let (ask, out) = rig.ask(1, 6);
    let (fetch, ..) = fetch_in(&out).expect("after a jump the origin is asked at once");
    rig.tell(Input::Head { fetch, length: None, shareable: true });
    let (segment, sequence, pieces) = (segment(6), 6, Vec::new());
    let short =
        Message::Have { slot: Slot(0), segment, sequence, length: LENGTH / 2, loading: false, pieces };
    rig.say(2, short);
    rig.tell(Input::Arrived { fetch, up_to: LENGTH });
    let mut out = rig.tell(Input::Fetched { fetch });
    for piece in 0..grid().pieces() {
        out.extend(rig.tell(Input::Hashed { segment, piece, hash: hash(6, piece) }));
    }
    let whole = Output::Ready { ask, up_to: LENGTH, length: Some(LENGTH) };
    assert!(out.contains(&whole), "{out:?}");
    let out = rig.have(3, 6, 0..grid().pieces());
    assert!(!shunned(&out, 3), "its length is the right one");
}

#[test]
fn whoever_was_right_and_went_has_nothing_when_it_comes_back() {
    let (mut rig, fetch) = contested();
    says(&mut rig, 3, &ALL);
    rig.tell(Input::Left { peer: peer(3), misbehaved: false });
    rig.befriend(3);
    let out = brings(&mut rig, fetch, 0);
    assert!(!shunned(&out, 3));
    assert_eq!((known(&rig, 3), known(&rig, 1)), (0, grid().all()));
}

#[test]
fn a_true_word_of_before_makes_nobody_believed_that_has_come_back() {
    let (mut rig, fetch) = contested();
    says(&mut rig, 3, &ALL);
    rig.say(3, Message::Lost { segment: segment(NEXT) });
    rig.tell(Input::Left { peer: peer(3), misbehaved: false });
    meet(&mut rig, 3);
    brings(&mut rig, fetch, 0);
    let back = rig.node.neighbours().iter().find(|n| n.peer == peer(3)).expect("it told no lie");
    assert!(!back.confirmed);
}

#[test]
fn what_was_right_and_taken_back_is_not_asked_for() {
    for way_out in [Message::Lost { segment: segment(NEXT) }, Message::Left { slot: Slot(0) }] {
        let (mut rig, fetch) = contested();
        says(&mut rig, 3, &ALL);
        rig.say(3, way_out.clone());
        rig.say(3, Message::Joined { slot: Slot(0), swarm: swarm() });
        let out = brings(&mut rig, fetch, 0);
        assert!(!shunned(&out, 3) && known(&rig, 3) == 0, "{way_out:?}: {out:?}");
        let asked = requests(&out);
        assert!(!asked.is_empty() && asked.iter().all(|(of, _)| *of == peer(1)), "{out:?}");
    }
}

#[test]
fn what_is_said_again_after_it_was_taken_back_counts() {
    let (mut rig, fetch) = contested();
    says(&mut rig, 3, &ALL);
    rig.say(3, Message::Lost { segment: segment(NEXT) });
    says(&mut rig, 3, &[(2, true)]);
    brings(&mut rig, fetch, 0);
    assert_eq!(known(&rig, 3), 0b100);
}

#[test]
fn a_piece_that_was_refused_meanwhile_is_not_counted_on() {
    let (mut rig, fetch) = contested();
    says(&mut rig, 1, &ALL);
    rig.say(1, Message::Busy { segment: segment(NEXT), piece: 1, retry_ms: 0 });
    says(&mut rig, 3, &ALL);
    brings(&mut rig, fetch, 0);
    assert_eq!((known(&rig, 1), known(&rig, 3)), (0b101, 0b111));
}

/// A stranger's word agrees with a piece that is here already, and is taken back; what it says then waits until it can be
/// believed, and is not lost with the other.
#[test]
fn a_stranger_that_took_something_back_is_believed_of_what_it_said_since() {
    let mut rig = among_friends();
    let asked = requests(&says(&mut rig, 1, &ALL));
    let (_, first) = asked[0];
    let (length, hash) = (grid().span(first).len() as u32, hash(NEXT, first));
    rig.tell(Input::Piece { peer: peer(1), segment: segment(NEXT), piece: first, length, hash });
    let contested = (0..3).find(|piece| *piece != first).expect("there are three");
    let other = 3 - first - contested;
    let (fetch, _) = settling(&says(&mut rig, 2, &[(contested, false)]));
    meet(&mut rig, 4);
    says(&mut rig, 4, &ALL);
    rig.say(4, Message::Lost { segment: segment(NEXT) });
    says(&mut rig, 4, &[(other, true)]);
    let stranger = &rig.node.neighbours()[3];
    assert_eq!((stranger.confirmed, stranger.pending.len()), (false, 1));
    brings(&mut rig, fetch, contested);
    let stranger = rig.node.neighbours().iter().find(|n| n.peer == peer(4)).expect("it told no lie");
    assert!(stranger.confirmed && stranger.pending.is_empty());
    assert_eq!(known(&rig, 4), 1 << other);
}

#[test]
fn of_two_lies_the_second_is_settled_after_the_first() {
    let mut rig = among_friends();
    says(&mut rig, 1, &[(0, true)]);
    let (fetch, _) = settling(&says(&mut rig, 2, &[(0, false)]));
    says(&mut rig, 3, &[(1, false)]);
    says(&mut rig, 1, &ALL);
    let out = brings(&mut rig, fetch, 0);
    assert!(shunned(&out, 2) && !shunned(&out, 3));
    let (fetch, from) = settling(&out);
    assert_eq!(from, grid().span(1).start);
    let out = brings(&mut rig, fetch, 1);
    assert!(shunned(&out, 3) && !shunned(&out, 1));
    assert!(known(&rig, 1) & 0b100 != 0, "the honest one is asked for what is left");
}

#[test]
fn a_second_lie_that_was_taken_back_costs_nothing() {
    let mut rig = among_friends();
    says(&mut rig, 1, &[(0, true)]);
    let (fetch, _) = settling(&says(&mut rig, 2, &[(0, false)]));
    says(&mut rig, 3, &[(1, false)]);
    rig.say(3, Message::Lost { segment: segment(NEXT) });
    says(&mut rig, 1, &ALL);
    let out = brings(&mut rig, fetch, 0);
    assert!(shunned(&out, 2) && !shunned(&out, 3));
    assert_eq!(fetch_in(&out), None, "nobody contradicts anybody any more");
    assert!(requests(&out).iter().any(|(of, _)| *of == peer(1)));
}

#[test]
fn what_is_said_of_a_rendition_that_we_left_is_not_believed_when_we_come_back() {
    let p2p = |p2p| Input::Terms { swarm: swarm(), terms: Terms { p2p, ..Terms::default() } };
    let (mut rig, fetch) = contested();
    says(&mut rig, 3, &ALL);
    meet(&mut rig, 4);
    rig.have(4, 3, 0..2);
    assert_eq!(rig.node.neighbours()[3].pending.len(), 1);
    rig.tell(p2p(false));
    // These have not heard yet that we left.
    says(&mut rig, 3, &ALL);
    rig.have(4, 3, 0..2);
    assert_eq!(rig.node.neighbours()[3].pending.len(), 0);
    rig.tell(p2p(true));
    let mut out = brings(&mut rig, fetch, 0);
    assert!(shunned(&out, 2) && known(&rig, 3) == 0);
    out.extend(rig.have(4, 1, 0..grid().pieces()));
    out.extend(rig.sleep_until(rig.now + Duration::from_secs(1)));
    assert!(rig.node.neighbours().iter().any(|n| n.peer == peer(4) && n.confirmed));
    assert_eq!(requests(&out), []);
    says(&mut rig, 3, &ALL);
    assert_eq!(known(&rig, 3), grid().all(), "what is said anew counts");
}

#[test]
fn what_will_not_come_is_not_waited_for_nor_held_against_anybody() {
    let anew = Message::Joined { slot: Slot(1), swarm: swarm() };
    for way_out in [Message::Lost { segment: segment(NEXT) }, Message::Left { slot: Slot(0) }, anew] {
        let mut rig = among_friends();
        let asked = requests(&says(&mut rig, 1, &ALL));
        assert!(!asked.is_empty());
        says(&mut rig, 3, &ALL);
        let out = rig.say(1, way_out.clone());
        assert!(requests(&out).iter().any(|(of, _)| *of == peer(3)), "the other is asked instead: {out:?}");
        for (of, piece) in asked {
            assert_eq!(of, peer(1));
            let cancel = Message::Cancel { segment: segment(NEXT), piece };
            assert!(out.contains(&Output::Say { peer: of, message: cancel }), "{way_out:?}: {out:?}");
        }
        let gone = &rig.node.neighbours()[0];
        assert_eq!((gone.flights, known(&rig, 1)), (0, 0));
        rig.sleep_until(rig.now + Duration::from_secs(3));
        let gone = rig.node.neighbours().iter().find(|n| n.peer == peer(1)).expect("it is still there");
        assert_eq!(gone.misses, 0, "{way_out:?}");
    }
}

/// Offers, lets itself be waited for, withdraws, offers again: each time it is left alone for as long as it was waited for.
#[test]
fn whoever_keeps_us_waiting_and_withdraws_is_left_alone_as_long() {
    for refuses in [false, true] {
        let mut rig = Rig::playing();
        rig.befriend(1);
        let mut waited = Duration::ZERO;
        let began = rig.now;
        for _ in 0..4 {
            let out = says(&mut rig, 1, &ALL);
            let Some(&(_, piece)) = requests(&out).first() else { break };
            rig.sleep_until(rig.now + Duration::from_secs(1));
            waited += Duration::from_secs(1);
            let segment = segment(NEXT);
            let busy = Message::Busy { segment, piece, retry_ms: 0 };
            rig.say(1, if refuses { busy } else { Message::Lost { segment } });
            assert!(rig.node.neighbours()[0].busy_until >= rig.now + Duration::from_secs(1));
        }
        assert_eq!(waited, Duration::from_secs(1), "after {:?} it was asked again", rig.now - began);
    }
}

#[test]
fn whoever_says_again_that_it_is_here_puts_nothing_off() {
    let mut rig = among_friends();
    let settled = rig.node.sessions()[0].settled_at;
    rig.now += Duration::from_secs(1);
    rig.say(1, Message::Joined { slot: Slot(0), swarm: swarm() });
    assert_eq!(rig.node.sessions()[0].settled_at, settled);
}
