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
use super::budget::Limits;
use super::clock::{self, Clock};
use super::fetch::News;
use super::finding::Found;
use super::history::Past;
use super::link::{Command, Event as PeerEvent};
use super::listings::Listings;
use super::memory::{Buffer, Hashed};
use super::origin::{Caller, Origin, ViewerKey};
use super::steering::{Change, Configured, Kept, Refused, Steered, Steering, Switches};
use super::{Answer, NoAnswer, SegmentAsk, report};
use crate::delivery::budget::Allowance;
use crate::delivery::{AskId, FetchId, Input, Node, Output};
use crate::model::ids::{SegmentId, SwarmId};
use crate::model::time::Time;
use crate::model::timeline::Listing;

/// Events of fetches and answers that may wait; past it fetches wait, which the origin feels as back-pressure.
pub const EVENTS: usize = 1024;
/// Questions of the proxy that may wait; past it requests wait.
pub const QUESTIONS: usize = 256;
/// Events handled before the wake-up is looked at again, so that a flood can't starve time.
const TURN: usize = 64;

/// What the proxy and control ask.
#[derive(Debug)]
pub enum Question {
    /// A manifest is on its way to a player; the channel that it belongs to.
    Listed(Listing, Caller, Option<String>, oneshot::Sender<()>),
    /// A player wants a segment.
    Segment(SegmentAsk, oneshot::Sender<Result<Answer, NoAnswer>>),
    /// The statistics.
    Stats(oneshot::Sender<Value>),
    /// What came and went in the last minutes.
    Past(oneshot::Sender<Value>),
    /// Turn something on or off, or nothing: what holds.
    Switch(Change, oneshot::Sender<Result<Switches, Refused>>),
    /// The configuration was read again.
    Configure(Box<Configured>, oneshot::Sender<()>),
    /// What is to be kept over a restart.
    Kept(oneshot::Sender<Kept>),
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
        /// Up to where its bytes were taken; 0: none were.
        took: u32,
    },
}

/// Starts the P2P side on threads of its own: called when a swarm is joined, and again after it was switched off and on.
/// Answers how its tasks are counted; `None` when it could not be started.
pub type StartPeers =
    Box<dyn FnMut(mpsc::Receiver<Command>, mpsc::Sender<PeerEvent>) -> Option<RuntimeMetrics> + Send>;

/// A player's request that is not over.
#[derive(Debug)]
pub(super) struct Waiting {
    pub asked: SegmentAsk,
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
    /// What it fills.
    pub buffer: Arc<Buffer>,
    /// On whose behalf the origin is asked.
    pub viewer: ViewerKey,
}

/// What the brain is made with.
pub struct Parts {
    /// The mind.
    pub node: Node,
    /// What it goes by.
    pub steering: Steering,
    /// Told when something is switched.
    pub steered: watch::Sender<Steered>,
    /// Told when the first stream is watched here, and when the last one was left.
    pub watched: watch::Sender<bool>,
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
    /// The origin's words of the fetch that failed in this step, and to whom it said them.
    pub(super) refusal: Option<(FetchId, NoAnswer, Option<ViewerKey>)>,
    /// The piece that came in this step.
    pub(super) piece: Option<(SegmentId, u8, Bytes)>,
    pub(super) tasks: JoinSet<()>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) commands: Option<mpsc::Sender<Command>>,
    /// The P2P side's own runtime, as it was last started.
    pub(super) peers: Option<RuntimeMetrics>,
    pub(super) peer_events: mpsc::Sender<PeerEvent>,
    pub(super) start_peers: Option<StartPeers>,
    pub(super) steering: Steering,
    steered: watch::Sender<Steered>,
    watched: watch::Sender<bool>,
    /// What came and went in the last minutes.
    pub(super) past: Past,
    /// What could not be done and comes back to the Node.
    pub(super) undone: Vec<Input>,
    next_ask: u64,
    out: Vec<Output>,
}

/// Runs until nobody is left to ask; then ends every fetch and the P2P side.
pub async fn run(parts: Parts, mut questions: mpsc::Receiver<Question>) {
    let (events, mut arriving) = mpsc::channel(EVENTS);
    let (peer_events, mut from_peers) = mpsc::channel(super::link::EVENTS);
    let mut brain = Brain::new(parts, events, peer_events);
    brain.tell_budget();
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
            () = sleep(wake) => {
                brain.forget_gone();
                brain.input(Input::Tick);
            }
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
    pub(super) fn new(
        parts: Parts,
        events: mpsc::Sender<Event>,
        peer_events: mpsc::Sender<PeerEvent>,
    ) -> Self {
        let Parts { node, steering, steered, watched, clock, origin, start_peers } = parts;
        Self {
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
            steering,
            steered,
            watched,
            past: Past::default(),
            undone: Vec::new(),
            next_ask: 0,
            out: Vec::new(),
        }
    }

    fn question(&mut self, question: Question) {
        match question {
            Question::Listed(listing, caller, channel, done) => {
                let (viewer, swarm) = (caller.viewer.0, listing.timeline.swarm);
                let now = self.clock.now();
                if self.listings.list(&listing, &caller, channel, now) {
                    // Bytes that are promised to a player are still to be asked for where they were listed.
                    let awaited: Vec<_> = self.asks.values().map(|ask| (ask.swarm, ask.segment)).collect();
                    self.listings.make_room(&awaited, now);
                    self.input(Input::Listed { timeline: listing.timeline, viewer });
                    self.tell_terms(swarm);
                }
                let _ = done.send(());
            }
            Question::Segment(ask, reply) => self.ask(ask, reply),
            Question::Stats(reply) => {
                self.note_uploads();
                let _ = reply.send(self.stats());
            }
            Question::Past(reply) => {
                // What came after the last point, and that nothing does any more, is else not in it.
                if !self.past.is_empty() {
                    self.note_past();
                }
                let _ = reply.send(self.past.document());
            }
            Question::Switch(change, reply) => {
                let (changes, limits) = (change != Change::default(), self.steering.limits());
                let made = self.steering.change(change);
                if made.is_ok() && changes {
                    self.reconsider(limits);
                }
                let switches = || self.steering.switches(&self.node);
                let _ = reply.send(made.map(|()| switches()));
            }
            Question::Configure(configured, done) => {
                let limits = self.steering.limits();
                self.steering.configure(*configured);
                self.reconsider(limits);
                let _ = done.send(());
            }
            Question::Withhold(why, done) => {
                self.steering.withhold(why);
                self.hold();
                let _ = done.send(());
            }
            Question::Kept(reply) => {
                self.note_uploads();
                let _ = reply.send(self.steering.kept());
            }
        }
    }

    fn stats(&self) -> Value {
        let now = self.clock.now();
        let mut document = report::document(&self.node, &self.listings, &self.steering, now);
        document["tasks"] = json!({
            "players": runtime::Handle::current().metrics().num_alive_tasks(),
            "peers": self.peers.as_ref().map_or(0, RuntimeMetrics::num_alive_tasks),
        });
        document
    }

    /// What is switched has changed: the Node and those outside hear of it. A budget that is spent stays so, whatever
    /// little is left of it, unless its limits are others than before.
    fn reconsider(&mut self, before: Limits) {
        self.note_uploads();
        self.hold();
        if self.steering.limits() != before {
            self.tell_budget();
        }
        for swarm in self.listings.swarms() {
            self.tell_terms(swarm);
        }
        let mode = self.steering.mode();
        self.steered.send_modify(|steered| *steered = Steered { mode, changes: steered.changes + 1 });
    }

    /// What holds from now on.
    fn hold(&mut self) {
        self.input(Input::Policy(self.steering.policy()));
    }

    /// What a rendition is kept from by its channel.
    fn tell_terms(&mut self, swarm: SwarmId) {
        let channel = self.listings.get(swarm).and_then(|rendition| rendition.channel.as_deref());
        let terms = self.steering.terms(channel);
        self.input(Input::Terms { swarm, terms });
    }

    /// Accounts for what was uploaded; on another day there is another budget.
    fn note_uploads(&mut self) {
        if self.steering.account.note(self.node.handed_out(), clock::unix()) {
            self.tell_budget();
        }
    }

    fn tell_budget(&mut self) {
        let allowance = self.allowance();
        self.input(Input::Budget(allowance));
    }

    /// What may be uploaded until when.
    pub(super) fn allowance(&mut self) -> Option<Allowance> {
        let unix = clock::unix();
        self.steering.account.note(self.node.handed_out(), unix);
        let (left, lasts) = self.steering.account.allowance(self.steering.limits(), unix)?;
        Some(Allowance { left, until: self.clock.now() + lasts })
    }

    pub(super) fn ask(&mut self, ask: SegmentAsk, reply: oneshot::Sender<Result<Answer, NoAnswer>>) {
        self.forget_gone();
        let Some(found) = self.listings.find(&ask.caller, &ask.url, ask.span, self.clock.now()) else {
            let _ = reply.send(Err(NoAnswer::NotListed));
            return;
        };
        let id = AskId(self.next_ask);
        self.next_ask += 1;
        let guard = Guard::new(id, self.events.clone());
        let viewer = ask.caller.viewer.0;
        let Found { swarm, segment, base, is_file, from, to } = found;
        if let Some(timeline) = self.listings.resume(swarm) {
            self.input(Input::Listed { timeline, viewer });
            self.tell_terms(swarm);
        }
        self.asks.insert(
            id,
            Waiting {
                asked: ask,
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

    /// Players that hung up before their answer began.
    fn forget_gone(&mut self) {
        let gone = |waiting: &Waiting| waiting.reply.as_ref().is_some_and(|(reply, _)| reply.is_closed());
        let gone: Vec<AskId> = self.asks.iter().filter(|(_, w)| gone(w)).map(|(ask, _)| *ask).collect();
        for ask in gone {
            self.asks.remove(&ask);
            self.input(Input::Done { ask });
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Took { ask, up_to } => self.input(Input::Took { ask, up_to }),
            Event::Done { ask, took } => {
                if self.asks.remove(&ask).is_some() {
                    if took > 0 {
                        self.input(Input::Took { ask, up_to: took });
                    }
                    self.input(Input::Done { ask });
                }
            }
            Event::Fetch { fetch, news } => self.news(fetch, news),
        }
    }

    pub(super) fn news(&mut self, fetch: FetchId, news: News) {
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
                let viewer = self.fetches.remove(&fetch).map(|fetching| fetching.viewer);
                self.refusal = Some((fetch, answer, viewer));
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
            PeerEvent::SwarmSize { tracker, swarm, viewers } => {
                self.input(Input::SwarmSize { tracker, swarm, viewers });
            }
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
            self.rest_peers();
        }
        let watched = !self.node.sessions().is_empty();
        if watched {
            self.note_past();
        }
        self.watched.send_if_modified(|was| std::mem::replace(was, watched) != watched);
    }

    fn note_past(&mut self) {
        let streams = self.node.sessions().iter().map(|session| (session.swarm, session.bytes));
        self.past.note(self.clock.now(), || self.node.totals(), streams);
    }

    async fn stop(mut self) {
        let mut out = Vec::new();
        self.node.leave(&mut out);
        out.into_iter().for_each(|output| self.carry_out(output));
        if let Some(commands) = self.commands.take() {
            let _ = commands.send(Command::Stop).await;
        }
        self.tasks.shutdown().await;
    }
}
