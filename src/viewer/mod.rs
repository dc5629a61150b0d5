//! A headless player and a channel to play, for demo, watch and tests; and what playing means, for the simulator too.

#[cfg(feature = "daemon")]
pub mod channel;
#[cfg(feature = "daemon")]
mod client;
pub mod path;
#[cfg(feature = "daemon")]
mod picture;
#[cfg(feature = "daemon")]
pub mod player;
pub mod playout;
#[cfg(feature = "daemon")]
pub mod relay;
#[cfg(feature = "daemon")]
mod ts;
