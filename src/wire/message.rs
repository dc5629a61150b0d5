//! The messages of the data channel `paceline/1`.
//!
//! A frame is one type byte and a fixed layout of little-endian fields, in the order of the enum's. Unknown types are
//! ignored so that a later version may add some; a malformed frame ends the connection and is counted.
//!
//! | type | fields |
//! |---|---|
//! | 0 hello | version u8, features u32, uploads u8 |
//! | 1 joined | slot u8, swarm 20 bytes |
//! | 2 left | slot u8 |
//! | 3 window | slot u8, first u64, last u64 |
//! | 4 have | slot u8, segment u64, sequence u64, length u32, loading u8, then per piece: number u8, hash 16 bytes |
//! | 5 lost | segment u64 |
//! | 6 request | segment u64, piece u8, within u16 |
//! | 7 part | segment u64, piece u8, length of the piece u32, offset u32, then the bytes |
//! | 8 busy | segment u64, piece u8, retry u16 |
//! | 9 cancel | segment u64, piece u8 |
//! | 10 ping | nonce u32, reply u8 |
//! | 11 takes | slot u8 |

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::digest::PieceHash;
use super::{MAX_MESSAGE, MAX_PART, Malformed};
use crate::model::ids::{SegmentId, SwarmId};
use crate::model::timeline::PieceGrid;

/// The protocol version that `hello` carries.
pub const VERSION: u8 = 1;

/// A neighbour's own small number for a rendition it joined; valid from its `joined` to its `left`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub u8);

/// What one peer tells another. Offsets and lengths are bytes within a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The first message in each direction.
    Hello {
        /// [`VERSION`] of the sender.
        version: u8,
        /// Bits of optional features; none are defined yet.
        features: u32,
        /// Whether the sender may be asked for pieces at all.
        uploads: bool,
    },
    /// The sender watches this rendition now and calls it `slot`.
    Joined {
        /// The sender's number for it.
        slot: Slot,
        /// The rendition.
        swarm: SwarmId,
    },
    /// The sender no longer watches it; all it announced in it is gone.
    Left {
        /// The sender's number for it.
        slot: Slot,
    },
    /// The sender wants to hear of segments with these sequence numbers, both ends included; until it says so, of none.
    Window {
        /// The sender's number for the rendition.
        slot: Slot,
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// The sender holds these pieces (deltas: only what the receiver was not told yet), or has begun to load the
    /// segment (`loading`), from the origin or from peers.
    Have {
        /// The rendition, by the sender's number.
        slot: Slot,
        /// The segment.
        segment: SegmentId,
        /// Its media sequence number: how the receiver places a segment its own manifest has not listed yet.
        sequence: u64,
        /// Its length in bytes; 0 while that is unknown, then `pieces` is empty. Implies the piece grid.
        length: u32,
        /// More pieces will follow without being asked for.
        loading: bool,
        /// Piece number and the hash of the piece, ascending.
        pieces: Vec<(u8, PieceHash)>,
    },
    /// The sender no longer holds any of the segment.
    Lost {
        /// The segment.
        segment: SegmentId,
    },
    /// Please send this piece.
    Request {
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
        /// How long the asker can still wait, in milliseconds.
        within_ms: u16,
    },
    /// Bytes of a requested piece; a piece larger than [`MAX_PART`](super::MAX_PART) comes in several, in order.
    Part {
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
        /// How long the whole piece is.
        length: u32,
        /// Where in the piece `bytes` begin.
        offset: u32,
        /// At most [`MAX_PART`](super::MAX_PART).
        bytes: Bytes,
    },
    /// The request is refused for now; ask somebody else.
    Busy {
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
        /// When asking again may work, in milliseconds; 0: this will not be served at all.
        retry_ms: u16,
    },
    /// The request is withdrawn.
    Cancel {
        /// The segment.
        segment: SegmentId,
        /// Which piece.
        piece: u8,
    },
    /// Answered with the same number and `reply` set; measures the round trip.
    Ping {
        /// The asker's number.
        nonce: u32,
        /// Whether this is the answer.
        reply: bool,
    },
    /// From here to the next `joined`: the sender gives nothing of this rendition. It follows the `joined`.
    Takes {
        /// The sender's number for it.
        slot: Slot,
    },
}

impl Message {
    /// How long the frame is, without making it.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        1 + match self {
            Self::Hello { .. } => 6,
            Self::Joined { .. } => 21,
            Self::Left { .. } | Self::Takes { .. } => 1,
            Self::Window { .. } => 17,
            Self::Have { pieces, .. } => 22 + 17 * pieces.len(),
            Self::Lost { .. } => 8,
            Self::Request { .. } | Self::Busy { .. } => 11,
            Self::Part { bytes, .. } => 17 + bytes.len(),
            Self::Cancel { .. } => 9,
            Self::Ping { .. } => 5,
        }
    }

    /// The frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut frame = BytesMut::with_capacity(self.encoded_len());
        self.encode_into(&mut frame);
        frame.freeze()
    }

    /// Appends the frame.
    pub fn encode_into(&self, frame: &mut BytesMut) {
        frame.put_u8(self.type_byte());
        match self {
            Self::Hello { version, features, uploads } => {
                frame.put_u8(*version);
                frame.put_u32_le(*features);
                frame.put_u8(u8::from(*uploads));
            }
            Self::Joined { slot, swarm } => {
                frame.put_u8(slot.0);
                frame.put_slice(&swarm.0);
            }
            Self::Left { slot } | Self::Takes { slot } => frame.put_u8(slot.0),
            Self::Window { slot, first, last } => {
                frame.put_u8(slot.0);
                frame.put_u64_le(*first);
                frame.put_u64_le(*last);
            }
            Self::Have { slot, segment, sequence, length, loading, pieces } => {
                frame.put_u8(slot.0);
                frame.put_u64_le(segment.0);
                frame.put_u64_le(*sequence);
                frame.put_u32_le(*length);
                frame.put_u8(u8::from(*loading));
                for (piece, hash) in pieces {
                    frame.put_u8(*piece);
                    frame.put_slice(&hash.0);
                }
            }
            Self::Lost { segment } => frame.put_u64_le(segment.0),
            Self::Request { segment, piece, within_ms: ms } | Self::Busy { segment, piece, retry_ms: ms } => {
                frame.put_u64_le(segment.0);
                frame.put_u8(*piece);
                frame.put_u16_le(*ms);
            }
            Self::Part { segment, piece, length, offset, bytes } => {
                frame.put_u64_le(segment.0);
                frame.put_u8(*piece);
                frame.put_u32_le(*length);
                frame.put_u32_le(*offset);
                frame.put_slice(bytes);
            }
            Self::Cancel { segment, piece } => {
                frame.put_u64_le(segment.0);
                frame.put_u8(*piece);
            }
            Self::Ping { nonce, reply } => {
                frame.put_u32_le(*nonce);
                frame.put_u8(u8::from(*reply));
            }
        }
    }

    fn type_byte(&self) -> u8 {
        match self {
            Self::Hello { .. } => 0,
            Self::Joined { .. } => 1,
            Self::Left { .. } => 2,
            Self::Window { .. } => 3,
            Self::Have { .. } => 4,
            Self::Lost { .. } => 5,
            Self::Request { .. } => 6,
            Self::Part { .. } => 7,
            Self::Busy { .. } => 8,
            Self::Cancel { .. } => 9,
            Self::Ping { .. } => 10,
            Self::Takes { .. } => 11,
        }
    }

    /// Reads a frame; `None` for a type of a later version. A part's bytes stay where they are.
    ///
    /// # Errors
    /// When the frame is not what this protocol allows; the connection it came by is to be closed.
    pub fn decode(frame: Bytes) -> Result<Option<Self>, Malformed> {
        let length = frame.len();
        if length > MAX_MESSAGE {
            return Err(Malformed::Oversized { length });
        }
        let mut fields = Fields { rest: frame, length };
        let message = match fields.u8()? {
            0 => Self::Hello { version: fields.u8()?, features: fields.u32()?, uploads: fields.flag()? },
            1 => Self::Joined { slot: Slot(fields.u8()?), swarm: SwarmId(fields.array()?) },
            2 => Self::Left { slot: Slot(fields.u8()?) },
            3 => Self::Window { slot: Slot(fields.u8()?), first: fields.u64()?, last: fields.u64()? },
            4 => fields.have()?,
            5 => Self::Lost { segment: SegmentId(fields.u64()?) },
            6 => Self::Request {
                segment: SegmentId(fields.u64()?),
                piece: fields.piece()?,
                within_ms: fields.u16()?,
            },
            7 => fields.part()?,
            8 => Self::Busy {
                segment: SegmentId(fields.u64()?),
                piece: fields.piece()?,
                retry_ms: fields.u16()?,
            },
            9 => Self::Cancel { segment: SegmentId(fields.u64()?), piece: fields.piece()? },
            10 => Self::Ping { nonce: fields.u32()?, reply: fields.flag()? },
            11 => Self::Takes { slot: Slot(fields.u8()?) },
            _ => return Ok(None),
        };
        match fields.rest.len() {
            0 => Ok(Some(message)),
            extra => Err(Malformed::Trailing { extra }),
        }
    }
}

/// A frame that is being read.
struct Fields {
    rest: Bytes,
    length: usize,
}

impl Fields {
    fn need(&self, bytes: usize) -> Result<(), Malformed> {
        if self.rest.len() < bytes { Err(Malformed::Truncated { at: self.length }) } else { Ok(()) }
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.need(1)?;
        Ok(self.rest.get_u8())
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.need(2)?;
        Ok(self.rest.get_u16_le())
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.need(4)?;
        Ok(self.rest.get_u32_le())
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.need(8)?;
        Ok(self.rest.get_u64_le())
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(Malformed::Flag { value }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.need(N)?;
        let mut array = [0; N];
        self.rest.copy_to_slice(&mut array);
        Ok(array)
    }

    fn piece(&mut self) -> Result<u8, Malformed> {
        let piece = self.u8()?;
        if u32::from(piece) < PieceGrid::MAX_PIECES {
            Ok(piece)
        } else {
            Err(Malformed::NoSuchPiece { piece })
        }
    }

    fn have(&mut self) -> Result<Message, Malformed> {
        let slot = Slot(self.u8()?);
        let segment = SegmentId(self.u64()?);
        let (sequence, length, loading) = (self.u64()?, self.u32()?, self.flag()?);
        let pieces = match length {
            0 => 0,
            _ => PieceGrid::for_length(u64::from(length)).ok_or(Malformed::Length { length })?.pieces(),
        };
        if self.rest.len() > 17 * usize::from(pieces) {
            return Err(Malformed::Trailing { extra: self.rest.len() - 17 * usize::from(pieces) });
        }
        let mut list: Vec<(u8, PieceHash)> = Vec::with_capacity(self.rest.len() / 17);
        while !self.rest.is_empty() {
            let piece = self.u8()?;
            if piece >= pieces || list.last().is_some_and(|(last, _)| *last >= piece) {
                return Err(Malformed::NoSuchPiece { piece });
            }
            list.push((piece, PieceHash(self.array()?)));
        }
        Ok(Message::Have { slot, segment, sequence, length, loading, pieces: list })
    }

    fn part(&mut self) -> Result<Message, Malformed> {
        let segment = SegmentId(self.u64()?);
        let (piece, length, offset) = (self.piece()?, self.u32()?, self.u32()?);
        let bytes = std::mem::take(&mut self.rest);
        let (part, longest) = (bytes.len(), 1usize << PieceGrid::MAX_SHIFT);
        let fits = (offset as usize).saturating_add(part) <= length as usize && length as usize <= longest;
        if part == 0 || part > MAX_PART || !fits {
            return Err(Malformed::Part { offset, length: part });
        }
        Ok(Message::Part { segment, piece, length, offset, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message() -> impl Strategy<Value = Message> {
        let segment = || any::<u64>().prop_map(SegmentId);
        let slot = || any::<u8>().prop_map(Slot);
        let have = (slot(), segment(), any::<u64>(), 0..=PieceGrid::MAX_LENGTH, any::<bool>(), any::<u64>())
            .prop_map(|(slot, segment, sequence, length, loading, bits)| {
                let pieces = PieceGrid::for_length(u64::from(length)).map_or(0, PieceGrid::pieces);
                let pieces =
                    (0..pieces).filter(|p| bits & 1 << p != 0).map(|p| (p, PieceHash([p; 16]))).collect();
                Message::Have { slot, segment, sequence, length, loading, pieces }
            });
        let part = (segment(), 0u8..64, 0u32..900_000, proptest::collection::vec(any::<u8>(), 1..2000))
            .prop_map(|(segment, piece, offset, bytes)| {
                let length = offset + bytes.len() as u32 + u32::from(piece);
                Message::Part { segment, piece, length, offset, bytes: bytes.into() }
            });
        prop_oneof![
            (any::<u8>(), any::<u32>(), any::<bool>())
                .prop_map(|(version, features, uploads)| Message::Hello { version, features, uploads }),
            (slot(), any::<[u8; 20]>()).prop_map(|(slot, id)| Message::Joined { slot, swarm: SwarmId(id) }),
            slot().prop_map(|slot| Message::Left { slot }),
            (slot(), any::<u64>(), any::<u64>()).prop_map(|(slot, first, last)| Message::Window {
                slot,
                first,
                last
            }),
            have,
            segment().prop_map(|segment| Message::Lost { segment }),
            (segment(), 0u8..64, any::<u16>()).prop_map(|(segment, piece, within_ms)| Message::Request {
                segment,
                piece,
                within_ms
            }),
            part,
            (segment(), 0u8..64, any::<u16>()).prop_map(|(segment, piece, retry_ms)| Message::Busy {
                segment,
                piece,
                retry_ms
            }),
            (segment(), 0u8..64).prop_map(|(segment, piece)| Message::Cancel { segment, piece }),
            (any::<u32>(), any::<bool>()).prop_map(|(nonce, reply)| Message::Ping { nonce, reply }),
            slot().prop_map(|slot| Message::Takes { slot }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(message in message()) {
            let frame = message.encode();
            prop_assert_eq!(frame.len(), message.encoded_len());
            prop_assert_eq!(Message::decode(frame), Ok(Some(message)));
        }

        #[test]
        fn a_frame_cut_short_is_never_the_same_message(message in message(), cut in 0usize..60) {
            let frame = message.encode();
            let short = frame.slice(..cut.min(frame.len() - 1));
            prop_assert_ne!(Message::decode(short), Ok(Some(message)));
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_read_but_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some(message)) = Message::decode(bytes.clone().into()) {
                prop_assert_eq!(message.encode(), Bytes::from(bytes));
            }
        }
    }

    #[test]
    fn what_the_protocol_does_not_allow_is_named() {
        let have = |length: u32, pieces: &[u8]| {
            let pieces = pieces.iter().map(|&p| (p, PieceHash([0; 16]))).collect();
            let (slot, segment) = (Slot(0), SegmentId(1));
            Message::Have { slot, segment, sequence: 1, length, loading: false, pieces }.encode()
        };
        let part = |offset: u32, length: usize| {
            Message::Part {
                segment: SegmentId(1),
                piece: 0,
                length: 1 << 20,
                offset,
                bytes: vec![0; length].into(),
            }
            .encode()
        };
        for (frame, expected) in [
            (Bytes::new(), Malformed::Truncated { at: 0 }),
            (vec![0; MAX_MESSAGE + 1].into(), Malformed::Oversized { length: MAX_MESSAGE + 1 }),
            (vec![10, 0, 0, 0, 0, 7].into(), Malformed::Flag { value: 7 }),
            (vec![2, 0, 0].into(), Malformed::Trailing { extra: 1 }),
            (vec![9, 0, 0, 0, 0, 0, 0, 0, 0, 64].into(), Malformed::NoSuchPiece { piece: 64 }),
            (have(u32::MAX, &[]), Malformed::Length { length: u32::MAX }),
            (have(40_000, &[1, 1]), Malformed::NoSuchPiece { piece: 1 }),
            (have(40_000, &[3]), Malformed::NoSuchPiece { piece: 3 }),
            (have(0, &[0]), Malformed::Trailing { extra: 17 }),
            (part(0, 0), Malformed::Part { offset: 0, length: 0 }),
            (part(0, MAX_PART + 1), Malformed::Part { offset: 0, length: MAX_PART + 1 }),
            (part(1 << 20, 1), Malformed::Part { offset: 1 << 20, length: 1 }),
        ] {
            assert_eq!(Message::decode(frame), Err(expected));
        }
        assert_eq!(Message::decode(vec![200, 1, 2].into()), Ok(None), "a later version's type");
    }
}
