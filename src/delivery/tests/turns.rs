//! Whose turn it is to take the first copy of a segment, and what is said before it is taken.

use std::time::Duration;

use super::rig::*;
use crate::delivery::account::Reason;
use crate::delivery::lottery::ticket;
use crate::delivery::policy::{LOADING_PATIENCE, RANK_SPREAD, RANK_STEP};
use crate::delivery::*;
use crate::wire::message::{Message, Slot};

/// The segment that is new.
const NEW: u64 = 3;

/// A neighbour whose ticket for the new segment is better, or worse, than ours.
fn neighbour(better: bool) -> u8 {
    (1..).find(|&n| (ticket(peer(n), segment(NEW)) < ticket(peer(0), segment(NEW))) == better).unwrap()
}

/// A player with two segments buffered and one neighbour, when a new segment is listed and when our turn has come.
fn at_our_turn(better: bool) -> (Rig, u8, Vec<Output>) {
    let (mut rig, n) = (Rig::playing(), neighbour(better));
    rig.befriend(n);
    rig.have(n, 2, 0..grid().pieces());
    rig.now += Duration::from_secs(1);
    let mut out = rig.list(1..NEW + 1);
    if better {
        assert!(!is_claimed(&out), "the neighbour comes first");
        let (at, why) = rig.node.next_wakeup().unwrap();
        assert_eq!((at - rig.now, why), (RANK_STEP, Wake::Lottery));
        out = rig.sleep_until(at);
    }
    (rig, n, out)
}

/// Whether neighbours were told that the new segment is being loaded, and nothing of it yet.
fn is_claimed(out: &[Output]) -> bool {
    out.iter().any(|output| {
        let Output::Say { message: Message::Have { sequence, length, loading, .. }, .. } = output else {
            return false;
        };
        (*sequence, *length, *loading) == (NEW, 0, true)
    })
}

fn objects(rig: &mut Rig, n: u8) -> Vec<Output> {
    let (slot, segment) = (Slot(0), segment(NEW));
    rig.say(n, Message::Have { slot, segment, sequence: NEW, length: 0, loading: true, pieces: Vec::new() })
}

fn is_fetched(out: &[Output]) -> bool {
    out.iter().any(|output| matches!(output, Output::Fetch { segment: of, .. } if *of == segment(NEW)))
}

#[test]
fn who_takes_the_first_copy_says_so_before() {
    for better in [false, true] {
        let (mut rig, _, out) = at_our_turn(better);
        assert!(is_claimed(&out) && !is_fetched(&out));
        let just_before = (rig.now + RANK_STEP).back(Duration::from_millis(1));
        assert!(!is_fetched(&rig.sleep_until(just_before)));
        let out = rig.sleep_until(just_before + Duration::from_millis(1));
        assert!(is_fetched(&out) && !is_claimed(&out), "it was said already");
    }
}

#[test]
fn of_two_whose_turns_meet_the_better_ticket_takes_it() {
    for better in [false, true] {
        let (mut rig, n, _) = at_our_turn(better);
        rig.now += RANK_STEP / 2;
        objects(&mut rig, n);
        let out = rig.sleep_until(rig.now + RANK_STEP);
        assert_eq!(is_fetched(&out), !better);
    }
}

/// It was heard of before our turn: it is loaded already, whatever the tickets say.
#[test]
fn who_began_before_is_left_to_it() {
    let (mut rig, n) = (Rig::playing(), neighbour(false));
    rig.befriend(n);
    rig.have(n, 2, 0..grid().pieces());
    objects(&mut rig, n);
    rig.now += Duration::from_millis(100);
    assert!(!is_claimed(&rig.list(1..NEW + 1)));
}

/// Whoever had the better ticket and shows no piece of it is not waited for twice.
#[test]
fn a_rival_that_never_delivers_costs_its_patience_and_no_more() {
    let (mut rig, n, _) = at_our_turn(true);
    objects(&mut rig, n);
    let patience = rig.now + TARGET / LOADING_PATIENCE;
    assert!(!is_fetched(&rig.sleep_until(patience.back(Duration::from_millis(1)))));
    assert!(is_fetched(&rig.sleep_until(patience + 2 * RANK_STEP)));
}

/// The last moment at which the origin alone is in time is not spent on asking around.
#[test]
fn nobody_is_kept_waiting_for_objections() {
    let begun = |late: u64| {
        let (mut rig, n) = (Rig::playing(), neighbour(false));
        rig.plays(2);
        rig.befriend(n);
        rig.sleep_until(rig.now + Duration::from_millis(late));
        let began = rig.now;
        let mut out = rig.list(1..NEW + 1);
        out.extend(rig.ask(1, NEW).1);
        while !is_fetched(&out) {
            let (at, _) = rig.node.next_wakeup().unwrap();
            out.extend(rig.sleep_until(at));
        }
        let records: Vec<_> = rig.node.sessions()[0].ledger.records().collect();
        (rig.now - began, records.iter().find(|record| record.sequence == NEW).unwrap().reason)
    };
    let (asked, turn) = ((RANK_STEP, Reason::Lottery), (Duration::ZERO, Reason::Lottery));
    let starts: Vec<_> = (1_000..12_000).step_by(10).map(begun).collect();
    let at_once = starts.iter().position(|start| *start == turn).expect("asking around ends");
    let too_late =
        starts.iter().position(|(_, why)| *why != Reason::Lottery).expect("the critical window begins");
    assert!(starts[..at_once].iter().all(|start| *start == asked), "{starts:?}");
    assert!(starts[at_once..too_late].iter().all(|start| *start == turn), "{starts:?}");
    assert_eq!(10 * (too_late - at_once), RANK_STEP.as_millis() as usize);
    assert!(starts[too_late..].iter().all(|(wait, _)| wait.is_zero()), "{starts:?}");
}

/// Whether neighbours were told that the new segment is not being loaded.
fn is_taken_back(out: &[Output]) -> bool {
    out.iter().any(|output| {
        let Output::Say { message: Message::Have { sequence, loading, .. }, .. } = output else {
            return false;
        };
        (*sequence, *loading) == (NEW, false)
    })
}

#[test]
fn a_claim_that_nothing_comes_of_is_taken_back() {
    // Of two the other takes it.
    let (mut rig, n, _) = at_our_turn(true);
    objects(&mut rig, n);
    assert!(is_taken_back(&rig.sleep_until(rig.now + RANK_STEP)));
    // And when that gives it up, it is our turn again, and said again.
    let (slot, segment) = (Slot(0), segment(NEW));
    let given_up =
        Message::Have { slot, segment, sequence: NEW, length: 0, loading: false, pieces: Vec::new() };
    assert!(is_claimed(&rig.say(n, given_up)));
    // Its player hangs up, and is the only one who wanted it.
    let mut rig = Rig::playing();
    rig.plays(2);
    rig.list(1..NEW + 1);
    rig.befriend(neighbour(false));
    rig.now += Duration::from_secs(1);
    let (ask, out) = rig.ask(1, NEW);
    assert!(is_claimed(&out) && !is_fetched(&out), "{out:?}");
    let out = rig.tell(Input::Done { ask });
    assert!(is_taken_back(&out) && !is_fetched(&out), "{out:?}");
    assert!(!is_fetched(&rig.sleep_until(rig.now + TARGET)));
    // Another one is a new beginning.
    assert!(is_claimed(&rig.ask(2, NEW).1));
}

/// Neighbours that have pieces of it by then are told again as well.
#[test]
fn what_was_taken_back_is_said_again_before_it_is_fetched_again() {
    let (mut rig, _, _) = at_our_turn(false);
    let (fetch, ..) = fetch_in(&rig.sleep_until(rig.now + RANK_STEP)).unwrap();
    rig.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: true });
    rig.tell(Input::Arrived { fetch, up_to: grid().span(0).end });
    rig.tell(Input::Hashed { segment: segment(NEW), piece: 0, hash: hash(NEW, 0) });
    rig.sleep_until(rig.now + Duration::from_millis(100));
    assert!(is_taken_back(&rig.tell(Input::Failed { fetch, fault: Fault::Broken })));
    let out = rig.sleep_until(rig.now + TARGET);
    let said = out.iter().position(|output| {
        let Output::Say { message: Message::Have { sequence: NEW, loading, .. }, .. } = output else {
            return false;
        };
        *loading
    });
    let fetched = out
        .iter()
        .position(|output| matches!(output, Output::Fetch { segment: of, .. } if *of == segment(NEW)));
    assert!(said < fetched && said.is_some(), "{out:?}");
}

#[test]
fn who_needs_it_now_does_not_wait_for_objections_to_another() {
    let mut rig = Rig::playing();
    rig.plays(2);
    rig.list(1..NEW + 1);
    rig.befriend(neighbour(false));
    rig.now += Duration::from_secs(1);
    assert!(is_claimed(&rig.ask(1, NEW).1));
    assert!(is_fetched(&rig.ask(2, NEW).1), "it has nothing buffered");
}

/// The word of one that came late is no reason to leave it to each other.
#[test]
fn an_objection_after_its_time_counts_as_one_within_it() {
    for better in [false, true] {
        let (mut rig, n, _) = at_our_turn(better);
        rig.now += RANK_STEP * 3;
        let mut out = objects(&mut rig, n);
        out.extend(rig.tell(Input::Tick));
        assert_eq!(is_fetched(&out), !better, "{better} {out:?}");
    }
}

/// A neighbour that comes meanwhile, of whom nothing is known yet, takes part in the next.
#[test]
fn a_turn_that_was_claimed_is_not_put_off() {
    let (mut rig, _, _) = at_our_turn(false);
    rig.befriend(200);
    assert!(is_fetched(&rig.sleep_until(rig.now + RANK_STEP)));
}

#[test]
fn nobody_is_asked_who_hears_nothing_of_it() {
    let mut rig = Rig::new();
    rig.tell(Input::Listed { timeline: film(200), viewer: 1 });
    for sequence in 0..3 {
        rig.plays(sequence);
    }
    rig.befriend(1);
    let elsewhere = Message::Window { slot: Slot(0), first: 150, last: 180 };
    rig.say(1, elsewhere);
    rig.now += Duration::from_secs(1);
    assert!(is_fetched(&rig.ask(1, NEW).1));
}

#[test]
fn the_longest_way_around_stays_within_the_turns() {
    let crowd = lottery::Crowd { viewers: 16, uplink: 1.0, spread: 0.0 };
    let claim = |rivals, crowd| lottery::claim(rivals, crowd, Duration::from_secs(1), TARGET);
    assert_eq!(claim(15, crowd), TARGET / RANK_SPREAD / 15);
    assert_eq!(claim(0, crowd), Duration::ZERO, "nobody is there to object");
    let large = lottery::Crowd { viewers: 17, ..crowd };
    assert_eq!(claim(15, large), Duration::ZERO, "some more copies do no harm");
}

/// What it offers keeps us from our turn, and it gives nothing of it: not for ever.
#[test]
fn who_refuses_whatever_it_is_asked_for_is_not_waited_for() {
    let (mut rig, n) = (Rig::playing(), neighbour(false));
    rig.befriend(n);
    rig.list(1..NEW + 1);
    let mut asked = requests(&rig.have(n, NEW, 0..grid().pieces()));
    let busy = |piece| Message::Busy { segment: segment(NEW), piece, retry_ms: 100 };
    let mut refused = 0;
    while !rig.node.neighbours()[0].owes() {
        let Some((_, piece)) = asked.pop() else {
            let (at, _) = rig.node.next_wakeup().unwrap();
            let out = rig.sleep_until(at);
            assert!(!is_fetched(&out), "after {refused} refusals");
            asked = requests(&out);
            continue;
        };
        refused += 1;
        let out = rig.say(n, busy(piece));
        assert!(!is_fetched(&out));
        asked.extend(requests(&out));
    }
    assert!((15..30).contains(&refused), "{refused} refusals");
    let out = rig.sleep_until(rig.now + RANK_STEP * 2);
    assert!(is_fetched(&out), "it is our turn");
    // One piece that it was asked for makes up for all of it.
    rig.have(n, NEW + 1, 0..1);
    let (_, piece) = requests(&rig.sleep_until(rig.now + policy::BUSY_PAUSE * 3))[0];
    let length = grid().span(piece).len() as u32;
    let hash = hash(NEW + 1, piece);
    rig.tell(Input::Piece { peer: peer(n), segment: segment(NEW + 1), piece, length, hash });
    assert!(!rig.node.neighbours()[0].owes());
    // What it was not asked for it may refuse as often as it likes.
    (0..50).for_each(|_| drop(rig.say(n, busy(0))));
    assert!(!rig.node.neighbours()[0].owes());
}
