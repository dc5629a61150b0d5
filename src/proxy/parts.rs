//! Parts of low-latency streams: files and ranges that a playlist names before they are there.
//!
//! An origin keeps who asks for one waiting until it is (RFC 8216bis §4.4.5.3): its silence says nothing of its health. So
//! requests for them go straight through, once.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use url::Url;

use super::cmcd;
use crate::engine::origin::ViewerKey;
use crate::model::ids::SwarmId;

/// Playlists whose parts are remembered; of the one listed longest ago an origin that is slow with a part may be asked twice.
const REMEMBERED: usize = 256;

/// By whose playlist names them, of which rendition; the one listed longest ago first.
type Named = VecDeque<((ViewerKey, SwarmId), Vec<Url>)>;

/// All of them.
#[derive(Debug, Default)]
pub struct Parts {
    named: Mutex<Named>,
}

impl Parts {
    /// A viewer's newest playlist of this rendition names these, sorted.
    pub fn name(&self, viewer: ViewerKey, rendition: SwarmId, urls: Vec<Url>) {
        let mut named = self.lock();
        named.retain(|(of, _)| *of != (viewer, rendition));
        if urls.is_empty() {
            return;
        }
        if named.len() == REMEMBERED {
            named.pop_front();
        }
        named.push_back(((viewer, rendition), urls));
    }

    /// Whether parts are to be had at `url`.
    #[must_use]
    pub fn are_at(&self, viewer: ViewerKey, url: &Url) -> bool {
        let url = cmcd::without(url);
        self.lock().iter().any(|((of, _), urls)| *of == viewer && urls.binary_search(&url).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, Named> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_the_viewers_newest_playlist() {
        let url = |n: usize| Url::parse(&format!("http://o.example/part{n}.mp4")).unwrap();
        let (parts, viewer) = (Parts::default(), ViewerKey(1));
        let rendition = |n: usize| SwarmId::of(&n.to_string());
        parts.name(viewer, rendition(0), vec![url(1), url(2)]);
        parts.name(viewer, rendition(1), vec![url(7)]);
        parts.name(viewer, rendition(0), vec![url(2), url(3)]);
        assert_eq!([1, 2, 3, 7].map(|n| parts.are_at(viewer, &url(n))), [false, true, true, true]);
        assert!(!parts.are_at(ViewerKey(2), &url(2)));
        assert!(parts.are_at(viewer, &Url::parse("http://o.example/part2.mp4?CMCD=ot%3Dv").unwrap()));
        parts.name(viewer, rendition(0), Vec::new());
        assert!(!parts.are_at(viewer, &url(2)), "it has none any more");
        (0..=REMEMBERED).for_each(|n| parts.name(ViewerKey(3), rendition(n), vec![url(n)]));
        assert!(!parts.are_at(viewer, &url(7)), "pushed out");
    }
}
