//! `paceline check`: what it says of real streams is true, and what it proposes works.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use common::{Nginx, live, presentation, recording};
use paceline::config::Config;
use paceline::manifest::identity::Rules;
use serde_json::Value;
use url::Url;

fn check(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    command.arg("check").args(args).stdin(Stdio::null()).output().unwrap()
}

/// Exit status, standard output, standard error.
fn told(args: &[&str]) -> (i32, String, String) {
    let output = check(args);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert!(!out.contains('\x1b') && !error.contains('\x1b'), "colours without a terminal: {out}{error}");
    (output.status.code().unwrap(), out, error)
}

/// Exit status and the one document.
fn document(args: &[&str]) -> (i32, Value) {
    let (status, out, error) = told(&[&["--json"][..], args].concat());
    (status, serde_json::from_str(&out).unwrap_or_else(|why| panic!("{why}: {out}{error}")))
}

/// The severity of the finding that says `what`.
fn severity(document: &Value, what: &str) -> String {
    let all = document["findings"].as_array().unwrap();
    let found = all.iter().find(|finding| finding["what"].as_str().unwrap().contains(what));
    let found = found.unwrap_or_else(|| panic!("nothing says {what:?}: {document:#}"));
    assert_eq!(found["advice"].is_null(), found["severity"] == "ok", "{found}");
    found["severity"].as_str().unwrap().to_owned()
}

/// A playlist of so many segments of 4 s, under the path `folder`; a recording when it ends.
fn playlist(first: u64, count: u64, folder: &str, end: bool) -> Vec<u8> {
    let segments: String =
        (first..first + count).map(|n| format!("#EXTINF:4,\n{folder}seg{n}.ts\n")).collect();
    let end = if end { "#EXT-X-ENDLIST\n" } else { "" };
    format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{first}\n{segments}{end}").into_bytes()
}

/// What an origin answers: headers, each with its line end, and a body; `None` is 404, and a Location redirects.
type Answer = Option<(String, Vec<u8>)>;

fn plain(body: Vec<u8>) -> Answer {
    Some((String::new(), body))
}

/// An origin that may answer each request differently. It is given the path and how many requests came before.
struct Origin {
    address: SocketAddr,
    ending: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<String>>>,
    accepting: Option<JoinHandle<()>>,
}

impl Origin {
    fn start(answer: impl Fn(&str, u64) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (ending, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (answer, count) = (Arc::new(answer), Arc::new(AtomicU64::new(0)));
        let (end, log) = (Arc::clone(&ending), Arc::clone(&asked));
        let accepting = std::thread::spawn(move || {
            let mut serving = Vec::new();
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                let (answer, count, log) = (Arc::clone(&answer), Arc::clone(&count), Arc::clone(&log));
                serving.push(std::thread::spawn(move || {
                    let Some((path, mut stream)) = stream.ok().and_then(request) else { return };
                    log.lock().unwrap().push(path.clone());
                    let (status, (headers, body)) = match answer(&path, count.fetch_add(1, Ordering::SeqCst))
                    {
                        Some(answer) if answer.0.starts_with("Location") => ("302 Found", answer),
                        Some(answer) => ("200 OK", answer),
                        None => ("404 Not Found", (String::new(), Vec::new())),
                    };
                    let head = format!(
                        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n",
                        body.len()
                    );
                    // Whoever asked may have gone.
                    let _ = stream.write_all(&[head.as_bytes(), &body].concat());
                }));
            }
            serving.into_iter().for_each(|one| one.join().unwrap());
        });
        Self { address, ending, asked, accepting: Some(accepting) }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // The accepting thread sees the end with the next connection.
        let _ = TcpStream::connect(self.address);
        let ended = self.accepting.take().unwrap().join();
        assert!(std::thread::panicking() || ended.is_ok(), "the origin failed");
    }
}

/// The path that is asked for, without its query.
fn request(stream: TcpStream) -> Option<(String, TcpStream)> {
    let mut lines = BufReader::new(stream);
    let (mut first, mut line) = (String::new(), String::new());
    lines.read_line(&mut first).ok()?;
    while lines.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    let path = first.split([' ', '?']).nth(1)?.to_owned();
    Some((path, lines.into_inner()))
}

/// Sixteen hexadecimal digits, others each time.
fn token(count: u64) -> String {
    format!("{:016x}", (count + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_recording_is_fit() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), 40, &[]);
    let nginx = Nginx::serve(dir.path(), "");
    let (status, out, error) = told(&[&nginx.url("index.m3u8?token=CANARY")]);
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("ok      complete recording of 40 s, 10 segments of 4.0 s\n"), "{out}");
    assert!(out.contains("ok      the origin answers Range requests\n"), "{out}");
    assert!(out.contains("ok      not encrypted\n"), "{out}");
    assert_eq!(out.lines().last(), Some("fit for P2P"), "{out}");

    let url = nginx.url("index.m3u8?token=CANARY");
    let (status, document) = document(&[&url]);
    assert_eq!((status, &document["fit"], document["kind"].as_str()), (0, &Value::Bool(true), Some("vod")));
    assert_eq!(document["url"], nginx.url("index.m3u8"), "what may be secret is not told");
    assert!(document["proposed_rule"].is_null());
    let largest = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap());
    let segments = largest.filter(|file| file.path().extension().is_some_and(|it| it == "ts"));
    let largest = segments.map(|file| file.metadata().unwrap().len()).max().unwrap();
    let told = document["renditions"][0]["largest_bytes"].as_u64().unwrap();
    assert!(told > 0 && told <= largest, "{told} of {largest}");
    // First, middle and last are asked for a byte, and the last is loaded by both viewers.
    let twice: u64 =
        nginx.log().iter().filter(|(.., status, _)| *status == 206).map(|(.., bytes)| bytes).sum();
    assert_eq!(twice, 6, "one byte each, in two runs");
    assert_eq!(
        nginx
            .log()
            .iter()
            .filter(|(_, path, status, _)| path.ends_with("index9.ts") && *status == 200)
            .count(),
        4
    );
}

#[test]
fn every_variant_of_a_master_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let (low, high) = (dir.path().join("low"), dir.path().join("high"));
    for folder in [&low, &high] {
        std::fs::create_dir(folder).unwrap();
        recording(folder, 12, &[]);
    }
    write(
        dir.path(),
        "master.m3u8",
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=800000\nlow/index.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=1600000\nhigh/index.m3u8\n\
         #EXT-X-STREAM-INF:BANDWIDTH=3200000\ngone/index.m3u8\n",
    );
    let nginx = Nginx::serve(dir.path(), "");
    let (status, document) = document(&[&nginx.url("master.m3u8")]);
    assert_eq!(status, 0, "{document:#}");
    let names: Vec<&str> =
        document["renditions"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["low/index.m3u8", "high/index.m3u8"]);
    assert_eq!(document["renditions"][1]["bit_rate"], 1_600_000);
    assert_eq!(severity(&document, "gone/index.m3u8: the origin answered 404"), "advice");
    assert_eq!(severity(&document, "3 renditions, 0.8 to 1.6 Mbit/s"), "ok");
}

#[test]
fn variables_that_the_master_defines_are_known() {
    let origin = Origin::start(|path, _| {
        match path {
        "/master.m3u8" => plain(
            b"#EXTM3U\n#EXT-X-DEFINE:NAME=\"folder\",VALUE=\"media\"\n#EXT-X-STREAM-INF:BANDWIDTH=800000\nlist.m3u8\n"
                .to_vec(),
        ),
        "/list.m3u8" => {
            let list = String::from_utf8(playlist(0, 12, "{$folder}/", true)).unwrap();
            plain(list.replacen('\n', "\n#EXT-X-DEFINE:IMPORT=\"folder\"\n", 1).into_bytes())
        }
        _ if path.starts_with("/media/seg") => plain(b"the same".to_vec()),
        _ => None,
    }
    });
    let (status, document) = document(&[&origin.url("master.m3u8")]);
    assert_eq!(severity(&document, "12 segments of 4.0 s"), "ok", "{document:#}");
    assert!(origin.asked().contains(&"/media/seg11.ts".to_owned()), "{:?}", origin.asked());
    assert_eq!(status, 0, "{document:#}");
}

#[test]
fn byte_ranges_of_one_file_are_segments() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), 12, &["-hls_flags", "single_file"]);
    let nginx = Nginx::serve(dir.path(), "");
    let (status, document) = document(&[&nginx.url("index.m3u8")]);
    assert_eq!(status, 0, "{document:#}");
    let whole = std::fs::metadata(dir.path().join("index.ts")).unwrap().len();
    let rendition = &document["renditions"][0];
    assert!(rendition["largest_bytes"].as_u64().is_some_and(|largest| largest < whole / 2), "{rendition}");
    assert_eq!((&rendition["ranges"], &rendition["same_bytes"]), (&Value::Bool(true), &Value::Bool(true)));
}

#[test]
fn a_redirect_to_a_viewers_own_folder_is_seen() {
    // A load balancer's way: the master is redirected to another folder for each viewer, where everything else is.
    let origin = Origin::start(|path, count| {
        let file = path.rsplit('/').next().unwrap();
        match file {
            "index.m3u8" if path.len() < 16 => {
                Some((format!("Location: /{}/index.m3u8\r\n", token(count)), Vec::new()))
            }
            "index.m3u8" => plain(playlist(0, 12, "", false)),
            _ => plain(b"the same".to_vec()),
        }
    });
    let (status, document) = document(&[&origin.url("index.m3u8")]);
    assert_eq!(status, 1, "{document:#}");
    let pattern = document["proposed_rule"]["pattern"].as_str().unwrap();
    assert!(pattern.ends_with("/)[0-9a-f]{16}(/)"), "{pattern}");
}

#[test]
fn a_short_live_window_gets_advice() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let nginx = Nginx::serve(dir.path(), "");
    let (status, out, _) = told(&[&nginx.url("index.m3u8")]);
    assert_eq!(status, 0, "{out}");
    let window = out.lines().next().unwrap();
    assert!(window.starts_with("advice  window 24 s, 6 segments of 4.0 s: "), "{out}");
    assert!(window.contains("keep at least 30 s in the playlist, 8 segments"), "{out}");
    assert!(out.contains("two viewers see the same URLs"), "{out}");
    assert_eq!(out.lines().last(), Some("fit for P2P, with one thing to improve"), "{out}");
}

#[test]
fn a_token_in_the_path_gets_a_rule_that_works() {
    // A playlist with another token for each viewer, and segments that nginx serves under any token.
    let dir = tempfile::tempdir().unwrap();
    for number in 0..15 {
        write(dir.path(), &format!("seg{number}.ts"), &format!("segment {number}"));
    }
    let nginx = Nginx::serve(dir.path(), "rewrite ^/tok-[0-9a-f]+/live/(.*)$ /$1 last;");
    let segments = nginx.url("");
    let origin = Origin::start(move |path, count| {
        let folder = format!("{segments}tok-{}/live/", token(count));
        (path == "/live/index.m3u8").then(|| (String::new(), playlist(0, 15, &folder, false)))
    });
    let url = origin.url("live/index.m3u8");
    let (status, out, error) = told(&[&url]);
    assert_eq!(status, 1, "{out}");
    let blocker: Vec<&str> = out.lines().filter(|line| line.starts_with("blocker ")).collect();
    assert_eq!(blocker.len(), 1, "{out}");
    assert!(blocker[0].contains(&format!("{}/tok-*/live/seg", nginx.address)), "{out}");
    assert!(error.contains("not fit for P2P"), "{error}");

    // Pasted as it is printed, from the heading to the empty line.
    let lines = out.lines().skip_while(|line| *line != "[[identity]]").take_while(|line| !line.is_empty());
    let block = lines.collect::<Vec<_>>().join("\n");
    let config: Config = toml::from_str(&block).unwrap();
    assert_eq!(config.identity.len(), 1, "{block}");
    let rules = Rules::new(&config.identity).unwrap();
    let name = |token: &str, number: u64| {
        rules
            .identity(&Url::parse(&nginx.url(&format!("tok-{token}/live/seg{number}.ts?x={token}"))).unwrap())
    };
    assert_eq!(name("0123456789abcdef", 3), name("fedcba9876543210", 3));
    assert_ne!(name("0123456789abcdef", 3), name("0123456789abcdef", 4));
    let file = write(dir.path(), "paceline.toml", &block);
    let (status, out, _) = told(&["--config", &file, &url]);
    assert_eq!(status, 0, "{out}");
    assert!(out.contains("ok      two viewers see the same URLs"), "{out}");
    let (status, document) = document(&[&url]);
    assert_eq!(status, 1);
    assert_eq!(document["proposed_rule"]["pattern"], config.identity[0].pattern);
    assert_eq!(document["proposed_rule"]["toml"].as_str().unwrap().trim_end(), block);
}

#[test]
fn names_that_no_rule_brings_together_get_none() {
    let origin = Origin::start(|path, count| match path {
        "/index.m3u8" => {
            let segments: String =
                (0..12).map(|n| format!("#EXTINF:4,\n{}.ts\n", token(count * 100 + n))).collect();
            plain(format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n{segments}").into_bytes())
        }
        _ => plain(b"the same".to_vec()),
    });
    let (status, document) = document(&[&origin.url("index.m3u8")]);
    assert_eq!(status, 1);
    assert_eq!(severity(&document, "no rule tells which are the same"), "blocker");
    assert!(document["proposed_rule"].is_null());
}

#[test]
fn bytes_of_each_viewers_own_stand_in_the_way() {
    let origin = Origin::start(|path, count| match path {
        "/index.m3u8" => plain(playlist(0, 12, "", true)),
        _ => plain(format!("for viewer {count}").into_bytes()),
    });
    let (status, document) = document(&[&origin.url("index.m3u8")]);
    assert_eq!((status, &document["fit"]), (1, &Value::Bool(false)));
    assert_eq!(severity(&document, "different bytes"), "blocker");
    assert_eq!(severity(&document, "does not answer Range"), "advice");
    assert_eq!(document["renditions"][0]["same_bytes"], false);
    assert_eq!(origin.asked().len(), 2 + 3 + 2, "{:?}", origin.asked());
}

#[test]
fn what_may_not_be_shared_stands_in_the_way() {
    let origin = Origin::start(|path, _| match path {
        "/index.m3u8" => plain(playlist(0, 12, "", true)),
        _ => Some(("Cache-Control: private, max-age=60\r\n".to_owned(), b"the same".to_vec())),
    });
    let (status, document) = document(&[&origin.url("index.m3u8")]);
    assert_eq!(status, 1);
    assert_eq!(severity(&document, "forbids sharing"), "blocker");
}

#[test]
fn encryption_and_its_keys_are_noted() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), [7; 16]).unwrap();
    let info = format!("https://keys.example/k?secret=CANARY\n{}\n", dir.path().join("key").display());
    let info = write(dir.path(), "info", &info);
    recording(dir.path(), 12, &["-hls_key_info_file", &info]);
    let nginx = Nginx::serve(dir.path(), "");
    let (status, out, _) = told(&[&nginx.url("index.m3u8")]);
    assert_eq!(status, 0, "{out}");
    assert!(out.contains("ok      encrypted: AES-128, keys at https://keys.example;"), "{out}");
    assert!(!out.contains("CANARY"), "{out}");
}

#[test]
fn a_dash_recording_is_fit() {
    for extra in [
        &["-use_timeline", "1"][..],
        &["-use_timeline", "0"],
        &["-single_file", "1"],
        &["-single_file", "1", "-global_sidx", "1"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        presentation(dir.path(), 12, extra);
        let nginx = Nginx::serve(dir.path(), "");
        let (status, document) = document(&[&nginx.url("stream.mpd?token=CANARY")]);
        assert_eq!((status, document["kind"].as_str()), (0, Some("vod")), "{extra:?} {document:#}");
        let renditions = document["renditions"].as_array().unwrap();
        let names: Vec<_> = renditions.iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["0", "1"], "{extra:?}");
        for one in renditions {
            let window = one["window_s"].as_f64().unwrap();
            assert!((11.9..16.1).contains(&window), "{extra:?} {one:#}");
            assert!((3..5).contains(&one["segments"].as_u64().unwrap()), "{extra:?} {one:#}");
            assert_eq!((&one["same_urls"], &one["same_bytes"]), (&Value::Bool(true), &Value::Bool(true)));
            assert!(one["largest_bytes"].as_u64().is_some_and(|bytes| (1..1_000_000).contains(&bytes)));
        }
        assert_eq!(severity(&document, "2 renditions"), "ok");
    }
}

#[test]
fn a_live_dash_stream_is_looked_at_as_of_now() {
    let manifest = r#"<MPD type="dynamic" availabilityStartTime="1970-01-01T00:00:00Z" timeShiftBufferDepth="PT60S">
        <Period id="p" start="PT0S"><AdaptationSet>
        <ContentProtection schemeIdUri="urn:mpeg:dash:mp4protection:2011" value="cenc"/>
        <ContentProtection schemeIdUri="urn:uuid:EDEF8BA9-79D6-4ACE-A3C8-27DCD51D21ED"><Laurl>https://keys.example/l?secret=CANARY</Laurl></ContentProtection>
        <SegmentTemplate media="$RepresentationID$/$Number$.m4s" duration="4"/>
        <Representation id="low" bandwidth="800000"/><Representation id="high" bandwidth="1600000"/>
        </AdaptationSet></Period></MPD>"#;
    let origin = Origin::start(move |path, _| match path {
        "/stream.mpd" => plain(manifest.as_bytes().to_vec()),
        path if path.ends_with(".m4s") => plain(b"the same".to_vec()),
        _ => None,
    });
    let (status, document) = document(&[&origin.url("stream.mpd")]);
    assert_eq!((status, document["kind"].as_str()), (0, Some("live")), "{document:#}");
    let renditions = document["renditions"].as_array().unwrap();
    let rates: Vec<_> = renditions.iter().map(|it| it["bit_rate"].as_u64().unwrap()).collect();
    assert_eq!(rates, [800_000, 1_600_000]);
    assert_eq!((renditions[0]["segments"].as_u64(), renditions[0]["name"].as_str()), (Some(15), Some("low")));
    assert_eq!(severity(&document, "window 60 s, 15 segments of 4.0 s"), "ok");
    assert_eq!(severity(&document, "encrypted: Widevine, keys at https://keys.example; cenc"), "ok");
    let newest = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 4;
    let asked: Vec<u64> = origin
        .asked()
        .iter()
        .filter_map(|path| path.rsplit_once('/')?.1.strip_suffix(".m4s")?.parse().ok())
        .collect();
    assert!(
        !asked.is_empty() && asked.iter().all(|number| (newest - 20..=newest).contains(number)),
        "{asked:?}"
    );
    assert!(!document.to_string().contains("CANARY"));
}

#[test]
fn what_can_not_be_looked_at_is_one_sentence() {
    let origin = Origin::start(|path, _| match path {
        "/page.m3u8" => Some(("Content-Type: text/html\r\n".to_owned(), b"<html>".to_vec())),
        "/empty.m3u8" => plain(b"#EXTM3U\n".to_vec()),
        "/endless.m3u8" => plain(vec![b'#'; 33 << 20]),
        "/bomb.mpd" => plain(b"<!DOCTYPE MPD [<!ENTITY a \"aa\">]><MPD>&a;</MPD>".to_vec()),
        "/away.m3u8" => plain(playlist(0, 12, "gone/", true)),
        "/stream.mpd" => Some(("Content-Type: application/dash+xml\r\n".to_owned(), b"<MPD></MPD>".to_vec())),
        _ => None,
    });
    for (path, why) in [
        ("page.m3u8?token=CANARY", "page.m3u8: not an HLS playlist"),
        ("empty.m3u8", "neither a master nor a media playlist"),
        ("endless.m3u8", "longer than"),
        ("bomb.mpd?token=CANARY", "bomb.mpd: line 1: entities are declared"),
        ("nothing.m3u8?token=CANARY", "nothing.m3u8: the origin answered 404"),
    ] {
        let (status, out, error) = told(&[&origin.url(path)]);
        assert_eq!((status, out.as_str()), (1, ""), "{path}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(why) && !error.contains("CANARY"), "{error}");
    }
    let (status, document) = document(&[&origin.url("stream.mpd")]);
    assert_eq!((status, &document["fit"]), (1, &Value::Bool(false)), "nothing is known of it");
    assert_eq!(severity(&document, "is a DASH manifest"), "advice");
    let (status, out, _) = told(&[&origin.url("away.m3u8")]);
    assert_eq!(status, 1, "{out}");
    assert!(out.ends_with("not known to be fit for P2P: too little of it could be looked at\n"), "{out}");
    assert!(out.contains("advice  ") && out.contains("seg0.ts: the origin answered 404"), "{out}");

    assert_eq!(told(&["ftp://origin.example/x.m3u8"]).0, 2);
    assert_eq!(told(&["no address"]).0, 2);
    assert_eq!(told(&["--config", "/nowhere.toml", &origin.url("page.m3u8")]).0, 2);
}

#[test]
fn without_a_stream_this_machine_is_examined() {
    let (tracker, port) = (common::Tracker::start(), common::free_port());
    let config = tempfile::tempdir().unwrap();
    let file = config.path().join("paceline.toml");
    std::fs::write(&file, format!("[proxy]\nlisten = \"127.0.0.1:{port}\"\n")).unwrap();
    let file = file.to_str().unwrap();
    let (status, found) = document(&["--config", file, "--tracker", &tracker.url()]);
    assert_eq!((status, &found["healthy"]), (0, &Value::Bool(true)), "{found:#}");
    for what in ["players can be served", "the tracker", "UDP is open", "the clock agrees"] {
        assert_eq!(severity(&found, what), "ok");
    }
    // Somebody else listens where players are to be served, and there is no tracker.
    let _other = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let closed = format!("ws://127.0.0.1:{}/", common::free_port());
    let (status, out, error) = told(&["--config", file, "--tracker", &closed]);
    assert_eq!(status, 1, "{out}{error}");
    assert!(
        out.contains("blocker players can't be served: ") && out.contains("choose another address"),
        "{out}"
    );
    let closed = closed.trim_end_matches('/');
    assert!(out.contains(&format!("blocker the tracker {closed} can't be reached")), "{out}");
    assert!(error.contains("2 things stand in the way"), "{error}");
    let (status, out, _) = told(&["--config", file, "--tracker", &tracker.url(), "http://o.example/x.m3u8"]);
    assert_eq!((status, out.as_str()), (2, ""), "a stream is not looked at through a tracker");
}
