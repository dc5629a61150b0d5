//! Corners of HLS through a real daemon: whatever an origin does with its playlists, a player plays on, and every byte is
//! the origin's.

mod common;
#[path = "common/scripted.rs"]
mod scripted;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Daemon, Reply, get, raw};
use scripted::{Scripted, respond};

/// What is answered: status, header lines, body.
type Answer = (u16, String, Vec<u8>);

/// An origin that answers by a function of the request target, as sent.
struct Origin {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    fn serve(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || attend(stream, &log, &*answer).ok());
            }
        });
        Self { address, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn attend(
    mut stream: TcpStream,
    log: &Mutex<Vec<String>>,
    answer: &dyn Fn(&str) -> Answer,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let target = request.split(' ').nth(1).unwrap_or_default();
    log.lock().unwrap().push(target.to_owned());
    let (status, fields, body) = answer(target);
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} X\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(&body)
}

fn ok(kind: &str, body: impl Into<Vec<u8>>) -> Answer {
    let kind = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
    (200, kind, body.into())
}

/// Asks the daemon for what a rewritten playlist names.
fn follow(daemon: &Daemon, path: &str) -> Reply {
    assert!(path.starts_with('/'), "{path} does not lead through the daemon");
    get(daemon.address, path).expect("the daemon answers")
}

fn uris(playlist: &str) -> Vec<String> {
    let playlist = playlist.trim_start_matches('\u{feff}');
    playlist.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect()
}

const LIST: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.ts\n#EXTINF:4,\nb.ts\n#EXT-X-ENDLIST\n";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    coder.write_all(text).unwrap();
    coder.finish().unwrap()
}

#[test]
fn playlists_by_whatever_name_and_in_whatever_dress() {
    let redirect = "Location: /deep/er/list.m3u8?t=1\r\n".to_owned();
    let coded = |coding: &str| {
        format!(
            "Content-Type: application/vnd.apple.mpegurl\r\nContent-Encoding: {coding}\r\nETag: \"1\"\r\n"
        )
    };
    let origin = Origin::serve(move |target| match target.split('?').next().unwrap_or_default() {
        "/plain/list.m3u8" | "/deep/er/list.m3u8" => ok("application/x-mpegURL", LIST),
        "/html/list.php" => ok("text/html; charset=utf-8", LIST),
        "/bytes/list" => ok("application/octet-stream", LIST),
        "/none/list" => ok("", LIST),
        "/audio/list.m3u8" => ok("audio/mp4", LIST),
        "/bom/list.m3u8" => ok("", format!("\u{feff}{}", LIST.replace('\n', "\r\n"))),
        "/case/list.m3u8" => ok("", LIST.replace("#EXTINF", "#extinf").replace("#EXT-X", "#ext-x")),
        "/gzip/list.m3u8" => (200, coded("gzip"), gzip(LIST.as_bytes())),
        "/x-gzip/list" => (200, coded("x-gzip"), gzip(LIST.as_bytes())),
        "/moved/list.m3u8" => (302, redirect.clone(), Vec::new()),
        path if path.ends_with(".ts") => ok("video/mp2t", path.repeat(1000)),
        _ => (404, String::new(), Vec::new()),
    });
    let daemon = Daemon::start(&[], &[]);
    for (path, home) in [
        ("plain/list.m3u8", "plain"),
        ("html/list.php?x=y.ts", "html"),
        ("bytes/list", "bytes"),
        ("none/list", "none"),
        ("audio/list.m3u8", "audio"),
        ("bom/list.m3u8", "bom"),
        ("case/list.m3u8", "case"),
        ("gzip/list.m3u8", "gzip"),
        ("x-gzip/list", "x-gzip"),
        ("moved/list.m3u8", "deep/er"),
    ] {
        let reply = daemon.get(&origin.url(path));
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.headers.get("content-encoding"), None, "{path}");
        assert_eq!(reply.headers["content-type"], "application/vnd.apple.mpegurl", "{path}");
        let named = uris(&reply.text());
        assert_eq!(named.len(), 2, "{path}: {}", reply.text());
        for (uri, name) in named.iter().zip(["a.ts", "b.ts"]) {
            for _ in 0..2 {
                let reply = follow(&daemon, uri.trim());
                assert!(reply.body == format!("/{home}/{name}").repeat(1000).as_bytes(), "{path}: {uri}");
            }
            let reply = follow(&daemon, uri.trim());
            assert_eq!(reply.headers["x-paceline-source"], "memory", "{path}: {uri} is listed");
        }
    }
}

#[test]
fn what_says_gzip_and_is_not_passes_as_it_is() {
    let fields = "Content-Type: application/vnd.apple.mpegurl\r\nContent-Encoding: gzip\r\n";
    let origin = Origin::serve(move |_| (200, fields.to_owned(), b"no gzip at all".to_vec()));
    let daemon = Daemon::start(&[], &[]);
    let reply = daemon.get(&origin.url("list.m3u8"));
    assert_eq!((reply.status, &reply.body[..]), (200, &b"no gzip at all"[..]));
    assert_eq!(reply.headers["content-encoding"], "gzip");
}

#[test]
fn urls_in_every_encoding_reach_the_origin_as_they_would_without_us() {
    let names = [
        "caf%C3%A9.ts",
        "café.ts",
        "a%2Fb.ts",
        "a%20b.ts",
        "(1)!$&'*+,;=:@~.ts",
        "x.ts?q=a%20b&u=http://x.example/y?z",
        "x.ts?%7B=|^`",
        "sub//double///c.ts",
        "./dot/../e.ts",
        "%41.ts",
        "%e4%f6.ts",
        "/root.ts?a[]=1",
        "?only=query",
        "[1].ts",
    ];
    let list = names.iter().fold("#EXTM3U\n#EXT-X-TARGETDURATION:4\n".to_owned(), |list, name| {
        format!("{list}#EXTINF:4,\n{name}\n")
    });
    let list = format!("{list}#EXT-X-ENDLIST\n");
    let origin = Origin::serve(move |target| match target {
        "/live/list.m3u8" => ok("", list.clone()),
        target => ok("video/mp2t", target),
    });
    let daemon = Daemon::start(&[], &[]);
    let named = uris(&daemon.get(&origin.url("live/list.m3u8")).text());
    assert_eq!(named.len(), names.len());
    let base = url::Url::parse(&origin.url("live/list.m3u8")).unwrap();
    for (uri, name) in named.iter().zip(names) {
        let meant = base.join(name).unwrap();
        let target = &meant[url::Position::BeforePath..url::Position::AfterQuery];
        assert_eq!(follow(&daemon, uri).text(), target, "{name}");
    }
    // One file has two spellings, and is fetched once.
    assert_eq!(origin.asked().len(), names.len());
}

#[test]
fn a_live_origin_that_begins_anew_and_one_that_ends() {
    // Which stream is on: 0 and 1 have the same names and other bytes, 2 is the end of 1.
    let on = Arc::new(Mutex::new(0));
    let state = Arc::clone(&on);
    let origin = Origin::serve(move |target| {
        let on = *state.lock().unwrap();
        let (first, end) = [(0, ""), (20, ""), (0, ""), (1, "#EXT-X-ENDLIST\n")][on];
        if target.ends_with(".m3u8") {
            let segments =
                (first..first + 3).fold(String::new(), |list, n| format!("{list}#EXTINF:1,\nseg{n}.ts\n"));
            return ok(
                "",
                format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}\n{segments}{end}"),
            );
        }
        ok("video/mp2t", format!("{} of {target} ", on / 2).repeat(1000))
    });
    let daemon = Daemon::start(&[], &[]);
    let play = || {
        // The newest copy of the playlist is good for half a second.
        std::thread::sleep(Duration::from_millis(700));
        let list = daemon.get(&origin.url("list.m3u8")).text();
        let number = *on.lock().unwrap();
        for uri in uris(&list) {
            let name = uri.rsplit('/').next().unwrap().to_owned();
            let reply = follow(&daemon, &uri);
            assert_eq!(reply.status, 200);
            let expected = format!("{} of /{name} ", number / 2).repeat(1000);
            assert!(
                reply.body == expected.as_bytes(),
                "{name} of stream {number} is another's: {:.40}",
                reply.text()
            );
        }
        list
    };
    for number in 0..4 {
        *on.lock().unwrap() = number;
        let list = play();
        assert_eq!(list.contains("#EXT-X-ENDLIST"), number == 3);
    }
}

#[test]
fn what_had_to_make_room_for_other_long_recordings_plays_on_and_is_shared_again() {
    let origin = Origin::serve(|target| {
        if !target.ends_with(".m3u8") {
            return (200, String::new(), target.as_bytes().to_vec());
        }
        let segments: String = (0..70_000).map(|n| format!("#EXTINF:4,\n{n}.ts\n")).collect();
        let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n{segments}#EXT-X-ENDLIST\n");
        (200, String::new(), text.into_bytes())
    });
    let daemon = Daemon::start(&["--no-p2p"], &[]);
    let load = |recording: &str| {
        let reply = daemon.get(&origin.url(&format!("{recording}/index.m3u8")));
        assert_eq!(reply.status, 200, "{recording}");
    };
    let second_from = |recording: &str, segment: &str| {
        let path = format!("{recording}/{segment}.ts");
        let [_, reply] = [(); 2].map(|()| daemon.get(&origin.url(&path)));
        assert_eq!((reply.status, reply.text()), (200, format!("/{path}")));
        reply.headers["x-paceline-source"].clone()
    };
    ["a", "b", "c"].into_iter().for_each(load);
    assert_eq!(["a", "b", "c"].map(|of| second_from(of, "7")), ["http", "memory", "memory"]);
    assert_eq!(daemon.stats()["listed"], serde_json::json!({"segments": 140_000, "given_up": 1}));
    // A copy answers for a second without being listed again.
    std::thread::sleep(Duration::from_millis(1100));
    load("a");
    assert_eq!(["a", "b", "c"].map(|of| second_from(of, "8")), ["memory", "http", "memory"]);
}

/// Players that are told to send a field send it everywhere; nobody else does it for them.
#[test]
fn each_host_hears_of_a_player_what_that_player_says_there() {
    let hosts = [(); 2].map(|()| Arc::new(Mutex::new(Vec::<String>::new())));
    let log = Arc::clone(&hosts[1]);
    let cdn = Scripted::start(move |_, head, stream| {
        log.lock().unwrap().push(head.to_owned());
        respond(stream, "200 OK", "Content-Type: video/mp2t\r\n", &[7; 40_000]);
    });
    let (log, far) = (Arc::clone(&hosts[0]), cdn.url("b.ts"));
    let origin = Scripted::start(move |_, head, stream| {
        log.lock().unwrap().push(head.to_owned());
        let list = LIST.replace("b.ts", &far);
        let text = if head.contains(".m3u8") { list.as_bytes() } else { &[7; 40_000] };
        respond(stream, "200 OK", "", text);
    });
    let daemon = Daemon::start(&["--no-p2p"], &[]);
    let ask = |url: String| {
        let fields = format!("Host: {}\r\nAuthorization: Bearer s\r\nConnection: close", daemon.address);
        let reply = raw(daemon.address, &format!("GET /{url} HTTP/1.1\r\n{fields}\r\n\r\n")).unwrap();
        assert_eq!(reply.status, 200);
        reply.headers["x-paceline-source"].clone()
    };
    ask(origin.url("list.m3u8"));
    for url in [origin.url("a.ts"), cdn.url("b.ts")] {
        assert_eq!([ask(url.clone()), ask(url)], ["http", "memory"]);
    }
    let told = |head: &String| head.to_ascii_lowercase().contains("\r\nauthorization: bearer s\r\n");
    assert_eq!(hosts.map(|heads| heads.lock().unwrap().iter().filter(|head| told(head)).count()), [2, 1]);
}

#[test]
fn no_more_lies_ahead_of_a_player_than_it_takes() {
    let origin = Origin::serve(|target| match target.ends_with(".m3u8") {
        true => (200, String::new(), b"#EXTM3U\n#EXTINF:60,\nlong.ts\n#EXT-X-ENDLIST\n".to_vec()),
        false => (200, String::new(), vec![7; 8 << 20]),
    });
    let daemon = Daemon::start(&["--no-p2p"], &[]);
    assert_eq!(daemon.get(&origin.url("index.m3u8")).status, 200);
    let mut player = TcpStream::connect(daemon.address).unwrap();
    let fields = format!("Host: {}\r\nUser-Agent: test\r\nConnection: close", daemon.address);
    write!(player, "GET /{} HTTP/1.1\r\n{fields}\r\n\r\n", origin.url("long.ts")).unwrap();
    let (mut part, mut taken) = ([0; 16 << 10], 0);
    for _ in 0..10 {
        let until = taken + (64 << 10);
        while taken < until {
            taken += player.read(&mut part).unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let ahead = daemon.total("served_bytes") - taken as u64;
    assert!(ahead < 1 << 20, "{ahead} bytes more than the player has read");
    let rest = player.read_to_end(&mut Vec::new()).unwrap();
    assert!(taken + rest > 8 << 20, "and all of it comes");
}

/// A player that has a copy of the playlist has none of a segment, and one that tells of itself in each query asks for the same
/// files as any other.
#[test]
fn what_a_player_says_of_itself_is_not_asked_of_segments() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heads);
    let origin = Scripted::start(move |_, head, stream| {
        log.lock().unwrap().push(head.to_owned());
        if head.starts_with("GET /list") {
            respond(stream, "200 OK", "Content-Type: application/vnd.apple.mpegurl\r\n", LIST.as_bytes());
        } else if head.to_ascii_lowercase().contains("\r\nif-") {
            respond(stream, "304 Not Modified", "", b"");
        } else {
            respond(stream, "200 OK", "Content-Type: video/mp2t\r\n", &[7; 40_000]);
        }
    });
    let daemon = Daemon::start(&[], &[]);
    let ask = |path: &str, more: &str| {
        let mut stream = TcpStream::connect(daemon.address).unwrap();
        let (url, address) = (origin.url(path), daemon.address);
        write!(stream, "GET /{url} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}\r\n").unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    };
    let copy = "If-Match: *\r\nIf-None-Match: \"1\"\r\nIf-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT\r\n";
    let list = ask("list?x=1&CMCD=ot%3Dm", copy);
    assert!(list.starts_with("HTTP/1.1 200") && list.contains("/a.ts"), "{list}");
    let source = |answer: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix("x-paceline-source: "));
        line.map(str::to_owned)
    };
    for (n, asked) in ["a.ts?CMCD=br%3D1", "a.ts?CMCD=br%3D2", "a.ts"].iter().enumerate() {
        let answer = ask(asked, "");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(source(&answer).as_deref(), Some(if n == 0 { "http" } else { "memory" }), "{asked}");
    }
    // What is not listed is passed through as it is said.
    assert!(ask("other.ts?CMCD=br%3D3", "").starts_with("HTTP/1.1 200"));
    let heads = heads.lock().unwrap();
    let targets: Vec<&str> = heads.iter().filter_map(|head| head.split(' ').nth(1)).collect();
    assert!(targets.contains(&"/list?x=1&CMCD=ot%3Dm") && targets.contains(&"/other.ts?CMCD=br%3D3"));
    assert_eq!(targets.iter().filter(|target| target.starts_with("/a.ts")).count(), 1, "{targets:?}");
}
