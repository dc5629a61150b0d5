//! The messages of the data channel `paceline/1`.
//!
//! A frame is one type byte and a fixed layout of little-endian fields. Unknown types are ignored so that a later
//! version may add some; a malformed frame ends the connection and is counted.

use bytes::Bytes;

use super::digest::PieceHash;
use crate::model::ids::{SegmentId, SwarmId};

/// The protocol version that `hello` carries.
pub const VERSION: u8 = 1;

/// A neighbour's own small number for a rendition it joined; valid from its `joined` to its `left`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub u8);

/// What one peer tells another. Offsets and lengths are bytes within a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The first message in each direction.
    Hello {
        /// [`VERSION`] of the sender.
        version: u8,
        /// Bits of optional features; none are defined yet.
        features: u32,
        /// Whether the sender may be asked for pieces at all.
        uploads: bool,
    },
    /// The sender watches this rendition now and calls it `slot`.
    Joined {
        /// The sender's number for it.
        slot: Slot,
        /// The rendition.
        swarm: SwarmId,
    },
    /// The sender no longer watches it; all it announced in it is gone.
    Left {
        /// The sender's number for it.
        slot: Slot,
    },
    /// The sender wants to hear of segments with these sequence numbers, both ends included; until it says so, of none.
    Window {
        /// The sender's number for the rendition.
        slot: Slot,
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// The sender holds these pieces (deltas: only what the receiver was not told yet), or has begun to load the
    /// segment (`loading`), from the origin or from peers.
    Have {
        /// The rendition, by the sender's number.
        slot: Slot,
        /// The segment.
        segment: SegmentId,
        /// Its media sequence number: how the receiver places a segment its own manifest has not listed yet.
        sequence: u64,
        /// Its length in bytes; 0 while that is unknown, then `pieces` is empty. Implies the piece grid.
        length: u32,
        /// More pieces will follow without being asked for.
        loading: bool,
        /// Piece number and the hash of the piece, ascending.
        pieces: Vec<(u8, PieceHash)>,
    },
    /// The sender no longer holds any of the segment.
    Lost {
        /// The segment.
        segment: SegmentId,
    },
    /// Please send this piece.
    Request {
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
        /// How long the asker can still wait, in milliseconds.
        within_ms: u16,
    },
    /// Bytes of a requested piece; a piece larger than [`MAX_PART`](super::MAX_PART) comes in several, in order.
    Part {
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
        /// Where in the piece `bytes` begin.
        offset: u32,
        /// At most [`MAX_PART`](super::MAX_PART).
        bytes: Bytes,
    },
    /// The request is refused for now; ask somebody else.
    Busy {
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
        /// When asking again may work, in milliseconds; 0: this will not be served at all.
        retry_ms: u16,
    },
    /// The request is withdrawn.
    Cancel {
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
    },
    /// Answered with the same number and `reply` set; measures the round trip.
    Ping {
        /// The asker's number.
        nonce: u32,
        /// Whether this is the answer.
        reply: bool,
    },
}
