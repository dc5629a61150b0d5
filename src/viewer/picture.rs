//! Pictures of the synthetic channel: H.264 (ITU-T H.264, clause 7.3) in its plainest form.
//!
//! Every picture is an IDR picture of uncompressed (I_PCM) macroblocks, so that no encoder is needed and any player can
//! start anywhere. It shows the segment's number, a bar that moves, and noise that makes each segment unlike any other.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

/// Macroblocks across.
const ACROSS: usize = 10;
/// Macroblocks down.
const DOWN: usize = 6;
/// Samples across.
const WIDTH: usize = ACROSS * 16;
/// Bytes of one macroblock: 16x16 luma and twice 8x8 chroma.
const MACROBLOCK: usize = 384;
/// About the bytes of one picture.
pub const BYTES: usize = ACROSS * DOWN * (MACROBLOCK + 3);

/// Digits, three samples wide and five high, a row in three bits.
const DIGITS: [u16; 10] = [
    0b111_101_101_101_111,
    0b010_110_010_010_111,
    0b111_001_111_100_111,
    0b111_001_111_001_111,
    0b101_101_111_001_001,
    0b111_100_111_001_111,
    0b111_100_111_101_111,
    0b111_001_010_010_010,
    0b111_101_111_101_111,
    0b111_101_111_001_111,
];
/// How many samples a digit's dot is wide and high.
const DOT: usize = 8;

/// An access unit: delimiter, parameter sets, one picture. `frame` counts from the beginning of the channel.
#[must_use]
pub fn access_unit(
    segment: u64,
    frame: u64,
    frames_per_second: u32,
    noise: &mut impl FnMut() -> u64,
) -> Vec<u8> {
    let mut unit = Vec::with_capacity(BYTES + 128);
    nal(&mut unit, 0x09, &[0xF0]);
    nal(&mut unit, 0x67, &sequence_parameters(frames_per_second));
    nal(&mut unit, 0x68, &picture_parameters());
    nal(&mut unit, 0x65, &slice(segment, frame, noise));
    unit
}

/// Appends a NAL unit with its start code; emulation of start codes is prevented (clause 7.4.1).
fn nal(unit: &mut Vec<u8>, header: u8, payload: &[u8]) {
    unit.extend([0, 0, 0, 1, header]);
    let mut zeros = 0;
    for &byte in payload {
        if zeros >= 2 && byte <= 3 {
            unit.push(3);
            zeros = 0;
        }
        unit.push(byte);
        zeros = if byte == 0 { zeros + 1 } else { 0 };
    }
}

/// Bits, the first one highest.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    free: u32,
}

impl Bits {
    fn put(&mut self, value: u32, bits: u32) {
        for bit in (0..bits).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << self.free;
            }
        }
    }

    /// Exponential-Golomb (clause 9.1).
    fn golomb(&mut self, value: u32) {
        let length = 32 - (value + 1).leading_zeros();
        self.put(0, length - 1);
        self.put(value + 1, length);
    }

    fn align(&mut self) {
        self.free = 0;
    }

    fn end(mut self) -> Vec<u8> {
        self.put(1, 1);
        self.bytes
    }
}

fn sequence_parameters(frames_per_second: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    // Constrained baseline, level 3.
    bits.put(66, 8);
    bits.put(0xC0, 8);
    bits.put(30, 8);
    // Id 0; frame numbers of 4 bits; output in decoding order; no references.
    for value in [0, 0, 2, 0] {
        bits.golomb(value);
    }
    bits.put(0, 1);
    bits.golomb(ACROSS as u32 - 1);
    bits.golomb(DOWN as u32 - 1);
    // Frames only, 8x8 inference, no cropping, and usability information: only the rate of pictures.
    bits.put(0b1101, 4);
    bits.put(0b0000, 4);
    bits.put(1, 1);
    bits.put(1, 32);
    bits.put(frames_per_second * 2, 32);
    bits.put(0b1_0000, 5);
    bits.end()
}

fn picture_parameters() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.golomb(0);
    bits.golomb(0);
    // CAVLC, no field order.
    bits.put(0b00, 2);
    for _ in 0..3 {
        bits.golomb(0);
    }
    // No weighted prediction; all quantiser offsets 0.
    bits.put(0b000, 3);
    for _ in 0..3 {
        bits.golomb(0);
    }
    bits.put(0b000, 3);
    bits.end()
}

fn slice(segment: u64, frame: u64, noise: &mut impl FnMut() -> u64) -> Vec<u8> {
    let mut bits = Bits::default();
    // From the first macroblock, an I slice, picture parameters 0, frame number 0.
    bits.golomb(0);
    bits.golomb(7);
    bits.golomb(0);
    bits.put(0, 4);
    // Neighbouring IDR pictures have different ids.
    bits.golomb((frame % 2) as u32);
    bits.put(0b00, 2);
    bits.golomb(0);
    for down in 0..DOWN {
        for across in 0..ACROSS {
            bits.golomb(25);
            bits.align();
            macroblock(&mut bits.bytes, (across, down), segment, frame, noise);
        }
    }
    bits.end()
}

fn macroblock(
    bytes: &mut Vec<u8>,
    (across, down): (usize, usize),
    segment: u64,
    frame: u64,
    noise: &mut impl FnMut() -> u64,
) {
    let bar = (frame as usize * 4) % WIDTH;
    for y in 0..16 {
        for half in 0..2 {
            let mut random = noise();
            for x in 0..8 {
                let (x, y) = (across * 16 + half * 8 + x, down * 16 + y);
                let light = if in_digit(x, y, segment) {
                    200
                } else if x.abs_diff(bar) < 4 {
                    140
                } else {
                    40 + (y as u8 / 2)
                };
                bytes.push(light + (random & 0x1F) as u8);
                random >>= 8;
            }
        }
    }
    // A hue for each segment, so that a switch is seen.
    let (blue, red) = (64 + (segment * 37 % 128) as u8, 64 + (segment * 91 % 128) as u8);
    bytes.extend([blue; 64]);
    bytes.extend([red; 64]);
}

/// Whether a sample is part of the segment's number, written in the middle.
fn in_digit(x: usize, y: usize, segment: u64) -> bool {
    let text = (segment % 100_000).to_string();
    let (left, top) = ((WIDTH - text.len() * 4 * DOT) / 2, (DOWN * 16 - 5 * DOT) / 2);
    if x < left || y < top {
        return false;
    }
    let (column, row) = ((x - left) / DOT, (y - top) / DOT);
    let (place, column) = (column / 4, column % 4);
    let digit = text.as_bytes().get(place).map(|digit| DIGITS[usize::from(digit - b'0')]);
    column < 3 && row < 5 && digit.is_some_and(|digit| digit >> (14 - row * 3 - column) & 1 == 1)
}
