//! The segment index of a fragmented MP4 file (ISO/IEC 14496-12 §8.16.3): which bytes are which subsegment.

use std::ops::Range;
use std::time::Duration;

/// One subsegment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subsegment {
    /// Its bytes in the file.
    pub range: Range<u64>,
    /// How long it plays.
    pub duration: Duration,
}

/// The subsegments that the `sidx` box in `bytes`, which begin at offset `at` of the file, tells of.
///
/// `None` when there is no whole box there, or one that refers to other indexes instead of media.
#[must_use]
pub fn subsegments(bytes: &[u8], at: u64, most: usize) -> Option<Vec<Subsegment>> {
    let mut offset = 0usize;
    loop {
        let size = u64::from(be32(bytes, offset)?);
        let kind = bytes.get(offset + 4..offset + 8)?;
        let (size, header) = match size {
            1 => (u64::from(be32(bytes, offset + 8)?) << 32 | u64::from(be32(bytes, offset + 12)?), 16),
            0 => ((bytes.len() - offset) as u64, 8),
            size => (size, 8),
        };
        if size < header {
            return None;
        }
        let end = usize::try_from(size).ok().and_then(|size| offset.checked_add(size))?;
        if kind == b"sidx" {
            let body = bytes.get(offset + header as usize..end)?;
            return read(body, at.checked_add(end as u64)?, most);
        }
        if end >= bytes.len() {
            return None;
        }
        offset = end;
    }
}

/// The body of the box; `anchor` is the first byte after it.
fn read(body: &[u8], anchor: u64, most: usize) -> Option<Vec<Subsegment>> {
    let version = *body.first()?;
    let timescale = u64::from(be32(body, 8)?).max(1);
    let (first_offset, at) = match version {
        0 => (u64::from(be32(body, 16)?), 20),
        _ => (u64::from(be32(body, 20)?) << 32 | u64::from(be32(body, 24)?), 28),
    };
    let count = usize::from(u16::from_be_bytes(body.get(at + 2..at + 4)?.try_into().ok()?));
    if count == 0 || count > most {
        return None;
    }
    let mut start = anchor.checked_add(first_offset)?;
    let mut found = Vec::with_capacity(count);
    for index in 0..count {
        let entry = at + 4 + index * 12;
        let (reference, duration) = (be32(body, entry)?, u64::from(be32(body, entry + 4)?));
        let size = u64::from(reference & 0x7FFF_FFFF);
        if reference >> 31 == 1 || size == 0 {
            return None;
        }
        let end = start.checked_add(size)?;
        let duration = Duration::from_micros(duration * 1_000_000 / timescale);
        found.push(Subsegment { range: start..end, duration });
        start = end;
    }
    Some(found)
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index(version: u8, sizes: &[u32]) -> Vec<u8> {
        let mut body = vec![version, 0, 0, 0];
        body.extend(1u32.to_be_bytes());
        body.extend(1000u32.to_be_bytes());
        if version == 0 {
            body.extend([0u8; 4]);
            body.extend(5u32.to_be_bytes());
        } else {
            body.extend([0u8; 8]);
            body.extend(5u64.to_be_bytes());
        }
        body.extend([0, 0]);
        body.extend((sizes.len() as u16).to_be_bytes());
        for size in sizes {
            body.extend(size.to_be_bytes());
            body.extend(4000u32.to_be_bytes());
            body.extend(0x9000_0000u32.to_be_bytes());
        }
        let mut file = b"\0\0\0\x0cfree----".to_vec();
        file.extend((body.len() as u32 + 8).to_be_bytes());
        file.extend(b"sidx");
        file.extend(body);
        file
    }

    #[test]
    fn subsegments_follow_each_other() {
        for version in [0, 1] {
            let file = index(version, &[100, 200]);
            let begins = 1000 + file.len() as u64 + 5;
            let found = subsegments(&file, 1000, 10).unwrap();
            let ranges: Vec<_> = found.iter().map(|s| s.range.clone()).collect();
            assert_eq!(ranges, [begins..begins + 100, begins + 100..begins + 300]);
            assert_eq!(found[0].duration, Duration::from_secs(4));
            assert_eq!(subsegments(&file[..file.len() - 1], 0, 10), None, "cut short");
            assert_eq!(subsegments(&file, 0, 1), None, "too many");
        }
        assert_eq!(subsegments(&index(0, &[1 << 31 | 5]), 0, 10), None, "an index of indexes");
        assert_eq!(subsegments(b"", 0, 10), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at: u64) {
            let _ = subsegments(&bytes, at, 100);
            let mut file = index(bytes.first().copied().unwrap_or(0), &[1, 2, 3]);
            for (place, byte) in file.iter_mut().skip(20).zip(bytes) {
                *place ^= byte;
            }
            let _ = subsegments(&file, at, 100);
        }
    }
}
