//! Pieces that are late: asked from a second neighbour in the endgame, given up and asked elsewhere at any other time.

use std::time::Duration;

use super::rig::*;
use crate::delivery::policy::{MISSED_PAUSE, Options, PATIENCE_FLOOR, PATIENCE_MOST};
use crate::delivery::*;
use crate::model::ids::PeerId;
use crate::model::timeline::PieceGrid;
use crate::wire::message::{Message, Slot};

/// Pieces whose requests are withdrawn, and from whom.
fn cancels(out: &[Output]) -> Vec<(PeerId, u8)> {
    let cancel = |output: &Output| match output {
        Output::Say { peer, message: Message::Cancel { piece, .. } } => Some((*peer, *piece)),
        _ => None,
    };
    out.iter().filter_map(cancel).collect()
}

fn brings(rig: &mut Rig, n: u8, sequence: u64, piece: u8) -> Vec<Output> {
    let length = grid().span(piece).len() as u32;
    let (peer, segment, hash) = (peer(n), segment(sequence), hash(sequence, piece));
    rig.tell(Input::Piece { peer, segment, piece, length, hash })
}

/// A player that has so much left asks for a segment, which so many neighbours are loading; then they have so many pieces
/// of it, which are all.
fn asks_with(left: Duration, pieces: u8, neighbours: u8) -> (Rig, Vec<(PeerId, u8)>) {
    let mut rig = Rig::with(Options { critical_s: 0.0, ..Options::default() });
    rig.list(0..2);
    (0..2).for_each(|sequence| rig.plays(sequence));
    (1..=neighbours).for_each(|n| rig.befriend(n));
    rig.sleep_until(rig.now + (TARGET * 2 - left));
    let length = if pieces == grid().pieces() { LENGTH } else { u32::from(pieces) << PieceGrid::MIN_SHIFT };
    let have = |rig: &mut Rig, n, pieces: std::ops::Range<u8>| {
        let pieces = pieces.map(|piece| (piece, hash(2, piece))).collect();
        let (segment, sequence, slot, loading) = (segment(2), 2, Slot(0), true);
        rig.say(n, Message::Have { slot, segment, sequence, length, loading, pieces })
    };
    let mut out: Vec<Output> = (1..=neighbours).flat_map(|n| have(&mut rig, n, 0..0)).collect();
    out.extend(rig.list(0..3));
    out.extend(rig.ask(1, 2).1);
    (1..=neighbours).for_each(|n| out.extend(have(&mut rig, n, 0..pieces)));
    assert_eq!(fetch_in(&out), None, "the neighbours are in time");
    (rig, requests(&out))
}

fn times(requests: &[(PeerId, u8)], piece: u8) -> usize {
    requests.iter().filter(|(_, p)| *p == piece).count()
}

#[test]
fn in_the_endgame_the_last_pieces_are_asked_from_two_and_the_loser_is_cancelled() {
    let (mut rig, asked) = asks_with(Duration::from_millis(1_400), 3, 2);
    let twice = (0..grid().pieces()).find(|piece| times(&asked, *piece) == 2);
    let twice = twice.unwrap_or_else(|| panic!("none is asked twice: {asked:?}"));
    assert!((0..grid().pieces()).all(|piece| (1..=2).contains(&times(&asked, piece))), "{asked:?}");
    let out = brings(&mut rig, 2, 2, twice);
    assert!(out.contains(&Output::Keep { segment: segment(2), piece: twice }));
    assert_eq!(cancels(&out), [(peer(1), twice)], "it is called off where it is late");
    let wasted = rig.node.totals().wasted;
    let out = brings(&mut rig, 1, 2, twice);
    assert!(!out.iter().any(|o| matches!(o, Output::Keep { .. })), "{out:?}");
    assert_eq!(rig.node.totals().wasted - wasted, grid().span(twice).len() as u64);
    assert_eq!(rig.node.faults().late, 0, "whoever lost by a little is not held to be late");
}

#[test]
fn before_the_endgame_no_piece_is_asked_from_two() {
    let (_, asked) = asks_with(Duration::from_secs(4), 3, 2);
    assert!((0..grid().pieces()).all(|piece| times(&asked, piece) == 1), "{asked:?}");
}

#[test]
fn in_the_endgame_each_of_the_last_few_is_asked_from_two() {
    let (mut rig, mut asked) = asks_with(Duration::from_millis(1_400), 3, 4);
    // Whoever announces what is under way already is asked when the Node looks at everything again.
    asked.extend(requests(&rig.list(0..3)));
    assert!((0..grid().pieces()).all(|piece| times(&asked, piece) == 2), "{asked:?}");
}

/// Uplinks have better things to do than to send everything twice.
#[test]
fn in_the_endgame_only_the_last_few_are_asked_from_two() {
    let (_, asked) = asks_with(Duration::from_millis(1_400), 5, 3);
    assert!((0..5).all(|piece| times(&asked, piece) == 1), "{asked:?}");
}

#[test]
fn what_does_not_come_is_given_up_and_asked_elsewhere() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    rig.list(0..3);
    let out = rig.have(1, 2, 0..1);
    assert_eq!(requests(&out), [(peer(1), 0)]);
    let asked = rig.now;
    let out = rig.sleep_until(asked + (PATIENCE_FLOOR - Duration::from_micros(1)));
    assert_eq!(cancels(&out), [], "it has its time");
    let given_up = (0..50).find_map(|_| {
        rig.now = rig.now.max(rig.node.next_wakeup().expect("it is not waited for for ever").0);
        let out = rig.tell(Input::Tick);
        (!cancels(&out).is_empty()).then_some(out)
    });
    let out = given_up.expect("it is given up");
    assert!(rig.now <= asked + PATIENCE_MOST, "after {:?}", rig.now - asked);
    assert_eq!(cancels(&out), [(peer(1), 0)]);
    assert_eq!(requests(&out), [], "nor asked at once of the one that did not bring it");
    let slow = &rig.node.neighbours()[0];
    assert_eq!((slow.flights, slow.misses, rig.node.faults().late), (0, 1, 1));
    assert!(slow.busy_until >= rig.now + MISSED_PAUSE, "it is left alone");
    rig.befriend(2);
    assert_eq!(requests(&rig.have(2, 2, 0..1)), [(peer(2), 0)], "somebody else has it");
    // What comes after all is taken, and whoever is still asked for it is told.
    let out = brings(&mut rig, 1, 2, 0);
    assert!(out.contains(&Output::Keep { segment: segment(2), piece: 0 }));
    assert_eq!(cancels(&out), [(peer(2), 0)]);
    assert_eq!(rig.node.neighbours()[0].misses, 1, "what it owed it has not brought in time");
}
