//! What comes from a neighbour and from the origin.

use super::rig::*;
use crate::delivery::*;

#[test]
fn what_the_origin_brings_too_was_not_saved() {
    let mut rig = Rig::playing();
    rig.befriend(1);
    let (peer, piece) = requests(&rig.have(1, 2, 0..grid().pieces()))[0];
    // A player that has nothing yet does not wait for it; the piece is on its way by then.
    let (_, out) = rig.ask(2, 2);
    let (fetch, ..) = fetch_in(&out).unwrap();
    let length = grid().span(piece).len() as u32;
    rig.tell(Input::Piece { peer, segment: segment(2), piece, length, hash: hash(2, piece) });
    rig.origin_brings(fetch, 2);
    let totals = rig.node.totals();
    let length = u64::from(length);
    assert_eq!((totals.p2p, totals.both, totals.wasted), (length, length, length));
    assert_eq!((totals.http, totals.peer_efficiency()), (3 * u64::from(LENGTH), 0.0));
    rig.tell(Input::Hashed { segment: segment(2), piece, hash: hash(2, piece) });
    let totals = rig.node.totals();
    assert_eq!(
        (totals.both, totals.wasted),
        (length, 2 * length),
        "the origin's own once more is wasted, no more"
    );
}
