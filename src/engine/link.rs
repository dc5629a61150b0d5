//! What crosses between the brain and the P2P threads: plain values over two bounded channels.
//!
//! The brain never waits for the P2P side: a full command queue comes back to it as "could not", and the Node is told.

use bytes::Bytes;

use crate::model::ids::{PeerId, SegmentId, SwarmId};
use crate::wire::digest::PieceHash;
use crate::wire::message::Message;
use crate::wire::tracker::Account;

/// How many commands may wait for the P2P threads; past it the brain drops the peer that a command was for.
pub const COMMANDS: usize = 4096;

/// How many events may wait for the brain; past it the P2P tasks wait, which the peers feel as back-pressure.
pub const EVENTS: usize = 1024;

/// What the brain asks of the P2P threads.
#[derive(Debug)]
pub enum Command {
    /// Take offers only while there are fewer peers than this.
    Room {
        /// How many.
        connections: usize,
    },
    /// Tell every tracker that we watch `swarm`, with this many fresh offers.
    Announce {
        /// The rendition.
        swarm: SwarmId,
        /// How many offers to make; each becomes a connection waiting for an answer.
        offers: usize,
        /// Whether this is the first announcement in the swarm.
        started: bool,
        /// Whether we may be asked for pieces now.
        uploads: bool,
        /// What it has come to here.
        account: Account,
    },
    /// Tell every tracker that we left `swarm`; offers that only it needed are closed.
    Leave {
        /// The rendition.
        swarm: SwarmId,
        /// What it came to here.
        account: Account,
    },
    /// Try the tracker with this index in the configured list now.
    Connect {
        /// Position in the configured list.
        tracker: usize,
    },
    /// Send a control message.
    Say {
        /// To whom.
        peer: PeerId,
        /// What; never a `Part`.
        message: Message,
    },
    /// Send a piece in as many parts as it takes; answered by [`Event::Sent`] when the last byte is in the
    /// connection's send buffer.
    SendPiece {
        /// To whom.
        peer: PeerId,
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
        /// Its bytes, in order.
        bytes: Vec<Bytes>,
    },
    /// Close the connection.
    Disconnect {
        /// Whose.
        peer: PeerId,
        /// Whether to refuse it until [`Command::Stop`]: it sent something wrong. It is known by its certificate, and has
        /// another one after a restart.
        shun: bool,
    },
    /// Close everything: connections, offers, tracker sockets (after telling the trackers), UDP sockets.
    Stop,
}

/// What the P2P threads report.
#[derive(Debug)]
pub enum Event {
    /// A data channel is open in both directions.
    Joined {
        /// With whom.
        peer: PeerId,
        /// The swarm through which we met.
        swarm: SwarmId,
    },
    /// The connection is gone, for whatever reason.
    Left {
        /// Whose.
        peer: PeerId,
        /// Whether it broke the protocol (a malformed frame, an unexpected stream, a flood).
        misbehaved: bool,
    },
    /// A control message arrived; never a `Part`.
    Said {
        /// From whom.
        peer: PeerId,
        /// What.
        message: Message,
    },
    /// A piece arrived whole.
    Piece {
        /// From whom.
        peer: PeerId,
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
        /// Its bytes.
        bytes: Bytes,
        /// Their hash, computed on the P2P threads.
        hash: PieceHash,
    },
    /// A [`Command::SendPiece`] is done.
    Sent {
        /// To whom.
        peer: PeerId,
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
    },
    /// How many viewers a tracker knows in a swarm, us included.
    SwarmSize {
        /// Position in the configured list.
        tracker: usize,
        /// The rendition.
        swarm: SwarmId,
        /// Viewers.
        viewers: u32,
    },
    /// A tracker connection is up and wants to hear from each swarm; or it went down.
    Tracker {
        /// Position in the configured list.
        tracker: usize,
        /// Whether it is up.
        up: bool,
        /// How often it wants announcements, in seconds; its own word, already clamped to 15..=3600.
        interval_s: u32,
    },
}
