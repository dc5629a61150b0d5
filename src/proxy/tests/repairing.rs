//! What goes wrong at the origin for a moment does not reach the player, and what players hammer at does not reach the
//! origin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::Daemon;
use super::origin::{Origin, Then, answer};

const LIVE: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:4,\nseg7.ts\n";
const OTHER: &str = "video/mp2t";

#[tokio::test]
async fn a_momentary_error_is_asked_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let origin =
        Origin::start(move |seen| match (seen.target.as_str(), count.fetch_add(1, Ordering::SeqCst)) {
            ("/later", _) => answer(503, &[("retry-after", "120")], "later"),
            ("/never", _) => answer(500, &[], "broken for good"),
            (_, n) if n % 2 == 0 => answer(503, &[], "busy"),
            _ => answer(200, &[("content-type", OTHER)], "media"),
        })
        .await;
    let daemon = Daemon::start().await;
    for target in ["/init.mp4", "/key", "/list.m3u8"] {
        let reply = daemon.get(&origin.prefix(target)).await;
        assert_eq!((reply.status, reply.text()), (200, "media"), "{target}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 6);
    let reply = daemon.get(&origin.prefix("/later")).await;
    assert_eq!((reply.status, reply.text(), asked.load(Ordering::SeqCst)), (503, "later", 7), "it said when");
    let reply = daemon.get(&origin.prefix("/never")).await;
    assert_eq!((reply.status, reply.text()), (500, "broken for good"), "in the end, the origin's own word");
    // What may have had an effect is not said twice.
    let before = origin.seen().len();
    let reply = daemon.client().await.ask("POST", &origin.prefix("/never"), "Content-Length: 0\r\n").await;
    assert_eq!((reply.status, origin.seen().len()), (500, before + 1));
}

#[tokio::test]
async fn whatever_may_be_over_in_a_moment_is_asked_again() {
    let date = |seconds| httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds));
    let asked = std::sync::Mutex::new(std::collections::HashSet::new());
    let origin = Origin::start(move |seen| {
        let first = asked.lock().unwrap().insert(seen.target.clone());
        if !first {
            return answer(200, &[("content-type", OTHER)], "media");
        }
        let (status, after) = seen.target[1..].trim_end_matches(".m3u8").split_at(3);
        let after = match after.trim_start_matches('-') {
            "date" => date(1),
            "long" => date(60),
            after => after.to_owned(),
        };
        let fields = [("retry-after", after.as_str())];
        answer(status.parse().unwrap(), if after.is_empty() { &[] } else { &fields }, "no")
    })
    .await;
    let daemon = Daemon::start().await;
    for (name, again) in [
        ("408", true),
        ("429", true),
        ("429-1", true),
        ("500", true),
        ("503-0", true),
        ("503-1", true),
        ("503-date", true),
        ("503-soon", true),
        ("520", true),
        ("527-2", true),
        ("503-5", false),
        ("503-18446744073709551615", false),
        ("503-long", false),
        ("401", false),
        ("403", false),
        ("407", false),
        ("501", false),
        ("505", false),
        ("511", false),
    ] {
        let began = Instant::now();
        let reply = daemon.get(&origin.prefix(&format!("/{name}.m3u8"))).await;
        let (of_player, requests) = if again { (200, 2) } else { (name[..3].parse().unwrap(), 1) };
        assert_eq!(reply.status, of_player, "{name}");
        let of = |seen: &&super::origin::Seen| seen.target == format!("/{name}.m3u8");
        assert_eq!(origin.seen().iter().filter(of).count(), requests, "{name}");
        let least = name.split_once('-').filter(|_| again).and_then(|(_, after)| after.parse().ok());
        assert!(began.elapsed() >= Duration::from_secs(least.unwrap_or(0)), "{name}: when it said");
    }
}

#[tokio::test]
async fn what_goes_on_with_a_body_may_fail_for_a_moment_too() {
    let asked = AtomicUsize::new(0);
    let origin = Origin::raw(move |head, _| {
        let rest = head.to_ascii_lowercase().contains("\r\nrange: bytes=4-9");
        let text = match asked.fetch_add(usize::from(rest), Ordering::SeqCst) {
            _ if !rest => "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Type: video/mp4\r\nContent-Length: 10\r\n\r\nabcd",
            0 => "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            1 => "",
            _ if head.contains("/never") => "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            _ => "HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\n\r\nefghij",
        };
        (text.into(), Then::Close)
    })
    .await;
    let daemon = Daemon::start().await;
    let reply = daemon.get(&origin.prefix("/once")).await;
    assert_eq!((reply.text(), reply.whole), ("abcdefghij", true));
    let before = origin.seen().len();
    let reply = daemon.get(&origin.prefix("/never")).await;
    assert_eq!((reply.text(), reply.whole), ("abcd", false));
    assert_eq!(origin.seen().len() - before, usize::from(crate::delivery::policy::FETCH_TRIES));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_gone_on_with() {
    let origin = Origin::raw(|head, _| {
        let text = match head.split(' ').nth(1).unwrap() {
            "/changes" if head.to_ascii_lowercase().contains("\r\nrange:") => {
                "HTTP/1.1 200 OK\r\nETag: \"2\"\r\nContent-Length: 10\r\n\r\nABCDEFGHIJ"
            }
            "/nameless" => "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 10\r\n\r\nabcd",
            _ if head.to_ascii_lowercase().contains("\r\nrange: bytes=4-9") => {
                "HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\n\r\nefghij"
            }
            _ => "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Type: video/mp4\r\nContent-Length: 10\r\n\r\nabcd",
        };
        (text.into(), Then::Close)
    })
    .await;
    let daemon = Daemon::start().await;
    let reply = daemon.get(&origin.prefix("/whole")).await;
    assert_eq!((reply.status, reply.text(), reply.whole), (200, "abcdefghij", true));
    let rest = origin.seen().pop().unwrap();
    assert!(String::from_utf8_lossy(&rest.body).to_ascii_lowercase().contains("if-range: \"1\""));
    for target in ["/changes", "/nameless"] {
        // Another version, or one without a name: two halves would not be a whole.
        let reply = daemon.get(&origin.prefix(target)).await;
        assert_eq!((reply.text(), reply.whole), ("abcd", false), "{target}");
    }
}

#[tokio::test]
async fn whoever_is_redirected_to_is_told_no_more_when_he_breaks_off() {
    let other = Origin::raw(|head, _| {
        let rest = head.to_ascii_lowercase().contains("\r\nrange: bytes=4-9");
        let text = if rest {
            "HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\n\r\nefghij"
        } else {
            "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Type: video/mp4\r\nContent-Length: 10\r\n\r\nabcd"
        };
        (text.into(), Then::Close)
    })
    .await;
    let target = other.url("/b.mp4");
    let first = Origin::start(move |_| answer(302, &[("location", &target)], "")).await;
    let daemon = Daemon::start().await;
    let secret = "Authorization: Bearer s\r\n";
    let reply = daemon.client().await.ask("GET", &first.prefix("/a.mp4"), secret).await;
    assert_eq!((reply.text(), reply.whole), ("abcdefghij", true));
    let heads: Vec<String> =
        other.seen().iter().map(|seen| String::from_utf8_lossy(&seen.body).to_ascii_lowercase()).collect();
    assert_eq!(heads.len(), 2, "{heads:?}");
    assert!(heads.iter().all(|head| !head.contains("authorization")), "{heads:?}");
    assert!(heads[1].contains("if-range: \"1\""), "{heads:?}");
}

#[tokio::test]
async fn a_live_playlist_that_fails_is_answered_from_its_last_good_copy() {
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    let origin = Origin::start(move |seen| match (failing.load(Ordering::SeqCst), seen.target.as_str()) {
        (true, _) => answer(404, &[], "gone"),
        (false, "/vod.m3u8") => answer(200, &[], format!("{LIVE}#EXT-X-ENDLIST\n")),
        (false, _) => answer(200, &[], LIVE),
    })
    .await;
    let daemon = Daemon::start().await;
    for target in ["/live.m3u8", "/vod.m3u8"] {
        assert_eq!(daemon.get(&origin.prefix(target)).await.status, 200);
    }
    fails.store(true, Ordering::SeqCst);
    // Past the second in which it is new.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    // Two players of one name, and one of them again: that it is absent is known by then, and no answer.
    for _ in 0..3 {
        let before = origin.seen().len();
        let reply = daemon.get(&origin.prefix("/live.m3u8")).await;
        assert_eq!((reply.status, reply.header("x-paceline-source")), (200, Some("memory")));
        assert!(reply.text().contains(&origin.prefix("/seg7.ts")), "{}", reply.text());
        assert_eq!(origin.seen().len(), before + 1, "the origin was asked first");
    }
    assert_eq!(daemon.get(&origin.prefix("/vod.m3u8")).await.status, 404, "nothing of it will change");
}

#[tokio::test]
async fn a_playlist_opened_twice_is_fetched_once_by_each_viewer() {
    let origin = Origin::start(|_| answer(200, &[], LIVE)).await;
    let daemon = Daemon::start().await;
    for agent in ["a", "a", "b"] {
        let (mut client, named) = (daemon.client().await, format!("User-Agent: {agent}\r\n"));
        let reply = client.ask("GET", &origin.prefix("/live.m3u8"), &named).await;
        assert_eq!(reply.status, 200);
    }
    assert_eq!(origin.seen().len(), 2);
    let blocking = origin.prefix("/live.m3u8?_HLS_msn=8");
    for _ in 0..2 {
        assert_eq!(daemon.get(&blocking).await.status, 200);
    }
    assert_eq!(origin.seen().len(), 4, "a blocking reload always waits for news");
}

/// A live MPD that says it is loaded anew only so often: its copy is not too old when it is.
#[tokio::test]
async fn a_live_mpd_that_fails_is_answered_with_its_last_copy_when_it_is_loaded_anew() {
    let (asked, began) = (AtomicUsize::new(0), Instant::now());
    let origin = Origin::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => {
            let mpd = "<MPD type=\"dynamic\" availabilityStartTime=\"2026-01-01T00:00:00Z\" minimumUpdatePeriod=\"PT10S\">\
                <Period start=\"PT0S\"><AdaptationSet><SegmentTemplate media=\"$Number$.m4s\" duration=\"1\"/>\
                <Representation id=\"v\"/></AdaptationSet></Period></MPD>";
            answer(200, &[("content-type", "application/dash+xml")], mpd)
        }
        _ => answer(404, &[], "gone"),
    })
    .await;
    let daemon = Daemon::start().await;
    let first = daemon.get(&origin.prefix("/live.mpd")).await;
    assert_eq!(first.status, 200);
    // More than two of its segments later.
    while began.elapsed() < Duration::from_millis(2500) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let reply = daemon.get(&origin.prefix("/live.mpd")).await;
    assert_eq!((reply.status, reply.text()), (200, first.text()));
    assert!(origin.seen().len() > 1, "the origin was asked");
}

/// Players end with a playlist, a key or an init segment that is not there for a moment.
#[tokio::test]
async fn what_is_not_there_once_is_asked_for_again() {
    let asked = AtomicUsize::new(0);
    let origin = Origin::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => answer(404, &[], "not yet"),
        _ => answer(200, &[("content-type", "application/octet-stream")], "0123456789abcdef"),
    })
    .await;
    let daemon = Daemon::start().await;
    let reply = daemon.get(&origin.prefix("/keys/key.bin")).await;
    assert_eq!((reply.status, reply.text()), (200, "0123456789abcdef"));
}

#[tokio::test]
async fn what_is_absent_twice_is_not_asked_for_at_once_again() {
    let origin = Origin::start(|_| answer(404, &[], "no")).await;
    let daemon = Daemon::start().await;
    for _ in 0..10 {
        assert_eq!(daemon.get(&origin.prefix("/seg.m4s")).await.status, 404);
    }
    assert!(origin.seen().len() <= 3, "asked {} times", origin.seen().len());
}
