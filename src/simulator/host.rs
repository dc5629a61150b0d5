//! A viewer: the daemon's Node, a player beside it, and the line that both share.
//!
//! A host only ever looks at its own state and at what reached it, so hosts can live on different shards. What it does
//! to others it puts into an [`Outbox`], to arrive no sooner than the shortest delay of the world.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::content::Content;
use super::event::{Incoming, ToBroker, What, Wish};
use super::link::Uplink;
use super::origin::Request;
use super::place::Place;
use super::plain::Plain;
use super::player::{Act, Player};
use super::scenario::{Role, Setting};
use super::story::Story;
use super::tally::Tally;
use crate::delivery::account::{Bytes, Reason};
use crate::delivery::{AskId, FetchId, Input, Node, Output};
use crate::model::ids::{PeerId, SegmentId};
use crate::model::time::Time;
use crate::wire::digest::PieceHash;
use crate::wire::message::Message;

/// From the answer to an offer until the channel is open: ICE and DTLS as measured on the crate.
pub(super) const OPENING: Duration = Duration::from_millis(600);
/// From a peer's silence to its connection counting as lost.
pub const SILENCE: Duration = Duration::from_secs(12);
/// Steady state begins so long after a viewer joined.
pub const SETTLED: Duration = Duration::from_secs(20);

/// What leaves a host.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    /// To other hosts.
    pub hosts: Vec<Incoming>,
    /// To the origin.
    pub origin: Vec<Request>,
    /// To the tracker.
    pub tracker: Vec<ToBroker>,
}

/// What all hosts share and nobody changes.
#[derive(Debug)]
pub struct Around {
    /// Of the scenario.
    pub setting: Setting,
    /// What is played.
    pub content: Arc<Content>,
    /// Every host's line.
    pub places: Vec<Place>,
    /// Of the run.
    pub seed: u64,
    /// Whose story is told.
    pub traced: Option<u32>,
}

impl Around {
    /// Whether the tracker is there.
    #[must_use]
    pub fn tracker_up(&self, at: Time) -> bool {
        self.setting.outage.is_none_or(|(from, to)| at < Time::ZERO + from || at >= Time::ZERO + to)
    }
}

/// A connection with another host.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub peer: u32,
    pub open: bool,
    /// When the last that was said or sent gets there: a channel is ordered, and nothing arrives before that.
    pub last: Time,
}

impl Link {
    /// A connection that opens some time later.
    pub(super) fn to(peer: u32) -> Self {
        Self { peer, open: false, last: Time::ZERO }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Fetching {
    pub fetch: FetchId,
    pub segment: SegmentId,
    pub from: u32,
    pub got: u32,
    /// Up to where it has come to the near end of the downlink.
    pub came: u32,
    pub length: u32,
    pub headed: bool,
}

/// What a host is waiting for.
#[derive(Clone, Debug)]
pub(super) enum Due {
    /// The manifest, as it was at a time.
    Listing(Time),
    /// The channel to a host opens.
    Opens(u32),
    /// The attempt to reach the tracker ends.
    Tracker,
    /// Something of this host gets through the downlink.
    Through(u32, What),
    /// What was connected before the machine was suspended turns out to be dead.
    Dead,
}

/// A piece on its way to a peer.
pub(super) type Leaving = (u32, SegmentId, u8, u32);

/// One viewer; what is looked at with every event stands first.
#[derive(Debug)]
#[repr(C)]
pub struct Host {
    last: Time,
    /// When something but its player is due, as of the last look; to be looked at anew once it has done anything.
    stirs: Option<Option<Time>>,
    /// The window in which it is looked at next by itself.
    pub(super) looked_at: Option<u64>,
    /// Its machine does nothing before this.
    pub(super) suspended_until: Option<Time>,
    telling: bool,
    /// The player has got something and is to be looked at.
    pub(super) again: bool,
    pub(super) kept: bool,
    pub(super) index: u32,
    pub(super) number: u32,
    pub(super) place: Place,
    pub(super) links: Vec<Link>,
    /// Own events that are due at a time.
    pub(super) due: Vec<(Time, Due)>,
    pub(super) uplink: Uplink<Leaving>,
    pub(super) down_free: Time,
    /// Messages that wait behind a piece for the same host: channels are ordered.
    pub(super) behind: Vec<(u32, Message)>,
    /// The piece that came in this step, and whether the Node kept it.
    pub(super) incoming: Option<(u32, PieceHash)>,
    pub(super) player: Player,
    pub(super) role: Role,
    pub(super) node: Node,
    pub(super) rendition: u32,
    pub(super) fetches: Vec<Fetching>,
    /// What is left of fetches that broke off, by segment.
    pub(super) scraps: Vec<(SegmentId, u32, u32)>,
    pub(super) shunned: Vec<u32>,
    pub(super) offers: u32,
    pub(super) room: usize,
    pub(super) joined: Time,
    pub(super) settled: Option<Bytes>,
    /// Bytes that went past the Node.
    pub(super) passed_on: u64,
    /// Segments by reason when its steady state began.
    pub(super) settled_segments: Option<[u64; Reason::ALL.len()]>,
    pub(super) next_ask: u64,
    pub(super) wrong: Vec<(SegmentId, u8)>,
    /// Live segments before this one were counted as spread.
    pub(super) counted: u64,
}

/// What a host is being told and answers. One host acts at a time, so a shard has one for all: it stays near.
#[derive(Debug, Default)]
pub(super) struct Desk {
    inputs: VecDeque<Input>,
    out: Vec<Output>,
}

/// Everything a host needs besides itself to act.
pub(super) struct Scene<'a> {
    pub around: &'a Around,
    pub tally: &'a mut Tally,
    pub outbox: &'a mut Outbox,
    pub story: &'a mut Story,
    pub desk: &'a mut Desk,
    pub now: Time,
}

impl Host {
    /// A viewer that joins now.
    #[must_use]
    pub fn new(index: u32, around: &Around, now: Time) -> Self {
        let setting = &around.setting;
        let (place, role) = (around.places[index as usize], setting.role(around.seed, index));
        let me = peer_id(around.seed, index);
        let policy = setting.policy(&place);
        let trackers = usize::from(policy.p2p);
        let seed = crate::delivery::chance::mix(around.seed ^ u64::from(index) << 32);
        let kind = setting.player(around.seed, index);
        let (service, down) = (setting.service, f64::from(place.down));
        let plain = Plain::new(service.each.0 as f64 / 8e6, down, service.absence(), now);
        Self {
            index,
            place,
            role,
            node: Node::new(me, policy, trackers, seed),
            player: Player::new(kind, &setting.programme, plain, now),
            rendition: 0,
            uplink: Uplink::new(place.up),
            links: Vec::new(),
            behind: Vec::new(),
            fetches: Vec::new(),
            scraps: Vec::new(),
            shunned: Vec::new(),
            due: Vec::new(),
            down_free: now,
            number: 0,
            offers: 0,
            room: 0,
            joined: now,
            suspended_until: None,
            settled: None,
            passed_on: 0,
            settled_segments: None,
            next_ask: 0,
            wrong: Vec::new(),
            last: now,
            telling: false,
            again: false,
            incoming: None,
            kept: false,
            counted: 0,
            looked_at: None,
            stirs: None,
        }
    }

    /// When it will do something by itself.
    #[must_use]
    pub fn next(&mut self, now: Time) -> Option<Time> {
        if self.is_suspended(now) {
            return self.suspended_until;
        }
        let stirs = match self.stirs {
            Some(known) => known,
            None => {
                let node = self.node.next_wakeup().map(|(at, _)| at);
                let due = self.due.iter().map(|(at, _)| *at).min();
                *self.stirs.insert(sooner(sooner(node, due), self.uplink.next()))
            }
        };
        sooner(stirs, self.player.acts_at(now))
    }

    /// Does what is due by itself at `scene.now`.
    pub(super) fn own(&mut self, scene: &mut Scene<'_>) {
        let now = scene.now;
        self.stirs = None;
        self.last = self.last.max(now);
        if self.settled.is_none() && now >= self.joined + SETTLED {
            self.settled = Some(self.totals());
            self.settled_segments = Some(self.node.segments().by_reason);
        }
        while let Some(leaving) = self.uplink.left(now) {
            self.piece_left(leaving, scene);
        }
        while let Some(at) =
            (0..self.due.len()).filter(|&i| self.due[i].0 <= now).min_by_key(|&i| self.due[i].0)
        {
            match self.due.remove(at).1 {
                Due::Listing(as_of) => self.listed(as_of, scene),
                Due::Opens(peer) => self.open_with(peer, scene),
                Due::Tracker => {
                    let up = scene.around.tracker_up(scene.now);
                    self.tracker_up(up, scene);
                }
                Due::Through(from, what) => self.through(from, what, scene),
                Due::Dead => self.finds_all_dead(scene),
            }
        }
        if self.player.acts_at(now).is_some_and(|at| at <= now) {
            self.play(scene);
        }
        if self.node.next_wakeup().is_some_and(|(at, _)| at <= now) {
            self.tell(Input::Tick, scene);
        }
    }

    /// Its number, for messages.
    pub(super) fn name(&self) -> String {
        format!("viewer {}", self.index)
    }

    /// What it wants to be woken for, and by whom: Node, dues, line, player.
    pub(super) fn why(&mut self, now: Time) -> String {
        let due = self.due.iter().map(|(at, _)| *at).min();
        let (node, line) = (self.node.next_wakeup(), self.uplink.next());
        format!("node {node:?}, due {due:?}, line {line:?}, player {:?}", self.player.acts_at(now))
    }

    /// The latest moment it has seen.
    pub(super) fn last(&self) -> Time {
        self.last
    }

    /// Whether its player stands still.
    pub(super) fn stalled(&self, now: Time) -> bool {
        self.player.stalled(now)
    }

    /// It goes: with a word to everybody, or without.
    pub(super) fn ends(mut self, abrupt: bool, scene: &mut Scene<'_>) {
        if !abrupt {
            let peers: Vec<u32> = self.links.iter().map(|l| l.peer).collect();
            for peer in peers {
                self.send(peer, What::Closed, scene);
            }
            self.tell_tracker(None, scene);
        }
        let fetches: Vec<FetchId> = self.fetches.iter().map(|f| f.fetch).collect();
        for fetch in fetches {
            self.carry_out(Output::CancelFetch { fetch }, scene);
        }
        self.count(scene.now, scene.around, scene.tally);
    }

    /// Adds what became of it.
    pub(super) fn count(&self, now: Time, around: &Around, tally: &mut Tally) {
        let draws = self.node.draws(around.content.swarm(self.rendition)).unwrap_or(0.0);
        tally.draws += (draws * 1e9).round() as u64;
        let totals = self.totals();
        tally.bytes.add(totals);
        tally.faults.add(self.node.faults());
        if let Some(before) = self.settled {
            let steady = totals.since(before);
            tally.steady.add(steady);
            // Whom everybody shuns for its lies lives on HTTP, and shall: that is not the others' loss.
            if self.role == Role::Honest {
                tally.honest.add(steady);
            }
        }
        if let Some(before) = self.settled_segments {
            let now = self.node.segments().by_reason;
            for ((sum, now), before) in tally.reasons.iter_mut().zip(now).zip(before) {
                *sum += now - before;
            }
        }
        let (stalls, length) = self.player.stalls(now);
        tally.stalls += u64::from(stalls);
        tally.stalled += length;
        tally.startups.extend(self.player.playout().startup().map(|s| s.as_secs_f32() * 1e3));
        tally.neighbours += self.links.iter().filter(|l| l.open).count() as u64;
        tally.viewers += 1;
        tally.capacity += f64::from(self.place.up) * (now - self.joined).as_micros() as f64;
    }

    /// Something reached it.
    pub(super) fn meets(&mut self, from: u32, what: What, scene: &mut Scene<'_>) {
        self.last = self.last.max(scene.now);
        self.stirs = None;
        if self.is_suspended(scene.now) {
            return;
        }
        match what {
            What::Own | What::Join | What::Leave(_) => self.own(scene),
            What::User(wish) => self.wishes(wish, scene),
            What::Said(said) => self.hears(from, said, scene),
            What::Piece(_, _, bytes, _) => self.over_downlink(from, bytes, what, scene),
            What::Portion { fetch, up_to, .. } => {
                let Some(fetching) = self.fetches.iter_mut().find(|f| f.fetch == fetch) else { return };
                let bytes = up_to - std::mem::replace(&mut fetching.came, up_to);
                self.over_downlink(from, bytes, what, scene);
            }
            // Not before what came of it.
            What::Failed { .. } => self.over_downlink(from, 0, what, scene),
            What::Tracker(message) => self.tracker_says(*message, scene),
            What::TrackerUp(up) => self.tracker_up(up, scene),
            What::Open => self.opened(from, scene),
            What::Closed => self.closed(from, scene),
        }
    }

    /// Bytes that arrive faster than the downlink takes them queue before it.
    fn over_downlink(&mut self, from: u32, bytes: u32, what: What, scene: &mut Scene<'_>) {
        let needs = Duration::from_micros((bytes as f32 / self.place.down) as u64);
        let free = self.down_free.max(scene.now.back(needs));
        self.down_free = free + needs;
        if self.down_free <= scene.now {
            self.through(from, what, scene);
        } else {
            self.due.push((self.down_free, Due::Through(from, what)));
        }
    }

    fn through(&mut self, from: u32, what: What, scene: &mut Scene<'_>) {
        match what {
            What::Piece(segment, piece, length, hash) => {
                self.piece_comes(from, (segment, piece, length, hash), scene);
            }
            What::Portion { fetch, up_to, length, last } => self.portion(fetch, up_to, length, last, scene),
            What::Failed { fetch, fault } => self.breaks_off(fetch, fault, scene),
            _ => {}
        }
    }

    fn listed(&mut self, as_of: Time, scene: &mut Scene<'_>) {
        let timeline = scene.around.content.listing(self.rendition, as_of).clone();
        self.tell(Input::Listed { timeline: timeline.clone(), viewer: u64::from(self.index) }, scene);
        self.player.listed(scene.now, &timeline);
        self.play(scene);
    }

    fn wishes(&mut self, wish: Wish, scene: &mut Scene<'_>) {
        let now = scene.now;
        match wish {
            Wish::Pause(ms) => self.player.pause(now, Duration::from_millis(u64::from(ms))),
            Wish::Seek(sequence) => {
                self.hang_up(scene);
                self.player.seek(now, sequence);
            }
            Wish::Switch(rendition) => {
                self.hang_up(scene);
                self.rendition = rendition;
                self.player.switch();
            }
            Wish::Suspend(ms) => return self.suspends(Duration::from_millis(u64::from(ms)), scene),
        }
        self.play(scene);
    }

    /// The player's requests end.
    pub(super) fn hang_up(&mut self, scene: &mut Scene<'_>) {
        let open: Vec<AskId> = self.player.open().collect();
        for ask in open {
            self.player.abandon(scene.now, ask);
            self.passed_on_ends(ask, scene);
            self.tell(Input::Done { ask }, scene);
        }
    }

    /// Lets the player do what it would do now.
    pub(super) fn play(&mut self, scene: &mut Scene<'_>) {
        let now = scene.now;
        while let Some(act) = self.player.act(now) {
            match act {
                Act::Load => {
                    let way = self.place.delay_to_service();
                    let as_of = scene.around.setting.service.manifest(now + way);
                    self.due.push((now + way * 2, Due::Listing(as_of)));
                }
                Act::Ask(segment) => {
                    let ask = AskId(self.next_ask);
                    self.next_ask += 1;
                    let swarm = scene.around.content.swarm(self.rendition);
                    let bytes = scene.around.content.length(self.rendition, segment.sequence);
                    let wait = self.place.delay_to_service() * 2 + scene.around.setting.service.first_byte;
                    self.player.asks(now, ask, segment, (wait, bytes));
                    scene
                        .story
                        .tell(self.index, now, Some(segment.sequence), || "the player asks for it".into());
                    let viewer = u64::from(self.index);
                    let (from, to) = (0, None);
                    self.tell(Input::Asked { ask, viewer, swarm, segment: segment.id, from, to }, scene);
                }
            }
        }
    }

    /// Tells the Node, and does what it says; what follows from that at once is told in turn.
    pub(super) fn tell(&mut self, input: Input, scene: &mut Scene<'_>) {
        if self.telling {
            scene.desk.inputs.push_back(input);
            return;
        }
        self.telling = true;
        let mut out = std::mem::take(&mut scene.desk.out);
        let mut next = Some(input);
        while let Some(input) = next {
            scene.tally.events += 1;
            self.node.handle(scene.now, input, &mut out);
            for output in out.drain(..) {
                self.carry_out(output, scene);
            }
            next = scene.desk.inputs.pop_front();
        }
        scene.desk.out = out;
        self.telling = false;
        if std::mem::take(&mut self.again) {
            self.play(scene);
        }
    }
}

/// The sooner of two moments, where there are any.
fn sooner(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The id of a host: its number is in it.
#[must_use]
pub fn peer_id(seed: u64, index: u32) -> PeerId {
    let mut id = [0; 20];
    id[..4].copy_from_slice(&index.to_le_bytes());
    let noise = crate::delivery::chance::mix(seed ^ u64::from(index).wrapping_mul(0x2545_F491_4F6C_DD1D));
    id[4..12].copy_from_slice(&noise.to_le_bytes());
    id[12..].copy_from_slice(&noise.rotate_left(29).to_le_bytes());
    PeerId(id)
}
