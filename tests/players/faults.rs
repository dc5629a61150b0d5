//! An origin that fails once in the middle of a recording: through paceline no player notices.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::browser::{Page, dry, errors};
use crate::common::Daemon;
use crate::programs::{PROGRAMS, Pace, Played, Program};
use crate::recordings;
use crate::scripted::{Scripted, from_of, respond};

/// The segment that the fault is on, in the middle of a transport stream.
const AILING: &str = "ts/index2.ts";
/// The same of a DASH recording, of its pictures.
const AILING_DASH: &str = "number/chunk-stream0-00003.m4s";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    NotFound,
    Unavailable,
    Truncated,
    Late,
    Trickle,
}

const FAULTS: [Fault; 5] =
    [Fault::NotFound, Fault::Unavailable, Fault::Truncated, Fault::Late, Fault::Trickle];

/// An origin of the recordings with a fault for who asks for one of those segments first.
fn origin(fault: Fault) -> Scripted {
    let asked = AtomicU64::new(0);
    Scripted::start(move |_, head, stream| {
        let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
        let Ok(file) = std::fs::read(recordings().join(path)) else {
            return respond(stream, "404 Not Found", "", b"");
        };
        let first = [AILING, AILING_DASH].contains(&path) && asked.fetch_add(1, Ordering::SeqCst) == 0;
        answer(if first { fault } else { Fault::None }, path, &file, head, stream);
    })
}

fn answer(fault: Fault, path: &str, file: &[u8], head: &str, stream: &mut TcpStream) {
    let from = from_of(head);
    let kind = match path.rsplit_once('.') {
        Some((_, "m3u8")) => "application/vnd.apple.mpegurl",
        Some((_, "mpd")) => "application/dash+xml",
        Some((_, "m4s")) => "video/mp4",
        _ => "video/mp2t",
    };
    let mut fields = format!(
        "Content-Type: {kind}\r\nAccept-Ranges: bytes\r\nETag: \"1\"\r\nAccess-Control-Allow-Origin: *\r\n"
    );
    let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
    if from > 0 {
        fields += &format!("Content-Range: bytes {from}-{}/{}\r\n", file.len() - 1, file.len());
    }
    let body = &file[from..];
    let length = body.len();
    let open = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{fields}Connection: close\r\n\r\n");
    match fault {
        Fault::None => respond(stream, status, &fields, body),
        Fault::NotFound => {
            respond(stream, "404 Not Found", "Access-Control-Allow-Origin: *\r\n", b"");
        }
        Fault::Unavailable => {
            respond(stream, "503 Service Unavailable", "Access-Control-Allow-Origin: *\r\n", b"");
        }
        Fault::Truncated => {
            let _ = stream.write_all(open.as_bytes()).and_then(|()| stream.write_all(&body[..length / 2]));
        }
        Fault::Late => {
            std::thread::sleep(Duration::from_secs(3));
            respond(stream, status, &fields, body);
        }
        // Slower than it is played: 2 s of media in 3 s.
        Fault::Trickle => {
            let mut sent = stream.write_all(open.as_bytes());
            for part in body.chunks(length / 30 + 1) {
                std::thread::sleep(Duration::from_millis(100));
                sent = sent.and_then(|()| stream.write_all(part));
            }
        }
    }
}

#[test]
fn nobody_notices_a_fault() {
    is_not_noticed("ts/index.m3u8", false);
}

#[test]
fn nobody_notices_a_fault_in_dash_by_a_forward_proxy() {
    is_not_noticed("number/index.mpd", true);
}

/// What each program makes of each fault directly and by prefix or forward proxy, all at once: they wait more than they work.
fn is_not_noticed(manifest: &str, forward: bool) {
    let well = PROGRAMS.map(|program| program.play(&origin(Fault::None).url(manifest), None));
    let mut broken = Vec::new();
    for fault in FAULTS {
        let ways = PROGRAMS.map(|program| {
            let (alone, behind, daemon) = (origin(fault), origin(fault), Daemon::start(&[], &[]));
            let directly = program.start(&alone.url(manifest), None, Pace::Whole);
            let (url, proxy) = (behind.url(manifest), format!("http://{}", daemon.address));
            let ours = if forward {
                program.start(&url, Some(&proxy), Pace::Whole)
            } else {
                program.start(&daemon.prefix(&url), None, Pace::Whole)
            };
            (program, directly, ours, (alone, behind, daemon))
        });
        for ((program, directly, ours, _origins), well) in ways.into_iter().zip(&well) {
            let (directly, ours) = (directly.end(), ours.end());
            let verdict = |played: &Played| {
                if played.frames == well.frames { "whole" } else { "with a hole" }
            };
            println!("{fault:?}, {program:?}: {}, directly {}", verdict(&ours), verdict(&directly));
            if ours.frames != well.frames || !ours.complaints.is_subset(&well.complaints) {
                let (played, all) = (ours.frames.len(), well.frames.len());
                broken.push(format!("{fault:?}, {program:?}: {played} frames of {all}:\n{}", ours.log));
            }
            if !forward && (fault, program) == (Fault::Unavailable, Program::Vlc) {
                let (played, all) = (directly.frames.len(), well.frames.len());
                assert!(played < all * 3 / 4, "VLC survives a 503 by itself: {played} of {all}");
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn is_not_noticed_in_a_page(player: &str, manifest: &str) {
    let page = Page::new();
    for fault in FAULTS {
        let origin = origin(fault);
        let daemon = Daemon::start(&[], &[("PACELINE_PROXY_ALLOWED_ORIGINS", &page.origin())]);
        let url = daemon.prefix(&origin.url(manifest));
        // What comes late comes in time at the speed it is made for.
        let rate = if matches!(fault, Fault::Late | Fault::Trickle) { "1" } else { "4" };
        let report = crate::good(page, player, &url, &["--to-end", "--rate", rate]);
        assert_eq!((&report["ended"], &report["decoded_frames"]), (&true.into(), &250.into()), "{report:#}");
        assert!(errors(&report).is_empty() && (rate == "4" || dry(&report) == 0), "{fault:?}: {report:#}");
    }
}

#[test]
fn hls_js_notices_no_fault() {
    is_not_noticed_in_a_page("hls.js", "ts/index.m3u8");
}

#[test]
fn dash_js_notices_no_fault() {
    is_not_noticed_in_a_page("dash.js", "number/index.mpd");
}
