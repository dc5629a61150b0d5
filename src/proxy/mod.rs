//! The face to players; knows nothing of pieces or peers.

pub mod address;
pub mod headers;
pub mod range;
