//! How long answers are held, and how fast they go.

use std::time::Duration;

use super::rig::*;
use crate::delivery::*;
use crate::model::timeline::{Choice, Kind, PieceGrid, Segment, Timeline};
use crate::wire::message::{Message, Slot};

#[test]
fn with_other_renditions_memory_answers_at_the_origins_pace() {
    let mut rig = Rig::new();
    let list = |rig: &mut Rig, range: std::ops::Range<u64>| {
        let segments = range.map(|s| Segment { id: segment(s), sequence: s, duration: TARGET }).collect();
        let timeline =
            Timeline { swarm: swarm(), kind: Kind::Live, target: TARGET, choice: choice(true), segments };
        rig.tell(Input::Listed { timeline, viewer: 1 });
    };
    list(&mut rig, 0..6);
    let length = 4_000_000u32;
    for sequence in 0..4 {
        let (ask, out) = rig.ask(1, sequence);
        let Some((fetch, ..)) = fetch_in(&out) else { continue };
        rig.tell(Input::Head { fetch, length: Some(u64::from(length)), shareable: true });
        rig.now += Duration::from_millis(200);
        rig.tell(Input::Arrived { fetch, up_to: length });
        for piece in 0..PieceGrid::for_length(u64::from(length)).unwrap().pieces() {
            rig.tell(Input::Hashed { segment: segment(sequence), piece, hash: hash(sequence, piece) });
        }
        rig.tell(Input::Fetched { fetch });
        rig.tell(Input::Took { ask, up_to: length });
        rig.tell(Input::Done { ask });
    }
    // A second player asks for what the first one has brought: 8 Mbit/s of media, 160 Mbit/s from the origin.
    let asked = rig.now;
    let (ask, out) = rig.ask(2, 3);
    let ready = |out: &[Output]| {
        out.iter()
            .filter_map(|o| match o {
                Output::Ready { ask: of, up_to, .. } if *of == ask => Some(*up_to),
                _ => None,
            })
            .max()
    };
    assert_eq!(ready(&out), Some(8 * 1024), "the first bytes at once");
    let half = ready(&rig.sleep_until(asked + Duration::from_millis(100)));
    assert!(half.is_some_and(|bytes| (1_000_000..3_000_000).contains(&bytes)), "{half:?}");
    assert_eq!(ready(&rig.sleep_until(asked + Duration::from_millis(280))), Some(length));
}

#[test]
fn an_origin_that_begins_anew_is_asked_for_what_has_an_old_name() {
    let mut rig = Rig::new();
    rig.list(0..30);
    let (ask, out) = rig.ask(1, 2);
    let (fetch, ..) = fetch_in(&out).unwrap();
    let out = rig.origin_brings(fetch, 2);
    assert_eq!(ready(&out, ask), Some(grid().length()));
    rig.tell(Input::Took { ask, up_to: LENGTH });
    rig.tell(Input::Done { ask });
    rig.list(25..60);
    let out = rig.list(20..59);
    assert!(!out.iter().any(|o| matches!(o, Output::Drop { .. })), "a copy that is a little stale: {out:?}");
    let out = rig.list(0..4);
    assert!(
        out.iter().any(|o| matches!(o, Output::Drop { segment: gone } if *gone == segment(2))),
        "{out:?}"
    );
    let (_, out) = rig.ask(1, 2);
    assert!(fetch_in(&out).is_some(), "what is here under that name is of the old stream: {out:?}");
}

/// Plays this many segments from the origin at once, and meets a neighbour that has the one after them.
fn far_ahead(segments: u64, alternatives: bool) -> Rig {
    far_ahead_in(Kind::Live, segments, alternatives)
}

fn far_ahead_in(kind: Kind, segments: u64, alternatives: bool) -> Rig {
    let mut rig = Rig::new();
    let listed =
        (0..segments + 2).map(|s| Segment { id: segment(s), sequence: s, duration: TARGET }).collect();
    let timeline =
        Timeline { swarm: swarm(), kind, target: TARGET, choice: choice(alternatives), segments: listed };
    rig.tell(Input::Listed { timeline, viewer: 1 });
    for sequence in 0..segments {
        let (ask, out) = rig.ask(1, sequence);
        rig.origin_brings(fetch_in(&out).expect("nobody else is there").0, sequence);
        rig.tell(Input::Took { ask, up_to: LENGTH });
        rig.tell(Input::Done { ask });
    }
    rig.befriend(1);
    rig
}

/// How long a request is held while the neighbour that has the segment is busy for a while whenever it is asked, but for the first
/// piece, which it brings after `brings`.
pub fn held(rig: &mut Rig, sequence: u64, brings: Option<Duration>) -> Duration {
    let asked = rig.now;
    let mut out = rig.have(1, sequence, 0..grid().pieces());
    out.extend(rig.ask(1, sequence).1);
    for _ in 0..10_000 {
        let fetched = |o: &Output| matches!(o, Output::Fetch { segment: s, .. } if *s == segment(sequence));
        if out.iter().any(fetched) {
            return rig.now - asked;
        }
        let asked_for = requests(&std::mem::take(&mut out));
        for (_, piece) in asked_for {
            let first = piece == 0 && brings.is_some_and(|after| rig.now - asked >= after);
            let (segment, length) = (segment(sequence), grid().span(piece).len() as u32);
            let answer = if first {
                Input::Piece { peer: peer(1), segment, piece, length, hash: hash(sequence, piece) }
            } else {
                Input::Said { peer: peer(1), message: Message::Busy { segment, piece, retry_ms: 750 } }
            };
            out.extend(rig.tell(answer));
        }
        if out.is_empty() {
            rig.now = rig.now.max(rig.node.next_wakeup().expect("it waits for something").0);
            out = rig.tell(Input::Tick);
        }
    }
    panic!("it is held for ever")
}

#[test]
fn no_answer_leaves_a_player_eight_seconds_without_a_byte() {
    // 40 s are buffered: slack alone would let it wait for half a minute.
    let waited = held(&mut far_ahead(10, false), 10, None);
    assert!(waited > Duration::from_secs(4), "the neighbour is given a chance: {waited:?}");
    assert!(waited + Duration::from_secs(1) <= policy::LONGEST_HOLD, "the origin needs time too: {waited:?}");
    // What counts is the time since the last byte.
    let later = held(&mut far_ahead(10, false), 10, Some(Duration::from_secs(3)));
    assert!(later > Duration::from_secs(7), "{later:?}");
    assert!(later <= Duration::from_secs(4) + policy::LONGEST_HOLD, "{later:?}");
}

#[test]
fn with_other_renditions_a_quarter_of_a_segment_is_all_it_is_held() {
    let waited = held(&mut far_ahead(4, true), 4, None);
    assert!(waited <= TARGET / 4, "{waited:?}");
    assert!(waited > TARGET / 8, "the neighbour is given a chance: {waited:?}");
    let without = held(&mut far_ahead(4, false), 4, None);
    assert!(without > TARGET / 2, "{without:?}");
}

/// What it had is gone, for all that can be known. It was held for as long as it could have waited with all of it.
#[test]
fn who_has_sought_is_not_held_though_it_did_not_go_far() {
    assert!(held(&mut far_ahead(6, false), 6, None) > TARGET / 2, "it plays on");
    assert_eq!(held(&mut far_ahead(6, false), 7, None), Duration::ZERO, "it passes over one");
    let mut rig = far_ahead(6, false);
    rig.tell(Input::Left { peer: peer(1), misbehaved: false });
    let (ask, _) = rig.ask(1, 6);
    rig.tell(Input::Done { ask });
    rig.befriend(1);
    assert_eq!(held(&mut rig, 6, None), Duration::ZERO, "it hung up on the last");
}

/// It asks for the segment after the next one when it has paused for longer than that plays.
#[test]
fn what_a_paused_player_passes_over_it_has_not_played_where_there_is_nothing_else() {
    let waits = |alternatives| {
        let mut rig = far_ahead_in(Kind::Vod, 10, alternatives);
        rig.sleep_until(rig.now + TARGET + TARGET / 2);
        held(&mut rig, 11, None)
    };
    assert_eq!(waits(false), Duration::ZERO, "what it had is of another place");
    assert!(waits(true) > Duration::ZERO, "it may have played that in another rendition");
}

#[test]
fn a_range_beyond_the_end_is_no_hang_up() {
    for (took, held_at_least) in [(LENGTH, TARGET / 2), (LENGTH - 1, Duration::ZERO)] {
        let mut rig = far_ahead(9, false);
        rig.tell(Input::Left { peer: peer(1), misbehaved: false });
        let (ask, swarm, segment) = (AskId(900), swarm(), segment(9));
        let to = Some(LENGTH * 2);
        let out = rig.tell(Input::Asked { ask, viewer: 1, swarm, segment, from: 0, to });
        rig.origin_brings(fetch_in(&out).expect("nobody else has it").0, 9);
        rig.tell(Input::Took { ask, up_to: took });
        rig.tell(Input::Done { ask });
        rig.befriend(1);
        let waited = held(&mut rig, 10, None);
        assert!(waited >= held_at_least && (took == LENGTH || waited.is_zero()), "{took}: {waited:?}");
    }
}

#[test]
fn a_clock_that_jumped_harms_nobody() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    let mut out = rig.have(1, 2, 0..grid().pieces());
    let (ask, more) = rig.ask(1, 2);
    out.extend(more);
    assert!(fetch_in(&out).is_none() && !requests(&out).is_empty(), "it is held for the neighbour: {out:?}");
    // The lid is closed in the middle of it; the Node finds itself minutes later, and then a little before that.
    rig.now += Duration::from_secs(600);
    let out = rig.tell(Input::Tick);
    let (fetch, ..) = fetch_in(&out).expect("slack has run out long ago");
    let (late, early) = (rig.now, rig.now.back(Duration::from_secs(300)));
    rig.now = early;
    rig.tell(Input::Tick);
    assert_eq!(rig.node.now, late, "an earlier time counts as the latest one");
    rig.now = late;
    rig.tell(Input::Left { peer: peer(1), misbehaved: false });
    let out = rig.origin_brings(fetch, 2);
    assert_eq!(ready(&out, ask), Some(LENGTH));
    // The next one is in the middle of a fetch then: what broke is made again, or its player told at once.
    rig.tell(Input::Took { ask, up_to: LENGTH });
    rig.tell(Input::Done { ask });
    rig.list(150..153);
    let (ask, out) = rig.ask(1, 150);
    let (fetch, ..) = fetch_in(&out).expect("a seek is the origin's");
    rig.now += Duration::from_secs(600);
    let mut out = rig.tell(Input::Failed { fetch, fault: Fault::Broken });
    out.extend(rig.sleep_until(rig.now + Duration::from_secs(1)));
    let told = |o: &Output| matches!(o, Output::Fail { ask: of, .. } if *of == ask);
    assert!(fetch_in(&out).is_some() || out.iter().any(told), "{out:?}");
}

/// It was asked for the first one's part alone, and for the other's when something else happened.
#[test]
fn what_is_due_for_two_players_at_once_is_asked_for_at_once() {
    let mut rig = Rig::new();
    for viewer in 1..3 {
        rig.tell(Input::Listed { timeline: Timeline { choice: choice(true), ..film(3) }, viewer });
    }
    let parts = [(0, 20_000), (40_000, 60_000)];
    let fetches =
        |out: &[Output]| out.iter().filter_map(|one| fetch_in(std::slice::from_ref(one))).collect::<Vec<_>>();
    let (mut opened, at) = (Vec::new(), segment(0));
    for (n, (from, to)) in (1..).zip(parts) {
        let asked =
            Input::Asked { ask: AskId(n), viewer: n, swarm: swarm(), segment: at, from, to: Some(to) };
        opened.extend(fetches(&rig.tell(asked)));
    }
    for (fetch, ..) in opened {
        rig.tell(Input::Failed { fetch, fault: Fault::Unavailable });
    }
    rig.now = rig.node.next_wakeup().expect("the origin is asked again").0;
    let again = fetches(&rig.tell(Input::Tick));
    assert_eq!(
        again.iter().map(|&(_, from, to)| (from, to)).collect::<Vec<_>>(),
        parts.map(|(from, to)| (from, Some(to)))
    );
}

/// Where there are other renditions a player is held a short while, and a neighbour brings some of it: the rest is one stretch, and
/// what is on its way just then is not asked for twice.
#[test]
fn the_origin_brings_the_rest_and_not_what_is_on_its_way() {
    let mut rig = far_ahead(4, true);
    let asked = rig.now;
    let mut open = requests(&rig.have(1, 4, 0..grid().pieces()));
    open.extend(requests(&rig.ask(1, 4).1));
    let in_flight: Vec<u8> = open.iter().map(|(_, piece)| *piece).collect();
    assert!(!in_flight.is_empty() && in_flight.len() < usize::from(grid().pieces()), "{in_flight:?}");
    let of = |out: &[Output]| -> Vec<(u32, Option<u32>)> {
        let fetched = |o: &Output| match o {
            Output::Fetch { segment: s, from, to, .. } if *s == segment(4) => Some((*from, *to)),
            _ => None,
        };
        out.iter().filter_map(fetched).collect()
    };
    let out = rig.sleep_until(asked + TARGET / 4);
    let spans: Vec<_> = in_flight.iter().map(|piece| grid().span(*piece)).collect();
    let fetched = of(&out);
    let crosses = |from: u32, to: Option<u32>| {
        spans.iter().any(|span| from < span.end && to.is_none_or(|to| span.start < to))
    };
    assert!(!fetched.is_empty(), "the rest is: {out:?}");
    assert!(fetched.iter().all(|(from, to)| !crosses(*from, *to)), "{in_flight:?}: {fetched:?}");
    let cancelled = |o: &Output| matches!(o, Output::Say { message: Message::Cancel { .. }, .. });
    assert!(!out.iter().any(cancelled), "{out:?}");
    // What does not come for half as long again is fetched, too.
    let late = of(&rig.sleep_until(asked + TARGET.mul_f64(policy::HOLD_UNDER_WAY)));
    let all = fetched.iter().chain(&late).map(|(from, to)| to.unwrap_or(LENGTH) - from).sum::<u32>();
    assert_eq!(all, LENGTH, "{fetched:?}, then {late:?}");
}

#[test]
fn an_answer_that_has_not_begun_is_held_a_quarter_of_its_segment_whatever_is_on_its_way() {
    let mut rig = far_ahead(4, true);
    let asked = rig.now;
    rig.ask(1, 4);
    assert_eq!(requests(&rig.have(1, 4, 0..grid().pieces())), [(peer(1), 0), (peer(1), 1)]);
    let out = rig.sleep_until(asked + TARGET / 4);
    let fetched = |o: &Output| match o {
        Output::Fetch { segment: s, from, to, .. } if *s == segment(4) => Some((*from, *to)),
        _ => None,
    };
    let fetched: Vec<_> = out.iter().filter_map(fetched).collect();
    let [first, second] = [0, 1].map(|piece| grid().span(piece));
    assert_eq!(fetched, [(first.start, Some(first.end)), (second.end, Some(LENGTH))]);
}

#[test]
fn what_a_player_waits_for_a_short_while_comes_from_its_beginning() {
    for sequence in 4..6 {
        let mut rig = far_ahead(sequence, true);
        rig.ask(1, sequence);
        let asked = requests(&rig.have(1, sequence, 0..grid().pieces()));
        assert_eq!(asked, [(peer(1), 0), (peer(1), 1)], "{sequence}");
    }
}

/// What neighbours are sending lies scattered, and they go away before the origin has sent anything of what it was asked for.
#[test]
fn what_was_left_to_neighbours_that_went_is_fetched_beside_the_rest() {
    let fetched = |out: &[Output]| -> Vec<(u32, u32)> {
        let fetched = |o: &Output| match o {
            Output::Fetch { segment: s, from, to, .. } if *s == segment(4) => {
                Some((*from, to.unwrap_or(u32::MAX)))
            }
            _ => None,
        };
        out.iter().filter_map(fetched).collect()
    };
    for flying in [&[1u8][..], &[1, 2], &[1, 3], &[1, 3, 5], &[1, 3, 5, 7], &[1, 3, 5, 7, 9]] {
        let mut rig = far_ahead(4, true);
        let cut = PieceGrid::for_length(12 << PieceGrid::MIN_SHIFT).unwrap();
        (2..=flying.len()).for_each(|n| rig.befriend(n as u8));
        let asked = rig.now;
        rig.ask(1, 4);
        for (n, &piece) in (1..).zip(flying) {
            let (slot, segment, length, pieces) =
                (Slot(0), segment(4), cut.length(), vec![(piece, hash(4, piece))]);
            let have = Message::Have { slot, segment, sequence: 4, length, loading: true, pieces };
            assert_eq!(requests(&rig.say(n, have)), [(peer(n), piece)]);
        }
        let mut out = rig.sleep_until(asked + TARGET / 4);
        let first = fetched(&out);
        let spared = |piece: &u8| {
            first.iter().all(|(from, to)| cut.span(*piece).start < *from || cut.span(*piece).end > *to)
        };
        assert!(!first.is_empty());
        assert_eq!(flying.iter().all(spared), flying.len() <= 3, "{flying:?}: {first:?}");
        for n in (1..).take(flying.len()) {
            out.extend(rig.tell(Input::Left { peer: peer(n), misbehaved: false }));
        }
        out.extend(rig.sleep_until(rig.now + Duration::from_millis(10)));
        let all = fetched(&out);
        let missing = (0..cut.pieces()).map(|piece| cut.span(piece));
        let missing: Vec<_> = missing
            .filter(|span| !all.iter().any(|(from, to)| *from <= span.start && span.end <= *to))
            .collect();
        assert!(missing.is_empty(), "{flying:?}: {missing:?} of {all:?}");
    }
}

/// Another player on this machine came by no master, and reads its playlist again and again.
#[test]
fn who_can_choose_is_held_shortly_whatever_others_can() {
    let mut rig = far_ahead(4, true);
    let timeline = rig.node.sessions()[0].timeline.clone();
    rig.tell(Input::Listed { timeline: Timeline { choice: Choice::default(), ..timeline }, viewer: 2 });
    let waited = held(&mut rig, 4, None);
    assert!(waited > TARGET / 8 && waited <= TARGET / 4, "{waited:?}");
}
