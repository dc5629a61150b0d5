//! What goes wrong is told plainly, to the right party, and only once.

use super::Daemon;
use super::origin::{Origin, Then, answer};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn an_origin_that_can_not_be_reached_is_a_502_in_one_sentence() {
    let daemon = Daemon::start().await;
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    for target in [format!("/http://{closed}/a"), "/http://no-such-host.invalid/a".to_owned()] {
        let reply = daemon.get(&target).await;
        assert_eq!(reply.status, 502, "{target}");
        let sentence = reply.text();
        assert!(sentence.ends_with('\n') && sentence.lines().count() == 1, "{sentence}");
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    }
}

#[tokio::test]
async fn a_silent_origin_is_given_up() {
    let origin = Origin::raw(|head, _| {
        let begun = "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nContent-Length: 10\r\n\r\nfour";
        (if head.starts_with("GET /begins") { begun.into() } else { Vec::new() }, Then::Hang)
    })
    .await;
    let daemon = Daemon::with(|config| {
        config.origin.first_byte_timeout_s = 1;
        config.origin.idle_timeout_s = 1;
    })
    .await;
    let reply = daemon.get(&origin.prefix("/silent")).await;
    assert_eq!(reply.status, 504);
    assert!(reply.text().contains("127.0.0.1 did not answer within 1 s"), "{}", reply.text());
    let reply = daemon.get(&origin.prefix("/begins")).await;
    assert_eq!((reply.status, reply.text(), reply.whole), (200, "four", false));
}

#[tokio::test]
async fn a_slow_upload_is_not_a_slow_origin() {
    let origin = Origin::start(|seen| answer(200, &[], seen.body.clone())).await;
    let daemon = Daemon::with(|config| config.origin.first_byte_timeout_s = 2).await;
    let mut client = daemon.client().await;
    let head = "Content-Length: 5\r\n\r\n";
    client.say(format!("POST {} HTTP/1.1\r\nHost: {}\r\n{head}", origin.prefix("/"), daemon.address)).await;
    for letter in ["h", "e", "l", "l", "o"] {
        // The time between two of them is the player's; together they take longer than the origin may.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        client.say(letter).await;
    }
    assert_eq!(client.reply(false).await.text(), "hello");
}

#[tokio::test]
async fn what_breaks_off_does_not_look_whole() {
    let origin = Origin::raw(|head, _| {
        let answer = match head.split(' ').nth(1).unwrap() {
            "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour",
            "/chunks" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n",
            "/chunk" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nfour",
            _ => "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nContent-Length: 10\r\n\r\nfour",
        };
        (answer.into(), Then::Close)
    })
    .await;
    let daemon = Daemon::start().await;
    // Too short to tell what it is: nothing was sent yet, so the failure can be told.
    for path in ["/length", "/chunks", "/chunk"] {
        assert_eq!(daemon.get(&origin.prefix(path)).await.status, 502, "{path}");
    }
    let mut client = daemon.client().await;
    let reply = client.get(&origin.prefix("/media.ts")).await;
    assert_eq!((reply.status, reply.text(), reply.whole), (200, "four", false));
    client.is_closed().await;
}

#[tokio::test]
async fn answers_that_are_not_http_are_the_origins_fault() {
    let origin = Origin::raw(|head, _| {
        let answer: &str = match head.split(' ').nth(1).unwrap() {
            "/nonsense" => "SSH-2.0-OpenSSH\r\n\r\n",
            "/lengths" => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            "/length" => "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "/folded" => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n 3\r\n\r\nok",
            _ => "",
        };
        (answer.into(), Then::Close)
    })
    .await;
    let daemon = Daemon::start().await;
    for path in ["/nonsense", "/lengths", "/length", "/folded", "/nothing"] {
        assert_eq!(daemon.get(&origin.prefix(path)).await.status, 502, "{path}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_origin_closed_is_no_failure() {
    // Every connection answers once and then hangs up on the next request without a word.
    let origin = Origin::raw(|_, number| match number {
        1 => (OK.into(), Then::GoOn),
        _ => (Vec::new(), Then::Close),
    })
    .await;
    let daemon = Daemon::start().await;
    for n in 0..6 {
        let reply = daemon.get(&origin.prefix(&format!("/{n}.ts"))).await;
        assert_eq!((reply.status, reply.text()), (200, "ok"), "{n}");
    }
    let asked: Vec<_> = origin.seen().into_iter().map(|seen| seen.target).collect();
    assert!(asked.iter().filter(|target| *target == "/3.ts").count() == 2, "asked again: {asked:?}");
    // What may have had an effect is not said twice.
    let before = origin.seen().len();
    let reply = daemon.client().await.ask("POST", &origin.prefix("/"), "Content-Length: 0\r\n").await;
    assert_eq!((reply.status, origin.seen().len()), (502, before + 1));
}

#[tokio::test]
async fn a_new_connection_that_is_closed_is_tried_again_a_few_times() {
    let origin = Origin::raw(|_, _| (Vec::new(), Then::Close)).await;
    let daemon = Daemon::start().await;
    assert_eq!(daemon.get(&origin.prefix("/")).await.status, 502);
    assert_eq!(origin.seen().len(), usize::from(crate::delivery::policy::FETCH_TRIES));
    // What may have had an effect is not said twice.
    let before = origin.seen().len();
    let reply = daemon.client().await.ask("POST", &origin.prefix("/"), "Content-Length: 0\r\n").await;
    assert_eq!((reply.status, origin.seen().len()), (502, before + 1));
}

#[tokio::test]
async fn a_player_that_hangs_up_is_noticed_by_the_origin() {
    let (told, hears) = tokio::sync::oneshot::channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let origin = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n").await;
        // Ends with an error once nobody is there any more.
        while stream.write_all(&[0; 65536]).await.is_ok() {}
        let _ = told.send(());
    });
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    client.say(format!("GET /http://{address}/a.ts HTTP/1.1\r\nHost: {}\r\n\r\n", daemon.address)).await;
    client.hears(b"HTTP/1.1 200 OK\r\n").await;
    drop(client);
    super::soon(hears).await.unwrap();
    super::soon(origin).await.unwrap();
    assert_eq!(daemon.get("/-/health").await.status, 200);
}

#[tokio::test]
async fn an_upstream_proxy_is_asked_in_its_own_form_and_never_if_it_is_us() {
    let upstream = Origin::start(|seen| answer(200, &[], seen.target.clone())).await;
    let daemon = Daemon::with(|config| config.origin.proxy = upstream.url("")).await;
    let reply = daemon.get("/http://origin.invalid:81/a?b").await;
    assert_eq!((reply.status, reply.text()), (200, "http://origin.invalid:81/a?b"));
    assert_eq!(upstream.last().header("host"), Some("origin.invalid:81"));
    let via = format!("1.1 paceline-{}", daemon.address.port());
    assert_eq!(upstream.last().header("via"), Some(via.as_str()), "a proxy may lead back to us");
    assert_eq!(daemon.get("/http://169.254.169.254/").await.status, 403, "an address is judged here");

    let origin = Origin::start(|_| answer(200, &[], "direct")).await;
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let itself = Daemon::with(|config| {
        config.options.listen.set_port(port);
        config.origin.proxy = format!("http://localhost:{port}");
    })
    .await;
    assert_eq!(itself.get(&origin.prefix("/")).await.text(), "direct");
}

#[tokio::test]
async fn what_a_proxy_of_the_users_leads_to_is_no_more_private_than_its_name() {
    let upstream = Origin::start(|seen| {
        let list =
            "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nhttp://192.168.1.1/reboot.ts\n#EXT-X-ENDLIST\n";
        answer(200, &[], if seen.target.ends_with(".m3u8") { list } else { "bytes" })
    })
    .await;
    let daemon = Daemon::with(|config| {
        config.origin.proxy = upstream.url("");
        config.options.allowed_origins = vec!["https://player.example".into()];
        config.channels = vec![("news", "http://origin.example/live.m3u8".to_owned())];
    })
    .await;
    let page = "Origin: https://player.example\r\n";
    let mut client = daemon.client().await;
    for private in ["localhost:631", "localhost.:631", "nas.lan", "router", "2130706433", "192.168.1.1"] {
        assert_eq!(client.ask("GET", &format!("/http://{private}/"), page).await.status, 403, "{private}");
    }
    assert!(upstream.seen().is_empty());
    // A public channel opens nothing private, neither to a page nor to who may go there by himself.
    let named = |text: &str| text.lines().find(|line| line.starts_with('/')).unwrap().to_owned();
    for who in [page, ""] {
        let channel = client.ask("GET", "/news/index.m3u8", who).await;
        let path = named(channel.text());
        assert_eq!(path, "/~public/http://192.168.1.1/reboot.ts", "{}", channel.text());
        assert_eq!(client.ask("GET", &path, who).await.status, 403);
    }
    assert_eq!(daemon.get("/http://nas.lan/x").await.text(), "bytes", "a player itself may");
}
