//! A manifest that trickles in: players that would give it up, or stand still, play through paceline.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::Daemon;
use crate::growing::{REAL_TIME, places};
use crate::media::{self, manifest};
use crate::programs::{PICTURES, PROGRAMS, Pace, Played, Playing, Program};
use crate::recordings;
use crate::scripted::{Scripted, from_of, respond};

/// How long a manifest takes that trickles: paceline begins an answer after eight seconds, or gives the last good copy after a
/// target duration. A live playlist here has 18 s in its window.
const TRICKLE: Duration = Duration::from_secs(20);
/// In so many parts.
const PARTS: u32 = 40;
/// This reload of a live playlist trickles, when the player has begun: what it opens twice counts twice.
const RELOAD: u64 = 4;
/// So much of a live stream is watched.
const WATCHED: u32 = 24;

/// An origin of these files; the answer with this number to who asks for a manifest trickles.
fn origin(root: PathBuf, number: u64) -> Scripted {
    let asked = AtomicU64::new(0);
    Scripted::start(move |_, head, stream| {
        let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
        let Ok(file) = std::fs::read(root.join(path)) else {
            return respond(stream, "404 Not Found", "", b"");
        };
        let kind = match Path::new(path).extension().and_then(|ending| ending.to_str()) {
            Some("m3u8") => "application/vnd.apple.mpegurl",
            Some("mpd") => "application/dash+xml",
            Some("m4s") => "video/mp4",
            _ => "video/mp2t",
        };
        let fields = format!("Content-Type: {kind}\r\n");
        let is_manifest = path.ends_with("m3u8") || path.ends_with("mpd");
        if is_manifest && asked.fetch_add(1, Ordering::SeqCst) == number {
            return trickle(stream, &fields, &file);
        }
        let from = from_of(head);
        if from == 0 {
            return respond(stream, "200 OK", &fields, &file);
        }
        let range = format!("Content-Range: bytes {from}-{}/{}\r\n", file.len() - 1, file.len());
        respond(stream, "206 Partial Content", &(fields + &range), &file[from..]);
    })
}

fn trickle(stream: &mut TcpStream, fields: &str, body: &[u8]) {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}Connection: close\r\n\r\n");
    let mut sent = stream.write_all(head.as_bytes());
    for part in body.chunks(length / PARTS as usize + 1) {
        std::thread::sleep(TRICKLE / PARTS);
        sent = sent.and_then(|()| stream.write_all(part));
    }
}

/// Each program plays it from its own origin, directly and by prefix, all at once.
fn each(root: &Path, path: &str, number: u64, pace: Pace) -> Vec<(Program, Playing, Playing, Parts)> {
    let start = |program: Program| {
        let (alone, behind) = (origin(root.to_owned(), number), origin(root.to_owned(), number));
        let daemon = Daemon::start(&[], &[]);
        let directly = program.start(&alone.url(path), None, pace);
        let ours = program.start(&daemon.prefix(&behind.url(path)), None, pace);
        (program, directly, ours, (alone, behind, daemon))
    };
    PROGRAMS.into_iter().map(start).collect()
}

/// What has to stay while somebody plays.
type Parts = (Scripted, Scripted, Daemon);

/// Begun after eight seconds and ended later, it is the same manifest.
#[test]
fn the_first_manifest_of_a_recording() {
    let formats = ["ts", "timeline"].map(|format| format!("{format}/{}", manifest(format)));
    let well = formats.each_ref().map(|path| {
        let origin = origin(recordings().to_owned(), u64::MAX);
        PROGRAMS.map(|program| program.play(&origin.url(path), None))
    });
    let played = formats.each_ref().map(|path| each(recordings(), path, 0, Pace::Whole));
    for ((path, well), played) in formats.iter().zip(&well).zip(played) {
        for (well, (program, directly, ours, _parts)) in well.iter().zip(played) {
            let (directly, ours) = (directly.end(), ours.end());
            assert_eq!(directly.frames, well.frames, "{path}, {program:?}, directly:\n{}", directly.log);
            assert_eq!(ours.frames, well.frames, "{path}, {program:?}:\n{}", ours.log);
            assert!(ours.complaints.is_subset(&well.complaints), "{path}, {program:?}:\n{}", ours.log);
        }
    }
}

/// Directly ffmpeg and mpv wait for all of it, and what the window has lost by then is lost to them. Through paceline they are
/// given the last good copy in time, and miss nothing.
#[test]
fn a_reload_of_a_live_playlist() {
    let _one = REAL_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let _writer = media::growing(dir.path(), "live-long", 90);
    let all = (PICTURES * WATCHED) as usize;
    for (program, directly, ours, _parts) in each(dir.path(), "index.m3u8", RELOAD, Pace::Seconds(WATCHED)) {
        let (directly, ours) = (directly.end(), ours.end());
        let told = |played: &Played| format!("{} frames, {:?}", played.frames.len(), played.complaints);
        println!("{program:?}: {}, directly {}", told(&ours), told(&directly));
        assert!(ours.complaints.is_empty(), "{program:?}:\n{}", ours.log);
        match program {
            Program::Ffmpeg => {
                assert!(holes(&directly) > 0, "it misses nothing by itself:\n{}", directly.log);
                assert_eq!((ours.frames.len(), holes(&ours)), (all, 0), "{}", ours.log);
            }
            Program::Mpv => assert_eq!(ours.frames.len(), all, "{}", ours.log),
            // It moves its delay as it likes, but does not stand still for as long as the reload takes.
            Program::Vlc => {
                let most = Duration::from_secs(WATCHED.into()) + TRICKLE / 2;
                assert!(ours.took.is_some_and(|took| took < most), "{:?}, {}", ours.took, told(&ours));
            }
        }
    }
}

/// How often what comes next in the source does not come next.
fn holes(played: &Played) -> usize {
    let places = places(played).expect("all frames are the source's");
    places.windows(2).filter(|pair| pair[1] != pair[0] + 1).count()
}
