//! What is said over one channel: it comes in order, behind what stands before the uplink, and late when it is lost.

use std::sync::Arc;
use std::time::Duration;

use super::scenario;
use crate::model::ids::SegmentId;
use crate::model::time::Time;
use crate::simulator::content::Content;
use crate::simulator::event::{Incoming, What};
use crate::simulator::host::{Around, Desk, Host, Link, Outbox, Scene, peer_id};
use crate::simulator::place::Place;
use crate::simulator::story::Story;
use crate::simulator::tally::Tally;
use crate::wire::message::Message;

/// One way, over lines of 5 ms each to a region nearby.
const WAY: Duration = Duration::from_millis(20);
/// The uplink carries a megabyte in a second.
const UP: f32 = 1.0;

/// A host that knows another, and where what it sends can be seen.
struct Line {
    host: Host,
    around: Around,
    now: Time,
    number: u32,
}

fn line(lossy: bool) -> Line {
    let place = Place { up: UP, down: 10.0, region: 0, provider: 0, access: 5, lossy };
    let setting = scenario("live").setting(2);
    let content = Content::new(setting.programme, Duration::from_secs(60));
    let around =
        Around { setting, content: Arc::clone(&content), places: vec![place; 2], seed: 1, traced: None };
    let mut host = Host::new(0, &around, Time::ZERO);
    host.links.push(Link { open: true, ..Link::to(1) });
    Line { host, around, now: Time::ZERO, number: 0 }
}

impl Line {
    fn acts(&mut self, act: impl FnOnce(&mut Host, &mut Scene<'_>)) -> Vec<Incoming> {
        let (mut tally, mut outbox) = (Tally::default(), Outbox::default());
        let (mut story, mut desk) = (Story::default(), Desk::default());
        let mut scene = Scene {
            around: &self.around,
            tally: &mut tally,
            outbox: &mut outbox,
            story: &mut story,
            desk: &mut desk,
            now: self.now,
        };
        act(&mut self.host, &mut scene);
        outbox.hosts
    }

    /// Pings the other; when that comes there. `None`: it waits behind a piece.
    fn pings(&mut self) -> Option<Time> {
        self.number += 1;
        let (peer, message) = (peer_id(1, 1), Message::Ping { nonce: self.number, reply: false });
        let said = self.acts(|host, scene| host.say(peer, message, scene));
        said.first().map(|incoming| incoming.at)
    }

    /// A piece of so many bytes begins to leave.
    fn sends(&mut self, to: u32, bytes: u32) {
        let piece = (to, SegmentId(7), 0, bytes);
        self.host.uplink.send(self.now, piece, bytes, 10.0);
    }
}

#[test]
fn a_message_waits_behind_what_stands_before_the_uplink() {
    let mut line = line(false);
    assert_eq!(line.pings(), Some(Time::ZERO + WAY));
    line.sends(9, 50_000);
    assert_eq!(line.pings(), Some(Time::ZERO + WAY + Duration::from_millis(50)));
    // Once the queue is gone nothing waits, and nothing overtakes what did.
    line.now = Time::from_micros(1_000);
    line.host.uplink.retain(line.now, |_| false);
    assert_eq!(line.pings(), Some(Time::ZERO + WAY + Duration::from_millis(50)));
    line.now = Time::from_micros(100_000);
    assert_eq!(line.pings(), Some(line.now + WAY));
}

#[test]
fn what_waits_for_a_piece_leaves_with_it_and_comes_after_it() {
    let mut line = line(false);
    line.sends(1, 50_000);
    assert_eq!(line.pings(), None);
    line.now = Time::from_micros(50_000);
    let leaving = line.host.uplink.left(line.now).expect("it has left");
    let sent = line.acts(|host, scene| host.piece_left(leaving, scene));
    let [piece, ping] = &sent[..] else { panic!("{sent:?}") };
    assert!(matches!((&piece.what, &ping.what), (What::Piece(..), What::Said(_))), "{sent:?}");
    assert!(ping.key() > piece.key(), "{sent:?}");
}

/// One in two hundred takes a second longer; without loss none does.
#[test]
fn over_a_lossy_path_a_message_is_late_now_and_then_and_none_overtakes_it() {
    const MANY: u32 = 20_000;
    for (lossy, expected) in [(false, 0..=0), (true, 60..=140)] {
        let mut line = line(lossy);
        let mut late = 0;
        for _ in 0..MANY {
            line.now += Duration::from_secs(10);
            let came = line.pings().expect("nothing else leaves");
            match came - line.now {
                WAY => continue,
                took => assert_eq!(took, WAY + Duration::from_secs(1)),
            }
            late += 1;
            // What follows it at once waits for it, a piece as well.
            line.now += Duration::from_millis(100);
            assert!(line.pings() >= Some(came));
            let leaving = (1, SegmentId(7), 0, 1000);
            let piece = line.acts(|host, scene| host.piece_left(leaving, scene));
            assert!(piece[0].at >= came, "{piece:?}");
        }
        assert!(expected.contains(&late), "{late} of {MANY} messages are late");
    }
}
