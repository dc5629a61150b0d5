//! What the origin has said twice is not there: players that ask for it again and again are told so from here.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use url::Url;

use super::cmcd;
use crate::engine::origin::ViewerKey;

/// Answers that are remembered; the oldest is forgotten and the origin asked again.
const REMEMBERED: usize = 1024;
/// A first repetition is the origin's: a player that tries again at once may be lucky. After it, what is absent is believed
/// to be so for this long, and for twice as long each time …
const FIRST: Duration = Duration::from_millis(500);
/// … up to this.
const LONGEST: Duration = Duration::from_secs(4);

#[derive(Debug)]
struct Kept {
    viewer: ViewerKey,
    url: String,
    times: u32,
    at: Instant,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Absent {
    kept: Mutex<VecDeque<Kept>>,
}

impl Absent {
    /// Whether the origin need not be asked.
    #[must_use]
    pub fn is_known(&self, viewer: ViewerKey, url: &Url) -> bool {
        let kept = self.lock();
        let known = kept.iter().rev().find(|k| k.viewer == viewer && k.url == url.as_str());
        known.is_some_and(|k| k.times > 1 && k.at.elapsed() < believed(k.times))
    }

    /// The origin has answered a GET with this status.
    pub fn note(&self, viewer: ViewerKey, url: &Url, status: StatusCode) {
        let url = &*cmcd::without(url);
        let absent = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
        let mut kept = self.lock();
        let before = kept.iter().rposition(|k| k.viewer == viewer && k.url == url.as_str());
        let before = before.and_then(|at| kept.remove(at));
        if !absent {
            return;
        }
        // What was absent long ago says nothing of now.
        let times = before.filter(|k| k.at.elapsed() < 2 * LONGEST).map_or(0, |k| k.times);
        if kept.len() == REMEMBERED {
            kept.pop_front();
        }
        kept.push_back(Kept {
            viewer,
            url: url.as_str().to_owned(),
            times: times.saturating_add(1),
            at: Instant::now(),
        });
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn believed(times: u32) -> Duration {
    (FIRST * 2u32.saturating_pow(times.saturating_sub(2).min(8))).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_time_is_believed_until_it_is_there() {
        let (absent, viewer) = (Absent::default(), ViewerKey(1));
        let url = Url::parse("http://o.example/7.m4s").unwrap();
        absent.note(viewer, &url, StatusCode::NOT_FOUND);
        assert!(!absent.is_known(viewer, &url));
        absent.note(viewer, &url, StatusCode::GONE);
        assert!(absent.is_known(viewer, &url) && !absent.is_known(ViewerKey(2), &url));
        absent.note(viewer, &url, StatusCode::OK);
        assert!(!absent.is_known(viewer, &url));
        assert_eq!((believed(2), believed(3), believed(99)), (FIRST, 2 * FIRST, LONGEST));
    }
}
