//! The only place with real sockets and a real clock: what the proxy and control may ask.
//!
//! A [`Handle`] speaks to one task, the brain, which owns the delivery `Node`. Bytes flow past the brain: from the
//! origin or a peer into [`memory`], from there to every answer that wants them.

use std::ops::Range;
use std::time::Duration;

use http::HeaderMap;
use url::Url;

use crate::model::timeline::Listing;

pub mod answer;
pub mod link;
pub mod memory;
pub mod origin;

use answer::AnswerBody;
use origin::{Caller, Origin};

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

/// Where the bytes of an answer come from, as far as known when its head is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The origin, now.
    Http,
    /// Peers, now.
    P2p,
    /// Already here.
    Memory,
    /// More than one of these.
    Mixed,
}

impl Source {
    /// The word of the `X-Paceline-Source` header and of the statistics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::P2p => "p2p",
            Self::Memory => "memory",
            Self::Mixed => "mixed",
        }
    }
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
#[derive(Debug)]
pub enum NoAnswer {
    /// No manifest that this caller fetched has listed it, or the span is not within one segment: pass it through.
    NotListed,
    /// The engine can't serve it (too large to keep, or the brain is gone): pass it through.
    PassThrough,
    /// The origin refused; its own words.
    Refused(origin::Refusal),
    /// The origin could not be reached or broke off, after every try.
    Failed(origin::Error),
}

/// All that proxy and control may ask of the engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    origin: Origin,
}

impl Handle {
    /// HTTP outwards, for everything that is not a listed segment.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// A manifest was fetched for `caller` and its answer is about to be sent: these segments are listed now.
    pub async fn listed(&self, listing: Listing, caller: &Caller) {
        let _ = (listing, caller);
    }

    /// A player asks for a URL that may be a listed segment; resolves when the head of the answer is known.
    ///
    /// # Errors
    /// See [`NoAnswer`]; for the first two the caller asks the origin itself.
    pub async fn segment(&self, ask: SegmentAsk) -> Result<Answer, NoAnswer> {
        let _ = ask;
        Err(NoAnswer::NotListed)
    }

    /// The statistics of `/-/stats` at this moment, as the contract's JSON document.
    pub async fn stats(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Turns P2P or upload on or off; `None` leaves it as it is. Returns what holds now.
    pub async fn switch(&self, change: Switches) -> Switches {
        change
    }
}

/// The two switches of `/-/p2p`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switches {
    /// Whether peers are used at all.
    pub p2p: Option<bool>,
    /// Whether anything is sent to peers.
    pub upload: Option<bool>,
}

/// Bytes of a segment.
pub type SegmentSpan = Range<u32>;
