//! The headless player, the synthetic channel, `watch` and `demo`: what they report is true, and real players agree.

mod common;

use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{Daemon, ffmpeg, get, until};
use paceline::viewer::channel::{Channel, Options};
use paceline::viewer::player::{self, Outcome, Watch};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn channel(options: Options) -> Channel {
    Channel::start(listener().await, options).unwrap()
}

/// A recording that plays for so many seconds, a segment each.
fn recording(seconds: u64) -> Options {
    Options { recording: Some(seconds), segment_s: 1, ..Options::default() }
}

async fn blocking<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(what).await.unwrap()
}

/// Plays to the end, or until `enough` is true of the outcome.
async fn play(url: &str, enough: impl Fn(&Outcome) -> bool) -> Outcome {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let (progress, mut seen) = tokio::sync::watch::channel(Outcome::default());
    let watch = Watch { url: Url::parse(url).unwrap(), via: None, agent: "test".to_owned() };
    let playing = tokio::spawn(player::play(watch, stopped, progress));
    while seen.changed().await.is_ok() {
        if enough(&seen.borrow()) {
            stop.send_replace(true);
        }
    }
    playing.await.unwrap().unwrap()
}

fn to_the_end(_: &Outcome) -> bool {
    false
}

fn ffprobe(args: &[&str]) -> String {
    let output = Command::new("ffprobe").args(["-v", "error"]).args(args).stdin(Stdio::null()).output();
    let output =
        output.unwrap_or_else(|error| panic!("ffprobe: {error}; install it: apt-get install ffmpeg"));
    String::from_utf8(output.stdout).unwrap()
}

fn paceline(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_paceline")).args(args).stdin(Stdio::null()).output().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One JSON document and nothing else, or it doesn't parse.
fn document(output: &[u8]) -> Value {
    serde_json::from_slice(output)
        .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(output)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_decoder_finds_nothing_wrong_with_the_channel() {
    for bit_rate in [400_000, 1_000_000, 4_000_000] {
        let channel = channel(Options { bit_rate, recording: Some(40), ..Options::default() }).await;
        let address = channel.address;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        blocking(move || {
            let mut joined = Vec::new();
            // From the beginning, and where the continuity counters and the segment's digits have moved on.
            for number in [0, 1, 2, 37, 38, 39] {
                let bytes = get(address, &format!("/live/seg{number}.ts")).unwrap().body;
                let file = path.join(format!("{number}.ts")).display().to_string();
                std::fs::write(&file, &bytes).unwrap();
                assert_eq!(
                    ffmpeg(&["-v", "warning", "-i", &file, "-f", "null", "-"]),
                    "",
                    "segment {number}"
                );
                let told = ffprobe(&["-show_entries", "format=duration", "-of", "csv=p=0", &file]);
                let duration: f64 = told.trim().parse().unwrap();
                assert!((duration - 4.0).abs() < 0.001, "segment {number} plays {duration} s");
                let rate = bytes.len() as f64 * 8.0 / 4.0;
                assert!((0.75..1.25).contains(&(rate / bit_rate as f64)), "{rate} of {bit_rate} bit/s");
                if number >= 37 {
                    joined.extend(bytes);
                }
            }
            let file = path.join("joined.ts").display().to_string();
            std::fs::write(&file, joined).unwrap();
            assert_eq!(ffmpeg(&["-v", "warning", "-i", &file, "-f", "null", "-"]), "", "three in a row");
            let told = ffprobe(&["-show_entries", "packet=pts,dts,flags", "-of", "csv=p=0", &file]);
            let packets: Vec<&str> = told.lines().filter(|line| !line.is_empty()).collect();
            let times: Vec<i64> =
                packets.iter().map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
            // To the tick of the 90 kHz clock: not every rate of pictures divides it.
            let due = |index: usize| times[0] + (index * 12 * 90_000 / times.len()) as i64;
            let off =
                times.iter().enumerate().filter(|(index, time)| (due(*index) - **time).abs() > 1).count();
            assert_eq!(off, 0, "evenly spaced over 12 s: {times:?}");
            assert!(packets.iter().all(|packet| packet.contains('K')), "each is a key picture");
        })
        .await;
        channel.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_player_joins_the_live_channel() {
    let channel = channel(Options { segment_s: 1, ..Options::default() }).await;
    let url = channel.url();
    let complaints =
        blocking(move || ffmpeg(&["-v", "warning", "-re", "-i", &url, "-t", "8", "-f", "null", "-"])).await;
    assert_eq!(complaints, "");
    channel.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_channel_is_the_same_twice_and_unlike_itself() {
    let first = channel(recording(60)).await;
    let second = channel(recording(60)).await;
    let other = channel(Options { seed: 8, ..recording(60) }).await;
    let mut seen = std::collections::BTreeSet::new();
    // More than are kept, there and back.
    for number in (0..60).chain((0..60).rev()) {
        assert_eq!(first.sha256(number), second.sha256(number));
        assert_ne!(first.sha256(number), other.sha256(number));
        seen.insert(first.sha256(number));
    }
    assert_eq!(seen.len(), 60);
    let address = first.address;
    blocking(move || {
        let range = |range: &str| {
            let head = format!("Host: {address}\r\nRange: {range}\r\nConnection: close\r\n\r\n");
            common::raw(address, &format!("GET /live/seg1.ts HTTP/1.1\r\n{head}")).unwrap()
        };
        let whole = get(address, "/live/seg1.ts").unwrap();
        assert_eq!(whole.headers["content-type"], "video/mp2t");
        let part = range("bytes=100-199");
        assert_eq!((part.status, &part.body[..]), (206, &whole.body[100..200]));
        assert_eq!(part.headers["content-range"], format!("bytes 100-199/{}", whole.body.len()));
        assert_eq!(range("bytes=-7").body, whole.body[whole.body.len() - 7..]);
        let beyond = range("bytes=99999999-");
        assert_eq!((beyond.status, beyond.body.len()), (416, 0));
        let request = format!("HEAD /live/seg1.ts HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let head = common::raw(address, &request).unwrap();
        assert_eq!((head.status, head.headers["content-length"].parse()), (200, Ok(whole.body.len())));
        assert_eq!(get(address, "/live/seg60.ts").unwrap().status, 404);
        assert_eq!(get(address, "/live/../secret").unwrap().status, 404);
    })
    .await;
    let length = first.served().bytes - 107;
    assert_eq!(first.served().by_segment[&1], 4, "HEAD is no request for a segment's bytes");
    assert_eq!(length % 188, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_played_to_its_end_in_real_time() {
    let channel = channel(recording(15)).await;
    let began = std::time::Instant::now();
    let outcome = play(&channel.url(), to_the_end).await;
    assert!(began.elapsed().as_millis() >= 15_000, "no faster than it plays: {:?}", began.elapsed());
    assert!(outcome.ended);
    assert_eq!((outcome.segments, outcome.missed, outcome.failures), (15, 0, 0));
    assert_eq!(outcome.played.as_secs(), 15);
    assert_eq!(outcome.bytes, channel.served().bytes);
    assert!((0..15).all(|number| outcome.checksums[&number] == channel.sha256(number)));
    let address = channel.address;
    let direct = blocking(move || {
        let mut all = Sha256::new();
        (0..15).for_each(|n| all.update(get(address, &format!("/live/seg{n}.ts")).unwrap().body));
        all.finalize()
    })
    .await;
    assert_eq!(hex(&outcome.sha256), hex(&direct), "of all segments in order");
    channel.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_begins_three_segments_from_the_edge_and_misses_nothing() {
    let channel = channel(Options { segment_s: 1, bit_rate: 400_000, ..Options::default() }).await;
    let outcome = play(&channel.url(), |outcome| outcome.segments >= 8).await;
    let first = *outcome.checksums.keys().next().unwrap();
    assert_eq!(first, 3, "the window is 0 to 5 at first");
    assert_eq!((outcome.missed, outcome.failures), (0, 0));
    assert_eq!(outcome.checksums.len() as u64, outcome.segments);
    assert_eq!(
        outcome.checksums.keys().copied().collect::<Vec<_>>(),
        (3..3 + outcome.segments).collect::<Vec<_>>()
    );
    channel.stop().await;
}

/// An origin that answers by a function of the path and of how often that path was asked for before.
async fn origin(
    answer: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = listener().await;
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (log, answer) = (Arc::clone(&asked), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    head.push(byte);
                }
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap().to_owned();
                let before = log.lock().unwrap().iter().filter(|asked| **asked == path).count();
                log.lock().unwrap().push(path.clone());
                let _ = stream.write_all(&answer(&path, before)).await;
            });
        }
    });
    (url, asked)
}

fn reply(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn playlist(first: u64, segments: &[&str], end: bool) -> Vec<u8> {
    let mut text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
    segments.iter().for_each(|segment| text += &format!("#EXTINF:1,\n{segment}\n"));
    if end {
        text += "#EXT-X-ENDLIST\n";
    }
    reply("200 OK", "", text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_ranges_and_the_best_variant_are_followed() {
    let (url, asked) = origin(|path, _| match path {
        "/start" => reply("302 Found", "Location: /far/master.m3u8?token=t\r\n", b""),
        "/far/master.m3u8?token=t" => {
            let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100\nlow.m3u8\n\
                        #EXT-X-STREAM-INF:BANDWIDTH=900\nhigh.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=500\nmid.m3u8\n";
            reply("200 OK", "", text.as_bytes())
        }
        "/far/high.m3u8" => {
            let text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n#EXT-X-BYTERANGE:3@2\nall.ts\n\
                        #EXTINF:1,\n#EXT-X-BYTERANGE:4\nall.ts\n#EXT-X-ENDLIST\n";
            reply("200 OK", "", text.as_bytes())
        }
        // Ignores ranges, as an origin may.
        "/far/all.ts" => reply("200 OK", "", b"0123456789"),
        other => panic!("nobody may ask for {other}"),
    })
    .await;
    let outcome = play(&format!("{url}/start"), to_the_end).await;
    assert_eq!(outcome.errors, Vec::<String>::new());
    assert_eq!((outcome.segments, outcome.bytes), (2, 7));
    assert_eq!(hex(&outcome.sha256), hex(&Sha256::digest(b"2345678")));
    assert_eq!(asked.lock().unwrap().len(), 5, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_master_defines_is_filled_in() {
    let (url, _) = origin(|path, _| match path {
        "/master.m3u8" => {
            let text = "#EXTM3U\n#EXT-X-DEFINE:NAME=\"folder\",VALUE=\"media\"\n#EXT-X-STREAM-INF:BANDWIDTH=100\nlist.m3u8\n";
            reply("200 OK", "", text.as_bytes())
        }
        "/list.m3u8" => {
            let text = "#EXTM3U\n#EXT-X-DEFINE:IMPORT=\"folder\"\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{$folder}/a.ts\n#EXT-X-ENDLIST\n";
            reply("200 OK", "", text.as_bytes())
        }
        "/media/a.ts" => reply("200 OK", "", b"media"),
        other => panic!("nobody may ask for {other}"),
    })
    .await;
    let outcome = play(&format!("{url}/master.m3u8"), to_the_end).await;
    assert_eq!(outcome.errors, Vec::<String>::new());
    assert_eq!((outcome.segments, outcome.missed, outcome.bytes), (1, 0, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_and_told_without_secrets() {
    let (url, _) = origin(|path, before| match (path, before) {
        ("/index.m3u8?token=secret", 0) => reply("503 Service Unavailable", "", b""),
        ("/index.m3u8?token=secret", 1) => reply("200 OK", "", b"<html>no playlist</html>"),
        ("/index.m3u8?token=secret", _) => playlist(0, &["a.ts?token=secret", "b.ts", "c.ts"], true),
        ("/a.ts?token=secret", 0) => reply("404 Not Found", "", b""),
        ("/a.ts?token=secret", 1) => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec(),
        ("/a.ts?token=secret", 2) => reply("302 Found", "Location: /a.ts?token=secret\r\n", b""),
        ("/a.ts?token=secret", ..14) => reply("302 Found", "Location: /a.ts?token=secret\r\n", b""),
        ("/a.ts?token=secret", _) => reply("200 OK", "", b"first"),
        ("/b.ts", _) => reply("200 OK", "", b"second"),
        ("/c.ts", _) => reply("200 OK", "", b"third"),
        (other, _) => panic!("nobody may ask for {other}"),
    })
    .await;
    let outcome = play(&format!("{url}/index.m3u8?token=secret"), to_the_end).await;
    assert_eq!((outcome.segments, outcome.missed), (3, 0));
    assert_eq!(
        hex(&outcome.sha256),
        hex(&Sha256::digest(b"firstsecondthird")),
        "nothing of the failed tries"
    );
    let errors = outcome.errors.join("\n");
    assert_eq!(outcome.failures, 5, "{errors}");
    for word in ["503", "not an HLS playlist", "404", "redirected"] {
        assert!(errors.contains(word), "{word} is not in {errors}");
    }
    assert!(!errors.contains("secret"), "{errors}");
    assert_eq!(outcome.startup.map(|startup| startup.as_millis() >= 2_500), Some(true), "five pauses");
    assert_eq!(outcome.stalls, 0, "waiting for the first segment is no stall");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_window_that_jumps_or_begins_anew_is_followed() {
    let loads = AtomicUsize::new(0);
    let (url, _) = origin(move |path, _| match path {
        "/index.m3u8" => match loads.fetch_add(1, Ordering::SeqCst) {
            0 => playlist(100, &["s100", "s101", "s102", "s103"], false),
            // 104 to 109 came and went.
            1 => playlist(110, &["s110", "s111", "s112", "s113"], false),
            // A cache has an older copy.
            2 => playlist(109, &["s109", "s110", "s111", "s112"], false),
            _ => playlist(0, &["s0", "s1", "s2", "s3"], false),
        },
        segment => reply("200 OK", "", segment.as_bytes()),
    })
    .await;
    let outcome = play(&format!("{url}/index.m3u8"), |outcome| outcome.checksums.contains_key(&3)).await;
    let taken: Vec<u64> = outcome.checksums.keys().copied().collect();
    assert_eq!(taken, [1, 2, 3, 101, 102, 103, 110, 111, 112, 113]);
    assert_eq!(outcome.segments, taken.len() as u64, "none twice");
    assert_eq!((outcome.missed, outcome.failures), (6, 1), "{:?}", outcome.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_reported_while_it_lasts() {
    let (url, _) = origin(|path, _| match path {
        "/index.m3u8" => playlist(0, &["a.ts", "b.ts"], true),
        "/a.ts" => reply("200 OK", "", b"first"),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".to_vec(),
    })
    .await;
    let outcome = play(&format!("{url}/index.m3u8"), |outcome| outcome.stalled.as_millis() > 500).await;
    assert_eq!((outcome.segments, outcome.stalls, outcome.played.as_millis()), (1, 1, 1000));
}

fn watch(args: &[&str]) -> Value {
    let output = paceline(&[&["watch", "--json"], args].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    document(&output.stdout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_plays_in_real_time_and_gets_the_same_bytes_through_a_daemon() {
    let channel = channel(Options { recording: Some(4), ..Options::default() }).await;
    let (url, played) = (channel.url(), 16.0);
    let both = tokio::task::spawn_blocking(move || {
        let daemon = Daemon::start(&[], &[]);
        let via = daemon.address.to_string();
        std::thread::scope(|scope| {
            let direct = scope.spawn(|| watch(&[&url]));
            let through = scope.spawn(|| watch(&[&url, "--via", &via]));
            (direct.join().unwrap(), through.join().unwrap())
        })
    });
    let (direct, through) = both.await.unwrap();
    assert_eq!(direct["sha256"], through["sha256"]);
    for outcome in [&direct, &through] {
        assert_eq!((&outcome["segments"], &outcome["stalls"]), (&4.into(), &0.into()), "{outcome}");
        assert_eq!(outcome["played_s"].as_f64(), Some(played), "{outcome}");
        assert_eq!(outcome["ended"], true);
    }
    channel.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_prints_one_document_and_ends_when_it_is_told_to() {
    let channel = channel(Options { segment_s: 1, ..Options::default() }).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    command.args(["watch", &channel.url(), "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let channel = Arc::new(channel);
    let seen = Arc::clone(&channel);
    let told = blocking(move || {
        until("some segments were taken", || (seen.served().requests >= 4).then_some(()));
        let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        child.wait_with_output().unwrap()
    })
    .await;
    assert_eq!(told.status.code(), Some(0), "{}", String::from_utf8_lossy(&told.stderr));
    let told = document(&told.stdout);
    for key in ["startup_ms", "stalls", "stall_ms", "played_s", "segments", "bytes"] {
        assert!(told[key].is_number(), "{key} in {told}");
    }
    assert!(told["bytes"].as_u64().unwrap() <= channel.served().bytes);
    assert_eq!(told["sha256"].as_str().unwrap().len(), 64);
    assert_eq!((&told["failures"], &told["ended"]), (&0.into(), &false.into()));
    let url = channel.url();
    let output = blocking(move || paceline(&["watch", &url, "--seconds", "1"])).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("started") && text.contains("sha256"), "{text}");
    assert!(output.stderr.is_empty(), "no progress without a terminal");
}

#[test]
fn watch_says_why_it_can_t() {
    let nowhere = format!("http://127.0.0.1:{}/x.m3u8", common::free_port());
    let output = paceline(&["watch", &nowhere, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(document(&output.stdout)["segments"], 0);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("refused"), "{said}");
    for wrong in [&["watch", "x.m3u8"][..], &["watch", &nowhere, "--seconds", "0"], &["watch"]] {
        assert_eq!(paceline(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn http_plays_where_no_certificate_authorities_are() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let channel = runtime.block_on(channel(recording(2)));
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
    let output = command.args(["watch", &channel.url(), "--json"]).output().unwrap();
    assert_eq!(document(&output.stdout)["ended"], true, "{output:?}");
}

#[test]
fn the_demo_sums_up_in_one_document_what_the_channel_saw() {
    let output = paceline(&["demo", "--viewers", "3", "--seconds", "30", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = document(&output.stdout);
    assert_eq!((&told["viewers"], &told["seconds"]), (&3.into(), &30.into()), "{told}");
    assert_eq!((&told["mismatches"], &told["errors"]), (&0.into(), &0.into()), "{told}");
    assert_eq!(told["stalls"], 0, "{told}");
    assert!(told["p2p_bytes"].as_u64().unwrap() > 1_000_000, "{told}");
    assert_eq!(told["origin_bytes"], told["http_bytes"], "both ends count the same");
    for key in ["peer_efficiency", "peer_efficiency_steady", "ceiling", "wasted_bytes", "stall_ms"] {
        assert!(told[key].is_number(), "{key} in {told}");
    }
    for key in ["startup_ms_p50", "startup_ms_p99"] {
        assert!(told[key].is_number(), "{key} in {told}");
    }
    let each = told["per_viewer"].as_array().unwrap();
    assert!(each.len() == 3 && each.iter().all(|viewer| viewer["segments"].as_u64() >= Some(6)), "{told}");
    for viewer in each {
        assert_eq!(viewer["neighbours"], 2, "{viewer}");
        let reasons = viewer["reasons"].as_object().unwrap();
        let counted: u64 = reasons.values().map(|count| count.as_u64().unwrap()).sum();
        assert!(counted >= viewer["segments"].as_u64().unwrap(), "each has one: {viewer}");
        assert!(reasons["start-up"].as_u64() >= Some(1), "{viewer}");
    }
    let from_peers = |viewer: &Value| viewer["reasons"]["prefetch"].as_u64() >= Some(1);
    assert!(each.iter().any(from_peers), "{told}");
    let readme = std::fs::read_to_string("README.md").unwrap();
    for key in told.as_object().unwrap().keys().map(String::as_str).filter(|key| *key != "per_viewer") {
        assert!(readme.contains(&format!("`{key}`")), "the README lacks {key} of the demo's document");
    }
}

#[test]
fn demo_ends_with_a_summary_when_interrupted_and_keeps_standard_output_for_it() {
    for (args, signal) in [(&["--seconds", "600"][..], "-INT"), (&["--seconds", "2", "--keep"], "-TERM")] {
        let dir = tempfile::tempdir().unwrap();
        let (out, err) = (dir.path().join("out"), dir.path().join("err"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        command.args(["demo", "--viewers", "1", "--json"]).args(args);
        command.stdout(std::fs::File::create(&out).unwrap()).stderr(std::fs::File::create(&err).unwrap());
        let mut child = command.spawn().unwrap();
        until("the demo runs", || {
            let said = std::fs::read_to_string(&err).unwrap();
            // A line of progress, or what --keep says.
            (said.contains("from the origin") && !args.contains(&"--keep") || said.contains("ffplay"))
                .then_some(())
        });
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        assert!(child.wait().unwrap().success());
        let told = document(&std::fs::read(&out).unwrap());
        assert!(told["origin_bytes"].as_u64().unwrap() > 0, "{told}");
        assert_eq!(told["peer_efficiency_steady"], Value::Null, "nobody was past the first 20 s");
    }
}
