//! The owner without a brain: what strangers may take of its room, and who is refused.

use tokio::sync::{mpsc, oneshot, watch};

use super::owner::{ConnectionId, Internal, Owner};
use super::{Access, IceOptions, Options};
use crate::engine::link::{Command, Event};
use crate::engine::peer::{Ended, Peer};
use crate::engine::sdp::{self, Fingerprint};
use crate::engine::udp::Shared;
use crate::model::ids::{PeerId, SwarmId};
use crate::wire::tracker::OfferId;

const SWARM: SwarmId = SwarmId([7; 20]);

fn peer(n: u8) -> PeerId {
    let mut id = *b"-PL0100-............";
    id[19] = n;
    PeerId(id)
}

/// An owner with room for so many, and what it tells the brain.
fn owner(room: usize) -> (Owner, mpsc::Receiver<Event>, mpsc::Receiver<Internal>) {
    let ice = IceOptions { addresses: vec!["127.0.0.1".parse().unwrap()], ..IceOptions::default() };
    let options = Options::new(peer(100), &ice, Vec::new(), watch::channel(Access::default()).1);
    let (events, told) = mpsc::channel(64);
    let (inbox, internal) = mpsc::channel(64);
    let mut owner = Owner::new(options, events, inbox, mpsc::channel(1).0);
    owner.room = room;
    (owner, told, internal)
}

fn offer_id(n: usize) -> OfferId {
    OfferId::from_bytes(&[n as u8; 20])
}

/// A stranger, and what it offers.
async fn stranger(owner: &Owner) -> (Peer, String) {
    let link = Peer::new(&owner.options, owner.options.addresses.at(0), Shared::default()).await.unwrap();
    let offer = link.offer(&owner.options).await.unwrap();
    (link, offer)
}

/// The same description with another certificate.
fn of(description: &str, certificate: u8) -> String {
    let print = vec![format!("{certificate:02X}"); 32].join(":");
    let line = |line: &str| match line.split_once("sha-256 ") {
        Some((before, _)) => format!("{before}sha-256 {print}\r\n"),
        None => format!("{line}\r\n"),
    };
    description.lines().map(line).collect()
}

/// An offer of ours, and a stranger's answer to it.
async fn answer_to_ours(owner: &mut Owner, n: usize) -> String {
    let (done, offer) = oneshot::channel();
    let id = owner.reserve();
    owner.dial(id, SWARM, offer_id(n), done).await;
    let offer = offer.await.unwrap().unwrap();
    let link = Peer::new(&owner.options, owner.options.addresses.at(0), Shared::default()).await.unwrap();
    link.answer(offer, &owner.options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_that_are_not_open_leave_room_for_answers() {
    for (room, half_open) in [(3, 2), (9, 3)] {
        let (mut owner, _told, _internal) = owner(room);
        let (_link, offer) = stranger(&owner).await;
        for n in 0..20 {
            owner.offered(0, SWARM, peer(n), offer_id(0), &offer).await;
        }
        assert_eq!(owner.peers.len(), half_open, "of {room}");
        for n in 0..=room {
            let answer = answer_to_ours(&mut owner, n).await;
            owner.answered(peer(50 + n as u8), &offer_id(n), &answer);
            assert_eq!(owner.peers.contains_key(&peer(50 + n as u8)), n < room, "{n} of {room}");
        }
        assert_eq!(owner.peers.len(), room, "whoever has not opened has made room");
        owner.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_by_another_s_id_does_not_keep_its_answer_out() {
    let (mut owner, _told, _internal) = owner(9);
    let (_link, offer) = stranger(&owner).await;
    owner.offered(0, SWARM, peer(1), offer_id(0), &of(&offer, 0xEE)).await;
    let impostor = owner.peers[&peer(1)];
    let answer = answer_to_ours(&mut owner, 1).await;
    owner.answered(peer(1), &offer_id(1), &answer);
    assert_ne!(owner.peers[&peer(1)], impostor);
    owner.stop().await;
}

/// A connection with whoever calls itself so is open.
async fn opened(owner: &mut Owner, who: u8) -> ConnectionId {
    let id = owner.peers[&peer(who)];
    owner.internal(Internal::Opened(id, oneshot::channel().0)).await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_did_wrong_is_known_by_its_certificate() {
    let (mut owner, mut told, _internal) = owner(30);
    let (_link, offer) = stranger(&owner).await;
    let (honest, impostor) = (of(&offer, 0x11), of(&offer, 0xEE));
    for (who, what) in [(1, &impostor), (2, &impostor), (3, &honest)] {
        owner.offered(0, SWARM, peer(who), offer_id(0), what).await;
        opened(&mut owner, who).await;
        assert!(matches!(told.recv().await, Some(Event::Joined { peer: p, .. }) if p == peer(who)));
    }
    // It breaks the protocol, and the brain hears of it when the connection is gone.
    let id = owner.peers[&peer(1)];
    owner.internal(Internal::Ended(id, Ended::Misbehaved)).await;
    assert!(matches!(told.recv().await, Some(Event::Left { misbehaved: true, .. })));
    owner.command(Command::Disconnect { peer: peer(1), shun: true }).await;
    assert!(
        matches!(told.recv().await, Some(Event::Left { peer: p, .. }) if p == peer(2)),
        "the same daemon"
    );
    for (who, what, taken) in [(1, &impostor, false), (4, &impostor, false), (1, &honest, true)] {
        owner.offered(0, SWARM, peer(who), offer_id(0), what).await;
        assert_eq!(owner.peers.contains_key(&peer(who)), taken, "{who}");
    }
    assert!(owner.peers.contains_key(&peer(3)));
    let answer = answer_to_ours(&mut owner, 5).await;
    owner.answered(peer(5), &offer_id(5), &of(&answer, 0xEE));
    assert!(!owner.peers.contains_key(&peer(5)), "an answer is looked at as well");
    let certificate =
        sdp::incoming(&impostor, &sdp::Neighbourhood { own: vec![[127, 0, 0, 1].into()], lan: false });
    assert_eq!(certificate.unwrap().certificate, Fingerprint([0xEE; 32]));
    owner.stop().await;
}
