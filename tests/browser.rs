//! hls.js and dash.js in headless Chromium: what they play directly they play through paceline, frame by frame.

#[path = "common/browser.rs"]
mod browser;
mod common;

use std::path::Path;
use std::time::Duration;

use browser::{Page, dry, errors};
use common::{Daemon, Nginx, ffmpeg, recording, until};
use serde_json::{Value, json};

/// Pages of other web origins may read what this origin sends; nginx knows no MPD.
const OPEN: &str = "add_header Access-Control-Allow-Origin *; \
    location ~ \\.mpd$ { types { } default_type application/dash+xml; }";
/// Ten seconds in segments of two.
const SECONDS: u32 = 10;
const FRAMES: u64 = 250;
const SHORT: [&str; 6] = ["-g", "50", "-keyint_min", "50", "-hls_time", "2"];
/// To the end at a multiple of the speed. What is too much for the screen is decoded all the same, and then dropped.
const WHOLE: [&str; 3] = ["--to-end", "--rate", "4"];

fn daemon_for(page: Page) -> Daemon {
    Daemon::start(&[], &[("PACELINE_PROXY_ALLOWED_ORIGINS", &page.origin())])
}

/// What a player reports of a stream that it has played to its end.
fn whole(page: Page, player: &str, url: &str) -> Value {
    let report = page.play(player, url, &WHOLE);
    let fatal = report["errors"].as_array().unwrap().iter().any(|error| error["fatal"] == true);
    assert!(!fatal && report["ended"] == true, "{player} does not play {url}: {report:#}");
    report
}

fn same_frames(dir: &Path, player: &str, manifest: &str) {
    let origin = Nginx::serve(dir, OPEN);
    let page = Page::new();
    let daemon = daemon_for(page);
    let url = origin.url(manifest);
    let direct = whole(page, player, &url);
    let ours = whole(page, player, &daemon.prefix(&url));
    assert!(dry(&ours) <= dry(&direct), "{ours:#}\n{direct:#}");
    // No tolerance was needed: Chromium decodes every frame, at four times the speed and on a loaded machine as well.
    assert_eq!(direct["decoded_frames"], FRAMES, "{direct:#}");
    for key in ["decoded_frames", "duration_s", "played_s", "final_level", "requests"] {
        assert_eq!(ours[key], direct[key], "{key}: {ours:#}\n{direct:#}");
    }
    // Nothing of what the player asked for went past the daemon.
    assert_eq!(ours["hosts"], json!({ daemon.address.to_string(): ours["requests"] }), "{ours:#}");
}

#[test]
fn hls_js_plays_a_transport_stream() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), SECONDS, &SHORT);
    same_frames(dir.path(), "hls.js", "index.m3u8");
}

#[test]
fn hls_js_plays_fragmented_mp4() {
    let dir = tempfile::tempdir().unwrap();
    let options: Vec<&str> = SHORT.into_iter().chain(["-hls_segment_type", "fmp4"]).collect();
    recording(dir.path(), SECONDS, &options);
    same_frames(dir.path(), "hls.js", "index.m3u8");
}

#[test]
fn dash_js_plays_numbered_segments() {
    let dir = tempfile::tempdir().unwrap();
    dash(dir.path());
    same_frames(dir.path(), "dash.js", "index.mpd");
}

/// A recording of H.264 and AAC in DASH, with a template of numbers.
fn dash(dir: &Path) {
    let seconds = SECONDS.to_string();
    let mut args = vec!["-v", "error"];
    for input in ["testsrc2=size=320x180:rate=25", "sine=frequency=440:sample_rate=44100"] {
        args.extend(["-f", "lavfi", "-t", &seconds, "-i", input]);
    }
    args.extend(["-c:v", "libx264", "-preset", "ultrafast", "-b:v", "700k", "-g", "50", "-keyint_min", "50"]);
    args.extend(["-sc_threshold", "0", "-c:a", "aac", "-f", "dash", "-seg_duration", "2"]);
    let manifest = dir.join("index.mpd").display().to_string();
    args.extend(["-use_template", "1", "-use_timeline", "0", &manifest]);
    ffmpeg(&args);
}

/// Two variants of 180 and 360 lines.
fn variants(dir: &Path) {
    let mut args = vec!["-v", "error", "-f", "lavfi", "-t", "20", "-i", "testsrc2=size=640x360:rate=25"];
    args.extend([
        "-map",
        "0:v",
        "-map",
        "0:v",
        "-s:v:0",
        "320x180",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
    ]);
    args.extend(["-b:v:0", "200k", "-b:v:1", "1500k", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0"]);
    args.extend(["-f", "hls", "-hls_list_size", "0", "-hls_playlist_type", "vod", "-master_pl_name"]);
    let playlists = dir.join("v%v.m3u8").display().to_string();
    args.extend(["index.m3u8", "-var_stream_map", "v:0 v:1", "-hls_time", "2", &playlists]);
    ffmpeg(&args);
}

/// Variables of every kind: hls.js fills them in, and paceline does for players that don't (EXT-X-DEFINE).
#[test]
fn a_stream_with_variables_plays_by_every_way_and_in_players_that_know_none() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), SECONDS, &SHORT);
    let list = std::fs::read_to_string(dir.path().join("index.m3u8")).unwrap();
    let list = list.replace("index", "{$stem}").replace(".ts", ".{$kind}");
    let defines = "#EXTM3U\n#EXT-X-DEFINE:IMPORT=\"stem\"\n#EXT-X-DEFINE:QUERYPARAM=\"kind\"\n";
    std::fs::write(dir.path().join("media.m3u8"), list.replacen("#EXTM3U\n", defines, 1)).unwrap();
    let master = "#EXTM3U\n#EXT-X-DEFINE:NAME=\"stem\",VALUE=\"index\"\n#EXT-X-DEFINE:QUERYPARAM=\"kind\"\n\
        #EXT-X-STREAM-INF:BANDWIDTH=800000\nmedia.m3u8?kind={$kind}\n";
    std::fs::write(dir.path().join("master.m3u8"), master).unwrap();
    let origin = Nginx::serve(dir.path(), OPEN);
    let page = Page::new();
    let url = origin.url("master.m3u8?kind=ts");
    let settings =
        [("PACELINE_PROXY_ALLOWED_ORIGINS", &page.origin()[..]), ("PACELINE_CHANNELS_NEWS", &url[..])];
    let daemon = Daemon::start(&[], &settings);
    // A channel's address has no query.
    let channel = format!("http://{}/news/index.m3u8", daemon.address);
    for address in [&url, &daemon.prefix(&url), &channel] {
        let report = whole(page, "hls.js", address);
        assert_eq!((&report["decoded_frames"], errors(&report).len()), (&FRAMES.into(), 0), "{report:#}");
        let host = if *address == url { origin.address } else { daemon.address };
        assert!(report["hosts"].as_object().unwrap().keys().eq([&host.to_string()]), "{report:#}");
    }
    let listed = daemon.stats()["streams"][0]["segments"].as_array().unwrap().len();
    assert_eq!(listed as u32, SECONDS / 2, "all are known as segments");
    let frames = |address: &str| {
        let read = std::process::Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-i", address, "-map", "0:v", "-f", "framemd5", "-"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&read.stdout).lines().filter(|line| !line.starts_with('#')).count()
    };
    assert_eq!([&url, &daemon.prefix(&url), &channel].map(|address| frames(address)), [0, 250, 250]);
}

#[test]
fn hls_js_goes_up_to_the_better_variant() {
    let dir = tempfile::tempdir().unwrap();
    variants(dir.path());
    let origin = Nginx::serve(dir.path(), OPEN);
    let page = Page::new();
    let daemon = daemon_for(page);
    let report = page.play("hls.js", &daemon.prefix(&origin.url("index.m3u8")), &["--seconds", "8"]);
    let levels: Vec<(f64, u64)> = report["levels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|level| (level[0].as_f64().unwrap(), level[1].as_u64().unwrap()))
        .collect();
    assert_eq!(levels.iter().map(|level| level.1).collect::<Vec<_>>(), [180, 360], "{report:#}");
    assert!(levels[0].0 < levels[1].0, "{report:#}");
    assert!(report["bandwidth_bps"].as_f64().unwrap() > 1_500_000.0, "{report:#}");
}

#[test]
fn a_page_that_is_not_allowed_plays_nothing() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), 4, &SHORT);
    let origin = Nginx::serve(dir.path(), OPEN);
    let daemon = daemon_for(Page::new());
    let url = daemon.prefix(&origin.url("index.m3u8"));
    let before = origin.log().len();
    let (good, report) = Page::new().start("hls.js", &url, &WHOLE, Duration::from_secs(60)).report();
    assert!(!good, "{report:#}");
    let errors = report["errors"].as_array().unwrap();
    let refused = errors.iter().find(|error| error["fatal"] == true).unwrap();
    assert_eq!(refused["details"], "networkError: manifestLoadError", "{report:#}");
    assert_eq!((report["decoded_frames"].as_u64(), origin.log().len()), (Some(0), before));
}

#[test]
fn nothing_is_left_of_a_player_that_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), SECONDS, &SHORT);
    let origin = Nginx::serve(dir.path(), OPEN);
    let page = Page::new();
    let playing = page.start("hls.js", &origin.url("index.m3u8"), &["--to-end"], Duration::from_secs(60));
    until("the player asks for media", || (origin.sent(".ts").0 > 0).then_some(()));
    let folder = playing.folder().to_owned();
    let chromium = || processes_with(&folder.display().to_string());
    assert!(chromium() > 0);
    playing.process.signal("-TERM");
    let (good, report) = playing.report();
    assert!(!good && report["errors"].to_string().contains("SIGTERM"), "{report:#}");
    until("Chromium is gone", || (chromium() == 0).then_some(()));
}

/// How many processes have this in their command line.
fn processes_with(text: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
}
