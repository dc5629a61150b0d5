//! Redirects and cookies: in prefix and channel mode the daemon is the browser, in forward mode the player is.

use std::fmt::Write;

use super::Daemon;
use super::origin::{Origin, Seen, Then, answer};

#[tokio::test]
async fn redirects_are_followed_for_players_of_ours_and_passed_on_to_others() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/old/a.ts?t=1" => answer(302, &[("location", "../new/a.ts?t=2")], "gone"),
        "/new/a.ts?t=2" => answer(200, &[("content-type", "video/mp2t")], "media"),
        _ => answer(404, &[], ""),
    })
    .await;
    let daemon = Daemon::start().await;
    let ours = daemon.client().await.ask("GET", &origin.prefix("/old/a.ts?t=1"), "Range: bytes=0-\r\n").await;
    assert_eq!((ours.status, ours.text()), (200, "media"));
    assert_eq!(origin.last().header("range"), Some("bytes=0-"));
    let forward = daemon.get(&origin.url("/old/a.ts?t=1")).await;
    assert_eq!((forward.status, forward.text()), (302, "gone"));
    assert_eq!(forward.header("location"), Some("../new/a.ts?t=2"));
}

#[tokio::test]
async fn another_host_is_not_told_what_was_meant_for_the_first() {
    let other = Origin::start(|_| answer(200, &[], "there")).await;
    let target = other.url("/b");
    let first = Origin::start(move |seen| match seen.target.as_str() {
        "/away" => answer(307, &[("location", &target)], ""),
        "/here" => answer(307, &[("location", "/stay")], ""),
        _ => answer(200, &[], "stayed"),
    })
    .await;
    let daemon = Daemon::start().await;
    let secrets = "Authorization: Bearer s\r\nCookie: a=b\r\nX-Kept: 1\r\n";
    let mut client = daemon.client().await;
    assert_eq!(client.ask("GET", &first.prefix("/away"), secrets).await.text(), "there");
    let seen = other.last();
    assert_eq!(
        (seen.header("authorization"), seen.header("cookie"), seen.header("x-kept")),
        (None, None, Some("1"))
    );
    assert_eq!(client.ask("GET", &first.prefix("/here"), secrets).await.text(), "stayed");
    assert_eq!(first.last().header("authorization"), Some("Bearer s"));
}

#[tokio::test]
async fn redirects_that_lead_nowhere_end() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/file" => answer(302, &[("location", "file:///etc/passwd")], ""),
        "/bad" => answer(302, &[("location", "http://[")], ""),
        "/none" => answer(302, &[], "where to?"),
        "/many" => answer(300, &[("location", "/elsewhere")], "choose"),
        target => answer(302, &[("location", &format!("{target}x"))], ""),
    })
    .await;
    let daemon = Daemon::start().await;
    let reply = daemon.get(&origin.prefix("/loop")).await;
    assert_eq!((reply.status, origin.seen().len()), (502, 11), "the first and ten more");
    assert!(reply.text().contains("redirects"), "{}", reply.text());
    for path in ["/file", "/bad"] {
        assert_eq!(daemon.get(&origin.prefix(path)).await.status, 502, "{path}");
    }
    assert_eq!(daemon.get(&origin.prefix("/none")).await.text(), "where to?");
    let many = daemon.get(&origin.prefix("/many")).await;
    assert_eq!((many.status, many.text()), (300, "choose"));
    assert_eq!(many.header("location"), Some(origin.prefix("/elsewhere").as_str()), "leads back to us");
}

/// As servers write them that have never heard of percent signs.
#[tokio::test]
async fn redirects_in_raw_bytes_are_followed_or_lead_back_to_us() {
    let origin = Origin::raw(|head, _| {
        let line = head.lines().next().unwrap();
        let say = |status: &str| {
            let length = line.len();
            let moved = "/\u{fc}/a b.ts?t=\u{4e16}";
            let head =
                format!("HTTP/1.1 {status}\r\nLocation: {moved}\r\nContent-Length: {length}\r\n\r\n{line}");
            (head.into_bytes(), Then::GoOn)
        };
        say(if line.contains("/old") { "302 Found" } else { "200 OK" })
    })
    .await;
    let daemon = Daemon::start().await;
    let there = "/%C3%BC/a%20b.ts?t=%E4%B8%96";
    let reply = daemon.get(&origin.prefix("/old")).await;
    assert_eq!((reply.status, reply.text()), (200, format!("GET {there} HTTP/1.1").as_str()));
    let made = daemon.client().await.ask("POST", &origin.prefix("/old"), "Content-Length: 0\r\n").await;
    assert_eq!((made.status, made.header("location")), (302, Some(origin.prefix(there).as_str())));
}

#[tokio::test]
async fn what_is_not_followed_leads_back_to_us() {
    let origin = Origin::start(|_| answer(303, &[("location", "/made/1")], "")).await;
    let daemon = Daemon::start().await;
    let reply = daemon.client().await.ask("POST", &origin.prefix("/make"), "Content-Length: 0\r\n").await;
    assert_eq!((reply.status, origin.seen().len()), (303, 1));
    assert_eq!(reply.header("location"), Some(origin.prefix("/made/1").as_str()));
}

fn sets_a_cookie(seen: &Seen) -> http::Response<bytes::Bytes> {
    let cookies = seen.header("cookie").unwrap_or("none").to_owned();
    match seen.target.as_str() {
        "/login" => answer(200, &[("set-cookie", "id=7; Path=/; HttpOnly")], cookies),
        "/login-and-go" => answer(302, &[("set-cookie", "id=8; Path=/"), ("location", "/x")], ""),
        _ => answer(200, &[], cookies),
    }
}

#[tokio::test]
async fn cookies_stay_in_the_daemon_and_with_their_viewer() {
    let (origin, other) = (Origin::start(sets_a_cookie).await, Origin::start(sets_a_cookie).await);
    let daemon = Daemon::start().await;
    let mut vlc = daemon.client().await;
    let agent = "User-Agent: VLC\r\nCookie: from=player\r\n";
    let reply = vlc.ask("GET", &origin.prefix("/login"), agent).await;
    assert_eq!((reply.text(), reply.header("set-cookie")), ("none", None));
    // A connection says nothing of who asks: the same player on another one.
    let mut again = daemon.client().await;
    assert_eq!(again.ask("GET", &origin.prefix("/seg.ts"), agent).await.text(), "id=7");
    assert_eq!(again.ask("GET", &origin.prefix("/login-and-go"), agent).await.text(), "id=8");
    let mpv = daemon.client().await.ask("GET", &origin.prefix("/seg.ts"), "User-Agent: mpv\r\n").await;
    assert_eq!(mpv.text(), "none", "another viewer");
    // Cookies are shared by all ports of a host (RFC 6265 §8.5), and the two origins here differ by port alone.
    assert_eq!(vlc.ask("GET", &other.prefix("/seg.ts"), agent).await.text(), "id=8");
    let elsewhere = other.prefix("/seg.ts").replace("127.0.0.1", "127.0.0.2");
    assert_eq!(vlc.ask("GET", &elsewhere, agent).await.status, 502, "nobody listens there");

    let forward = vlc.ask("GET", &origin.url("/login"), agent).await;
    assert_eq!(forward.text(), "from=player", "in forward mode the player keeps its own");
    assert_eq!(forward.header("set-cookie"), Some("id=7; Path=/; HttpOnly"));
}

/// The same stream by both ways in: the one that loaded its playlist last does not say how the other's segments are asked for.
#[tokio::test]
async fn each_player_of_a_stream_has_its_segments_asked_for_by_its_own_way_in() {
    let list = (0..4).fold("#EXTM3U\n#EXT-X-TARGETDURATION:4\n".to_owned(), |mut list, n| {
        let _ = write!(list, "#EXTINF:4,\n{n}.ts\n");
        list
    });
    let origin = Origin::start(move |seen| match seen.target.as_str() {
        "/list.m3u8" => answer(200, &[("set-cookie", "id=7; Path=/")], list.clone() + "#EXT-X-ENDLIST\n"),
        "/moved.ts" => answer(200, &[], "moved"),
        "/1.ts" | "/3.ts" => answer(302, &[("location", "/moved.ts")], ""),
        target => answer(200, &[], format!("{target} for {}", seen.header("cookie").unwrap_or("nobody"))),
    })
    .await;
    for loads in [["ours", "forward"], ["forward", "ours"]] {
        let daemon = Daemon::with(|config| config.segments = true).await;
        let mut client = daemon.client().await;
        let mut ask = async |way, path: &str| match way {
            "ours" => client.ask("GET", &origin.prefix(path), "User-Agent: VLC\r\n").await,
            _ => client.ask("GET", &origin.url(path), "User-Agent: mpv\r\nCookie: own=1\r\n").await,
        };
        for way in loads {
            assert_eq!(ask(way, "/list.m3u8").await.status, 200);
        }
        let before = origin.seen().len();
        for (way, path, status, body) in [
            ("ours", "/0.ts", 200, "/0.ts for id=7"),
            ("ours", "/1.ts", 200, "moved"),
            ("forward", "/2.ts", 200, "/2.ts for own=1"),
            ("forward", "/3.ts", 302, ""),
            // It is a segment, and not passed through.
            ("ours", "/0.ts", 200, "/0.ts for id=7"),
        ] {
            let reply = ask(way, path).await;
            assert_eq!((reply.status, reply.text()), (status, body), "{way} {path}, {loads:?}");
        }
        assert_eq!(origin.seen().len(), before + 5, "{loads:?}");
    }
}
