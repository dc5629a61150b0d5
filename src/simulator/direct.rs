//! Requests of the player that go past its Node, as the proxy passes on what the Node does not keep or knows no session
//! of: a viewer that was away for so long that it counted as gone plays on from the listing it had.

use super::host::{Fetching, Host, Scene};
use super::origin::Request;
use crate::delivery::account::Bytes;
use crate::delivery::{AskId, FetchId};

/// Set in the names of fetches that the Node knows nothing of; it counts its own from zero.
const PAST: u64 = 1 << 63;

fn name_of(ask: AskId) -> FetchId {
    FetchId(ask.0 | PAST)
}

fn asked_by(fetch: FetchId) -> Option<AskId> {
    (fetch.0 & PAST != 0).then_some(AskId(fetch.0 & !PAST))
}

impl Host {
    /// The origin is asked in the player's name.
    pub(super) fn pass_on(&mut self, ask: AskId, scene: &mut Scene<'_>) {
        let content = &scene.around.content;
        let asked = self.player.segment_of(ask).and_then(|segment| Some((segment, content.find(segment)?)));
        let Some((segment, (rendition, sequence))) = asked else {
            return self.player.fails(scene.now, ask);
        };
        let (fetch, from) = (name_of(ask), 0);
        let length = content.length(rendition, sequence);
        self.fetches.push(Fetching { fetch, segment, from, got: 0, came: 0, length, headed: false });
        let at = scene.now + self.place.delay_to_service();
        let (host, span) = (self.index, Some((from, length)));
        scene.outbox.origin.push(Request { at, host, fetch, span, length });
        scene.story.tell(self.index, scene.now, Some(sequence), || "it is passed on to the origin".into());
    }

    /// A part of such an answer is here; false when the Node has asked for it.
    pub(super) fn passes(&mut self, fetch: FetchId, up_to: u32, last: bool, scene: &mut Scene<'_>) -> bool {
        let Some(ask) = asked_by(fetch) else { return false };
        let Some(at) = self.fetches.iter().position(|f| f.fetch == fetch) else { return true };
        let fresh = u64::from(up_to - std::mem::replace(&mut self.fetches[at].got, up_to));
        self.passed_on += fresh;
        self.comes_by_http(fresh, scene);
        if last {
            self.fetches.remove(at);
            self.player_takes(ask, scene);
            self.play(scene);
        }
        true
    }

    /// Such an answer is an error, or breaks off: the player learns of it itself; false when the Node has asked for it.
    pub(super) fn pass_fails(&mut self, fetch: FetchId, scene: &mut Scene<'_>) -> bool {
        let Some(ask) = asked_by(fetch) else { return false };
        scene.tally.failed += 1;
        scene.story.tell(self.index, scene.now, None, || "what was passed on fails".into());
        self.player.fails(scene.now, ask);
        true
    }

    /// The player hangs up on such a request.
    pub(super) fn passed_on_ends(&mut self, ask: AskId, scene: &mut Scene<'_>) {
        let fetch = name_of(ask);
        let Some(at) = self.fetches.iter().position(|f| f.fetch == fetch) else { return };
        let length = self.fetches.remove(at).length;
        let at = scene.now + self.place.delay_to_service();
        scene.outbox.origin.push(Request { at, host: self.index, fetch, span: None, length });
    }

    /// What came for this viewer, past its Node or not.
    pub(super) fn totals(&self) -> Bytes {
        let mut totals = self.node.totals();
        totals.http += self.passed_on;
        totals.served += self.passed_on;
        totals
    }
}
