//! What the Node decides, carried out.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, header};
use tokio::sync::{mpsc, watch};

use super::answer::AnswerBody;
use super::brain::{Brain, Fetching};
use super::fetch::{self, Job};
use super::link::{COMMANDS, Command};
use super::{Answer, NoAnswer, Source, origin};
use crate::delivery::{AskId, Failure, FetchId, Input, Output, Report};
use crate::model::ids::{PeerId, SegmentId, SwarmId};
use crate::model::shown::shown;

/// Headers of an origin's answer that speak of that one answer, or of its bytes alone, and not of each segment.
const OF_ONE_ANSWER: [HeaderName; 18] = [
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::ACCEPT_RANGES,
    header::SET_COOKIE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::AGE,
    header::DATE,
    header::EXPIRES,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("x-goog-hash"),
    HeaderName::from_static("x-ms-blob-content-md5"),
];
/// What the names of checksums begin with where a store has several.
const CHECKSUMS: &str = "x-amz-checksum-";

impl Brain {
    pub(super) fn carry_out(&mut self, output: Output) {
        match output {
            Output::Fetch { fetch, swarm, segment, from, to, allowed } => {
                self.fetch(fetch, (swarm, segment), (from, to), allowed);
            }
            Output::Allow { fetch, up_to } => {
                if let Some(fetching) = self.fetches.get(&fetch) {
                    fetching.allowed.send_replace(up_to.unwrap_or(u32::MAX));
                }
            }
            Output::CancelFetch { fetch } => {
                if let Some(fetching) = self.fetches.remove(&fetch) {
                    fetching.abort.abort();
                }
            }
            Output::Ready { ask, up_to, length } => self.ready(ask, up_to, length),
            Output::Fail { ask, why } => self.fail(ask, why),
            Output::Keep { segment, piece } => self.keep(segment, piece),
            Output::Discard { segment, pieces } => {
                if let Some(buffer) = self.buffers.get(&segment) {
                    buffer.discard(pieces);
                }
            }
            Output::Drop { segment } => self.drop_buffer(segment),
            Output::SendPiece { peer, segment, piece } => self.send_piece(peer, segment, piece),
            Output::Say { peer, message } => self.tell_peer(peer, Command::Say { peer, message }),
            Output::Disconnect { peer, shun } => self.command(Command::Disconnect { peer, shun }),
            Output::Announce { swarm, offers, started, account } => {
                let uploads = self.node.gives(swarm);
                self.command(Command::Announce { swarm, offers, started, uploads, account });
            }
            Output::Leave { swarm, account } => self.command(Command::Leave { swarm, account }),
            Output::Room { connections } => {
                if connections > 0 {
                    self.wake_peers();
                }
                self.command(Command::Room { connections });
            }
            Output::Connect { tracker } => {
                self.wake_peers();
                self.command(Command::Connect { tracker });
            }
            Output::Renew => {
                let allowance = self.allowance();
                self.undone.push(Input::Budget(allowance));
            }
            Output::Report(report) => self.log(report),
        }
    }

    /// Ends the P2P side once P2P is off, and everything that was to be told before is told.
    pub(super) fn rest_peers(&mut self) {
        if !self.node.policy().p2p
            && let Some(commands) = self.commands.take()
        {
            // A full queue is no reason to stay: the closed channel says the same.
            let _ = commands.try_send(Command::Stop);
        }
    }

    fn fetch(
        &mut self,
        fetch: FetchId,
        (swarm, segment): (SwarmId, SegmentId),
        (from, to): (u32, Option<u32>),
        allowed: Option<u32>,
    ) {
        // On behalf of whoever has waited for it longest, where somebody has.
        let asks = self.asks.iter().filter(|(_, ask)| (ask.swarm, ask.segment) == (swarm, segment));
        let asked = asks.min_by_key(|(id, _)| **id).map(|(_, ask)| &ask.asked);
        let Some((place, caller)) = self.listings.place(swarm, segment, asked) else {
            self.refusal = None;
            self.undone.push(Input::Failed { fetch, fault: crate::delivery::Fault::Refused });
            return;
        };
        let buffer = Arc::clone(self.buffers.entry(segment).or_default());
        let (allow, allowed) = watch::channel(allowed.unwrap_or(u32::MAX));
        let viewer = caller.viewer;
        let job = Job { fetch, place, caller, from, to, buffer: Arc::clone(&buffer), allowed };
        let abort = self.tasks.spawn(fetch::run(job, self.origin.clone(), self.events.clone()));
        self.fetches.insert(fetch, Fetching { allowed: allow, abort, swarm, segment, buffer, viewer });
    }

    /// What is here of a segment goes. A fetch that goes on has begun anew in its buffer, which the others are to read.
    fn drop_buffer(&mut self, segment: SegmentId) {
        let fetching = self.fetches.iter().filter(|(_, fetching)| fetching.segment == segment);
        match fetching.max_by_key(|(fetch, _)| **fetch).map(|(_, fetching)| Arc::clone(&fetching.buffer)) {
            Some(buffer) => drop(self.buffers.insert(segment, buffer)),
            None => drop(self.buffers.remove(&segment)),
        }
    }

    fn keep(&mut self, segment: SegmentId, piece: u8) {
        let grid = self.node.grid(segment);
        let Some(((of, index, bytes), grid)) = self.piece.take().zip(grid) else { return };
        if (of, index) == (segment, piece) {
            self.buffers.entry(segment).or_default().keep(grid, piece, bytes);
        }
    }

    fn ready(&mut self, ask: AskId, up_to: u32, length: Option<u32>) {
        let now = self.clock.now();
        let Some(waiting) = self.asks.get_mut(&ask) else { return };
        let end = waiting.to.map_or(length, |to| Some(length.map_or(to, |length| length.min(to))));
        waiting.progress.advance(up_to, end);
        let Some((reply, guard)) = waiting.reply.take() else { return };
        let buffer = Arc::clone(self.buffers.entry(waiting.segment).or_default());
        let headers = self.listings.get(waiting.swarm).map(|r| of_segment(&r.headers)).unwrap_or_default();
        let source = self.node.source(waiting.segment, waiting.from);
        let body = AnswerBody::new(buffer, Arc::clone(&waiting.progress), waiting.from, end, guard);
        let answer = Answer {
            total: length.map(u64::from).filter(|_| waiting.is_file),
            from: waiting.base + u64::from(waiting.from),
            to: end.map(|end| waiting.base + u64::from(end)),
            headers,
            source: match source {
                (true, false) => Source::Http,
                (false, true) => Source::P2p,
                (false, false) => Source::Memory,
                (true, true) => Source::Mixed,
            },
            waited: now - waiting.since,
            body,
        };
        // Nobody is there any more: the guard in the answer tells the Node.
        let _ = reply.send(Ok(answer));
    }

    fn fail(&mut self, ask: AskId, why: Failure) {
        let Some(mut waiting) = self.asks.remove(&ask) else { return };
        let answer = match (why, &self.refusal) {
            // Who is refused says nothing of another: he asks in his own name.
            (Failure::Origin(fetch), Some((failed, NoAnswer::Refused(_), viewer)))
                if fetch == *failed && *viewer != Some(waiting.asked.caller.viewer) =>
            {
                NoAnswer::PassThrough
            }
            (Failure::Origin(fetch), Some((failed, answer, _))) if fetch == *failed => answer.clone(),
            (Failure::Origin(_), _) => {
                NoAnswer::Failed(origin::Error::Unreachable("the origin could not be asked".into()))
            }
            (Failure::PassThrough, _) => NoAnswer::PassThrough,
        };
        match waiting.reply.take() {
            Some((reply, _guard)) => {
                let _ = reply.send(Err(answer));
            }
            None => waiting.progress.break_off(format!("{answer}")),
        }
    }

    fn send_piece(&mut self, peer: PeerId, segment: SegmentId, piece: u8) {
        match self.buffers.get(&segment).and_then(|buffer| buffer.piece(piece)) {
            Some(bytes) => self.tell_peer(peer, Command::SendPiece { peer, segment, piece, bytes }),
            None => self.undone.push(Input::Unsent { peer, segment, piece }),
        }
    }

    /// Starts the P2P side, unless it runs.
    fn wake_peers(&mut self) {
        if self.commands.is_none()
            && let Some(start) = &mut self.start_peers
        {
            let (commands, receiver) = mpsc::channel(COMMANDS);
            self.peers = start(receiver, self.peer_events.clone());
            self.commands = Some(commands);
        }
    }

    /// A command about one peer: when the queue is full, the peer is given up.
    fn tell_peer(&mut self, peer: PeerId, command: Command) {
        let sent = self.commands.as_ref().is_some_and(|commands| commands.try_send(command).is_ok());
        if !sent {
            self.undone.push(Input::Left { peer, misbehaved: false });
        }
    }

    fn command(&mut self, command: Command) {
        let Some(commands) = &self.commands else { return };
        if commands.try_send(command).is_err() {
            tracing::warn!("the P2P side does not keep up; it is left alone for now");
        }
    }

    fn log(&mut self, report: Report) {
        let name = |brain: &Self, swarm| {
            let manifest = brain.listings.get(swarm).map(|r| shown(&r.manifest));
            manifest.unwrap_or_else(|| format!("{swarm}"))
        };
        match report {
            Report::StreamJoined { swarm } => {
                let stream = name(self, swarm);
                tracing::info!(stream, swarm = %swarm, "playing {stream}");
            }
            Report::StreamLeft { swarm, bytes, viewers, watched } => {
                if watched {
                    let stream = name(self, swarm);
                    tracing::info!(
                        stream,
                        swarm = %swarm,
                        http_bytes = bytes.http,
                        p2p_bytes = bytes.p2p,
                        uploaded_bytes = bytes.uploaded,
                        viewers,
                        "left {stream}: {:.1} MB, {:.0} % from peers{}",
                        (bytes.http + bytes.p2p) as f64 / 1e6,
                        bytes.peer_efficiency() * 100.0,
                        if viewers > 1 { format!(" ({viewers} viewers at most)") } else { String::new() },
                    );
                }
                self.past.forget(swarm);
                self.listings.leave(swarm);
            }
            Report::BudgetSpent => {
                // What it says is of the period that is on.
                self.allowance();
                let why = self.steering.reason(true).unwrap_or_default();
                tracing::info!("nothing is uploaded for now: {why}");
            }
            Report::Shunned { peer, why } => {
                tracing::warn!(
                    peer = %peer,
                    why = %why,
                    "peer {peer} is refused from now on: {why}; nothing it sent was played"
                );
            }
        }
    }
}

/// The headers that speak of the segment, whichever way its bytes come.
pub fn of_segment(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    let sums = headers.keys().filter(|name| name.as_str().starts_with(CHECKSUMS));
    for name in OF_ONE_ANSWER.iter().chain(sums) {
        kept.remove(name);
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::delivery::Node;
    use crate::delivery::policy::{Options, Policy, Upload, VOD_GONE};
    use crate::engine::brain::Parts;
    use crate::engine::budget::Limits;
    use crate::engine::clock::Clock;
    use crate::engine::fetch::News;
    use crate::engine::origin::{Caller, Origin, OwnListeners, Reach, Refusal, ViewerKey};
    use crate::engine::steering::{Configured, Kept, Steered, Steering};
    use crate::engine::{SegmentAsk, Span};
    use crate::model::time::Time;
    use crate::model::timeline::{Choice, Kind, Listing, Place, Segment, Timeline};
    use http::HeaderValue;
    use tokio::sync::oneshot;

    fn brain() -> Brain {
        let me = PeerId::from_entropy([1; 12]);
        let configured = Configured {
            policy: Policy::new(&Options { enabled: false, ..Options::default() }, 1 << 20),
            mode: Upload::Never,
            budget: Limits::default(),
            channels: BTreeMap::new(),
            keeps: false,
        };
        let steering = Steering::new(configured, Kept::default(), 0);
        let node = Node::new(me, steering.policy(), 0, 1);
        let roots = rustls::RootCertStore::empty();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.unwrap().with_root_certificates(roots).with_no_client_auth();
        let origin = Origin::with_tls(origin::Options::default(), OwnListeners::default(), tls).unwrap();
        let (steered, _) = watch::channel(Steered { mode: steering.mode(), changes: 0 });
        let (watched, _) = watch::channel(false);
        let clock = Clock::start();
        let parts = Parts { node, steering, steered, watched, clock, origin, start_peers: None };
        Brain::new(parts, mpsc::channel(1).0, mpsc::channel(1).0)
    }

    /// Of one segment, and where that is.
    fn recording() -> (url::Url, Listing) {
        let segment = Segment { id: SegmentId(7), sequence: 7, duration: Duration::from_secs(4) };
        let timeline = Timeline {
            swarm: SwarmId([1; 20]),
            kind: Kind::Vod,
            target: Duration::from_secs(4),
            choice: Choice::default(),
            segments: vec![segment].into(),
        };
        let url = url::Url::parse("http://127.0.0.1:9/7.ts").unwrap();
        let places = vec![Place { url: (&url).into(), range: None }];
        let listing = Listing { manifest: url.clone(), rendition: String::new(), timeline, places };
        (url, listing)
    }

    /// Players do not load the playlist of a recording a second time.
    #[tokio::test]
    async fn a_recording_is_gone_on_with_after_a_pause_however_long() {
        let mut brain = brain();
        let (url, listing) = recording();
        let timeline = listing.timeline.clone();
        let (viewer, headers) = (ViewerKey(1), HeaderMap::new());
        let caller = Caller { viewer, headers, own_browser: true, downgrades: true, reach: Reach::Loopback };
        assert!(brain.listings.list(&listing, &caller, None, Time::ZERO));
        brain.input(Input::Listed { timeline, viewer: 1 });
        let mut out = Vec::new();
        brain.node.handle(Time::ZERO + VOD_GONE * 2, Input::Tick, &mut out);
        out.into_iter().for_each(|output| brain.carry_out(output));
        assert!(brain.node.sessions().is_empty(), "nobody is believed to play it any more");
        let (reply, mut answer) = oneshot::channel();
        brain.ask(SegmentAsk { url, span: Span::Whole, caller }, reply);
        assert!(answer.try_recv().is_err(), "it is not passed through");
        assert_eq!((brain.node.sessions().len(), brain.fetches.len()), (1, 1));
    }

    /// One viewer's token has run out, and another waits for the same segment.
    #[tokio::test]
    async fn what_the_origin_refuses_one_viewer_is_not_refused_another() {
        let mut brain = brain();
        let (url, listing) = recording();
        let timeline = listing.timeline.clone();
        let mut answers = [1, 2].map(|viewer| {
            let (reach, headers) = (Reach::Loopback, HeaderMap::new());
            let caller =
                Caller { viewer: ViewerKey(viewer), headers, own_browser: true, downgrades: true, reach };
            brain.listings.list(&listing, &caller, None, Time::ZERO);
            brain.input(Input::Listed { timeline: timeline.clone(), viewer });
            let (reply, answer) = oneshot::channel();
            brain.ask(SegmentAsk { url: url.clone(), span: Span::Whole, caller }, reply);
            answer
        });
        let fetch = *brain.fetches.keys().next().unwrap();
        assert_eq!(brain.fetches.len(), 1, "one for both");
        let (status, headers) = (http::StatusCode::FORBIDDEN, HeaderMap::new());
        let refusal = Refusal { status, headers, body: bytes::Bytes::new() };
        brain.news(
            fetch,
            News::Failed { fault: crate::delivery::Fault::Denied, answer: NoAnswer::Refused(refusal) },
        );
        assert!(matches!(answers[0].try_recv(), Ok(Err(NoAnswer::Refused(_)))));
        assert!(matches!(answers[1].try_recv(), Ok(Err(NoAnswer::PassThrough))));
    }

    #[tokio::test]
    async fn a_piece_that_is_gone_by_the_time_it_is_to_be_sent_is_not_told_as_sent() {
        let (mut brain, peer, segment) = (brain(), PeerId::from_entropy([2; 12]), SegmentId(7));
        brain.carry_out(Output::SendPiece { peer, segment, piece: 3 });
        assert_eq!(brain.undone, [Input::Unsent { peer, segment, piece: 3 }]);
    }

    /// A player that checks them would throw right bytes away.
    #[test]
    fn what_a_store_says_of_one_answer_is_not_said_of_another() {
        let mut headers = HeaderMap::new();
        for name in ["content-md5", "repr-digest", "x-goog-hash", "x-amz-checksum-crc32c", "expires", "etag"]
        {
            headers.append(name, HeaderValue::from_static("x"));
            headers.append(name, HeaderValue::from_static("y"));
        }
        headers.insert("content-type", HeaderValue::from_static("video/mp2t"));
        headers.insert("cache-control", HeaderValue::from_static("max-age=60"));
        let kept = of_segment(&headers);
        let mut names: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "content-type"]);
    }
}
