//! What goes wrong or is worth a word: how a fetch failed, why a player gets nothing, what a user may want to read.

use super::FetchId;
use super::account::Bytes;
use crate::model::ids::{PeerId, SwarmId};

/// How a fetch failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 401 or 403: this viewer is not served.
    Denied,
    /// 404 or 410: it is not there, or not yet.
    Missing,
    /// Any other answer that asking again won't change.
    Refused,
    /// No answer, or one that may be another in a moment (5xx, 429).
    Unavailable,
    /// It broke off after its head.
    Broken,
}

/// Why a player gets no (whole) answer from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The origin's own word; the driver kept the answer of this fetch.
    Origin(FetchId),
    /// Too large (or empty) to be kept: pass it through.
    PassThrough,
}

/// What a user may want to read.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// A rendition is being watched.
    StreamJoined {
        /// Which.
        swarm: SwarmId,
    },
    /// Its viewers have gone.
    StreamLeft {
        /// Which.
        swarm: SwarmId,
        /// What it came to.
        bytes: Bytes,
        /// The most viewers its swarm had.
        viewers: u32,
        /// Somebody really watched it (a player may only have looked into it).
        watched: bool,
    },
    /// The upload budget is spent: nothing is uploaded any more in this period.
    BudgetSpent,
    /// A neighbour was dropped for good.
    Shunned {
        /// Who.
        peer: PeerId,
        /// What it did, in a few words.
        why: &'static str,
    },
}
