//! Five daemons, a tracker and real players: peers carry most of a live stream, and nobody notices.

mod common;

use common::{Daemon, Nginx, Tracker, complaints, live, player};
use std::time::Duration;

#[test]
fn five_viewers_of_a_live_stream_take_most_of_it_from_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "");
    let tracker = Tracker::start();
    let url = origin.url("index.m3u8");
    let daemons: Vec<Daemon> = (0..5).map(|_| Daemon::with_tracker(&tracker.url())).collect();
    let mut players: Vec<_> = daemons.iter().map(|daemon| player(&daemon.prefix(&url), 60, &[])).collect();
    for player in &mut players {
        assert!(player.wait(Duration::from_secs(150)), "a player failed:\n{}", player.log());
        let log = player.log();
        assert_eq!(complaints(&log), Vec::<&str>::new(), "a player saw an error or a gap");
    }
    let total = |key: &str| daemons.iter().map(|daemon| daemon.total(key)).sum::<u64>();
    let (http, served, peers, wasted) =
        (total("http_bytes"), total("served_bytes"), total("p2p_bytes"), total("wasted_bytes"));
    let (requests, sent) = origin.sent(".ts");
    println!("origin {sent} bytes in {requests} requests, players {served}, peers {peers}, wasted {wasted}");
    assert!(
        sent as f64 <= served as f64 * 0.45,
        "the origin sent {sent} of the {served} bytes that players got"
    );
    let difference = (http as f64 - sent as f64).abs() / sent as f64;
    assert!(difference <= 0.01, "the daemons count {http} bytes, the origin {sent}");
    assert!(wasted as f64 <= (http + peers) as f64 * 0.03, "{wasted} bytes came twice");
}

#[test]
fn the_three_ways_in_share_one_swarm() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "");
    let tracker = Tracker::start();
    let url = origin.url("index.m3u8");
    let by_prefix = Daemon::with_tracker(&tracker.url());
    let by_proxy = Daemon::with_tracker(&tracker.url());
    let by_channel = Daemon::start(&["--tracker", &tracker.url()], &[("PACELINE_CHANNELS_NEWS", &url)]);
    let proxy = format!("http://{}", by_proxy.address);
    let mut players = [
        player(&by_prefix.prefix(&url), 40, &[]),
        player(&url, 40, &[("http_proxy", &proxy)]),
        player(&format!("http://{}/news/index.m3u8", by_channel.address), 40, &[]),
    ];
    for player in &mut players {
        assert!(player.wait(Duration::from_secs(120)), "a player failed:\n{}", player.log());
        assert_eq!(complaints(&player.log()), Vec::<&str>::new());
    }
    let swarms: Vec<_> = [&by_prefix, &by_proxy, &by_channel]
        .map(|daemon| daemon.stats()["streams"][0]["swarm"].clone())
        .to_vec();
    assert!(swarms.iter().all(|swarm| swarm.is_string() && *swarm == swarms[0]), "{swarms:?}");
    let peers: Vec<u64> = [&by_prefix, &by_proxy, &by_channel]
        .map(|d| d.total("p2p_bytes") + d.total("uploaded_bytes"))
        .to_vec();
    assert!(peers.iter().all(|bytes| *bytes > 0), "each took part: {peers:?}");
    let (_, sent) = origin.sent(".ts");
    let served: u64 = [&by_prefix, &by_proxy, &by_channel].iter().map(|d| d.total("served_bytes")).sum();
    assert!((sent as f64) < served as f64 * 0.7, "origin {sent}, players {served}");
}

#[test]
fn switches_do_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "");
    let tracker = Tracker::start();
    let url = origin.url("index.m3u8");
    let gives = Daemon::with_tracker(&tracker.url());
    let takes = Daemon::start(&["--tracker", &tracker.url(), "--no-upload"], &[]);
    let alone = Daemon::start(&["--tracker", &tracker.url(), "--no-p2p"], &[]);
    let mut players: Vec<_> = [&gives, &takes, &alone].map(|d| player(&d.prefix(&url), 36, &[])).into();
    for player in &mut players {
        assert!(player.wait(Duration::from_secs(120)), "a player failed:\n{}", player.log());
        assert_eq!(complaints(&player.log()), Vec::<&str>::new());
    }
    assert!(takes.total("p2p_bytes") > 0, "who only takes still takes");
    assert_eq!((takes.total("uploaded_bytes"), gives.total("p2p_bytes")), (0, 0), "and gives nothing");
    assert!(gives.total("uploaded_bytes") > 0);
    assert_eq!((alone.total("p2p_bytes"), alone.total("uploaded_bytes")), (0, 0));
    assert_eq!(alone.stats()["streams"][0]["neighbours"], 0);
}
