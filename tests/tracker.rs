//! The tracker on real sockets, spoken to by clients of the protocol; and our messages to a tracker nobody here wrote.

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{Daemon, Nginx, Process, Tracker, complaints, free_port, get, live, player, raw, until};
use futures_util::{SinkExt, StreamExt};
use paceline::model::ids::{PeerId, SwarmId};
use paceline::tracker::{self, Options};
use paceline::wire::tracker::{Account, Event, Extra, FromTracker, Offer, OfferId, ToTracker};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;

const SOON: Duration = Duration::from_secs(20);

struct Service {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Service {
    async fn start(options: Options) -> Self {
        let bound = tracker::bind("127.0.0.1:0".parse().unwrap(), options.stun).await.unwrap();
        let address = bound.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(async move { tracker::run(bound, options, shutdown).await.unwrap() });
        Self { address, stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(SOON, self.task).await.expect("every task ends").unwrap();
    }
}

struct Client<S> {
    socket: WebSocketStream<S>,
    peer: PeerId,
}

impl Client<TcpStream> {
    async fn connect(address: SocketAddr, number: u8) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(format!("ws://{address}/"), stream).await.unwrap();
        Self { socket, peer: PeerId::from_entropy([number; 12]) }
    }
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Client<S> {
    async fn say(&mut self, message: ToTracker) {
        self.socket.send(Frame::text(message.encode())).await.unwrap();
    }

    async fn announce(&mut self, event: Option<Event>, offers: u8) {
        let offers: Vec<Offer> = (0..offers)
            .map(|n| Offer { offer_id: OfferId::from_bytes(&[n; 20]), sdp: format!("offer {n}") })
            .collect();
        let numwant = offers.len() as u32;
        let (info_hash, peer_id) = (SwarmId([0xE9; 20]), self.peer);
        self.say(ToTracker::Announce { info_hash, peer_id, event, numwant, offers, extra: None }).await;
    }

    async fn answer(&mut self, to: PeerId, offer_id: OfferId) {
        let (info_hash, peer_id) = (SwarmId([0xE9; 20]), self.peer);
        self.say(ToTracker::Answer { info_hash, peer_id, to_peer_id: to, offer_id, sdp: "answer".into() })
            .await;
    }

    /// The next message; `None` when the connection is closed.
    async fn hear(&mut self) -> Option<FromTracker> {
        loop {
            match tokio::time::timeout(SOON, self.socket.next()).await.expect("an answer in time") {
                Some(Ok(Frame::Text(text))) => return Some(FromTracker::decode(text.as_str()).unwrap()),
                Some(Ok(Frame::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    async fn viewers(&mut self) -> u32 {
        match self.hear().await {
            Some(FromTracker::Interval { complete, incomplete, .. }) => complete + incomplete,
            other => panic!("no interval: {other:?}"),
        }
    }
}

/// Two clients meet through a tracker: the second one's offer reaches the first, whose answer comes back.
async fn meet(address: SocketAddr) {
    let (mut first, mut second) = (Client::connect(address, 1).await, Client::connect(address, 2).await);
    first.announce(Some(Event::Started), 0).await;
    assert_eq!(first.viewers().await, 1);
    second.announce(Some(Event::Started), 3).await;
    assert_eq!(second.viewers().await, 2);
    let Some(FromTracker::Offer { peer_id, offer_id, sdp, .. }) = first.hear().await else {
        panic!("no offer")
    };
    assert_eq!((peer_id, sdp.starts_with("offer ")), (second.peer, true));
    first.answer(peer_id, offer_id.clone()).await;
    let Some(FromTracker::Answer { peer_id, offer_id: answered, sdp, .. }) = second.hear().await else {
        panic!("no answer")
    };
    assert_eq!((peer_id, answered, sdp.as_str()), (first.peer, offer_id, "answer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_meet_and_leave() {
    let service = Service::start(Options::default()).await;
    meet(service.address).await;
    let mut third = Client::connect(service.address, 3).await;
    third.announce(Some(Event::Started), 0).await;
    // The two before have hung up; that is noticed at the latest with the next announcement or a moment later.
    let mut viewers = third.viewers().await;
    while viewers > 1 {
        third.announce(None, 0).await;
        viewers = third.viewers().await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    service.stop().await;
}

/// What an address answers to a request with these fields, asked from this machine.
async fn asked(address: SocketAddr, path: &str, fields: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n");
    let reply = tokio::task::spawn_blocking(move || raw(address, &request)).await.unwrap().unwrap();
    (reply.status, reply.text())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_viewers_say_is_told_to_those_who_may_see_it() {
    let options = Options {
        networks: vec!["here=127.0.0.0/8".parse().unwrap(), "berlin=10.1.0.0/16".parse().unwrap()],
        stats_token: "sesame".into(),
        ..Options::default()
    };
    let service = Service::start(options).await;
    let address = service.address;
    let mut client = Client::connect(address, 1).await;
    let account = |http, p2p| Account { began_us: 5, age_ms: 0, http, p2p, uploaded: 7 };
    for (event, account) in [
        (Some(Event::Started), account(0, 0)),
        (None, account(1000, 3000)),
        (None, account(u64::MAX, u64::MAX)),
    ] {
        let extra = Some(Extra { uploads: true, account: Some(account), ..Extra::default() });
        let (info_hash, peer_id) = (SwarmId([0xE9; 20]), client.peer);
        client
            .say(ToTracker::Announce { info_hash, peer_id, event, numwant: 0, offers: vec![], extra })
            .await;
        client.viewers().await;
    }
    let own = format!("Host: {address}\r\n");
    let (status, text) = asked(address, "/stats", &own).await;
    let stats: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &stats["watching"], &stats["viewers"]), (200, &1.into(), &1.into()));
    assert_eq!((&stats["accounts"], &stats["accounts_refused"]), (&2.into(), &1.into()));
    for place in [&stats["totals"], &stats["networks"][0], &stats["largest_swarms"][0]] {
        assert_eq!((&place["http_bytes"], &place["p2p_bytes"]), (&1000.into(), &3000.into()), "{stats:#}");
        assert_eq!((&place["uploaded_bytes"], &place["peer_efficiency"]), (&7.into(), &0.75.into()));
    }
    assert_eq!(stats["networks"][1]["watching"], 0);
    assert_eq!(stats["largest_swarms"][0]["swarm"], "e9".repeat(20));
    let (_, metrics) = asked(address, "/-/metrics", &own).await;
    for line in [
        "paceline_tracker_received_bytes_total{network=\"here\",source=\"p2p\"} 3000",
        "paceline_tracker_watching{network=\"here\"} 1",
        "paceline_tracker_watching{network=\"other\"} 0",
        "paceline_tracker_accounts_refused_total 1",
    ] {
        assert!(metrics.lines().any(|have| have == line), "{line}\n{metrics}");
    }
    let proxied = format!("{own}X-Forwarded-For: 192.0.2.1\r\n");
    let bearer = format!("{proxied}Authorization: Bearer sesame\r\n");
    for (path, fields, expected) in [
        ("/stats", &proxied, 403),
        ("/metrics", &proxied, 403),
        ("/-/events", &proxied, 403),
        ("/stats", &"Host: evil.example\r\n".to_owned(), 403),
        ("/health", &proxied, 200),
        ("/stats", &bearer, 200),
        ("/metrics?token=sesame", &proxied, 200),
        ("/metrics?token=sesam", &proxied, 403),
        ("/none", &own, 404),
    ] {
        assert_eq!(asked(address, path, fields).await.0, expected, "{path} {fields}");
    }
    let closed = asked(address, "/", &proxied).await;
    assert_eq!((closed.0, closed.1.contains("<html")), (200, false), "a sentence and no page");
    let open = asked(address, "/?token=sesame", &proxied).await;
    assert_eq!((open.0, open.1.contains("<html")), (200, true));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_misbehaves_is_let_go_and_others_go_on() {
    let service = Service::start(Options::default()).await;
    let mut honest = Client::connect(service.address, 1).await;
    honest.announce(Some(Event::Started), 0).await;
    honest.viewers().await;

    let mut forger = Client::connect(service.address, 2).await;
    forger.announce(None, 0).await;
    forger.viewers().await;
    forger.answer(honest.peer, OfferId::from_bytes(b"never offered")).await;

    let mut huge = Client::connect(service.address, 3).await;
    // The tracker may have closed while this is still being written.
    let _ = huge.socket.send(Frame::text("x".repeat(100_000))).await;
    assert_eq!(huge.hear().await, None, "a message over the limit ends the connection");

    let mut babbler = Client::connect(service.address, 4).await;
    for _ in 0..20 {
        let _ = babbler.socket.send(Frame::text("{\"action\":\"nonsense\"}")).await;
    }
    let mut refusals = 0;
    while let Some(said) = babbler.hear().await {
        assert!(matches!(said, FromTracker::Failure(_)), "{said:?}");
        refusals += 1;
    }
    assert!(refusals < 20);

    let mut flooder = Client::connect(service.address, 5).await;
    for _ in 0..100 {
        flooder.announce(None, 0).await;
    }
    let mut failures = 0;
    for _ in 0..100 {
        failures += u32::from(matches!(flooder.hear().await, Some(FromTracker::Failure(_))));
    }
    assert!(failures >= 40, "{failures}");

    honest.announce(None, 0).await;
    let said = honest.hear().await;
    assert!(matches!(said, Some(FromTracker::Interval { .. })), "no forged answer came before it: {said:?}");
    let stats = tokio::task::spawn_blocking(move || get(service.address, "/stats").unwrap());
    let stats: serde_json::Value = serde_json::from_slice(&stats.await.unwrap().body).unwrap();
    assert_eq!(stats["forged_answers"], 1, "{stats}");
    service.stop().await;
}

/// Whoever runs it hears which key to raise, and sees how many it was.
#[test]
fn viewers_that_are_turned_away_are_counted_and_told() {
    for key in ["max_connections", "max_per_network"] {
        let variable = format!("PACELINE_TRACKER_SERVER_{}", key.to_uppercase());
        let tracker = Tracker::with(free_port(), &[(&variable, "2")]);
        let connect = || std::net::TcpStream::connect(tracker.address).unwrap();
        let mut open = Vec::new();
        until("somebody to be turned away", || {
            open.push(connect());
            tracker.process.log().contains("turned away").then_some(())
        });
        open.extend([connect(), connect()]);
        drop(open);
        let stats = until("there to be room again", || get(tracker.address, "/stats"));
        let stats: serde_json::Value = serde_json::from_slice(&stats.body).unwrap();
        for each in ["max_connections", "max_per_network"] {
            let count = stats["connections_refused"][each].as_u64().unwrap();
            assert_eq!(count > 0, each == key, "{each} at {key}: {stats}");
        }
        let metrics = until("there to be room again", || get(tracker.address, "/metrics")).text();
        let sample = format!("paceline_tracker_connections_refused_total{{limit=\"{key}\"}} ");
        let told = metrics.lines().find_map(|line| line.strip_prefix(&sample)).unwrap();
        assert_ne!(told, "0", "{key}");
        let log = tracker.process.log();
        assert_eq!(log.matches("turned away").count(), 1, "{log}");
        assert!(log.contains("WARN") && log.contains(&format!("raise tracker_server.{key}")), "{log}");
    }
}

#[test]
fn stun_requests_that_are_not_answered_are_counted_and_told() {
    let tracker = Tracker::with(free_port(), &[("PACELINE_TRACKER_SERVER_MAX_PER_NETWORK", "2")]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    request.extend([7; 12]);
    until("a request to be left unanswered", || {
        for _ in 0..50 {
            socket.send_to(&request, tracker.address).unwrap();
        }
        tracker.process.log().contains("don't hear where they are seen").then_some(())
    });
    socket.set_read_timeout(Some(SOON)).unwrap();
    let answers = (0..40).filter(|_| socket.recv(&mut [0; 100]).is_ok()).count();
    assert_eq!(answers, 40, "twenty for each that there may be");
    let stats = until("the statistics", || get(tracker.address, "/stats"));
    let stats: serde_json::Value = serde_json::from_slice(&stats.body).unwrap();
    assert!(stats["stun_refused"].as_u64().unwrap() > 0, "{stats}");
    let metrics = until("the metrics", || get(tracker.address, "/metrics")).text();
    let told =
        metrics.lines().find_map(|line| line.strip_prefix("paceline_tracker_stun_refused_total ")).unwrap();
    assert_ne!(told, "0");
    let log = tracker.process.log();
    assert!(log.contains("WARN") && log.contains("raise tracker_server.max_per_network"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_stun_are_on_the_same_port() {
    let service = Service::start(Options::default()).await;
    let address = service.address;
    tokio::task::spawn_blocking(move || {
        assert_eq!(get(address, "/health").map(|reply| reply.status), Some(200));
        assert_eq!(get(address, "/nothing").map(|reply| reply.status), Some(404));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
        request.extend([7; 12]);
        socket.send_to(&request, address).unwrap();
        let mut response = [0; 100];
        let (length, _) = socket.recv_from(&mut response).unwrap();
        let port = u16::from_be_bytes([response[26], response[27]]) ^ 0x2112;
        assert_eq!((length, port), (32, socket.local_addr().unwrap().port()));
    })
    .await
    .unwrap();
    service.stop().await;
}

fn certificate(dir: &Path) -> rustls::pki_types::CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

/// Whether a client that trusts only this certificate can open a WebSocket.
async fn trusted(address: SocketAddr, certificate: &rustls::pki_types::CertificateDer<'static>) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let Ok(stream) = connector.connect("localhost".try_into().unwrap(), stream).await else { return false };
    let (socket, _) = tokio_tungstenite::client_async("wss://localhost/", stream).await.unwrap();
    let mut client = Client { socket, peer: PeerId::from_entropy([1; 12]) };
    client.announce(None, 0).await;
    client.viewers().await == 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wss_follows_its_certificate_files() {
    let dir = tempfile::tempdir().unwrap();
    let first = certificate(dir.path());
    let options = Options {
        certificate: dir.path().join("cert.pem"),
        key: dir.path().join("key.pem"),
        ..Options::default()
    };
    let service = Service::start(options).await;
    assert!(trusted(service.address, &first).await);
    std::fs::write(dir.path().join("cert.pem"), "broken").unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(trusted(service.address, &first).await, "a broken file leaves the old certificate in use");
    let second = certificate(dir.path());
    let mut renewed = false;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        renewed |= trusted(service.address, &second).await;
        if renewed {
            break;
        }
    }
    assert!(renewed, "the new certificate is used");
    assert!(!trusted(service.address, &first).await);
    service.stop().await;
}

/// bittorrent-tracker from npm, over WebSocket.
fn foreign() -> (Process, SocketAddr) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
    if !folder.join("node_modules/bittorrent-tracker").exists() {
        let npm = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder)
            .output();
        let npm = npm
            .unwrap_or_else(|error| panic!("npm could not be started ({error}): apt-get install nodejs npm"));
        assert!(npm.status.success(), "npm ci: {}", String::from_utf8_lossy(&npm.stderr));
    }
    let process =
        Process::spawn("bittorrent-tracker", Command::new("node").arg("tracker.mjs").current_dir(&folder));
    let address = until("the foreign tracker is ready", || {
        let log = process.log();
        log.split("ws://").nth(1)?.split('/').next()?.parse().ok()
    });
    (process, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_messages_are_understood_by_a_foreign_tracker() {
    let (_process, address) = tokio::task::spawn_blocking(foreign).await.unwrap();
    meet(address).await;
}

#[test]
fn daemons_find_each_other_through_a_foreign_tracker() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "");
    let (_process, address) = foreign();
    let (theirs, gone) = (format!("ws://{address}/"), "ws://127.0.0.1:1/".to_owned());
    // One of two trackers does not answer: the other is enough.
    let daemons: Vec<Daemon> =
        (0..2).map(|_| Daemon::start(&["--tracker", &gone, "--tracker", &theirs], &[])).collect();
    let url = origin.url("index.m3u8");
    let mut players: Vec<_> = daemons.iter().map(|daemon| player(&daemon.prefix(&url), 30, &[])).collect();
    for player in &mut players {
        assert!(player.wait(Duration::from_secs(100)), "a player failed:\n{}", player.log());
        assert_eq!(complaints(&player.log()), Vec::<&str>::new());
    }
    let peers: u64 = daemons.iter().map(|daemon| daemon.total("p2p_bytes")).sum();
    assert!(peers > 500_000, "{peers} bytes came from peers");
}

#[test]
fn a_tracker_never_hears_which_stream_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "");
    let tracker = Tracker::start();
    // A relay in the middle hears everything that is said to the tracker.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (relay, target) = (listener.local_addr().unwrap(), tracker.address);
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let ears = std::sync::Arc::clone(&heard);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = std::net::TcpStream::connect(target).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let ears = std::sync::Arc::clone(&ears);
            std::thread::spawn(move || {
                let mut chunk = [0; 65536];
                while let Ok(length) = std::io::Read::read(&mut from, &mut chunk) {
                    if length == 0 || std::io::Write::write_all(&mut to, &chunk[..length]).is_err() {
                        return;
                    }
                    ears.lock().unwrap().extend(unmasked(&chunk[..length]));
                }
            });
            std::thread::spawn(move || std::io::copy(&mut { server }, &mut { client }));
        }
    });
    let daemon = Daemon::with_tracker(&format!("ws://{relay}/"));
    let url = origin.url("index.m3u8?token=CANARY");
    let mut playing = player(&daemon.prefix(&url), 8, &[]);
    assert!(playing.wait(Duration::from_secs(60)));
    let heard = String::from_utf8_lossy(&heard.lock().unwrap()).into_owned();
    assert!(heard.contains("info_hash"), "the relay heard an announcement");
    for secret in ["CANARY", "index", ".ts", &origin.address.to_string()] {
        assert!(!heard.contains(secret), "`{secret}` reached the tracker");
    }
}

#[test]
fn a_tracker_that_complains_without_end_does_not_fill_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(mut socket) = tokio_tungstenite::tungstenite::accept(stream) else { continue };
            // An announcement came, and is complained of.
            let _ = socket.read();
            for number in 0..400 {
                let why = FromTracker::Failure(format!("complaint {}", number / 2)).encode();
                let _ = socket.send(Frame::text(why));
            }
            let _ = socket.close(None);
            // Until the other side has closed as well.
            while socket.read().is_ok() {}
        }
    });
    let daemon = Daemon::with_tracker(&format!("ws://{address}/"));
    let mut playing = player(&daemon.prefix(&origin.url("index.m3u8")), 8, &[]);
    until("the tracker has gone", || daemon.process.log().contains("is gone").then_some(()));
    let log = daemon.process.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("says: complaint")).collect();
    assert!((1..=4).contains(&told.len()), "{} lines: {told:#?}", told.len());
    assert!(told[0].ends_with("says: complaint 0") && !told[1].ends_with("complaint 0"), "{told:#?}");
    playing.kill();
}

/// The text in the frames of a client (RFC 6455 §5.3), as far as whole frames are in one chunk.
fn unmasked(mut bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    while bytes.len() > 6 && bytes[0] == 0x81 {
        let (length, at) = match bytes[1] & 0x7F {
            126 if bytes.len() > 8 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
            126 | 127 => break,
            short => (usize::from(short), 2),
        };
        let Some(payload) = bytes.get(at + 4..at + 4 + length) else { break };
        let mask = &bytes[at..at + 4];
        text.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
        bytes = &bytes[at + 4 + length..];
    }
    text
}
