//! What holds of a Node whatever happens, in whatever order.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use super::mirror::Mirror;
use super::universe::*;
use crate::delivery::{AskId, Input};

/// Neighbours contradict each other about a piece in whose middle a player's request begins, which is being fetched: the
/// piece was asked for on top of that.
#[test]
fn a_contested_piece_that_is_half_under_way_is_waited_for() {
    let mut mirror = Mirror::new();
    let have = |bits, lie| Step::Have { peer: 0, sequence: 6, bits, lie, loading: false };
    for step in [
        Step::Greet(0),
        Step::List { viewer: 0, kind: 0, first: 0, count: 0 },
        have(3_374_176_128, false),
        have(937_263_360, true),
        Step::List { viewer: 0, kind: 0, first: 0, count: 7 },
        Step::Ask { viewer: 0, sequence: 6, from: 32_769 },
        Step::Origin { which: 0, does: Does::All },
    ] {
        mirror.live(step);
    }
    comes_to_rest(mirror);
}

/// Somebody announced a segment before anything it said could be believed, and lost it again: once it was believed, the
/// segment was asked of it.
#[test]
fn what_was_taken_back_before_it_could_be_believed_is_asked_of_nobody() {
    let mut mirror = Mirror::new();
    for step in [
        Step::Greet(2),
        Step::List { viewer: 0, kind: 0, first: 4, count: 4 },
        Step::Have { peer: 2, sequence: 7, bits: 0b10_0001, lie: false, loading: false },
        Step::Ask { viewer: 0, sequence: 7, from: 5791 },
        Step::Lost { peer: 2, sequence: 7 },
        Step::Origin { which: 0, does: Does::Bytes(18_785) },
    ] {
        mirror.live(step);
    }
    comes_to_rest(mirror);
}

/// The next period allowed less than was promised in the last one, and what was promised was sent.
#[test]
fn a_budget_that_does_not_cover_what_is_promised_is_over() {
    let mut mirror = Mirror::new();
    let list = |first, count| Step::List { viewer: 0, kind: 0, first, count };
    for step in [
        list(2, 6),
        Step::Greet(2),
        Step::Ask { viewer: 0, sequence: 0, from: 0 },
        Step::Ask { viewer: 0, sequence: 7, from: 0 },
        list(0, 3),
        list(0, 0),
        list(0, 0),
        Step::Origin { which: 0, does: Does::Bytes(12_288) },
        Step::Request { peer: 2, sequence: 7, piece: 2 },
        Step::Request { peer: 2, sequence: 7, piece: 0 },
        Step::Budget { left: 1, lasts: 1 },
    ] {
        mirror.live(step);
    }
    comes_to_rest(mirror);
}

/// What somebody said while neighbours contradicted each other was believed once that was settled, though it had gone and
/// come back since.
#[test]
fn what_was_said_before_a_contest_ended_is_not_believed_of_one_that_came_back() {
    let mut mirror = Mirror::new();
    let have = |peer, sequence, bits, lie| Step::Have { peer, sequence, bits, lie, loading: false };
    let list = |first, count| Step::List { viewer: 0, kind: 0, first, count };
    for step in [
        list(6, 3),
        Step::Greet(0),
        have(0, 8, 44_724_883, false),
        Step::Greet(3),
        have(3, 8, 1, false),
        Step::Greet(0),
        have(0, 10, 1, true),
        Step::Ask { viewer: 0, sequence: 8, from: 0 },
        list(3, 4),
        have(3, 10, 780_864_781, false),
        Step::Origin { which: 0, does: Does::All },
        Step::Leave(3),
        Step::Greet(3),
        Step::Origin { which: 0, does: Does::Bytes(4096) },
        Step::Ask { viewer: 0, sequence: 6, from: 0 },
    ] {
        mirror.live(step);
    }
    comes_to_rest(mirror);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(600),
        max_shrink_iters: 20_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/seeds/node.proptest"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_in_whatever_order(steps in proptest::collection::vec(step(), 1..120)) {
        let mut mirror = Mirror::new();
        steps.into_iter().for_each(|step| mirror.live(step));
        comes_to_rest(mirror);
    }

    /// The same with room for four segments, and with a clock that stands still for minutes and then jumps, or that is a
    /// little behind where it was.
    #[test]
    fn whatever_happens_with_little_memory_and_a_clock_that_jumps(
        steps in proptest::collection::vec((step(), clock()), 1..120)
    ) {
        let mut mirror = Mirror::with(4 * u64::from(LENGTH));
        for (step, clock) in steps {
            mirror.live(step);
            match clock {
                Clock::Runs => {}
                Clock::Jumps(seconds) => mirror.jump(Duration::from_secs(u64::from(seconds))),
                Clock::Falters(ms) => mirror.falter(Duration::from_millis(u64::from(ms))),
            }
        }
        comes_to_rest(mirror);
    }
}

/// What the clock does between two things that happen.
#[derive(Clone, Debug)]
enum Clock {
    Runs,
    Jumps(u16),
    Falters(u16),
}

fn clock() -> impl Strategy<Value = Clock> {
    prop_oneof![
        20 => Just(Clock::Runs),
        1 => (10u16..3600).prop_map(Clock::Jumps),
        1 => (1u16..60_000).prop_map(Clock::Falters),
    ]
}

/// Left alone, it comes to rest: everybody has gone, and nothing is kept.
fn comes_to_rest(mut mirror: Mirror) {
    let asks: Vec<AskId> = mirror.asks.keys().copied().collect();
    for ask in asks {
        mirror.asks.remove(&ask);
        mirror.tell(Input::Done { ask });
    }
    mirror.wait(Duration::from_secs(1200));
    assert!(mirror.node.sessions().is_empty(), "a session without a viewer");
    assert!(mirror.held.is_empty(), "{} pieces that nobody wants", mirror.held.len());
    assert!(!mirror.joined, "in a swarm without a viewer");
}

/// What happens to a player whose origin answers.
#[derive(Clone, Debug)]
enum Turn {
    /// It asks for what comes next.
    Next(u64),
    /// Anything else.
    Any(Step),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![1 => (0u64..2).prop_map(Turn::Next), 3 => step().prop_map(Turn::Any)]
}

/// Players whose origin answers, as long as the clock runs evenly.
fn watching(turns: Vec<Turn>, kind: u8, count: u8) -> Mirror {
    let mut mirror = Mirror::new();
    mirror.prompt = true;
    let mut next = [0; 2];
    mirror.live(Step::List { viewer: 0, kind, first: 0, count });
    for turn in turns {
        match turn {
            Turn::Next(viewer) => {
                mirror.asks(viewer, next[viewer as usize], 0);
                next[viewer as usize] += 1;
            }
            Turn::Any(step) => mirror.live(step),
        }
    }
    mirror.wait(TARGET * 20);
    mirror
}

/// Whatever neighbours do: as long as the origin answers, every request is answered to its end by the moment at which its
/// player runs dry, and the time that the origin needs, and 100 ms. [`Mirror`] sees to it. Before that many are held for
/// peers, and peers bring some of it.
#[test]
fn every_request_is_answered_in_time() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let lives = (proptest::collection::vec(turn(), 1..120), 0u8..3, 11u8..13);
    let (mut longest, mut kept) = (Duration::ZERO, 0);
    for _ in 0..500 {
        let (turns, kind, count) = lives.new_tree(&mut runner).unwrap().current();
        let mirror = watching(turns, kind, count);
        longest = longest.max(mirror.longest);
        kept += usize::from(mirror.seen.contains("keep"));
    }
    assert!(longest > TARGET / 2, "{longest:?} at most");
    assert!(kept > 0, "peers bring nothing");
}

/// The universe is rich enough to see the Node do everything that is checked.
#[test]
fn everything_is_seen() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (steps, mut seen) = (proptest::collection::vec(step(), 60..160), BTreeSet::new());
    // Pieces change hands in one run of a hundred.
    for _ in 0..1500 {
        let mut mirror = Mirror::new();
        for step in steps.new_tree(&mut runner).unwrap().current() {
            mirror.live(step);
        }
        seen.append(&mut mirror.seen);
    }
    let all = [
        "cancel",
        "cancel fetch",
        "disconnect",
        "drop",
        "fail",
        "fetch",
        "have",
        "keep",
        "ready",
        "renew",
        "request",
        "send",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
}
