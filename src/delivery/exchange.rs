//! What a Node is told, and what it answers.

use crate::model::ids::{PeerId, SegmentId, SwarmId};
use crate::model::timeline::Timeline;
use crate::wire::digest::PieceHash;
use crate::wire::message::Message;
use crate::wire::tracker::Account;

use super::{Failure, Fault, Report, budget, policy};

/// A player's request; numbered by the driver, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// An origin fetch; numbered by the Node, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchId(pub u64);

/// Something that happened. Offsets and lengths are bytes of the segment.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Nothing but time.
    Tick,
    /// A manifest went to this viewer's player.
    Listed {
        /// What it says.
        timeline: Timeline,
        /// Whose player.
        viewer: u64,
    },
    /// A player asks for (part of) a listed segment.
    Asked {
        /// The request's name from now on.
        ask: AskId,
        /// Whose player.
        viewer: u64,
        /// The rendition.
        swarm: SwarmId,
        /// The segment.
        segment: SegmentId,
        /// First byte wanted.
        from: u32,
        /// One past the last; `None`: to the end.
        to: Option<u32>,
    },
    /// The player's connection took its bytes up to here.
    Took {
        /// Which request.
        ask: AskId,
        /// Offset in the segment.
        up_to: u32,
    },
    /// The request is over: answered in full, or the player hung up.
    Done {
        /// Which request.
        ask: AskId,
    },
    /// The origin answers a fetch.
    Head {
        /// Which fetch.
        fetch: FetchId,
        /// The whole segment's length, where the answer tells it.
        length: Option<u64>,
        /// The origin does not forbid sharing (`Cache-Control: private`, `no-store`).
        shareable: bool,
    },
    /// Bytes of a fetch are in memory up to here.
    Arrived {
        /// Which fetch.
        fetch: FetchId,
        /// Offset in the segment.
        up_to: u32,
    },
    /// A piece whose bytes all came from the origin is in memory, and this is its hash.
    Hashed {
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
        /// Its hash.
        hash: PieceHash,
    },
    /// A fetch brought all it promised.
    Fetched {
        /// Which fetch.
        fetch: FetchId,
    },
    /// A fetch failed.
    Failed {
        /// Which fetch.
        fetch: FetchId,
        /// How.
        fault: Fault,
    },
    /// A data channel is open.
    Joined {
        /// With whom.
        peer: PeerId,
    },
    /// A data channel is gone.
    Left {
        /// Whose.
        peer: PeerId,
        /// It broke the protocol.
        misbehaved: bool,
    },
    /// A neighbour said something.
    Said {
        /// Who.
        peer: PeerId,
        /// What; never a `Part`.
        message: Message,
    },
    /// A neighbour sent a whole piece. The driver holds its bytes until it has seen whether [`Output::Keep`] follows.
    Piece {
        /// Who.
        peer: PeerId,
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
        /// Bytes.
        length: u32,
        /// Their hash.
        hash: PieceHash,
    },
    /// A piece has left for a neighbour.
    Sent {
        /// To whom.
        peer: PeerId,
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
    },
    /// A piece that was to be sent is not in memory any more.
    Unsent {
        /// To whom.
        peer: PeerId,
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
    },
    /// A tracker tells how many viewers a swarm has, us included.
    SwarmSize {
        /// Its index.
        tracker: usize,
        /// Which swarm.
        swarm: SwarmId,
        /// Viewers.
        viewers: u32,
    },
    /// A tracker's connection came up, or went (or did not come) up.
    Tracker {
        /// Its index.
        tracker: usize,
        /// Up or not.
        up: bool,
        /// How often it wants announcements, in seconds.
        interval_s: u32,
    },
    /// What holds from now on.
    Policy(policy::Policy),
    /// What holds for one rendition besides, from now on; it is listed already.
    Terms {
        /// The rendition.
        swarm: SwarmId,
        /// What it is kept from.
        terms: policy::Terms,
    },
    /// What may be uploaded until when; `None`: as much as one likes.
    Budget(Option<budget::Allowance>),
}

/// Something to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Fetch these bytes of a segment from the origin.
    Fetch {
        /// Name it so.
        fetch: FetchId,
        /// The rendition.
        swarm: SwarmId,
        /// The segment.
        segment: SegmentId,
        /// First byte.
        from: u32,
        /// One past the last; `None`: to the end.
        to: Option<u32>,
        /// Read no further than this until allowed more; `None`: as fast as it comes.
        allowed: Option<u32>,
    },
    /// A fetch may read up to here (`None`: as fast as it comes).
    Allow {
        /// Which.
        fetch: FetchId,
        /// Offset in the segment.
        up_to: Option<u32>,
    },
    /// Give a fetch up.
    CancelFetch {
        /// Which.
        fetch: FetchId,
    },
    /// A player may read its answer up to here.
    Ready {
        /// Which request.
        ask: AskId,
        /// Offset in the segment.
        up_to: u32,
        /// The segment's length, where known.
        length: Option<u32>,
    },
    /// A player's request can't be answered.
    Fail {
        /// Which request.
        ask: AskId,
        /// Why.
        why: Failure,
    },
    /// Put the piece that the input brought into memory.
    Keep {
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
    },
    /// Take these pieces out of memory: nobody vouches for them any more.
    Discard {
        /// The segment.
        segment: SegmentId,
        /// A bit for each.
        pieces: u64,
    },
    /// Take the segment out of memory.
    Drop {
        /// Which.
        segment: SegmentId,
    },
    /// Say this to a neighbour.
    Say {
        /// To whom.
        peer: PeerId,
        /// What.
        message: Message,
    },
    /// Send a piece from memory; [`Input::Sent`] follows, or [`Input::Unsent`].
    SendPiece {
        /// To whom.
        peer: PeerId,
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
    },
    /// Close a connection; [`Input::Left`] may follow and is ignored.
    Disconnect {
        /// Whose.
        peer: PeerId,
        /// Refuse it from now on.
        shun: bool,
    },
    /// Tell the trackers that we watch this, with so many offers.
    Announce {
        /// Which swarm.
        swarm: SwarmId,
        /// Fresh offers.
        offers: usize,
        /// The first time.
        started: bool,
        /// What it has come to here.
        account: Account,
    },
    /// Tell the trackers that we left.
    Leave {
        /// Which swarm.
        swarm: SwarmId,
        /// What it came to here.
        account: Account,
    },
    /// Try this tracker now.
    Connect {
        /// Its index.
        tracker: usize,
    },
    /// Take offers of others only while there are fewer connections than this, open or being made.
    Room {
        /// How many.
        connections: usize,
    },
    /// The period of the budget has ended: [`Input::Budget`] says what the next one allows.
    Renew,
    /// Worth a line in the log.
    Report(Report),
}
