//! The streams that the players play, all from two encodings, and those that grow while they are played.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::common::{Process, ffmpeg, until};

/// Seconds of a recording, in segments of two.
pub const SECONDS: u32 = 10;
/// Pictures of a recording.
pub const FRAMES: usize = 250;
/// What a stream that grows is written from is longer.
const LONG: u32 = 90;
/// For nginx: pages of other web origins may read what it sends, and it is told what an MPD is.
pub const OPEN: &str = "add_header Access-Control-Allow-Origin *; \
    location ~ \\.mpd$ { types { } default_type application/dash+xml; }";

/// A folder of the recordings, each in a folder of its own.
pub const HLS: [&str; 5] = ["ts", "fmp4", "range", "aes", "variants"];
/// The same for DASH.
pub const DASH: [&str; 4] = ["number", "timeline", "list", "base"];

/// The same of two encodings, one after the other; by HLS and by DASH.
pub const BROKEN: [&str; 2] = ["breaks", "periods"];

/// The name of a format's manifest in its folder.
pub fn manifest(format: &str) -> &'static str {
    if HLS.contains(&format) || format == BROKEN[0] || ["live", "live-long", "event"].contains(&format) {
        "index.m3u8"
    } else {
        "index.mpd"
    }
}

fn encode(to: &Path, seconds: u32, size: &str, rate: &str, tone: u32) {
    let (seconds, to) = (seconds.to_string(), to.display().to_string());
    let (picture, sound) = (format!("testsrc2=size={size}:rate=25"), format!("sine=frequency={tone}"));
    let mut args = vec!["-v", "error", "-y", "-f", "lavfi", "-t", &seconds, "-i", &picture];
    args.extend(["-f", "lavfi", "-t", &seconds, "-i", &sound, "-c:v", "libx264", "-preset", "ultrafast"]);
    args.extend(["-pix_fmt", "yuv420p", "-b:v", rate, "-g", "50", "-keyint_min", "50", "-sc_threshold", "0"]);
    args.extend(["-c:a", "aac", "-b:a", "96k", &to]);
    ffmpeg(&args);
}

/// Makes all recordings in `dir`.
pub fn recordings(dir: &Path) {
    let at = |name: &str| dir.join(name).display().to_string();
    encode(&dir.join("high.mp4"), SECONDS, "320x180", "700k", 440);
    encode(&dir.join("low.mp4"), SECONDS, "160x90", "200k", 660);
    let (high, low) = (at("high.mp4"), at("low.mp4"));
    std::fs::write(dir.join("secret.key"), b"0123456789abcdef").unwrap();
    std::fs::create_dir_all(dir.join("aes")).unwrap();
    std::fs::copy(dir.join("secret.key"), dir.join("aes/secret.key")).unwrap();
    std::fs::write(dir.join("key"), format!("secret.key\n{}\n", at("secret.key"))).unwrap();
    let key = at("key");
    for format in HLS.iter().chain(&DASH) {
        std::fs::create_dir_all(dir.join(format)).unwrap();
        let to = dir.join(format).join(manifest(format)).display().to_string();
        let hls = ["-f", "hls", "-hls_time", "2", "-hls_list_size", "0", "-hls_playlist_type", "vod"];
        let dash = ["-f", "dash", "-seg_duration", "2"];
        let (muxer, more): (&[&str], Vec<&str>) = match *format {
            "ts" => (&hls, vec![]),
            "fmp4" => (&hls, vec!["-hls_segment_type", "fmp4"]),
            "range" => (&hls, vec!["-hls_flags", "single_file"]),
            "aes" => (&hls, vec!["-hls_key_info_file", &key]),
            "number" => (&dash, vec!["-use_template", "1", "-use_timeline", "0"]),
            "timeline" => (&dash, vec!["-use_template", "1", "-use_timeline", "1"]),
            "list" => (&dash, vec!["-use_template", "0", "-use_timeline", "0"]),
            _ => continue,
        };
        let args = [&["-v", "error", "-i", &high, "-c", "copy"], muxer, &more[..], &[&to]].concat();
        ffmpeg(&args);
    }
    variants(dir, &high, &low);
    base(&dir.join("base"), &high);
    encode(&dir.join("other.mp4"), SECONDS / 2, "320x180", "300k", 880);
    breaks(&dir.join("breaks"), [&high, &at("other.mp4")]);
    periods(&dir.join("periods"), [&high, &at("other.mp4")]);
}

/// The playlists of two encodings as one, each with its own init segment.
fn breaks(dir: &Path, sources: [&str; 2]) {
    std::fs::create_dir_all(dir).unwrap();
    let mut all = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n".to_owned();
    for (number, from) in sources.into_iter().enumerate() {
        let (playlist, init) = (dir.join(format!("{number}.m3u8")), format!("{number}init.mp4"));
        let segments = dir.join(format!("{number}_%d.m4s")).display().to_string();
        let to = playlist.display().to_string();
        let mut args = vec!["-v", "error", "-i", from, "-c", "copy", "-f", "hls", "-hls_time", "2"];
        args.extend(["-hls_list_size", "0", "-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", &init]);
        args.extend(["-hls_segment_filename", &segments, &to]);
        ffmpeg(&args);
        let playlist = std::fs::read_to_string(playlist).unwrap();
        let media = playlist.lines().filter(|line| {
            ["#EXT-X-MAP", "#EXTINF"].iter().any(|tag| line.starts_with(tag)) || !line.starts_with('#')
        });
        all += if number > 0 { "#EXT-X-DISCONTINUITY\n" } else { "" };
        media.for_each(|line| all += &format!("{line}\n"));
    }
    std::fs::write(dir.join("index.m3u8"), all + "#EXT-X-ENDLIST\n").unwrap();
}

/// The Periods of two MPDs as one's, each found by a base URL of its own.
fn periods(dir: &Path, sources: [&str; 2]) {
    let mut all = String::new();
    for (number, from) in sources.into_iter().enumerate() {
        let folder = dir.join(number.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let to = folder.join("index.mpd").display().to_string();
        let dash = ["-seg_duration", "2", "-use_template", "1", "-use_timeline", "0", &to];
        ffmpeg(&[&["-v", "error", "-i", from, "-c", "copy", "-f", "dash"][..], &dash].concat());
        let mpd = std::fs::read_to_string(to).unwrap();
        let (_, sets) = mpd.split_once("<Period").and_then(|(_, rest)| rest.split_once('>')).unwrap();
        let (sets, _) = sets.split_once("</Period>").unwrap();
        let length = if number == 0 { SECONDS } else { SECONDS / 2 };
        write!(
            all,
            "<Period id=\"{number}\" duration=\"PT{length}S\"><BaseURL>{number}/</BaseURL>{sets}</Period>"
        )
        .unwrap();
    }
    let mpd = format!(
        "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
         profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" mediaPresentationDuration=\"PT{}S\" \
         minBufferTime=\"PT2S\">{all}</MPD>",
        SECONDS + SECONDS / 2
    );
    std::fs::write(dir.join("index.mpd"), mpd).unwrap();
}

/// Two pictures and two sounds, by a multivariant playlist.
fn variants(dir: &Path, high: &str, low: &str) {
    let at = |name: &str| dir.join("variants").join(name).display().to_string();
    let (playlists, segments) = (at("v%v.m3u8"), at("v%v_%d.ts"));
    let mut args = vec!["-v", "error", "-i", low, "-i", high];
    args.extend(["-map", "0:v", "-map", "1:v", "-map", "1:a", "-map", "0:a", "-c", "copy"]);
    args.extend(["-b:v:0", "200k", "-b:v:1", "700k", "-b:a:0", "96k", "-b:a:1", "96k"]);
    args.extend(["-f", "hls", "-hls_time", "2", "-hls_list_size", "0", "-hls_playlist_type", "vod"]);
    args.extend(["-master_pl_name", "index.m3u8", "-hls_segment_filename", &segments, "-var_stream_map"]);
    let map = "v:0,agroup:a v:1,agroup:a a:0,agroup:a,default:yes,language:en a:1,agroup:a,language:de";
    args.extend([map, &playlists]);
    ffmpeg(&args);
}

/// One file for each track, with an index in front (ISO/IEC 23009-1, 5.3.9.2, the on-demand profile).
fn base(dir: &Path, high: &str) {
    let mut sets = String::new();
    for (track, kind, codecs) in [("v", "video", "avc1.42c00d"), ("a", "audio", "mp4a.40.2")] {
        let to = dir.join(format!("{kind}.mp4")).display().to_string();
        // For a track without key frames of its own the length of a fragment is given in microseconds.
        let mut args = vec!["-v", "error", "-i", high, "-map", track, "-c", "copy", "-movflags"];
        args.extend(["+frag_keyframe+empty_moov+default_base_moof+dash+global_sidx"]);
        args.extend(if track == "a" { &["-frag_duration", "2000000"][..] } else { &[] });
        args.push(&to);
        ffmpeg(&args);
        let index = sidx(&std::fs::read(&to).unwrap());
        write!(
            sets,
            "<AdaptationSet contentType=\"{kind}\" mimeType=\"{kind}/mp4\" subsegmentAlignment=\"true\">\
             <Representation id=\"{track}\" codecs=\"{codecs}\" bandwidth=\"700000\">\
             <BaseURL>{kind}.mp4</BaseURL><SegmentBase indexRange=\"{}-{}\"><Initialization range=\"0-{}\"/>\
             </SegmentBase></Representation></AdaptationSet>",
            index.0,
            index.1 - 1,
            index.0 - 1
        )
        .unwrap();
    }
    let mpd = format!(
        "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" \
         profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\" type=\"static\" \
         mediaPresentationDuration=\"PT{SECONDS}S\" minBufferTime=\"PT2S\"><Period>{sets}</Period></MPD>"
    );
    std::fs::write(dir.join("index.mpd"), mpd).unwrap();
}

/// Where the index box begins and ends.
fn sidx(file: &[u8]) -> (usize, usize) {
    let mut at = 0;
    loop {
        let size = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        if &file[at + 4..at + 8] == b"sidx" {
            return (at, at + size);
        }
        at += size;
    }
}

/// The pictures that a growing stream is written from, and the hash of each.
pub struct Source {
    dir: tempfile::TempDir,
    pub frames: Vec<String>,
}

pub fn source() -> &'static Source {
    static SOURCE: OnceLock<Source> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let (file, list) = (dir.path().join("long.mp4"), dir.path().join("frames"));
        encode(&file, LONG, "320x180", "700k", 440);
        let (file, out) = (file.display().to_string(), list.display().to_string());
        ffmpeg(&["-v", "error", "-i", &file, "-map", "0:v", "-f", "framemd5", &out]);
        let frames = super::programs::hashes(&std::fs::read_to_string(list).unwrap());
        Source { dir, frames }
    })
}

/// A stream that is written into a folder in real time, for so many seconds at most, once it has four segments.
pub fn growing(dir: &Path, format: &str, seconds: u32) -> Process {
    let to = dir.join(manifest(format)).display().to_string();
    let (from, seconds) = (source().dir.path().join("long.mp4").display().to_string(), seconds.to_string());
    let hls = ["-f", "hls", "-hls_time", "2"];
    let dash = ["-f", "dash", "-seg_duration", "2", "-use_template", "1", "-window_size", "7"];
    let (muxer, more): (&[&str], &[&str]) = match format {
        "live" => (&hls, &["-hls_list_size", "6", "-hls_flags", "delete_segments+temp_file"]),
        "live-long" => (&hls, &["-hls_list_size", "9", "-hls_flags", "delete_segments+temp_file"]),
        "event" => (&hls, &["-hls_list_size", "0", "-hls_playlist_type", "event", "-hls_flags", "temp_file"]),
        "live-number" => (&dash, &["-extra_window_size", "5", "-use_timeline", "0"]),
        "live-list" => (&dash, &["-extra_window_size", "5", "-use_template", "0", "-use_timeline", "0"]),
        "live-timeline" => (&dash, &["-extra_window_size", "5", "-use_timeline", "1"]),
        _ => unreachable!("{format} does not grow"),
    };
    let start = ["-nostdin", "-v", "error", "-re", "-i", &from, "-t", &seconds, "-c", "copy"];
    let args = [&start, muxer, more, &[&to]].concat();
    let writer = Process::spawn("writer", Command::new("ffmpeg").args(args));
    until("four segments are there", || (segments(dir) >= if muxer == dash { 8 } else { 4 }).then_some(()));
    writer
}

/// How many media segments are there, those of all tracks together.
pub fn segments(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let media = |name: &str| name.ends_with(".ts") || (name.starts_with("chunk") && name.ends_with(".m4s"));
    names.filter(|name| media(&name.to_string_lossy())).count()
}
