//! Slow, broken, lying, vanishing: the player must not notice, and the daemon serves afterwards.

mod common;
#[path = "common/scripted.rs"]
mod scripted;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use scripted::{Scripted, from_of, respond};

use common::{Daemon, Nginx, Tracker, complaints, get, live, player, raw, recording, until};

const PLAYLIST: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:4,\na.ts\n#EXTINF:4,\nb.ts\n#EXT-X-ENDLIST\n";

fn content() -> Vec<u8> {
    (0..200_000u32).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// Serves the playlist, and leaves segments to `segment`, which is told how many of them were asked for before.
fn origin(segment: impl Fn(u64, &str, &mut TcpStream) + Send + Sync + 'static) -> Scripted {
    let segments = Mutex::new(0u64);
    Scripted::start(move |_, head, stream| {
        if head.contains("index.m3u8") {
            respond(stream, "200 OK", "", PLAYLIST.as_bytes());
        } else {
            let number = {
                let mut segments = segments.lock().unwrap();
                *segments += 1;
                *segments - 1
            };
            segment(number, head, stream);
        }
    })
}

fn listed(origin: &Scripted) -> Daemon {
    let daemon = Daemon::start(&[], &[]);
    assert_eq!(daemon.get(&origin.url("index.m3u8")).status, 200);
    daemon
}

#[test]
fn an_origin_that_is_overloaded_for_a_moment_is_asked_again() {
    let origin = origin(|number, _, stream| match number {
        0 => respond(stream, "503 Service Unavailable", "", b"busy"),
        _ => respond(stream, "200 OK", "", &content()),
    });
    let daemon = listed(&origin);
    let reply = daemon.get(&origin.url("a.ts"));
    assert_eq!((reply.status, reply.body == content()), (200, true));
}

#[test]
fn parts_of_a_file_that_fail_for_a_moment_do_not_break_off_all_of_it() {
    // Two segments of 50,000 bytes, with others in front of, between and behind them.
    let segment = |at: u32| format!("#EXTINF:4,\n#EXT-X-BYTERANGE:50000@{at}\na.ts\n");
    let list =
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n{}{}#EXT-X-ENDLIST\n", segment(1000), segment(60_000));
    let asked = Mutex::new(Vec::new());
    let origin = Scripted::start(move |_, head, stream| {
        let head = head.to_ascii_lowercase();
        let range = head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.split_once('-'));
        let Some((from, last)) = range else { return respond(stream, "200 OK", "", list.as_bytes()) };
        let (from, last): (usize, usize) = (from.parse().unwrap(), last.parse().unwrap());
        let before = {
            let mut asked = asked.lock().unwrap();
            asked.push(from);
            asked.iter().filter(|at| **at == from).count() - 1
        };
        let all = content();
        let range = format!("Content-Range: bytes {from}-{last}/{}\r\nETag: \"1\"\r\n", all.len());
        match (from, before) {
            (0 | 500 | 51_000 | 110_000, 0) => respond(stream, "503 Service Unavailable", "", b"busy"),
            // Half of it, and then the connection is gone.
            (110_000, 1) => {
                let head = format!("HTTP/1.1 206 Partial Content\r\nContent-Length: 90000\r\n{range}\r\n");
                let _ =
                    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&all[from..155_000]));
            }
            _ => respond(stream, "206 Partial Content", &range, &all[from..=last]),
        }
    });
    let daemon = listed(&origin);
    let (path, host) = (origin.url("a.ts"), daemon.address);
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: test\r\nRange: bytes=500-\r\nConnection: close\r\n\r\n"
    );
    let reply = raw(host, &request).unwrap();
    assert_eq!((reply.status, reply.body.len()), (206, 199_500));
    assert!(reply.body == content()[500..], "other bytes");
}

/// Whoever was told its length once does not know it for ever.
#[test]
fn where_a_file_ends_that_still_grows_is_the_origins_to_say() {
    const LIST: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n#EXT-X-BYTERANGE:40000@0\na.ts\n\
        #EXTINF:4,\n#EXT-X-BYTERANGE:40000@40000\na.ts\n";
    for (end, source) in [("", "http"), ("#EXT-X-ENDLIST\n", "mixed")] {
        let length = Arc::new(AtomicUsize::new(80_000));
        let there = Arc::clone(&length);
        let origin = Scripted::start(move |_, head, stream| {
            let all = &content()[..there.load(Ordering::SeqCst)];
            let head = head.to_ascii_lowercase();
            let range = head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.split_once('-'));
            match range {
                None if head.contains(".m3u8") => {
                    respond(stream, "200 OK", "", (LIST.to_owned() + end).as_bytes())
                }
                None => respond(stream, "200 OK", "", all),
                Some((from, last)) => {
                    let (from, last) = (from.parse().unwrap(), last.parse().unwrap_or(all.len() - 1));
                    let range = format!("Content-Range: bytes {from}-{last}/{}\r\n", all.len());
                    respond(stream, "206 Partial Content", &range, &all[from..=last]);
                }
            }
        });
        let daemon = listed(&origin);
        let (path, host) = (origin.url("a.ts"), daemon.address);
        let ask = |range: &str| {
            let fields = format!("Host: {host}\r\nUser-Agent: test\r\n{range}Connection: close\r\n\r\n");
            raw(host, &format!("GET /{path} HTTP/1.1\r\n{fields}")).unwrap()
        };
        let over_two = ask("Range: bytes=30000-49999\r\n");
        let is_ours = (&*over_two.headers["x-paceline-source"], &*over_two.headers["content-range"]);
        assert_eq!(is_ours, ("mixed", "bytes 30000-49999/80000"));
        if end.is_empty() {
            length.store(120_000, Ordering::SeqCst);
        }
        let length = length.load(Ordering::SeqCst);
        let (open, whole) = (ask("Range: bytes=30000-\r\n"), ask(""));
        assert_eq!((open.status, open.body.len()), (206, length - 30_000), "{end}");
        assert_eq!((whole.status, whole.body.len()), (200, length), "{end}");
        assert_eq!([&open, &whole].map(|of| &*of.headers["x-paceline-source"]), [source; 2], "{end}");
        assert!(whole.body == content()[..length] && open.body == whole.body[30_000..], "other bytes");
    }
}

#[test]
fn an_origin_that_takes_its_time_to_fail_is_not_asked_until_the_player_gives_up() {
    let origin = Scripted::start(|_, _, stream| {
        std::thread::sleep(Duration::from_secs(3));
        respond(stream, "504 Gateway Timeout", "", b"too slow");
    });
    let reply = Daemon::start(&[], &[]).get(&origin.url("init.mp4"));
    assert_eq!((reply.status, reply.text()), (504, "too slow".to_owned()));
    assert!(origin.requests.load(Ordering::SeqCst) <= 2, "asked for more than players bear");
}

#[test]
fn a_live_reload_that_hangs_is_answered_from_the_last_good_copy() {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let live = PLAYLIST.replace("#EXT-X-ENDLIST\n", "").replace("#EXT-X-PLAYLIST-TYPE:VOD\n", "");
    let origin = Scripted::start(move |number, _, stream| {
        // From the second time on, silence until the player has an answer.
        if number > 0 {
            let _ = gate.lock().unwrap().recv();
        }
        respond(stream, "200 OK", "", live.as_bytes());
    });
    let daemon = Daemon::start(&[], &[]);
    let url = origin.url("live.m3u8");
    assert_eq!(daemon.get(&url).headers["x-paceline-source"], "http");
    until("the copy is not new any more", || {
        let reply = daemon.get(&url);
        assert_eq!((reply.status, &reply.headers["x-paceline-source"][..]), (200, "memory"));
        (origin.requests.load(Ordering::SeqCst) == 2).then_some(())
    });
    drop(release);
}

/// What no player bears: longer without a byte.
const BORNE: Duration = Duration::from_secs(10);

/// Sends the first `sent` bytes of `text` and the others once the gate opens.
fn trickle(stream: &mut TcpStream, fields: &str, text: &str, sent: usize, gate: &Mutex<Receiver<()>>) {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", text.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&text.as_bytes()[..sent]));
    let _ = gate.lock().unwrap().recv();
    let _ = stream.write_all(&text.as_bytes()[sent..]);
}

#[test]
fn a_live_reload_that_trickles_is_answered_from_the_last_good_copy() {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let live = PLAYLIST.replace("#EXT-X-ENDLIST\n", "").replace("#EXT-X-PLAYLIST-TYPE:VOD\n", "");
    let origin = Scripted::start(move |number, _, stream| match number {
        0 => respond(stream, "200 OK", "", live.as_bytes()),
        _ => trickle(stream, "", &live, live.len() - 1, &gate),
    });
    let daemon = Daemon::start(&[], &[]);
    let url = origin.url("live.m3u8");
    let first = daemon.get(&url);
    assert_eq!(first.headers["x-paceline-source"], "http");
    until("the copy is not new any more", || {
        let began = Instant::now();
        let reply = daemon.get(&url);
        assert_eq!((reply.status, &reply.headers["x-paceline-source"][..]), (200, "memory"));
        assert!(reply.body == first.body && began.elapsed() < BORNE, "after {:?}", began.elapsed());
        (origin.requests.load(Ordering::SeqCst) == 2).then_some(())
    });
    drop(release);
}

#[test]
fn a_manifest_that_trickles_is_begun_before_the_player_gives_up() {
    const MPD: &str = "<?xml version=\"1.0\"?>\n<MPD type=\"static\" mediaPresentationDuration=\"PT8S\"><Period>\
        <AdaptationSet mimeType=\"video/mp4\"><SegmentTemplate media=\"/v/$Number$.m4s\" duration=\"4\"/>\
        <Representation id=\"v\" bandwidth=\"1\"/></AdaptationSet></Period></MPD>\n";
    let dash = "Content-Type: application/dash+xml\r\n";
    // Nothing of the text at first, its first line, nearly all of it.
    let cases = [("a.m3u8", "", PLAYLIST), ("a.mpd", dash, MPD)]
        .into_iter()
        .flat_map(|(path, fields, text)| [0, 30, text.len() - 1].map(|sent| (path, fields, text, sent)));
    let daemon = Daemon::start(&[], &[]);
    let address = daemon.address;
    let asked: Vec<_> = cases
        .map(|(path, fields, text, sent)| {
            let (release, gate) = std::sync::mpsc::channel::<()>();
            let gate = Mutex::new(gate);
            let origin = Scripted::start(move |number, _, stream| match number {
                0 => respond(stream, "200 OK", fields, text.as_bytes()),
                _ => trickle(stream, fields, text, sent, &gate),
            });
            let first = daemon.get(&origin.url(path));
            // Another name for the same, of which there is no copy.
            let request = format!("GET /{}?again HTTP/1.0\r\nHost: {address}\r\n\r\n", origin.url(path));
            let what = format!("{path}, {sent} bytes");
            let waits = std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(request.as_bytes()).unwrap();
                stream.set_read_timeout(Some(BORNE)).unwrap();
                let (mut got, mut chunk) = (Vec::new(), [0; 4096]);
                // The head and the first line, then an empty line: two times of waiting, each within what is borne.
                while !String::from_utf8_lossy(&got).ends_with("\n\n") {
                    let length = stream.read(&mut chunk).unwrap_or_else(|why| panic!("{what}: {why}"));
                    assert!(length > 0, "{what}: the answer ended: {}", String::from_utf8_lossy(&got));
                    got.extend_from_slice(&chunk[..length]);
                }
                release.send(()).unwrap();
                stream.read_to_end(&mut got).unwrap();
                (what, String::from_utf8(got).unwrap())
            });
            (first, waits, origin)
        })
        .collect();
    for (first, waits, _origin) in asked {
        let (what, answer) = waits.join().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200") || head.starts_with("HTTP/1.1 200"), "{what}: {head}");
        let lines = |text: &str| -> Vec<String> {
            // One whose first line had not come has one of ours.
            let text = text.replace(" encoding=\"UTF-8\"", "");
            text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
        };
        let kind = &first.headers["content-type"];
        assert!(head.contains(&format!("content-type: {kind}")), "{what}: {head}");
        assert_eq!(lines(body), lines(&first.text()), "{what}");
        assert!(body.contains("/http://"), "{what}: it is rewritten");
    }
}

#[test]
fn an_origin_that_stays_overloaded_has_its_own_words_passed_on() {
    let origin =
        origin(|_, _, stream| respond(stream, "503 Service Unavailable", "Retry-After: 7\r\n", b"busy"));
    let daemon = listed(&origin);
    let reply = daemon.get(&origin.url("a.ts"));
    assert_eq!((reply.status, reply.text()), (503, "busy".to_owned()));
    assert_eq!(reply.headers["retry-after"], "7");
    assert!(daemon.healthy());
}

#[test]
fn what_is_no_segment_is_asked_for_again_only_while_its_failure_may_be_over_in_a_moment() {
    for (answer, fields, asked) in [
        ("500 Internal Server Error", "", 2),
        ("502 Bad Gateway", "", 2),
        ("503 Service Unavailable", "", 2),
        ("504 Gateway Timeout", "", 2),
        ("503 Service Unavailable", "Retry-After: 1\r\n", 2),
        ("520 Unknown", "", 2),
        ("408 Request Timeout", "", 2),
        ("429 Too Many Requests", "", 2),
        ("501 Not Implemented", "", 1),
        ("505 HTTP Version Not Supported", "", 1),
        ("511 Network Authentication Required", "", 1),
        ("503 Service Unavailable", "Retry-After: 7\r\n", 1),
    ] {
        let origin = Scripted::start(move |number, _, stream| match number {
            0 => respond(stream, answer, fields, b""),
            _ => respond(stream, "200 OK", "", PLAYLIST.as_bytes()),
        });
        let daemon = Daemon::start(&[], &[]);
        let reply = daemon.get(&origin.url("index.m3u8"));
        assert_eq!(reply.status == 200, asked == 2, "{answer} {fields}: {}", reply.status);
        assert_eq!(origin.requests.load(Ordering::SeqCst), asked, "{answer} {fields}");
    }
}

#[test]
fn a_truncated_body_is_completed_where_it_broke() {
    let origin = origin(|number, head, stream| {
        let (all, from) = (content(), from_of(head));
        let body = &all[from..];
        let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
        let range = format!("Content-Range: bytes {from}-{}/{}\r\n", all.len() - 1, all.len());
        if number == 0 {
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..70_000]));
        } else {
            respond(stream, status, if from > 0 { &range } else { "" }, body);
        }
    });
    let daemon = listed(&origin);
    let reply = daemon.get(&origin.url("a.ts"));
    assert_eq!((reply.status, reply.body == content()), (200, true));
    assert!(daemon.total("http_bytes") <= content().len() as u64 + 1, "nothing was fetched twice");
}

#[test]
fn a_slow_origin_is_streamed_through_as_it_comes() {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let origin = origin(move |_, _, stream| {
        let all = content();
        let _ =
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", all.len()).as_bytes());
        let _ = stream.write_all(&all[..1000]);
        // The rest only comes once the player has had the beginning.
        gate.lock().unwrap().recv().unwrap();
        let _ = stream.write_all(&all[1000..]);
    });
    let daemon = listed(&origin);
    let mut stream = TcpStream::connect(daemon.address).unwrap();
    stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let request = format!(
        "GET /{} HTTP/1.1\r\nHost: {}\r\nUser-Agent: test\r\nConnection: close\r\n\r\n",
        origin.url("a.ts"),
        daemon.address
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut got = Vec::new();
    let mut chunk = [0; 4096];
    while !got.windows(4).any(|w| w == b"\r\n\r\n") || got.len() < 1000 {
        let length = stream.read(&mut chunk).unwrap();
        assert!(length > 0, "the answer ended early");
        got.extend_from_slice(&chunk[..length]);
    }
    release.send(()).unwrap();
    stream.read_to_end(&mut got).unwrap();
    assert!(got.ends_with(&content()));
}

#[test]
fn an_origin_that_disappears_is_an_error_with_a_sentence() {
    let origin = origin(|_, _, stream| respond(stream, "200 OK", "", &content()));
    let daemon = listed(&origin);
    let gone = common::free_port();
    let reply = daemon.get(&format!("http://127.0.0.1:{gone}/a.ts"));
    assert_eq!(reply.status, 502);
    assert!(reply.text().contains("can't be reached"), "{}", reply.text());
    assert_eq!(daemon.get(&origin.url("a.ts")).body, content(), "and the daemon goes on");
}

#[test]
fn an_origin_that_disappears_in_the_middle_and_returns_is_asked_for_the_rest() {
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = first.local_addr().unwrap();
    let daemon = Daemon::start(&[], &[]);
    let acceptor = std::thread::spawn(move || {
        let all = content();
        for _ in 0..2 {
            let (mut stream, _) = first.accept().unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            if String::from_utf8_lossy(&head).contains("index.m3u8") {
                respond(&mut stream, "200 OK", "", PLAYLIST.as_bytes());
            } else {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", all.len());
                stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&all[..70_000])).unwrap();
                // Whoever sees the body end finds nobody to ask again.
                drop(first);
                return;
            }
        }
    });
    let url = |path: &str| format!("http://{address}/{path}");
    assert_eq!(daemon.get(&url("index.m3u8")).status, 200);
    let cut = daemon.get(&url("a.ts"));
    acceptor.join().unwrap();
    assert_eq!((cut.status, &cut.headers["content-length"][..]), (200, "200000"));
    assert_eq!(cut.body, content()[..70_000], "half a segment is not passed off as a whole one");
    assert!(daemon.healthy());
    let refused = daemon.get(&url("b.ts"));
    assert_eq!(refused.status, 502, "{}", refused.text());
    let back = Scripted::on(TcpListener::bind(address).unwrap(), |_, head, stream| {
        let (all, from) = (content(), from_of(head));
        let range = format!("Content-Range: bytes {from}-{}/{}\r\n", all.len() - 1, all.len());
        match from {
            0 => respond(stream, "200 OK", "", &all),
            _ => respond(stream, "206 Partial Content", &range, &all[from..]),
        }
    });
    let reply = daemon.get(&url("a.ts"));
    assert_eq!((reply.status, reply.body == content()), (200, true));
    assert_eq!(daemon.total("http_bytes"), content().len() as u64, "nothing was fetched twice");
    assert_eq!(daemon.get(&back.url("b.ts")).body, content());
}

#[test]
fn an_origin_that_disappears_is_not_noticed_while_a_neighbour_has_the_stream() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), 48, &[]);
    let origin = Nginx::serve(dir.path(), "");
    let tracker = Tracker::start();
    let (has, wants) = (Daemon::with_tracker(&tracker.url()), Daemon::with_tracker(&tracker.url()));
    assert_eq!(has.get(&origin.url("index.m3u8")).status, 200);
    for number in 0..12 {
        assert_eq!(has.get(&origin.url(&format!("index{number}.ts"))).status, 200);
    }
    let mut player = player(&wants.prefix(&origin.url("index.m3u8")), 48, &[]);
    wants.await_neighbours(1);
    until("the neighbour's word is trusted", || (wants.total("p2p_bytes") > 0).then_some(()));
    let before = wants.total("http_bytes");
    drop(origin);
    assert!(player.wait(Duration::from_secs(120)), "the player failed:\n{}", player.log());
    assert_eq!(complaints(&player.log()), Vec::<&str>::new());
    let all: u64 = (0..12).map(|n| dir.path().join(format!("index{n}.ts")).metadata().unwrap().len()).sum();
    assert!(wants.total("served_bytes") >= all, "{} of {all} bytes", wants.total("served_bytes"));
    assert!(wants.total("http_bytes") <= before + all / 12, "the origin is gone and was counted");
}

#[test]
fn two_players_of_one_segment_are_one_fetch_and_one_may_hang_up() {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let origin = origin(move |number, _, stream| {
        assert_eq!(number, 0, "one fetch");
        let all = content();
        let _ =
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", all.len()).as_bytes());
        let _ = stream.write_all(&all[..100_000]);
        gate.lock().unwrap().recv().unwrap();
        let _ = stream.write_all(&all[100_000..]);
    });
    let daemon = listed(&origin);
    let (address, path) = (daemon.address, format!("/{}", origin.url("a.ts")));
    let mut hasty = TcpStream::connect(address).unwrap();
    hasty
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: test\r\n\r\n").as_bytes())
        .unwrap();
    assert!(hasty.read(&mut [0; 1000]).unwrap() > 0);
    let patient = std::thread::spawn(move || get(address, &path).unwrap());
    until("both players read", || (daemon.total("served_bytes") >= 150_000).then_some(()));
    drop(hasty);
    release.send(()).unwrap();
    let reply = patient.join().unwrap();
    assert_eq!((reply.status, reply.body == content()), (200, true));
    assert_eq!(daemon.get(&origin.url("a.ts")).headers["x-paceline-source"], "memory");
    assert_eq!(origin.requests.load(Ordering::SeqCst), 2, "the playlist and the segment, once each");
}

#[test]
fn manifests_that_are_garbage_or_bombs_harm_nobody() {
    let huge = vec![b'x'; 1 << 20];
    let origin = Scripted::start(move |_, head, stream| {
        if head.contains("garbage") {
            respond(stream, "200 OK", "", b"\x00\xFF\xFEnot a playlist\n#EXT");
        } else if head.contains("huge") {
            let start = if head.contains("mpd") { "<MPD>" } else { "#EXTM3U\n" };
            let length = if head.contains("endless") { "" } else { "Content-Length: 104857600\r\n" };
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{length}\r\n{start}").as_bytes());
            for _ in 0..100 {
                if stream.write_all(&huge).is_err() {
                    return;
                }
            }
        } else if head.contains("away") {
            let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
            let to = format!("Location: http://ann:s3cret@{host}/bomb.mpd?token=s3cret\r\n");
            respond(stream, "302 Found", &to, b"");
        } else if head.contains("bomb") {
            let laughs: String = (1..10)
                .map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10)))
                .collect();
            let text =
                format!("<!DOCTYPE MPD [<!ENTITY l0 \"ha\">{laughs}]><MPD><BaseURL>&l9;</BaseURL></MPD>");
            respond(stream, "200 OK", "", text.as_bytes());
        } else if head.contains("many") {
            let mut text = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n".to_vec();
            text.extend("#EXTINF:4,\na.ts\n".repeat(200_000).as_bytes());
            respond(stream, "200 OK", "", &text);
        } else {
            respond(stream, "200 OK", "", PLAYLIST.as_bytes());
        }
    });
    let daemon = Daemon::start(&[], &[]);
    let before = resident(&daemon);
    let garbage = daemon.get(&origin.url("garbage.m3u8"));
    assert_eq!(
        (garbage.status, garbage.body.starts_with(b"\x00\xFF\xFEnot")),
        (200, true),
        "passed on as it is"
    );
    for path in ["huge.m3u8", "huge.mpd", "huge-endless.m3u8", "huge-endless.mpd"] {
        let huge = daemon.get(&origin.url(path));
        assert_eq!(huge.status, 502, "{path}");
        assert!(huge.text().contains("larger than"), "{path}: {}", huge.text());
    }
    let bomb = daemon.get(&origin.url("bomb.mpd"));
    assert_eq!(bomb.status, 502);
    assert!(bomb.text().contains("entities are declared"), "{}", bomb.text());
    let bomb = daemon.get(&origin.url("away.mpd"));
    assert!(
        bomb.text().contains("entities are declared") && !bomb.text().contains("s3cret"),
        "{}",
        bomb.text()
    );
    let many = daemon.get(&origin.url("many.m3u8"));
    assert_eq!(many.status, 200, "too many to share, not too many to play");
    assert_eq!(many.text().matches("/http://").count(), 200_000);
    assert!(daemon.process.log().contains("100000 segments"), "{}", daemon.process.log());
    // What was freed goes back to the system as the daemon goes on.
    until("memory is as small again", || {
        assert_eq!(daemon.get(&origin.url("index.m3u8")).status, 200, "and the daemon goes on");
        (resident(&daemon).saturating_sub(before) < 64 << 10).then_some(())
    });
}

/// Resident memory in KiB.
fn resident(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.process.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_tracker_that_restarts_and_a_neighbour_that_is_killed_are_not_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "");
    let tracker = Tracker::start();
    let (url, port) = (origin.url("index.m3u8"), tracker.address.port());
    let mut daemons: Vec<Daemon> = (0..3).map(|_| Daemon::with_tracker(&tracker.url())).collect();
    let mut players: Vec<_> = daemons.iter().map(|daemon| player(&daemon.prefix(&url), 44, &[])).collect();
    daemons.iter().for_each(|daemon| daemon.await_neighbours(2));
    drop(tracker);
    let traded = || daemons[0].total("p2p_bytes") + daemons[0].total("uploaded_bytes");
    let before = traded();
    until("peers go on without a tracker", || (traded() > before + 700_000).then_some(()));
    let tracker = Tracker::at(port);
    until("everyone comes back to the tracker", || {
        let stats: serde_json::Value = serde_json::from_slice(&get(tracker.address, "/stats")?.body).ok()?;
        (stats["viewers"].as_u64()? == 3).then_some(())
    });
    // The last one dies without a word in the middle of everything.
    let mut victim = daemons.pop().unwrap();
    let mut orphan = players.pop().unwrap();
    victim.process.kill();
    orphan.kill();
    for player in &mut players {
        assert!(player.wait(Duration::from_secs(120)), "a player failed:\n{}", player.log());
        assert_eq!(complaints(&player.log()), Vec::<&str>::new());
    }
    for daemon in &daemons {
        assert_eq!(daemon.stats()["streams"][0]["late_segments"], 0);
        assert!(daemon.healthy());
    }
}

#[test]
fn a_daemon_that_is_told_to_stop_finishes_what_it_is_sending() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), 10, &[]);
    let origin = Nginx::serve(dir.path(), "limit_rate 60k;");
    let mut daemon = Daemon::start(&[], &[]);
    assert_eq!(daemon.get(&origin.url("index.m3u8")).status, 200);
    let (address, path) = (daemon.address, format!("/{}", origin.url("index0.ts")));
    let answer = std::thread::spawn(move || get(address, &path));
    until("the answer has begun", || (daemon.total("served_bytes") > 0).then_some(()));
    daemon.process.signal("-TERM");
    let reply = answer.join().unwrap().unwrap();
    let whole = std::fs::read(dir.path().join("index0.ts")).unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, whole.len()));
    assert!(reply.body == whole);
    assert!(daemon.process.wait(Duration::from_secs(30)), "{}", daemon.process.log());
}

#[test]
fn wrong_arguments_and_configuration_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    let run = |args: &[&str], config: &str, env: &[(&str, &str)]| {
        std::fs::write(&file, config).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_paceline"));
        let output = command.args(args).envs(env.iter().copied()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let path = file.display().to_string();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (args, config, env, status, parts) in [
        (
            &["serve", "--config", &path][..],
            "[p2p]\nenabld = true",
            &[][..],
            2,
            &[&path[..], "line 2", "`enabled`"][..],
        ),
        (&["serve", "--config", &path], "[memory]\nlimit = \"much\"", &[], 2, &["line 2", "256MiB"]),
        (&["serve", "--config", "/nowhere.toml"], "", &[], 2, &["/nowhere.toml"]),
        (
            &["serve"],
            "",
            &[("PACELINE_P2P_ENABLE", "1")],
            2,
            &["PACELINE_P2P_ENABLE", "PACELINE_P2P_ENABLED"],
        ),
        (&["serve", "--listen", "0.0.0.0:0"], "", &[], 2, &["allowed_hosts"]),
        (&["serve", "--listen", "nonsense"], "", &[], 2, &["--listen"]),
        (&["serve", "--tracker", "http://x/"], "", &[], 2, &["ws://"]),
        (&["serve", "--listen", &taken], "", &[], 1, &[&taken, "--listen"]),
        (&["watch", "ftp://x/"], "", &[], 2, &["http"]),
        (&["stats", "--via", "127.0.0.1:1"], "", &[], 1, &["no daemon answers", "paceline serve"]),
        (&["demo", "--viewers", "0"], "", &[], 2, &["--viewers"]),
        (&["nonsense"], "", &[], 2, &["nonsense"]),
    ] {
        let (code, message) = run(args, config, env);
        assert_eq!(code, Some(status), "{args:?}: {message}");
        for part in parts {
            assert!(message.contains(part), "{args:?}: {message:?} does not say {part:?}");
        }
    }
    let (code, _) = run(&["serve", "--check"], "", &[]);
    assert_eq!(code, Some(0));
}

#[test]
fn a_control_request_changes_only_what_it_names() {
    let daemon = Daemon::start(&["--tracker", "ws://127.0.0.1:1/"], &[]);
    let host = daemon.address;
    let post = |headers: &str, body: &str| {
        let length = body.len();
        let head =
            format!("POST /-/p2p HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{headers}\r\n\r\n");
        raw(host, &format!("{head}{body}")).unwrap()
    };
    let good = "Content-Type: application/json\r\nX-Paceline: 1";
    assert_eq!(post("Content-Type: application/json", "{\"p2p\": false}").status, 403, "without the header");
    assert_eq!(post("X-Paceline: 1", "{\"p2p\": false}").status, 415, "without the type");
    assert_eq!(post(good, "{\"p2pp\": false}").status, 400);
    assert_eq!(daemon.stats()["p2p"], true);
    assert_eq!(post(good, "{\"p2p\": false}").status, 200);
    assert_eq!(daemon.stats()["p2p"], false);
    assert_eq!(post(good, "{\"p2p\": true, \"upload\": false}").status, 200);
    assert_eq!((&daemon.stats()["p2p"], &daemon.stats()["upload"]), (&true.into(), &false.into()));
    assert_eq!(get(host, "/-/nothing").map(|r| r.status), Some(404));
}
