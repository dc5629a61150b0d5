//! A headless player: reads the playlist itself and consumes segments at the pace at which they play.
//!
//! Of a master playlist it plays the variant with the highest bit rate, from beginning to end, and leaves alternative
//! renditions (sound, subtitles) alone: what it measures must not depend on a choice that it makes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use url::Url;

use super::client::{self, Client, Failed, Got};
use super::playout::{Cursor, Next, Playout, reload_after};
use crate::manifest::Limits;
use crate::manifest::hls::{self, Media, Playlist};
use crate::manifest::identity::Rules;
use crate::manifest::variables::Variables;
use crate::model::shown::bare;
use crate::model::time::Time;
use crate::model::timeline::{Listing, Place, Segment};

/// The longest segment that is read, in bytes.
const LONGEST: usize = 64 << 20;
/// What failed is tried again after this.
const RETRY: Duration = Duration::from_millis(500);
/// Tries of one segment, while it is listed; then it is left out.
const TRIES: u32 = 20;
/// Tries of a playlist before anything has played: about 3 s of a wrong address.
const FIRST_TRIES: u32 = 6;
/// Tries of a playlist, and failures in a row of whatever kind, after which a stream that played is given up.
const GIVE_UP: u32 = 60;
/// Failures that are kept to be told; the rest are only counted.
const TOLD: usize = 20;
/// Checksums kept, more than an hour of 4 s segments; the oldest are forgotten.
const CHECKSUMS: usize = 1024;
/// How it goes is told so often.
const TELL: Duration = Duration::from_secs(1);

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The playlist.
    pub url: Url,
    /// A daemon to play through.
    pub via: Option<SocketAddr>,
    /// How it calls itself.
    pub agent: String,
}

/// How it went.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// From the beginning to the first whole segment.
    pub startup: Option<Duration>,
    /// How often nothing was left to play.
    pub stalls: u32,
    /// For how long, all in all.
    pub stalled: Duration,
    /// Media played.
    pub played: Duration,
    /// Segments taken.
    pub segments: u64,
    /// Segments that left the live window, or failed for good, before they were taken.
    pub missed: u64,
    /// Bytes of those taken.
    pub bytes: u64,
    /// SHA-256 of all their bytes, in order.
    pub sha256: [u8; 32],
    /// SHA-256 of each, by sequence number; the oldest are forgotten.
    pub checksums: BTreeMap<u64, [u8; 32]>,
    /// What a user of a real player would have noticed: requests that failed.
    pub errors: Vec<String>,
    /// How many of those there were.
    pub failures: u64,
    /// The stream ended by itself.
    pub ended: bool,
}

/// Why nothing can be played.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Requests can't be made.
    #[error(transparent)]
    Client(#[from] client::Error),
}

/// The URL that a player is given to play `url` through a daemon.
#[must_use]
pub fn through(daemon: SocketAddr, url: &Url) -> String {
    format!("http://{daemon}/{url}")
}

/// Plays until the stream ends, `stop` turns true, or too much has failed.
///
/// `progress` is given the outcome so far, at least once a second.
///
/// # Errors
/// When not even a request can be made; what goes wrong later is part of the outcome.
pub async fn play(
    watch: Watch,
    mut stop: watch::Receiver<bool>,
    progress: watch::Sender<Outcome>,
) -> Result<Outcome, Error> {
    let mut player = Player {
        client: Client::new(&watch.agent)?,
        progress,
        began: Instant::now(),
        playout: Playout::new(Time::ZERO),
        cursor: Cursor::default(),
        failing: Failing::default(),
        imported: Variables::default(),
        outcome: Outcome::default(),
        hasher: Sha256::new(),
    };
    tokio::select! {
        () = player.run(&watch) => {}
        _ = stop.wait_for(|&stop| stop) => {}
    }
    let outcome = player.report();
    player.progress.send_replace(outcome.clone());
    Ok(outcome)
}

/// Failures that go on.
#[derive(Debug, Default)]
struct Failing {
    /// Of any kind, since the last success.
    in_row: u32,
    /// The segment that is being tried, and how often it failed.
    segment: Option<(u64, u32)>,
}

/// Why the player is done with a listing.
enum Done {
    Reload(Instant),
    Ended,
    GaveUp,
}

struct Player {
    client: Client,
    progress: watch::Sender<Outcome>,
    began: Instant,
    playout: Playout,
    cursor: Cursor,
    failing: Failing,
    /// What the master playlist defines for the media playlist.
    imported: Variables,
    outcome: Outcome,
    hasher: Sha256,
}

impl Player {
    fn now(&self) -> Time {
        Time::ZERO + self.began.elapsed()
    }

    fn report(&self) -> Outcome {
        let now = self.now();
        let mut outcome = self.outcome.clone();
        outcome.startup = self.playout.startup();
        (outcome.stalls, outcome.stalled) = self.playout.stalls(now);
        outcome.played = self.playout.played(now);
        outcome.sha256 = self.hasher.clone().finalize().into();
        outcome
    }

    async fn run(&mut self, watch: &Watch) {
        let mut asked = Instant::now();
        let Some((url, mut media)) = self.begin(watch).await else { return };
        let mut seen = None;
        loop {
            let timeline = &media.listing.timeline;
            let ends = |segment: Option<&Segment>| segment.map(|segment| segment.sequence);
            let shape = (ends(timeline.segments.first()), ends(timeline.segments.last()));
            let changed = seen.replace(shape) != Some(shape);
            let reload = asked + reload_after(changed, timeline.target);
            match self.consume(&media.listing, reload).await {
                Done::Reload(at) => self.pause(at).await,
                Done::GaveUp => return,
                Done::Ended => {
                    let now = self.now();
                    self.playout.finish(now);
                    let left = self.playout.buffered(now);
                    self.pause(Instant::now() + left).await;
                    self.outcome.ended = true;
                    return;
                }
            }
            asked = Instant::now();
            let Some(newer) = self.media(&url).await else { return };
            media = newer;
        }
    }

    /// Takes what is listed, when it is wanted, until a listing that grows is to be loaded again.
    async fn consume(&mut self, listing: &Listing, reload: Instant) -> Done {
        let timeline = &listing.timeline;
        let reload = timeline.kind.grows().then_some(reload);
        loop {
            let (index, missed) = match self.cursor.next(timeline) {
                Next::Take { index, missed } => (index, missed),
                Next::Reload => return Done::Reload(reload.unwrap_or_else(Instant::now)),
                Next::End => return Done::Ended,
            };
            if missed > 0 {
                self.outcome.missed += missed;
                self.failed(format!("{missed} segments left the live window before they were taken"));
            }
            let due = Instant::now() + (self.playout.wants_at() - self.now());
            if let Some(reload) = reload.filter(|&reload| reload < due) {
                return Done::Reload(reload);
            }
            self.pause(due).await;
            let (segment, place) = (&timeline.segments[index], &listing.places[index]);
            if !self.take(segment, place).await {
                if self.failing.in_row >= GIVE_UP {
                    return Done::GaveUp;
                }
                self.pause(Instant::now() + RETRY).await;
                if let Some(reload) = reload.filter(|&reload| reload < Instant::now()) {
                    return Done::Reload(reload);
                }
            }
        }
    }

    /// The media playlist to play, and what it lists: of a master the variant with the highest bit rate.
    async fn begin(&mut self, watch: &Watch) -> Option<(Url, Media)> {
        let url = match watch.via {
            None => watch.url.clone(),
            Some(daemon) => Url::parse(&through(daemon, &watch.url)).ok()?,
        };
        let master = match self.playlist(&url, FIRST_TRIES).await? {
            Playlist::Media(media) => return Some((url, media)),
            Playlist::Master(master) => master,
        };
        self.imported = master.variables;
        let Some(best) = master.variants.into_iter().max_by_key(|variant| variant.bandwidth) else {
            self.failed("the master playlist lists nothing to play".into());
            return None;
        };
        let media = self.media(&best.url).await?;
        Some((best.url, media))
    }

    async fn media(&mut self, url: &Url) -> Option<Media> {
        let tries = if self.outcome.segments == 0 { FIRST_TRIES } else { GIVE_UP };
        match self.playlist(url, tries).await? {
            Playlist::Media(media) => Some(media),
            Playlist::Master(_) => {
                self.failed(format!("{} is a master playlist inside a master playlist", told(url)));
                None
            }
        }
    }

    async fn playlist(&mut self, url: &Url, tries: u32) -> Option<Playlist> {
        let limits = Limits::default();
        for _ in 0..tries {
            let read = self.get(url, None, limits.bytes).await.map_err(|error| error.to_string());
            let read = read.and_then(|got| {
                let rules = Rules::default();
                hls::parse_importing(&got.url, &got.bytes, &limits, &rules, &self.imported)
                    .map_err(|error| error.to_string())
            });
            match read {
                Ok(playlist) => return Some(playlist),
                Err(error) => self.failed(format!("{}: {error}", told(url))),
            }
            self.pause(Instant::now() + RETRY).await;
        }
        None
    }

    /// Tries to take a segment once; one that failed for good is left out.
    async fn take(&mut self, segment: &Segment, place: &Place) -> bool {
        let Some(url) = place.url.url() else {
            // There is nothing to ask for, and never will be.
            self.outcome.missed += 1;
            self.cursor.took(segment.sequence);
            return false;
        };
        match self.get(&url, place.range.as_ref(), LONGEST).await {
            Ok(got) => {
                self.took(segment, &got);
                true
            }
            Err(error) => {
                self.failed(format!("{}: {error}", told(&url)));
                let before = self.failing.segment.filter(|(sequence, _)| *sequence == segment.sequence);
                let tries = before.map_or(0, |(_, tries)| tries) + 1;
                self.failing.segment = Some((segment.sequence, tries));
                if tries >= TRIES {
                    self.outcome.missed += 1;
                    self.cursor.took(segment.sequence);
                }
                false
            }
        }
    }

    fn took(&mut self, segment: &Segment, got: &Got) {
        self.playout.complete(self.now(), segment.duration);
        self.cursor.took(segment.sequence);
        self.failing = Failing::default();
        self.hasher.update(&got.bytes);
        let outcome = &mut self.outcome;
        outcome.segments += 1;
        outcome.bytes += got.bytes.len() as u64;
        if outcome.checksums.len() == CHECKSUMS {
            outcome.checksums.pop_first();
        }
        outcome.checksums.insert(segment.sequence, Sha256::digest(&got.bytes).into());
        self.progress.send_replace(self.report());
    }

    async fn get(
        &self,
        url: &Url,
        range: Option<&std::ops::Range<u64>>,
        longest: usize,
    ) -> Result<Got, Failed> {
        self.telling(self.client.get(url, range, longest)).await
    }

    async fn pause(&self, until: Instant) {
        self.telling(tokio::time::sleep_until(until.into())).await;
    }

    /// Waits for `what`, and tells meanwhile how playing goes: a stall is seen while it lasts.
    async fn telling<T>(&self, what: impl Future<Output = T>) -> T {
        let mut what = std::pin::pin!(what);
        loop {
            match tokio::time::timeout(TELL, &mut what).await {
                Ok(done) => return done,
                Err(_) => {
                    self.progress.send_replace(self.report());
                }
            }
        }
    }

    fn failed(&mut self, what: String) {
        self.failing.in_row += 1;
        self.outcome.failures += 1;
        if self.outcome.errors.len() < TOLD {
            self.outcome.errors.push(what);
        }
        self.progress.send_replace(self.report());
    }
}

/// A URL without what may be secret in it: user and query.
#[must_use]
pub fn told(url: &Url) -> String {
    let mut url = bare(url);
    // Through a daemon, the origin's own URL is the path, and has a user of its own.
    if let Some((before, origin)) = url.path().split_once("://") {
        let authority = origin.find('/').unwrap_or(origin.len());
        if let Some(at) = origin[..authority].rfind('@') {
            let path = format!("{before}://{}", &origin[at + 1..]);
            url.set_path(&path);
        }
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_url_holds_no_secret() {
        let daemon: SocketAddr = "127.0.0.1:7223".parse().unwrap();
        for (url, plain) in [
            ("http://h/a.ts", "http://h/a.ts"),
            ("https://bob:s3cret@h:8/a@b.ts?token=s3cret", "https://h:8/a@b.ts"),
            ("http://bob:p%40s3cret@h", "http://h/"),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(told(&url), plain);
            let through = told(&Url::parse(&through(daemon, &url)).unwrap());
            assert_eq!(through, format!("http://{daemon}/{plain}"));
        }
    }
}
