//! Where a channel leads whoever could not lead the daemon there himself: here a page of the public Internet, while origins
//! are on this machine.

use super::Daemon;
use super::origin::{Origin, answer};

const PAGE: &str = "Origin: https://player.example\r\nSec-Fetch-Site: cross-site\r\n";

const MASTER: &str = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow/v.m3u8\n";
const MEDIA: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-KEY:METHOD=AES-128,URI=\"/keys/1\"\n\
    #EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:4,\n1.m4s\n#EXT-X-ENDLIST\n";
const MPD: &str = "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
    mediaPresentationDuration=\"PT8S\"><Period><AdaptationSet mimeType=\"video/mp4\"><SegmentTemplate duration=\"4\" \
    startNumber=\"1\" media=\"$Number$.m4s\" initialization=\"init.mp4\"/><Representation id=\"a\" bandwidth=\"1\"/>\
    </AdaptationSet></Period></MPD>";

async fn origin() -> Origin {
    Origin::start(|seen| {
        let text = match seen.target.as_str() {
            "/live/master.m3u8" => MASTER,
            "/live/low/v.m3u8" => MEDIA,
            "/live/stream.mpd" => MPD,
            _ => "bytes",
        };
        answer(200, &[], text)
    })
    .await
}

async fn daemon(origin: &Origin) -> Daemon {
    let channels = vec![("news", origin.url("/live/master.m3u8")), ("dash", origin.url("/live/stream.mpd"))];
    Daemon::with(|config| {
        config.options.allowed_origins = vec!["https://player.example".into()];
        config.channels = channels;
    })
    .await
}

/// What a manifest names, as paths.
fn named(text: &str, daemon: &Daemon) -> Vec<String> {
    let text = text.replace(&format!("http://{}", daemon.address), "");
    let uris =
        text.split(['\n', '"', '<', '>']).filter(|piece| piece.starts_with('/') && piece.contains("http"));
    uris.map(str::to_owned).collect()
}

#[tokio::test]
async fn all_that_a_channels_manifests_name_may_be_followed() {
    let origin = origin().await;
    let daemon = daemon(&origin).await;
    let mut client = daemon.client().await;
    let master = client.ask("GET", "/news/index.m3u8", PAGE).await;
    let variants = named(master.text(), &daemon);
    assert_eq!(variants.len(), 1, "{}", master.text());
    let media = client.ask("GET", &variants[0], PAGE).await;
    let all = named(media.text(), &daemon);
    assert_eq!((media.status, all.len()), (200, 3), "{}", media.text());
    for path in &all {
        assert_eq!(client.ask("GET", path, PAGE).await.text(), "bytes", "{path}");
        // Without what nobody can make up it is the page's own wish.
        let (grant, bare) = path[1..].split_once('/').unwrap();
        assert_eq!(client.ask("GET", &format!("/{bare}"), PAGE).await.status, 403, "{bare}");
        // It holds for this origin alone.
        let elsewhere = bare.replacen(&origin.address.port().to_string(), "9", 1);
        let made_up = format!("~{}", "0".repeat(grant.len() - 1));
        for path in
            [format!("/{grant}/{elsewhere}"), format!("/{made_up}/{bare}"), format!("/{grant}/~lan/{bare}")]
        {
            assert_eq!(client.ask("GET", &path, PAGE).await.status, 404, "{path}");
            // Such a connection is closed.
            client = daemon.client().await;
        }
    }
    let mpd = client.ask("GET", "/dash/index.mpd", PAGE).await;
    let bases = named(mpd.text(), &daemon);
    assert!(!bases.is_empty() && bases.iter().all(|base| base.starts_with("/~")), "{}", mpd.text());
    let segment =
        bases.iter().find(|base| base.contains("$Number$")).map(|media| media.replace("$Number$", "1"));
    let segment = segment.unwrap_or_else(|| format!("{}1.m4s", bases[0]));
    assert_eq!(client.ask("GET", &segment, PAGE).await.text(), "bytes", "{segment} of {}", mpd.text());
    // Whoever may go everywhere himself is written the plain form.
    let plain = daemon.get("/news/index.m3u8").await;
    assert!(named(plain.text(), &daemon)[0].starts_with("/http://"), "{}", plain.text());
}

#[tokio::test]
async fn a_channel_is_a_folder_that_is_only_looked_into() {
    let origin = origin().await;
    let daemon = daemon(&origin).await;
    let mut client = daemon.client().await;
    assert_eq!(client.ask("GET", "/news/low/1.m4s", PAGE).await.text(), "bytes");
    for above in [
        "/news/../api",
        "/news/%2e%2e/api",
        "/news/low/../../api",
        "/news/..\\api",
        "/news/..%2Fapi",
        "/news/low/..%2f..%2fapi",
        "/news/..%5capi",
        "/news/..;/api",
        "/news/%zz/api",
    ] {
        let reply = client.ask("GET", above, PAGE).await;
        assert!(reply.status == 404 || reply.status == 400, "{above}: {}", reply.status);
        if reply.header("connection") == Some("close") {
            client = daemon.client().await;
        }
    }
    assert!(origin.seen().iter().all(|seen| !seen.target.contains("api")), "nothing above it is asked for");
    let post = client.ask("POST", "/news/index.m3u8", &format!("{PAGE}Content-Length: 0\r\n")).await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
}

/// A channel's address has no query but what a player of low-latency HLS asks for with it.
#[tokio::test]
async fn delivery_directives_reach_the_origin_of_a_channel() {
    let origin = Origin::start(|_| answer(200, &[], MEDIA)).await;
    let channels = vec![("plain", origin.url("/v.m3u8")), ("token", origin.url("/v.m3u8?t=1"))];
    let daemon = Daemon::with(|config| config.channels = channels).await;
    for (asked, heard) in [
        ("/plain/index.m3u8?_HLS_msn=8&x=1&_HLS_part=2", "/v.m3u8?_HLS_msn=8&_HLS_part=2"),
        ("/plain/index.m3u8?x=1", "/v.m3u8"),
        ("/token/index.m3u8?_HLS_skip=YES", "/v.m3u8?t=1&_HLS_skip=YES"),
    ] {
        assert_eq!(daemon.get(asked).await.status, 200);
        assert_eq!(origin.seen().last().unwrap().target, heard, "{asked}");
    }
}
