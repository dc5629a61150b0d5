//! Every byte format we speak: limits that hold for all of them, and why a message is refused.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

pub mod digest;
pub mod message;
pub mod tracker;

/// The longest message on a data channel; old WebRTC stacks accept no more.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// The most payload bytes in one `part` of a piece; leaves room for its header below [`MAX_MESSAGE`].
pub const MAX_PART: usize = 60_000;

/// Why a neighbour's message was refused. Each of these ends the connection and is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The frame ends inside a field.
    #[error("message cut short at byte {at}")]
    Truncated {
        /// Its length.
        at: usize,
    },
    /// Longer than [`MAX_MESSAGE`]; nobody of ours sends that.
    #[error("message of {length} bytes, {MAX_MESSAGE} are allowed")]
    Oversized {
        /// Its length.
        length: usize,
    },
    /// Bytes after the last field.
    #[error("{extra} bytes after the end of the message")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A yes or no that is neither.
    #[error("{value} where 0 or 1 is due")]
    Flag {
        /// What it was.
        value: u8,
    },
    /// A piece number past the end of its segment, or out of order.
    #[error("piece {piece} does not exist or is out of order")]
    NoSuchPiece {
        /// Its number.
        piece: u8,
    },
    /// A segment longer than any that is cut into pieces.
    #[error("a segment of {length} bytes is not shared")]
    Length {
        /// Bytes.
        length: u32,
    },
    /// A part that is empty, too long, or past the end of any piece.
    #[error("a part of {length} bytes at {offset}")]
    Part {
        /// Where in the piece.
        offset: u32,
        /// Bytes.
        length: usize,
    },
}
