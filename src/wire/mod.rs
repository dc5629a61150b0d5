//! Every byte format we speak: limits that hold for all of them, and why a message is refused.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

pub mod digest;
pub mod message;
pub mod tracker;

/// The longest message on a data channel; old WebRTC stacks accept no more.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// The most payload bytes in one `part` of a piece; leaves room for its header below [`MAX_MESSAGE`].
pub const MAX_PART: usize = 60_000;
