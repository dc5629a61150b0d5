//! What a host's Node decides, carried out in the virtual world.

use super::content::{forgery, truth};
use super::event::What;
use super::host::{Fetching, Host, Scene, peer_id};
use super::origin::Request;
use super::scenario::Role;
use crate::delivery::{AskId, Failure, Fault, FetchId, Input, Output, Report};
use crate::model::ids::SegmentId;
use crate::model::timeline::{Kind, PieceGrid};
use crate::wire::digest::PieceHash;

/// What somebody sends who crawls, in bytes per microsecond: a piece of usual size takes 4 s, longer than anybody waits.
const CRAWL: f32 = 0.004;

impl Host {
    pub(super) fn carry_out(&mut self, output: Output, scene: &mut Scene<'_>) {
        match output {
            Output::Fetch { fetch, segment, from, to, .. } => self.fetch(fetch, segment, (from, to), scene),
            // The origin of this world serves what was asked for at the pace it has.
            Output::Allow { .. } => {}
            Output::CancelFetch { fetch } => self.cancel(fetch, scene),
            Output::Ready { ask, up_to, length } => self.ready(ask, up_to, length, scene),
            Output::Fail { ask, why } => self.fail(ask, why, scene),
            Output::Keep { segment, piece } => self.keep(segment, piece, scene),
            Output::Discard { segment, pieces } => {
                self.wrong.retain(|(s, p)| *s != segment || pieces & 1 << p == 0);
            }
            Output::Drop { segment } => {
                self.wrong.retain(|(s, _)| *s != segment);
                self.scraps.retain(|(s, ..)| *s != segment);
            }
            Output::Say { peer, message } => self.say(peer, message, scene),
            Output::SendPiece { peer, segment, piece } => self.send_piece(peer, segment, piece, scene),
            Output::Disconnect { peer, shun } => self.disconnect(peer, shun, scene),
            Output::Announce { swarm, offers, started, .. } => self.announce(swarm, offers, started, scene),
            Output::Leave { swarm, .. } => self.leave_swarm(swarm, scene),
            Output::Connect { .. } => self.connect(scene),
            Output::Room { connections } => self.room = connections,
            Output::Report(Report::Shunned { why, .. }) => {
                scene.story.tell(self.index, scene.now, None, || format!("a neighbour is shunned: {why}"));
            }
            // Nobody here has a budget.
            Output::Renew | Output::Report(_) => {}
        }
    }

    fn fetch(&mut self, fetch: FetchId, segment: SegmentId, span: (u32, Option<u32>), scene: &mut Scene<'_>) {
        let content = &scene.around.content;
        let Some((rendition, sequence)) = content.find(segment) else {
            self.tell(Input::Failed { fetch, fault: Fault::Refused }, scene);
            return;
        };
        let length = content.length(rendition, sequence);
        let (from, to) = (span.0, span.1.unwrap_or(length).min(length));
        self.fetches.push(Fetching { fetch, segment, from, got: from, came: from, length, headed: false });
        let at = scene.now + self.place.delay_to_service();
        let span = Some((from, to));
        scene.outbox.origin.push(Request { at, host: self.index, fetch, span, length });
        scene.story.tell(self.index, scene.now, Some(sequence), || {
            let why = self.why_so(segment);
            format!("asks the origin for {} kB of {} kB{why}", (to - from) / 1000, length / 1000)
        });
    }

    /// Why a segment comes the way it does, as the Node accounts for it: `: lottery`.
    fn why_so(&self, segment: SegmentId) -> String {
        let records = self.node.sessions().iter().flat_map(|session| session.ledger.records());
        let record = records.filter(|record| record.id == segment).last();
        record.map_or(String::new(), |record| format!(": {}", record.reason.as_str()))
    }

    fn cancel(&mut self, fetch: FetchId, scene: &mut Scene<'_>) {
        let Some(at) = self.fetches.iter().position(|f| f.fetch == fetch) else { return };
        let fetching = self.fetches.remove(at);
        self.scraps.push((fetching.segment, fetching.from, fetching.got));
        let (at, length) = (scene.now + self.place.delay_to_service(), fetching.length);
        scene.outbox.origin.push(Request { at, host: self.index, fetch, span: None, length });
    }

    /// A part of an answer of the origin is here.
    pub(super) fn portion(
        &mut self,
        fetch: FetchId,
        up_to: u32,
        length: u32,
        last: bool,
        scene: &mut Scene<'_>,
    ) {
        if self.passes(fetch, up_to, last, scene) {
            return;
        }
        let Some(fetching) = self.fetches.iter_mut().find(|f| f.fetch == fetch) else { return };
        let fresh = up_to - fetching.got;
        let (first, segment, from) = (!fetching.headed, fetching.segment, fetching.from);
        (fetching.headed, fetching.got) = (true, up_to);
        self.comes_by_http(u64::from(fresh), scene);
        if first {
            self.first_byte(segment, scene);
            self.tell(Input::Head { fetch, length: Some(u64::from(length)), shareable: true }, scene);
        }
        self.tell(Input::Arrived { fetch, up_to }, scene);
        let before = up_to - fresh;
        for piece in self.whole(segment, (from, before), up_to, length) {
            self.wrong.retain(|w| *w != (segment, piece));
            self.tell(Input::Hashed { segment, piece, hash: truth(segment, piece) }, scene);
        }
        self.completed(segment, scene);
        if last {
            self.fetches.retain(|f| f.fetch != fetch);
            self.tell(Input::Fetched { fetch }, scene);
        }
    }

    /// An answer of the origin is an error, or breaks off.
    pub(super) fn breaks_off(&mut self, fetch: FetchId, fault: Fault, scene: &mut Scene<'_>) {
        if let Some(at) = self.fetches.iter().position(|f| f.fetch == fetch) {
            let Fetching { segment, from, got, .. } = self.fetches.remove(at);
            if got > from {
                self.scraps.push((segment, from, got));
            }
            self.player.refused(scene.now, segment);
        }
        if !self.pass_fails(fetch, scene) {
            self.tell(Input::Failed { fetch, fault }, scene);
        }
    }

    /// Pieces that are whole with the bytes from `before` to `up_to`, by this fetch and what earlier ones left.
    fn whole(&self, segment: SegmentId, (from, before): (u32, u32), up_to: u32, length: u32) -> Vec<u8> {
        let Some(grid) = PieceGrid::for_length(u64::from(length)) else { return Vec::new() };
        let begins = |start: u32| {
            let scrap = self.scraps.iter().filter(|s| s.0 == segment && s.1 <= start && s.2 >= from);
            start >= from || scrap.count() > 0
        };
        (0..grid.pieces())
            .filter(|&piece| {
                let span = grid.span(piece);
                span.end > before && span.end <= up_to && begins(span.start)
            })
            .collect()
    }

    /// Bytes of a segment came from the origin.
    pub(super) fn comes_by_http(&mut self, bytes: u64, scene: &mut Scene<'_>) {
        scene.tally.second(scene.now).http_bytes += bytes;
        if self.player.playout().startup().is_none() {
            scene.tally.starts(scene.now, bytes);
        }
    }

    fn ready(&mut self, ask: AskId, up_to: u32, length: Option<u32>, scene: &mut Scene<'_>) {
        self.tell(Input::Took { ask, up_to }, scene);
        if length != Some(up_to) {
            return;
        }
        self.tell(Input::Done { ask }, scene);
        self.player_takes(ask, scene);
        self.again = true;
    }

    /// The player has all of an answer.
    pub(super) fn player_takes(&mut self, ask: AskId, scene: &mut Scene<'_>) {
        for taken in self.player.takes(scene.now, ask) {
            scene.tally.segments += 1;
            scene.tally.late += u64::from(taken.late);
            let sequence = taken.segment.sequence;
            scene.tally.plays(sequence);
            scene.story.tell(self.index, scene.now, Some(sequence), || {
                let buffered = self.player.playout().buffered(scene.now).as_secs_f64();
                let late = if taken.late { ", too late" } else { "" };
                let why = self.why_so(taken.segment.id);
                format!("the player has all of it{late}{why}; {buffered:.1} s buffered")
            });
        }
    }

    fn fail(&mut self, ask: AskId, why: Failure, scene: &mut Scene<'_>) {
        if why == Failure::PassThrough {
            return self.pass_on(ask, scene);
        }
        scene.tally.failed += 1;
        scene.story.tell(self.index, scene.now, None, || format!("a request of the player fails: {why:?}"));
        self.player.fails(scene.now, ask);
    }

    fn keep(&mut self, segment: SegmentId, piece: u8, scene: &mut Scene<'_>) {
        let Some((length, hash)) = self.incoming else { return };
        scene.tally.second(scene.now).p2p_bytes += u64::from(length);
        self.kept = true;
        let sequence = scene.around.content.find(segment).map(|(_, sequence)| sequence);
        scene.story.tell(self.index, scene.now, sequence, || format!("piece {piece} from a neighbour"));
        if hash != truth(segment, piece) {
            scene.tally.wrong += 1;
            self.wrong.push((segment, piece));
        }
        self.first_byte(segment, scene);
    }

    /// A neighbour's piece is here.
    pub(super) fn piece_comes(
        &mut self,
        from: u32,
        (segment, piece, length, hash): (SegmentId, u8, u32, PieceHash),
        scene: &mut Scene<'_>,
    ) {
        if !self.link(from).is_some_and(|l| l.open) {
            return;
        }
        let peer = peer_id(scene.around.seed, from);
        self.incoming = Some((length, hash));
        self.kept = false;
        self.tell(Input::Piece { peer, segment, piece, length, hash }, scene);
        self.incoming = None;
        if !self.kept {
            scene.tally.second(scene.now).wasted_bytes += u64::from(length);
        }
        self.completed(segment, scene);
    }

    fn first_byte(&mut self, segment: SegmentId, scene: &mut Scene<'_>) {
        let content = &scene.around.content;
        if let Some((_, sequence)) = content.find(segment)
            && content.programme().kind == Kind::Live
        {
            scene.tally.first_byte(sequence, scene.now - content.published(sequence));
        }
    }

    /// Counts a live segment that is complete now, once.
    fn completed(&mut self, segment: SegmentId, scene: &mut Scene<'_>) {
        let content = &scene.around.content;
        if content.programme().kind != Kind::Live || !self.node.complete(segment) {
            return;
        }
        let Some((rendition, sequence)) = content.find(segment) else { return };
        if rendition != 0 || sequence < self.counted {
            return;
        }
        // Segments complete in order but for a few; one that is passed over is missing in the spread, no more.
        self.counted = sequence + 1;
        if self.settled.is_some() {
            scene.tally.complete(sequence, scene.now - content.published(sequence));
        }
        scene.story.tell(self.index, scene.now, Some(sequence), || "complete".into());
    }

    fn send_piece(
        &mut self,
        peer: crate::model::ids::PeerId,
        segment: SegmentId,
        piece: u8,
        scene: &mut Scene<'_>,
    ) {
        let to = super::event::host_of(peer);
        let length = scene.around.content.find(segment).and_then(|(r, s)| scene.around.content.grid(r, s));
        let bytes = length.map_or(0, |grid| grid.span(piece).len() as u32);
        if self.role == Role::Silent || self.link(to).is_none() {
            self.tell(Input::Sent { peer, segment, piece }, scene);
            return;
        }
        let most = if self.role == Role::Crawler {
            // It takes on whatever it is asked for.
            self.tell(Input::Sent { peer, segment, piece }, scene);
            CRAWL
        } else {
            self.place.channel(&scene.around.places[to as usize])
        };
        self.uplink.send(scene.now, (to, segment, piece, bytes), bytes.max(1), most);
    }

    /// A piece has left over the uplink.
    pub(super) fn piece_left(
        &mut self,
        (to, segment, piece, bytes): super::host::Leaving,
        scene: &mut Scene<'_>,
    ) {
        if self.link(to).is_none() {
            return;
        }
        let peer = peer_id(scene.around.seed, to);
        let wrong = self.wrong.contains(&(segment, piece)) || self.role == Role::Forger;
        let hash = if wrong { forgery(segment, piece, self.index) } else { truth(segment, piece) };
        let there = &scene.around.places[to as usize];
        let needs = std::time::Duration::from_micros((bytes as f32 / there.down) as u64);
        let at = scene.now + self.place.delay(there) + needs;
        self.arrives(to, at, What::Piece(segment, piece, bytes, hash), scene);
        self.flush(to, scene);
        self.tell(Input::Sent { peer, segment, piece }, scene);
    }
}
