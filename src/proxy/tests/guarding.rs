//! Who is not served: web pages, strangers, loops, and requests that two readers would read differently.

use super::client::Client;
use super::origin::{Origin, answer};
use super::{Daemon, soon};
use crate::delivery::policy;
use crate::engine;
use crate::engine::budget::Limits;
use crate::engine::steering::{Configured, Kept};

async fn raw(daemon: &Daemon, text: &str) -> (super::client::Reply, Client) {
    let mut client = daemon.client().await;
    client.say(text).await;
    (client.reply(false).await, client)
}

#[tokio::test]
async fn a_strange_host_is_turned_away_before_anything_is_fetched() {
    let origin = Origin::start(|_| answer(200, &[], "")).await;
    let daemon = Daemon::start().await;
    let port = daemon.address.port();
    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        "127.0.0.1".to_owned(),
        format!("127.0.0.1:{}", port ^ 1),
        format!("localhost.:{port}"),
        format!("127.0.0.2:{port}"),
        format!("[::]:{port}"),
        format!("0x7f.1:{port}"),
    ] {
        for path in [origin.prefix("/"), "/-/health".to_owned(), "/-/p2p".to_owned()] {
            let (reply, mut client) =
                raw(&daemon, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
            assert_eq!(reply.status, 421, "{host} {path}");
            client.is_closed().await;
        }
    }
    let us = daemon.address;
    for hosts in
        [String::new(), format!("Host: {us}\r\nHost: {us}\r\n"), format!("Host: {us}\r\nHost: evil\r\n")]
    {
        let (reply, mut client) =
            raw(&daemon, &format!("GET {} HTTP/1.1\r\n{hosts}\r\n", origin.prefix("/"))).await;
        assert_eq!(reply.status, 400, "{hosts:?}");
        client.is_closed().await;
    }
    assert!(origin.seen().is_empty());
    for host in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("LocalHost:{port}"),
        format!("[::1]:{port}"),
    ] {
        let (reply, _) =
            raw(&daemon, &format!("GET {} HTTP/1.1\r\nHost: {host}\r\n\r\n", origin.prefix("/"))).await;
        assert_eq!(reply.status, 200, "{host}");
    }
}

#[tokio::test]
async fn web_pages_can_neither_drive_nor_read() {
    let origin = Origin::start(|_| answer(200, &[("access-control-allow-origin", "*")], "secret")).await;
    let pages = ["https://player.example".to_owned(), "http://127.0.0.1:8080".to_owned()];
    let daemon = Daemon::with(|config| {
        config.options.allowed_origins = pages.to_vec();
        config.channels = vec![("news", origin.url("/news.m3u8"))];
    })
    .await;
    let mut client = daemon.client().await;
    for signal in [
        "Origin: https://evil.example",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Dest: document",
        "Sec-Fetch-Dest: iframe",
        "Sec-Fetch-Dest: script",
        "Sec-Fetch-Dest: serviceworker",
    ] {
        let reply = client.ask("GET", &origin.prefix("/"), &format!("{signal}\r\n")).await;
        assert_eq!(reply.status, 403, "{signal}");
        assert!(!reply.headers.contains_key("access-control-allow-origin"), "{signal}");
    }
    assert!(origin.seen().is_empty());

    // A page leads no further than it could come from itself; a channel leads where the user said.
    let allowed = "Origin: https://player.example\r\nSec-Fetch-Site: cross-site\r\n";
    assert_eq!(client.ask("GET", &origin.prefix("/"), allowed).await.status, 403);
    assert!(origin.seen().is_empty());
    assert_eq!(client.ask("GET", "/news/index.m3u8", allowed).await.text(), "secret");
    assert_eq!(origin.last().header("origin"), Some("https://player.example"));

    let allowed = "Origin: http://127.0.0.1:8080\r\nSec-Fetch-Site: cross-site\r\n";
    let reply = client.ask("GET", &origin.prefix("/"), allowed).await;
    assert_eq!((reply.status, reply.text()), (200, "secret"));
    assert_eq!(reply.header("access-control-allow-origin"), Some("http://127.0.0.1:8080"));
    let preflight = client.ask("OPTIONS", &origin.prefix("/"), allowed).await;
    assert_eq!((preflight.status, origin.seen().len()), (204, 2));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("*"));
    assert!(!preflight.headers.contains_key("access-control-allow-private-network"));
    assert_eq!(client.ask("GET", "/-/stats", allowed).await.status, 403, "playing is not steering");
}

#[tokio::test]
async fn a_page_that_may_play_sees_how_it_plays_and_nothing_else() {
    let origin = Origin::start(|_| {
        let list = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n0.ts\n#EXT-X-ENDLIST\n";
        answer(200, &[("content-type", "application/vnd.apple.mpegurl")], list)
    })
    .await;
    let policy = policy::Policy::new(&policy::Options::default(), 1 << 20);
    let daemon = Daemon::with(|config| {
        config.options.allowed_origins = vec!["https://player.example".to_owned()];
        config.engine = Some(engine::Options {
            configured: Configured {
                policy,
                mode: policy::Upload::Never,
                budget: Limits::default(),
                channels: [].into(),
                keeps: false,
            },
            kept: Kept::default(),
            trackers: 0,
            entropy: [1; 12],
            seed: 1,
        });
    })
    .await;
    let mut client = daemon.client().await;
    assert_eq!(client.get(&origin.prefix("/secret/index.m3u8")).await.status, 200);
    let peer5 = "/-/stats?format=peer5";
    let own = client.get(peer5).await;
    assert!(own.text().contains("/secret/index.m3u8"), "its own page is told what plays: {}", own.text());

    let page = "Origin: https://player.example\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: empty\r\n";
    let reply = client.ask("GET", peer5, page).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://player.example"));
    assert_eq!(reply.header("cross-origin-resource-policy"), Some("cross-origin"));
    let said: serde_json::Value = serde_json::from_str(reply.text()).unwrap();
    assert_eq!((&said["numOfPeers"], said.get("streams")), (&0.into(), None));
    assert!(!reply.text().contains("secret"), "{}", reply.text());
    assert_eq!(client.ask("HEAD", peer5, page).await.status, 200);

    for (method, path) in [
        ("GET", "/-/stats"),
        ("GET", "/-/stats?format=peer5&x"),
        ("GET", "/-/p2p"),
        ("GET", "/-/metrics"),
        ("GET", "/-/events"),
        ("GET", "/-/"),
        ("POST", peer5),
        ("OPTIONS", peer5),
    ] {
        assert_eq!(client.ask(method, path, page).await.status, 403, "{method} {path}");
    }
    for other in ["Origin: https://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        let reply = client.ask("GET", peer5, other).await;
        assert_eq!(reply.status, 403, "{other}");
        assert!(!reply.headers.contains_key("access-control-allow-origin"), "{other}");
    }
}

#[tokio::test]
async fn proxied_bytes_are_inert_where_all_origins_share_one_address() {
    let origin = Origin::start(|_| {
        let headers = [
            ("content-type", "text/html"),
            ("set-cookie", "a=b"),
            ("strict-transport-security", "max-age=9"),
            ("clear-site-data", "\"*\""),
            ("service-worker-allowed", "/"),
            ("access-control-allow-origin", "*"),
            ("content-security-policy", "default-src *"),
            ("refresh", "0;url=http://evil.example/"),
        ];
        answer(200, &headers, "<script>alert(1)</script>")
    })
    .await;
    let daemon = Daemon::start().await;
    let ours = daemon.get(&origin.prefix("/x.html")).await;
    assert_eq!(ours.header("content-security-policy"), Some("sandbox; default-src 'none'"));
    assert_eq!(ours.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(ours.header("x-frame-options"), Some("DENY"));
    assert_eq!(ours.header("cross-origin-resource-policy"), Some("same-origin"));
    for gone in
        ["set-cookie", "strict-transport-security", "clear-site-data", "service-worker-allowed", "refresh"]
    {
        assert!(!ours.headers.contains_key(gone), "{gone}");
    }
    assert!(!ours.headers.contains_key("access-control-allow-origin"));
    let forward = daemon.get(&origin.url("/x.html")).await;
    assert_eq!(forward.header("set-cookie"), Some("a=b"));
    assert_eq!(forward.header("content-security-policy"), Some("default-src *"));
    assert!(!forward.headers.contains_key("x-frame-options"));
}

#[tokio::test]
async fn what_leads_back_to_us_is_refused() {
    let daemon = Daemon::start().await;
    let us = daemon.address;
    for path in [format!("/http://{us}/-/health"), format!("/http://localhost:{}/", us.port())] {
        assert_eq!(daemon.get(&path).await.status, 508, "{path}");
    }
    // A player that has us as its proxy asks even us through us.
    for own in [format!("http://{us}/-/health"), format!("http://localhost:{}/-/health", us.port())] {
        assert_eq!(daemon.get(&own).await.text(), "ok\n", "{own}");
    }
    let target = format!("http://{us}/-/health");
    let origin = Origin::start(move |_| answer(302, &[("location", &target)], "")).await;
    assert_eq!(daemon.get(&origin.prefix("/")).await.status, 403, "through a redirect");
}

#[tokio::test]
async fn two_daemons_do_not_ask_each_other_for_ever() {
    let port = |_| std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = [(); 2].map(port);
    let ports = free.each_ref().map(|listener| listener.local_addr().unwrap().port());
    drop(free);
    let mut daemons = Vec::new();
    for (here, there) in [(ports[0], ports[1]), (ports[1], ports[0])] {
        let daemon = Daemon::with(|config| {
            config.options.listen.set_port(here);
            config.channels.push(("x", format!("http://127.0.0.1:{there}/x/index.m3u8")));
        });
        daemons.push(daemon.await);
    }
    let reply = soon(daemons[0].get("/x/index.m3u8")).await;
    assert_eq!(reply.status, 508);
}

#[tokio::test]
async fn a_playlist_of_the_public_may_not_send_players_home() {
    let origin = Origin::start(|_| answer(200, &[], "private")).await;
    let daemon = Daemon::start().await;
    for word in ["/~public", "/~lan"] {
        let reply = daemon.get(&format!("{word}{}", origin.prefix("/"))).await;
        assert_eq!(reply.status, 403, "{word}");
    }
    for never in ["169.254.169.254", "[fd00:ec2::254]", "0.0.0.0:1", "224.0.0.1", "[::ffff:169.254.169.254]"]
    {
        let reply = daemon.get(&format!("/http://{never}/")).await;
        assert_eq!(reply.status, 403, "{never}");
    }
    assert!(origin.seen().is_empty());
    assert_eq!(daemon.get(&origin.prefix("/")).await.text(), "private", "the player itself may");
}

#[tokio::test]
async fn requests_with_two_meanings_are_not_passed_on() {
    let origin = Origin::start(|seen| answer(200, &[], seen.body.clone())).await;
    let daemon = Daemon::start().await;
    let (us, target) = (daemon.address, origin.prefix("/"));
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    for (what, head, body) in [
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6", "hello!"),
        ("a list of lengths", "Content-Length: 5, 6", "hello!"),
        ("a signed length", "Content-Length: +5", "hello"),
        ("chunked twice", "Transfer-Encoding: chunked, chunked", chunks),
        ("chunked in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunks),
        ("another coding", "Transfer-Encoding: gzip, chunked", chunks),
        ("not chunked", "Transfer-Encoding: identity", "hello"),
        ("a folded field", "X-A: 1\r\n folded", ""),
        ("a space before the colon", "Content-Length : 5", "hello"),
        ("a bare CR", "X-A: 1\rX-B: 2", ""),
        ("a name with a space", "X A: 1", ""),
        ("a null byte", "X-A: \0", ""),
    ] {
        let (reply, mut client) =
            raw(&daemon, &format!("POST {target} HTTP/1.1\r\nHost: {us}\r\n{head}\r\n\r\n{body}")).await;
        assert_eq!(reply.status, 400, "{what}");
        client.is_closed().await;
    }
    let old = format!("POST {target} HTTP/1.0\r\nHost: {us}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    assert_eq!(raw(&daemon, &old).await.0.status, 400);
    assert!(origin.seen().is_empty());

    // A length beside the encoding: the encoding holds (RFC 9112 §6.1), the length goes no further, and nothing that
    // comes after is taken for a request.
    for head in
        ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 3"]
    {
        let smuggled = format!("GET {} HTTP/1.1\r\nHost: {us}\r\n\r\n", origin.prefix("/smuggled"));
        let text = format!("POST {target} HTTP/1.1\r\nHost: {us}\r\n{head}\r\n\r\n{chunks}{smuggled}");
        let (reply, mut client) = raw(&daemon, &text).await;
        assert_eq!((reply.status, reply.text()), (200, "hello"));
        let seen = origin.last();
        assert_eq!(
            (seen.header("transfer-encoding"), seen.header("content-length")),
            (Some("chunked"), None)
        );
        client.is_closed().await;
    }
    assert!(origin.seen().iter().all(|seen| seen.target == "/"));
}

#[tokio::test]
async fn heads_are_bounded() {
    let daemon = Daemon::start().await;
    let us = daemon.address;
    let many: String = (0..64).map(|n| format!("X-{n}: 1\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "x".repeat(17 * 1024));
    for fields in [many, long] {
        let (reply, mut client) =
            raw(&daemon, &format!("GET /-/health HTTP/1.1\r\nHost: {us}\r\n{fields}\r\n")).await;
        assert_eq!(reply.status, 431);
        client.is_closed().await;
    }
    let few: String = (0..62).map(|n| format!("X-{n}: 1\r\n")).collect();
    let (reply, _) = raw(&daemon, &format!("GET /-/health HTTP/1.1\r\nHost: {us}\r\n{few}\r\n")).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn control_answers_and_changes_only_when_really_asked() {
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    let json = "Content-Type: application/json\r\nContent-Length: 13\r\n";
    for (method, path, headers, body, status) in [
        ("GET", "/-/health", "", "", 200),
        ("HEAD", "/-/health", "", "", 200),
        ("GET", "/-/health?x=1", "", "", 200),
        ("POST", "/-/health", "Content-Length: 0\r\n", "", 405),
        ("GET", "/-/stats", "", "", 503),
        ("GET", "/-/", "", "", 200),
        ("HEAD", "/-/app.js", "", "", 200),
        ("POST", "/-/", "Content-Length: 0\r\n", "", 405),
        ("POST", "/-/events", "Content-Length: 0\r\n", "", 405),
        ("GET", "/-/nothing", "", "", 404),
        ("DELETE", "/-/p2p", "", "", 405),
        ("GET", "/-/p2p", "", "", 503),
        ("POST", "/-/p2p", json, "{\"p2p\": true}", 403),
        ("POST", "/-/p2p", "X-Paceline: 0\r\nContent-Length: 0\r\n", "", 403),
        (
            "POST",
            "/-/p2p",
            "X-Paceline: 1\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n",
            "{\"p2p\": true}",
            415,
        ),
        (
            "POST",
            "/-/p2p",
            "X-Paceline: 1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n",
            "no",
            400,
        ),
        (
            "POST",
            "/-/p2p",
            "X-Paceline: 1\r\nContent-Type: application/json\r\nContent-Length: 8\r\n",
            "{\"x\": 1}",
            400,
        ),
        (
            "POST",
            "/-/p2p",
            "X-Paceline: 1\r\nContent-Type: application/json\r\nContent-Length: 13\r\n",
            "{\"p2p\": true}",
            503,
        ),
    ] {
        client
            .say(format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n{body}", daemon.address))
            .await;
        let reply = client.reply(method == "HEAD").await;
        assert_eq!(reply.status, status, "{method} {path} {headers}");
        assert_eq!(reply.header("x-frame-options"), Some("DENY"));
        assert_eq!(reply.status == 405, reply.headers.contains_key("allow"));
    }
    let large = "X-Paceline: 1\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n";
    client
        .say(format!("POST /-/p2p HTTP/1.1\r\nHost: {}\r\n{large}\r\n{}", daemon.address, " ".repeat(5000)))
        .await;
    assert_eq!(client.reply(false).await.status, 413);
}
