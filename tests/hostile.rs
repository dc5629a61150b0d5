//! Strangers and hostile peers on real sockets. What would abort the process runs in a child process.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use paceline::engine::filter::Filter;
use paceline::engine::peer::{Ended, Incoming, Outgoing, Peer};
use paceline::engine::peers::{Access, IceOptions, Options};
use paceline::model::ids::{PeerId, SegmentId};
use paceline::wire::digest::PieceHash;
use paceline::wire::message::Message;
use tokio::sync::{mpsc, oneshot, watch};

const CHILD: &str = "PACELINE_HOSTILE_CHILD";
const OPEN_IN: Duration = Duration::from_secs(30);

fn options() -> Options {
    let ice = IceOptions { addresses: vec!["127.0.0.1".parse().unwrap()], ..IceOptions::default() };
    Options::new(PeerId::from_entropy([1; 12]), &ice, Vec::new(), watch::channel(Access::default()).1)
}

/// One end of a connection, with its queues.
struct End {
    control: mpsc::Sender<Message>,
    bulk: mpsc::Sender<Outgoing>,
    incoming: mpsc::Receiver<Incoming>,
    opened: Option<oneshot::Receiver<()>>,
    ended: tokio::task::JoinHandle<Ended>,
    port: u16,
}

fn run(peer: Peer, description: &str) -> End {
    let (control, control_queue) = mpsc::channel(64);
    let (bulk, bulk_queue) = mpsc::channel(8);
    let (arrived, incoming) = mpsc::channel(64);
    let (opened, open) = oneshot::channel();
    let ended =
        tokio::spawn(async move { peer.run(OPEN_IN, opened, arrived, control_queue, bulk_queue).await });
    let candidate = description.lines().find(|line| line.starts_with("a=candidate:")).unwrap();
    let port = candidate.split(' ').nth(5).unwrap().parse().unwrap();
    End { control, bulk, incoming, opened: Some(open), ended, port }
}

/// Two ends of a connection over this machine; `tamper` may change the answer on its way.
async fn pair(filter: fn() -> Filter, tamper: impl Fn(String) -> String) -> (End, End) {
    pair_with(&options(), filter, |offer| offer, tamper).await
}

/// … with these options, where the offer may be changed as well.
async fn pair_with(
    options: &Options,
    filter: fn() -> Filter,
    tamper_offer: impl Fn(String) -> String,
    tamper: impl Fn(String) -> String,
) -> (End, End) {
    let end = async || {
        let addresses = options.addresses.at(0);
        Peer::new(options, addresses, Arc::new(Mutex::new(filter()))).await.unwrap()
    };
    let (offerer, answerer) = (end().await, end().await);
    let offer = offerer.offer(options).await.unwrap();
    let answer = answerer.answer(tamper_offer(offer.clone()), options).await.unwrap();
    let (offering, answering) = (run(offerer.clone(), &offer), run(answerer, &answer));
    offerer.accept(tamper(answer)).await.unwrap();
    (offering, answering)
}

async fn open(end: &mut End) {
    tokio::time::timeout(OPEN_IN, end.opened.take().unwrap())
        .await
        .expect("in time")
        .expect("the channel opens");
}

/// Sends pings until one arrives; a lost connection fails.
async fn speaks(from: &mut End, to: &mut End, nonce: u32) {
    from.control.send(Message::Ping { nonce, reply: false }).await.unwrap();
    let heard = async {
        loop {
            match to.incoming.recv().await {
                Some(Incoming::Said(Message::Ping { nonce: heard, .. })) if heard == nonce => return,
                Some(_) => {}
                None => panic!("the connection ended"),
            }
        }
    };
    tokio::time::timeout(OPEN_IN, heard).await.expect("messages keep flowing");
}

/// 30,000 one-byte handshake fragments for each message that may come next after a handshake, from a socket nobody knows.
fn attack(port: u16, messages: std::ops::Range<u16>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = SocketAddr::from(([127, 0, 0, 1], port));
    let (whole, in_one) = (30_000u32, 46);
    for message in messages {
        let mut datagram = Vec::new();
        // From the last byte to the first: nothing fits together until the first one comes, and then all of it at once.
        for (count, offset) in (0..whole).rev().enumerate() {
            let count = count as u32;
            // A record of version DTLS 1.2, epoch 0, with one fragment of one byte.
            datagram.extend([22, 0xFE, 0xFD, 0, 0, 0, 0]);
            // A record number that was not seen before, or it is dropped as a replay.
            datagram.extend((u32::from(message) * whole + count).to_be_bytes());
            datagram.extend([0, 13, 11]);
            datagram.extend(&whole.to_be_bytes()[1..]);
            datagram.extend(message.to_be_bytes());
            datagram.extend(&offset.to_be_bytes()[1..]);
            datagram.extend([0, 0, 1, 0]);
            if (count + 1).is_multiple_of(in_one) || offset == 0 {
                socket.send_to(&datagram, target).unwrap();
                datagram.clear();
                if count % (in_one * 16) < in_one {
                    // Let the reader keep up: a full socket buffer would spare it the rest.
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }
}

/// What the child process does: a connection, the attack on both ends, and a word in each direction afterwards.
fn child(filter: fn() -> Filter) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut a, mut b) = pair(filter, |answer| answer).await;
        open(&mut a).await;
        open(&mut b).await;
        speaks(&mut a, &mut b, 1).await;
        // After a handshake the next message is number 6 for who answered it and 7 for who began it (RFC 6347 §4.2.4).
        for (port, messages) in [(a.port, 6..7), (b.port, 7..8)] {
            tokio::task::spawn_blocking(move || attack(port, messages)).await.unwrap();
        }
        speaks(&mut a, &mut b, 2).await;
        speaks(&mut b, &mut a, 3).await;
    });
    println!("alive");
}

#[test]
fn a_stranger_s_fragments_kill_the_bare_stack_and_not_the_filtered_one() {
    match std::env::var(CHILD).as_deref() {
        Ok("bare") => return child(Filter::off),
        Ok("filtered") => return child(Filter::default),
        _ => {}
    }
    let run = |mode: &str| {
        let me = std::env::current_exe().unwrap();
        let mut command = Command::new(me);
        command.args(["a_stranger_s_fragments", "--nocapture", "--test-threads", "1"]).env(CHILD, mode);
        command.env_remove("RUST_MIN_STACK").output().unwrap()
    };
    let bare = run("bare");
    let said = String::from_utf8_lossy(&bare.stderr).into_owned();
    assert_eq!(bare.status.signal(), Some(6), "without the filter the process is aborted: {said}");
    assert!(said.contains("overflowed its stack"), "{said}");
    let filtered = run("filtered");
    let said = String::from_utf8_lossy(&filtered.stdout);
    assert!(
        filtered.status.success() && said.contains("alive"),
        "{said}\n{}",
        String::from_utf8_lossy(&filtered.stderr)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_of_every_size_arrive_whole() {
    let (mut a, mut b) = pair(Filter::default, |answer| answer).await;
    open(&mut a).await;
    open(&mut b).await;
    for (number, length) in [1usize, 16_384, 60_000, 65_536, 1 << 20].into_iter().enumerate() {
        let (segment, piece) = (SegmentId(number as u64), number as u8);
        let whole: Bytes = (0..length).map(|i| (i % 241) as u8).collect::<Vec<_>>().into();
        b.control.send(Message::Request { segment, piece, within_ms: 1000 }).await.unwrap();
        loop {
            if let Some(Incoming::Said(Message::Request { .. })) = a.incoming.recv().await {
                break;
            }
        }
        a.bulk.send(Outgoing { segment, piece, bytes: vec![whole.clone()] }).await.unwrap();
        let Some(Incoming::Piece { bytes, hash, .. }) = b.incoming.recv().await else { panic!("no piece") };
        assert!(bytes == whole);
        assert_eq!(hash, PieceHash::of([&whole]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_what_nobody_asked_for_is_misbehaving() {
    let (mut a, mut b) = pair(Filter::default, |answer| answer).await;
    open(&mut a).await;
    open(&mut b).await;
    let bytes = vec![Bytes::from_static(b"surprise")];
    a.bulk.send(Outgoing { segment: SegmentId(1), piece: 0, bytes }).await.unwrap();
    let ended = tokio::time::timeout(OPEN_IN, b.ended).await.unwrap().unwrap();
    assert_eq!(ended, Ended::Misbehaved);
}

/// A description with the fingerprint of another certificate.
fn swapped(description: String) -> String {
    let swap = |line: &str| match line.split_once("sha-256 ") {
        Some((before, print)) => {
            let other = if print.starts_with("00") { "11" } else { "00" };
            format!("{before}sha-256 {other}{}\r\n", &print[2..])
        }
        None => format!("{line}\r\n"),
    };
    description.lines().map(swap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_with_another_fingerprint_never_opens() {
    let (mut a, mut b) = pair(Filter::default, swapped).await;
    let opened = tokio::time::timeout(Duration::from_secs(8), a.opened.take().unwrap()).await;
    assert!(!matches!(opened, Ok(Ok(()))), "the offerer must not open");
    assert!(b.opened.take().unwrap().try_recv().is_err(), "nor the answerer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_with_another_fingerprint_never_opens() {
    let (mut a, mut b) = pair_with(&options(), Filter::default, swapped, |answer| answer).await;
    let opened = tokio::time::timeout(Duration::from_secs(8), b.opened.take().unwrap()).await;
    assert!(!matches!(opened, Ok(Ok(()))), "the answerer must not open");
    assert!(a.opened.take().unwrap().try_recv().is_err(), "nor the offerer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_says_too_much_is_heard_at_its_pace_and_kept() {
    let (at_once, each) = (10, Duration::from_millis(20));
    let options = Options { messages_at_once: at_once, message_each: each, ..options() };
    let same = |description: String| description;
    let (mut a, mut b) = pair_with(&options, Filter::default, same, same).await;
    open(&mut a).await;
    open(&mut b).await;
    let (began, said) = (Instant::now(), 60);
    for nonce in 0..said {
        a.control.send(Message::Ping { nonce, reply: false }).await.unwrap();
    }
    for expected in 0..said {
        let heard = tokio::time::timeout(OPEN_IN, b.incoming.recv()).await.expect("it is heard");
        let Some(Incoming::Said(Message::Ping { nonce, .. })) = heard else { panic!("{heard:?}") };
        assert_eq!(nonce, expected);
    }
    assert!(began.elapsed() >= each * (said - at_once - 1), "all in {:?}", began.elapsed());
    speaks(&mut b, &mut a, 99).await;
}
