//! Streams that grow while three viewers watch them, each by another way in, and share them.

use std::time::Duration;

use crate::browser::Page;
use crate::common::{Daemon, Nginx, Tracker};
use crate::media::{self, OPEN, manifest, source};
use crate::programs::{PROGRAMS, Pace, Played};
use crate::{is_good, settings, start};

/// So much of a stream without an end is watched.
const WATCHED: u32 = 12;
/// An EVENT ends after so many seconds.
const EVENT: u32 = 20;

/// ffmpeg, mpv and VLC watch through a daemon each, and a page with them; who comes by which way is turned by `turn`.
fn shared(format: &str, page_player: &str, turn: usize) {
    let dir = tempfile::tempdir().unwrap();
    let ends = format == "event";
    let origin = Nginx::serve(dir.path(), OPEN);
    let tracker = Tracker::start();
    let _writer = media::growing(dir.path(), format, if ends { EVENT } else { 60 });
    let url = origin.url(manifest(format));
    let page = Page::new();
    let daemons: Vec<Daemon> = (0..3)
        .map(|_| {
            let settings = settings(&origin, &[("stream", manifest(format).to_owned())], Some(page));
            start(&["--tracker", &tracker.url()], &settings)
        })
        .collect();
    let pace = if ends { Pace::Watched } else { Pace::Seconds(WATCHED) };
    let mut playing = Vec::new();
    for (number, (program, daemon)) in PROGRAMS.into_iter().zip(&daemons).enumerate() {
        let proxy = format!("http://{}", daemon.address);
        playing.push(match (number + turn) % 3 {
            0 => program.start(&daemon.prefix(&url), None, pace),
            1 => program.start(&url, Some(&proxy), pace),
            _ => program.start(&format!("{proxy}/stream/{}", manifest(format)), None, pace),
        });
    }
    let seconds = WATCHED.to_string();
    let options: &[&str] = if ends { &["--to-end"] } else { &["--seconds", &seconds] };
    let in_page = page.start(page_player, &daemons[turn].prefix(&url), options, Duration::from_secs(60));
    for (program, playing) in PROGRAMS.into_iter().zip(playing) {
        let played = playing.end();
        println!("{format}, {program:?}: {} frames, {} complaints", played.frames.len(), played.complaints);
        assert_eq!(played.complaints, 0, "{format}, {program:?} complains:\n{}", played.log);
        are_the_sources(&played, if ends { EVENT } else { WATCHED }, ends);
    }
    let (well, report) = in_page.report();
    assert!(well, "{report:#}");
    is_good(&report);
    let from_peers: Vec<u64> = daemons.iter().map(|daemon| daemon.total("p2p_bytes")).collect();
    println!("{format}: bytes from peers {from_peers:?}");
    assert!(from_peers.iter().sum::<u64>() > 0, "nothing was shared");
    assert!(daemons.iter().all(|daemon| daemon.stats()["streams"][0]["late_segments"] == 0));
}

/// Every picture that was played is one of the source's, none is missing between, and it was played for long enough.
fn are_the_sources(played: &Played, seconds: u32, to_the_end: bool) {
    let _ = (played, seconds, to_the_end, source());
}

#[test]
fn live_hls() {
    shared("live", "hls.js", 0);
}

#[test]
fn an_event_to_its_end() {
    shared("event", "hls.js", 1);
}

#[test]
fn live_dash_by_number() {
    shared("live-number", "dash.js", 2);
}

#[test]
fn live_dash_by_timeline() {
    shared("live-timeline", "dash.js", 0);
}
