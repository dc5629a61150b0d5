//! Streams that grow while three viewers watch them, each by another way in, and share them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::browser::Page;
use crate::common::{Daemon, Nginx, Tracker};
use crate::media::{self, OPEN, manifest, source};
use crate::programs::{PROGRAMS, Pace, Played, Program};
use crate::{is_good, settings, start};

/// Tests that hold several players to real time go one after the other.
pub static REAL_TIME: Mutex<()> = Mutex::new(());

/// So much of a stream without an end is watched.
const WATCHED: u32 = 12;
/// An EVENT ends after so many seconds.
const EVENT: u32 = 20;

/// ffmpeg, mpv and VLC watch through a daemon each, and a page with them; who comes by which way is turned by `turn`.
fn shared(format: &str, page_player: &str, turn: usize) {
    let _one = REAL_TIME.lock().unwrap_or_else(PoisonError::into_inner);
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
    // mpv does not get on with live DASH directly: it asks for what is not there yet a thousand times a second, starts over
    // and does not end (see storms.rs). ffmpeg, which plays with the same code, has its place.
    let programs =
        if page_player == "dash.js" { [Program::Ffmpeg, Program::Ffmpeg, Program::Vlc] } else { PROGRAMS };
    let directly: Vec<_> = programs.into_iter().map(|program| program.start(&url, None, pace)).collect();
    let mut ours = Vec::new();
    for (number, (program, daemon)) in programs.into_iter().zip(&daemons).enumerate() {
        let proxy = format!("http://{}", daemon.address);
        ours.push(match (number + turn) % 3 {
            0 => program.start(&daemon.prefix(&url), None, pace),
            1 => program.start(&url, Some(&proxy), pace),
            _ => program.start(&format!("{proxy}/stream/{}", manifest(format)), None, pace),
        });
    }
    let seconds = WATCHED.to_string();
    let options: &[&str] = if ends { &["--to-end"] } else { &["--seconds", &seconds] };
    let in_page = page.start(page_player, &daemons[turn].prefix(&url), options, Duration::from_secs(60));
    for ((program, directly), ours) in programs.into_iter().zip(directly).zip(ours) {
        let (directly, ours) = (directly.end(), ours.end());
        let told = (directly.frames.len(), &directly.complaints);
        println!("{format}, {program:?}: {} {:?} {told:?}", ours.frames.len(), ours.complaints);
        check(format, program, &ours, &directly, ends);
    }
    let (well, report) = in_page.report();
    assert!(well, "{report:#}");
    is_good(&report);
    let from_peers: Vec<u64> = daemons.iter().map(|daemon| daemon.total("p2p_bytes")).collect();
    println!("{format}: bytes from peers {from_peers:?}");
    assert!(from_peers.iter().sum::<u64>() > 0, "nothing was shared");
    for daemon in &daemons {
        let stats = daemon.stats();
        for stream in stats["streams"].as_array().unwrap() {
            // Who asks for live DASH at the very edge needs the segment at once: then some milliseconds are late.
            let edge = page_player == "dash.js";
            let held = stream["segments"].as_array().unwrap().iter().filter_map(|of| of["held_ms"].as_u64());
            let in_time = stream["late_segments"] == 0 || (edge && held.max() < Some(500));
            assert!(in_time, "{format}: {stats:#}");
        }
    }
}

/// As much was played as directly, and nothing was complained of that is not complained of directly.
fn check(format: &str, program: Program, ours: &Played, directly: &Played, ends: bool) {
    let what = format!("{format}, {program:?}:\n{}--- directly:\n{}", ours.log, directly.log);
    assert!(ours.complaints.is_subset(&directly.complaints), "{what}");
    // They do not begin at the same moment, nor at the same segment, and VLC moves its delay when a machine is busy: a picture
    // in ten is a second, three of ten are three.
    let tenths = if program == Program::Ffmpeg { 9 } else { 7 };
    let (played, least) = (ours.frames.len(), directly.frames.len() * tenths / 10);
    assert!(played >= least && least > 200, "{played} frames, {least} are the least: {what}");
    if program == Program::Ffmpeg {
        let places = places(ours).unwrap_or_else(|| panic!("some frames are not the source's: {what}"));
        if ends {
            assert_eq!(places.last(), Some(&(25 * EVENT as usize - 1)), "not to the end: {what}");
        }
        let holes = |places: &[usize]| places.windows(2).filter(|pair| pair[1] > pair[0] + 1).count();
        assert_eq!(holes(&places), 0, "{what}");
    }
}

/// Which of the source's frames were played; none if one is not the source's.
fn places(played: &Played) -> Option<Vec<usize>> {
    let place = |frame: &String| source().frames.iter().position(|known| known == frame);
    played.frames.iter().map(place).collect()
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
