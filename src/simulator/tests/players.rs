//! Each kind of player against what was measured on the real one: start burst, read-ahead, live start, reloads.
//!
//! *Ahead* is measured as it was there: where the newest segment begins that was asked for, less the time since the first
//! request.

use std::time::Duration;

use crate::delivery::AskId;
use crate::model::time::Time;
use crate::model::timeline;
use crate::model::units::BitsPerSecond;
use crate::simulator::content::{Content, Programme};
use crate::simulator::plain::Plain;
use crate::simulator::player::{Act, Kind, Player};

const SEGMENT: Duration = Duration::from_secs(4);
const LISTING: Duration = Duration::from_millis(20);

/// What a player did.
#[derive(Debug, Default)]
struct Watched {
    /// Requests for segments, by when and which, in seconds and numbers.
    asked: Vec<(f64, u64)>,
    /// When manifests were asked for.
    loaded: Vec<f64>,
    /// The most requests that were open at the same time.
    open: usize,
    /// The newest that was listed when the first was asked for.
    newest: u64,
}

/// Something on its way to the player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Listing(Time),
    Answer(AskId),
}

/// A player of its kind beside an origin that answers at 400 Mbit/s, from `joins` on for two minutes.
fn watch(kind: Kind, of: timeline::Kind, mbit: f64, joins: f64) -> Watched {
    let (bitrate, window) =
        (BitsPerSecond((mbit * 1e6) as u64), if of == timeline::Kind::Vod { 75 } else { 7 });
    let programme = Programme { kind: of, segment: SEGMENT, window, bitrate, renditions: 1 };
    let mut now = Time::ZERO + Duration::from_secs_f64(joins);
    let (began, end) = (now, now + Duration::from_secs(120));
    let content = Content::new(programme, Duration::from_secs_f64(joins + 120.0));
    let mut player = Player::new(kind, &programme, Plain::new(50.0, 50.0, None, now), now);
    let (mut watched, mut due, mut number) = (Watched::default(), Vec::new(), 0);
    while now < end {
        while let Some(act) = player.act(now) {
            let at = (now - began).as_secs_f64();
            match act {
                Act::Load => {
                    watched.loaded.push(at);
                    due.push((now + LISTING, Due::Listing(now)));
                }
                Act::Ask(segment) => {
                    let (ask, length) = (AskId(number), content.length(0, segment.sequence));
                    number += 1;
                    player.asks(now, ask, segment, (LISTING, length));
                    watched.asked.push((at, segment.sequence));
                    watched.open = watched.open.max(player.open().count());
                    due.push((
                        now + LISTING + BitsPerSecond(400_000_000).time_for(length.into()).unwrap(),
                        Due::Answer(ask),
                    ));
                }
            }
        }
        due.sort_unstable();
        let (next, acts) = (due.first().map(|(at, _)| *at), player.acts_at(now));
        now = next.into_iter().chain(acts).min().unwrap_or(end).max(now);
        while let Some((_, what)) = due.first().copied().filter(|(at, _)| *at <= now) {
            due.remove(0);
            match what {
                Due::Listing(as_of) => {
                    let listing = content.listing(0, as_of);
                    if watched.asked.is_empty() {
                        watched.newest = listing.segments.last().unwrap().sequence;
                    }
                    player.listed(now, listing);
                }
                Due::Answer(ask) => drop(player.takes(now, ask)),
            }
        }
    }
    watched
}

impl Watched {
    /// The least and the most that it was ahead from `from` to 60 s.
    fn ahead(&self, from: f64) -> (f64, f64) {
        let (began, first) = self.asked[0];
        let begins = |sequence: u64| (sequence - first) as f64 * SEGMENT.as_secs_f64();
        let pairs = self.asked.windows(2).filter(|pair| (from..60.0).contains(&pair[0].0));
        pairs.fold((f64::MAX, f64::MIN), |(least, most), pair| {
            let ahead = begins(pair[0].1) + began;
            (least.min(ahead - pair[1].0), most.max(ahead - pair[0].0))
        })
    }

    /// Segments asked for within the first half second.
    fn burst(&self) -> usize {
        self.asked.iter().filter(|(at, _)| at - self.asked[0].0 < 0.5).count()
    }

    /// The shortest and the longest time between two of these, after 12 s.
    fn gaps(times: impl Iterator<Item = f64>) -> (f64, f64) {
        let times: Vec<f64> = times.filter(|at| *at > 12.0).collect();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.fold((f64::MAX, f64::MIN), |(least, most), gap| (least.min(gap), most.max(gap)))
    }
}

fn within(found: (f64, f64), expected: std::ops::RangeInclusive<f64>, what: &str) {
    let inside = expected.contains(&found.0) && expected.contains(&found.1);
    assert!(inside, "{what}: {found:?}, and {expected:?} was measured");
}

/// Of a recording of 300 s: the burst, the requests at the same time, and how far ahead at a low and at a high bit rate.
#[test]
fn a_recording_is_read_as_far_ahead_as_was_measured() {
    let film = timeline::Kind::Vod;
    for (kind, burst, open, low, high) in [
        (Kind::Ffplay, 2, 2, -0.1..=4.1, -0.1..=4.1),
        (Kind::Vlc, 2, 1, 23.9..=30.0, 3.9..=8.1),
        (Kind::HlsJs, 8, 1, 23.9..=28.1, 23.9..=28.1),
        (Kind::Demo, 4, 1, 7.9..=12.1, 7.9..=12.1),
    ] {
        let (calm, fast) = (watch(kind, film, 0.5, 0.0), watch(kind, film, 8.0, 0.0));
        assert_eq!((calm.burst(), calm.open), (burst, open), "{kind:?}");
        assert_eq!(calm.loaded.len(), 1, "{kind:?} loads the manifest of a recording once");
        within(calm.ahead(20.0), low, &format!("{kind:?} at 0.5 Mbit/s"));
        within(fast.ahead(20.0), high, &format!("{kind:?} at 8 Mbit/s"));
        within(Watched::gaps(calm.asked.iter().map(|a| a.0)), 3.9..=4.1, &format!("{kind:?} asks"));
    }
}

/// 3.5 segments in 4 s, and what it wants after about 10 s.
#[test]
fn vlc_fills_its_buffer_step_by_step() {
    let vlc = watch(Kind::Vlc, timeline::Kind::Vod, 0.5, 0.0);
    let full = vlc.asked.windows(2).find(|pair| pair[1].0 - pair[0].0 > 2.0).unwrap()[0];
    assert!((7.0..=12.0).contains(&full.0), "after {} s", full.0);
    within(
        Watched::gaps(vlc.asked.iter().filter(|a| a.0 < full.0).map(|a| a.0 + 12.0).skip(1)),
        1.0..=1.2,
        "VLC",
    );
}

#[test]
fn mpv_loads_what_its_cache_holds() {
    let film = timeline::Kind::Vod;
    let (all, fast) = (watch(Kind::Mpv, film, 0.5, 0.0), watch(Kind::Mpv, film, 8.0, 0.0));
    let last = all.asked.last().unwrap();
    assert!(last.1 == 74 && last.0 < 3.0 && all.open == 2, "{last:?}, {} at once", all.open);
    let full = fast.asked.iter().rfind(|(at, _)| *at < 30.0).unwrap();
    let ahead = full.1 as f64 * 4.0 - full.0;
    assert!((145.0..=158.0).contains(&ahead), "{ahead} s ahead");
    within(
        Watched::gaps(fast.asked.iter().map(|a| a.0).filter(|at| *at > 30.0)),
        3.9..=4.1,
        "mpv at 8 Mbit/s",
    );
}

/// Of a live channel with seven segments of 4 s: where it begins (0 is the newest), how far it is ahead of the first
/// request's place, and the time between two reloads. Joined at different moments between two segments.
#[test]
fn a_live_channel_is_begun_and_reloaded_as_was_measured() {
    for (kind, start, ahead, reloads) in [
        (Kind::Ffplay, 2, -0.5..=8.1, 1.9..=8.0),
        (Kind::Vlc, 4, 9.5..=16.1, 3.9..=4.3),
        (Kind::HlsJs, 2, 3.0..=8.1, 1.9..=4.3),
        (Kind::Mpv, 2, 3.5..=8.1, 1.9..=4.3),
        (Kind::Demo, 2, 0.0..=12.1, 1.9..=8.0),
    ] {
        for joins in [29.0, 30.3, 31.7] {
            let live = watch(kind, timeline::Kind::Live, 0.5, joins);
            let what = format!("{kind:?} from {joins} s on");
            assert_eq!(live.newest - live.asked[0].1, start, "{what}");
            within(live.ahead(16.0), ahead.clone(), &what);
            within(Watched::gaps(live.loaded.iter().copied()), reloads.clone(), &format!("{what} reloads"));
        }
    }
}
