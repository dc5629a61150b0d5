//! Neighbours contradict each other about a piece: the origin settles it, with that one piece.
//!
//! Until it has, nothing of the segment is asked of neighbours. Then whoever was wrong is shunned, what was taken on its
//! word is given up, and what the others said in the meantime is heard. A lie costs the liar its connection and us one
//! piece; the rest of the segment still comes from peers.

use super::node::{Node, Stirs};
use super::pieces::Pieces;
use super::{Output, Report, peering};
use crate::model::ids::{PeerId, SegmentId};
use crate::model::timeline::PieceGrid;
use crate::wire::message::Message;

/// Announcements kept while a contest lasts; later ones are lost, and their neighbours not asked for this segment.
const SAID: usize = 32;

/// What is being settled about a segment.
#[derive(Clone, Debug)]
pub struct Contest {
    /// The piece that the origin is asked for.
    pub piece: u8,
    /// What contradicted, and what was said since.
    said: Vec<Said>,
}

/// One announcement. What becomes of it later does not save its sender from being judged: or lies would be free.
#[derive(Clone, Debug)]
struct Said {
    peer: PeerId,
    message: Message,
    /// Pieces that it has said since are not to be had from it.
    lacks: u64,
    /// It has lost the segment since, or left the rendition, or we have: nothing is asked on its word.
    taken_back: bool,
    /// Its connection has ended. Who comes back under its name begins anew, but for its lies.
    gone: bool,
}

/// A neighbour says something that contradicts others, or comes while others are contradicted.
pub fn note(pieces: &mut Pieces, piece: u8, peer: PeerId, message: Message) {
    let contest = pieces.contest.get_or_insert_with(|| Box::new(Contest { piece, said: Vec::new() }));
    if contest.said.len() < SAID {
        contest.said.push(Said { peer, message, lacks: 0, taken_back: false, gone: false });
    }
}

/// A neighbour no longer has what it announced.
pub fn take_back(pieces: &mut Pieces, peer: PeerId) {
    for said in pieces.contest.iter_mut().flat_map(|contest| &mut contest.said) {
        said.taken_back |= said.peer == peer;
    }
}

/// We leave the rendition: whoever has something to say of it says so anew if we come back.
pub fn take_back_all(pieces: &mut Pieces) {
    pieces.contest.iter_mut().flat_map(|contest| &mut contest.said).for_each(|said| said.taken_back = true);
}

/// A neighbour says that one piece is not to be had from it, whatever it announced before.
pub fn lacks(pieces: &mut Pieces, peer: PeerId, piece: u8) {
    let bit = 1u64.checked_shl(u32::from(piece)).unwrap_or(0);
    for said in pieces.contest.iter_mut().flat_map(|contest| &mut contest.said) {
        said.lacks |= if said.peer == peer { bit } else { 0 };
    }
}

/// A neighbour has gone. Of what it said, only what will be judged is kept, and that once: the room is for others.
pub fn forget(pieces: &mut Pieces, peer: PeerId) {
    let Some(contest) = &mut pieces.contest else { return };
    let (grid, piece, mut kept) = (pieces.grid, contest.piece, false);
    contest.said.retain_mut(|said| {
        if said.peer != peer {
            return true;
        }
        let Message::Have { length, pieces, .. } = &said.message else { return false };
        let judged =
            PieceGrid::for_length(u64::from(*length)) != grid || pieces.iter().any(|(p, _)| *p == piece);
        if kept || !judged {
            return false;
        }
        (said.gone, kept) = (true, true);
        true
    });
}

/// The bytes that settle it. Nothing while a fetch brings some of them: if it does not bring the whole piece, that is
/// asked for when it has ended.
#[must_use]
pub fn wants(pieces: &Pieces) -> Option<(u32, Option<u32>)> {
    let piece = pieces.contest.as_ref()?.piece;
    let Some(grid) = pieces.grid else { return Some((0, Some(1 << PieceGrid::MIN_SHIFT))) };
    let span = grid.span(piece.min(grid.pieces() - 1));
    let coming = pieces.fetches.iter().any(|f| f.from < span.end && f.to.is_none_or(|to| to > span.start));
    (!coming).then_some((span.start, Some(span.end)))
}

impl Node {
    /// The contested piece may have come from the origin: then the contest is over. It disproved a neighbour's word, and
    /// perhaps it is known whose.
    pub(super) fn settle(
        &mut self,
        s: usize,
        segment: SegmentId,
        piece: u8,
        (disproved, liar): (bool, Option<PeerId>),
        out: &mut Vec<Output>,
    ) -> Stirs {
        let Some(pieces) = self.sessions[s].pieces(segment) else { return Stirs::Everything };
        let doubtful = match liar {
            Some(liar) => pieces.forget_word(liar),
            // Whose word it was is forgotten once a segment is complete: then nobody's counts.
            None if disproved => pieces.forget_words(),
            None => 0,
        };
        if doubtful != 0 {
            out.push(Output::Discard { segment, pieces: doubtful });
        }
        if pieces.contest.as_ref().is_none_or(|contest| contest.piece != piece) {
            return Stirs::Everything;
        }
        self.faults.disputed += 1;
        let said = pieces.contest.take().map(|contest| contest.said).unwrap_or_default();
        for said in said {
            self.hear_again(s, segment, said, out);
        }
        Stirs::Everything
    }

    /// What was said while a contest lasted is judged, and believed if it still stands.
    fn hear_again(&mut self, s: usize, segment: SegmentId, said: Said, out: &mut Vec<Output>) {
        let Said { peer, mut message, lacks, taken_back, gone } = said;
        let Some(n) = self.position(peer) else { return };
        let Some(pieces) = self.sessions[s].active.get(segment) else { return };
        let Message::Have { length, pieces: named, .. } = &mut message else { return };
        match peering::is_true(pieces, *length, named) {
            Some(false) => self.lied(peer, s, segment, out),
            Some(true) if taken_back && !gone => self.confirm(peer, s, out),
            _ if taken_back || gone => {}
            _ => {
                named.retain(|&(piece, _)| lacks & 1u64.checked_shl(u32::from(piece)).unwrap_or(0) == 0);
                self.have(n, s, message, out);
            }
        }
    }

    /// A neighbour's word contradicts the origin.
    pub(super) fn lied(&mut self, peer: PeerId, s: usize, segment: SegmentId, out: &mut Vec<Output>) {
        self.faults.contradicted_origin += 1;
        self.not_the_same(s, segment);
        self.shun(peer, "its word contradicts the origin", out);
    }

    /// Closes the connection with somebody whose word was false.
    pub(super) fn shun(&mut self, peer: PeerId, why: &'static str, out: &mut Vec<Output>) {
        if self.neighbours.iter().any(|n| n.peer == peer) {
            out.push(Output::Disconnect { peer, shun: true });
            out.push(Output::Report(Report::Shunned { peer, why }));
            self.forget(peer, out);
        }
    }
}
