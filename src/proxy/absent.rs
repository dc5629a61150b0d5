//! What the origin has said twice is not there: players that ask for it again and again are told so from here. And where they ask for
//! name after name that is not there, as ffmpeg and mpv do in live DASH, they are slowed down.

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

/// Folders and shapes of names of which some were not there; that of which it is longest ago is forgotten.
const FOLDERS: usize = 256;
/// So many names of a folder one after another may not be there until who asks for more of them waits: for this long, and for twice
/// as long each time …
const STRAYS: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// … up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Kept {
    viewer: ViewerKey,
    url: String,
    times: u32,
    at: Instant,
}

/// Where one name after another is not there, all of one shape.
#[derive(Debug)]
struct Folder {
    viewer: ViewerKey,
    url: String,
    /// Of names of this shape: [`shape`].
    shape: String,
    /// The last of them.
    name: String,
    misses: u32,
    at: Instant,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Absent {
    kept: Mutex<VecDeque<Kept>>,
    folders: Mutex<VecDeque<Folder>>,
}

impl Absent {
    /// Whether the origin need not be asked.
    #[must_use]
    pub fn is_known(&self, viewer: ViewerKey, url: &Url) -> bool {
        let kept = self.lock();
        let known = kept.iter().rev().find(|k| k.viewer == viewer && k.url == url.as_str());
        known.is_some_and(|k| k.times > 1 && k.at.elapsed() < believed(k.times))
    }

    /// How long to wait before the origin is asked for it, where names like it were not there one after another. `None`: it would be
    /// the first.
    pub fn strays(&self, viewer: ViewerKey, url: &Url) -> Option<Duration> {
        let (folder, name) = split(url);
        let shape = shape(&name);
        let folders = self.folders();
        let known = folders.iter().find(|k| k.viewer == viewer && k.url == folder && k.shape == shape)?;
        (known.at.elapsed() < 2 * LONGEST).then(|| waits(known.misses))
    }

    /// The origin has answered a GET with this status.
    pub fn note(&self, viewer: ViewerKey, url: &Url, status: StatusCode) {
        let url = &*cmcd::without(url);
        let absent = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
        self.note_folder(viewer, url, absent);
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

    fn note_folder(&self, viewer: ViewerKey, url: &Url, absent: bool) {
        let (folder, name) = split(url);
        let mut folders = self.folders();
        let shape = shape(&name);
        let known = folders.iter().position(|k| k.viewer == viewer && k.url == folder && k.shape == shape);
        let known = known.and_then(|at| folders.remove(at));
        if !absent {
            return;
        }
        let known = known.filter(|k| k.at.elapsed() < 2 * LONGEST);
        let misses = known.map_or(1, |k| k.misses.saturating_add(u32::from(k.name != name)));
        if folders.len() == FOLDERS {
            folders.pop_front();
        }
        folders.push_back(Folder { viewer, url: folder, shape, name, misses, at: Instant::now() });
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folders(&self) -> MutexGuard<'_, VecDeque<Folder>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The folder of a URL and the name in it.
fn split(url: &Url) -> (String, String) {
    let path = url.path();
    let at = path.rfind('/').map_or(0, |at| at + 1);
    (format!("{}{}", url.origin().ascii_serialization(), &path[..at]), path[at..].to_owned())
}

/// A name without its numbers: what tells players apart that count from those that ask for something else.
fn shape(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

/// How long somebody waits before it is asked for yet another.
fn waits(misses: u32) -> Duration {
    let Some(more) = misses.checked_sub(STRAYS) else { return Duration::ZERO };
    (FIRST_WAIT * 2u32.saturating_pow(more.min(8))).min(LONGEST_WAIT)
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

    #[test]
    fn who_asks_for_name_after_name_that_is_not_there_waits_until_one_is() {
        let (absent, viewer) = (Absent::default(), ViewerKey(1));
        let url = |name: u32| Url::parse(&format!("http://o.example/live/{name}.m4s?x={name}")).unwrap();
        assert_eq!(absent.strays(viewer, &url(0)), None, "nothing is missing");
        absent.note(viewer, &url(0), StatusCode::NOT_FOUND);
        absent.note(viewer, &url(0), StatusCode::NOT_FOUND);
        let waits = |misses: u32| {
            absent.note(viewer, &url(misses), StatusCode::NOT_FOUND);
            absent.strays(viewer, &url(99)).unwrap().as_millis()
        };
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 8].map(waits), [0, 0, 250, 500, 1000, 2000, 2000, 2000]);
        assert_eq!(absent.strays(ViewerKey(2), &url(99)), None, "another viewer");
        let other = Url::parse("http://o.example/other/1.m4s").unwrap();
        assert_eq!(absent.strays(viewer, &other), None, "another folder");
        let init = Url::parse("http://o.example/live/init.mp4").unwrap();
        assert_eq!(absent.strays(viewer, &init), None, "something else");
        absent.note(viewer, &url(100), StatusCode::OK);
        assert_eq!(absent.strays(viewer, &url(99)), None, "it goes on");
        (0..2 * FOLDERS as u32).for_each(|n| {
            let url = Url::parse(&format!("http://o.example/{n}/a")).unwrap();
            absent.note(viewer, &url, StatusCode::GONE);
        });
        assert_eq!(absent.folders().len(), FOLDERS);
    }
}
