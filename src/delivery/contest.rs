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
use crate::wire::digest::PieceHash;
use crate::wire::message::Message;

/// Announcements kept while a contest lasts; later ones are lost, and their neighbours not asked for this segment.
const SAID: usize = 64;
/// Of one neighbour. What it adds without having taken anything back makes one.
const SAID_EACH: usize = 4;
/// Pieces that are named in one.
const NAMED: usize = 128;

/// What is being settled about a segment.
#[derive(Clone, Debug)]
pub struct Contest {
    /// The piece that the origin is asked for.
    pub piece: u8,
    /// What contradicted, and what was said since.
    said: Vec<Said>,
}

/// What a neighbour announced. What becomes of it later does not save its sender from being judged: or lies would be free.
#[derive(Clone, Debug)]
pub struct Said {
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
    let said = &mut contest.said;
    let own = said.iter().filter(|said| said.peer == peer).count();
    let last = said.iter_mut().rfind(|said| said.peer == peer && !said.gone);
    if !last.is_some_and(|last| last.adds(&message)) && own < SAID_EACH && said.len() < SAID {
        said.push(Said { peer, message, lacks: 0, taken_back: false, gone: false });
    }
}

impl Said {
    /// Takes in what the same neighbour says next, if both stand and speak of the same length. What they say of a piece may
    /// differ: both are kept.
    fn adds(&mut self, next: &Message) -> bool {
        let Message::Have { length, loading, pieces, .. } = &mut self.message else { return false };
        let Message::Have { length: its, loading: still, pieces: more, .. } = next else { return false };
        if self.taken_back || self.lacks != 0 || length != its || pieces.len() + more.len() > NAMED {
            return false;
        }
        *loading = *still;
        more.iter().for_each(|named| {
            if !pieces.contains(named) {
                pieces.push(*named);
            }
        });
        true
    }

    /// What it says of the segment's length, where it says one, and of one piece.
    fn of(&self, piece: u8) -> (Option<u32>, Vec<PieceHash>) {
        let Message::Have { length, pieces, .. } = &self.message else { return (None, Vec::new()) };
        let hashes = pieces.iter().filter(|(of, _)| *of == piece).map(|(_, hash)| *hash);
        (Some(*length).filter(|length| *length != 0), hashes.collect())
    }
}

/// What was said while it lasted; it is over.
pub fn end(pieces: &mut Pieces) -> Vec<Said> {
    pieces.contest.take().map(|contest| contest.said).unwrap_or_default()
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

/// A neighbour has gone. Of what it said of the length and of the contested piece, two things are kept to be judged if they
/// differ: one of them is a lie. The rest has done no harm, and the room is for others.
pub fn forget(pieces: &mut Pieces, peer: PeerId) {
    let Some(contest) = &mut pieces.contest else { return };
    let (piece, mut kept) = (contest.piece, Vec::new());
    contest.said.retain_mut(|said| {
        if said.peer != peer {
            return true;
        }
        let of = said.of(piece);
        let stays = of != (None, Vec::new()) && kept.len() < 2 && !kept.contains(&of);
        if stays {
            said.gone = true;
            kept.push(of);
        }
        stays
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
    /// perhaps it is known whose it was.
    pub(super) fn settle(
        &mut self,
        s: usize,
        segment: SegmentId,
        piece: u8,
        (disproved, liars): (bool, &[PeerId]),
        out: &mut Vec<Output>,
    ) -> Stirs {
        let Some(pieces) = self.sessions[s].pieces(segment) else { return Stirs::Everything };
        let doubtful = match liars {
            // Whose word it was is forgotten once a segment is complete: then nobody's counts.
            [] if disproved => pieces.forget_words(),
            _ => liars.iter().fold(0, |lost, liar| lost | pieces.forget_word(*liar)),
        };
        if doubtful != 0 {
            out.push(Output::Discard { segment, pieces: doubtful });
        }
        if pieces.contest.as_ref().is_none_or(|contest| contest.piece != piece) {
            return Stirs::Everything;
        }
        self.faults.disputed += 1;
        for said in end(pieces) {
            self.hear_again(s, segment, said, out);
        }
        Stirs::Everything
    }

    /// What was said while a contest lasted is judged, and believed if it still stands.
    pub(super) fn hear_again(&mut self, s: usize, segment: SegmentId, said: Said, out: &mut Vec<Output>) {
        let Said { peer, mut message, lacks, taken_back, gone } = said;
        let Some(pieces) = self.sessions[s].active.get(segment) else { return };
        let Message::Have { length, pieces: named, .. } = &mut message else { return };
        match peering::is_true(pieces, *length, named) {
            Some(false) => self.lied(peer, s, segment, out),
            Some(true) if taken_back && !gone => self.confirm(peer, s, out),
            _ if taken_back || gone => {}
            _ => {
                named.retain(|&(piece, _)| lacks & 1u64.checked_shl(u32::from(piece)).unwrap_or(0) == 0);
                if let Some(n) = self.position(peer) {
                    self.have(n, s, message, out);
                }
            }
        }
    }

    /// A neighbour's word contradicts the origin. Where the origin lets nothing be shared, or contradicts itself, each
    /// viewer may have been given other bytes, and nobody is to blame.
    pub(super) fn lied(&mut self, peer: PeerId, s: usize, segment: SegmentId, out: &mut Vec<Output>) {
        self.not_the_same(s, segment);
        let Some(pieces) = self.sessions[s].active.get(segment) else { return };
        if !pieces.disputed && pieces.shareable && self.shun(peer, "its word contradicts the origin", out) {
            self.faults.contradicted_origin += 1;
        }
    }

    /// Closes the connection with somebody whose word was false, and lets none be opened again, be it gone already. False
    /// when that has been done just now.
    pub(super) fn shun(&mut self, peer: PeerId, why: &'static str, out: &mut Vec<Output>) -> bool {
        let shunned = Output::Disconnect { peer, shun: true };
        let is_new = !out.contains(&shunned);
        if is_new {
            out.push(shunned);
            out.push(Output::Report(Report::Shunned { peer, why }));
            self.forget(peer, out);
        }
        is_new
    }
}
