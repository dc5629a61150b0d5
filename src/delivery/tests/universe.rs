//! What there is and what can happen in the small universe that is played to a Node: a live rendition of a dozen segments,
//! three players, five peers that say true and false things.

use std::time::Duration;

use proptest::prelude::*;

use crate::delivery::{Output, policy};
use crate::model::ids::{PeerId, SegmentId, SwarmId};
use crate::model::time::Time;
use crate::model::timeline::PieceGrid;
use crate::wire::digest::PieceHash;
use crate::wire::message::Message;

pub(super) const LENGTH: u32 = 320_000;
pub(super) const TARGET: Duration = Duration::from_secs(4);
/// The peer that only takes.
pub(super) const SHY: u8 = 4;
/// What an origin that answers needs for whatever it is asked.
pub(super) const HTTP: Duration = Duration::from_millis(200);
/// How much later than HTTP alone a player may be answered.
pub(super) const GRACE: Duration = Duration::from_millis(100);
/// How often the Node looks at what it holds, whatever happens.
pub(super) const HOUSEKEEPING: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub(super) enum Step {
    List {
        viewer: u8,
        kind: u8,
        first: u8,
        count: u8,
    },
    Ask {
        viewer: u8,
        sequence: u8,
        from: u16,
    },
    Origin {
        which: u8,
        does: Does,
    },
    Join(u8),
    Leave(u8),
    Greet(u8),
    /// It leaves the rendition, or watches another in its place.
    Parts {
        peer: u8,
        moves: bool,
    },
    Have {
        peer: u8,
        sequence: u8,
        bits: u32,
        lie: bool,
        loading: bool,
    },
    Busy {
        peer: u8,
        retry: u8,
    },
    Lost {
        peer: u8,
        sequence: u8,
    },
    Deliver {
        peer: u8,
        wrong: bool,
    },
    Request {
        peer: u8,
        sequence: u8,
        piece: u8,
    },
    Sent,
    Wait(u16),
    Size(u8),
    Tracker(bool),
    Policy {
        p2p: bool,
        upload: bool,
    },
    Terms {
        p2p: bool,
        upload: bool,
    },
    Budget {
        left: u32,
        lasts: u16,
    },
    HangUp(u8),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Does {
    Head,
    Bytes(u16),
    All,
    Fail(u8),
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let peer = || 0u8..5;
    let sequence = || 0u8..12;
    let does = prop_oneof![
        Just(Does::Head),
        any::<u16>().prop_map(Does::Bytes),
        Just(Does::All),
        (0u8..4).prop_map(Does::Fail)
    ];
    prop_oneof![
        2 => (0u8..3, 0u8..3, 0u8..8, 0u8..8)
            .prop_map(|(viewer, kind, first, count)| Step::List { viewer, kind, first, count }),
        4 => (0u8..3, sequence(), prop_oneof![3 => Just(0u16), 1 => any::<u16>()])
            .prop_map(|(viewer, sequence, from)| Step::Ask { viewer, sequence, from }),
        8 => (any::<u8>(), does).prop_map(|(which, does)| Step::Origin { which, does }),
        2 => peer().prop_map(Step::Join),
        1 => peer().prop_map(Step::Leave),
        3 => peer().prop_map(Step::Greet),
        1 => (peer(), any::<bool>()).prop_map(|(peer, moves)| Step::Parts { peer, moves }),
        8 => (peer(), sequence(), any::<u32>(), prop::bool::weighted(0.15), any::<bool>())
            .prop_map(|(peer, sequence, bits, lie, loading)| Step::Have { peer, sequence, bits, lie, loading }),
        1 => (peer(), any::<u8>()).prop_map(|(peer, retry)| Step::Busy { peer, retry }),
        1 => (peer(), sequence()).prop_map(|(peer, sequence)| Step::Lost { peer, sequence }),
        6 => (peer(), prop::bool::weighted(0.1)).prop_map(|(peer, wrong)| Step::Deliver { peer, wrong }),
        2 => (peer(), sequence(), 0u8..8)
            .prop_map(|(peer, sequence, piece)| Step::Request { peer, sequence, piece }),
        2 => Just(Step::Sent),
        6 => (0u16..3000).prop_map(Step::Wait),
        1 => any::<u8>().prop_map(Step::Size),
        1 => any::<bool>().prop_map(Step::Tracker),
        1 => (prop::bool::weighted(0.8), prop::bool::weighted(0.8)).prop_map(|(p2p, upload)| Step::Policy { p2p, upload }),
        1 => (prop::bool::weighted(0.8), prop::bool::weighted(0.8)).prop_map(|(p2p, upload)| Step::Terms { p2p, upload }),
        1 => (0..3 * LENGTH, 1u16..20_000).prop_map(|(left, lasts)| Step::Budget { left, lasts }),
        1 => any::<u8>().prop_map(Step::HangUp),
    ]
}

pub(super) fn swarm() -> SwarmId {
    SwarmId::of("a rendition")
}

pub(super) fn segment(sequence: u64) -> SegmentId {
    SegmentId::of(swarm(), sequence, "segment")
}

pub(super) fn peer(n: u8) -> PeerId {
    PeerId::from_entropy([n; 12])
}

pub(super) fn truth(segment: SegmentId, piece: u8) -> PieceHash {
    PieceHash([segment.0 as u8 ^ piece.wrapping_mul(29); 16])
}

pub(super) fn grid() -> PieceGrid {
    PieceGrid::for_length(u64::from(LENGTH)).unwrap()
}

/// What a player may have buffered at most, as long as it plays.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Buffer {
    front: u64,
    /// When playing began, moved on by every time that it ran dry.
    began: Option<Time>,
    delivered: Duration,
    /// When it last asked.
    asked: Time,
    /// A bit for each segment that it took all of.
    whole: u64,
}

impl Buffer {
    /// Of a player that begins here.
    pub(super) fn at(front: u64) -> Self {
        Self { front, ..Self::default() }
    }

    /// It asks for a segment, with these before it still open: how long it can wait for it.
    ///
    /// `elsewhere`: what it passes over it may have played in another rendition.
    pub(super) fn asks(&mut self, sequence: u64, open: &[u64], elsewhere: bool, now: Time) -> Duration {
        let since = now - std::mem::replace(&mut self.asked, now);
        let passed = TARGET * sequence.saturating_sub(self.front + 1) as u32;
        // Somewhere else; or what it had is gone, if that is what it asks for again.
        let sought = !passed.is_zero() && (since < passed || !elsewhere);
        if sequence.abs_diff(self.front) > policy::SEEK || sought {
            *self = Self { asked: now, ..Self::at(sequence) };
        } else if self.whole & 1 << sequence != 0 {
            self.lose();
        }
        self.front = self.front.max(sequence);
        let Some(began) = self.began else { return Duration::ZERO };
        let earlier = open.iter().filter(|&&earlier| earlier < sequence).count() as u32;
        self.delivered.saturating_sub(now - began) + TARGET * earlier
    }

    /// It has sought, as far as anybody can tell.
    pub(super) fn lose(&mut self) {
        *self = Self { asked: self.asked, ..Self::at(self.front) };
    }

    /// It takes bytes, and with them all of a segment or not.
    pub(super) fn takes(&mut self, whole: Option<u64>, now: Time) {
        let began = *self.began.get_or_insert(now);
        if self.delivered < now - began {
            self.began = Some(now.back(self.delivered));
        }
        let Some(sequence) = whole.filter(|sequence| self.whole & 1 << sequence == 0) else { return };
        self.whole |= 1 << sequence;
        self.delivered += TARGET;
    }
}

/// Whether this is of use only to somebody who is in a swarm.
pub(super) fn shares(output: &Output) -> bool {
    let about = |message: &Message| {
        matches!(
            message,
            Message::Request { .. } | Message::Have { .. } | Message::Window { .. } | Message::Joined { .. }
        )
    };
    match output {
        Output::Announce { .. } | Output::SendPiece { .. } => true,
        Output::Say { message, .. } => about(message),
        _ => false,
    }
}
