//! Neighbours contradict each other about a piece: the origin settles it, with that one piece.
//!
//! Until it has, nothing of the segment is asked of neighbours. Then whoever was wrong is shunned, what was taken on its
//! word is given up, and what the others said in the meantime is heard. A lie costs the liar its connection and us one
//! piece; the rest of the segment still comes from peers.

use super::node::{Node, Stirs};
use super::pieces::Pieces;
use super::{Output, Report};
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

/// One announcement.
#[derive(Clone, Debug)]
struct Said {
    peer: PeerId,
    message: Message,
    /// It has lost the segment since, or left. Its word is still judged: or lies would be free.
    taken_back: bool,
}

/// A neighbour says something that contradicts others, or comes while others are contradicted.
pub fn note(pieces: &mut Pieces, piece: u8, peer: PeerId, message: Message) {
    let contest = pieces.contest.get_or_insert_with(|| Box::new(Contest { piece, said: Vec::new() }));
    if contest.said.len() < SAID {
        contest.said.push(Said { peer, message, taken_back: false });
    }
}

/// A neighbour no longer has what it announced.
pub fn take_back(pieces: &mut Pieces, peer: PeerId) {
    for said in pieces.contest.iter_mut().flat_map(|contest| &mut contest.said) {
        said.taken_back |= said.peer == peer;
    }
}

/// A neighbour has gone. If it comes back it is another: what it said counts for nothing.
pub fn forget(pieces: &mut Pieces, peer: PeerId) {
    if let Some(contest) = &mut pieces.contest {
        contest.said.retain(|said| said.peer != peer);
    }
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
        for Said { peer, message, taken_back } in said {
            let Some(n) = self.position(peer) else { continue };
            self.have(n, s, message, out);
            if taken_back
                && let Some(n) = self.position(peer)
                && let Some(pieces) = self.sessions[s].pieces(segment)
            {
                pieces.words.loses(n);
                // It may contradict once more, and stand in the next contest.
                take_back(pieces, peer);
            }
        }
        Stirs::Everything
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
