//! The one task that owns the Node: event in, handle, carry out.
//!
//! It waits for nothing but events and the Node's own wake-up. What it starts (fetches) it owns and ends; what it sends
//! to the P2P threads it sends without waiting, and tells the Node when that did not work.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::runtime::{self, RuntimeMetrics};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::answer::{Guard, Progress};
use super::clock::Clock;
use super::fetch::News;
use super::link::{Command, Event as PeerEvent};
use super::listings::{Found, Listings};
use super::memory::{Buffer, Hashed};
use super::origin::{Caller, Origin};
use super::{Answer, NoAnswer, SegmentAsk, Switches, report};
use crate::delivery::policy::Policy;
use crate::delivery::{AskId, FetchId, Input, Node, Output};
use crate::model::ids::{SegmentId, SwarmId};
use crate::model::time::Time;
use crate::model::timeline::Listing;
use crate::model::units::BitsPerSecond;

/// Events of fetches and answers that may wait; past it fetches wait, which the origin feels as back-pressure.
pub const EVENTS: usize = 1024;
/// Questions of the proxy that may wait; past it requests wait.
pub const QUESTIONS: usize = 256;
/// Events handled before the wake-up is looked at again, so that a flood can't starve time.
const TURN: usize = 64;

/// What the proxy and control ask.
#[derive(Debug)]
pub enum Question {
    /// A manifest is on its way to a player.
    Listed(Listing, Caller, oneshot::Sender<()>),
    /// A player wants a segment.
    Segment(SegmentAsk, oneshot::Sender<Result<Answer, NoAnswer>>),
    /// The statistics.
    Stats(oneshot::Sender<Value>),
    /// Turn something on or off.
    Switch(Switches, oneshot::Sender<Switches>),
    /// Change what holds.
    Policy(Policy, oneshot::Sender<()>),
    /// A reason not to upload for now, or none any more.
    Withhold(Option<String>, oneshot::Sender<()>),
}

/// What fetches and answers report.
#[derive(Debug)]
pub enum Event {
    /// A fetch has news.
    Fetch {
        /// Which.
        fetch: FetchId,
        /// What.
        news: News,
    },
    /// A player's connection took bytes.
    Took {
        /// Of which request.
        ask: AskId,
        /// Up to here.
        up_to: u32,
    },
    /// A request is over.
    Done {
        /// Which.
        ask: AskId,
    },
}

/// Starts the P2P side on threads of its own: called when a swarm is joined, and again after it was switched off and on.
/// Answers how its tasks are counted; `None` when it could not be started.
pub type StartPeers =
    Box<dyn FnMut(mpsc::Receiver<Command>, mpsc::Sender<PeerEvent>) -> Option<RuntimeMetrics> + Send>;

/// A player's request that is not over.
#[derive(Debug)]
pub(super) struct Waiting {
    pub segment: SegmentId,
    pub swarm: SwarmId,
    pub base: u64,
    /// The segment is a whole file: its length is the file's.
    pub is_file: bool,
    pub from: u32,
    pub to: Option<u32>,
    pub progress: Arc<Progress>,
    pub since: Time,
    /// Until the head of the answer is known.
    pub reply: Option<(oneshot::Sender<Result<Answer, NoAnswer>>, Guard)>,
}

/// A fetch under way.
#[derive(Debug)]
pub(super) struct Fetching {
    pub allowed: watch::Sender<u32>,
    pub abort: AbortHandle,
    pub swarm: SwarmId,
    pub segment: SegmentId,
}

/// Whether uploads are wanted, and what speaks against them for now.
#[derive(Debug, Default)]
pub(super) struct Wish {
    wanted: bool,
    insisted: bool,
    withheld: Option<String>,
}

impl Wish {
    /// Why nothing is uploaded though it is wanted.
    fn reason(&self) -> Option<&str> {
        self.withheld.as_deref().filter(|_| self.wanted && !self.insisted)
    }
}

/// What the brain is made with.
pub struct Parts {
    /// The mind.
    pub node: Node,
    /// Its clock.
    pub clock: Clock,
    /// HTTP outwards.
    pub origin: Origin,
    /// How the P2P side is started; `None`: there is none to start.
    pub start_peers: Option<StartPeers>,
}

/// The brain's own state.
pub struct Brain {
    pub(super) node: Node,
    pub(super) clock: Clock,
    pub(super) origin: Origin,
    pub(super) listings: Listings,
    pub(super) buffers: HashMap<SegmentId, Arc<Buffer>>,
    pub(super) asks: HashMap<AskId, Waiting>,
    pub(super) fetches: HashMap<FetchId, Fetching>,
    /// The origin's words of the fetch that failed in this step.
    pub(super) refusal: Option<(FetchId, NoAnswer)>,
    /// The piece that came in this step.
    pub(super) piece: Option<(SegmentId, u8, Bytes)>,
    pub(super) tasks: JoinSet<()>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) commands: Option<mpsc::Sender<Command>>,
    /// The P2P side's own runtime, as it was last started.
    pub(super) peers: Option<RuntimeMetrics>,
    pub(super) peer_events: mpsc::Sender<PeerEvent>,
    pub(super) start_peers: Option<StartPeers>,
    uploads: Wish,
    /// What could not be done and comes back to the Node.
    pub(super) undone: Vec<Input>,
    next_ask: u64,
    out: Vec<Output>,
}

/// Runs until nobody is left to ask; then ends every fetch and the P2P side.
pub async fn run(parts: Parts, mut questions: mpsc::Receiver<Question>) {
    let (events, mut arriving) = mpsc::channel(EVENTS);
    let (peer_events, mut from_peers) = mpsc::channel(super::link::EVENTS);
    let Parts { node, clock, origin, start_peers } = parts;
    let uploads = Wish { wanted: node.policy().upload, ..Wish::default() };
    let mut brain = Brain {
        node,
        clock,
        origin,
        listings: Listings::default(),
        buffers: HashMap::new(),
        asks: HashMap::new(),
        fetches: HashMap::new(),
        refusal: None,
        piece: None,
        tasks: JoinSet::new(),
        events,
        commands: None,
        peers: None,
        peer_events,
        start_peers,
        uploads,
        undone: Vec::new(),
        next_ask: 0,
        out: Vec::new(),
    };
    loop {
        let wake = brain.node.next_wakeup().map(|(at, _)| at - brain.clock.now());
        tokio::select! {
            question = questions.recv() => match question {
                Some(question) => brain.question(question),
                None => break,
            },
            Some(event) = arriving.recv() => {
                brain.event(event);
                for _ in 0..TURN {
                    let Ok(event) = arriving.try_recv() else { break };
                    brain.event(event);
                }
            }
            Some(event) = from_peers.recv() => {
                brain.peer_event(event);
                for _ in 0..TURN {
                    let Ok(event) = from_peers.try_recv() else { break };
                    brain.peer_event(event);
                }
            }
            () = sleep(wake) => brain.input(Input::Tick),
            Some(_) = brain.tasks.join_next() => {}
        }
    }
    // Whoever waits to tell us something must not wait while we wait for them.
    drop((arriving, from_peers, questions));
    brain.stop().await;
}

/// Sleeps until the wake-up; for ever when there is none.
async fn sleep(wake: Option<Duration>) {
    match wake {
        Some(wake) => tokio::time::sleep(wake).await,
        None => std::future::pending().await,
    }
}

impl Brain {
    fn question(&mut self, question: Question) {
        match question {
            Question::Listed(listing, caller, done) => {
                let viewer = caller.viewer.0;
                if self.listings.list(&listing, &caller) {
                    self.input(Input::Listed { timeline: listing.timeline, viewer });
                }
                let _ = done.send(());
            }
            Question::Segment(ask, reply) => self.ask(ask, reply),
            Question::Stats(reply) => {
                let _ = reply.send(self.stats());
            }
            Question::Switch(change, reply) => {
                let mut policy = Policy { upload: self.uploads.wanted, ..*self.node.policy() };
                policy.p2p = change.p2p.unwrap_or(policy.p2p);
                policy.upload = change.upload.unwrap_or(policy.upload);
                if let Some(limit) = change.upload_limit {
                    policy.upload_limit = (limit > 0).then_some(BitsPerSecond(limit));
                }
                // Who says so in so many words means it.
                self.uploads.insisted |= change.upload.is_some();
                self.hold(policy);
                let policy = self.node.policy();
                let limit = policy.upload_limit.map_or(0, |limit| limit.0);
                let (p2p, upload) = (Some(policy.p2p), Some(policy.upload));
                let _ = reply.send(Switches { p2p, upload, upload_limit: Some(limit) });
            }
            Question::Policy(policy, done) => {
                self.uploads.insisted = false;
                self.hold(policy);
                let _ = done.send(());
            }
            Question::Withhold(why, done) => {
                self.uploads.withheld = why;
                self.hold(Policy { upload: self.uploads.wanted, ..*self.node.policy() });
                let _ = done.send(());
            }
        }
    }

    fn stats(&self) -> Value {
        let now = self.clock.now();
        let mut document = report::document(&self.node, &self.listings, self.uploads.reason(), now);
        document["tasks"] = json!({
            "players": runtime::Handle::current().metrics().num_alive_tasks(),
            "peers": self.peers.as_ref().map_or(0, RuntimeMetrics::num_alive_tasks),
        });
        document
    }

    /// What holds from now on, but for uploads that there is a reason against.
    fn hold(&mut self, mut policy: Policy) {
        self.uploads.wanted = policy.upload;
        policy.upload &= self.uploads.reason().is_none();
        self.input(Input::Policy(policy));
    }

    fn ask(&mut self, ask: SegmentAsk, reply: oneshot::Sender<Result<Answer, NoAnswer>>) {
        let Some(found) = self.listings.find(ask.caller.viewer, &ask.url, ask.span) else {
            let _ = reply.send(Err(NoAnswer::NotListed));
            return;
        };
        let id = AskId(self.next_ask);
        self.next_ask += 1;
        let guard = Guard::new(id, self.events.clone());
        let viewer = ask.caller.viewer.0;
        let Found { swarm, segment, base, is_file, from, to } = found;
        self.asks.insert(
            id,
            Waiting {
                segment,
                swarm,
                base,
                is_file,
                from,
                to,
                progress: Arc::default(),
                since: self.clock.now(),
                reply: Some((reply, guard)),
            },
        );
        self.input(Input::Asked { ask: id, viewer, swarm, segment, from, to });
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Took { ask, up_to } => self.input(Input::Took { ask, up_to }),
            Event::Done { ask } => {
                if self.asks.remove(&ask).is_some() {
                    self.input(Input::Done { ask });
                }
            }
            Event::Fetch { fetch, news } => self.news(fetch, news),
        }
    }

    fn news(&mut self, fetch: FetchId, news: News) {
        let Some(fetching) = self.fetches.get(&fetch) else { return };
        let (swarm, segment) = (fetching.swarm, fetching.segment);
        match news {
            News::Head { length, shareable, headers } => {
                if let Some(rendition) = self.listings.get_mut(swarm) {
                    rendition.headers = headers;
                }
                self.input(Input::Head { fetch, length, shareable });
            }
            News::Bytes { up_to, hashed } => {
                self.input(Input::Arrived { fetch, up_to });
                self.hashed(segment, hashed);
            }
            News::Whole { hashed } => {
                self.fetches.remove(&fetch);
                self.input(Input::Fetched { fetch });
                self.hashed(segment, hashed);
            }
            News::Failed { fault, answer } => {
                self.fetches.remove(&fetch);
                self.refusal = Some((fetch, answer));
                self.input(Input::Failed { fetch, fault });
                self.refusal = None;
            }
        }
    }

    fn hashed(&mut self, segment: SegmentId, hashed: Vec<Hashed>) {
        for (piece, hash) in hashed {
            self.input(Input::Hashed { segment, piece, hash });
        }
    }

    fn peer_event(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Joined { peer, .. } => self.input(Input::Joined { peer }),
            PeerEvent::Left { peer, misbehaved } => self.input(Input::Left { peer, misbehaved }),
            PeerEvent::Said { peer, message } => self.input(Input::Said { peer, message }),
            PeerEvent::Piece { peer, segment, piece, bytes, hash } => {
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                self.piece = Some((segment, piece, bytes));
                self.input(Input::Piece { peer, segment, piece, length, hash });
                self.piece = None;
            }
            PeerEvent::Sent { peer, segment, piece } => self.input(Input::Sent { peer, segment, piece }),
            PeerEvent::SwarmSize { swarm, viewers } => self.input(Input::SwarmSize { swarm, viewers }),
            PeerEvent::Tracker { tracker, up, interval_s } => {
                self.input(Input::Tracker { tracker, up, interval_s });
            }
        }
    }

    /// Tells the Node and does what it says; what could not be done is told in turn.
    pub(super) fn input(&mut self, input: Input) {
        self.undone.push(input);
        while let Some(input) = self.undone.pop() {
            let mut out = std::mem::take(&mut self.out);
            self.node.handle(self.clock.now(), input, &mut out);
            for output in out.drain(..) {
                self.carry_out(output);
            }
            self.out = out;
        }
    }

    async fn stop(mut self) {
        if let Some(commands) = self.commands.take() {
            let _ = commands.send(Command::Stop).await;
        }
        self.tasks.shutdown().await;
    }
}
