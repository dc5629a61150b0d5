//! Plain counters, and for each segment where it came from and why.

use std::collections::VecDeque;
use std::time::Duration;

use super::policy::RECORDS;
use super::waits::Waits;
use crate::model::ids::SegmentId;

/// Why a segment came the way it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The player had nothing yet, or had sought.
    StartUp,
    /// The player would have run dry.
    Critical,
    /// It was this viewer's turn to take the first copy.
    Lottery,
    /// Peers brought it, ahead of the player or for it.
    Prefetch,
    /// No neighbour had it or was loading it.
    NoPeer,
    /// Neighbours had it and were too slow.
    PeerSlow,
    /// Neighbours had it and were busy.
    Busy,
    /// Neighbours contradicted each other, or the origin.
    HashMismatch,
    /// P2P is switched off.
    P2pOff,
    /// The origin forbids sharing it or gives viewers different bytes under its name, or it can't be cut into pieces.
    NotShared,
}

impl Reason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::StartUp,
        Self::Critical,
        Self::Lottery,
        Self::Prefetch,
        Self::NoPeer,
        Self::PeerSlow,
        Self::Busy,
        Self::HashMismatch,
        Self::P2pOff,
        Self::NotShared,
    ];

    /// The word of the statistics (see the contract).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StartUp => "start-up",
            Self::Critical => "critical",
            Self::Lottery => "lottery",
            Self::Prefetch => "prefetch",
            Self::NoPeer => "no-peer",
            Self::PeerSlow => "peer-slow",
            Self::Busy => "busy",
            Self::HashMismatch => "hash-mismatch",
            Self::P2pOff => "p2p-off",
            Self::NotShared => "not-shared",
        }
    }
}

/// Bytes of segments, by the way they came or went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// From the origin.
    pub http: u64,
    /// From peers, accepted.
    pub p2p: u64,
    /// Of those, what the origin brought as well, before or after: it counts as the origin's, and as wasted.
    pub both: u64,
    /// To peers.
    pub uploaded: u64,
    /// Came although they were here already, or were wrong.
    pub wasted: u64,
    /// To players.
    pub served: u64,
}

impl Bytes {
    /// Adds what another account counted.
    pub fn add(&mut self, other: Self) {
        self.http += other.http;
        self.p2p += other.p2p;
        self.both += other.both;
        self.uploaded += other.uploaded;
        self.wasted += other.wasted;
        self.served += other.served;
    }

    /// What came since an earlier account.
    #[must_use]
    pub fn since(&self, before: Self) -> Self {
        Self {
            http: self.http - before.http,
            p2p: self.p2p - before.p2p,
            both: self.both - before.both,
            uploaded: self.uploaded - before.uploaded,
            wasted: self.wasted - before.wasted,
            served: self.served - before.served,
        }
    }

    /// Bytes from peers / (bytes from peers + bytes from the origin); 0 before the first byte. What came from both counts as
    /// the origin's alone: peers saved it nothing.
    #[must_use]
    pub fn peer_efficiency(&self) -> f64 {
        // What came from a peer in an earlier account may have come from the origin in this one.
        let useful = self.p2p.saturating_sub(self.both);
        let all = useful + self.http;
        if all == 0 { 0.0 } else { useful as f64 / all as f64 }
    }
}

/// The most a closed group of `viewers` can reach: (n-1)/n.
#[must_use]
pub fn ceiling(viewers: u32) -> f64 {
    if viewers == 0 { 0.0 } else { f64::from(viewers - 1) / f64::from(viewers) }
}

/// Segments by why they came the way they did, and how players fared. No count falls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// In the order of [`Reason::ALL`].
    pub by_reason: [u64; Reason::ALL.len()],
    /// Those whose bytes came after a player can have run dry.
    pub late: u64,
    /// The shortest start-up of a stream: from the first request to the first whole segment in a player's hands.
    pub startup: Option<Duration>,
    /// The start-up of each stream.
    pub startups: Waits,
    /// See [`Ledger::stalls`].
    pub stalls: Waits,
    /// See [`Ledger::seeks`].
    pub seeks: Waits,
}

impl Segments {
    /// Adds what another account counted.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.by_reason.iter_mut().zip(other.by_reason) {
            *count += more;
        }
        self.late += other.late;
        self.startup = self.startup.into_iter().chain(other.startup).min();
        self.startups.append(&other.startups);
        self.stalls.append(&other.stalls);
        self.seeks.append(&other.seeks);
    }
}

/// One segment as the statistics list it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Which segment.
    pub id: SegmentId,
    /// Its media sequence number.
    pub sequence: u64,
    /// Bytes from the origin.
    pub http: u64,
    /// Bytes from peers.
    pub p2p: u64,
    /// Why it came the way it did.
    pub reason: Reason,
    /// The longest that a player waited for its first byte.
    pub held: Duration,
    /// A bit for each neighbour that brought pieces of it.
    pub peers: u32,
    /// Everything of it was here before a player asked.
    pub ahead: bool,
    /// Its first byte came after a player can have run dry.
    pub late: bool,
    /// It is among the [`Segments`] that were counted.
    counted: bool,
}

/// The last segments of a stream, oldest first; at most [`RECORDS`].
///
/// Each is counted once under its reason: when a player has been handed all of it, which settles the reason, or else when it
/// leaves the list.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    records: VecDeque<Record>,
    by_reason: [u64; Reason::ALL.len()],
    /// Segments whose bytes came after the player can have run dry.
    pub late: u64,
    /// From the first request to the first whole segment in the player's hands.
    pub startup: Option<Duration>,
    /// By how much the first byte of each of those was late.
    pub stalls: Waits,
    /// From the first request for another place to the first whole segment from there in the player's hands.
    pub seeks: Waits,
}

impl Ledger {
    /// The record of a segment, made when there is none.
    pub fn of(&mut self, id: SegmentId, sequence: u64) -> &mut Record {
        let index = self.records.iter().rposition(|r| r.id == id).unwrap_or_else(|| {
            if self.records.len() == RECORDS {
                self.let_go();
            }
            self.records.push_back(Record {
                id,
                sequence,
                http: 0,
                p2p: 0,
                reason: Reason::Prefetch,
                held: Duration::ZERO,
                peers: 0,
                ahead: false,
                late: false,
                counted: false,
            });
            self.records.len() - 1
        });
        &mut self.records[index]
    }

    fn let_go(&mut self) {
        let Some(record) = self.records.pop_front() else { return };
        if !record.counted && record.http + record.p2p > 0 {
            self.by_reason[record.reason as usize] += 1;
        }
    }

    /// A player has been handed all of this segment: it counts now, if it did not before.
    pub fn settle(&mut self, id: SegmentId) {
        let record = self.records.iter_mut().rfind(|r| r.id == id && !r.counted && r.http + r.p2p > 0);
        if let Some(record) = record {
            record.counted = true;
            self.by_reason[record.reason as usize] += 1;
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn segments(&self) -> Segments {
        let mut startups = Waits::default();
        self.startup.into_iter().for_each(|wait| startups.add(wait));
        let (stalls, seeks) = (self.stalls.clone(), self.seeks.clone());
        Segments {
            by_reason: self.by_reason,
            late: self.late,
            startup: self.startup,
            startups,
            stalls,
            seeks,
        }
    }

    /// What it all came to; nothing is listed afterwards.
    pub fn close(&mut self) -> Segments {
        while !self.records.is_empty() {
            self.let_go();
        }
        self.segments()
    }

    /// Oldest first.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }
}

/// Things that went wrong with peers, each under its own name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Pieces whose bytes were not the ones vouched for.
    pub wrong_bytes: u64,
    /// Hashes that contradicted bytes from the origin.
    pub contradicted_origin: u64,
    /// Segments about which neighbours contradicted each other.
    pub disputed: u64,
    /// Connections that broke the protocol.
    pub misbehaved: u64,
    /// Requests that were refused because we were busy.
    pub refused: u64,
    /// Requests to neighbours that were not answered in time.
    pub late: u64,
}

impl Faults {
    /// Adds what another account counted.
    pub fn add(&mut self, other: Self) {
        self.wrong_bytes += other.wrong_bytes;
        self.contradicted_origin += other.contradicted_origin;
        self.disputed += other.disputed;
        self.misbehaved += other.misbehaved;
        self.refused += other.refused;
        self.late += other.late;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efficiency_and_its_ceiling() {
        let bytes = Bytes { http: 20, p2p: 80, ..Bytes::default() };
        assert!((bytes.peer_efficiency() - 0.8).abs() < 1e-9);
        assert_eq!(Bytes::default().peer_efficiency(), 0.0);
        let twice = Bytes { http: 20, p2p: 90, both: 10, wasted: 10, ..Bytes::default() };
        assert!(
            (twice.peer_efficiency() - 0.8).abs() < 1e-9,
            "bytes that the origin had to send are not saved"
        );
        let mut sum = twice;
        sum.add(twice);
        assert_eq!(sum.since(twice), twice);
        assert_eq!(Bytes { both: 10, ..Bytes::default() }.peer_efficiency(), 0.0);
        assert_eq!((ceiling(0), ceiling(1), ceiling(5)), (0.0, 0.0, 0.8));
    }

    #[test]
    fn the_ledger_keeps_the_last_ones() {
        let mut ledger = Ledger::default();
        for n in 0..RECORDS as u64 + 10 {
            ledger.of(SegmentId(n), n).http += 1;
        }
        ledger.of(SegmentId(20), 20).http += 1;
        assert_eq!(ledger.records().count(), RECORDS);
        assert_eq!(ledger.records().next().map(|r| r.sequence), Some(10));
        assert_eq!(ledger.of(SegmentId(20), 20).http, 2);
        assert_eq!(ledger.segments().by_reason[Reason::Prefetch as usize], 10, "those that left the list");
    }

    #[test]
    fn each_segment_counts_once_and_under_its_last_reason() {
        let mut ledger = Ledger::default();
        for n in 0..3 {
            let record = ledger.of(SegmentId(n), n);
            (record.http, record.reason) = (1, Reason::Lottery);
        }
        ledger.of(SegmentId(3), 3).ahead = true;
        ledger.settle(SegmentId(0));
        ledger.settle(SegmentId(0));
        ledger.settle(SegmentId(9));
        ledger.of(SegmentId(1), 1).reason = Reason::Critical;
        ledger.late = 1;
        let mut past = Segments { startup: Some(Duration::from_secs(2)), ..Segments::default() };
        past.add(&ledger.segments());
        assert_eq!(past.by_reason[Reason::Lottery as usize], 1);
        let mut past = Segments { startup: Some(Duration::from_secs(2)), ..Segments::default() };
        past.add(&ledger.close());
        assert_eq!(past.by_reason[Reason::Lottery as usize], 2);
        assert_eq!(past.by_reason[Reason::Critical as usize], 1);
        assert_eq!(past.by_reason.iter().sum::<u64>(), 3, "nothing came of the fourth");
        assert_eq!((past.late, past.startup), (1, Some(Duration::from_secs(2))));
    }
}
