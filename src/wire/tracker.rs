//! The tracker protocol.
