//! The face to players; knows nothing of pieces or peers.
