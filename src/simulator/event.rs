//! What travels between the parties of the simulated world.

use super::said::Said;
use crate::delivery::{Fault, FetchId};
use crate::model::ids::{PeerId, SegmentId};
use crate::model::time::Time;
use crate::wire::digest::PieceHash;
use crate::wire::tracker::{FromTracker, OfferId, ToTracker};

/// The origin, as a sender.
pub const ORIGIN: u32 = u32::MAX;
/// The tracker, as a sender.
pub const TRACKER: u32 = u32::MAX - 1;
/// The scenario, as a sender.
pub const SCENARIO: u32 = u32::MAX - 2;

/// Something that reaches a host.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// When.
    pub at: Time,
    /// Which host.
    pub to: u32,
    /// Who sent it.
    pub from: u32,
    /// The sender's own count: what was sent first is first among equals.
    pub number: u32,
    /// What it is.
    pub what: What,
}

impl Incoming {
    /// The order in which things happen to a host, whatever the order in which they were put down: what was sent first is
    /// first among equals.
    #[must_use]
    pub fn key(&self) -> (Time, u64) {
        (self.at, u64::from(self.from) << 32 | u64::from(self.number))
    }

    /// Takes it out of where it waited.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let Self { at, to, from, number, ref mut what } = *self;
        Self { at, to, from, number, what: std::mem::replace(what, What::Own) }
    }
}

/// What reaches a host.
#[derive(Clone, Debug)]
pub enum What {
    /// Its own time has come.
    Own,
    /// It comes into being.
    Join,
    /// It ends: `true` without a word to anybody.
    Leave(bool),
    /// Its player does something that its user wants.
    User(Wish),
    /// A neighbour's message.
    Said(Said),
    /// A neighbour's piece.
    Piece(SegmentId, u8, u32, PieceHash),
    /// A part of an answer of the origin, up to this offset.
    Portion {
        /// To which fetch.
        fetch: FetchId,
        /// Offset in the segment.
        up_to: u32,
        /// The segment's length.
        length: u32,
        /// It is the last one.
        last: bool,
    },
    /// The origin refuses.
    Failed {
        /// Which fetch.
        fetch: FetchId,
        /// How.
        fault: Fault,
    },
    /// The tracker speaks.
    Tracker(Box<FromTracker>),
    /// The tracker's connection is up or not.
    TrackerUp(bool),
    /// A data channel is open.
    Open,
    /// A data channel is gone.
    Closed,
}

/// What users do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Pause for so many milliseconds.
    Pause(u32),
    /// Jump to a segment.
    Seek(u64),
    /// Play another rendition.
    Switch(u32),
    /// Close the lid for so many milliseconds.
    Suspend(u32),
}

/// What a host says to the tracker.
#[derive(Clone, Debug)]
pub struct ToBroker {
    /// When it arrives.
    pub at: Time,
    /// From whom.
    pub host: u32,
    /// The sender's own count.
    pub number: u32,
    /// What; `None`: it is gone.
    pub what: Option<ToTracker>,
}

/// The host behind a peer id.
#[must_use]
pub fn host_of(peer: PeerId) -> u32 {
    u32::from_le_bytes([peer.0[0], peer.0[1], peer.0[2], peer.0[3]])
}

/// The id of a host's `n`-th offer.
#[must_use]
pub fn offer(host: u32, n: u32) -> OfferId {
    let mut id = [0; 8];
    id[..4].copy_from_slice(&host.to_le_bytes());
    id[4..].copy_from_slice(&n.to_le_bytes());
    OfferId::from_bytes(&id)
}
