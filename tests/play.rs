//! Real daemon, real origin, real players: what plays directly plays through paceline, byte for byte.

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sha2::{Digest, Sha256};

use common::{Daemon, Nginx, Process, ffmpeg, get, is_root, raw, recording};

/// The decoded frames of a stream, each with its hash.
fn frames(url: &str, env: &[(&str, &str)]) -> String {
    let out = tempfile::NamedTempFile::new().unwrap();
    let path = out.path().display().to_string();
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-v", "warning", "-y", "-i", url, "-f", "framemd5", &path])
        .envs(env.iter().copied());
    let mut process = Process::spawn("decoder", &mut command);
    assert!(process.wait(Duration::from_secs(120)), "{url} could not be decoded:\n{}", process.log());
    std::fs::read_to_string(path).unwrap()
}

fn same_frames_everywhere(dir: &Path, playlist: &str) {
    let origin = Nginx::serve(dir, "");
    let url = origin.url(playlist);
    let daemon = Daemon::start(&[], &[("PACELINE_CHANNELS_FILM", &url)]);
    let direct = frames(&url, &[]);
    assert!(
        direct.lines().filter(|line| !line.starts_with('#')).count() > 100,
        "the origin's own stream is empty"
    );
    let proxy = format!("http://{}", daemon.address);
    let ways = [
        frames(&daemon.prefix(&url), &[]),
        frames(&url, &[("http_proxy", &proxy)]),
        frames(&format!("{proxy}/film/index.m3u8"), &[]),
    ];
    for (way, played) in ["prefix", "forward proxy", "channel"].iter().zip(ways) {
        assert!(played == direct, "by {way} other frames came out");
    }
}

#[test]
fn transport_stream_recording() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), 22, &[]);
    same_frames_everywhere(dir.path(), "index.m3u8");
}

#[test]
fn fragmented_mp4_with_an_init_section() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), 14, &["-hls_segment_type", "fmp4"]);
    same_frames_everywhere(dir.path(), "index.m3u8");
}

#[test]
fn byte_ranges_of_one_file() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), 14, &["-hls_flags", "single_file"]);
    same_frames_everywhere(dir.path(), "index.m3u8");
}

#[test]
fn encrypted_with_a_key() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret.key"), b"0123456789abcdef").unwrap();
    let info = dir.path().join("info");
    std::fs::write(&info, format!("secret.key\n{}\n", dir.path().join("secret.key").display())).unwrap();
    recording(dir.path(), 14, &["-hls_key_info_file", &info.display().to_string()]);
    same_frames_everywhere(dir.path(), "index.m3u8");
}

#[test]
fn variants_with_alternative_audio() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (playlists, segments) = (at("v%v.m3u8"), at("v%v_%d.ts"));
    ffmpeg(&[
        "-v",
        "error",
        "-f",
        "lavfi",
        "-t",
        "14",
        "-i",
        "testsrc2=size=320x180:rate=25",
        "-f",
        "lavfi",
        "-t",
        "14",
        "-i",
        "sine=frequency=440",
        "-map",
        "0:v",
        "-map",
        "0:v",
        "-map",
        "1:a",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-g",
        "100",
        "-keyint_min",
        "100",
        "-sc_threshold",
        "0",
        "-b:v:0",
        "300k",
        "-b:v:1",
        "700k",
        "-c:a",
        "aac",
        "-f",
        "hls",
        "-hls_time",
        "4",
        "-hls_list_size",
        "0",
        "-hls_playlist_type",
        "vod",
        "-master_pl_name",
        "index.m3u8",
        "-var_stream_map",
        "v:0,agroup:a v:1,agroup:a a:0,agroup:a,default:yes",
        "-hls_segment_filename",
        &segments,
        &playlists,
    ]);
    same_frames_everywhere(dir.path(), "index.m3u8");
}

/// The lines of a playlist that are addresses.
fn addresses(playlist: &str) -> Vec<String> {
    playlist.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_segment_is_the_origins_by_every_way_in() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), 30, &[]);
    let origin = Nginx::serve(dir.path(), "");
    let url = origin.url("index.m3u8");
    let daemon = Daemon::start(&[], &[("PACELINE_CHANNELS_FILM", &url)]);
    let files: Vec<Vec<u8>> =
        (0..8).map(|number| std::fs::read(dir.path().join(format!("index{number}.ts"))).unwrap()).collect();
    // A path here, or for the forward proxy the whole address of the origin.
    let ask = |target: &str, host: &str| {
        let head =
            format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: test\r\nConnection: close\r\n\r\n");
        let reply = raw(daemon.address, &head).unwrap();
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        reply
    };
    let (here, there) = (daemon.address.to_string(), origin.address.to_string());
    let at = format!("http://{here}");
    for (way, playlist, host) in [
        ("prefix", format!("/{url}"), &here),
        ("forward proxy", url.clone(), &there),
        ("channel", "/film/index.m3u8".to_owned(), &here),
    ] {
        let text = ask(&playlist, host).text();
        let base = url::Url::parse(&at).unwrap().join(&playlist).unwrap();
        let mut hashes = 0;
        for (address, file) in addresses(&text).iter().zip(&files) {
            let target = base.join(address).unwrap().to_string();
            let reply = ask(target.strip_prefix(&at).unwrap_or(&target), host);
            assert!(Sha256::digest(&reply.body) == Sha256::digest(file), "{way}: {address} is another file");
            hashes += 1;
        }
        assert_eq!(hashes, files.len(), "{way}: {text}");
    }
    // One memory for all three ways: the second and third asked the origin for nothing.
    assert_eq!(origin.sent(".ts").0, files.len() as u64);
}

#[test]
fn vlc_plays_half_a_minute() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), 40, &[]);
    // VLC refuses to run as root: the folder has to be readable, VLC runs as nobody.
    let origin = Nginx::serve(dir.path(), "");
    let daemon = Daemon::start(&[], &[]);
    let url = daemon.prefix(&origin.url("index.m3u8"));
    let vlc = [
        "--intf",
        "dummy",
        "--vout",
        "dummy",
        "--aout",
        "dummy",
        "--no-video-title-show",
        "-v",
        "--run-time",
        "30",
        "--play-and-exit",
        &url,
        "vlc://quit",
    ];
    // setpriv becomes VLC, so that what ends the one ends the other; runuser would leave it behind.
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "env", "HOME=/tmp", "cvlc"]);
        command
    } else {
        Command::new("cvlc")
    };
    let mut player = Process::spawn("vlc", command.args(vlc));
    assert!(player.wait(Duration::from_secs(120)), "VLC failed:\n{}", player.log());
    let log = player.log();
    // That there is no desktop is no fault of the stream's.
    let desktop =
        |line: &str| [" interface error: ", " libvlc error: "].iter().any(|part| line.contains(part));
    let complaint = log
        .lines()
        .find(|line| line.contains("discontinuity") || (line.contains(" error: ") && !desktop(line)));
    assert_eq!(complaint, None, "VLC complains:\n{log}");
    let (requests, _) = origin.sent(".ts");
    assert!(requests >= 8, "30 s of 4 s segments are at least 8, VLC took {requests}:\n{log}");
    assert_eq!(daemon.stats()["streams"][0]["late_segments"], 0);
}

#[test]
fn every_byte_header_and_range_is_the_origins() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), 10, &[]);
    std::fs::write(dir.path().join("page.html"), "<script>alert(1)</script>").unwrap();
    let origin = Nginx::serve(dir.path(), "location /moved { return 302 /index1.ts; }");
    let daemon = Daemon::start(&[], &[]);
    let segment = std::fs::read(dir.path().join("index1.ts")).unwrap();
    let url = origin.url("index1.ts");
    for listed in [false, true] {
        if listed {
            assert!(daemon.get(&origin.url("index.m3u8")).text().contains("/http://"));
        }
        let whole = daemon.get(&url);
        assert_eq!((whole.status, whole.body == segment), (200, true), "listed: {listed}");
        assert_eq!(whole.headers["content-type"], "video/mp2t");
        assert!(
            whole.headers.contains_key("x-paceline-source") && whole.headers.contains_key("server-timing")
        );
        let host = daemon.address;
        let ask = |method: &str, range: &str| {
            let request = format!(
                "{method} /{url} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: test\r\nRange: {range}\r\nConnection: close\r\n\r\n"
            );
            raw(host, &request).unwrap()
        };
        let part = ask("GET", "bytes=100-299");
        assert_eq!((part.status, &part.body[..]), (206, &segment[100..300]));
        assert_eq!(part.headers["content-range"], format!("bytes 100-299/{}", segment.len()));
        assert_eq!(ask("GET", "bytes=0-").body, segment);
        let tail = ask("GET", "bytes=-50");
        assert_eq!((tail.status, &tail.body[..]), (206, &segment[segment.len() - 50..]));
        let head = ask("HEAD", "bytes=0-9");
        assert!(head.body.is_empty() && head.status < 300);
    }
    assert_eq!(daemon.get(&origin.url("moved")).body, segment, "redirects are followed inside");
    let gone = daemon.get(&origin.url("nothing.ts"));
    assert_eq!(gone.status, 404);
    assert!(gone.headers["server"].starts_with("nginx"), "the origin's own error is passed on");
    let page = daemon.get(&origin.url("page.html"));
    assert_eq!(page.headers["content-security-policy"], "sandbox; default-src 'none'");
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
}

#[test]
fn strangers_and_loops_are_refused_before_anything_is_fetched() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.txt"), "a").unwrap();
    let origin = Nginx::serve(dir.path(), "");
    let daemon = Daemon::start(&[], &[]);
    let before = origin.log().len();
    let url = origin.url("a.txt");
    let ask =
        |head: &str| raw(daemon.address, &format!("GET /{url} HTTP/1.1\r\n{head}\r\n\r\n")).map(|r| r.status);
    let host = format!("Host: {}", daemon.address);
    assert_eq!(ask("Host: evil.example"), Some(421));
    assert_eq!(ask(&format!("Host: evil.example:{}", daemon.address.port())), Some(421));
    assert_eq!(ask("X: y"), Some(400));
    assert_eq!(ask(&format!("{host}\r\nOrigin: https://evil.example")), Some(403));
    assert_eq!(ask(&format!("{host}\r\nSec-Fetch-Site: cross-site")), Some(403));
    assert_eq!(ask(&format!("{host}\r\nSec-Fetch-Dest: document")), Some(403));
    let itself = get(daemon.address, &format!("/http://{}/-/stats", daemon.address)).unwrap();
    assert_eq!(itself.status, 508);
    let form = format!(
        "POST /-/p2p HTTP/1.1\r\n{host}\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n{{\"p2p\":false}}"
    );
    assert_eq!(raw(daemon.address, &form).map(|r| r.status), Some(403));
    assert_eq!(origin.log().len(), before, "the origin heard nothing of it");
    // Two framings in one request (RFC 9112 §6.3): one request arrives, or none, but never the one hidden in its body.
    let smuggled = format!(
        "POST /{url} HTTP/1.1\r\n{host}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
         GET /hidden HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    );
    raw(daemon.address, &smuggled);
    assert!(origin.log().iter().all(|(_, path, ..)| path != "/hidden"), "{:?}", origin.log());
    assert!(daemon.healthy());
}
