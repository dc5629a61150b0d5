//! CONNECT.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Daemon, soon};

/// Says what it hears, in capitals.
async fn shouter() -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut heard = vec![0; 1024];
            while let Ok(length @ 1..) = stream.read(&mut heard).await {
                let said = heard[..length].to_ascii_uppercase();
                if stream.write_all(&said).await.is_err() {
                    break;
                }
            }
        }
    });
    (address, task)
}

#[tokio::test]
async fn a_tunnel_is_blind_and_opens_for_every_kind_of_player() {
    let (server, _task) = shouter().await;
    let daemon = Daemon::with(|config| config.options.connect_ports = vec![server.port()]).await;
    for request in [
        // curl and Chromium; FFmpeg, whose Host is the proxy; Python, which says nothing else at all.
        format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\nProxy-Connection: Keep-Alive\r\n\r\n"),
        format!("CONNECT {server} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", daemon.address),
        format!("CONNECT {server} HTTP/1.0\r\n\r\n"),
    ] {
        let mut client = daemon.client().await;
        client.say(&request).await;
        let opened = client.reply(true).await;
        assert_eq!(opened.status, 200, "{request}");
        assert!(!opened.headers.contains_key("content-length"), "a tunnel has no length (RFC 9110 §9.3.6)");
        assert!(!opened.headers.contains_key("transfer-encoding"));
        client.say("GET /http://x/ HTTP/1.1\r\n\r\n").await;
        client.hears(b"GET /HTTP://X/ HTTP/1.1\r\n\r\n").await;
    }
    // What is said before the answer is not lost.
    let mut client = daemon.client().await;
    client.say(format!("CONNECT {server} HTTP/1.1\r\nHost: x\r\n\r\nearly")).await;
    assert_eq!(client.reply(true).await.status, 200);
    client.hears(b"EARLY").await;
    soon(daemon.stop()).await;
    client.is_closed().await;
}

#[tokio::test]
async fn tunnels_lead_only_where_they_may() {
    let daemon = Daemon::with(|config| config.options.connect_ports = vec![9]).await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let reachable = Daemon::with(|config| config.options.connect_ports = vec![closed.port()]).await;
    let own = Daemon::with(|config| {
        config.options.listen = closed;
        config.options.connect_ports = vec![closed.port()];
    });
    for (at, target, status) in [
        (&daemon, "127.0.0.1:22".to_owned(), 403),
        (&daemon, "169.254.169.254:9".to_owned(), 403),
        (&daemon, "169.254.169.254:443".to_owned(), 403),
        (&daemon, "no-such-host.invalid:443".to_owned(), 502),
        (&daemon, "127.0.0.1".to_owned(), 400),
        (&reachable, closed.to_string(), 502),
    ] {
        let mut client = at.client().await;
        client.say(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
        assert_eq!(client.reply(false).await.status, status, "{target}");
    }
    let own = own.await;
    for name in ["127.0.0.1", "localhost", "127.0.0.2", "[::ffff:127.0.0.1]"] {
        let mut client = own.client().await;
        client.say(format!("CONNECT {name}:{} HTTP/1.1\r\n\r\n", closed.port())).await;
        assert_eq!(client.reply(false).await.status, 403, "{name}");
    }
}
