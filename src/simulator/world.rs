//! All of it: the shards, the origin and the tracker, and the clock that drives them window by window.

use std::sync::Arc;
use std::time::Duration;

use super::broker::Broker;
use super::content::Content;
use super::event::{Incoming, SCENARIO, What};
use super::host::Around;
use super::origin::Origin;
use super::place::Place;
use super::report::{Line, Report};
use super::scenario::{Knobs, Scenario};
use super::shard::Shard;
use super::summary;
use super::tally::Tally;
use crate::model::time::Time;

/// A run that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such viewer to follow.
    #[error("there is no viewer {asked}; they are numbered 1 to {last}, in the order in which they join")]
    NoSuchViewer {
        /// Who was asked for.
        asked: u32,
        /// The last there is.
        last: u32,
    },
    /// Nobody, or no time.
    #[error("at least one viewer and one second are needed")]
    Nothing,
}

/// All of it.
#[derive(Debug)]
pub struct World {
    pub(super) scenario: &'static str,
    pub(super) around: Arc<Around>,
    shards: Vec<Shard>,
    pub(super) origin: Origin,
    broker: Broker,
    pub(super) viewers: u32,
    /// When each host joins.
    pub(super) joins: Vec<Time>,
    window: u64,
    windows: u64,
    /// Microseconds of a window: nobody sees within it what another does.
    width: u64,
    pub(super) seconds: u64,
    spare: Vec<Incoming>,
    closed: Option<Tally>,
}

/// Microseconds of a step.
const STEP: u64 = 100_000;

impl World {
    /// A world before its first moment.
    ///
    /// # Errors
    /// When what is asked for makes no sense.
    pub fn new(scenario: &Scenario, knobs: &Knobs) -> Result<Self, Refused> {
        let viewers = knobs.viewers.unwrap_or(scenario.viewers);
        let seconds = knobs.seconds.unwrap_or(scenario.seconds);
        if viewers == 0 || seconds == 0 {
            return Err(Refused::Nothing);
        }
        let mut setting = scenario.setting(viewers);
        setting.p2p &= knobs.p2p;
        let (seed, length) = (knobs.seed, Duration::from_secs(seconds));
        let lines = setting.lines;
        let plan = setting.plan(seed, viewers, length, |host| Place::of(seed, host, &lines));
        if let Some(asked) = knobs.trace.filter(|&t| t == 0 || t > plan.hosts) {
            return Err(Refused::NoSuchViewer { asked, last: plan.hosts });
        }
        let joins =
            plan.events.iter().filter(|(_, _, what)| matches!(what, What::Join)).map(|e| e.0).collect();
        let places = (0..plan.hosts).map(|host| Place::of(seed, host, &lines)).collect();
        let content = Content::new(setting.programme, length);
        let outage = setting.outage.map(|(from, to)| (Time::ZERO + from, Time::ZERO + to));
        let (service, traced) = (setting.service, knobs.trace.map(|viewer| viewer - 1));
        let around = Arc::new(Around { setting, content, places, seed, traced });
        let (count, width) = (knobs.shards.clamp(1, 64) as u32, lines.nearest().as_micros() as u64);
        let mut world = Self {
            scenario: scenario.name,
            shards: (0..count).map(|n| Shard::new(Arc::clone(&around), n, count, width)).collect(),
            around,
            origin: Origin::new(service, seed ^ 0x0419),
            broker: Broker::new(outage, seed ^ 0x7AC),
            viewers,
            joins,
            window: 0,
            windows: seconds * 1_000_000 / width,
            width,
            seconds,
            spare: Vec::new(),
            closed: None,
        };
        for (number, (at, to, what)) in (0..).zip(plan.events) {
            world.put(Incoming { at, to, from: SCENARIO, number, what });
        }
        if let Some((from, to)) = outage {
            for host in 0..plan.hosts {
                for (at, up) in [(from, false), (to, false)] {
                    world.put(Incoming {
                        at,
                        to: host,
                        from: SCENARIO,
                        number: 1,
                        what: What::TrackerUp(up),
                    });
                }
            }
        }
        Ok(world)
    }

    fn put(&mut self, incoming: Incoming) {
        let shard = incoming.to as usize % self.shards.len();
        self.shards[shard].put(incoming);
    }

    /// Runs up to the next tenth of a simulated second; false once it is over.
    ///
    /// `each` lets every shard [`work`](Shard::work) once, one after the other or at the same time.
    pub fn step(&mut self, each: &mut dyn FnMut(&mut [Shard])) -> bool {
        for _ in 0..STEP / self.width {
            if self.window == self.windows {
                self.close();
                return false;
            }
            each(&mut self.shards);
            self.window += 1;
            self.exchange();
            let now = self.now();
            if now.as_micros().is_multiple_of(1_000_000) {
                self.shards.iter_mut().for_each(|shard| shard.census(now));
            }
        }
        true
    }

    /// What left the hosts in the last window goes on its way, and the origin and the tracker do their part of it.
    fn exchange(&mut self) {
        let end = self.now();
        let mut arriving = std::mem::take(&mut self.spare);
        for from in 0..self.shards.len() {
            for to in 0..self.shards.len() {
                let mut away = std::mem::take(&mut self.shards[from].away[to]);
                // Room that was emptied goes back for what was filled: each shard sorts in what is for it at its leisure.
                let arrived = &mut self.shards[to].arrived;
                if arrived.is_empty() {
                    std::mem::swap(arrived, &mut away)
                } else {
                    arrived.append(&mut away)
                }
                self.shards[from].away[to] = away;
            }
            let shard = &mut self.shards[from];
            shard.outbox.origin.drain(..).for_each(|request| self.origin.ask(request));
            shard.outbox.tracker.drain(..).for_each(|message| self.broker.tell(message));
        }
        self.origin.run(end, &self.around.places, &mut arriving);
        self.broker.run(end, &self.around.places, &mut arriving);
        for incoming in arriving.drain(..) {
            self.put(incoming);
        }
        self.spare = arriving;
    }

    /// The world's clock.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::from_micros(self.window * self.width)
    }

    /// When it ends.
    #[must_use]
    pub fn end(&self) -> Time {
        Time::from_micros(self.windows * self.width)
    }

    /// Viewers that are there.
    #[must_use]
    pub fn viewers(&self) -> u32 {
        self.shards.iter().map(|s| s.present).sum()
    }

    /// Things that happened so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.closed.as_ref().map_or_else(|| self.shards.iter().map(|s| s.tally.events).sum(), |t| t.events)
    }

    /// The story of the viewer that is followed.
    #[must_use]
    pub fn story(&self) -> &[Line] {
        self.shards.iter().map(|s| s.story.lines()).max_by_key(|lines| lines.len()).unwrap_or_default()
    }

    fn close(&mut self) {
        if self.closed.is_some() {
            return;
        }
        let (now, mut sum) = (self.now(), Tally::default());
        for shard in &mut self.shards {
            shard.close(now);
            sum.add(&std::mem::take(&mut shard.tally));
        }
        self.closed = Some(sum);
    }

    /// What happened; to be asked for once the last [`step`](Self::step) has returned false.
    #[must_use]
    pub fn report(&mut self) -> Report {
        self.close();
        let empty = Tally::default();
        let tally = self.closed.as_ref().unwrap_or(&empty);
        summary::report(self, tally)
    }
}

/// Runs a scenario from beginning to end on one thread.
///
/// # Errors
/// As [`World::new`].
pub fn run(scenario: &Scenario, knobs: &Knobs) -> Result<Report, Refused> {
    let mut world = World::new(scenario, knobs)?;
    while world.step(&mut |shards| shards.iter_mut().for_each(Shard::work)) {}
    Ok(world.report())
}
