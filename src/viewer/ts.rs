//! MPEG transport stream (ISO/IEC 13818-1): one video stream, in packets of 188 bytes.
//!
//! Every picture takes the same number of packets, so that a segment can be made without the ones before it and the
//! continuity counters still go on.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use super::picture;

const PACKET: usize = 188;
const PMT: u16 = 0x1000;
const VIDEO: u16 = 0x100;
/// Packets of a picture: its bytes, a start, and room for what emulation prevention adds.
const PACKETS: usize = picture::BYTES / 184 + 6;
/// The clock does not begin at zero: players meet streams in the middle of their life.
const FIRST_TIMESTAMP: u64 = 900_000;

/// One segment of the channel, the same whenever it is made.
#[must_use]
pub fn segment(number: u64, frames: u64, frames_per_second: u32, seed: u64) -> Vec<u8> {
    let mut state = seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut noise = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 27)
    };
    let mut bytes = Vec::with_capacity((frames as usize * PACKETS + 2) * PACKET);
    bytes.extend(table(
        0,
        number,
        &[0, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0, 1, 0xE0 | (PMT >> 8) as u8, PMT as u8],
    ));
    let video = [0x1B, 0xE0 | (VIDEO >> 8) as u8, VIDEO as u8, 0xF0, 0];
    let mut map = vec![2, 0xB0, 18, 0, 1, 0xC1, 0, 0, 0xE0 | (VIDEO >> 8) as u8, VIDEO as u8, 0xF0, 0];
    map.extend(video);
    bytes.extend(table(PMT, number, &map));
    for index in 0..frames {
        let frame = number * frames + index;
        let unit = picture::access_unit(number, frame, frames_per_second, &mut noise);
        let timestamp = FIRST_TIMESTAMP + frame * 90_000 / u64::from(frames_per_second);
        packets(&mut bytes, frame, timestamp, &unit);
    }
    bytes
}

/// A program table in one packet.
fn table(pid: u16, number: u64, section: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x47, 0x40 | (pid >> 8) as u8, pid as u8, 0x10 | (number % 16) as u8, 0];
    packet.extend(section);
    packet.extend(checksum(section).to_be_bytes());
    packet.resize(PACKET, 0xFF);
    packet
}

/// The CRC of program tables (Annex A).
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            if crc & 0x8000_0000 == 0 { crc << 1 } else { crc << 1 ^ 0x04C1_1DB7 }
        })
    })
}

/// A picture as a packetised elementary stream over [`PACKETS`] packets.
fn packets(bytes: &mut Vec<u8>, frame: u64, timestamp: u64, unit: &[u8]) {
    let mut stream = vec![0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 5];
    let shifted = |bits: u64| ((timestamp >> bits & 0x7F) as u8) << 1 | 1;
    stream.push(0x21 | ((timestamp >> 30 & 7) as u8) << 1);
    stream.extend([(timestamp >> 22) as u8, shifted(15), (timestamp >> 7) as u8, shifted(0)]);
    stream.extend(unit);
    let mut rest = stream.as_slice();
    for index in 0..PACKETS {
        let first = index == 0;
        // The clock is told with every picture, a tenth of a second before it is due.
        let clock = timestamp - 9_000;
        let mut adaptation = Vec::new();
        if first {
            adaptation.push(0x50);
            adaptation.extend([
                (clock >> 25) as u8,
                (clock >> 17) as u8,
                (clock >> 9) as u8,
                (clock >> 1) as u8,
            ]);
            adaptation.extend([((clock & 1) as u8) << 7 | 0x7E, 0]);
        }
        let room = PACKET - 4 - if first { adaptation.len() + 1 } else { 0 };
        let take = rest
            .len()
            .div_ceil(PACKETS - index)
            .min(room)
            .max(rest.len().saturating_sub((PACKETS - index - 1) * 184));
        let (payload, after) = rest.split_at(take.min(rest.len()));
        rest = after;
        let stuffing = PACKET - 4 - payload.len();
        let control = if stuffing > 0 { 0x30 } else { 0x10 };
        let counter = ((frame * PACKETS as u64 + index as u64) % 16) as u8;
        bytes.extend([0x47, u8::from(first) << 6 | (VIDEO >> 8) as u8, VIDEO as u8, control | counter]);
        if stuffing > 0 {
            bytes.push((stuffing - 1) as u8);
            if stuffing > 1 {
                if adaptation.is_empty() {
                    adaptation.push(0);
                }
                adaptation.resize(stuffing - 1, 0xFF);
                bytes.extend(adaptation);
            }
        }
        bytes.extend(payload);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    /// What a demultiplexer sees of a stream.
    #[derive(Default)]
    struct Seen {
        counters: BTreeMap<u16, u8>,
        /// Program clock and what the video stream carries after it, per picture.
        pictures: Vec<(u64, Vec<u8>)>,
        tables: u64,
    }

    impl Seen {
        fn read(&mut self, bytes: &[u8]) {
            for packet in bytes.chunks(PACKET) {
                assert_eq!((packet.len(), packet[0]), (PACKET, 0x47));
                let pid = u16::from(packet[1] & 0x1F) << 8 | u16::from(packet[2]);
                let counter = packet[3] & 0xF;
                if let Some(before) = self.counters.insert(pid, counter) {
                    assert_eq!(counter, (before + 1) % 16, "continuity of {pid}");
                }
                assert_ne!(packet[3] & 0x10, 0, "each carries something");
                let adaptation = if packet[3] & 0x20 == 0 { 0 } else { usize::from(packet[4]) + 1 };
                let payload = &packet[4 + adaptation..];
                if pid == VIDEO {
                    if packet[1] & 0x40 != 0 {
                        assert_eq!(packet[5], 0x50, "a clock, and players may begin here");
                        let base =
                            packet[6..11].iter().fold(0, |base, byte| base << 8 | u64::from(*byte)) >> 7;
                        self.pictures.push((base, Vec::new()));
                    }
                    self.pictures.last_mut().unwrap().1.extend(payload);
                } else {
                    let length = usize::from(payload[2] & 0xF) << 8 | usize::from(payload[3]);
                    assert_eq!(checksum(&payload[1..length + 4]), 0, "the CRC is right");
                    self.tables += 1;
                }
            }
        }
    }

    fn timestamp(stream: &[u8]) -> u64 {
        let part = |index: usize| u64::from(stream[index]);
        (part(9) >> 1 & 7) << 30 | part(10) << 22 | (part(11) >> 1) << 15 | part(12) << 7 | part(13) >> 1
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// Segments made one without another make one stream, beyond the 26 hours after which its clock wraps too.
        #[test]
        fn segments_go_on_where_the_one_before_ended(
            first in 0u64..50_000, rate in 1u32..12, seconds in 1u64..3, seed: u64,
        ) {
            let frames = u64::from(rate) * seconds;
            let mut seen = Seen::default();
            (first..first + 3).for_each(|number| seen.read(&segment(number, frames, rate, seed)));
            prop_assert_eq!(seen.tables, 6, "both tables in each segment");
            prop_assert_eq!(seen.pictures.len() as u64, frames * 3);
            for (index, (clock, stream)) in seen.pictures.iter().enumerate() {
                prop_assert_eq!(&stream[..9], &[0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 5]);
                let frame = first * frames + index as u64;
                let due = FIRST_TIMESTAMP + frame * 90_000 / u64::from(rate);
                prop_assert_eq!(timestamp(stream), due % (1 << 33));
                prop_assert_eq!(*clock, (due - 9_000) % (1 << 33));
                prop_assert_eq!(&stream[14..20], &[0, 0, 0, 1, 9, 0xF0], "then the picture, from its delimiter on");
                prop_assert!(stream.len() > picture::BYTES * 99 / 100);
                prop_assert_eq!(stream.last(), Some(&0x80), "to the bit that ends its slice");
            }
        }
    }
}
