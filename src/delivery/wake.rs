//! Why a Node wants to be woken.

/// What the next wake-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// A player has been held for as long as it can bear.
    Slack,
    /// It would be our turn to take a first copy.
    Lottery,
    /// The origin may be asked again.
    OriginRetry,
    /// A neighbour owes a piece.
    Patience,
    /// The origin has sent nothing for a while.
    Silence,
    /// A busy neighbour may be asked again.
    Busy,
    /// New pieces are to be announced.
    Announce,
    /// The uplink's limit allows another piece.
    Pace,
    /// An answer that goes at the origin's pace may be read further.
    Paced,
    /// A tracker wants to hear from us, or is tried again.
    Tracker,
    /// Somebody new is tried.
    Swap,
    /// Round trips are measured.
    Ping,
    /// The period of the upload budget ends.
    Budget,
    /// A viewer may have gone, or what it left may be dropped.
    Gone,
}
