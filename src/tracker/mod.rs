//! The tracker service: brings viewers of one rendition together.
