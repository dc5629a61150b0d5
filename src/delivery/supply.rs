//! Origin or peers: for each request of a player, and for each new segment, whether the origin is asked now.
//!
//! A player with nothing buffered is served by the origin at once. One with slack may be held while peers bring the
//! segment, until the moment at which the origin alone could still be in time; then the origin is asked for exactly
//! the bytes that are missing. A segment that nobody has is taken by whose turn it is ([`lottery`](super::lottery)).

use std::time::Duration;

use super::account::Reason;
use super::fetches::Fetch;
use super::neighbours::Neighbour;
use super::pieces::{Ask, Flight, Pieces, ones};
use super::policy::{
    HOLD_UNDER_WAY, HOLD_WITH_ALTERNATIVES, LONGEST_HOLD, PROBE_AHEAD, Policy, RANKED_SWARM, RESCUE, SEEDING,
};
use super::session::Session;
use super::sparing::{self, Gaps, merged};
use super::turns::{self, Expected, Step, Turn};
use super::{FetchId, Output, Wake, contest, peering};
use crate::model::ids::PeerId;
use crate::model::time::Time;
use crate::model::timeline::Kind;
use crate::model::units::BitsPerSecond;
use crate::wire::message::Message;

/// Origin fetches of one segment at the same time.
const FETCHES_EACH: usize = 4;
/// … with those for what was left to neighbours: each part between two others is one.
const FETCHES_MOST: usize = 2 * FETCHES_EACH + 1;

/// What the decision needs to know besides the session.
pub struct View<'a> {
    /// Who we are.
    pub me: PeerId,
    /// What holds.
    pub policy: &'a Policy,
    /// When.
    pub now: Time,
    /// What our uplink was seen to carry; `None` before it was busy.
    pub uplink: Option<BitsPerSecond>,
}

/// What is to be done for one request or segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Origin(Reason),
    Wait(Time, Wake),
    /// Neighbours are told that we take the first copy, and may object until then; to be looked at again at the other moment.
    Claim(Time, Time),
}

/// Asks the origin for what is due and answers when something will be due next.
pub fn supply(
    session: &mut Session,
    neighbours: &mut [Neighbour],
    view: &View<'_>,
    next_fetch: &mut u64,
    out: &mut Vec<Output>,
) -> Option<(Time, Wake)> {
    let mut wake: Option<(Time, Wake)> = None;
    let mut next = session.active.next_awake(0);
    while let Some(index) = next {
        session.active.settle(index);
        next = session.active.next_awake(index + 1);
        let mut verdict = due(session, index, neighbours, view);
        // Each that is sent leaves fewer that may be, so this ends.
        while let Some((Verdict::Origin(reason), gaps)) = &verdict {
            let before = session.active[index].fetches.len();
            fetch(session, index, *reason, gaps, neighbours, view, next_fetch, out);
            // What was left to neighbours is due later, and another player's request may be due as well.
            let more = session.timeline.choice.adaptive && session.active[index].fetches.len() > before;
            verdict = more.then(|| due(session, index, neighbours, view)).flatten();
        }
        match verdict {
            Some((Verdict::Wait(until, why), _)) => wake = earlier(wake, (until, why)),
            Some((Verdict::Claim(_, at), _)) => wake = earlier(wake, (at, Wake::Lottery)),
            _ => {}
        }
        let claim = match verdict {
            Some((Verdict::Claim(until, _), _)) => Some(until),
            _ => None,
        };
        peering::claim(session, index, neighbours, claim.map(|until| (view.now, until)), out);
    }
    wake
}

/// The earlier of two wake-ups.
pub fn earlier(a: Option<(Time, Wake)>, b: (Time, Wake)) -> Option<(Time, Wake)> {
    Some(a.map_or(b, |a| a.min(b)))
}

fn due(
    session: &Session,
    index: usize,
    neighbours: &[Neighbour],
    view: &View<'_>,
) -> Option<(Verdict, Gaps)> {
    let pieces = &session.active[index];
    if (pieces.complete() && pieces.contest.is_none()) || requests_left(session, pieces) == 0 {
        return None;
    }
    let mut waiting: Option<(Verdict, Gaps)> = None;
    if let Some(settles) = contest::wants(pieces)
        && view.policy.p2p
        && session.entitled
    {
        if view.now >= pieces.retry_at {
            return Some((Verdict::Origin(Reason::HashMismatch), vec![settles]));
        }
        waiting = Some((Verdict::Wait(pieces.retry_at, Wake::OriginRetry), Vec::new()));
    }
    let claim = match for_asks(session, pieces, neighbours, view, &mut waiting) {
        Asked::Origin(reason, gaps) => return Some((Verdict::Origin(reason), gaps)),
        Asked::Waits(claim) => claim,
    };
    if waiting.is_none()
        && let Some(verdict) = for_swarm(session, pieces, neighbours, view)
    {
        // What has come and is not hashed yet is nobody's turn any more.
        let gaps = pieces.missing(0, None);
        let takes = matches!(verdict, Verdict::Origin(_) | Verdict::Claim(..));
        return (!takes || !gaps.is_empty()).then_some((verdict, gaps));
    }
    let due = match (rescue(session, pieces, neighbours, view), &waiting) {
        (Some((Verdict::Wait(at, _), _)), Some((Verdict::Wait(other, _), _))) if at >= *other => waiting,
        (Some(rescue), _) => Some(rescue),
        (None, _) => waiting,
    };
    match (claim, due) {
        (Some(until), Some((Verdict::Wait(at, _), gaps))) => Some((Verdict::Claim(until, at), gaps)),
        (_, due) => due,
    }
}

/// How many requests the origin may be sent now for a segment.
fn requests_left(session: &Session, pieces: &Pieces) -> usize {
    let goes_on = session.timeline.choice.adaptive && !pieces.fetches.is_empty();
    let most = if goes_on { FETCHES_MOST } else { FETCHES_EACH };
    most.saturating_sub(pieces.fetches.len())
}

/// What players' requests for a segment come to.
enum Asked {
    /// One is the origin's now.
    Origin(Reason, Gaps),
    /// All can wait; until when neighbours may object to a claim made for one of them.
    Waits(Option<Time>),
}

/// Goes through the requests for a segment; `waiting` becomes what is due first of those that wait.
fn for_asks(
    session: &Session,
    pieces: &Pieces,
    neighbours: &[Neighbour],
    view: &View<'_>,
    waiting: &mut Option<(Verdict, Gaps)>,
) -> Asked {
    let mut claim: Option<Time> = None;
    for ask in &pieces.asks {
        let gaps = pieces.missing(ask.from.max(ask.ready), ask.to);
        if gaps.is_empty() {
            continue;
        }
        let verdict = if view.now < pieces.retry_at {
            Verdict::Wait(pieces.retry_at, Wake::OriginRetry)
        } else {
            for_ask(session, pieces, ask, neighbours, view)
        };
        let (verdict, gaps) = match verdict {
            Verdict::Origin(Reason::PeerSlow | Reason::Busy) => {
                spared(session, pieces, ask, verdict, gaps, view)
            }
            // The next player may need it now.
            Verdict::Claim(until, at) => {
                claim = Some(claim.map_or(until, |other| other.min(until)));
                (Verdict::Wait(at, Wake::Lottery), gaps)
            }
            verdict => (verdict, gaps),
        };
        match (verdict, &*waiting) {
            (Verdict::Origin(reason), _) => return Asked::Origin(reason, gaps),
            (Verdict::Wait(at, _), Some((Verdict::Wait(other, _), _))) if at >= *other => {}
            _ => *waiting = Some((verdict, gaps)),
        }
    }
    Asked::Waits(claim)
}

/// What neighbours are sending at that moment is left to them for a little longer, where the player can wait: it would only come
/// twice.
fn spared(
    session: &Session,
    pieces: &Pieces,
    ask: &Ask,
    verdict: Verdict,
    gaps: Gaps,
    view: &View<'_>,
) -> (Verdict, Gaps) {
    let needed = session.needed_at(ask.viewer, pieces.segment.sequence, view.now);
    let adaptive = session.choice_of(ask.viewer).adaptive;
    let Some(needed) = needed.filter(|_| adaptive) else { return (verdict, gaps) };
    let until = held_at_most(session, pieces, ask, needed, view.policy, HOLD_UNDER_WAY);
    if view.now >= until {
        return (verdict, gaps);
    }
    let later = FETCHES_MOST.saturating_sub(pieces.fetches.len());
    let rest = sparing::rest(pieces, ask, &gaps, (requests_left(session, pieces), later));
    if rest.is_empty() { (Verdict::Wait(until, Wake::Slack), rest) } else { (verdict, rest) }
}

/// Pieces that nobody near has though the segment is under way since a while: its first holder is slow, or gone. Before
/// everybody has to ask the origin for them, lots are drawn once more, for these pieces.
fn rescue(
    session: &Session,
    pieces: &Pieces,
    neighbours: &[Neighbour],
    view: &View<'_>,
) -> Option<(Verdict, Gaps)> {
    let grid = pieces.grid.filter(|_| {
        let ours = view.policy.p2p && session.entitled && session.watched() && pieces.shareable;
        ours && pieces.listed && session.timeline.kind.grows() && pieces.contest.is_none()
    })?;
    if session.front().is_none_or(|front| pieces.segment.sequence < front) {
        return None;
    }
    let since = pieces.seen + pieces.segment.duration.mul_f64(RESCUE);
    if view.now < since {
        return Some((Verdict::Wait(since, Wake::Lottery), Vec::new()));
    }
    let near = pieces.words.bits().zip(neighbours).filter(|(_, n)| usable(n, session) && !n.owes());
    let there = near.fold(pieces.held() | pieces.coming(grid), |all, (bits, _)| all | bits);
    let nowhere = grid.all() & !there;
    if nowhere == 0 {
        return None;
    }
    let turn = Turn::of(session, pieces, since.max(pieces.retry_at), neighbours, view)?;
    if turn.at > view.now {
        return Some((Verdict::Wait(turn.at, Wake::Lottery), Vec::new()));
    }
    let mut gaps: Gaps = Vec::new();
    for span in ones(nowhere).map(|piece| grid.span(piece)) {
        match gaps.last_mut().filter(|(_, end)| *end == Some(span.start)) {
            Some((_, end)) => *end = Some(span.end),
            None => gaps.push((span.start, Some(span.end))),
        }
    }
    Some((Verdict::Origin(Reason::Lottery), gaps))
}

fn for_ask(
    session: &Session,
    pieces: &Pieces,
    ask: &Ask,
    neighbours: &[Neighbour],
    view: &View<'_>,
) -> Verdict {
    if !view.policy.p2p {
        return Verdict::Origin(Reason::P2pOff);
    }
    if !pieces.shareable {
        return Verdict::Origin(if pieces.disputed { Reason::HashMismatch } else { Reason::NotShared });
    }
    let Some(needed) = session.needed_at(ask.viewer, pieces.segment.sequence, view.now) else {
        return Verdict::Origin(Reason::StartUp);
    };
    if !session.watched() {
        return Verdict::Origin(Reason::StartUp);
    }
    if !neighbours.iter().any(|n| usable(n, session)) {
        return Verdict::Origin(Reason::NoPeer);
    }
    let until = held_until(session, pieces, ask, needed, view.policy);
    let (mut any, mut busy) = (false, true);
    for (n, neighbour) in neighbours.iter().enumerate() {
        if pieces.words.has(n).is_some() && usable(neighbour, session) {
            any = true;
            busy &= neighbour.busy_until > view.now;
        }
    }
    if view.now >= until {
        return Verdict::Origin(match any {
            false if needed <= view.now => Reason::StartUp,
            false => Reason::Critical,
            true if busy => Reason::Busy,
            true => Reason::PeerSlow,
        });
    }
    match turns::expected(session, pieces, neighbours, view) {
        Expected::Until(at) if at < until => return Verdict::Wait(at, Wake::Lottery),
        Expected::Until(_) | Expected::Open => return Verdict::Wait(until, Wake::Slack),
        Expected::Nobody => {}
    }
    let since = if session.timeline.kind == Kind::Vod { ask.asked } else { pieces.seen };
    match Turn::of(session, pieces, since, neighbours, view).map(|turn| turn.step(pieces, view.now)) {
        Some(Step::Claim(end)) if end < until => Verdict::Claim(end, end),
        // There is no time to ask around.
        Some(Step::Take | Step::Claim(_)) => Verdict::Origin(Reason::Lottery),
        Some(Step::Wait(at)) if at < until => Verdict::Wait(at, Wake::Lottery),
        _ => Verdict::Wait(until, Wake::Slack),
    }
}

/// How long an answer may be held: not into the critical window, not past what a player bears, and with other
/// renditions on offer no longer than a quarter of the segment.
fn held_until(session: &Session, pieces: &Pieces, ask: &Ask, needed: Time, policy: &Policy) -> Time {
    held_at_most(session, pieces, ask, needed, policy, HOLD_WITH_ALTERNATIVES)
}

fn held_at_most(
    session: &Session,
    pieces: &Pieces,
    ask: &Ask,
    needed: Time,
    policy: &Policy,
    part: f64,
) -> Time {
    let bytes = pieces.grid.map(|grid| {
        let missing = grid.all() & !pieces.held();
        ones(missing).map(|piece| grid.span(piece).len() as u64).sum()
    });
    let fetch = session.fetch_time(bytes);
    let mut until = needed.back(fetch + policy.critical);
    until = until.min((ask.fed + LONGEST_HOLD).back(fetch + Duration::from_secs(1)));
    if session.choice_of(ask.viewer).adaptive {
        until = until.min(ask.asked + pieces.segment.duration.mul_f64(part));
    }
    until
}

/// A new segment that no player here asked for yet: ours to take when it is our turn.
fn for_swarm(
    session: &Session,
    pieces: &Pieces,
    neighbours: &[Neighbour],
    view: &View<'_>,
) -> Option<Verdict> {
    let ahead = session.front().is_some_and(|front| pieces.segment.sequence > front);
    let wanted =
        ahead && pieces.listed && session.timeline.kind.grows() && session.entitled && session.watched();
    let shared = view.policy.p2p && view.policy.upload && pieces.shareable;
    if !wanted
        || !shared
        || pieces.loading()
        || !neighbours.iter().any(|n| n.greeted && n.in_swarm(session.swarm))
    {
        return None;
    }
    if view.now < pieces.retry_at {
        return Some(Verdict::Wait(pieces.retry_at, Wake::OriginRetry));
    }
    match turns::expected(session, pieces, neighbours, view) {
        Expected::Until(at) => return Some(Verdict::Wait(at, Wake::Lottery)),
        Expected::Open => return None,
        Expected::Nobody => {}
    }
    Some(match Turn::of(session, pieces, pieces.seen, neighbours, view)?.step(pieces, view.now) {
        Step::Wait(at) => Verdict::Wait(at, Wake::Lottery),
        Step::Claim(until) => Verdict::Claim(until, until),
        Step::Take => Verdict::Origin(Reason::Lottery),
    })
}

/// Whether a neighbour may be asked and believed.
pub fn usable(neighbour: &Neighbour, session: &Session) -> bool {
    neighbour.confirmed && neighbour.gives(session.swarm)
}

#[allow(clippy::too_many_arguments)]
fn fetch(
    session: &mut Session,
    index: usize,
    reason: Reason,
    gaps: &[(u32, Option<u32>)],
    neighbours: &mut [Neighbour],
    view: &View<'_>,
    next_fetch: &mut u64,
    out: &mut Vec<Output>,
) {
    let (swarm, watched) = (session.swarm, session.watched());
    let most = requests_left(session, &session.active[index]);
    let pieces = &mut session.active[index];
    let (segment, sequence) = (pieces.id(), pieces.segment.sequence);
    for (from, to) in merged(gaps, most, &pieces.fetches) {
        let id = FetchId(*next_fetch);
        *next_fetch += 1;
        let allowed = (!watched).then(|| from.saturating_add(PROBE_AHEAD));
        let (started, stirred) = (view.now, view.now);
        let (head, silent) = (None, false);
        pieces.fetches.push(Fetch { id, from, to, got: from, started, head, stirred, silent, allowed });
        out.push(Output::Fetch { fetch: id, swarm, segment, from, to, allowed });
    }
    if let Some(grid) = pieces.grid {
        let arriving = pieces.arriving(grid);
        withdraw(pieces, neighbours, |flight| arriving & 1 << flight.piece != 0, out);
    }
    (pieces.dirty, pieces.claimed) = (true, None);
    if reason == Reason::Lottery && pieces.held() == 0 && session.viewers > RANKED_SWARM {
        pieces.seeding_until = Some(view.now + pieces.segment.duration / SEEDING);
    }
    // A turn that came because those that have it are not counted on says the same of them as having waited in vain.
    let pieces = &session.active[index];
    let owed = pieces.words.bits().zip(&*neighbours).any(|(bits, n)| n.owes() && bits & !pieces.held() != 0);
    if matches!(reason, Reason::PeerSlow | Reason::Busy) || (reason == Reason::Lottery && owed) {
        session.short_at = Some(view.now);
    }
    session.ledger.of(segment, sequence).reason = reason;
}

/// Withdraws requests to neighbours for pieces that `which` names.
pub fn withdraw(
    pieces: &mut Pieces,
    neighbours: &mut [Neighbour],
    which: impl Fn(&Flight) -> bool,
    out: &mut Vec<Output>,
) {
    let segment = pieces.id();
    pieces.flights.retain(|flight| {
        if !which(flight) {
            return true;
        }
        if let Some(neighbour) = neighbours.iter_mut().find(|n| n.peer == flight.peer) {
            neighbour.flights = neighbour.flights.saturating_sub(1);
        }
        out.push(Output::Say {
            peer: flight.peer,
            message: Message::Cancel { segment, piece: flight.piece },
        });
        false
    });
}
