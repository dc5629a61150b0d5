//! A headless player and a channel to play, for demo, watch and tests.

pub mod channel;
mod client;
mod picture;
pub mod player;
pub mod playout;
mod ts;
