//! What neighbours and the origin say of how long a segment is, and which.

use super::rig::*;
use crate::delivery::*;
use crate::model::timeline::{Segment, Timeline};
use crate::wire::message::{Message, Slot};

fn fails(out: &[Output], of: AskId) -> bool {
    out.iter().any(|o| matches!(o, Output::Fail { ask, .. } if *ask == of))
}

/// What was too much lay where others belong, and what the origin brought of those was not taken.
#[test]
fn a_piece_that_is_longer_than_its_place_is_a_lie() {
    for length in [1 << 20, 16_383] {
        let mut rig = Rig::playing();
        rig.befriend(1);
        let out = rig.have(1, 2, 0..1);
        assert_eq!(requests(&out), [(peer(1), 0)]);
        let out =
            rig.tell(Input::Piece { peer: peer(1), segment: segment(2), piece: 0, length, hash: hash(2, 0) });
        assert!(!out.iter().any(|o| matches!(o, Output::Keep { .. })), "{length}");
        assert!(out.contains(&Output::Disconnect { peer: peer(1), shun: true }), "{length}");
        assert_eq!(rig.node.sessions()[0].active.get(segment(2)).map(|pieces| pieces.held()), Some(0));
    }
}

#[test]
fn no_neighbour_s_word_makes_a_segment_longer_than_any_is() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    let grid = |rig: &Rig| rig.node.sessions()[0].active.get(segment(2)).and_then(|pieces| pieces.grid);
    for length in [u32::try_from(policy::LONGEST_OF_USUAL).unwrap() * LENGTH + 1, 64 << 20] {
        let (slot, segment, pieces) = (Slot(0), segment(2), vec![(0, hash(2, 0))]);
        let out = rig.say(1, Message::Have { slot, segment, sequence: 2, length, loading: false, pieces });
        assert_eq!((grid(&rig), requests(&out)), (None, Vec::new()), "{length}");
    }
    rig.have(1, 2, 0..1);
    assert!(grid(&rig).is_some());
}

/// It waited for bytes that never came, or went on with those of another segment.
#[test]
fn an_answer_that_has_begun_ends_where_the_origin_has_another_segment() {
    for (hashed, other) in [(false, LENGTH / 2), (true, LENGTH / 2), (true, LENGTH * 2)] {
        let mut rig = Rig::new();
        rig.list(0..3);
        let (ask, out) = rig.ask(1, 0);
        let (fetch, ..) = fetch_in(&out).unwrap();
        rig.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: true });
        rig.tell(Input::Arrived { fetch, up_to: 20_000 });
        if hashed {
            rig.tell(Input::Hashed { segment: segment(0), piece: 0, hash: hash(0, 0) });
        }
        rig.tell(Input::Failed { fetch, fault: Fault::Broken });
        let out = rig.sleep_until(rig.now + std::time::Duration::from_secs(1));
        let (fetch, ..) = fetch_in(&out).expect("asked again");
        let out = rig.tell(Input::Head { fetch, length: Some(u64::from(other)), shareable: true });
        assert!(fails(&out, ask), "{hashed} {other}: {out:?}");
    }
}

#[test]
fn what_another_fetch_brings_is_not_lost_with_the_one_that_is_refused() {
    for fault in [Fault::Refused, Fault::Denied, Fault::Missing] {
        let mut rig = Rig::new();
        for viewer in 1..3 {
            rig.tell(Input::Listed { timeline: Timeline { choice: choice(true), ..film(3) }, viewer });
        }
        let mut fetches = Vec::new();
        for (n, from) in [(1, 0), (2, 40_000)] {
            let (swarm, segment, to) = (swarm(), segment(0), Some(from + 20_000));
            let out = rig.tell(Input::Asked { ask: AskId(n), viewer: n, swarm, segment, from, to });
            fetches.push(fetch_in(&out).expect("nothing is buffered").0);
        }
        rig.tell(Input::Head { fetch: fetches[1], length: Some(u64::from(LENGTH)), shareable: true });
        let mut out = rig.tell(Input::Failed { fetch: fetches[0], fault });
        for _ in 0..3 {
            if let Some((fetch, ..)) = fetch_in(&out) {
                out.extend(rig.tell(Input::Failed { fetch, fault }));
            } else if !fails(&out, AskId(1)) {
                out = rig.sleep_until(rig.node.next_wakeup().expect("it is asked again").0);
            }
        }
        assert!(fails(&out, AskId(1)) && !fails(&out, AskId(2)), "{fault:?}: {out:?}");
    }
}

/// Each segment that a neighbour had told of first counted for the target duration, however short it was: an hour of a player's
/// buffer that it did not have.
#[test]
fn a_segment_that_a_neighbour_told_of_is_what_the_manifest_says() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    let (slot, pieces) = (Slot(0), vec![(0, hash(3, 0))]);
    // It says a number that is not its own.
    rig.say(
        1,
        Message::Have { slot, segment: segment(3), sequence: 4, length: LENGTH, loading: false, pieces },
    );
    let known = |rig: &Rig| rig.node.sessions()[0].active.get(segment(3)).map(|pieces| pieces.segment);
    assert_eq!(known(&rig).map(|told| (told.sequence, told.duration)), Some((4, TARGET)));
    let each = TARGET * 3 / 5;
    let segments: Vec<Segment> =
        (0..5).map(|s| Segment { id: segment(s), sequence: s, duration: each }).collect();
    let timeline = Timeline { segments: segments.into(), ..rig.node.sessions()[0].timeline.clone() };
    rig.tell(Input::Listed { timeline, viewer: 1 });
    assert_eq!(known(&rig).map(|listed| (listed.sequence, listed.duration)), Some((3, each)));
    let order: Vec<u64> =
        rig.node.sessions()[0].active.iter().map(|pieces| pieces.segment.sequence).collect();
    assert!(order.is_sorted(), "{order:?}");
}
