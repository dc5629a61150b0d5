//! What a swarm saves, as its tracker hears and shows it: the page in headless Chromium while a real swarm runs, the sum of
//! all daemons' own figures once they have left, and the events that the page lives on.

#[path = "common/browser.rs"]
mod browser;
mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use common::{Daemon, Nginx, PATIENCE, Tracker, complaints, free_port, get, live, player, until};
use serde_json::Value;

/// What the script in `tests/browser` may take.
const LONGEST: Duration = Duration::from_secs(400);
const KEYS: [&str; 3] = ["http_bytes", "p2p_bytes", "uploaded_bytes"];

fn figures(stats: &Value) -> Vec<u64> {
    KEYS.iter().map(|key| stats["totals"][key].as_u64().unwrap()).collect()
}

/// The sums of all daemons, once nothing moves any more.
fn sums(daemons: &[Daemon]) -> Vec<u64> {
    let all = || -> Vec<Vec<u64>> { daemons.iter().map(|daemon| figures(&daemon.stats())).collect() };
    let mut before = all();
    let still = until("nothing moves any more", || {
        std::thread::sleep(Duration::from_secs(1));
        let now = all();
        let still = std::mem::replace(&mut before, now) == before;
        still.then(|| before.clone())
    });
    (0..KEYS.len()).map(|key| still.iter().map(|figures| figures[key]).sum()).collect()
}

#[test]
fn the_tracker_shows_what_its_viewers_save() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "");
    let tracker = Tracker::with(
        free_port(),
        &[
            ("PACELINE_TRACKER_SERVER_INTERVAL_S", "15"),
            ("PACELINE_TRACKER_SERVER_NETWORKS", "home=127.0.0.0/8, berlin=10.1.0.0/16, hamburg=10.2.0.0/16"),
        ],
    );
    let mut daemons: Vec<Daemon> = (0..3).map(|_| Daemon::with_tracker(&tracker.url())).collect();
    let url = origin.url("index.m3u8");
    // They end when the page has seen enough.
    let mut players: Vec<_> = daemons.iter().map(|daemon| player(&daemon.prefix(&url), 500, &[])).collect();
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/dashboard");
    std::fs::create_dir_all(&pictures).unwrap();
    let (page, pictures) = (format!("http://{}/", tracker.address), pictures.display().to_string());
    let viewers = daemons.len().to_string();
    let (mut page, _folder) =
        browser::script("tracker.mjs", &["--url", &page, "--pictures", &pictures, "--viewers", &viewers]);
    let good = page.wait(LONGEST);
    assert!(good, "{}", page.log());
    println!("{}", page.log());
    for player in &mut players {
        assert!(player.running(), "a player ended:\n{}", player.log());
        assert_eq!(complaints(&player.log()), Vec::<&str>::new());
        player.kill();
    }
    let expected = sums(&daemons);
    assert!(expected.iter().all(|bytes| *bytes > 0), "{expected:?}");
    for daemon in &mut daemons {
        daemon.process.signal("-TERM");
        assert!(daemon.process.wait(PATIENCE), "{}", daemon.process.log());
    }
    let stats = until("everybody has left", || {
        Some(tracker.stats()).filter(|stats| stats["viewers"] == 0 && stats["connections"] == 0)
    });
    println!("daemons {expected:?}, tracker {:?}", figures(&stats));
    assert_eq!(figures(&stats), expected, "{stats:#}");
    let home = &stats["networks"][0];
    assert_eq!((&home["network"], &home["p2p_bytes"]), (&"home".into(), &stats["totals"]["p2p_bytes"]));
    assert_eq!((&stats["accounts_refused"], &stats["totals"]["p2p_bytes_per_s"]), (&0.into(), &0.into()));
}

#[test]
fn a_tracker_that_comes_back_counts_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "");
    let port = free_port();
    let first = Tracker::at(port);
    let mut daemon = Daemon::with_tracker(&first.url());
    let mut playing = player(&daemon.prefix(&origin.url("index.m3u8")), 500, &[]);
    let before = until("something is played", || Some(daemon.total("http_bytes")).filter(|bytes| *bytes > 0));
    drop(first);
    let second = Tracker::at(port);
    until("the daemon has come back", || (second.stats()["viewers"] == 1).then_some(()));
    let met = daemon.total("http_bytes");
    until("more is played", || (daemon.total("http_bytes") > met).then_some(()));
    playing.kill();
    let all = sums(std::slice::from_ref(&daemon))[0];
    daemon.process.signal("-TERM");
    assert!(daemon.process.wait(PATIENCE), "{}", daemon.process.log());
    let stats = until("it has left", || Some(second.stats()).filter(|stats| stats["viewers"] == 0));
    let counted = figures(&stats)[0];
    println!("{before} before, {all} in all, {counted} counted");
    assert!(counted >= all - met && counted <= all - before, "{before} {met} {all}: {counted}");
}

/// Asks for the events and stays; what has come up to the first statistics.
fn follow(address: SocketAddr) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /-/events HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let (mut text, mut chunk) = (String::new(), [0; 4096]);
    let whole = |text: &str| text.split("event: stats").nth(1).is_some_and(|rest| rest.contains("\n\n\r\n"));
    while !whole(&text) && !text.starts_with("HTTP/1.1 5") {
        let length = stream.read(&mut chunk).unwrap();
        assert!(length > 0, "{text}");
        text += &String::from_utf8_lossy(&chunk[..length]);
    }
    (stream, text)
}

#[test]
fn events_are_for_eight_at_a_time() {
    let mut tracker = Tracker::start();
    let address = tracker.address;
    let mut listeners: Vec<_> = (0..8).map(|_| follow(address)).collect();
    for (_, text) in &listeners {
        assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("content-type: text/event-stream"));
        assert!(text.contains("event: past\ndata: []\n\n"), "nothing has happened: {text}");
        let data = text.split("event: stats\ndata: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        let stats: Value = serde_json::from_str(data).unwrap();
        assert_eq!((&stats["watching"], &stats["networks"][0]["network"]), (&0.into(), &"other".into()));
    }
    let ninth = get(address, "/-/events").unwrap();
    assert_eq!((ninth.status, ninth.text().contains("close another")), (503, true));
    drop(listeners.pop());
    until("a place is free", || {
        let (stream, text) = follow(address);
        text.starts_with("HTTP/1.1 200 ").then(|| listeners.push((stream, text)))
    });
    tracker.process.signal("-TERM");
    assert!(tracker.process.wait(PATIENCE), "{}", tracker.process.log());
    let page = Tracker::start();
    let page = get(page.address, "/").unwrap();
    assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    assert!(page.headers["content-security-policy"].starts_with("default-src 'self';"));
}
