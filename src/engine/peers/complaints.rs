//! What trackers complain of, so that none of them can fill the log: a text is told once in a connection, and few texts in
//! a time, over however many connections.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Texts of one tracker that are told in a time; what more it says is lost.
const TOLD: usize = 4;
/// Texts of one connection that are remembered; what was told before those is told again.
const REMEMBERED: usize = 16;

/// What each tracker has complained of; there are as many as are configured.
#[derive(Debug, Default)]
pub(super) struct Complaints(BTreeMap<usize, Told>);

#[derive(Debug, Default)]
struct Told {
    /// Of this connection, the oldest first.
    texts: Vec<String>,
    /// When something was told last, as often as may be.
    at: Vec<Instant>,
}

impl Complaints {
    /// A tracker is connected to anew: what it complained of before is news again.
    pub(super) fn connected(&mut self, tracker: usize) {
        if let Some(told) = self.0.get_mut(&tracker) {
            told.texts.clear();
        }
    }

    /// Whether a complaint is to be told, which it then is: [`TOLD`] of a tracker within `each` at most.
    pub(super) fn is_news(&mut self, tracker: usize, text: &str, now: Instant, each: Duration) -> bool {
        let told = self.0.entry(tracker).or_default();
        told.at.retain(|at| now.saturating_duration_since(*at) < each);
        if told.at.len() == TOLD || told.texts.iter().any(|known| known == text) {
            return false;
        }
        if told.texts.len() == REMEMBERED {
            told.texts.remove(0);
        }
        told.texts.push(text.to_owned());
        told.at.push(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Duration = Duration::from_secs(60);

    #[test]
    fn a_text_is_told_once_in_a_connection() {
        let (mut complaints, now) = (Complaints::default(), Instant::now());
        assert!(complaints.is_news(0, "full", now, EACH));
        assert!(!complaints.is_news(0, "full", now + EACH * 9, EACH));
        assert!(complaints.is_news(1, "full", now, EACH), "of another tracker");
        complaints.connected(0);
        assert!(complaints.is_news(0, "full", now + EACH * 9, EACH));
    }

    #[test]
    fn few_texts_are_told_in_a_minute_however_often_a_tracker_is_connected_to() {
        let (mut complaints, now) = (Complaints::default(), Instant::now());
        let mut told = 0;
        for second in 0..600 {
            let at = now + Duration::from_secs(second);
            complaints.connected(0);
            told +=
                (0..100).filter(|text| complaints.is_news(0, &format!("{second} {text}"), at, EACH)).count();
        }
        assert_eq!(told, 10 * TOLD);
        let kept = &complaints.0[&0];
        assert!(kept.texts.len() <= REMEMBERED && kept.at.len() <= TOLD);
    }
}
