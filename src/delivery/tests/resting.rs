//! A viewer that has paused, or left a recording without a word, stays where others find it, and looks for nobody.

use std::time::Duration;

use super::rig::{self, LENGTH, segment, swarm};
use crate::delivery::policy::{ANNOUNCE_GAP, Options, Policy, RESTING};
use crate::delivery::*;
use crate::model::ids::PeerId;
use crate::model::time::Time;

/// Announcements with what time it was, and how many offers went with them.
type Announced = Vec<(Time, usize)>;

struct Film {
    node: Node,
    now: Time,
    announced: Announced,
}

impl Film {
    /// Opened by a player, in a swarm of five of whom nobody is met.
    fn opened() -> Self {
        let me = PeerId::from_entropy([0; 12]);
        let node = Node::new(me, Policy::new(&Options::default(), 64 << 20), 1, 1);
        let mut film = Self { node, now: Time::ZERO, announced: Vec::new() };
        film.tell(Input::Tracker { tracker: 0, up: true, interval_s: 15 });
        film.tell(Input::Listed { timeline: rig::film(30), viewer: 1 });
        film
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.node.handle(self.now, input, &mut out);
        let offers = out.iter().filter_map(|o| match o {
            Output::Announce { offers, .. } => Some((self.now, *offers)),
            _ => None,
        });
        self.announced.extend(offers);
        out
    }

    /// A player takes a segment, which the origin brings in no time.
    fn plays(&mut self, sequence: u64) {
        let (ask, segment) = (AskId(sequence), segment(sequence));
        let asked = Input::Asked { ask, viewer: 1, swarm: swarm(), segment, from: 0, to: None };
        let out = self.tell(asked);
        self.tell(Input::SwarmSize { tracker: 0, swarm: swarm(), viewers: 5 });
        for output in out {
            if let Output::Fetch { fetch, .. } = output {
                self.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: true });
                self.tell(Input::Arrived { fetch, up_to: LENGTH });
                self.tell(Input::Fetched { fetch });
            }
        }
        self.tell(Input::Took { ask, up_to: LENGTH });
        self.tell(Input::Done { ask });
    }

    fn sleep_until(&mut self, until: Time) {
        while let Some((at, _)) = self.node.next_wakeup().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.tell(Input::Tick);
        }
        self.now = until;
    }
}

#[test]
fn a_recording_that_nobody_plays_is_announced_without_offers_until_it_is_played_again() {
    let mut film = Film::opened();
    film.plays(0);
    let rests = film.now + RESTING;
    film.sleep_until(film.now + Duration::from_secs(200));
    let (awake, resting): (Announced, Announced) = film.announced.iter().partition(|(at, _)| *at <= rests);
    assert!(awake.len() >= 2 && awake.iter().all(|(_, offers)| *offers >= 4), "{awake:?}");
    assert!(resting.len() >= 5 && resting.iter().all(|(_, offers)| *offers == 0), "{resting:?}");
    assert!(film.node.sessions()[0].joined, "others find it all the same");
    film.announced.clear();
    film.plays(1);
    film.sleep_until(film.now + ANNOUNCE_GAP);
    assert!(film.announced.iter().any(|(_, offers)| *offers >= 4), "{:?}", film.announced);
}

#[test]
fn a_player_that_asks_now_and_then_does_not_rest() {
    let mut film = Film::opened();
    for sequence in 0..8 {
        film.plays(sequence);
        film.sleep_until(film.now + (RESTING - Duration::from_secs(1)));
    }
    assert!(film.announced.len() >= 8, "{:?}", film.announced);
    assert!(film.announced.iter().all(|(_, offers)| *offers >= 4), "{:?}", film.announced);
}
