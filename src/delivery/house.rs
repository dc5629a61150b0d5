//! Order in the house: what holds changes, viewers go, memory is given up.

use super::demand::Moved;
use super::membership::{self, Membership};
use super::node::{HOUSEKEEPING, Stirs};
use super::policy::{Policy, ROOMY, Terms};
use super::supply::withdraw;
use super::{Node, Output, Report, contest, eviction, peering};
use crate::model::ids::{SegmentId, SwarmId};

impl Node {
    /// Leaves every swarm, with a last account for the trackers. To be called when the daemon ends; nothing but that may
    /// follow.
    pub fn leave(&mut self, out: &mut Vec<Output>) {
        for session in self.sessions.iter_mut().filter(|s| s.joined) {
            session.leave();
            out.push(Output::Leave { swarm: session.swarm, account: session.account(self.now) });
        }
    }

    /// Goes by `policy` from now on, but for uploads that are not wished for or that no budget covers.
    pub(super) fn change(&mut self, mut policy: Policy, out: &mut Vec<Output>) -> Stirs {
        let (before, now) = (self.policy, self.now);
        policy.upload = self.willing && !self.uploads.budget.is_over();
        self.policy = policy;
        self.uploads.change(&policy, now);
        if before.p2p && !policy.p2p {
            self.leave(out);
        }
        if before.p2p && (!policy.p2p || before.upload != policy.upload) {
            // A neighbour learns who we are by the hello, which comes once: meet anew.
            while let Some(neighbour) = self.neighbours.first() {
                let peer = neighbour.peer;
                out.push(Output::Disconnect { peer, shun: false });
                self.forget(peer, out);
            }
        }
        if policy.p2p && !before.p2p {
            self.membership = Membership::new(self.membership.trackers.len());
            for index in 0..self.sessions.len() {
                self.watching(index, true, Moved::On, out);
            }
        }
        Stirs::Everything
    }

    /// What one rendition is kept from changes: it leaves its swarm or comes back, gives or takes only.
    pub(super) fn set_terms(&mut self, swarm: SwarmId, terms: Terms, out: &mut Vec<Output>) -> Stirs {
        let Some(index) = self.sessions.iter().position(|s| s.swarm == swarm) else { return Stirs::Nothing };
        let session = &mut self.sessions[index];
        let before = std::mem::replace(&mut session.terms, terms).over(&self.policy);
        let policy = terms.over(&self.policy);
        if before == policy {
            return Stirs::Nothing;
        }
        if session.joined && !policy.p2p {
            session.leave();
            for pieces in session.active.iter_mut() {
                withdraw(pieces, &mut self.neighbours, |_| true, out);
                self.uploads.forget_segment(pieces.id());
                (0..self.neighbours.len()).for_each(|n| pieces.words.unsay(n));
                contest::take_back_all(pieces);
            }
            peering::part(session, &mut self.neighbours, out);
            out.push(Output::Leave { swarm, account: session.account(self.now) });
        } else if session.joined {
            if !policy.upload {
                // What was promised before is not sent any more.
                session.active.iter().for_each(|pieces| self.uploads.forget_segment(pieces.id()));
            }
            // Whoever joins anew is taken for one that gives, unless it says otherwise.
            for neighbour in &self.neighbours {
                peering::introduce(neighbour.peer, session, &policy, out);
            }
        } else {
            self.watching(index, true, Moved::On, out);
        }
        let session = &mut self.sessions[index];
        for (n, neighbour) in self.neighbours.iter().enumerate().filter(|(_, n)| n.in_swarm(swarm)) {
            peering::synchronise(session, n, neighbour, &policy, out);
        }
        Stirs::Everything
    }

    /// Viewers that have gone, segments that are old, neighbours that are of no use.
    pub(super) fn keep_house(&mut self, out: &mut Vec<Output>) {
        let now = self.now;
        for index in (0..self.sessions.len()).rev() {
            let session = &mut self.sessions[index];
            let patience = session.patience();
            let asking: Vec<u64> =
                session.active.awake().flat_map(|(_, p)| p.asks.iter().map(|a| a.viewer)).collect();
            session.demands.retain(|d| asking.contains(&d.viewer) || now - d.active <= patience * 2);
            if self.sessions[index].gone_at().is_some_and(|at| at <= now) {
                self.close(index, out);
            }
        }
        for neighbour in &mut self.neighbours {
            if self.sessions.iter().any(|s| s.joined && neighbour.in_swarm(s.swarm)) {
                neighbour.useful_at = now;
            }
        }
        for index in membership::idle(&self.sessions, &self.neighbours, now).into_iter().rev() {
            let peer = self.neighbours[index].peer;
            out.push(Output::Disconnect { peer, shun: false });
            self.forget(peer, out);
        }
        self.evict(out);
        self.house_at =
            (!self.sessions.is_empty() || !self.neighbours.is_empty()).then_some(now + HOUSEKEEPING);
    }

    pub(super) fn close(&mut self, index: usize, out: &mut Vec<Output>) {
        let now = self.now;
        let mut session = self.sessions.remove(index);
        for pieces in session.active.iter_mut() {
            for fetch in &pieces.fetches {
                out.push(Output::CancelFetch { fetch: fetch.id });
            }
            withdraw(pieces, &mut self.neighbours, |_| true, out);
            self.uploads.forget_segment(pieces.id());
            out.push(Output::Drop { segment: pieces.id() });
        }
        self.past.add(session.bytes);
        self.past_segments.add(&session.ledger.close());
        if session.joined {
            peering::part(&session, &mut self.neighbours, out);
            out.push(Output::Leave { swarm: session.swarm, account: session.account(now) });
        }
        let (swarm, bytes, viewers) = (session.swarm, session.bytes, session.most_viewers);
        let watched = session.reported;
        out.push(Output::Report(Report::StreamLeft { swarm, bytes, viewers, watched }));
    }

    /// Gives up memory where there is too much of it, or where it is old; what comes until memory is looked at again finds
    /// room.
    pub(super) fn evict(&mut self, out: &mut Vec<Output>) {
        for (index, segment) in eviction::outdated(&self.sessions, self.now) {
            self.give_up(index, segment, out);
        }
        let limit = self.policy.memory - eviction::slack(self.policy.memory);
        if self.kept <= limit / ROOMY {
            return;
        }
        let (gone, kept) = eviction::surplus(&self.sessions, limit);
        for (index, segment) in gone {
            self.give_up(index, segment, out);
        }
        self.kept = kept;
    }

    /// A segment is no longer here.
    pub(super) fn give_up(&mut self, index: usize, segment: SegmentId, out: &mut Vec<Output>) {
        let gone = self.sessions[index].active.remove(segment);
        self.uploads.forget_segment(segment);
        out.push(Output::Drop { segment });
        if let Some(gone) = gone {
            peering::retract(&gone, &self.neighbours, out);
        }
    }
}
