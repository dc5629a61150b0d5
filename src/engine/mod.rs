//! The only place with real sockets and a real clock: what the proxy and control may ask.
//!
//! A [`Handle`] speaks to one task, the brain, which owns the delivery `Node`. Bytes flow past the brain: from the
//! origin or a peer into [`memory`], from there to every answer that wants them.

use std::time::Duration;

use http::HeaderMap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use url::Url;

use crate::delivery::Node;
use crate::delivery::policy::Upload;
use crate::model::ids::PeerId;
use crate::model::timeline::Listing;

pub mod answer;
pub mod brain;
pub mod budget;
mod carry;
pub mod clock;
pub mod fetch;
pub mod filter;
mod finding;
mod history;
pub mod link;
pub mod listings;
mod map;
pub mod memory;
pub mod origin;
pub mod peer;
pub mod peers;
mod receiving;
mod recordings;
pub mod report;
pub mod sdp;
pub mod signalling;
pub mod steering;
pub mod udp;

use answer::AnswerBody;
pub use answer::Source;
use brain::{Parts, Question, StartPeers};
pub use carry::of_segment;
use clock::Clock;
use origin::{Caller, Origin};
use steering::{Change, Configured, Kept, Refused, Steered, Steering, Switches};

/// A player's request for (part of) something that may be a listed segment.
#[derive(Clone, Debug)]
pub struct SegmentAsk {
    /// Absolute URL, exactly as asked for.
    pub url: Url,
    /// The bytes of the *file* that are wanted; the end is exclusive, `None` means to the end of the file.
    pub span: Span,
    /// For whom, and what to send along if the origin has to be asked.
    pub caller: Caller,
}

/// Which bytes of a file a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// No Range header: the whole file, answered with 200.
    Whole,
    /// `bytes=from-to`: answered with 206. `to` is exclusive here.
    Part {
        /// First byte wanted.
        from: u64,
        /// One past the last byte wanted; `None`: to the end.
        to: Option<u64>,
    },
}

/// A segment (or part of one) on its way to a player.
#[derive(Debug)]
pub struct Answer {
    /// The file's length, where known (always for anything that is in memory or from peers).
    pub total: Option<u64>,
    /// The bytes of the file that the body carries; the end is `None` while the length is unknown.
    pub from: u64,
    /// One past the last byte of the body.
    pub to: Option<u64>,
    /// End-to-end headers of the origin's answer (or of its newest one in this rendition), without length,
    /// range, encoding and hop-by-hop fields.
    pub headers: HeaderMap,
    /// Where the bytes come from.
    pub source: Source,
    /// How long the head was waited for.
    pub waited: Duration,
    /// The bytes, following the segment while it fills.
    pub body: AnswerBody,
}

/// Why there is no answer from the engine.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NoAnswer {
    /// No manifest that this caller fetched has listed it, or the span is not within one segment: pass it through.
    #[error("it is not a listed segment")]
    NotListed,
    /// The engine can't serve it (too large to keep, or the brain is gone): pass it through.
    #[error("it can't be kept")]
    PassThrough,
    /// The origin refused; its own words.
    #[error("the origin answered {}", .0.status)]
    Refused(origin::Refusal),
    /// The origin could not be reached or broke off, after every try.
    #[error("{0}")]
    Failed(origin::Error),
}

/// What an engine is started with.
#[derive(Debug)]
pub struct Options {
    /// What holds.
    pub configured: Configured,
    /// What was kept of an earlier run.
    pub kept: Kept,
    /// How many trackers are configured.
    pub trackers: usize,
    /// This daemon's name among peers: 12 random bytes, fresh at every start.
    pub entropy: [u8; 12],
    /// Decides every choice made by chance.
    pub seed: u64,
}

/// All that proxy and control may ask of the engine. Cheap to clone; the engine ends when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Handle {
    origin: Origin,
    questions: mpsc::Sender<Question>,
    steered: watch::Receiver<Steered>,
    watched: watch::Receiver<bool>,
}

/// Starts the engine on the current runtime. The P2P side is started by `start_peers` when it is first needed.
#[must_use]
pub fn start(options: Options, origin: Origin, start_peers: Option<StartPeers>) -> (Handle, JoinHandle<()>) {
    let (questions, asked) = mpsc::channel(brain::QUESTIONS);
    let me = PeerId::from_entropy(options.entropy);
    let steering = Steering::new(options.configured, options.kept, clock::unix());
    let node = Node::new(me, steering.policy(), options.trackers, options.seed);
    let (steered, seen) = watch::channel(Steered { mode: steering.mode(), changes: 0 });
    let (watched, watching) = watch::channel(false);
    let clock = Clock::start();
    let parts = Parts { node, steering, steered, watched, clock, origin: origin.clone(), start_peers };
    let task = tokio::spawn(brain::run(parts, asked));
    (Handle { origin, questions, steered: seen, watched: watching }, task)
}

impl Handle {
    /// An engine that knows no segments: everything is passed through to the origin.
    #[doc(hidden)]
    #[must_use]
    pub fn pass_through(origin: Origin) -> Self {
        let nothing = Steered { mode: Upload::Never, changes: 0 };
        let (steered, watched) = (watch::channel(nothing).1, watch::channel(false).1);
        Self { origin, questions: mpsc::channel(1).0, steered, watched }
    }

    /// HTTP outwards, for everything that is not a listed segment.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// A manifest of this channel was fetched for `caller`, and is about to be sent: its segments are listed now.
    pub async fn listed(&self, listing: Listing, caller: &Caller, channel: Option<String>) {
        self.ask(|reply| Question::Listed(listing, caller.clone(), channel, reply)).await;
    }

    /// A player asks for a URL that may be a listed segment; resolves when the head of the answer is known.
    ///
    /// # Errors
    /// See [`NoAnswer`]; for the first two the caller asks the origin itself.
    pub async fn segment(&self, ask: SegmentAsk) -> Result<Answer, NoAnswer> {
        self.ask(|reply| Question::Segment(ask, reply)).await.unwrap_or(Err(NoAnswer::PassThrough))
    }

    /// The statistics of `/-/stats` at this moment, as the contract's JSON document; null when the engine is gone.
    pub async fn stats(&self) -> serde_json::Value {
        self.ask(Question::Stats).await.unwrap_or_default()
    }

    /// Turns something on or off, or limits it; a change of nothing asks what holds.
    ///
    /// # Errors
    /// Why not; then nothing has changed.
    pub async fn switch(&self, change: Change) -> Result<Switches, Refused> {
        self.ask(|reply| Question::Switch(change, reply)).await.unwrap_or(Err(Refused::Gone))
    }

    /// The configuration was read again: it holds, and what was switched does not.
    pub async fn configure(&self, configured: Configured) {
        self.ask(|reply| Question::Configure(Box::new(configured), reply)).await;
    }

    /// In the mode `auto`, uploads pause for this reason, or go on.
    pub async fn withhold_uploads(&self, why: Option<String>) {
        self.ask(|reply| Question::Withhold(why, reply)).await;
    }

    /// What is to be kept over a restart; `None` when the engine is gone.
    pub async fn kept(&self) -> Option<Kept> {
        self.ask(Question::Kept).await
    }

    /// Tells when something is switched.
    #[must_use]
    pub fn steered(&self) -> watch::Receiver<Steered> {
        self.steered.clone()
    }

    /// Whether any stream is watched here at the moment.
    #[must_use]
    pub fn watched(&self) -> watch::Receiver<bool> {
        self.watched.clone()
    }

    /// `None` when the brain is gone: HTTP goes on without it.
    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.questions.send(question(reply)).await.ok()?;
        answer.await.ok()
    }
}
