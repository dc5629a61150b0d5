//! MPEG transport stream (ISO/IEC 13818-1): one video stream, in packets of 188 bytes.
//!
//! Every picture takes the same number of packets, so that a segment can be made without the ones before it and the
//! continuity counters still go on.

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
