//! What an open channel brings: messages, no more than the brain can be asked to think about, and pieces put together from
//! their parts.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use webrtc::data_channel::{DataChannel, DataChannelEvent};

use super::peer::{ASKED, Asked, Ended, Incoming};
use super::udp::{Shared, locked};
use crate::wire::digest::PieceHash;
use crate::wire::message::Message;

/// Pieces that may be half received.
const HALF_RECEIVED: usize = 4;

/// How much a peer may say: a message of a few bytes can cost the brain a look at everything it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// One message in this time …
    pub each: Duration,
    /// … and so many at once after a silence.
    pub at_once: u32,
}

/// Reads a channel to its end. Whoever says more than it may is read no further until it may again: what it sends stays in the
/// stack, and then with it. Counted is what the brain has to think about, of a kilobyte at most, so that little lies there
/// meanwhile; not pieces, of which only those come that were asked for, nor messages of later versions.
pub(super) async fn receive(
    channel: &dyn DataChannel,
    filter: &Shared,
    allowance: Allowance,
    incoming: &mpsc::Sender<Incoming>,
    mut asked: mpsc::Receiver<Asked>,
) -> Ended {
    let (mut assembly, mut meter) = (Assembly::default(), Meter::new(allowance, Instant::now()));
    loop {
        let Some(event) = channel.poll().await else { return Ended::Gone };
        let message = match event {
            DataChannelEvent::OnMessage(message) => message,
            DataChannelEvent::OnClose | DataChannelEvent::OnClosing => return Ended::Gone,
            _ => continue,
        };
        while let Ok(ask) = asked.try_recv() {
            assembly.expect(ask);
        }
        if message.is_string {
            return Ended::Misbehaved;
        }
        let arrived = match Message::decode(message.data.freeze()) {
            Ok(Some(Message::Part { segment, piece, length, offset, bytes })) => {
                match assembly.take((segment, piece), length, offset, bytes) {
                    Ok(Some(bytes)) => {
                        let hash = PieceHash::of([&bytes]);
                        Some(Incoming::Piece { segment, piece, bytes, hash })
                    }
                    Ok(None) => None,
                    Err(Unasked) => return Ended::Misbehaved,
                }
            }
            Ok(Some(message)) => Some(Incoming::Said(message)),
            Ok(None) => None,
            Err(_) => return Ended::Misbehaved,
        };
        {
            let mut filter = locked(filter);
            if filter.flooded() {
                return Ended::Misbehaved;
            }
            filter.message();
        }
        let counts = matches!(arrived, Some(Incoming::Said(_)));
        if let Some(arrived) = arrived
            && incoming.send(arrived).await.is_err()
        {
            return Ended::Gone;
        }
        if counts {
            let pause = meter.count(Instant::now());
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// What a peer has said, measured against its allowance.
struct Meter {
    allowance: Allowance,
    /// When all that was said would be due, at the pace that it may keep.
    due: Instant,
}

impl Meter {
    fn new(allowance: Allowance, now: Instant) -> Self {
        Self { allowance, due: now }
    }

    /// Counts a message; nothing more is to be read for so long.
    fn count(&mut self, now: Instant) -> Duration {
        self.due = self.due.max(now) + self.allowance.each;
        let ahead = self.due.saturating_duration_since(now);
        ahead.saturating_sub(self.allowance.each * self.allowance.at_once)
    }
}

/// A part of something that was never asked for, or that does not follow the part before it.
#[derive(Debug, PartialEq, Eq)]
struct Unasked;

/// Pieces that are half here, and those that may still come.
#[derive(Debug, Default)]
struct Assembly {
    asked: VecDeque<Asked>,
    half: HashMap<Asked, BytesMut>,
}

impl Assembly {
    fn expect(&mut self, ask: Asked) {
        if self.asked.len() == ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back(ask);
    }

    /// Takes a part; the whole piece when it was the last.
    fn take(&mut self, of: Asked, length: u32, offset: u32, bytes: Bytes) -> Result<Option<Bytes>, Unasked> {
        let Some(index) = self.asked.iter().position(|ask| *ask == of) else { return Err(Unasked) };
        if bytes.len() == length as usize {
            self.asked.remove(index);
            return Ok(Some(bytes));
        }
        if self.half.len() >= HALF_RECEIVED && !self.half.contains_key(&of) {
            return Err(Unasked);
        }
        let half = self.half.entry(of).or_default();
        if half.len() != offset as usize {
            return Err(Unasked);
        }
        half.extend_from_slice(&bytes);
        if half.len() < length as usize {
            return Ok(None);
        }
        self.asked.remove(index);
        Ok(self.half.remove(&of).map(BytesMut::freeze))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::peer::parts;
    use crate::model::ids::SegmentId;
    use crate::wire::MAX_PART;

    #[test]
    fn whoever_says_much_at_once_is_heard_and_then_at_its_pace() {
        let (began, each) = (Instant::now(), Duration::from_millis(2));
        let mut meter = Meter::new(Allowance { each, at_once: 2000 }, began);
        let mut now = began;
        let mut say = |messages: u32, now: &mut Instant| {
            for _ in 0..messages {
                *now += meter.count(*now);
            }
        };
        say(2000, &mut now);
        assert_eq!(now, began, "a burst");
        say(1000, &mut now);
        assert_eq!(now, began + each * 1000);
        now += each * 5000;
        let later = now;
        say(2000, &mut now);
        assert_eq!(now, later, "silence is counted up to a burst");
        say(1, &mut now);
        assert_eq!(now, later + each);
    }

    #[test]
    fn a_piece_is_cut_and_put_together_again() {
        let of = (SegmentId(1), 2);
        for length in [1usize, 100, MAX_PART - 1, MAX_PART, MAX_PART + 1, 65_536, MAX_PART * 2, 1 << 20] {
            let whole: Bytes = (0..length).map(|i| (i % 251) as u8).collect::<Vec<_>>().into();
            let third = length / 3;
            let chunks = [whole.slice(..third), whole.slice(third..third * 2), whole.slice(third * 2..)];
            let mut assembly = Assembly::default();
            assembly.expect(of);
            let mut got = None;
            for (offset, part) in parts(&chunks) {
                assert!(part.len() <= MAX_PART && got.is_none());
                got = assembly.take(of, length as u32, offset, part).unwrap();
            }
            assert_eq!(got, Some(whole));
            assert_eq!(assembly.take(of, 1, 0, Bytes::from_static(b"x")), Err(Unasked), "once only");
        }
    }

    #[test]
    fn what_was_not_asked_for_or_does_not_follow_is_refused() {
        let of = (SegmentId(1), 2);
        let full = Bytes::from(vec![0; MAX_PART]);
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(of, 100_000, 0, full.clone()), Err(Unasked));
        assembly.expect(of);
        assert_eq!(assembly.take(of, 100_000, 0, full.clone()), Ok(None));
        assert_eq!(assembly.take(of, 100_000, 7, full), Err(Unasked));
    }
}
