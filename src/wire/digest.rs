//! Piece hashes: what makes bytes from a peer usable.

use std::fmt;

use bytes::Bytes;

/// The first 16 bytes of a piece's BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceHash(pub [u8; 16]);

impl PieceHash {
    /// The hash of a piece that lies in `chunks`, in order.
    #[must_use]
    pub fn of<'a>(chunks: impl IntoIterator<Item = &'a Bytes>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for chunk in chunks {
            hasher.update(chunk);
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(hash)
    }
}

impl fmt::Debug for PieceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
