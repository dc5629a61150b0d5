//! A machine that is suspended in the middle of everything, and finds minutes later that its clock has jumped.
//!
//! Its player stands still with what it has. Nobody hears of it: neighbours and tracker take it for gone after a while, and
//! what is sent to it is lost. When it wakes, time has jumped for its Node first, which believes in all its connections;
//! that they are dead it learns a moment later.

use std::time::Duration;

use super::event::{Incoming, ToBroker, What};
use super::host::{Due, Host, SILENCE, Scene};
use super::origin::Request;
use crate::delivery::{Fault, Input};
use crate::model::time::Time;

/// From waking until connections are known to be dead.
const FOUND_DEAD: Duration = Duration::from_secs(1);

impl Host {
    /// Whether it is suspended now.
    pub(super) fn is_suspended(&self, now: Time) -> bool {
        self.suspended_until.is_some_and(|until| now < until)
    }

    /// It stops in the middle of everything.
    pub(super) fn suspends(&mut self, length: Duration, scene: &mut Scene<'_>) {
        let now = scene.now;
        let wakes = now + length;
        scene.story.tell(self.index, now, None, || format!("is suspended for {} s", length.as_secs()));
        self.suspended_until = Some(wakes);
        self.player.pause(now, length);
        self.player.breaks(now, wakes + FOUND_DEAD);
        self.uplink.retain(now, |_| false);
        let forgotten = wakes.min(now + SILENCE);
        for link in &self.links {
            self.number = self.number.wrapping_add(1);
            let (to, what) = (link.peer, What::Closed);
            let closed = Incoming { at: forgotten, to, from: self.index, number: self.number, what };
            scene.outbox.hosts.push(closed);
        }
        self.number = self.number.wrapping_add(1);
        let (at, host, number) = (forgotten, self.index, self.number);
        scene.outbox.tracker.push(ToBroker { at, host, number, what: None });
        for fetching in &self.fetches {
            let (at, length) = (now + self.place.delay_to_service(), fetching.length);
            scene.outbox.origin.push(Request { at, host, fetch: fetching.fetch, span: None, length });
        }
        // What was on its way to it is lost; what it would have done it does later.
        self.due.retain(|(_, due)| matches!(due, Due::Listing(_) | Due::Tracker));
        for due in &mut self.due {
            due.0 = due.0.max(wakes);
        }
        self.due.push((wakes + FOUND_DEAD, Due::Dead));
    }

    /// Its connections turn out to be dead.
    pub(super) fn finds_all_dead(&mut self, scene: &mut Scene<'_>) {
        let links = std::mem::take(&mut self.links);
        self.behind.clear();
        self.due.retain(|(_, due)| !matches!(due, Due::Opens(_)));
        self.uplink.retain(scene.now, |_| false);
        for fetching in std::mem::take(&mut self.fetches) {
            if !self.pass_fails(fetching.fetch, scene) {
                self.scraps.push((fetching.segment, fetching.from, fetching.got));
                self.tell(Input::Failed { fetch: fetching.fetch, fault: Fault::Broken }, scene);
            }
        }
        for link in &links {
            self.send(link.peer, What::Closed, scene);
        }
        for link in links.into_iter().filter(|link| link.open) {
            self.tell(
                Input::Left { peer: super::host::peer_id(scene.around.seed, link.peer), misbehaved: false },
                scene,
            );
        }
        self.tracker_up(false, scene);
    }
}
