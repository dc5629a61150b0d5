//! Live reloads that take the origin longer than a player likes to wait: who is answered with what, and how the origin is
//! heard all the same.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{oneshot, watch};

use super::client::Reply;
use super::origin::{Origin, Then};
use super::{Daemon, soon};
use crate::delivery::policy::LONGEST_HOLD;

/// Waits of one target duration must end before those of eight seconds begin to.
const TARGET: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(6);

/// A live playlist whose newest segment is `newest`.
fn live(newest: usize) -> String {
    let target = TARGET.as_secs();
    format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:{newest}\n#EXTINF:{target},\nseg{newest}.ts\n"
    )
}

/// The same with a target duration of 4 s.
fn longer(newest: usize) -> String {
    live(newest).replace("TARGETDURATION:2", "TARGETDURATION:4")
}

fn whole(text: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into()
}

/// An origin that says what `script` makes of a request's head and of its number, from 1.
async fn counted(script: impl Fn(&str, usize) -> (Vec<u8>, Then) + Send + Sync + 'static) -> Origin {
    let asked = AtomicUsize::new(0);
    Origin::raw(move |head, _| script(head, 1 + asked.fetch_add(1, Ordering::SeqCst))).await
}

/// All of this at once when the gate is open; before that, only so many bytes of it.
fn trickling(all: Vec<u8>, at_once: usize, gate: &watch::Receiver<usize>, opens: usize) -> (Vec<u8>, Then) {
    let mut rest = all;
    let first = rest.drain(..at_once).collect();
    (first, Then::Later(gate.clone(), opens, rest))
}

/// An origin whose first playlist comes at once; of the `n`th, which lists segment `n`, only `at_once` bytes before the gate is
/// open for it.
async fn slow_origin(at_once: usize) -> (Origin, watch::Sender<usize>) {
    let (gate, opens) = watch::channel(1);
    let origin = counted(move |_, number| trickling(whole(&live(number)), at_once, &opens, number));
    (origin.await, gate)
}

/// Reloads until the origin has been asked so often in all. What the last reload was answered with, in good time.
async fn reloads_until(asked: usize, daemon: &Daemon, origin: &Origin, path: &str) -> Reply {
    soon(async {
        loop {
            let began = Instant::now();
            let reply = daemon.get(&origin.prefix(path)).await;
            assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
            if origin.seen().len() >= asked {
                return reply;
            }
        }
    })
    .await
}

fn is_copy(reply: &Reply, newest: usize) {
    assert_eq!((reply.status, reply.header("x-paceline-source")), (200, Some("memory")), "{}", reply.text());
    lists(reply, newest);
}

fn lists(reply: &Reply, newest: usize) {
    assert!(reply.text().contains(&format!("/seg{newest}.ts")), "not {newest}: {}", reply.text());
}

#[tokio::test]
async fn a_player_waits_a_target_duration_and_the_origin_is_heard_when_it_is_done() {
    // Nothing of the second answer comes at first, or most of it.
    let cases = [0, 100].map(|at_once| async move {
        let (origin, gate) = slow_origin(at_once).await;
        let daemon = Daemon::start().await;
        is_copy(&reloads_until(2, &daemon, &origin, "/live.m3u8").await, 1);
        // The copy is more than two target durations old by then, and does while the origin has not failed.
        let began = Instant::now();
        is_copy(&daemon.get(&origin.prefix("/live.m3u8")).await, 1);
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        assert_eq!(origin.seen().len(), 2, "one reload at a time");
        gate.send_replace(2);
        // What came of it, whether it is waited for or in the past by now: a third answer would hang, too.
        lists(&daemon.get(&origin.prefix("/live.m3u8")).await, 2);
    });
    futures_util::future::join_all(cases).await;
}

#[tokio::test]
async fn an_origin_that_is_always_slow_is_heard_each_time() {
    let (origin, gate) = slow_origin(60).await;
    let daemon = Daemon::start().await;
    for newest in 1..4 {
        is_copy(&reloads_until(newest + 1, &daemon, &origin, "/live.m3u8").await, newest);
        gate.send_replace(newest + 1);
        lists(&daemon.get(&origin.prefix("/live.m3u8")).await, newest + 1);
    }
}

/// What came while nobody waited answers the next reload at once, though it is no longer new; behind that the next is on its way.
/// So does the end of the stream, when there is nothing at the origin any more.
#[tokio::test]
async fn what_came_behind_an_answer_is_given_at_once() {
    for ends in [false, true] {
        let (gate, opens) = watch::channel(1);
        let origin = counted(move |_, number| match (number, ends) {
            (2, true) => trickling(whole(&(longer(2) + "#EXT-X-ENDLIST\n")), 60, &opens, 2),
            (3.., true) => (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone".to_vec(), Then::GoOn),
            _ => trickling(whole(&longer(number)), 60, &opens, number),
        })
        .await;
        let daemon = Daemon::start().await;
        is_copy(&reloads_until(2, &daemon, &origin, "/live.m3u8").await, 1);
        gate.send_replace(2);
        // For a second it would be new, and given to whoever asks.
        tokio::time::sleep(Duration::from_millis(1250)).await;
        let path = origin.prefix("/live.m3u8");
        let reply = tokio::time::timeout(TARGET * 3 / 2, daemon.get(&path)).await.expect("it was there");
        is_copy(&reply, 2);
        assert_eq!(reply.text().contains("#EXT-X-ENDLIST"), ends);
        if !ends {
            // From now on the origin is quick. What came behind that answer is not handed on once it is old.
            gate.send_replace(100);
            soon(async {
                while origin.seen().len() < 3 {
                    tokio::task::yield_now().await
                }
            })
            .await;
            tokio::time::sleep(Duration::from_millis(1250)).await;
            let reply = daemon.get(&path).await;
            lists(&reply, 4);
            assert_eq!(reply.header("x-paceline-source"), Some("http"));
        }
    }
}

#[tokio::test]
async fn one_that_is_stuck_is_asked_for_once_more() {
    let (gate, opens) = watch::channel(1);
    let times = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&times);
    let origin = counted(move |_, number| {
        asked.lock().unwrap().push(Instant::now());
        trickling(whole(&live(number)), 60, &opens, if number == 2 { 2 } else { 1 })
    })
    .await;
    let daemon = Daemon::start().await;
    is_copy(&reloads_until(2, &daemon, &origin, "/live.m3u8").await, 1);
    let reply = reloads_until(3, &daemon, &origin, "/live.m3u8").await;
    assert_eq!(reply.header("x-paceline-source"), Some("http"));
    lists(&reply, 3);
    let times = times.lock().unwrap();
    let given = times[2] - times[1];
    assert!(given > 2 * TARGET && given < 3 * LONGEST_HOLD, "time first, but not all there is: {given:?}");
    drop(gate);
}

#[tokio::test]
async fn one_that_is_stuck_is_asked_for_once_more_while_a_single_player_waits() {
    let (gate, opens) = watch::channel(1);
    let patience = LONGEST_HOLD;
    let origin = counted(move |_, number| {
        let text =
            live(number).replace("TARGETDURATION:2", &format!("TARGETDURATION:{}", patience.as_secs()));
        trickling(whole(&text), 60, &opens, if number == 2 { 2 } else { 1 })
    })
    .await;
    let (daemon, path) = (Daemon::start().await, origin.prefix("/live.m3u8"));
    // Who began the second one hangs up, and nobody asks but one player, in the middle of the time that it is given.
    let begun = async {
        while origin.seen().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await
        }
    };
    soon(async {
        tokio::select! {
            () = begun => {}
            () = async { loop { lists(&daemon.get(&path).await, 1) } } => {}
        }
    })
    .await;
    tokio::time::sleep(patience / 2).await;
    let reply = daemon.get(&path).await;
    assert_eq!((reply.header("x-paceline-source"), origin.seen().len()), (Some("http"), 3));
    lists(&reply, 3);
    drop(gate);
}

#[tokio::test]
async fn what_fails_in_the_end_is_told_when_the_copy_is_too_old() {
    let (gate, opens) = watch::channel(1);
    let origin = counted(move |_, number| match number {
        1 => (whole(&live(1)), Then::GoOn),
        _ => {
            let gone = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone".to_vec();
            trickling(gone, 0, &opens, 2)
        }
    })
    .await;
    let daemon = Daemon::start().await;
    is_copy(&reloads_until(2, &daemon, &origin, "/live.m3u8").await, 1);
    is_copy(&daemon.get(&origin.prefix("/live.m3u8")).await, 1);
    gate.send_replace(2);
    let reply = daemon.get(&origin.prefix("/live.m3u8")).await;
    assert_eq!((reply.status, reply.text()), (404, "gone"));
}

/// A player that is held up itself comes back when its copy is too old for a reload that fails.
#[tokio::test]
async fn who_comes_back_late_is_not_kept_waiting_by_a_slow_origin() {
    let (gate, opens) = watch::channel(1);
    let origin = counted(move |_, number| trickling(whole(&live(number)), 0, &opens, number.min(2))).await;
    let daemon = Daemon::start().await;
    let began = Instant::now();
    lists(&daemon.get(&origin.prefix("/live.m3u8")).await, 1);
    while began.elapsed() <= TARGET * 2 + TARGET / 4 {
        tokio::time::sleep(TARGET / 40).await;
    }
    is_copy(&soon(daemon.get(&origin.prefix("/live.m3u8"))).await, 1);
    drop(gate);
}

#[tokio::test]
async fn nobody_is_answered_from_the_reload_of_another() {
    let (gate, opens) = watch::channel(1);
    let origin = counted(move |head, number| {
        let other = head.to_ascii_lowercase().contains("user-agent: other");
        trickling(whole(&live(number)), 0, &opens, if number == 1 || other { 1 } else { 2 })
    })
    .await;
    let daemon = Daemon::start().await;
    is_copy(&reloads_until(2, &daemon, &origin, "/live.m3u8").await, 1);
    let mut client = daemon.client().await;
    let reply = client.ask("GET", &origin.prefix("/live.m3u8"), "User-Agent: other\r\n").await;
    assert_eq!((reply.status, reply.header("x-paceline-source")), (200, Some("http")));
    lists(&reply, 3);
    drop(gate);
}

#[tokio::test]
async fn what_is_no_reload_goes_straight_through_while_one_is_under_way() {
    let (gate, opens) = watch::channel(1);
    let origin = counted(move |head, number| {
        let at_once = if head.starts_with("HEAD") {
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
        } else if head.to_ascii_lowercase().contains("range: bytes=2-3") {
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-3/99\r\nContent-Length: 2\r\n\r\nXT"
        } else {
            return trickling(whole(&live(number)), 0, &opens, number);
        };
        (at_once.into(), Then::GoOn)
    })
    .await;
    let daemon = Daemon::start().await;
    // A name that says nothing: of what is called a playlist no ranges are asked for.
    is_copy(&reloads_until(2, &daemon, &origin, "/live").await, 1);
    let head = daemon.client().await.ask("HEAD", &origin.prefix("/live"), "").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("99")));
    let part = daemon.client().await.ask("GET", &origin.prefix("/live"), "Range: bytes=2-3\r\n").await;
    assert_eq!((part.status, part.text(), part.header("content-range")), (206, "XT", Some("bytes 2-3/99")));
    drop(gate);
}

#[tokio::test]
async fn a_blocking_reload_waits_for_the_origin_alone() {
    let (origin, gate) = slow_origin(0).await;
    let daemon = Daemon::start().await;
    // The same URL as before: of it there is something that would be a copy if it were another.
    let path = origin.prefix("/live.m3u8?_HLS_msn=8&_HLS_part=1");
    lists(&daemon.get(&path).await, 1);
    let mut client = daemon.client().await;
    client.say(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", daemon.address)).await;
    let early = tokio::time::timeout(LONGEST_HOLD + Duration::from_secs(1), client.reply(false)).await;
    assert!(early.is_err(), "{early:?}");
    gate.send_replace(2);
    let reply = client.reply(false).await;
    assert_eq!(reply.header("x-paceline-source"), Some("http"));
    lists(&reply, 2);
}

#[tokio::test]
async fn one_that_grows_long_is_read_for_its_player_alone() {
    let origin = counted(|_, number| {
        let longer = format!("#{}\n", "x".repeat(15_000)).repeat(if number > 1 { 300 } else { 0 });
        (whole(&(live(number) + &longer)), Then::GoOn)
    })
    .await;
    let daemon = Daemon::start().await;
    for newest in 1..4 {
        let reply = reloads_until(newest, &daemon, &origin, "/live.m3u8").await;
        assert_eq!((reply.status, reply.header("x-paceline-source")), (200, Some("http")));
        lists(&reply, newest);
    }
}

#[tokio::test]
async fn a_live_mpd_is_waited_for_no_longer() {
    let mpd = |number: usize| {
        whole(&format!(
            "<MPD type=\"dynamic\" availabilityStartTime=\"2026-01-01T00:00:00Z\" minimumUpdatePeriod=\"PT2S\">\
             <Period id=\"{number}\" start=\"PT0S\"><AdaptationSet><SegmentTemplate duration=\"2\" media=\"$Number$.m4s\"/>\
             <Representation id=\"v\" bandwidth=\"1000\"/></AdaptationSet></Period></MPD>"
        ))
    };
    let (gate, opens) = watch::channel(1);
    let origin = counted(move |_, number| trickling(mpd(number), 90, &opens, number)).await;
    let daemon = Daemon::start().await;
    let reply = reloads_until(2, &daemon, &origin, "/live.mpd").await;
    assert_eq!(reply.header("x-paceline-source"), Some("memory"));
    assert!(reply.text().contains("id=\"1\"") && reply.text().contains("<BaseURL>"), "{}", reply.text());
    gate.send_replace(2);
    let reply = daemon.get(&origin.prefix("/live.mpd")).await;
    assert!(reply.text().contains("id=\"2\"") && reply.text().contains("<BaseURL>"), "{}", reply.text());
}

#[tokio::test]
async fn a_reload_under_way_ends_with_the_daemon() {
    let ((begins, mut begun), (told, hears)) = (oneshot::channel(), oneshot::channel());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("/http://{}/live.m3u8", listener.local_addr().unwrap());
    let origin = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        let _ = first.read(&mut [0; 4096]).await;
        first.write_all(&whole(&live(1))).await.unwrap();
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        let _ = begins.send(());
        // Its request, and then its end.
        while second.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {}
        let _ = told.send(());
        // Nothing is asked for again.
        let _ = listener.accept().await;
    });
    let daemon = Daemon::start().await;
    lists(&daemon.get(&target).await, 1);
    soon(async {
        while begun.try_recv().is_err() {
            is_copy(&daemon.get(&target).await, 1);
        }
    })
    .await;
    daemon.stop().await;
    tokio::time::timeout(LONGEST_HOLD, hears).await.expect("it goes on").unwrap();
    origin.abort();
}
