//! Origins that keep a player waiting: with a connection on which nothing comes, or with errors.

use std::time::Duration;

use super::rig::*;
use crate::delivery::fetches::Fetch;
use crate::delivery::pieces::Pieces;
use crate::delivery::policy::{LONGEST_HOLD, SILENCE};
use crate::delivery::*;
use crate::model::time::Time;
use crate::model::timeline::Segment;

/// A player whose request for segment 2 the origin was asked to answer, and a neighbour that has got all of it since.
fn waiting() -> (Rig, AskId, FetchId) {
    let mut rig = Rig::playing();
    rig.befriend(1);
    let (ask, mut out) = rig.ask(1, 2);
    while fetch_in(&out).is_none() {
        rig.now = rig.node.next_wakeup().expect("it waits for something").0;
        out = rig.tell(Input::Tick);
    }
    let (fetch, ..) = fetch_in(&out).unwrap();
    let out = rig.have(1, 2, 0..grid().pieces());
    assert_eq!(requests(&out), [], "the origin brings it");
    (rig, ask, fetch)
}

#[test]
fn neighbours_are_asked_for_what_a_silent_origin_was_to_bring() {
    let (mut rig, ask, fetch) = waiting();
    let asked = rig.now;
    let out = rig.sleep_until((asked + SILENCE).back(Duration::from_millis(1)));
    assert_eq!(requests(&out), [], "it may only be slow");
    let mut asked_for = requests(&rig.sleep_until(asked + SILENCE));
    let (mut got, mut cancelled) = (None, false);
    while let Some((from, piece)) = asked_for.pop() {
        let (segment, length) = (segment(2), grid().span(piece).len() as u32);
        let out = rig.tell(Input::Piece { peer: from, segment, piece, length, hash: hash(2, piece) });
        got = got.max(ready(&out, ask));
        cancelled |= out.contains(&Output::CancelFetch { fetch });
        asked_for.extend(requests(&out));
    }
    assert_eq!(
        (got, cancelled),
        (Some(LENGTH), true),
        "the player has all of it, and the origin is left alone"
    );
}

#[test]
fn an_origin_that_shows_life_is_waited_for() {
    let (mut rig, _, fetch) = waiting();
    let asked = rig.now;
    rig.sleep_until(asked + Duration::from_millis(2500));
    rig.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: true });
    rig.sleep_until(asked + Duration::from_millis(5000));
    rig.tell(Input::Arrived { fetch, up_to: 5_000 });
    let out = rig.sleep_until(asked + Duration::from_millis(7900));
    assert_eq!(requests(&out), [], "it is slow, and no silence was longer than three seconds");
    assert_ne!(requests(&rig.sleep_until(asked + Duration::from_millis(8000))), []);
}

#[test]
fn a_fetch_that_we_keep_from_reading_on_is_not_silent() {
    let segment = Segment { id: segment(2), sequence: 2, duration: TARGET };
    let mut pieces = Pieces::new(segment, true, Time::ZERO);
    pieces.set_length(grid(), true);
    let (from, to, stirred) = (0, None, Time::ZERO);
    let fetch = |allowed| Fetch {
        id: FetchId(1),
        from,
        to,
        got: 20_000,
        started: stirred,
        head: Some(stirred),
        stirred,
        silent: false,
        allowed,
    };
    for (allowed, silent) in [(None, true), (Some(30_000), true), (Some(20_000), false)] {
        pieces.fetches = vec![fetch(allowed)];
        pieces.listen(Time::ZERO + SILENCE);
        assert_eq!(pieces.fetches[0].silent, silent, "{allowed:?}");
        assert_eq!(pieces.arriving(grid()) == 0, silent, "{allowed:?}");
        assert_eq!(pieces.coming(grid()), grid().all());
    }
}

#[test]
fn a_neighbours_promise_does_not_keep_a_player_waiting_for_a_broken_origin() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    rig.have(1, 2, 0..grid().pieces());
    let asked = rig.now;
    let (ask, mut out) = rig.ask(1, 2);
    let fails = |out: &[Output]| out.iter().any(|o| matches!(o, Output::Fail { ask: of, .. } if *of == ask));
    while !fails(&out) {
        assert!(rig.now - asked <= LONGEST_HOLD, "neither a byte nor an error after {:?}", rig.now - asked);
        let fetches: Vec<FetchId> = fetch_in(&out).map(|(fetch, ..)| fetch).into_iter().collect();
        out.clear();
        for fetch in fetches {
            out.extend(rig.tell(Input::Failed { fetch, fault: Fault::Unavailable }));
        }
        if out.is_empty() {
            rig.now = rig.now.max(rig.node.next_wakeup().expect("it waits for something").0);
            out = rig.tell(Input::Tick);
        }
    }
    assert!(rig.now - asked > Duration::from_secs(2), "it was tried again: {:?}", rig.now - asked);
}
