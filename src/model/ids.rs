//! Names of peers, swarms and segments.
//!
//! A name never gives away the URL it was made from: swarm and segment ids are BLAKE3 over a fixed prefix and an
//! identity text (see `manifest::identity`), cut to the length the protocols carry.

use std::fmt;

const SWARM_CONTEXT: &[u8] = b"paceline swarm 1\n";
const SEGMENT_CONTEXT: &[u8] = b"paceline segment 1\n";

/// A daemon, for as long as it runs; 20 ASCII bytes, since some trackers take nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

/// All viewers of one rendition; the `info_hash` that trackers see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwarmId(pub [u8; 20]);

/// One segment of one rendition, the same on every daemon.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

/// Renditions of one presentation that are played in place of each other: one at a time. Those of another group of it are played
/// beside them, as sound beside pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(pub u64);

impl Group {
    /// What `kind` names of the presentation with this identity.
    #[must_use]
    pub fn of(presentation: &str, kind: &str) -> Self {
        let SwarmId(id) = SwarmId::of(&format!("{presentation}\n{kind}"));
        let mut group = [0; 8];
        group.copy_from_slice(&id[..8]);
        Self(u64::from_le_bytes(group))
    }
}

impl PeerId {
    /// A peer id from 12 random bytes: `-PL0100-` and 12 characters drawn from them.
    #[must_use]
    pub fn from_entropy(entropy: [u8; 12]) -> Self {
        const ALPHABET: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
        let mut id = *b"-PL0100-............";
        for (place, byte) in id[8..].iter_mut().zip(entropy) {
            *place = ALPHABET[usize::from(byte % 64)];
        }
        Self(id)
    }
}

impl SwarmId {
    /// The swarm of the rendition with this identity text.
    #[must_use]
    pub fn of(rendition: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(SWARM_CONTEXT).update(rendition.as_bytes());
        let mut id = [0; 20];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..20]);
        Self(id)
    }
}

impl SegmentId {
    /// The segment `sequence` of `swarm` whose own identity text (URL identity and byte range) is `segment`.
    ///
    /// The sequence number is part of it because live origins reuse file names in a ring.
    #[must_use]
    pub fn of(swarm: SwarmId, sequence: u64, segment: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(SEGMENT_CONTEXT)
            .update(&swarm.0)
            .update(&sequence.to_le_bytes())
            .update(segment.as_bytes());
        let mut id = [0; 8];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Self(u64::from_le_bytes(id))
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            if byte.is_ascii_graphic() {
                write!(f, "{}", char::from(byte))?
            } else {
                write!(f, "%{byte:02x}")?
            }
        }
        Ok(())
    }
}

impl fmt::Display for SwarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

macro_rules! debug_as_display {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    )*};
}
debug_as_display!(PeerId, SwarmId, SegmentId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_ids_are_printable_ascii() {
        let id = PeerId::from_entropy([0, 63, 64, 255, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(id.to_string(), "-PL0100-0_0_12345678");
    }

    #[test]
    fn a_reused_file_name_is_another_segment() {
        let swarm = SwarmId::of("cdn.example/live/720p.m3u8");
        assert_ne!(SegmentId::of(swarm, 7, "seg1.ts"), SegmentId::of(swarm, 14, "seg1.ts"));
        assert_ne!(SegmentId::of(swarm, 7, "seg1.ts"), SegmentId::of(SwarmId::of("other"), 7, "seg1.ts"));
        assert_eq!(SegmentId::of(swarm, 7, "seg1.ts"), SegmentId::of(swarm, 7, "seg1.ts"));
    }
}
