//! A neighbour's message on its way, as small as it can be.
//!
//! Most of what travels are announcements of pieces as they truly are. The hashes in them follow from the content and need
//! not be carried: without a box from another thread's memory, an event is one cache line, and nothing is waited for.

use super::content::truth;
use crate::delivery::pieces::ones;
use crate::model::ids::SegmentId;
use crate::wire::message::{Message, Slot};

/// A neighbour's message.
#[derive(Clone, Debug)]
pub enum Said {
    /// [`Message::Have`] with true hashes only: a bit for each piece.
    Have {
        /// As in the message.
        slot: Slot,
        /// As in the message.
        loading: bool,
        /// As in the message.
        length: u32,
        /// As in the message.
        segment: SegmentId,
        /// As in the message.
        sequence: u64,
        /// A bit for each piece that is named.
        pieces: u64,
    },
    /// [`Message::Request`].
    Request(SegmentId, u8, u16),
    /// [`Message::Busy`].
    Busy(SegmentId, u8, u16),
    /// [`Message::Ping`].
    Ping(u32, bool),
    /// [`Message::Lost`].
    Lost(SegmentId),
    /// Any other.
    Other(Box<Message>),
}

impl From<Message> for Said {
    fn from(message: Message) -> Self {
        match message {
            Message::Request { segment, piece, within_ms } => Self::Request(segment, piece, within_ms),
            Message::Busy { segment, piece, retry_ms } => Self::Busy(segment, piece, retry_ms),
            Message::Ping { nonce, reply } => Self::Ping(nonce, reply),
            Message::Lost { segment } => Self::Lost(segment),
            Message::Have { slot, segment, sequence, length, loading, ref pieces } => {
                let plain = pieces.iter().all(|&(piece, hash)| piece < 64 && hash == truth(segment, piece))
                    && pieces.is_sorted_by(|one, next| one.0 < next.0);
                if !plain {
                    return Self::Other(Box::new(message));
                }
                let pieces = pieces.iter().fold(0, |bits, (piece, _)| bits | 1 << piece);
                Self::Have { slot, loading, length, segment, sequence, pieces }
            }
            message => Self::Other(Box::new(message)),
        }
    }
}

impl From<Said> for Message {
    fn from(said: Said) -> Self {
        match said {
            Said::Request(segment, piece, within_ms) => Self::Request { segment, piece, within_ms },
            Said::Busy(segment, piece, retry_ms) => Self::Busy { segment, piece, retry_ms },
            Said::Ping(nonce, reply) => Self::Ping { nonce, reply },
            Said::Lost(segment) => Self::Lost { segment },
            Said::Have { slot, loading, length, segment, sequence, pieces } => {
                let mut named = Vec::with_capacity(pieces.count_ones() as usize);
                named.extend(ones(pieces).map(|piece| (piece, truth(segment, piece))));
                Self::Have { slot, segment, sequence, length, loading, pieces: named }
            }
            Said::Other(message) => *message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::forgery;
    use super::*;

    #[test]
    fn what_is_said_arrives_as_it_was_said() {
        let segment = SegmentId(0x1234_5678_9abc);
        let have = |pieces| Message::Have {
            slot: Slot(3),
            segment,
            sequence: 17,
            length: 500_000,
            loading: true,
            pieces,
        };
        let yes = |piece| (piece, truth(segment, piece));
        let messages = [
            (have(vec![]), true),
            (have(vec![yes(0), yes(15), yes(63)]), true),
            (have(vec![yes(0), (7, forgery(segment, 7, 9))]), false),
            (have(vec![yes(7), yes(0)]), false),
            (have(vec![yes(7), yes(7)]), false),
            (Message::Request { segment, piece: 3, within_ms: 900 }, true),
            (Message::Busy { segment, piece: 3, retry_ms: 0 }, true),
            (Message::Ping { nonce: 77, reply: true }, true),
            (Message::Lost { segment }, true),
            (Message::Cancel { segment, piece: 9 }, false),
        ];
        for (message, plain) in messages {
            let said = Said::from(message.clone());
            assert_eq!(!matches!(said, Said::Other(_)), plain, "{message:?}");
            assert_eq!(Message::from(said), message);
        }
    }

    #[test]
    fn an_event_is_one_cache_line() {
        assert!(size_of::<super::super::event::Incoming>() <= 64);
    }
}
