//! Trackers as the owner hears of them: up, down, with another token, and what they say.

use std::time::Instant;

use tokio::sync::mpsc;

use super::options::with_token;
use super::owner::Owner;
use crate::engine::link::Event;
use crate::engine::signalling::{self, Dial, Signal};
use crate::wire::tracker::FromTracker;

impl Owner {
    pub(super) fn connect(&mut self, index: usize) {
        let Some(url) = self.options.trackers.get(index).cloned() else { return };
        if self.trackers.contains_key(&index) {
            return;
        }
        let (outgoing, queued) = mpsc::channel(signalling::OUTGOING);
        self.trackers.insert(index, outgoing);
        let dial = Dial {
            index,
            url: with_token(&url, &self.token),
            connecting: self.options.tracker_connecting,
            ping: self.options.tracker_ping,
            tls: self.tls.clone(),
        };
        self.tasks.spawn(signalling::run(dial, queued, self.signals.clone()));
    }

    /// Trackers may want another token from now on: those that are down are tried with it at once, and why they refuse
    /// that one is news.
    pub(super) fn admission(&mut self) {
        let token = self.options.access.borrow().token.clone();
        if token == self.token {
            return;
        }
        self.token = token;
        for tracker in 0..self.options.trackers.len() {
            self.absent.connected(tracker);
            if !self.trackers.contains_key(&tracker) {
                self.connect(tracker);
            } else if !self.up.contains(&tracker) && !self.outdated.contains(&tracker) {
                self.outdated.push(tracker);
            }
        }
    }

    pub(super) async fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Up(tracker) => {
                self.up.push(tracker);
                self.outdated.retain(|t| *t != tracker);
                self.absent.connected(tracker);
                self.complaints.connected(tracker);
                let shown = signalling::shown(&self.options.trackers[tracker]);
                tracing::debug!(tracker = %shown, "tracker {shown} is up");
                self.tell(Event::Tracker { tracker, up: true, interval_s: 120 }).await;
            }
            Signal::Down(tracker, why) => self.down(tracker, why).await,
            Signal::Said(tracker, said) => self.said(tracker, said).await,
        }
    }

    async fn down(&mut self, tracker: usize, why: Option<String>) {
        self.trackers.remove(&tracker);
        let outdated = self.outdated.contains(&tracker);
        self.outdated.retain(|t| *t != tracker);
        if outdated {
            // What it says of the old token is no news, and of the new one it has not heard.
            self.connect(tracker);
            return;
        }
        let shown = signalling::shown(&self.options.trackers[tracker]);
        if self.up.contains(&tracker) {
            self.up.retain(|t| *t != tracker);
            tracing::warn!(
                tracker = %shown,
                "tracker {shown} is gone; playback and neighbours go on, it is tried again"
            );
        } else if let Some(why) = why
            && self.absent.is_news(tracker, &why, Instant::now(), self.options.complaints_each)
        {
            tracing::warn!(
                tracker = %shown,
                "tracker {shown} can't be reached ({why}); playback goes on over HTTP, it is tried again"
            );
        }
        self.tell(Event::Tracker { tracker, up: false, interval_s: 120 }).await;
    }

    async fn said(&mut self, tracker: usize, said: FromTracker) {
        match said {
            FromTracker::Interval { info_hash, interval_s, complete, incomplete, extra } => {
                let viewers = extra.map_or(complete.saturating_add(incomplete), |extra| extra.viewers);
                self.tell(Event::SwarmSize { tracker, swarm: info_hash, viewers }).await;
                let interval_s = interval_s.clamp(15, 3600);
                self.tell(Event::Tracker { tracker, up: true, interval_s }).await;
            }
            FromTracker::Offer { info_hash, peer_id, offer_id, sdp } => {
                self.offered(tracker, info_hash, peer_id, offer_id, &sdp).await;
            }
            FromTracker::Answer { peer_id, offer_id, sdp, .. } => self.answered(peer_id, &offer_id, &sdp),
            FromTracker::Failure(why) | FromTracker::Warning(why) => {
                let why: String = why.chars().filter(|c| !c.is_control()).take(200).collect();
                let now = Instant::now();
                if self.complaints.is_news(tracker, &why, now, self.options.complaints_each) {
                    let shown = signalling::shown(&self.options.trackers[tracker]);
                    tracing::warn!(tracker = %shown, why, "tracker {shown} says: {why}");
                }
            }
            FromTracker::Scrape { .. } => {}
        }
    }
}
