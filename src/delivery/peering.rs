//! What neighbours say, and what we tell them.
//!
//! A neighbour's word counts once it has agreed with bytes we trust: a piece that we took from the origin ourselves or
//! that was checked before. Until then its announcements are noted and nothing is asked of it.

use std::time::Duration;

use super::neighbours::{Neighbour, Watches};
use super::pieces::{Claim, Pieces, ones};
use super::policy::{Policy, RANKED_SWARM};
use super::session::Session;
use super::{Output, early};
use crate::model::ids::{PeerId, SegmentId, SwarmId};
use crate::model::time::Time;
use crate::model::timeline::{PieceGrid, Segment};
use crate::wire::digest::PieceHash;
use crate::wire::message::{Message, Slot};

/// Segments that are known on neighbours' word alone; more names for what comes next are not believed.
const UNLISTED: usize = 4;
/// Renditions that one neighbour may watch with us.
pub(super) const WATCHES: usize = 32;
/// After a neighbour has come or is confirmed, this long no lottery is drawn: what it has is still being told.
pub const SETTLING: Duration = Duration::from_millis(300);

/// An announcement, taken apart.
#[derive(Clone, Debug)]
pub struct Have<'a> {
    /// Which segment.
    pub segment: SegmentId,
    /// Its sequence number.
    pub sequence: u64,
    /// Its length; 0 when unknown.
    pub length: u32,
    /// More will follow.
    pub loading: bool,
    /// Piece numbers and hashes.
    pub pieces: &'a [(u8, PieceHash)],
}

/// What a neighbour deserves for what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing wrong.
    Fine,
    /// What it speaks of is not wanted yet, and may be soon.
    Early,
    /// Its word agreed with what we trust.
    Confirmed,
    /// Its word contradicts the origin.
    Liar,
    /// Its word contradicts another neighbour's about this piece.
    Contested(u8),
}

/// A neighbour joined a rendition, which it will call `slot`. It has [left](super::Node) whatever it called so before, and
/// this one under another slot.
pub fn joins(neighbour: &mut Neighbour, slot: Slot, swarm: SwarmId) {
    neighbour.watches.retain(|w| w.slot != slot);
    if neighbour.watches.len() < WATCHES {
        neighbour.watches.push(Watches { slot, swarm, window: (1, 0), gives: true });
    }
}

/// Greets a new neighbour: who we are and what we watch.
pub fn greet(peer: PeerId, sessions: &[Session], policy: &Policy, out: &mut Vec<Output>) {
    let hello =
        Message::Hello { version: crate::wire::message::VERSION, features: 0, uploads: policy.upload };
    out.push(Output::Say { peer, message: hello });
    for session in sessions.iter().filter(|s| s.joined) {
        introduce(peer, session, &session.terms.over(policy), out);
    }
}

/// Tells a neighbour that we watch this.
pub fn introduce(peer: PeerId, session: &Session, policy: &Policy, out: &mut Vec<Output>) {
    out.push(Output::Say { peer, message: Message::Joined { slot: session.slot, swarm: session.swarm } });
    if policy.p2p && !session.terms.upload {
        out.push(Output::Say { peer, message: Message::Takes { slot: session.slot } });
    }
    let (first, last) = session.window(policy);
    out.push(Output::Say { peer, message: Message::Window { slot: session.slot, first, last } });
}

/// Tells the neighbours that we leave a rendition, those that left it before as well: they were told that we came. What they said of it
/// and could not be believed yet is void.
pub fn part(session: &Session, neighbours: &mut [Neighbour], out: &mut Vec<Output>) {
    for neighbour in neighbours {
        if let Some(slot) = neighbour.watch(session.swarm).map(|theirs| theirs.slot) {
            early::take_back(neighbour, |of, _| of == slot);
        }
        out.push(Output::Say { peer: neighbour.peer, message: Message::Left { slot: session.slot } });
    }
}

/// Takes in an announcement.
pub fn have(
    session: &mut Session,
    (n, neighbour): (usize, &Neighbour),
    have: &Have<'_>,
    policy: &Policy,
    now: Time,
) -> Verdict {
    let grid = PieceGrid::for_length(u64::from(have.length));
    if !session.may_be(u64::from(have.length), policy) {
        return Verdict::Fine;
    }
    if session.active.get(have.segment).is_none() && !expect(session, have, neighbour.confirmed, policy, now)
    {
        return early::place(session, have, policy);
    }
    let viewers = session.viewers;
    let Some(pieces) = session.pieces(have.segment) else { return Verdict::Fine };
    if pieces.disputed || !pieces.shareable {
        return Verdict::Fine;
    }
    if pieces.grid.is_none() && pieces.fetches.iter().any(|fetch| fetch.head.is_some()) {
        // The origin sends it without telling its length: that is what comes, whatever neighbours say.
        return Verdict::Fine;
    }
    if is_true(pieces, have.length, have.pieces) == Some(false) {
        return Verdict::Liar;
    }
    if let Some(grid) = grid
        && pieces.grid.is_some_and(|known| known != grid)
    {
        return if neighbour.confirmed { Verdict::Contested(0) } else { Verdict::Fine };
    }
    let known = |piece: u8, hash: PieceHash| pieces.hash(piece).map(|known| known == hash);
    let agrees =
        have.pieces.iter().any(|&(p, hash)| pieces.held() & 1 << p != 0 && known(p, hash) == Some(true));
    if !neighbour.confirmed && !agrees {
        return Verdict::Fine;
    }
    let contradicted = have.pieces.iter().find(|&&(p, hash)| known(p, hash) == Some(false));
    if let Some(&(piece, _)) = contradicted {
        return Verdict::Contested(piece);
    }
    if let Some(contest) = &pieces.contest {
        return Verdict::Contested(contest.piece);
    }
    if let Some(grid) = grid {
        pieces.set_length(grid, false);
    }
    if !pieces.heard && pieces.held() == 0 && !pieces.loading() && viewers > RANKED_SWARM {
        // The word goes round faster than the pieces: whoever hears it does not draw in the lottery.
        (pieces.heard, pieces.dirty) = (true, true);
    }
    let mut bits = 0;
    for &(piece, hash) in have.pieces {
        match pieces.claim(piece, hash, neighbour.peer, true) {
            Claim::New | Claim::Agrees => bits |= 1 << piece,
            Claim::Wrong | Claim::Disputed => {}
        }
    }
    pieces.words.announces(n, bits, have.loading, now);
    if agrees && !neighbour.confirmed { Verdict::Confirmed } else { Verdict::Fine }
}

/// Whether what is said of a segment (its length, 0 when unknown, and pieces) agrees with what the origin brought of it;
/// `None` where it brought nothing to compare with.
#[must_use]
pub fn is_true(pieces: &Pieces, length: u32, said: &[(u8, PieceHash)]) -> Option<bool> {
    let own = pieces.held() & !pieces.doubtful();
    let grid = PieceGrid::for_length(u64::from(length));
    if own != 0 && grid.is_some_and(|grid| pieces.grid.is_some_and(|known| known != grid)) {
        return Some(false);
    }
    let ours = said.iter().filter(|(p, _)| own & 1u64.checked_shl(u32::from(*p)).unwrap_or(0) != 0);
    let agrees = ours.map(|&(p, hash)| pieces.hash(p) == Some(hash));
    agrees.reduce(|all, one| all && one)
}

/// Opens the state of a segment that a neighbour announced, if it lies in what we want next.
fn expect(session: &mut Session, have: &Have<'_>, confirmed: bool, policy: &Policy, now: Time) -> bool {
    let Some(front) = session.foremost() else { return false };
    let horizon = session.horizon(front, policy);
    if let Some(listed) = session.listed(have.segment).cloned() {
        if listed.sequence < front || listed.sequence > horizon {
            return false;
        }
        session.open(listed, true, now);
        return true;
    }
    let last = session.timeline.segments.last().map(|s| s.sequence);
    if !confirmed
        || !session.timeline.kind.grows()
        || last.is_none_or(|last| have.sequence <= last)
        || have.sequence > horizon
    {
        return false;
    }
    if session.active.awake().filter(|(_, p)| !p.listed).count() >= UNLISTED {
        return false;
    }
    let (id, sequence, duration) = (have.segment, have.sequence, session.timeline.target);
    session.open(Segment { id, sequence, duration }, false, now);
    true
}

/// A piece came from the origin: what unconfirmed neighbours said of it is now true or false.
pub fn judge(
    neighbours: &[Neighbour],
    segment: SegmentId,
    piece: u8,
    hash: PieceHash,
) -> Vec<(PeerId, bool)> {
    let mut verdicts = Vec::new();
    for neighbour in neighbours.iter().filter(|n| !n.confirmed) {
        for message in &neighbour.pending {
            let Message::Have { segment: of, pieces, .. } = message else { continue };
            if *of == segment
                && let Some((_, said)) = pieces.iter().find(|(p, _)| *p == piece)
            {
                verdicts.push((neighbour.peer, *said == hash));
                break;
            }
        }
    }
    verdicts
}

/// A neighbour is to be believed from now on; no lottery until the rest of what it has is told.
pub fn confirm(session: &mut Session, neighbour: &mut Neighbour, now: Time) -> Vec<Message> {
    neighbour.confirmed = true;
    session.settled_at = session.settled_at.max(now + SETTLING);
    std::mem::take(&mut neighbour.pending)
}

/// Tells every neighbour in the swarm what it has not been told yet of segments with news; answers when there is more
/// to tell by time alone.
pub fn announce(
    session: &mut Session,
    neighbours: &[Neighbour],
    policy: &Policy,
    now: Time,
    out: &mut Vec<Output>,
) -> Option<Time> {
    let may = policy.p2p && policy.upload && session.entitled && session.joined;
    let Session { slot, swarm, active, .. } = session;
    let mut later: Option<Time> = None;
    for pieces in active.awake_mut().filter(|p| p.dirty) {
        pieces.dirty = false;
        if !may || !pieces.shareable {
            continue;
        }
        let seeding = pieces.seeding_until.filter(|&until| until > now);
        pieces.seeding_until = seeding;
        if let Some(until) = seeding {
            pieces.dirty = true;
            later = Some(later.map_or(until, |at| at.min(until)));
            seed(pieces, (*slot, *swarm), neighbours, out);
            continue;
        }
        for (n, neighbour) in neighbours.iter().enumerate() {
            let news = pieces.words.news(n, pieces.held());
            tell(pieces, (*slot, *swarm), (n, neighbour), news, out);
        }
    }
    later
}

/// The first holder of a segment offers every neighbour other pieces, until they offer them themselves: so each leaves
/// once before any leaves twice, and neighbours that don't pass on wait for those that do.
fn seed(
    pieces: &mut Pieces,
    (slot, swarm): (Slot, SwarmId),
    neighbours: &[Neighbour],
    out: &mut Vec<Output>,
) {
    let spread = pieces.words.anywhere();
    let passes_on = |n: &Neighbour| n.gives(swarm);
    let stripes = neighbours.iter().filter(|n| passes_on(n)).count().max(1);
    let mut stripe = 0;
    for (n, neighbour) in neighbours.iter().enumerate() {
        let mut offered = spread;
        if passes_on(neighbour) {
            offered |= (stripe..64).step_by(stripes).fold(0, |bits, piece| bits | 1 << piece);
            stripe += 1;
        }
        let news = pieces.words.news(n, pieces.held()) & offered;
        tell(pieces, (slot, swarm), (n, neighbour), news, out);
    }
}

/// Tells one neighbour everything we hold in the window it has just declared.
pub fn synchronise(
    session: &mut Session,
    n: usize,
    neighbour: &Neighbour,
    policy: &Policy,
    out: &mut Vec<Output>,
) {
    if !(policy.p2p && policy.upload && session.entitled && session.joined) {
        return;
    }
    let stream = (session.slot, session.swarm);
    for pieces in session.active.iter_mut().filter(|p| p.shareable && (p.held() != 0 || p.loading())) {
        let news = pieces.held() & !pieces.words.told(n).unwrap_or(0);
        tell(pieces, stream, (n, neighbour), news, out);
    }
}

fn tell(
    pieces: &mut Pieces,
    (slot, swarm): (Slot, SwarmId),
    (n, neighbour): (usize, &Neighbour),
    news: u64,
    out: &mut Vec<Output>,
) {
    let (segment, sequence) = (pieces.id(), pieces.segment.sequence);
    let Some(watch) = neighbour.watch(swarm) else { return };
    if sequence < watch.window.0 || sequence > watch.window.1 {
        return;
    }
    // A first holder that offers a part only has more, though it loads no more.
    let loading = match pieces.seeding_until {
        Some(_) => pieces.dirty,
        None => !pieces.complete() && (pieces.loading() || pieces.heard || pieces.claimed.is_some()),
    };
    if news == 0 && (!loading || pieces.words.knows_of_more(n)) {
        return;
    }
    let mut hashes = Vec::with_capacity(news.count_ones() as usize);
    hashes.extend(ones(news).filter_map(|piece| pieces.hash(piece).map(|hash| (piece, hash))));
    let length = pieces.grid.map_or(0, PieceGrid::length);
    pieces.words.tell(n, news);
    let message = Message::Have { slot, segment, sequence, length, loading, pieces: hashes };
    out.push(Output::Say { peer: neighbour.peer, message });
}

/// Tells every neighbour that we are about to load a segment, or, where it was told and it will not be, takes that back.
pub fn claim(
    session: &mut Session,
    index: usize,
    neighbours: &[Neighbour],
    window: Option<(Time, Time)>,
    out: &mut Vec<Output>,
) {
    let (stream, claimed) = ((session.slot, session.swarm), session.active[index].claimed);
    match (window, claimed) {
        (Some(_), None) => {
            let pieces = &mut session.active[index];
            pieces.claimed = window;
            for (n, neighbour) in neighbours.iter().enumerate() {
                tell(pieces, stream, (n, neighbour), 0, out);
            }
        }
        (None, Some(_)) => {
            session.active[index].claimed = None;
            no_longer_loading(session, index, neighbours, out);
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
}

/// Neighbours that counted on our loading a segment are told that it is over.
pub fn no_longer_loading(
    session: &mut Session,
    index: usize,
    neighbours: &[Neighbour],
    out: &mut Vec<Output>,
) {
    let (slot, joined) = (session.slot, session.joined);
    let pieces = &mut session.active[index];
    if pieces.loading() || !joined {
        return;
    }
    let (segment, sequence) = (pieces.id(), pieces.segment.sequence);
    let length = pieces.grid.map_or(0, PieceGrid::length);
    for (n, neighbour) in neighbours.iter().enumerate() {
        if pieces.words.takes_back(n) {
            let message =
                Message::Have { slot, segment, sequence, length, loading: false, pieces: Vec::new() };
            out.push(Output::Say { peer: neighbour.peer, message });
        }
    }
}

/// Takes back what neighbours were told of a segment that is no longer here.
pub fn retract(gone: &Pieces, neighbours: &[Neighbour], out: &mut Vec<Output>) {
    let segment = gone.id();
    for (_, neighbour) in neighbours.iter().enumerate().filter(|(n, _)| gone.words.told(*n).is_some()) {
        out.push(Output::Say { peer: neighbour.peer, message: Message::Lost { segment } });
    }
}
