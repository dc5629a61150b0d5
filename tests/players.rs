//! Formats and players: what plays directly plays the same through paceline, by every way in.

#[path = "players/abr.rs"]
mod abr;
#[path = "common/browser.rs"]
mod browser;
#[path = "players/checked.rs"]
mod checked;
mod common;
#[path = "players/faults.rs"]
mod faults;
#[path = "players/growing.rs"]
mod growing;
#[path = "players/kodi.rs"]
mod kodi;
#[path = "players/lists.rs"]
mod lists;
#[path = "players/media.rs"]
mod media;
#[path = "players/programs.rs"]
mod programs;
#[path = "players/ranges.rs"]
mod ranges;
#[path = "common/scripted.rs"]
mod scripted;
#[path = "players/storms.rs"]
mod storms;
#[path = "players/trickle.rs"]
mod trickle;
#[path = "players/unusual.rs"]
mod unusual;

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use browser::{Page, dry, errors};
use common::{Daemon, Nginx};
use media::{BROKEN, DASH, FRAMES, HLS, OPEN, manifest};
use programs::{PROGRAMS, Program};
use serde_json::Value;

/// The recordings, made once.
fn recordings() -> &'static std::path::Path {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        media::recordings(dir.path());
        dir
    });
    made.path()
}

/// Settings of a daemon: channels with the paths of their manifests, and pages that may play.
fn settings(origin: &Nginx, channels: &[(&str, String)], pages: &[Page]) -> Vec<(String, String)> {
    let channel = |(name, path): &(&str, String)| {
        (format!("PACELINE_CHANNELS_{}", name.to_ascii_uppercase()), origin.url(path))
    };
    let allowed = pages.iter().map(|page| page.origin()).collect::<Vec<_>>().join(",");
    let allowed = (!pages.is_empty()).then(|| ("PACELINE_PROXY_ALLOWED_ORIGINS".to_owned(), allowed));
    channels.iter().map(channel).chain(allowed).collect()
}

fn start(args: &[&str], settings: &[(String, String)]) -> Daemon {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    Daemon::start(args, &settings)
}

/// A daemon with a channel for each of these recordings.
fn daemon_for(origin: &Nginx, formats: &[&'static str], pages: &[Page]) -> Daemon {
    let channels: Vec<_> =
        formats.iter().map(|format| (*format, format!("{format}/{}", manifest(format)))).collect();
    start(&[], &settings(origin, &channels, pages))
}

/// What a recording is more than, in bytes.
const LEAST_SERVED: u64 = 100_000;

/// Each program plays each format by each way in.
fn same_in_programs(formats: &[&'static str]) {
    let origin = Nginx::serve(recordings(), OPEN);
    let daemon = daemon_for(&origin, formats, &[]);
    let proxy = format!("http://{}", daemon.address);
    let mut broken = Vec::new();
    for format in formats {
        let url = origin.url(&format!("{format}/{}", manifest(format)));
        let channel = format!("{proxy}/{format}/{}", manifest(format));
        // mpv can't write a list of hashes of what begins anew, and VLC has a picture more or less of it, as it comes.
        let tells = |program: &Program| match *program {
            Program::Ffmpeg => true,
            Program::Mpv => *format != BROKEN[0],
            Program::Vlc => !BROKEN.contains(format),
        };
        for program in PROGRAMS.into_iter().filter(tells) {
            let direct = program.play(&url, None);
            // Of an MPD with lists of segments ffmpeg and mpv leave out the first segment, directly as well.
            let least = if *format == "list" { FRAMES * 4 / 5 } else { FRAMES };
            assert!(direct.frames.len() >= least, "{program:?} plays nothing of {url}:\n{}", direct.log);
            let prefix = daemon.prefix(&url);
            for (way, address, proxy) in [
                ("prefix", &prefix, None),
                ("forward proxy", &url, Some(&proxy[..])),
                ("channel", &channel, None),
            ] {
                let before = daemon.total("served_bytes");
                let played = program.play(address, proxy);
                let served = daemon.total("served_bytes") - before;
                assert!(served > LEAST_SERVED, "{format}, {program:?}, {way}: {served} bytes came by us");
                if played.frames != direct.frames || !played.complaints.is_subset(&direct.complaints) {
                    let (ours, theirs) = (played.frames.len(), direct.frames.len());
                    let others: Vec<_> = played.frames.iter().zip(&direct.frames).enumerate().collect();
                    let others: Vec<_> = others.iter().filter(|(_, (ours, theirs))| ours != theirs).collect();
                    broken.push(format!(
                        "{format}, {program:?}, {way}: {ours} frames, {theirs} directly, {} others, {:?}:\n\
                         {}--- directly:\n{}",
                        others.len(),
                        others.iter().take(8).collect::<Vec<_>>(),
                        played.log,
                        direct.log
                    ));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn programs_play_hls() {
    same_in_programs(&HLS);
}

#[test]
fn programs_play_dash() {
    same_in_programs(&DASH);
}

/// Where one encoding ends and another begins, as with advertisements: with a discontinuity and an init segment of its own, and in
/// a Period of its own.
#[test]
fn programs_play_what_breaks() {
    same_in_programs(&BROKEN);
}

/// What a page reports of a stream that it has played as it was told to.
fn good(page: Page, player: &str, url: &str, options: &[&str]) -> Value {
    let report = page.play(player, url, options);
    is_good(&report);
    report
}

fn is_good(report: &Value) {
    let fatal = report["errors"].as_array().unwrap().iter().any(|error| error["fatal"] == true);
    println!("{} plays {}: stalls {}", report["player"], report["url"], report["stalls_at"]);
    assert!(!fatal && report["played_s"].as_f64().unwrap() > 1.0, "{report:#}");
}

/// What a page may take to play ten seconds at four times the speed, on a loaded machine.
const WHOLE: Duration = Duration::from_secs(60);

/// A player in a page plays each format by each way in. Chromium asks no forward proxy for what is on the same machine unless
/// it is told to.
fn same_in_pages(player: &str, formats: &[&'static str]) {
    let origin = Nginx::serve(recordings(), OPEN);
    let pages = [Page::new(), Page::new()];
    let daemon = daemon_for(&origin, formats, &pages);
    let proxy = format!("http://{}", daemon.address);
    // What is too much for the screen is decoded all the same, and then dropped.
    let options = ["--to-end", "--rate", "4"];
    let by_proxy = [&options[..], &["--proxy", &proxy]].concat();
    for format in formats {
        let url = origin.url(&format!("{format}/{}", manifest(format)));
        let channel = format!("{proxy}/{format}/{}", manifest(format));
        let ways: [(&str, &[&str], SocketAddr); 3] = [
            (&url, &by_proxy, origin.address),
            (&daemon.prefix(&url), &options, daemon.address),
            (&channel, &options, daemon.address),
        ];
        // Two at a time: what takes the time is the clock.
        let start = |number: usize| {
            let (address, options, _) = ways[number];
            pages[number % 2].start(player, address, options, WHOLE)
        };
        let beside = start(0);
        // Directly dash.js has such moments, too: see `is_like`.
        let direct = pages[1].start(player, &url, &options, WHOLE).report().1;
        let direct = if direct["ended"] == true { direct } else { good(pages[1], player, &url, &options) };
        assert_eq!(direct["ended"], true, "{direct:#}");
        is_like(&direct, beside.report().1, || start(0).report().1, format, ways[0].2);
        for (number, playing) in [1, 2].map(|number| (number, start(number))) {
            is_like(&direct, playing.report().1, || start(number).report().1, format, ways[number].2);
        }
    }
}

/// As much was played as directly, no less well, and all of it through us; it was this host that the player asked.
fn is_like(direct: &Value, mut ours: Value, again: impl Fn() -> Value, format: &str, host: SocketAddr) {
    // At four times the speed a machine with far too much to do has such moments, and players break off what they have
    // asked for and change renditions; what is of our making comes again.
    // And dash.js, when it has all and is at the end, now and then (four times in a hundred) goes back half a second and stays.
    if ours["ended"] != true || dry(&ours) > dry(direct) || errors(&ours).len() > errors(direct).len() {
        ours = again();
    }
    is_good(&ours);
    // Which variant is played when depends on the speed, and what is played twice is decoded twice.
    let frames = (format != "variants").then_some("decoded_frames");
    for key in ["ended", "duration_s"].into_iter().chain(frames) {
        assert_eq!(ours[key], direct[key], "{format}: {key}: {ours:#}\n{direct:#}");
    }
    assert!(errors(&ours).len() <= errors(direct).len(), "{format}: {ours:#}\n{direct:#}");
    assert!(dry(&ours) <= dry(direct), "{format}: {ours:#}\n{direct:#}");
    comes_by_us(&ours, host);
}

/// All that a page has asked for it asked `host` for, and had from us.
fn comes_by_us(report: &Value, host: SocketAddr) {
    let (sources, hosts) = (report["sources"].as_object().unwrap(), report["hosts"].as_object().unwrap());
    assert!(!sources.is_empty() && !sources.contains_key("none"), "past the daemon: {report:#}");
    assert!(hosts.keys().eq([&host.to_string()]), "{report:#}");
}

#[test]
fn hls_js_plays_hls() {
    same_in_pages("hls.js", &HLS);
    same_in_pages("hls.js", &BROKEN[..1]);
}

#[test]
fn dash_js_plays_dash() {
    same_in_pages("dash.js", &DASH);
    same_in_pages("dash.js", &BROKEN[1..]);
}
