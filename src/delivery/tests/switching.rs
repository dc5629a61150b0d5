//! From one rendition to another, and several at once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::rig::*;
use crate::delivery::*;
use crate::model::ids::{Group, SegmentId, SwarmId};
use crate::model::time::Time;
use crate::model::timeline::{Choice, Kind, Segment, Timeline};
use crate::wire::message::{Message, Slot};

const VIDEO: Option<Group> = Some(Group(1));
const SOUND: Option<Group> = Some(Group(2));

/// One daemon with a neighbour in each rendition, which brings nothing: what it is asked for stays asked for.
struct Home {
    rig: Rig,
    /// Who watches which rendition, and what was played of it last here.
    neighbours: BTreeMap<&'static str, (u8, u64)>,
    /// Neighbours so far.
    met: u8,
    /// What is asked for from neighbours.
    flying: Vec<(SegmentId, u8)>,
    /// What is fetched from the origin.
    fetching: BTreeMap<FetchId, SegmentId>,
}

fn id(rendition: &str, sequence: u64) -> SegmentId {
    SegmentId::of(SwarmId::of(rendition), sequence, "")
}

impl Home {
    fn new() -> Self {
        let (neighbours, flying, fetching) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        Self { rig: Rig::new(), neighbours, met: 0, flying, fetching }
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        let out = self.rig.tell(input);
        for output in &out {
            match output {
                Output::Say { message: Message::Request { segment, piece, .. }, .. } => {
                    self.flying.push((*segment, *piece));
                }
                Output::Say { message: Message::Cancel { segment, piece }, .. } => {
                    self.flying.retain(|flight| *flight != (*segment, *piece));
                }
                Output::Fetch { fetch, segment, .. } => drop(self.fetching.insert(*fetch, *segment)),
                Output::CancelFetch { fetch } => drop(self.fetching.remove(fetch)),
                _ => {}
            }
        }
        out
    }

    fn say(&mut self, n: u8, message: Message) {
        self.tell(Input::Said { peer: peer(n), message });
    }

    fn list_as(&mut self, rendition: &'static str, group: Option<Group>, kind: Kind, each: Duration) {
        self.list_from(rendition, 0, Choice { group, adaptive: true }, (kind, each), &[1, 2]);
        self.meet(rendition, 0);
    }

    /// These viewers list 200 segments, from that number on.
    fn list_from(
        &mut self,
        rendition: &str,
        first: u64,
        choice: Choice,
        (kind, target): (Kind, Duration),
        viewers: &[u64],
    ) {
        let segment = |sequence| Segment { id: id(rendition, sequence), sequence, duration: target };
        let (swarm, segments) = (SwarmId::of(rendition), (first..first + 200).map(segment).collect());
        let timeline = Timeline { swarm, kind, target, choice, segments };
        for &viewer in viewers {
            self.tell(Input::Listed { timeline: timeline.clone(), viewer });
        }
    }

    /// Somebody comes who watches this rendition.
    fn meet(&mut self, rendition: &'static str, played: u64) {
        self.met += 1;
        self.neighbours.insert(rendition, (self.met, played));
        let (n, slot, swarm) = (self.met, Slot(0), SwarmId::of(rendition));
        self.tell(Input::Joined { peer: peer(n) });
        self.say(n, Message::Hello { version: 1, features: 0, uploads: true });
        self.say(n, Message::Joined { slot, swarm });
        self.say(n, Message::Window { slot, first: 0, last: u64::MAX });
    }

    fn list(&mut self, rendition: &'static str, group: Option<Group>) {
        self.list_as(rendition, group, Kind::Vod, TARGET);
    }

    /// A player asks for a segment, which the origin brings if that is asked, and takes it all.
    fn plays(&mut self, viewer: u64, rendition: &'static str, sequence: u64) {
        let (ask, swarm, segment) = (AskId(self.rig.asks), SwarmId::of(rendition), id(rendition, sequence));
        self.rig.asks += 1;
        self.rig.now += Duration::from_millis(10);
        self.tell(Input::Asked { ask, viewer, swarm, segment, from: 0, to: None });
        for _ in 0..40 {
            if self.fetching.values().any(|of| *of == segment) {
                break;
            }
            self.rig.now += Duration::from_millis(50);
            self.tell(Input::Tick);
        }
        let fetches: Vec<FetchId> =
            self.fetching.iter().filter(|(_, of)| **of == segment).map(|(fetch, _)| *fetch).collect();
        for fetch in fetches {
            self.tell(Input::Head { fetch, length: Some(u64::from(LENGTH)), shareable: true });
            self.tell(Input::Arrived { fetch, up_to: LENGTH });
            for piece in 0..grid().pieces() {
                self.tell(Input::Hashed { segment, piece, hash: hash(sequence, piece) });
            }
            self.tell(Input::Fetched { fetch });
            self.fetching.remove(&fetch);
        }
        self.tell(Input::Took { ask, up_to: LENGTH });
        self.tell(Input::Done { ask });
        self.flying.retain(|(of, _)| *of != segment);
        self.neighbours.entry(rendition).and_modify(|(_, played)| *played = sequence);
    }

    /// A player asks for a segment and hangs up before it has a byte.
    fn gives_up(&mut self, viewer: u64, rendition: &str, sequence: u64) {
        let (ask, swarm, segment) = (AskId(self.rig.asks), SwarmId::of(rendition), id(rendition, sequence));
        self.rig.asks += 1;
        self.tell(Input::Asked { ask, viewer, swarm, segment, from: 0, to: None });
        self.tell(Input::Done { ask });
    }

    /// The neighbour has this segment.
    fn has(&mut self, rendition: &str, sequence: u64) {
        let pieces = (0..grid().pieces()).map(|piece| (piece, hash(sequence, piece))).collect();
        let (slot, segment) = (Slot(0), id(rendition, sequence));
        let loading = false;
        let have = Message::Have { slot, segment, sequence, length: LENGTH, loading, pieces };
        self.say(self.neighbours[rendition].0, have);
    }

    /// Whether somebody new, who has what was played here last and all that comes after `from`, is asked for some of that.
    fn wants_after(&mut self, rendition: &'static str, from: u64) -> bool {
        let (before, played) = self.neighbours[rendition];
        self.flying.retain(|(of, _)| (0..200).all(|sequence| id(rendition, sequence) != *of));
        self.tell(Input::Left { peer: peer(before), misbehaved: false });
        self.meet(rendition, played);
        self.has(rendition, played);
        (from + 1..from + 6).for_each(|sequence| self.has(rendition, sequence));
        self.flies(rendition)
    }

    /// Whether anything of this rendition is asked for and has not come.
    fn flies(&self, rendition: &str) -> bool {
        self.flying.iter().any(|(of, _)| (0..200).any(|sequence| *of == id(rendition, sequence)))
    }

    fn session(&self, rendition: &str) -> &session::Session {
        let swarm = SwarmId::of(rendition);
        self.rig.node.sessions().iter().find(|session| session.swarm == swarm).unwrap()
    }

    fn front(&self, rendition: &str) -> Option<u64> {
        self.session(rendition).front()
    }

    /// One player plays some of the low rendition, and there is a high one.
    fn playing_low() -> Self {
        let mut home = Self::new();
        home.list("low", VIDEO);
        home.list("high", VIDEO);
        (10..14).for_each(|sequence| home.plays(1, "low", sequence));
        assert!(home.wants_after("low", 13), "ahead of the player");
        home
    }
}

#[test]
fn a_rendition_is_left_after_one_segment_in_the_other() {
    for first in [13, 14] {
        let mut home = Home::playing_low();
        home.plays(1, "high", first);
        assert!(home.flies("low"), "it may give that up again");
        home.plays(1, "high", first + 1);
        assert_eq!((home.front("low"), home.front("high")), (None, Some(first + 1)));
        assert!(!home.flies("low"), "{:?}", home.flying);
        assert!(home.wants_after("high", first + 1), "what comes next there");
        let kept = home.session("low").active.iter().filter(|pieces| pieces.complete()).count();
        assert_eq!(kept, 4, "what is here is kept");
        assert!(!home.wants_after("low", 13), "nor is it begun again");
    }
}

#[test]
fn who_gives_a_switch_up_again_has_left_nothing() {
    let mut home = Home::playing_low();
    home.plays(1, "high", 14);
    home.plays(1, "low", 14);
    home.plays(1, "low", 15);
    assert_eq!((home.front("low"), home.front("high")), (Some(15), None), "and what it looked into, it left");
    assert!(home.wants_after("low", 15) && !home.wants_after("high", 14));
}

#[test]
fn who_switches_back_goes_on_there_at_once() {
    let mut home = Home::playing_low();
    let mut sequence = 14;
    for turn in 0..6 {
        let (to, from) = if turn % 2 == 0 { ("high", "low") } else { ("low", "high") };
        for segment in 0..3 {
            home.plays(1, to, sequence);
            assert!(home.session(to).watched(), "{turn}: with its first segment");
            assert_eq!(home.front(from).is_some(), segment == 0, "{turn}: {segment}");
            sequence += 1;
        }
        assert!(home.wants_after(to, sequence - 1) && !home.wants_after(from, sequence - 1), "{turn}");
    }
}

/// Neighbours speak while nobody here plays a rendition; they don't repeat it for who comes back.
#[test]
fn what_neighbours_have_is_known_to_who_comes_back() {
    let mut home = Home::playing_low();
    for sequence in 14..24 {
        home.plays(1, "high", sequence);
        home.has("low", sequence + 1);
    }
    home.plays(1, "low", 23);
    assert!(home.flying.iter().any(|(of, _)| *of == id("low", 24)), "it was told of that: {:?}", home.flying);
}

#[test]
fn two_players_of_two_renditions_are_left_alone() {
    let mut home = Home::playing_low();
    (10..14).for_each(|sequence| home.plays(2, "high", sequence));
    for sequence in 14..20 {
        home.plays(1, "low", sequence);
        home.plays(2, "high", sequence);
        assert_eq!((home.front("low"), home.front("high")), (Some(sequence), Some(sequence)));
        assert!(home.wants_after("low", sequence) && home.wants_after("high", sequence));
    }
    // Under one name they look like one player that plays both.
    let mut home = Home::playing_low();
    (10..14).for_each(|sequence| home.plays(1, "high", sequence));
    for sequence in 14..20 {
        home.plays(1, "low", sequence);
        home.plays(1, "high", sequence);
        assert_eq!((home.front("low"), home.front("high")), (Some(sequence), Some(sequence)));
        assert!(home.wants_after("low", sequence) && home.wants_after("high", sequence));
    }
    // Of two players of one rendition one goes on in another: it is fetched as far as the one that stays needs it.
    let mut home = Home::playing_low();
    (10..12).for_each(|sequence| home.plays(2, "low", sequence));
    assert!(home.wants_after("low", 13));
    (14..16).for_each(|sequence| home.plays(1, "high", sequence));
    assert_eq!((home.front("low"), home.front("high")), (Some(11), Some(15)));
    assert!(home.flies("low") && home.wants_after("high", 15));
    (12..16).for_each(|sequence| home.plays(2, "low", sequence));
    assert!(home.wants_after("low", 15));
}

#[test]
fn sound_beside_pictures_is_not_left() {
    for sound in [SOUND, None] {
        let mut home = Home::playing_low();
        home.list("sound", sound);
        // It runs ahead in bursts.
        (10..20).for_each(|sequence| home.plays(1, "sound", sequence));
        assert_eq!((home.front("low"), home.front("sound")), (Some(13), Some(19)));
        assert!(home.flies("low") && home.wants_after("sound", 19), "{sound:?}");
        (14..16).for_each(|sequence| home.plays(1, "high", sequence));
        assert_eq!((home.front("low"), home.front("sound")), (None, Some(19)), "{sound:?}");
    }
}

/// As FFmpeg does with all streams, always in the same order or not.
#[test]
fn several_of_a_group_in_turn_are_all_played() {
    let names = ["low", "high", "higher", "highest"];
    for (orders, most) in [([[0, 1, 2, 3]; 3], 0), ([[0, 1, 2, 3], [3, 1, 0, 2], [1, 2, 3, 0]], names.len())]
    {
        let mut home = Home::new();
        names.iter().for_each(|name| home.list(name, VIDEO));
        for name in names {
            (10..12).for_each(|sequence| home.plays(1, name, sequence));
        }
        let mut left = 0;
        for (sequence, order) in (12..40).zip(orders.iter().cycle()) {
            for n in order {
                let before = names.map(|name| home.front(name).is_some());
                home.plays(1, names[*n], sequence);
                let after = names.map(|name| home.front(name).is_some());
                let leaves = before.iter().zip(after).filter(|(before, after)| **before && !after);
                left += if sequence > 12 { leaves.count() } else { 0 };
            }
        }
        assert!(left <= most, "{left} times one was taken for left: {orders:?}");
        assert_eq!(names.map(|name| home.front(name)), [Some(39); 4]);
        let buffered = names.map(|name| home.session(name).buffered(home.rig.now));
        assert!(buffered.iter().all(|of| *of > TARGET * 4), "each has its own: {buffered:?}");
    }
}

/// Two players under one name, each of which asks for several segments at once: it is seen when the first one goes on.
#[test]
fn who_was_taken_for_gone_and_was_not_is_given_more_time() {
    let mut home = Home::playing_low();
    let mut left = Vec::new();
    for round in 0..6 {
        for sequence in 0..4 {
            home.plays(1, "high", 40 + round * 4 + sequence);
        }
        left.push(home.front("low").is_none());
        for sequence in 14..18 {
            home.plays(1, "low", round * 4 + sequence);
        }
        left.push(home.front("high").is_none());
    }
    assert_eq!(left[..4], [true; 4]);
    assert_eq!(left[4..], [false; 8], "for twice as many segments each time");
}

#[test]
fn players_that_look_into_every_variant_watch_the_one_they_stay_in() {
    let names = ["low", "high", "higher"];
    let mut home = Home::new();
    names.iter().for_each(|name| home.list(name, VIDEO));
    for name in names {
        (10..12).for_each(|sequence| home.plays(1, name, sequence));
    }
    assert!(names.iter().all(|name| !home.session(name).watched()));
    (12..16).for_each(|sequence| home.plays(1, "high", sequence));
    assert_eq!(names.map(|name| home.session(name).watched()), [false, true, false]);
    assert_eq!(home.front("high"), Some(15));
}

/// Numbers are of no use where segments are of other lengths.
#[test]
fn in_a_recording_it_is_the_time_that_tells_where_a_player_goes_on() {
    let film = |then: u64| {
        let mut home = Home::new();
        home.list_as("low", VIDEO, Kind::Vod, TARGET);
        home.list_as("high", VIDEO, Kind::Vod, TARGET / 2);
        (10..14).for_each(|sequence| home.plays(1, "low", sequence));
        home.plays(1, "high", then);
        (home.session("high").watched(), home.front("high"))
    };
    assert_eq!(film(28), (true, Some(28)), "where 14 begins");
    assert_eq!(film(14), (false, Some(14)), "half a minute before");
}

/// What a player has buffered it still has when it goes on in another rendition.
#[test]
fn who_goes_on_in_another_rendition_keeps_its_buffer() {
    let buffered = |then, hangs_up: bool| {
        let mut home = Home::playing_low();
        if hangs_up {
            let (ask, swarm) = (AskId(900), SwarmId::of("low"));
            home.tell(Input::Asked { ask, viewer: 1, swarm, segment: id("low", 14), from: 0, to: None });
            home.tell(Input::Done { ask });
        }
        let (ask, swarm) = (AskId(901), SwarmId::of("high"));
        home.tell(Input::Asked { ask, viewer: 1, swarm, segment: id("high", then), from: 0, to: None });
        home.session("high").buffered(home.rig.now)
    };
    assert!(buffered(14, false) > TARGET, "{:?}", buffered(14, false));
    assert_eq!(buffered(13, false), Duration::ZERO, "it throws away what it has of that");
    assert_eq!(buffered(12, false), Duration::ZERO, "so it does, or is another player under the same name");
    assert_eq!(buffered(15, false), Duration::ZERO, "a gap");
    assert_eq!(buffered(14, true), Duration::ZERO, "after a hang-up nothing is known of it");
}

/// It gives the high rendition up in the middle of a segment, plays the low one from the segment before on, and goes back.
#[test]
fn who_has_switched_in_need_all_its_life_has_left_where_it_leaves() {
    let mut home = Home::playing_low();
    let mut sequence = 14;
    home.plays(1, "high", sequence);
    for _ in 0..20 {
        home.gives_up(1, "high", sequence + 1);
        home.plays(1, "low", sequence);
        home.plays(1, "low", sequence + 1);
        assert_eq!(home.front("high"), None);
        home.plays(1, "high", sequence + 2);
        sequence += 2;
    }
    (sequence + 1..sequence + 3).for_each(|sequence| home.plays(1, "low", sequence));
    assert_eq!((home.front("low"), home.front("high")), (Some(sequence + 2), None));
}

/// The other player has gone, and the one that stayed switches.
#[test]
fn more_time_is_given_for_a_while() {
    let mut demand = demand::Demand::new(1, 10, Time::ZERO);
    let other = SwarmId::of("other");
    let leaves = |demand: &mut demand::Demand| (1..40).find(|_| demand.asks_elsewhere(other, false)).unwrap();
    let patience: Vec<_> = (0..6)
        .map(|_| {
            let after = leaves(&mut demand);
            assert!(demand.comes_back(11));
            after
        })
        .collect();
    assert_eq!(patience, [2, 3, 5, 9, 17, 17]);
    let patience: Vec<_> = (0..6)
        .map(|_| {
            let after = leaves(&mut demand);
            assert!(!demand.comes_back(40));
            after
        })
        .collect();
    assert_eq!(patience, [17, 9, 5, 3, 2, 2]);
    for _ in 0..6 {
        assert_eq!(leaves(&mut demand), 2, "who hung up has left, and goes on just where it was");
        demand.hangs_up(true);
        assert!(!demand.comes_back(11));
    }
    assert!(leaves(&mut demand) == 2 && demand.comes_back(11), "that was another time");
    leaves(&mut demand);
    demand.hangs_up(false);
    assert!(demand.comes_back(11), "what it hung up on was in another rendition");
}

/// A player that came by the playlist of one rendition alone reads it again and again.
#[test]
fn what_another_player_has_to_choose_from_is_its_own() {
    let mut home = Home::playing_low();
    home.list_from("low", 0, Choice::default(), (Kind::Vod, TARGET), &[2]);
    home.plays(2, "low", 10);
    home.list_from("low", 0, Choice::default(), (Kind::Vod, TARGET), &[2]);
    (14..16).for_each(|sequence| home.plays(1, "high", sequence));
    assert_eq!((home.front("low"), home.front("high")), (Some(10), Some(15)), "the first has left");
    home.list_from("high", 0, Choice::default(), (Kind::Vod, TARGET), &[2]);
    (11..14).for_each(|sequence| home.plays(2, "high", sequence));
    assert_eq!(home.front("low"), Some(10), "the second has nothing to leave it for");
}

/// In a live stream numbers are all there is to go by, and the specification does not ask for the same ones.
#[test]
fn what_a_live_player_may_have_thrown_away_does_not_count() {
    let (all, choice) = (TARGET * 4, Choice { group: VIDEO, adaptive: true });
    let live = |ahead: u64, later: Duration, then: u64| {
        let mut home = Home::new();
        home.list_as("low", VIDEO, Kind::Live, TARGET);
        (10..14).for_each(|sequence| home.plays(1, "low", sequence));
        home.list_from("low", 0, choice, (Kind::Live, TARGET), &[1]);
        home.rig.now += later;
        home.list_from("high", ahead, choice, (Kind::Live, TARGET), &[1]);
        let begun = home.session("low").buffered(home.rig.now);
        assert!(begun <= all && begun > all.saturating_sub(later + TARGET / 4), "{begun:?}");
        let (ask, swarm) = (AskId(901), SwarmId::of("high"));
        home.tell(Input::Asked { ask, viewer: 1, swarm, segment: id("high", then), from: 0, to: None });
        begun.saturating_sub(home.session("high").buffered(home.rig.now))
    };
    assert_eq!(live(0, Duration::ZERO, 14), Duration::ZERO, "numbered alike");
    assert_eq!(live(1, Duration::ZERO, 14), TARGET, "it may ask for 13 again");
    assert_eq!(live(3, Duration::ZERO, 14), TARGET * 3);
    assert_eq!(live(1, TARGET, 14), Duration::ZERO, "a new one has appeared since");
    assert_eq!(live(1, TARGET / 2, 14), Duration::ZERO, "or may have");
    assert_eq!(live(2, TARGET / 2, 14), TARGET, "two have not");
}

#[test]
fn who_goes_on_by_other_numbers_is_no_further_than_it_went() {
    let mut home = Home::new();
    home.list_as("low", VIDEO, Kind::Live, TARGET);
    home.list_from("high", 1000, Choice { group: VIDEO, adaptive: true }, (Kind::Live, TARGET), &[1]);
    home.meet("high", 1000);
    (10..14).for_each(|sequence| home.plays(1, "low", sequence));
    (1014..1024).for_each(|sequence| home.plays(1, "high", sequence));
    let place = home.session("low").front_of(1).unwrap();
    assert!(home.front("low").is_none() && (22..=25).contains(&place), "{place}");
}
