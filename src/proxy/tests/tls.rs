//! https origins, with and without HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::origin::{Origin, answer};
use super::{Daemon, soon};
use crate::engine::origin as outwards;

/// Bytes of a file of this origin.
const LARGE: usize = 4 * 1024 * 1024;

/// An https origin that says which HTTP it was asked in, redirects from `/to?URL` and has a large file, and a client
/// configuration that trusts it.
async fn origin(protocols: &[&[u8]]) -> (SocketAddr, rustls::ClientConfig, JoinHandle<()>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    server.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let trusting = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let io = TokioIo::new(stream);
                let service = service_fn(|request: Request<Incoming>| async move {
                    let uri = request.uri();
                    let text = format!("{:?} {}", request.version(), uri.path());
                    Ok::<_, Infallible>(match (uri.path(), uri.query()) {
                        ("/large", _) => Response::new(Full::new(vec![7; LARGE].into())),
                        ("/to", Some(there)) => answer(302, &[("location", there)], "").map(Full::new),
                        _ => Response::new(Full::new(bytes::Bytes::from(text))),
                    })
                });
                if two {
                    let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(io, service).await;
                } else {
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                }
            });
        }
    });
    (address, trusting, task)
}

#[tokio::test]
async fn https_is_spoken_in_the_newest_http_that_both_know() {
    for (protocols, version) in [(&[&b"h2"[..], b"http/1.1"][..], "HTTP/2.0"), (&[b"http/1.1"], "HTTP/1.1")] {
        let (address, trusting, task) = origin(protocols).await;
        let daemon = Daemon::with(|config| config.tls = Some(trusting)).await;
        let mut client = daemon.client().await;
        for n in 0..3 {
            let reply = client.get(&format!("/https://localhost:{}/{n}.ts", address.port())).await;
            assert_eq!((reply.status, reply.text()), (200, format!("{version} /{n}.ts").as_str()));
        }
        task.abort();
    }
}

fn request(port: u16, path: &str) -> outwards::Request {
    let caller = outwards::Caller {
        viewer: outwards::ViewerKey(1),
        headers: http::HeaderMap::new(),
        own_browser: true,
        downgrades: false,
        reach: outwards::Reach::Loopback,
    };
    let url = format!("https://localhost:{port}{path}").parse().unwrap();
    outwards::Request { caller, method: http::Method::GET, url, range: None, body: None }
}

fn client(trusting: rustls::ClientConfig) -> outwards::Origin {
    outwards::Origin::with_tls(outwards::Options::default(), outwards::OwnListeners::default(), trusting)
        .unwrap()
}

/// Players leave renditions open that they do not play.
#[tokio::test]
async fn what_nobody_reads_keeps_nobody_else_waiting() {
    let (address, trusting, task) = origin(&[b"h2"]).await;
    let origin = client(trusting);
    let ask = || soon(origin.send(request(address.port(), "/large")));
    let mut unread = Vec::new();
    for _ in 0..8 {
        unread.push(ask().await.unwrap());
    }
    for _ in 0..3 {
        let body = soon(ask().await.unwrap().body.collect()).await.unwrap();
        assert_eq!(body.to_bytes().len(), LARGE);
    }
    task.abort();
}

/// A way to `origin` of which what is open at the moment falls silent when that is said, and what is opened afterwards does not.
async fn relay(origin: SocketAddr) -> (SocketAddr, watch::Sender<()>, JoinHandle<()>) {
    let (silence, silent) = watch::channel(());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut ways = JoinSet::new();
        while let Ok((mut near, _)) = listener.accept().await {
            let mut silent = silent.clone();
            silent.mark_unchanged();
            ways.spawn(async move {
                let mut far = TcpStream::connect(origin).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = silent.changed() => std::future::pending().await,
                }
            });
        }
    });
    (address, silence, task)
}

/// As after a change of network: nobody says that the connection is gone.
#[tokio::test]
async fn a_connection_that_has_died_in_silence_is_replaced() {
    let (address, trusting, task) = origin(&[b"h2"]).await;
    let (through, silence, way) = relay(address).await;
    let origin = client(trusting);
    let ask = || soon(origin.send(request(through.port(), "/a")));
    assert_eq!(ask().await.unwrap().status, 200);
    silence.send_replace(());
    assert_eq!(ask().await.unwrap().status, 200);
    task.abort();
    way.abort();
}

#[tokio::test]
async fn a_player_is_led_from_https_to_http_without_its_secrets_and_a_page_is_not() {
    let plain = Origin::start(|_| answer(200, &[], "there")).await;
    let (address, trusting, task) = origin(&[b"http/1.1"]).await;
    let daemon = Daemon::with(|config| config.tls = Some(trusting)).await;
    let path = format!("/https://localhost:{}/to?{}", address.port(), plain.url("/a.ts"));
    let mut client = daemon.client().await;
    let own = format!("Origin: http://{}\r\n", daemon.address);
    for page in ["Sec-Fetch-Mode: cors\r\n", &own] {
        let reply = client.ask("GET", &path, page).await;
        assert_eq!((reply.status, plain.seen().len()), (502, 0), "{page}");
        assert!(reply.text().contains("from https to http"), "{}", reply.text());
    }
    for method in ["GET", "HEAD"] {
        let reply = client.ask(method, &path, "Authorization: Bearer s\r\nX-Kept: 1\r\n").await;
        assert_eq!(reply.status, 200);
        let seen = plain.last();
        assert_eq!(
            (seen.method.as_str(), seen.header("authorization"), seen.header("x-kept")),
            (method, None, Some("1"))
        );
    }
    task.abort();
}

#[tokio::test]
async fn an_untrusted_certificate_is_said_to_be_one() {
    let (address, _, task) = origin(&[b"http/1.1"]).await;
    let daemon = Daemon::start().await;
    let reply = daemon.get(&format!("/https://localhost:{}/a", address.port())).await;
    assert_eq!(reply.status, 502);
    assert!(reply.text().contains("certificate of localhost"), "{}", reply.text());
    task.abort();
}
