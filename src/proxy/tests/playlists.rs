//! Playlists: read, listed, rewritten, and what they name found again.

use super::Daemon;
use super::origin::{Origin, Then, answer};

const MEDIA: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-KEY:METHOD=AES-128,URI=\"key.bin?k=1\"\n\
    #EXT-X-MAP:URI=\"init.mp4\"\n#X-Unknown: as it is\n#EXTINF:4,\nseg0.m4s?t=a%2Fb\n#EXTINF:4,\n\
    http://127.0.0.1:9/abs.php\r\n#EXTINF:4,\n/root.ts\n#EXT-X-ENDLIST\n";
const MIME: &str = "application/vnd.apple.mpegurl";

async fn serving(body: &'static str, kind: &'static str) -> (Origin, Daemon) {
    let origin = Origin::start(move |seen| {
        let list = answer(200, &[("content-type", kind), ("etag", "\"e\"")], body);
        if seen.target.contains("list") { list } else { answer(200, &[("x-asked", &seen.target)], "media") }
    });
    (origin.await, Daemon::start().await)
}

/// The URIs of a playlist.
fn uris(text: &str) -> Vec<String> {
    let plain = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned);
    let quoted = text.split("URI=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    plain.chain(quoted).collect()
}

#[tokio::test]
async fn what_a_playlist_names_is_asked_of_the_origin_it_came_from() {
    let (origin, daemon) = serving(MEDIA, "audio/mpegurl").await;
    let mut client = daemon.client().await;
    let list = client.get(&origin.prefix("/live/list.m3u8?tok=1")).await;
    assert_eq!((list.status, list.header("content-type")), (200, Some(MIME)));
    assert_eq!(list.header("content-length"), Some(list.body.len().to_string().as_str()));
    assert_eq!(list.header("etag"), None);
    let at = |path: &str| origin.prefix(path);
    let expected = MEDIA
        .replace("key.bin", &at("/live/key.bin"))
        .replace("init.mp4", &at("/live/init.mp4"))
        .replace("seg0.m4s", &at("/live/seg0.m4s"))
        .replace("http://127.0.0.1:9/abs.php", "/http://127.0.0.1:9/abs.php/~paceline.m4s")
        .replace("\n/root.ts", &format!("\n{}", at("/root.ts")));
    assert_eq!(list.text(), expected);
    for uri in uris(list.text()).iter().filter(|uri| !uri.contains(":9/")) {
        let asked = client.get(uri).await;
        assert_eq!(asked.text(), "media", "{uri}");
        let there = uri.strip_prefix(&origin.prefix("")).unwrap();
        assert_eq!(asked.header("x-asked"), Some(there));
    }
}

#[tokio::test]
async fn in_forward_mode_a_playlist_stays_as_it_is() {
    let (origin, daemon) = serving(MEDIA, "audio/mpegurl").await;
    let list = daemon.client().await.ask("GET", &origin.url("/list.m3u8"), "Range: bytes=0-\r\n").await;
    assert_eq!((list.status, list.text()), (200, MEDIA));
    assert_eq!((list.header("content-type"), list.header("etag")), (Some("audio/mpegurl"), Some("\"e\"")));
    assert_eq!(origin.last().header("range"), None);
}

#[tokio::test]
async fn playlists_are_known_by_what_they_are() {
    for kind in
        ["text/plain", "application/octet-stream", "application/x-mpegURL; charset=utf-8", "text/html"]
    {
        let (origin, daemon) = serving(MEDIA, kind).await;
        for path in ["/list.m3u8", "/list", "/list.php?x=1"] {
            for range in ["", "Range: bytes=0-\r\n"] {
                let list = daemon.client().await.ask("GET", &origin.prefix(path), range).await;
                assert_eq!((list.status, list.header("content-type")), (200, Some(MIME)), "{kind} {path}");
                assert!(list.text().contains(&origin.prefix("/seg0.m4s")), "{kind} {path}");
            }
        }
    }
    let (origin, daemon) = serving("not one", "audio/mpegurl").await;
    let text = daemon.get(&origin.prefix("/list.m3u8")).await;
    assert_eq!((text.text(), text.header("content-type")), ("not one", Some("audio/mpegurl")));
    let (origin, daemon) = serving("#EXTM3U", "video/mp2t").await;
    assert_eq!(daemon.get(&origin.prefix("/list.ts")).await.header("content-type"), Some("video/mp2t"));
}

#[tokio::test]
async fn a_head_promises_what_a_get_keeps() {
    let mpd = "<MPD><Period/></MPD>";
    for (body, path, kind) in [(MEDIA, "/list.m3u8", MIME), (mpd, "/list.mpd", "application/dash+xml")] {
        let (origin, daemon) = serving(body, "text/plain").await;
        let mut client = daemon.client().await;
        let head = client.ask("HEAD", &origin.prefix(path), "").await;
        assert_eq!(
            (head.status, head.header("content-type"), head.header("content-length")),
            (200, Some(kind), None)
        );
        assert_eq!(origin.last().method, "HEAD", "the origin sees what it would have seen");
        let get = client.get(&origin.prefix(path)).await;
        for name in ["content-type", "etag", "accept-ranges", "content-encoding"] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
    }
    let (origin, daemon) = serving(MEDIA, "text/plain").await;
    let mut client = daemon.client().await;
    let other = client.ask("HEAD", &origin.prefix("/media.bin"), "").await;
    assert_eq!(other.header("content-length"), Some("5"));
}

#[tokio::test]
async fn part_of_a_playlist_is_not_taken_for_all_of_it() {
    let origin = Origin::start(|seen| match seen.header("range") {
        Some("bytes=0-") => {
            answer(206, &[("content-range", &format!("bytes 0-{}/{}", MEDIA.len() - 1, MEDIA.len()))], MEDIA)
        }
        Some(_) => answer(206, &[("content-range", &format!("bytes 0-9/{}", MEDIA.len()))], &MEDIA[..10]),
        None => answer(200, &[], MEDIA),
    })
    .await;
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    for (path, range, status) in [
        ("/unnamed", "", 200),
        ("/unnamed", "Range: bytes=0-\r\n", 200),
        ("/unnamed", "Range: bytes=0-9\r\n", 206),
        ("/named.m3u8", "Range: bytes=0-9\r\n", 200),
    ] {
        let list = client.ask("GET", &origin.prefix(path), range).await;
        assert_eq!(list.status, status, "{path} {range}");
        assert_eq!(list.header("content-range").is_some(), status == 206);
        assert_eq!(list.text().contains(&origin.prefix("/seg0.m4s")), status == 200);
    }
}

#[tokio::test]
async fn a_redirected_playlist_is_resolved_where_it_was_found() {
    let origin = Origin::start(|seen| match seen.target.as_str() {
        "/go/list.m3u8" => answer(302, &[("location", "/there/list.m3u8")], ""),
        _ => answer(200, &[], "#EXTM3U\n#EXTINF:4,\nseg.ts\n"),
    })
    .await;
    let daemon = Daemon::with(|config| config.channels.push(("news", origin.url("/go/list.m3u8")))).await;
    for path in [origin.prefix("/go/list.m3u8"), "/news/index.m3u8".to_owned()] {
        assert!(daemon.get(&path).await.text().contains(&origin.prefix("/there/seg.ts")), "{path}");
    }
}

#[tokio::test]
async fn a_channel_is_its_stream_and_the_files_beside_it() {
    let (origin, other) = serving(MEDIA, MIME).await;
    drop(other);
    let daemon =
        Daemon::with(|config| config.channels.push(("news", origin.url("/live/list.m3u8?tok=1")))).await;
    let list = daemon.get("/news/index.m3u8").await;
    assert_eq!((list.status, origin.last().target.as_str()), (200, "/live/list.m3u8?tok=1"));
    assert!(list.text().contains(&origin.prefix("/live/seg0.m4s?t=a%2Fb")));
    assert_eq!(daemon.get("/news/sub/x.m4s?a=b").await.header("x-asked"), Some("/live/sub/x.m4s?a=b"));
    let asked = origin.seen().len();
    for (path, status) in [("/news/", 404), ("/news", 404), ("/other/index.m3u8", 404)] {
        assert_eq!(daemon.get(path).await.status, status, "{path}");
    }
    assert_eq!(origin.seen().len(), asked);
    // Whatever follows the name is a file there, and no other host.
    for path in ["/news///evil.example/x", "/news/http:x", "/news/%2f%2fevil.example/x"] {
        daemon.get(path).await;
        assert!(origin.last().target.starts_with("/live/"), "{path}: {}", origin.last().target);
    }
}

#[tokio::test]
async fn a_playlist_that_breaks_off_is_not_passed_off_as_whole() {
    let origin = Origin::raw(|head, _| {
        let text = "#EXTM3U\n#EXTINF:4,\nseg0.ts\n";
        let head = if head.contains("chunked") {
            "Transfer-Encoding: chunked\r\n\r\n1b\r\n"
        } else {
            "Content-Length: 99\r\n\r\n"
        };
        (format!("HTTP/1.1 200 OK\r\n{head}{text}").into(), Then::Close)
    })
    .await;
    let daemon = Daemon::start().await;
    for path in ["/chunked.m3u8", "/length.m3u8", "/chunked"] {
        for target in [origin.prefix(path), origin.url(path)] {
            let before = origin.seen().len();
            assert_eq!(daemon.get(&target).await.status, 502, "{target}");
            assert_eq!(origin.seen().len() - before, 2, "asked once more");
        }
    }
}

#[tokio::test]
async fn a_manifest_that_breaks_off_once_is_asked_for_once_more() {
    let list = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nseg0.ts\n#EXT-X-ENDLIST\n";
    let mpd = "<MPD type=\"static\"><Period/></MPD>";
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let origin = Origin::raw(move |head, _| {
        let text = if head.contains(".mpd") { mpd } else { list };
        let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        let first = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst).is_multiple_of(2);
        let sent = match first {
            true if head.contains("nothing") => whole.len() - text.len(),
            true => whole.len() - 5,
            false => whole.len(),
        };
        (whole.as_bytes()[..sent].into(), Then::Close)
    })
    .await;
    let daemon = Daemon::start().await;
    for path in ["/a.m3u8", "/b.mpd", "/nothing.m3u8"] {
        let text = if path.contains(".mpd") { mpd } else { list };
        let forward = daemon.get(&origin.url(path)).await;
        assert_eq!((forward.status, forward.text(), forward.whole), (200, text, true), "{path}");
    }
    let prefix = daemon.get(&origin.prefix("/c.m3u8")).await;
    assert_eq!(
        (prefix.status, prefix.text().contains("seg0.ts\n#EXT-X-ENDLIST")),
        (200, true),
        "{}",
        prefix.text()
    );
}

#[tokio::test]
async fn an_endless_playlist_ends_at_the_limit() {
    let line = format!("#{}\n", "x".repeat(1022));
    let text = format!("#EXTM3U\n{}", line.repeat(33 * 1024));
    let length = text.len();
    let origin = Origin::raw(move |head, _| {
        let framing = if head.contains("announced") { "Content-Length: 52428800\r\n\r\n" } else { "\r\n" };
        let then = if head.contains("forward") { Then::Close } else { Then::Hang };
        (format!("HTTP/1.1 200 OK\r\n{framing}{text}").into(), then)
    })
    .await;
    let daemon = Daemon::start().await;
    for path in ["/announced.m3u8?secret=1", "/endless.m3u8?secret=1"] {
        let reply = daemon.get(&origin.prefix(path)).await;
        assert_eq!(reply.status, 502, "{path}");
        assert!(reply.text().contains("33554432") && !reply.text().contains("secret"), "{}", reply.text());
    }
    let forward = daemon.get(&origin.url("/forward.m3u8")).await;
    assert_eq!((forward.status, forward.body.len()), (200, length), "nothing has to be rewritten there");
}

#[tokio::test]
async fn long_playlists_take_turns_and_are_not_kept() {
    // About six MiB, with names as long as signed ones are.
    let signed = "s".repeat(900);
    let segments: String = (0..6500).map(|n| format!("#EXTINF:4,\nseg{n}.ts?{signed}\n")).collect();
    let list = format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n{segments}");
    let origin = Origin::start(move |_| answer(200, &[], list.clone())).await;
    let daemon = Daemon::start().await;
    let at_once = (0..6).map(|n| {
        let target = origin.prefix(&format!("/{n}/list.m3u8"));
        let daemon = &daemon;
        async move { daemon.get(&target).await }
    });
    for (n, reply) in futures_util::future::join_all(at_once).await.iter().enumerate() {
        assert_eq!((reply.status, reply.whole), (200, true));
        assert_eq!(reply.text().matches(&origin.prefix(&format!("/{n}/seg"))).count(), 6500);
    }
    assert_eq!(daemon.get(&origin.prefix("/5/list.m3u8")).await.status, 200);
    assert_eq!(origin.seen().len(), 7, "fetched again, though it is new");
}

#[tokio::test]
async fn garbage_plays_as_badly_as_without_us() {
    let (origin, daemon) =
        serving("#EXTM3U\n#EXT-X-VERSION:x\n#EXTINF:\u{fffd},\nseg.ts\n#EXT-X-KEY:URI=\"\n", MIME).await;
    let list = daemon.get(&origin.prefix("/list.m3u8")).await;
    assert_eq!(list.status, 200);
    assert!(list.text().contains(&origin.prefix("/seg.ts")));
    let (origin, daemon) = serving("#EXTM3U\n#EXTINF:4,\nhttp://user:pass@127.0.0.1/seg.ts\n", MIME).await;
    let list = daemon.get(&origin.prefix("/list.m3u8")).await;
    assert!(
        list.text().contains("\nhttp://user:pass@"),
        "credentials stay between the player and its origin"
    );
}

/// What is written here depends on more than on the origin's playlist, and only what is loaded is listed.
#[tokio::test]
async fn a_playlist_of_ours_is_loaded_whole_each_time() {
    let origin = Origin::start(|seen| {
        let has_copy = seen.header("if-modified-since").or(seen.header("if-none-match")).is_some();
        let version = [("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT"), ("etag", "\"1\"")];
        answer(if has_copy { 304 } else { 200 }, &version, if has_copy { "" } else { MEDIA })
    })
    .await;
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    for has in ["If-None-Match: \"1\"\r\n", "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT\r\n"] {
        let path = format!("/{}.m3u8", origin.seen().len());
        let ours = client.ask("GET", &origin.prefix(&path), has).await;
        assert_eq!((ours.status, ours.header("last-modified"), ours.header("etag")), (200, None, None));
        // Who rewrites nothing says what the origin says, of a file of any name as well.
        let forward = client.ask("GET", &origin.url(&format!("/as-is{path}")), has).await;
        assert_eq!((forward.status, forward.header("etag")), (304, Some("\"1\"")));
        let segment = client.ask("GET", &origin.prefix("/a.ts"), has).await;
        assert_eq!((segment.status, segment.header("etag")), (304, Some("\"1\"")));
    }
}
