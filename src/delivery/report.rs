//! What a Node tells besides what to do: why a player gets nothing, and what a user may want to read.

use super::FetchId;
use super::account::Bytes;
use crate::model::ids::{PeerId, SwarmId};

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
    /// A neighbour was dropped for good.
    Shunned {
        /// Who.
        peer: PeerId,
        /// What it did, in a few words.
        why: &'static str,
    },
}
