//! Origins: one that speaks HTTP well, and one that says byte for byte what it is told to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A request as an origin got it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Which connection it came on, from 1.
    pub connection: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// An origin; ends when dropped.
pub struct Origin {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Origin {
    /// Answers every request with what `answer` makes of it.
    pub async fn start(answer: impl Fn(&Seen) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::listen(move |stream, connection, seen| {
            let answer = Arc::clone(&answer);
            async move {
                let service = service_fn(|request: http::Request<Incoming>| {
                    let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                    async move {
                        let (head, body) = request.into_parts();
                        let request = Seen {
                            method: head.method.to_string(),
                            target: head.uri.to_string(),
                            headers: head.headers,
                            body: body
                                .collect()
                                .await
                                .map(http_body_util::Collected::to_bytes)
                                .unwrap_or_default(),
                            connection,
                        };
                        let answer = answer(&request);
                        seen.lock().unwrap().push(request);
                        Ok::<_, Infallible>(answer.map(Full::new))
                    }
                });
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await
    }

    /// Reads one head after the other, and says for each what `script` makes of it and of its number on the connection;
    /// then closes, if `script` says so too.
    pub async fn raw(script: impl Fn(&str, usize) -> (Vec<u8>, Then) + Send + Sync + 'static) -> Self {
        let script = Arc::new(script);
        Self::listen(move |mut stream, connection, seen| {
            let script = Arc::clone(&script);
            async move {
                for number in 1.. {
                    let Some(head) = head(&mut stream).await else { return };
                    let mut line = head.split(' ').map(str::to_owned);
                    let (method, target) = (line.next().unwrap(), line.next().unwrap());
                    let (headers, body) = (HeaderMap::new(), Bytes::from(head.clone()));
                    seen.lock().unwrap().push(Seen { method, target, headers, body, connection });
                    let (answer, then) = script(&head, number);
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                    match then {
                        Then::GoOn => {}
                        Then::Close => return,
                        Then::Hang => std::future::pending().await,
                        Then::Later(mut gate, opens, rest) => {
                            let open = gate.wait_for(|gate| *gate >= opens).await.is_ok();
                            if !open || stream.write_all(&rest).await.is_err() {
                                return;
                            }
                        }
                    }
                }
            }
        })
        .await
    }

    async fn listen<F>(serve: impl Fn(TcpStream, usize, Arc<Mutex<Vec<Seen>>>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            for number in 1.. {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, number, Arc::clone(&all)));
            }
        });
        Self { address, seen, task }
    }

    /// An absolute URL at this origin.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// That URL as a path of the daemon.
    pub fn prefix(&self, path: &str) -> String {
        format!("/{}", self.url(path))
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn last(&self) -> Seen {
        self.seen().pop().expect("the origin was never asked")
    }
}

/// What a raw origin does after it has spoken.
#[derive(Clone, Debug)]
pub enum Then {
    GoOn,
    Close,
    Hang,
    /// Says the rest when the gate has this number; goes on, unless nobody can open it any more.
    Later(watch::Receiver<usize>, usize, Vec<u8>),
}

async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// An answer with a status, headers and a body.
pub fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}
