//! A headless player and a channel to play.
