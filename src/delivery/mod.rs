//! Who fetches what, from whom, when: the P2P mind of one daemon.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]
