//! The tracker of the simulated world: the service's own [`Swarms`], driven with virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::{Incoming, TRACKER, ToBroker, What};
use super::place::Place;
use crate::model::time::Time;
use crate::tracker::swarms::{ConnectionId, Input, Limits, Swarms};
use crate::wire::tracker::FromTracker;

const LIMITS: Limits =
    Limits { swarms: 64, members: 4_000_000, swarms_each: 16, interval: Duration::from_secs(120) };

/// The tracker.
#[derive(Clone, Debug)]
pub struct Broker {
    swarms: Swarms,
    arriving: BTreeMap<(Time, u32, u32), ToBroker>,
    gone: Option<(Time, Time)>,
    seed: u64,
    number: u32,
    heard: Vec<(ConnectionId, FromTracker)>,
}

impl Broker {
    /// A tracker that is gone in between, if at all.
    #[must_use]
    pub fn new(gone: Option<(Time, Time)>, seed: u64) -> Self {
        Self {
            swarms: Swarms::new(LIMITS, seed),
            arriving: BTreeMap::new(),
            gone,
            seed,
            number: 0,
            heard: Vec::new(),
        }
    }

    /// Something is on its way to it.
    pub fn tell(&mut self, message: ToBroker) {
        self.arriving.insert((message.at, message.host, message.number), message);
    }

    /// Does everything that is due before `end`.
    pub fn run(&mut self, end: Time, places: &[Place], out: &mut Vec<Incoming>) {
        while let Some(entry) = self.arriving.first_entry().filter(|e| e.key().0 < end) {
            let ToBroker { at, host, what, .. } = entry.remove();
            if self.gone.is_some_and(|(from, to)| at >= from && at < to) {
                // What it knew is lost; whoever comes back announces anew.
                self.swarms = Swarms::new(LIMITS, self.seed ^ at.as_micros());
                continue;
            }
            let connection = ConnectionId(u64::from(host));
            let input = match what {
                Some(message) => Input::Said(connection, message),
                None => Input::Gone(connection),
            };
            let mut heard = std::mem::take(&mut self.heard);
            self.swarms.handle(at, input, &mut heard);
            for (ConnectionId(to), message) in heard.drain(..) {
                self.number = self.number.wrapping_add(1);
                let to = to as u32;
                let at = at + places[to as usize].delay_to_service();
                let what = What::Tracker(Box::new(message));
                out.push(Incoming { at, to, from: TRACKER, number: self.number, what });
            }
            self.heard = heard;
        }
    }
}
