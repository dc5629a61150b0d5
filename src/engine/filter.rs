//! Which datagrams reach the WebRTC stack.
//!
//! The stack reassembles handshake fragments recursively and takes DTLS from any address: without this, 780 kB from a
//! stranger overflow its stack and abort the process. So DTLS is only let through from addresses that we have sent
//! something to ourselves (which ICE does only after its checks), and a connection has a budget of plaintext handshake
//! records for its whole life and of bytes until its data channel is open.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type)]

use std::net::SocketAddr;

/// Addresses one connection talks to: candidates, what they turn out to be behind NATs, STUN and TURN servers.
const ADDRESSES: usize = 64;
/// Plaintext handshake records in the life of a connection; a handshake with retransmissions takes about 20.
const HANDSHAKE_RECORDS: u32 = 128;
/// Bytes of DTLS before the data channel is open; what comes early is queued without limit behind us.
const EARLY_BYTES: usize = 256 * 1024;
/// A fragment shorter than this is only let through as the last of its message; no MTU makes such small ones.
const SMALLEST_FRAGMENT: u32 = 64;
/// Once the channel is open: datagrams between two messages of ours that made sense. More is a flood.
const DATAGRAMS_PER_MESSAGE: u32 = 4096;

/// The longest encrypted handshake record: it holds `finished`, of 12 bytes, and what encryption adds.
const FINISHED: usize = 160;

const RECORD_HEADER: usize = 13;
const HANDSHAKE_HEADER: usize = 12;
const HANDSHAKE: u8 = 22;

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// DTLS from an address that is not part of the connection.
    Stranger,
    /// More plaintext handshake records than any handshake needs.
    Handshakes,
    /// A handshake fragment that no honest stack sends.
    Fragment,
    /// Too much before the channel is open.
    Early,
    /// Far more datagrams than messages.
    Flood,
}

/// The filter of one connection.
#[derive(Debug, Default)]
pub struct Filter {
    talked_to: Vec<SocketAddr>,
    handshake_records: u32,
    early_bytes: usize,
    open: bool,
    since_message: u32,
    dropped: u64,
    off: bool,
}

impl Filter {
    /// A filter that lets everything through; only a test of what happens then may want it.
    #[doc(hidden)]
    #[must_use]
    pub fn off() -> Self {
        Self { off: true, ..Self::default() }
    }

    /// We send something to this address.
    pub fn sends_to(&mut self, address: SocketAddr) {
        if self.talked_to.len() < ADDRESSES && !self.talked_to.contains(&address) {
            self.talked_to.push(address);
        }
    }

    /// The data channel is open: nothing is early any more.
    pub fn opened(&mut self) {
        self.open = true;
    }

    /// A message came that made sense.
    pub fn message(&mut self) {
        self.since_message = 0;
    }

    /// Datagrams dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether far more datagrams came than messages: the peer keeps us busy for nothing.
    #[must_use]
    pub fn flooded(&self) -> bool {
        self.since_message > DATAGRAMS_PER_MESSAGE
    }

    /// Whether a datagram may pass; to be asked once for each.
    ///
    /// # Errors
    /// Why it may not.
    pub fn pass(&mut self, from: SocketAddr, datagram: &[u8]) -> Result<(), Dropped> {
        if self.off {
            return Ok(());
        }
        let verdict = self.judge(from, datagram);
        self.dropped += u64::from(verdict.is_err());
        verdict
    }

    fn judge(&mut self, from: SocketAddr, datagram: &[u8]) -> Result<(), Dropped> {
        // RFC 7983 §7: the first byte tells DTLS from STUN and TURN.
        if !matches!(datagram.first(), Some(20..=63)) {
            return Ok(());
        }
        if !self.talked_to.contains(&from) {
            return Err(Dropped::Stranger);
        }
        if !self.open {
            self.early_bytes += datagram.len();
            if self.early_bytes > EARLY_BYTES {
                return Err(Dropped::Early);
            }
        } else {
            self.since_message = self.since_message.saturating_add(1);
            if self.since_message > DATAGRAMS_PER_MESSAGE * 2 {
                return Err(Dropped::Flood);
            }
        }
        self.records(datagram)
    }

    /// Looks at the handshake records (RFC 6347 §4.1, §4.2.2).
    fn records(&mut self, mut rest: &[u8]) -> Result<(), Dropped> {
        while rest.len() >= RECORD_HEADER {
            let (kind, epoch) = (rest[0], u16::from_be_bytes([rest[3], rest[4]]));
            let length = usize::from(u16::from_be_bytes([rest[11], rest[12]]));
            let end = (RECORD_HEADER + length).min(rest.len());
            if kind == HANDSHAKE && epoch == 0 {
                self.fragments(&rest[RECORD_HEADER..end])?;
            } else if kind == HANDSHAKE {
                self.count()?;
                if length > FINISHED {
                    return Err(Dropped::Fragment);
                }
            }
            rest = &rest[end..];
        }
        Ok(())
    }

    /// The fragments in one record, cut as the stack behind us cuts them: by the length of the whole message.
    fn fragments(&mut self, mut body: &[u8]) -> Result<(), Dropped> {
        while !body.is_empty() {
            self.count()?;
            let whole = fragment(body)?;
            let end = HANDSHAKE_HEADER.saturating_add(whole as usize).min(body.len());
            body = &body[end..];
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), Dropped> {
        self.handshake_records += 1;
        if self.handshake_records > HANDSHAKE_RECORDS { Err(Dropped::Handshakes) } else { Ok(()) }
    }
}

/// A handshake fragment is either of a fair size or the last of its message; the length of which is the answer.
fn fragment(body: &[u8]) -> Result<u32, Dropped> {
    let Some(header) = body.get(..HANDSHAKE_HEADER) else { return Err(Dropped::Fragment) };
    let three = |at: usize| u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]]);
    let (whole, offset, length) = (three(1), three(6), three(9));
    let last = offset.saturating_add(length) == whole;
    if offset.saturating_add(length) > whole || (length < SMALLEST_FRAGMENT && !last) {
        return Err(Dropped::Fragment);
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer() -> SocketAddr {
        "192.0.2.7:5000".parse().unwrap()
    }

    /// A plaintext handshake record with one fragment.
    fn record(whole: u32, offset: u32, length: u32) -> Vec<u8> {
        let mut record = vec![HANDSHAKE, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 1];
        record.extend((HANDSHAKE_HEADER as u16 + length as u16).to_be_bytes());
        record.push(1);
        record.extend(&whole.to_be_bytes()[1..]);
        record.extend([0, 0]);
        record.extend(&offset.to_be_bytes()[1..]);
        record.extend(&length.to_be_bytes()[1..]);
        record.extend(vec![0; length as usize]);
        record
    }

    fn friend() -> Filter {
        let mut filter = Filter::default();
        filter.sends_to(peer());
        filter
    }

    #[test]
    fn strangers_may_only_knock() {
        let mut filter = friend();
        let stranger = "192.0.2.8:5000".parse().unwrap();
        assert_eq!(filter.pass(stranger, &[0, 1, 0, 0]), Ok(()), "STUN is checked by ICE itself");
        assert_eq!(filter.pass(stranger, &record(100, 0, 100)), Err(Dropped::Stranger));
        assert_eq!(filter.pass(peer(), &record(100, 0, 100)), Ok(()));
        assert_eq!(filter.dropped(), 1);
    }

    #[test]
    fn handshakes_are_numbered_and_fragments_are_of_a_fair_size() {
        let mut filter = friend();
        assert_eq!(filter.pass(peer(), &record(1000, 0, 1)), Err(Dropped::Fragment));
        assert_eq!(filter.pass(peer(), &record(1000, 5, 0)), Err(Dropped::Fragment));
        assert_eq!(filter.pass(peer(), &record(1000, 990, 20)), Err(Dropped::Fragment));
        assert_eq!(filter.pass(peer(), &record(1000, 999, 1)), Ok(()), "the last may be short");
        assert_eq!(filter.pass(peer(), &record(0, 0, 0)), Ok(()), "an empty message is whole");
        let passed = (0..1000).filter(|_| filter.pass(peer(), &record(500, 0, 500)).is_ok()).count();
        assert!(passed < HANDSHAKE_RECORDS as usize, "{passed}");
    }

    #[test]
    fn many_fragments_in_one_record_are_many() {
        let mut filter = friend();
        // The stack cuts a record by the messages' lengths: each of these would be a fragment of one byte.
        let mut many = record(1, 0, 1);
        for offset in 0..1000u32 {
            many.extend(record(1, 0, 1)[RECORD_HEADER..].iter().copied());
            let at = many.len() - 1 - 6;
            many[at..at + 3].copy_from_slice(&offset.to_be_bytes()[1..]);
        }
        let length = (many.len() - RECORD_HEADER) as u16;
        many[11..13].copy_from_slice(&length.to_be_bytes());
        assert!(filter.pass(peer(), &many).is_err());
        let mut filter = friend();
        let two = [record(100, 0, 100), record(200, 0, 200)[RECORD_HEADER..].to_vec()].concat();
        let mut two = two;
        two[11..13].copy_from_slice(&(112u16 + 212).to_be_bytes());
        assert_eq!(filter.pass(peer(), &two), Ok(()), "whole messages may share a record");
    }

    #[test]
    fn an_encrypted_handshake_is_short_and_rare() {
        let mut filter = friend();
        filter.opened();
        let encrypted = |length: u32| {
            let mut record = record(length, 0, length);
            record[4] = 1;
            record
        };
        assert_eq!(filter.pass(peer(), &encrypted(40)), Ok(()));
        assert_eq!(filter.pass(peer(), &encrypted(500)), Err(Dropped::Fragment));
        let passed = (0..1000).filter(|_| filter.pass(peer(), &encrypted(40)).is_ok()).count();
        assert!(passed < HANDSHAKE_RECORDS as usize, "{passed}");
    }

    #[test]
    fn little_is_kept_before_the_channel_is_open() {
        let mut filter = friend();
        let data = [vec![23, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 9, 4, 0], vec![0; 1024]].concat();
        let passed = (0..1000).filter(|_| filter.pass(peer(), &data).is_ok()).count();
        assert!(passed * data.len() <= EARLY_BYTES, "{passed}");
        filter.opened();
        assert_eq!(filter.pass(peer(), &data), Ok(()));
        for _ in 0..DATAGRAMS_PER_MESSAGE {
            let _ = filter.pass(peer(), &data);
        }
        assert!(filter.flooded());
        filter.message();
        assert!(!filter.flooded());
    }

    proptest! {
        #[test]
        fn no_datagram_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut filter = friend();
            let _ = filter.pass(peer(), &bytes);
            let _ = fragment(&bytes);
        }
    }
}
