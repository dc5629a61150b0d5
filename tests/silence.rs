//! Origins that accept a connection, or begin an answer, and then send nothing: half a minute is longer than players bear.
//! And those of low-latency streams, which do so for a reason.

mod common;
#[path = "common/scripted.rs"]
mod scripted;

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use common::{Daemon, raw};
use scripted::{Scripted, from_of, respond};

const PLAYLIST: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:4,\na.ts\n#EXTINF:4,\nb.ts\n#EXT-X-ENDLIST\n";

fn content() -> Vec<u8> {
    (0..200_000u32).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// An origin whose first answer to this ends, without closing, after `sent` bytes of the body (or before there is any answer),
/// until the gate is opened; it answers whoever asks again.
fn hanging(what: &'static str, sent: Option<usize>) -> (Scripted, Sender<()>) {
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let (gate, first) = (Mutex::new(gate), Mutex::new(true));
    let origin = Scripted::start(move |_, head, stream| {
        let body = if head.contains(".m3u8") { PLAYLIST.as_bytes().to_vec() } else { content() };
        if head.contains(what) && std::mem::take(&mut *first.lock().unwrap()) {
            if let Some(sent) = sent {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nETag: \"1\"\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..sent]));
            }
            let _ = gate.lock().unwrap().recv();
            return;
        }
        let from = from_of(head);
        if from == 0 {
            return respond(stream, "200 OK", "Content-Type: video/mp4\r\nETag: \"1\"\r\n", &body);
        }
        let range = format!(
            "Content-Type: video/mp4\r\nETag: \"1\"\r\nContent-Range: bytes {from}-{}/{}\r\n",
            body.len() - 1,
            body.len()
        );
        respond(stream, "206 Partial Content", &range, &body[from..]);
    });
    (origin, release)
}

#[test]
fn a_silent_origin_is_asked_once_more_beside() {
    // No answer, a head alone, some of the body; the first manifest; and what no manifest lists.
    let listed = [("a.ts", None), ("a.ts", Some(0)), ("a.ts", Some(70_000)), ("index.m3u8", None)];
    let unlisted = [("init.mp4", None), ("init.mp4", Some(0)), ("init.mp4", Some(70_000))];
    for (what, sent) in listed.into_iter().chain(unlisted) {
        let (origin, release) = hanging(what, sent);
        // Nothing else ends the wait: a connection that hangs is not given up before the test is.
        let patient = ["PACELINE_ORIGIN_FIRST_BYTE_TIMEOUT_S", "PACELINE_ORIGIN_IDLE_TIMEOUT_S"];
        let daemon = Daemon::start(&[], &patient.map(|key| (key, "300")));
        assert_eq!(daemon.get(&origin.url("index.m3u8")).status, 200);
        let file = if what == "index.m3u8" { "a.ts" } else { what };
        let reply = daemon.get(&origin.url(file));
        assert_eq!((reply.status, reply.body == content()), (200, true), "{what}, {sent:?}");
        assert_eq!(origin.requests.load(Ordering::SeqCst), 3, "{what}, {sent:?}");
        drop(release);
    }
}

/// A segment in a file of its own, then two that are ranges of one file to which parts are appended.
const LOW_LATENCY: &str = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:4\n#EXT-X-PART-INF:PART-TARGET=1\n#EXTINF:4,\na.ts\n\
    #EXTINF:4,\n#EXT-X-BYTERANGE:50000@0\nall.mp4\n#EXTINF:4,\n#EXT-X-BYTERANGE:50000@50000\nall.mp4\n\
    #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"hint.mp4\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"all.mp4\",BYTERANGE-START=100000\n";

/// What is hinted at is there after this: longer than any other silence is borne.
const HELD: Duration = Duration::from_millis(6500);

#[test]
fn what_a_playlist_hints_at_is_asked_for_once_however_long_it_is_held_back() {
    let hints = [("hint.mp4", 0), ("all.mp4", 100_000)];
    let origin = Scripted::start(move |_, head, stream| {
        if head.contains(".m3u8") {
            return respond(stream, "200 OK", "", LOW_LATENCY.as_bytes());
        }
        let from = from_of(head);
        if hints.iter().any(|(file, start)| head.contains(file) && from == *start) {
            std::thread::sleep(HELD);
        }
        let body = &content()[from..];
        let range = format!("Content-Range: bytes {from}-{}/*\r\n", from + body.len() - 1);
        respond(stream, "206 Partial Content", &range, body);
    });
    let daemon = Daemon::start(&[], &[]);
    assert_eq!(daemon.get(&origin.url("live.m3u8")).status, 200);
    std::thread::scope(|scope| {
        for (file, start) in hints {
            let (daemon, url) = (&daemon, origin.url(file));
            scope.spawn(move || {
                let fields = format!("Host: {}\r\nUser-Agent: test\r\nRange: bytes={start}-", daemon.address);
                let request = format!("GET /{url} HTTP/1.1\r\n{fields}\r\nConnection: close\r\n\r\n");
                let reply = raw(daemon.address, &request).expect("the daemon answers");
                assert_eq!((reply.status, reply.body == content()[start..]), (206, true), "{file}");
            });
        }
    });
    assert_eq!(origin.requests.load(Ordering::SeqCst), 3, "the playlist, and each hint once");
}
