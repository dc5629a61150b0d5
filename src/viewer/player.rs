//! A headless player: reads the playlist itself and consumes segments at the pace at which they play.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use url::Url;

use super::playout::{FROM_EDGE, Playout};
use crate::manifest::Limits;
use crate::manifest::hls::{self, Media, Playlist};
use crate::manifest::identity::Rules;
use crate::model::time::Time;
use crate::model::timeline::{Place, Segment};

/// The longest playlist and segment that are read, in bytes.
const LONGEST: usize = 64 << 20;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What failed is tried again after this.
const RETRY: Duration = Duration::from_millis(500);
/// Failures of one kind in a row before the player gives up.
const TRIES: u32 = 20;
/// Failures that are kept to be told.
const TOLD: usize = 20;
/// Checksums kept; more than an hour of 4 s segments.
const CHECKSUMS: usize = 1024;

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
    /// Bytes of them.
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

type Http = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

struct Player {
    http: Http,
    watch: Watch,
    began: Instant,
    playout: Playout,
    outcome: Outcome,
    hasher: Sha256,
}

/// Why nothing can be played.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// TLS can't be used here.
    #[error("no certificate authorities found on this system: {0}; install the package ca-certificates")]
    Tls(std::io::Error),
}

/// Plays until the stream ends, `stop` turns true, or too much has failed.
///
/// `progress` is given the outcome so far whenever it changes.
///
/// # Errors
/// When not even a request can be made; what goes wrong later is part of the outcome.
pub async fn play(
    watch: Watch,
    mut stop: watch::Receiver<bool>,
    progress: watch::Sender<Outcome>,
) -> Result<Outcome, Error> {
    let https = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
        .map_err(Error::Tls)?
        .https_or_http()
        .enable_http1()
        .build();
    let mut player = Player {
        http: Client::builder(TokioExecutor::new()).build(https),
        watch,
        began: Instant::now(),
        playout: Playout::new(Time::ZERO),
        outcome: Outcome::default(),
        hasher: Sha256::new(),
    };
    tokio::select! {
        () = player.run(&progress) => {}
        _ = stop.wait_for(|&stop| stop) => {}
    }
    Ok(player.report())
}

impl Player {
    fn now(&self) -> Time {
        Time::ZERO + self.began.elapsed()
    }

    fn report(&self) -> Outcome {
        let now = self.now();
        let mut outcome = self.outcome.clone();
        outcome.startup = self.playout.startup();
        // Playing out the last segment is no stall.
        (outcome.stalls, outcome.stalled) = self.playout.stalls(if outcome.ended { Time::ZERO } else { now });
        outcome.played = self.playout.played(now);
        outcome.sha256 = self.hasher.clone().finalize().into();
        outcome
    }

    async fn run(&mut self, progress: &watch::Sender<Outcome>) {
        let Some(mut url) = self.variant().await else { return };
        let mut next: Option<u64> = None;
        let mut newest = 0;
        loop {
            let asked = Instant::now();
            let Some((base, media)) = self.media(&url).await else { return };
            url = base;
            let timeline = &media.listing.timeline;
            let segments = &timeline.segments;
            let first = next.unwrap_or_else(|| {
                let skip = if timeline.kind.grows() { segments.len().saturating_sub(FROM_EDGE) } else { 0 };
                segments.get(skip).map_or(0, |s| s.sequence)
            });
            for (segment, place) in segments.iter().zip(&media.listing.places) {
                if segment.sequence < first {
                    continue;
                }
                next = Some(segment.sequence + 1);
                let room = self.playout.wants_at() - self.now();
                self.pause(Instant::now() + room, progress).await;
                if !self.take(segment, place).await {
                    return;
                }
                progress.send_replace(self.report());
            }
            if media.ended {
                let left = self.playout.buffered(self.now());
                self.pause(Instant::now() + left, progress).await;
                self.outcome.ended = true;
                progress.send_replace(self.report());
                return;
            }
            // RFC 8216 §6.3.4: a target duration after a change, half of it after none.
            let last = segments.last().map_or(0, |s| s.sequence);
            let pause = if std::mem::replace(&mut newest, last) == last {
                timeline.target / 2
            } else {
                timeline.target
            };
            self.pause(asked + pause, progress).await;
        }
    }

    /// The media playlist to play: of a master the variant with the highest bit rate.
    async fn variant(&mut self) -> Option<Url> {
        let url = match self.watch.via {
            None => self.watch.url.clone(),
            Some(daemon) => Url::parse(&super::channel::through(daemon, &self.watch.url)).ok()?,
        };
        let (base, playlist) = self.playlist(&url).await?;
        match playlist {
            Playlist::Media(_) => Some(base),
            Playlist::Master(master) => {
                let best = master.variants.into_iter().max_by_key(|variant| variant.bandwidth);
                if best.is_none() {
                    self.failed("the master playlist lists nothing to play".into());
                }
                best.map(|variant| variant.url)
            }
        }
    }

    async fn media(&mut self, url: &Url) -> Option<(Url, Media)> {
        match self.playlist(url).await? {
            (base, Playlist::Media(media)) => Some((base, media)),
            (_, Playlist::Master(_)) => {
                self.failed(format!("{url} is a master playlist inside a master playlist"));
                None
            }
        }
    }

    async fn playlist(&mut self, url: &Url) -> Option<(Url, Playlist)> {
        for _ in 0..TRIES {
            let read = match self.get(url, None).await {
                Ok(text) => {
                    hls::parse(url, &text, &Limits::default(), &Rules::default()).map_err(|e| e.to_string())
                }
                Err(error) => Err(error),
            };
            match read {
                Ok(playlist) => return Some((url.clone(), playlist)),
                Err(error) => self.failed(format!("{url}: {error}")),
            }
            tokio::time::sleep(RETRY).await;
        }
        None
    }

    async fn take(&mut self, segment: &Segment, place: &Place) -> bool {
        for _ in 0..TRIES {
            match self.get(&place.url, place.range.as_ref()).await {
                Ok(bytes) => {
                    let now = self.now();
                    self.playout.complete(now, segment.duration);
                    self.hasher.update(&bytes);
                    let outcome = &mut self.outcome;
                    outcome.segments += 1;
                    outcome.bytes += bytes.len() as u64;
                    if outcome.checksums.len() == CHECKSUMS {
                        outcome.checksums.pop_first();
                    }
                    outcome.checksums.insert(segment.sequence, Sha256::digest(&bytes).into());
                    return true;
                }
                Err(error) => self.failed(format!("{}: {error}", place.url)),
            }
            tokio::time::sleep(RETRY).await;
        }
        false
    }

    /// Waits, and tells every second how playing goes.
    async fn pause(&self, until: Instant, progress: &watch::Sender<Outcome>) {
        while Instant::now() < until {
            tokio::time::sleep_until(until.min(Instant::now() + Duration::from_secs(1)).into()).await;
            progress.send_replace(self.report());
        }
    }

    async fn get(&self, url: &Url, range: Option<&std::ops::Range<u64>>) -> Result<Bytes, String> {
        let mut request = Request::builder().uri(url.as_str()).header("user-agent", &self.watch.agent);
        if let Some(range) = range {
            request = request.header("range", format!("bytes={}-{}", range.start, range.end - 1));
        }
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        let exchange = async {
            let answer = self.http.request(request).await.map_err(|error| deepest(&error))?;
            let status = answer.status();
            if !status.is_success() {
                return Err(format!("answered with {status}"));
            }
            let body = Limited::new(answer.into_body(), LONGEST)
                .collect()
                .await
                .map_err(|error| error.to_string())?;
            Ok(body.to_bytes())
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err("no answer in time".into()))
    }

    fn failed(&mut self, what: String) {
        self.outcome.failures += 1;
        if self.outcome.errors.len() < TOLD {
            self.outcome.errors.push(what);
        }
    }
}

fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
