//! Bytes of a manifest to what is in them, and back with other URIs.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]
