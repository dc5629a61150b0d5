//! Players that choose among renditions settle on the same one through paceline as directly: with an origin that carries
//! all, with one that carries the lowest alone, and with a neighbour who has what such an origin can't carry.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::browser::Page;
use crate::common::{Daemon, Nginx, Tracker, ffmpeg};
use crate::growing::REAL_TIME;
use crate::media::OPEN;
use crate::programs::{Pace, Played, Playing, Program};
use crate::{browser, settings, start};

/// Seconds of the recording, and how many of them are watched: VLC and hls.js have up to 30 s ahead.
const SECONDS: u32 = 60;
const WATCHED: u32 = 24;
/// An answer brings 480 kbit/s, more than twice the low rendition and a third of the high one. Whoever says "test" is
/// spared: that is how a neighbour comes to have everything.
const LIMITED: &str = "if ($http_user_agent != test) { set $limit_rate 60k; }";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rendition {
    Low,
    High,
}

/// Noise, so that the high rendition has as many bits as it says.
fn record(dir: &Path) {
    let (seconds, at) = (SECONDS.to_string(), |name: &str| dir.join(name).display().to_string());
    let picture = "testsrc2=size=320x180:rate=25,noise=alls=60:allf=t";
    let mut args =
        vec!["-v", "error", "-f", "lavfi", "-t", &seconds, "-i", picture, "-map", "0:v", "-map", "0:v"];
    args.extend(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-s:v:0", "160x90"]);
    args.extend(["-b:v:0", "200k", "-maxrate:v:0", "220k", "-bufsize:v:0", "200k"]);
    args.extend(["-b:v:1", "1500k", "-maxrate:v:1", "1600k", "-bufsize:v:1", "1500k"]);
    args.extend(["-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-f", "hls", "-hls_time", "2"]);
    args.extend(["-hls_list_size", "0", "-hls_playlist_type", "vod", "-master_pl_name", "index.m3u8"]);
    let (segments, playlists) = (at("v%v_%d.ts"), at("v%v.m3u8"));
    args.extend(["-hls_segment_filename", &segments, "-var_stream_map", "v:0 v:1", &playlists]);
    ffmpeg(&args);
}

/// The recording, and the pictures of its low and its high rendition; made once.
struct Recorded {
    dir: tempfile::TempDir,
    low: HashSet<String>,
    high: HashSet<String>,
}

fn recorded() -> &'static Recorded {
    static MADE: OnceLock<Recorded> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        record(dir.path());
        let free = Nginx::serve(dir.path(), "");
        let (low, high) = (pictures(&free.url("v0.m3u8")), pictures(&free.url("v1.m3u8")));
        assert!(low.is_disjoint(&high) && low.len() > 1000 && high.len() > 1000);
        Recorded { dir, low, high }
    })
}

/// Who chooses: hls.js, VLC as it comes, and VLC by the rate alone. As it comes, VLC stays with the high rendition even where
/// it stands still at it; by the rate it needs an origin that is slow enough to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chooser {
    HlsJs,
    Vlc,
    VlcByRate,
}

const CHOOSERS: [Chooser; 3] = [Chooser::HlsJs, Chooser::Vlc, Chooser::VlcByRate];
const WITH_PLENTY: usize = 2;

enum Choosing {
    Page(browser::Playing),
    Vlc(Playing),
}

impl Chooser {
    fn start(self, page: Page, url: &str) -> Choosing {
        let pace = Pace::Clock(WATCHED);
        match self {
            Self::HlsJs => {
                let options = ["--seconds", &WATCHED.to_string(), "--digests"];
                Choosing::Page(page.start("hls.js", url, &options, Duration::from_secs(120)))
            }
            Self::Vlc => Choosing::Vlc(Program::Vlc.start(url, None, pace)),
            Self::VlcByRate => {
                Choosing::Vlc(Program::Vlc.start_with(url, None, pace, &["--adaptive-logic", "rate"]))
            }
        }
    }
}

/// The hashes of a rendition's pictures, as VLC hands them to its decoder.
fn pictures(url: &str) -> HashSet<String> {
    Program::Vlc.play(url, None).frames.iter().filter_map(|frame| hash(frame)).collect()
}

fn hash(frame: &str) -> Option<String> {
    frame.rsplit_once(' ').map(|(_, hash)| hash.to_owned())
}

/// What somebody settled on, what there is to say of it, and what he was given that is not of the rendition that he asked for.
fn settled(choosing: Choosing, recorded: &Recorded) -> (Option<Rendition>, String, Vec<String>) {
    let Recorded { dir, low, high } = recorded;
    match choosing {
        Choosing::Page(playing) => {
            let (_, report) = playing.report();
            let others = mixed_up(dir.path(), &report);
            let height = report["final_level"][0].as_u64();
            let of = height.map(|height| if height > 90 { Rendition::High } else { Rendition::Low });
            let told = |key: &str| report[key].as_f64().unwrap_or_default();
            let (rate, stalls) = (told("bandwidth_bps") / 1e6, told("stalls"));
            (of, format!("{stalls} stalls, {rate:.1} Mbit/s measured, {}", levels(&report)), others)
        }
        Choosing::Vlc(playing) => {
            let Played { frames, .. } = playing.end();
            // The last second.
            let last: Vec<String> = frames.iter().rev().take(25).filter_map(|frame| hash(frame)).collect();
            let of = |pictures: &HashSet<String>| last.iter().filter(|hash| pictures.contains(*hash)).count();
            let (in_low, in_high) = (of(low), of(high));
            let rendition = match () {
                () if in_low > in_high => Some(Rendition::Low),
                () if in_high > in_low => Some(Rendition::High),
                () => None,
            };
            let hashes = frames.iter().filter_map(|frame| hash(frame));
            let others = hashes.filter(|hash| !low.contains(hash) && !high.contains(hash)).collect();
            (rendition, format!("{} pictures", frames.len()), others)
        }
    }
}

/// Segments that a page was given whose bytes are not those of the file that it asked for.
fn mixed_up(dir: &Path, report: &Value) -> Vec<String> {
    let digests = report["digests"].as_array().unwrap().iter();
    let segments = digests.filter_map(|pair| {
        let (address, digest) = (pair[0].as_str()?, pair[1].as_str()?);
        let name = address.rsplit('/').next().filter(|name| name.ends_with(".ts"))?;
        Some((name, digest == digest_of(&std::fs::read(dir.join(name)).unwrap())))
    });
    let segments: Vec<_> = segments.collect();
    assert!(segments.len() as u32 >= WATCHED / 2, "the digests of {} segments: {report:#}", segments.len());
    segments.into_iter().filter(|(_, same)| !same).map(|(name, _)| name.to_owned()).collect()
}

fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn levels(report: &Value) -> String {
    let levels = report["levels"].as_array().unwrap().iter();
    levels.map(|level| format!("{}p at {} s", level[1], level[0])).collect::<Vec<_>>().join(", ")
}

/// All choosers at once, each directly and through a daemon of its own.
fn same_choice(name: &str, rules: &str, neighbour: bool) {
    let _one = REAL_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let recorded = recorded();
    let origin = Nginx::serve(recorded.dir.path(), &format!("{OPEN} {rules}"));
    let url = origin.url("index.m3u8");
    let tracker = Tracker::start();
    let args = ["--tracker", &tracker.url()];
    let args = if neighbour { &args[..] } else { &[] };
    let has = neighbour.then(|| {
        let has = start(args, &[]);
        for list in ["index.m3u8", "v0.m3u8", "v1.m3u8"] {
            assert_eq!(has.get(&origin.url(list)).status, 200);
        }
        for number in 0..SECONDS / 2 {
            for rendition in [0, 1] {
                assert_eq!(has.get(&origin.url(&format!("v{rendition}_{number}.ts"))).status, 200);
            }
        }
        has
    });
    let choosers = if rules.is_empty() { &CHOOSERS[..WITH_PLENTY] } else { &CHOOSERS };
    let playing = choosers.iter().map(|&chooser| {
        let (page, other) = (Page::new(), Page::new());
        let daemon: Daemon = start(args, &settings(&origin, &[], &[page]));
        let directly = chooser.start(other, &url);
        (chooser, directly, chooser.start(page, &daemon.prefix(&url)), daemon)
    });
    let playing: Vec<_> = playing.collect();
    let mut broken = Vec::new();
    for (chooser, directly, ours, daemon) in playing {
        let (directly, ours) = (settled(directly, recorded), settled(ours, recorded));
        let peers = daemon.total("p2p_bytes");
        println!("{name}, {chooser:?}: directly {directly:?}, ours {ours:?}, {peers} bytes from peers");
        let expected = match chooser {
            Chooser::Vlc => Rendition::High,
            _ if rules.is_empty() => Rendition::High,
            _ => Rendition::Low,
        };
        if directly.0 != Some(expected) || ours.0 != Some(expected) {
            broken.push(format!("{chooser:?}: {directly:?} directly, {ours:?} through paceline"));
        }
        if !ours.2.is_empty() {
            broken.push(format!("{chooser:?}: of another rendition or of none: {:?}", ours.2));
        }
    }
    assert!(has.is_none_or(|has| has.total("uploaded_bytes") > 0), "{name}: the neighbour was of no use");
    assert!(broken.is_empty(), "{name}: {}", broken.join("\n"));
}

#[test]
fn with_plenty() {
    same_choice("plenty", "", false);
}

#[test]
fn with_plenty_and_a_neighbour() {
    same_choice("plenty and a neighbour", "", true);
}

#[test]
fn with_an_origin_that_carries_the_low_rendition() {
    same_choice("limited", LIMITED, false);
}

#[test]
fn with_a_limited_origin_and_a_neighbour_who_has_all() {
    same_choice("limited and a neighbour", LIMITED, true);
}
