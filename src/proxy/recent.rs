//! Manifests that were answered lately: asked for again at once they are not fetched again, hammered at they are held, and
//! when the origin fails a live one is answered once more with the last good copy.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use url::Url;

use super::directives;
use super::turns::{LONG, Turn};
use crate::engine::origin::{Caller, Reach};
use crate::manifest::Format;

/// Manifests that are remembered, all viewers together; the oldest is forgotten and fetched again when asked for.
const REMEMBERED: usize = 64;
/// Bytes of all of them together.
const BYTES: usize = 16 * 1024 * 1024;
/// A manifest is new for this long, but no longer than half a target duration: several players open it twice to four
/// times within 100 ms.
const NEW: Duration = Duration::from_secs(1);
/// Asked for so often while it is new, it is being hammered at …
const PATIENCE: u32 = 3;
/// … and the next answer waits until three quarters of a target duration have passed, or this.
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// What says that it is loaded anew less often says nothing of when its origin has failed.
const UPDATE: Duration = Duration::from_secs(30);
/// A copy that is older than this is nobody's: who comes back later begins anew.
const LATE: Duration = Duration::from_secs(30);
/// How long the end of a stream is told to who was away when it came.
const ENDED: Duration = Duration::from_secs(60);

/// A manifest as the origin sent it.
#[derive(Debug)]
pub struct Manifest {
    /// Where it came from, after redirects.
    pub url: Url,
    /// The reach that holds for what it names.
    pub reach: Reach,
    /// The origin's headers.
    pub headers: HeaderMap,
    /// All of it.
    pub text: Bytes,
    /// Which kind.
    pub format: Format,
    /// The turn of a long one, which others wait for until it is answered with.
    #[expect(dead_code, reason = "it ends with the manifest")]
    pub turn: Option<Turn>,
}

#[derive(Debug)]
struct Kept {
    name: Name,
    manifest: Arc<Manifest>,
    fetched: Instant,
    target: Option<Duration>,
    /// A player that has it loads it anew no sooner than this.
    update: Duration,
    grows: bool,
    asked: u32,
    /// It came when nobody waited for it, and nobody was answered with it since.
    unseen: bool,
}

/// Who asked for what, and how far he may lead us: what one viewer was given is never given to another, nor to a page that
/// could not have asked for it.
pub type Name = (u64, Reach, Option<http::HeaderValue>, String);

/// All of them.
#[derive(Debug, Default)]
pub struct Recent {
    kept: Mutex<VecDeque<Kept>>,
}

/// How a manifest changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes {
    /// Its target duration, where it has one.
    pub target: Option<Duration>,
    /// How often it asks to be loaded anew, where it says (MPD@minimumUpdatePeriod).
    pub update: Option<Duration>,
    /// Whether it will change.
    pub grows: bool,
}

/// A copy that is good enough for now.
#[derive(Clone, Debug)]
pub struct Good {
    /// The copy.
    pub manifest: Arc<Manifest>,
    /// Its target duration.
    pub target: Duration,
}

/// What is to be done about a request for a manifest.
#[derive(Debug)]
pub enum Again {
    /// Answer with this.
    With(Arc<Manifest>),
    /// Wait so long, then fetch it.
    After(Duration),
    /// Fetch it.
    Fetch,
}

impl Recent {
    /// Takes in a manifest that was just fetched. A long one is not kept, and no answer to a blocking reload: nobody is ever given that
    /// again, and several come each second.
    pub fn keep(&self, caller: &Caller, asked: &Url, manifest: Arc<Manifest>, changes: Changes) {
        if directives::is_blocking(asked) {
            return;
        }
        let Changes { target, update, grows } = changes;
        let name = name(caller, asked);
        let mut kept = self.lock();
        kept.retain(|k| k.name != name);
        if manifest.text.len() > LONG {
            return;
        }
        kept.push_back(Kept {
            name,
            manifest,
            fetched: Instant::now(),
            target,
            update: update.unwrap_or_default().min(UPDATE),
            grows,
            asked: 0,
            unseen: false,
        });
        let bytes = |kept: &VecDeque<Kept>| kept.iter().map(|k| k.manifest.text.len()).sum::<usize>();
        while kept.len() > REMEMBERED || bytes(&kept) > BYTES {
            kept.pop_front();
        }
    }

    /// Whether a manifest has to be fetched now.
    pub fn again(&self, caller: &Caller, asked: &Url) -> Again {
        // A blocking reload asks for what is not there yet (RFC 8216bis §6.2.5.2).
        if directives::any(asked) {
            return Again::Fetch;
        }
        let name = name(caller, asked);
        let mut kept = self.lock();
        let Some(known) = kept.iter_mut().find(|k| k.name == name) else { return Again::Fetch };
        let age = known.fetched.elapsed();
        let half = known.target.map_or(NEW, |target| target / 2);
        let rest = (half * 3 / 2).min(LONGEST_WAIT);
        known.asked += 1;
        if known.asked > PATIENCE && known.grows && age < rest {
            return Again::After(rest - age);
        }
        if age < NEW.min(half) {
            known.unseen = false;
            return Again::With(Arc::clone(&known.manifest));
        }
        Again::Fetch
    }

    /// Nobody waited for what was just kept.
    pub fn is_unseen(&self, name: &Name) {
        let mut kept = self.lock();
        kept.iter_mut().filter(|k| k.name == *name && k.target.is_some()).for_each(|k| k.unseen = true);
    }

    /// What came when nobody waited for it any more, once: for a target duration, and the end of a stream for [`ENDED`].
    pub fn take_unseen(&self, name: &Name) -> Option<Arc<Manifest>> {
        let mut kept = self.lock();
        let known = kept.iter_mut().find(|k| k.name == *name && k.unseen)?;
        known.unseen = false;
        let limit = known.target.filter(|_| known.grows).unwrap_or(ENDED);
        let fresh = known.fetched.elapsed() <= limit;
        fresh.then(|| Arc::clone(&known.manifest))
    }

    /// The last good copy of a live manifest: for a target duration after the reload that failed it is still good enough.
    /// Of what a blocking reload asks for there is no copy.
    pub fn last_good(&self, caller: &Caller, asked: &Url) -> Option<Good> {
        self.last(caller, asked, |known, target| target.max(known.update).saturating_add(target))
    }

    /// A copy that does while the reload is under way: a player that was held up itself comes back later than that.
    pub fn last_known(&self, caller: &Caller, asked: &Url) -> Option<Good> {
        self.last(caller, asked, |_, _| LATE)
    }

    fn last(
        &self,
        caller: &Caller,
        asked: &Url,
        limit: impl Fn(&Kept, Duration) -> Duration,
    ) -> Option<Good> {
        if directives::is_blocking(asked) {
            return None;
        }
        let name = name(caller, asked);
        let kept = self.lock();
        let known = kept.iter().find(|k| k.name == name && k.grows)?;
        let target = known.target?;
        let good = || Good { manifest: Arc::clone(&known.manifest), target };
        (known.fetched.elapsed() <= limit(known, target)).then(good)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By what a caller's manifest is known.
#[must_use]
pub fn name(caller: &Caller, asked: &Url) -> Name {
    (
        caller.viewer.0,
        caller.reach,
        caller.headers.get(http::header::COOKIE).cloned(),
        asked.as_str().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::origin::ViewerKey;

    fn caller(viewer: u64) -> Caller {
        Caller {
            viewer: ViewerKey(viewer),
            headers: HeaderMap::new(),
            own_browser: true,
            downgrades: true,
            reach: Reach::Public,
        }
    }

    #[test]
    fn blocking_reloads_take_nobodys_copy_away() {
        let recent = Recent::default();
        let keep = |viewer, url: &str| {
            let url = Url::parse(url).unwrap();
            let (headers, text) = (HeaderMap::new(), Bytes::from_static(b"#EXTM3U"));
            let (reach, format) = (Reach::Public, Format::Hls);
            let manifest = Manifest { url: url.clone(), reach, headers, text, format, turn: None };
            recent.keep(
                &caller(viewer),
                &url,
                Arc::new(manifest),
                Changes { target: Some(Duration::from_secs(60)), update: None, grows: true },
            );
            url
        };
        let other = keep(1, "http://o.example/live.m3u8");
        for n in 0..100 {
            keep(2, &format!("http://o.example/low.m3u8?_HLS_msn={n}&_HLS_part=0"));
        }
        assert!(recent.last_good(&caller(1), &other).is_some());
        let delta = keep(2, "http://o.example/low.m3u8?_HLS_skip=YES");
        assert!(recent.last_good(&caller(2), &delta).is_some(), "what does not block is kept");
    }
}
