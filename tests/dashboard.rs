//! The dashboard in headless Chromium while a swarm runs, and the events it lives on.

#[path = "common/browser.rs"]
mod browser;
mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use common::{Daemon, Nginx, PATIENCE, Tracker, complaints, free_port, get, live, player, raw, until};

/// What the script in `tests/browser` may take.
const LONGEST: Duration = Duration::from_secs(400);

#[test]
fn what_the_page_shows_is_what_the_daemon_says_and_its_switches_work() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "");
    let tracker = Tracker::start();
    // Another stream of the same pictures: its playlist has another address, and so it has a swarm of its own.
    std::os::unix::fs::symlink(".", dir.path().join("again")).unwrap();
    let [played, other] = ["index.m3u8", "again/index.m3u8"].map(|path| origin.url(path));
    let channels = [("PACELINE_CHANNELS_NEWS", &*played), ("PACELINE_CHANNELS_SPORT", &*other)];
    let url = tracker.url();
    let daemons: Vec<Daemon> = (0..3).map(|_| Daemon::start(&["--tracker", &url], &channels)).collect();
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/dashboard");
    std::fs::create_dir_all(&pictures).unwrap();
    // Three that meet nobody: without a tracker, with one that is not there, and with nothing that peers may be used for.
    let nowhere = format!("ws://127.0.0.1:{}/", free_port());
    let (alone, lost) = (Daemon::start(&[], &[]), Daemon::with_tracker(&nowhere));
    let channel = [("PACELINE_CHANNELS_NEWS", &*played), ("PACELINE_CHANNELS_NEWS_P2P", "false")];
    let kept = Daemon::start(&["--tracker", &nowhere], &channel);
    let [url, without, unreached, apart] =
        [&daemons[0], &alone, &lost, &kept].map(|daemon| format!("http://{}/", daemon.address));
    let pictures = pictures.display().to_string();
    let (mut page, _folder) = browser::script(
        "dashboard.mjs",
        &[
            &["--url", &url, "--pictures", &pictures, "--neighbours", &(daemons.len() - 1).to_string()][..],
            &["--without", &without, "--unreached", &unreached, "--kept", &apart],
        ]
        .concat(),
    );
    until("the page says that nothing plays", || {
        (page.log().contains("idle") || !page.running()).then_some(())
    });
    // They end when the page has seen enough.
    let watching = daemons.iter().chain([&lost, &kept]);
    let mut players: Vec<_> = watching.map(|daemon| player(&daemon.prefix(&played), 500, &[])).collect();
    for step in ["a swarm is shown", "one stream is shown"] {
        until(step, || (page.log().contains(step) || !page.running()).then_some(()));
    }
    players.extend(daemons[..2].iter().map(|daemon| player(&daemon.prefix(&other), 500, &[])));
    let good = page.wait(LONGEST);
    assert!(good, "{}", page.log());
    println!("{}", page.log());
    for player in &mut players {
        assert!(player.running(), "a player ended:\n{}", player.log());
        assert_eq!(complaints(&player.log()), Vec::<&str>::new(), "switching is not seen by a player");
    }
}

/// Asks for the events and stays; the answer's head and first events: what was before, and the statistics.
fn follow(address: SocketAddr) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /-/events HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut chunk = [0; 4096];
    let whole = |text: &str| text.split("event: stats").nth(1).is_some_and(|rest| rest.contains("\n\n\r\n"));
    while !whole(&text) && !text.starts_with("HTTP/1.1 5") {
        let length = stream.read(&mut chunk).unwrap();
        assert!(length > 0, "{text}");
        text += &String::from_utf8_lossy(&chunk[..length]);
    }
    (stream, text)
}

#[test]
fn events_are_for_eight_at_a_time_and_end_with_the_daemon() {
    let mut daemon = Daemon::start(&[], &[]);
    let address = daemon.address;
    let mut listeners: Vec<_> = (0..8).map(|_| follow(address)).collect();
    for (_, text) in &listeners {
        assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("content-type: text/event-stream"));
        let idle = "event: past\ndata: {\"streams\":{},\"totals\":[]}\n\n";
        assert!(text.contains(idle), "nothing has played: {text}");
        let data = text.split("event: stats\ndata: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
        let stats: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!((&stats["p2p"], stats["streams"].as_array().unwrap().len()), (&false.into(), 0));
    }
    let ninth = get(address, "/-/events").unwrap();
    assert_eq!((ninth.status, ninth.text().contains("close another")), (503, true));
    drop(listeners.pop());
    until("a place is free", || {
        let (stream, text) = follow(address);
        text.starts_with("HTTP/1.1 200 ").then(|| listeners.push((stream, text)))
    });
    daemon.process.signal("-TERM");
    for (stream, _) in &mut listeners {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("0\r\n\r\n"), "it ends as an answer ends: {rest:?}");
    }
    assert!(daemon.process.wait(PATIENCE), "{}", daemon.process.log());
}

#[test]
fn other_pages_hear_and_see_nothing() {
    let daemon = Daemon::start(&[], &[]);
    let address = daemon.address;
    for path in ["/-/", "/-/events", "/-/app.js"] {
        for (fields, status) in [
            (format!("Host: {address}\r\nOrigin: https://evil.example\r\n"), 403),
            (format!("Host: {address}\r\nSec-Fetch-Site: cross-site\r\n"), 403),
            ("Host: evil.example\r\n".to_owned(), 421),
        ] {
            let reply = raw(address, &format!("GET {path} HTTP/1.1\r\n{fields}\r\n")).unwrap();
            assert_eq!(reply.status, status, "{path} {fields}");
        }
    }
    let page = get(address, "/-/").unwrap();
    assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    assert!(page.headers["content-security-policy"].starts_with("default-src 'self';"));
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
}
