//! What is none of our business arrives as if we were not there.

use http::Response;

use super::origin::{Origin, Then, answer};
use super::{Daemon, soon};

/// A file with ranges, as a plain server has it.
fn file(seen: &super::origin::Seen) -> Response<bytes::Bytes> {
    const FILE: &[u8] = b"0123456789";
    let range = seen.header("range").and_then(|range| range.strip_prefix("bytes="));
    let (from, to) = match range.and_then(|range| range.split_once('-')) {
        None => return answer(200, &[("content-type", "video/mp2t"), ("accept-ranges", "bytes")], FILE),
        Some(("", last)) => (10 - last.parse::<usize>().unwrap(), 10),
        Some((from, "")) => (from.parse().unwrap(), 10),
        Some((from, to)) => (from.parse().unwrap(), to.parse::<usize>().unwrap() + 1),
    };
    if from >= 10 {
        return answer(416, &[("content-range", "bytes */10")], "");
    }
    let range = format!("bytes {from}-{}/10", to - 1);
    answer(206, &[("content-type", "video/mp2t"), ("content-range", &range)], &FILE[from..to])
}

#[tokio::test]
async fn requests_cross_with_all_that_is_the_origins_to_know() {
    let origin = Origin::start(|_| answer(200, &[], "")).await;
    let daemon = Daemon::start().await;
    let headers = "User-Agent: VLC/3.0.24\r\nAuthorization: Bearer t\r\nReferer: http://page.example/\r\n\
        X-Custom: a\r\nX-Custom: b\r\nCookie: leak=1\r\nAccept-Encoding: gzip\r\nConnection: close, X-Hop\r\n\
        X-Hop: 1\r\nProxy-Authorization: Basic x\r\nTE: trailers\r\nIcy-MetaData: 1\r\nCache-Control: no-cache\r\n";
    let reply =
        daemon.client().await.ask("GET", &origin.prefix("/a%2Fb//c;d=1,2?x=%2f&u=http://y/"), headers).await;
    assert_eq!(reply.status, 200);
    let seen = origin.last();
    assert_eq!(seen.target, "/a%2Fb//c;d=1,2?x=%2f&u=http://y/");
    assert_eq!(seen.header("host"), Some(origin.address.to_string().as_str()));
    assert_eq!(seen.header("user-agent"), Some("VLC/3.0.24"));
    assert_eq!(seen.header("authorization"), Some("Bearer t"));
    assert_eq!(seen.header("referer"), Some("http://page.example/"));
    assert_eq!(seen.headers.get_all("x-custom").iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert_eq!(seen.header("icy-metadata"), Some("1"));
    for hop in ["cookie", "connection", "x-hop", "proxy-authorization", "te", "proxy-connection"] {
        assert!(!seen.headers.contains_key(hop), "{hop}");
    }
}

#[tokio::test]
async fn ranges_heads_and_lengths_are_the_origins() {
    let origin = Origin::start(file).await;
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    for target in [origin.prefix("/a.ts"), origin.url("/a.ts")] {
        for (range, status, body, content_range) in [
            ("", 200, "0123456789", None),
            ("Range: bytes=0-\r\n", 206, "0123456789", Some("bytes 0-9/10")),
            ("Range: bytes=2-4\r\n", 206, "234", Some("bytes 2-4/10")),
            ("Range: bytes=-3\r\n", 206, "789", Some("bytes 7-9/10")),
            ("Range: bytes=10-\r\n", 416, "", Some("bytes */10")),
        ] {
            let reply = client.ask("GET", &target, range).await;
            assert_eq!((reply.status, reply.text()), (status, body), "{target} {range}");
            assert_eq!(reply.header("content-range"), content_range, "{target} {range}");
            assert_eq!(reply.header("content-length"), Some(body.len().to_string().as_str()));
            assert_eq!(reply.header("x-paceline-source"), Some("http"));
            assert!(reply.header("server-timing").unwrap().starts_with("http;dur="));
        }
        let head = client.ask("HEAD", &target, "").await;
        assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
        assert_eq!(head.header("content-type"), Some("video/mp2t"));
        assert_eq!(origin.last().method, "HEAD");
    }
}

#[tokio::test]
async fn errors_of_the_origin_keep_status_headers_and_body() {
    let origin = Origin::start(|seen| {
        let status = seen.target.trim_start_matches('/').parse().unwrap();
        answer(status, &[("x-why", "because"), ("retry-after", "7"), ("content-type", "text/plain")], "no\n")
    })
    .await;
    let daemon = Daemon::start().await;
    for status in [400, 401, 403, 404, 410, 429, 500, 503] {
        let reply = daemon.get(&origin.prefix(&format!("/{status}"))).await;
        assert_eq!((reply.status, reply.text()), (status, "no\n"));
        assert_eq!((reply.header("x-why"), reply.header("retry-after")), (Some("because"), Some("7")));
    }
}

#[tokio::test]
async fn bodies_go_out_too() {
    let origin = Origin::start(|seen| answer(200, &[], seen.body.clone())).await;
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    let target = origin.prefix("/licence");
    let large = "x".repeat(300_000);
    for (method, headers, body, expected) in [
        ("POST", "Content-Length: 5\r\n".to_owned(), "hello".to_owned(), "hello"),
        ("PUT", format!("Content-Length: {}\r\n", large.len()), large.clone(), large.as_str()),
        ("POST", "Content-Length: 0\r\n".to_owned(), String::new(), ""),
        ("DELETE", String::new(), String::new(), ""),
    ] {
        client
            .say(format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n{body}", daemon.address))
            .await;
        let reply = client.reply(false).await;
        assert_eq!((reply.status, reply.text()), (200, expected), "{method}");
        assert_eq!(origin.last().method, method);
        if method == "POST" {
            let length = expected.len().to_string();
            assert_eq!(origin.last().header("content-length"), Some(length.as_str()));
        }
    }
    let chunks = "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked\r\nContent-Type: application/json";
    client
        .say(format!("POST {target} HTTP/1.1\r\nHost: {}\r\n{chunked}\r\n\r\n{chunks}", daemon.address))
        .await;
    assert_eq!(client.reply(false).await.text(), "hello world");
    assert_eq!(origin.last().header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let origin = Origin::start(file).await;
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    for n in 0..10 {
        let reply = client.get(&origin.prefix(&format!("/{n}.ts"))).await;
        assert_eq!(reply.text(), "0123456789");
    }
    assert!(origin.seen().iter().all(|seen| seen.connection == 1));
    // HTTP/1.0 closes unless asked not to.
    client.say(format!("GET {} HTTP/1.0\r\nHost: {}\r\n\r\n", origin.prefix("/a.ts"), daemon.address)).await;
    assert_eq!(client.reply(false).await.text(), "0123456789");
    client.is_closed().await;
}

#[tokio::test]
async fn any_framing_of_the_origin_is_understood() {
    let origin = Origin::raw(|head, _| {
        let target = head.split(' ').nth(1).unwrap();
        let (answer, then) = match target {
            "/chunked" => (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;ext=1\r\n!\r\n0\r\nX-T: 1\r\n\r\n",
                Then::GoOn,
            ),
            "/until-close" => ("HTTP/1.0 200 OK\r\n\r\nhello!", Then::Close),
            "/interim" => (
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello!",
                Then::GoOn,
            ),
            "/204" => ("HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n", Then::GoOn),
            "/304" => ("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", Then::GoOn),
            _ => ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Then::GoOn),
        };
        (answer.into(), then)
    })
    .await;
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    for (path, status, body) in [
        ("/chunked", 200, "hello!"),
        ("/until-close", 200, "hello!"),
        ("/interim", 200, "hello!"),
        ("/empty", 200, ""),
        ("/204", 204, ""),
        ("/304", 304, ""),
        ("/chunked", 200, "hello!"),
    ] {
        let reply = client.get(&origin.prefix(path)).await;
        assert_eq!((reply.status, reply.text(), reply.whole), (status, body, true), "{path}");
        assert!(!reply.headers.contains_key("x-t"), "trailers are dropped");
    }
}

#[tokio::test]
async fn a_body_streams_through_as_it_comes() {
    let origin = Origin::raw(|_, _| {
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nContent-Length: 100\r\n\r\nfirst".to_vec(),
            Then::Hang,
        )
    })
    .await;
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    client.say(format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", origin.prefix("/a.ts"), daemon.address)).await;
    client.hears(b"HTTP/1.1 200 OK\r\n").await;
    soon(async { while !client.hears_line().await.is_empty() {} }).await;
    client.hears(b"first").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_lets_an_answer_finish_and_takes_no_more() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let (asked, mut is_asked) = tokio::sync::mpsc::unbounded_channel();
    let origin = Origin::start(move |_| {
        asked.send(()).unwrap();
        tokio::task::block_in_place(|| gone.lock().unwrap().recv().unwrap());
        answer(200, &[], "in time")
    });
    let (origin, daemon) = (origin.await, Daemon::start().await);
    let (mut busy, mut idle) = (daemon.client().await, daemon.client().await);
    assert_eq!(idle.get("/-/health").await.status, 200);
    busy.say(format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", origin.prefix("/"), daemon.address)).await;
    soon(is_asked.recv()).await.unwrap();
    let address = daemon.address;
    let stopping = tokio::spawn(daemon.stop());
    idle.is_closed().await;
    go.send(()).unwrap();
    assert_eq!(busy.reply(false).await.text(), "in time");
    busy.is_closed().await;
    soon(stopping).await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

/// Players put up with all of this, and so does what stands before most origins.
#[tokio::test]
async fn an_origin_may_write_its_fields_as_it_likes() {
    let origin = Origin::raw(|_, _| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length : 2\r\nX-Long: a\r\n  b\r\nno field at all\r\nX y: z\r\nX-Last: c\r\n\r\n";
        (format!("{head}ok").into_bytes(), Then::GoOn)
    })
    .await;
    let daemon = Daemon::start().await;
    let mut client = daemon.client().await;
    for _ in 0..2 {
        let reply = client.get(&origin.prefix("/a.ts")).await;
        assert_eq!((reply.status, reply.text(), reply.header("x-last")), (200, "ok", Some("c")));
        let long: Vec<&str> = reply.header("x-long").unwrap().split_ascii_whitespace().collect();
        assert_eq!(long, ["a", "b"], "in one line");
    }
    assert_eq!(origin.last().connection, 1, "where its bodies end is beyond doubt");
}
