//! Who takes the first copy of a new segment from the origin.
//!
//! Small swarms take turns: everyone ranks the peers it knows by a hash of peer and segment, and rank k waits k steps.
//! Large swarms draw: a viewer fetches once its hash is below a chance that doubles every [`LOTTERY_DOUBLING`] seconds
//! from c/N. Both give each segment another order, so no viewer is always first.

use std::time::Duration;

use super::chance::{mix, to_unit};
use super::policy::{
    LOTTERY_CROWD, LOTTERY_DOUBLING, LOTTERY_MOST, LOTTERY_SCARCE, LOTTERY_UPLINK, LOTTERY_WINNERS,
    RANK_SPREAD, RANK_STEP, RANKED_SWARM,
};
use crate::model::ids::{PeerId, SegmentId};

/// The ticket of `peer` for `segment`: a number that everyone computes alike.
#[must_use]
pub fn ticket(peer: PeerId, segment: SegmentId) -> u64 {
    let mut x = segment.0;
    for chunk in peer.0.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        x = mix(x ^ u64::from_le_bytes(word)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    }
    mix(x)
}

/// What the chances in a swarm go by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crowd {
    /// Its size as the tracker tells it; 0 when unknown.
    pub viewers: u32,
    /// What we were seen to upload, as a multiple of the bit rate: in a large swarm a slow first holder would keep
    /// everybody waiting, so it seldom becomes one.
    pub uplink: f64,
    /// How long segments take to come from neighbours, as a multiple of their duration; 0: unknown.
    pub spread: f64,
}

impl Crowd {
    /// The chance of a viewer to be one of the first in a swarm that draws; `None` where turns are taken.
    #[must_use]
    pub fn chance(&self) -> Option<f64> {
        if self.viewers <= RANKED_SWARM {
            return None;
        }
        let fit = (self.uplink / LOTTERY_UPLINK).clamp(0.1, 1.0);
        let crowd = (f64::from(self.viewers) / LOTTERY_CROWD).min(LOTTERY_MOST);
        let winners = (crowd * scarcity(self.spread)).max(LOTTERY_WINNERS);
        Some((winners * fit / f64::from(self.viewers)).min(1.0))
    }
}

/// How long after a segment was seen `me` may fetch it, if nobody it knows has begun.
///
/// `rivals` are the neighbours that may upload in this swarm, `round_trip` is the slowest neighbour's. The answer only grows
/// with the rank, and for ranked swarms stays within `duration` / [`RANK_SPREAD`].
#[must_use]
pub fn wait(
    me: PeerId,
    segment: SegmentId,
    rivals: impl Iterator<Item = PeerId>,
    crowd: Crowd,
    round_trip: Duration,
    duration: Duration,
) -> Duration {
    let mine = ticket(me, segment);
    if let Some(chance) = crowd.chance() {
        let doublings = (to_unit(mine) / chance).log2().max(0.0);
        return Duration::from_secs_f64(doublings * LOTTERY_DOUBLING);
    }
    let (mut rank, mut others) = (0, 0);
    for rival in rivals {
        others += 1;
        rank += u32::from((ticket(rival, segment), rival) < (mine, me));
    }
    let most = duration / RANK_SPREAD / others.max(1);
    (RANK_STEP + round_trip * 2).min(most) * rank
}

/// How long who is to take the first copy says so before it does: two whose turns come at about the same time, since they
/// saw the segment at different times, hear of each other, and the one with the better ticket takes it. No time at all
/// where lots are drawn, or with no rival.
#[must_use]
pub fn claim(rivals: u32, crowd: Crowd, round_trip: Duration, duration: Duration) -> Duration {
    match rivals {
        0 => Duration::ZERO,
        _ if crowd.chance().is_some() => Duration::ZERO,
        _ => (RANK_STEP + round_trip).min(duration / RANK_SPREAD / rivals),
    }
}

/// How many times more first copies there shall be where a segment needs `spread` times its duration to get around: the
/// scarcer the uplinks, the more of them; where it needs no longer than it plays, no more.
#[must_use]
pub fn scarcity(spread: f64) -> f64 {
    let squared = spread * spread;
    (squared * squared).clamp(1.0, LOTTERY_SCARCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_entropy([n, n / 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    const SEGMENT: Duration = Duration::from_secs(4);

    fn crowd(viewers: u32) -> Crowd {
        Crowd { viewers, uplink: 1.0, spread: 0.0 }
    }

    #[test]
    fn scarce_uplinks_get_more_first_copies_where_there_are_many_viewers() {
        let chance = |viewers, spread| Crowd { spread, ..crowd(viewers) }.chance().unwrap();
        assert!(chance(20_000, 1.5) > chance(20_000, 1.0) * 5.0);
        assert!(chance(20_000, 9.0) <= chance(20_000, 0.5) * LOTTERY_SCARCE);
        assert!(chance(100, 9.0) * 100.0 <= LOTTERY_WINNERS, "a small swarm has as many as it needs");
        assert_eq!(crowd(RANKED_SWARM).chance(), None);
    }

    #[test]
    fn in_a_small_swarm_exactly_one_goes_first_and_all_differ() {
        for segment in (0..50).map(SegmentId) {
            let mut waits: Vec<_> = (0..5)
                .map(|me| {
                    let rivals = (0..5).filter(|&other| other != me).map(peer);
                    wait(peer(me), segment, rivals, crowd(5), Duration::from_millis(2), SEGMENT)
                })
                .collect();
            waits.sort();
            assert_eq!(waits, (0..5).map(|k| (RANK_STEP + Duration::from_millis(4)) * k).collect::<Vec<_>>());
        }
    }

    #[test]
    fn riders_take_turns() {
        let mut first = [0; 5];
        for segment in (0..500).map(SegmentId) {
            for me in 0..5 {
                let rivals = (0..5).filter(|&other| other != me).map(peer);
                first[usize::from(me)] +=
                    u32::from(wait(peer(me), segment, rivals, crowd(5), Duration::ZERO, SEGMENT).is_zero());
            }
        }
        assert_eq!(first.iter().sum::<u32>(), 500);
        assert!(first.iter().all(|&n| (60..140).contains(&n)), "uneven turns: {first:?}");
    }

    #[test]
    fn a_slow_neighbourhood_still_ends_in_time() {
        let rivals = (1..=15).map(peer);
        let longest = (0..200)
            .map(|s| wait(peer(0), SegmentId(s), rivals.clone(), crowd(16), Duration::from_secs(1), SEGMENT))
            .max();
        assert!(longest <= Some(SEGMENT / RANK_SPREAD), "{longest:?}");
    }

    #[test]
    fn in_a_large_swarm_about_c_viewers_go_at_once_and_chances_double() {
        let viewers = 10_000;
        let at = |limit: Duration| {
            (0..viewers)
                .filter(|&n| {
                    let id = PeerId::from_entropy([
                        n as u8,
                        (n >> 6) as u8,
                        (n >> 12) as u8,
                        9,
                        9,
                        9,
                        9,
                        9,
                        9,
                        9,
                        9,
                        9,
                    ]);
                    wait(
                        id,
                        SegmentId(3),
                        std::iter::empty(),
                        Crowd { uplink: 9.0, ..crowd(viewers) },
                        Duration::ZERO,
                        SEGMENT,
                    ) <= limit
                })
                .count()
        };
        let now = at(Duration::ZERO);
        assert!(now <= 15, "{now} viewers fetch at once");
        let later = at(Duration::from_secs(2));
        assert!((25..=200).contains(&later), "{later} after four doublings, about 80 expected");
    }
}
