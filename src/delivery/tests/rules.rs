//! The rules by which segments come, one at a time.

use std::time::Duration;

use super::rig::*;
use crate::delivery::policy::{ASKED_RETRY, LONGEST_HOLD, MISSING_RETRY, Options};
use crate::delivery::*;
use crate::model::ids::{SegmentId, SwarmId};
use crate::model::timeline::{Kind, Segment, Timeline};
use crate::wire::message::{Message, Slot};

#[test]
fn start_up_is_served_by_the_origin_at_once_and_streamed_through() {
    let mut rig = Rig::new();
    rig.list(0..3);
    let (ask, out) = rig.ask(1, 0);
    let (fetch, from, to) = fetch_in(&out).unwrap();
    assert_eq!((from, to), (0, None));
    rig.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: true });
    let out = rig.tell(Input::Arrived { fetch, up_to: 1000 });
    assert_eq!(ready(&out, ask), Some(1000));
}

#[test]
fn a_lone_viewer_is_pure_pass_through() {
    let mut rig = Rig::playing();
    let out = rig.list(1..4);
    assert_eq!(fetch_in(&out), None, "nothing is fetched that the player did not ask for");
    rig.now += Duration::from_secs(3);
    let (_, out) = rig.ask(1, 2);
    assert!(fetch_in(&out).is_some(), "and what it asks for is fetched at once");
}

#[test]
fn two_players_of_one_segment_cause_one_fetch_and_one_may_hang_up() {
    let mut rig = Rig::new();
    rig.list(0..3);
    let (first, out) = rig.ask(1, 0);
    let (fetch, ..) = fetch_in(&out).unwrap();
    let (second, out) = rig.ask(2, 0);
    assert_eq!(fetch_in(&out), None);
    let out = rig.tell(Input::Done { ask: first });
    assert!(!out.iter().any(|o| matches!(o, Output::CancelFetch { .. })));
    let out = rig.origin_brings(fetch, 0);
    assert_eq!(ready(&out, second), Some(LENGTH));
    let (third, out) = rig.ask(3, 0);
    assert_eq!((fetch_in(&out), ready(&out, third)), (None, Some(LENGTH)), "from memory");
}

#[test]
fn a_player_that_hangs_up_ends_the_fetch_nobody_else_wants() {
    let mut rig = Rig::new();
    rig.list(0..3);
    let (ask, out) = rig.ask(1, 0);
    let (fetch, ..) = fetch_in(&out).unwrap();
    assert!(rig.tell(Input::Done { ask }).contains(&Output::CancelFetch { fetch }));
}

#[test]
fn a_neighbour_brings_what_it_has_and_the_origin_is_not_asked() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    let out = rig.have(1, 2, 0..grid().pieces());
    let asked = requests(&out);
    assert!(!asked.is_empty(), "ahead of the player");
    let (ask, out) = rig.ask(1, 2);
    assert_eq!(fetch_in(&out), None, "8 s are buffered: it can wait for peers");
    let mut open = asked;
    let mut readable = 0;
    while let Some((from, piece)) = open.pop() {
        let length = grid().span(piece).len() as u32;
        let input = Input::Piece { peer: from, segment: segment(2), piece, length, hash: hash(2, piece) };
        let out = rig.tell(input);
        assert!(out.contains(&Output::Keep { segment: segment(2), piece }));
        readable = readable.max(ready(&out, ask).unwrap_or(0));
        open.extend(requests(&out));
    }
    assert_eq!(readable, LENGTH);
    let totals = rig.node.totals();
    assert_eq!((totals.p2p, totals.http, totals.wasted), (u64::from(LENGTH), 2 * u64::from(LENGTH), 0));
}

#[test]
fn when_slack_runs_out_exactly_the_missing_pieces_are_fetched() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    let out = rig.have(1, 2, 0..grid().pieces());
    let (peer, piece) = requests(&out)[0];
    let length = grid().span(piece).len() as u32;
    rig.tell(Input::Piece { peer, segment: segment(2), piece, length, hash: hash(2, piece) });
    let (_, out) = rig.ask(1, 2);
    assert_eq!(fetch_in(&out), None);
    let out = rig.sleep_until(rig.now + Duration::from_secs(8));
    let fetched: Vec<(u32, Option<u32>)> = out
        .iter()
        .filter_map(|o| match o {
            Output::Fetch { segment: s, from, to, .. } if *s == segment(2) => Some((*from, *to)),
            _ => None,
        })
        .collect();
    let held = grid().span(piece);
    let bytes: u32 = fetched.iter().map(|(from, to)| to.unwrap_or(LENGTH) - from).sum();
    assert_eq!(bytes, LENGTH - held.len() as u32, "{fetched:?}");
    assert!(fetched.iter().all(|(from, to)| *from >= held.end || to.is_some_and(|to| to <= held.start)));
}

#[test]
fn wrong_bytes_are_not_kept_and_their_sender_is_shunned() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    let out = rig.have(1, 2, 0..grid().pieces());
    let (sender, piece) = requests(&out)[0];
    let input =
        Input::Piece { peer: sender, segment: segment(2), piece, length: 16_384, hash: hash(9, piece) };
    let out = rig.tell(input);
    assert!(out.contains(&Output::Disconnect { peer: sender, shun: true }));
    assert!(!out.iter().any(|o| matches!(o, Output::Keep { .. })));
    assert_eq!(rig.node.faults().wrong_bytes, 1);
    assert!(rig.node.neighbours().is_empty());
}

#[test]
fn nobody_is_believed_before_its_word_agreed_with_the_origin() {
    let mut rig = Rig::playing();
    rig.tell(Input::Joined { peer: peer(1) });
    rig.say(1, Message::Hello { version: 1, features: 0, uploads: true });
    rig.say(1, Message::Joined { slot: Slot(0), swarm: swarm() });
    assert_eq!(requests(&rig.have(1, 2, 0..3)), [], "unknown");
    let out = rig.have(1, 1, 0..3);
    assert!(!requests(&out).is_empty(), "what it said before counts once it is believed");

    rig.tell(Input::Joined { peer: peer(2) });
    rig.say(2, Message::Hello { version: 1, features: 0, uploads: true });
    rig.say(2, Message::Joined { slot: Slot(0), swarm: swarm() });
    let lie = vec![(0, hash(77, 0))];
    let out = rig.say(
        2,
        Message::Have {
            slot: Slot(0),
            segment: segment(1),
            sequence: 1,
            length: LENGTH,
            loading: false,
            pieces: lie,
        },
    );
    assert!(out.contains(&Output::Disconnect { peer: peer(2), shun: true }));
    assert_eq!(rig.node.faults().contradicted_origin, 1);
}

#[test]
fn a_new_segment_nobody_has_is_taken_when_it_is_our_turn_and_announced_at_once() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    rig.now += Duration::from_secs(1);
    let mut out = rig.list(1..4);
    out.extend(rig.sleep_until(rig.now + TARGET / 8));
    assert!(fetch_in(&out).is_some());
    let loading = out.iter().any(|o| {
        matches!(o, Output::Say { message: Message::Have { segment: s, loading: true, .. }, .. } if *s == segment(2) || *s == segment(3))
    });
    assert!(loading, "{out:?}");
}

#[test]
fn what_a_neighbour_loads_is_left_to_it_as_long_as_it_delivers() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    rig.have(1, 2, 0..0);
    rig.have(1, 3, 0..0);
    rig.now += Duration::from_millis(300);
    let out = rig.list(1..4);
    assert_eq!(fetch_in(&out), None);
    let out = rig.sleep_until(rig.now + Duration::from_millis(500));
    assert_eq!(fetch_in(&out), None, "it has a quarter of a segment's time to show a piece");
    let out = rig.sleep_until(rig.now + Duration::from_secs(2));
    assert!(fetch_in(&out).is_some(), "then it no longer counts");
}

#[test]
fn a_segment_is_loaded_on_a_neighbours_word_but_not_played_before_it_is_listed() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    let out = rig.have(1, 3, 0..grid().pieces());
    assert!(!requests(&out).is_empty(), "one past the newest listed segment");
    let (_, out) = rig.ask(1, 3);
    assert!(
        matches!(out[..], [Output::Fail { why: Failure::PassThrough, .. }]),
        "the origin decides: {out:?}"
    );
    assert_eq!(requests(&rig.have(1, 9, 0..grid().pieces())), [], "far ahead of anything listed");
}

/// The neighbour's list is newer than ours by several segments.
#[test]
fn what_is_said_of_segments_far_ahead_is_gone_by_once_they_are_listed() {
    let asked_for = |takes_back: Option<Message>| {
        let mut rig = Rig::playing();
        rig.befriend(1);
        for sequence in [9, 13] {
            assert_eq!(
                requests(&rig.have(1, sequence, 0..grid().pieces())),
                [],
                "far ahead of anything listed"
            );
        }
        takes_back.into_iter().for_each(|message| drop(rig.say(1, message)));
        let mut out = rig.list(5..14);
        let (_, more) = rig.ask(1, 8);
        out.extend(more);
        out.extend(rig.sleep_until(rig.now + Duration::from_secs(1)));
        let asks = |sequence| {
            let of = |o: &&Output| matches!(o, Output::Say { message: Message::Request { segment: of, .. }, .. } if *of == segment(sequence));
            out.iter().filter(of).count()
        };
        (asks(9), asks(13), rig.node.neighbours()[0].pending.len())
    };
    let (near, far, kept) = asked_for(None);
    assert!(near > 0 && far == 0 && kept == 0, "{near} and {far} requests, {kept} announcements kept");
    assert_eq!(asked_for(Some(Message::Lost { segment: segment(9) })), (0, 0, 0));
    assert_eq!(asked_for(Some(Message::Left { slot: Slot(0) })), (0, 0, 0));
}

#[test]
fn nothing_is_shared_without_the_origins_leave() {
    let mut rig = Rig::new();
    rig.list(0..3);
    let (_, out) = rig.ask(1, 0);
    let (fetch, ..) = fetch_in(&out).unwrap();
    rig.befriend(1);
    rig.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: false });
    rig.tell(Input::Arrived { fetch, up_to: LENGTH });
    let mut out = rig.tell(Input::Hashed { segment: segment(0), piece: 0, hash: hash(0, 0) });
    out.extend(rig.sleep_until(rig.now + Duration::from_millis(100)));
    assert!(!out.iter().any(|o| matches!(o, Output::Say { message: Message::Have { .. }, .. })));
    let out = rig.say(1, Message::Request { segment: segment(0), piece: 0, within_ms: 1000 });
    assert!(!out.iter().any(|o| matches!(o, Output::SendPiece { .. })));
}

#[test]
fn an_origin_that_refuses_is_passed_on_and_one_that_stumbles_is_asked_again() {
    let mut rig = Rig::new();
    rig.list(0..3);
    let (ask, out) = rig.ask(1, 0);
    let (fetch, ..) = fetch_in(&out).unwrap();
    let out = rig.tell(Input::Failed { fetch, fault: Fault::Unavailable });
    assert!(!out.iter().any(|o| matches!(o, Output::Fail { .. })));
    let out = rig.sleep_until(rig.now + Duration::from_secs(1));
    let (fetch, ..) = fetch_in(&out).expect("asked again");
    let out = rig.tell(Input::Failed { fetch, fault: Fault::Refused });
    assert!(out.contains(&Output::Fail { ask, why: Failure::Origin(fetch) }));
}

/// It was left alone for longer and longer, whoever asked: a player waited for 15 s once it was there again.
#[test]
fn an_origin_that_fails_is_asked_no_later_than_a_player_alone_would() {
    let mut rig = Rig::new();
    rig.list(0..3);
    for round in 0..4 {
        let (ask, mut out) = rig.ask(1, 0);
        let (asked, mut tried) = (rig.now, Vec::new());
        while !out.iter().any(|o| matches!(o, Output::Fail { ask: failed, .. } if *failed == ask)) {
            if let Some((fetch, ..)) = fetch_in(&out) {
                tried.push(rig.now);
                out = rig.tell(Input::Failed { fetch, fault: Fault::Unavailable });
            } else {
                out = rig.sleep_until(rig.node.next_wakeup().expect("it is asked again").0);
            }
        }
        assert_eq!(tried[0], asked, "round {round}");
        let apart = tried.windows(2).map(|two| two[1] - two[0]).max();
        assert!(apart <= Some(ASKED_RETRY) && tried.len() > 4, "round {round}: {tried:?}");
        assert!(rig.now - asked < LONGEST_HOLD, "round {round}: {:?}", rig.now - asked);
        rig.now += Duration::from_millis(50);
    }
}

#[test]
fn a_segment_that_is_missing_is_not_asked_for_as_often_as_a_player_likes() {
    let mut rig = Rig::new();
    rig.list(0..5);
    let (ask, mut out) = rig.ask(1, 0);
    while let Some((fetch, ..)) = fetch_in(&out) {
        out = rig.tell(Input::Failed { fetch, fault: Fault::Missing });
        if out.iter().any(|o| matches!(o, Output::Fail { ask: failed, .. } if *failed == ask)) {
            break;
        }
        out = rig.sleep_until(rig.now + MISSING_RETRY);
    }
    let (_, out) = rig.ask(1, 0);
    assert_eq!(fetch_in(&out), None, "not at once");
    assert!(fetch_in(&rig.sleep_until(rig.now + MISSING_RETRY)).is_some());
}

#[test]
fn a_broken_body_is_resumed_where_it_broke() {
    let mut rig = Rig::new();
    rig.list(0..3);
    let (ask, out) = rig.ask(1, 0);
    let (fetch, ..) = fetch_in(&out).unwrap();
    rig.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: true });
    rig.tell(Input::Arrived { fetch, up_to: 20_000 });
    rig.tell(Input::Hashed { segment: segment(0), piece: 0, hash: hash(0, 0) });
    rig.tell(Input::Failed { fetch, fault: Fault::Broken });
    let out = rig.sleep_until(rig.now + Duration::from_secs(1));
    let (fetch, from, to) = fetch_in(&out).expect("asked again");
    assert_eq!((from, to), (20_000, Some(LENGTH)));
    let out = rig.tell(Input::Arrived { fetch, up_to: LENGTH });
    assert_eq!(ready(&out, ask), Some(LENGTH));
}

#[test]
fn a_viewer_that_went_away_leaves_nothing_behind() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    let (taken, opened) = (rig.node.sessions()[0].bytes, rig.node.sessions()[0].opened);
    let out = rig.sleep_until(rig.now + Duration::from_secs(60));
    let left = out.iter().find_map(|o| match o {
        Output::Leave { swarm: left, account } => Some((*left, *account)),
        _ => None,
    });
    let Some((left, account)) = left else { panic!("{out:?}") };
    assert_eq!((left, account.http, account.began_us), (swarm(), taken.http, opened.as_micros()));
    assert!(account.http > 0 && account.age_ms >= 1000, "{account:?}");
    assert!(out.iter().any(|o| matches!(o, Output::Report(Report::StreamLeft { .. }))));
    assert!(out.contains(&Output::Drop { segment: segment(0) }));
    assert!(rig.node.sessions().is_empty() && rig.node.neighbours().is_empty());
    let out = rig.sleep_until(rig.now + Duration::from_secs(600));
    assert_eq!((out, rig.node.next_wakeup()), (Vec::new(), None), "an idle Node sleeps");
}

#[test]
fn what_was_counted_does_not_fall_when_a_stream_ends() {
    let mut rig = Rig::playing();
    let during = rig.node.segments();
    assert_eq!(during.by_reason.iter().sum::<u64>(), 2, "{during:?}");
    assert!(during.startup.is_some());
    // A third is on its way when the player leaves: it counts when the stream is over, as what it was by then.
    let (ask, out) = rig.ask(1, 2);
    let (fetch, ..) = fetch_in(&out).unwrap();
    rig.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: true });
    rig.tell(Input::Arrived { fetch, up_to: 1000 });
    assert_eq!(rig.node.segments().by_reason, during.by_reason);
    rig.tell(Input::Done { ask });
    rig.sleep_until(rig.now + Duration::from_secs(600));
    assert!(rig.node.sessions().is_empty());
    let after = rig.node.segments();
    assert!(during.by_reason.iter().zip(after.by_reason).all(|(before, after)| *before <= after));
    assert_eq!(after.by_reason.iter().sum::<u64>(), 3, "{after:?}");
    assert_eq!(after.startup, during.startup);
}

#[test]
fn p2p_off_is_http_alone() {
    let mut rig = Rig::with(Options { enabled: false, ..Options::default() });
    rig.list(0..3);
    let (_, out) = rig.ask(1, 0);
    assert!(fetch_in(&out).is_some());
    let quiet = |o: &Output| matches!(o, Output::Fetch { .. } | Output::Report(_));
    assert!(out.iter().all(quiet), "{out:?}");
}

#[test]
fn bytes_past_the_end_are_left_to_the_origin_to_refuse() {
    let mut rig = Rig::playing();
    let ask = AskId(99);
    let past = Input::Asked { ask, viewer: 1, swarm: swarm(), segment: segment(0), from: LENGTH, to: None };
    assert!(rig.tell(past).contains(&Output::Fail { ask, why: Failure::PassThrough }));
}

#[test]
fn a_wrong_name_for_the_next_segment_costs_nothing() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    for lie in 0..100 {
        let (slot, segment) = (Slot(0), SegmentId(lie));
        rig.say(
            1,
            Message::Have { slot, segment, sequence: 3, length: LENGTH, loading: true, pieces: Vec::new() },
        );
    }
    for _ in 0..10 {
        rig.list(0..4);
    }
    let session = &rig.node.sessions()[0];
    let right = session.active.iter().filter(|p| p.id() == segment(3)).count();
    assert_eq!(right, 1);
    assert!(session.active.iter().count() < 10, "{} segments are known", session.active.iter().count());
}

/// The tracker of a rendition is asked for viewers once somebody really watches it.
#[test]
fn who_switches_to_another_rendition_watches_it_at_once() {
    let name = |rendition: &str| SwarmId::of(rendition);
    let timeline = |rendition: &str, alternatives| {
        let swarm = name(rendition);
        let id = |sequence| SegmentId::of(swarm, sequence, "");
        let segments = (0..40).map(|sequence| Segment { id: id(sequence), sequence, duration: TARGET });
        Timeline {
            swarm,
            kind: Kind::Vod,
            target: TARGET,
            choice: choice(alternatives),
            segments: segments.collect(),
        }
    };
    // What was played before of the low rendition, what is then asked for of the high one, and whether that is watched.
    for (before, then, alternatives, watched) in [
        (0..0, 5, true, false),
        (4..6, 5, true, false),
        (3..6, 5, true, true),
        (3..6, 6, true, true),
        (3..6, 8, true, false),
        (3..6, 2, true, false),
        (0..0, 5, false, true),
    ] {
        let mut rig = Rig::new();
        let ask = |rig: &mut Rig, rendition: &str, sequence| {
            let (ask, swarm) = (AskId(rig.asks), name(rendition));
            rig.asks += 1;
            let segment = SegmentId::of(swarm, sequence, "");
            rig.tell(Input::Asked { ask, viewer: 1, swarm, segment, from: 0, to: None });
        };
        for rendition in ["low", "high"] {
            rig.tell(Input::Listed { timeline: timeline(rendition, alternatives), viewer: 1 });
        }
        before.clone().for_each(|sequence| ask(&mut rig, "low", sequence));
        ask(&mut rig, "high", then);
        let high = rig.node.sessions().iter().find(|session| session.swarm == name("high")).unwrap();
        assert_eq!((high.watched(), high.joined), (watched, watched), "{before:?}, then {then}");
    }
}
