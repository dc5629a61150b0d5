//! A synthetic channel: an HLS origin in this process, with a picture that any player can show.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use url::Url;

use super::{picture, ts};

/// Segments that are kept made; the oldest go, and are made again when asked for.
const KEPT: usize = 48;
/// Connections at the same time.
const CONNECTIONS: usize = 1024;

/// What a channel is like.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// About how many bits a second plays.
    pub bit_rate: u64,
    /// How long a segment plays, in seconds.
    pub segment_s: u64,
    /// Segments in the live window.
    pub window: u64,
    /// A recording of so many segments instead of a live channel.
    pub recording: Option<u64>,
    /// Decides the noise in the pictures.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { bit_rate: 1_000_000, segment_s: 4, window: 6, recording: None, seed: 7 }
    }
}

/// What an origin has served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Requests for segments.
    pub requests: u64,
    /// Bytes of segments.
    pub bytes: u64,
    /// Requests for each segment.
    pub by_segment: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    began: Instant,
    made: Mutex<BTreeMap<u64, Bytes>>,
    served: Mutex<Served>,
}

/// A channel that is on the air.
#[derive(Debug)]
pub struct Channel {
    /// Where it is.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Channel {
    /// Goes on the air; a live window is full from the beginning.
    ///
    /// # Errors
    /// When the listener can't tell its own address.
    pub fn start(listener: TcpListener, options: Options) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            options,
            began: Instant::now(),
            made: Mutex::default(),
            served: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, Arc::clone(&shared), stopped));
        Ok(Self { address, shared, stop, task })
    }

    /// Its playlist.
    ///
    /// # Panics
    /// Never: an address makes a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/live/index.m3u8", self.address)
    }

    /// The SHA-256 of a segment.
    #[must_use]
    pub fn sha256(&self, sequence: u64) -> [u8; 32] {
        Sha256::digest(self.shared.segment(sequence)).into()
    }

    /// What it has served so far.
    #[must_use]
    pub fn served(&self) -> Served {
        self.shared.served.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes off the air.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

impl Shared {
    fn frames_per_second(&self) -> u32 {
        // A picture has a fixed size: the rate of pictures makes the bit rate.
        (self.options.bit_rate / 8 / picture::BYTES as u64).clamp(1, 60) as u32
    }

    /// The segments that are listed now.
    fn window(&self) -> Range<u64> {
        if let Some(count) = self.options.recording {
            return 0..count;
        }
        let elapsed = self.began.elapsed().as_secs() / self.options.segment_s.max(1);
        elapsed..elapsed + self.options.window
    }

    fn segment(&self, number: u64) -> Bytes {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = made.get(&number) {
            return bytes.clone();
        }
        let rate = self.frames_per_second();
        let frames = self.options.segment_s * u64::from(rate);
        let bytes = Bytes::from(ts::segment(number, frames, rate, self.options.seed));
        if made.len() == KEPT {
            made.pop_first();
        }
        made.insert(number, bytes.clone());
        bytes
    }

    fn playlist(&self) -> String {
        let window = self.window();
        let duration = self.options.segment_s;
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{duration}\n#EXT-X-MEDIA-SEQUENCE:{}\n",
            window.start
        );
        if self.options.recording.is_some() {
            text += "#EXT-X-PLAYLIST-TYPE:VOD\n";
        }
        for number in window {
            text += &format!("#EXTINF:{duration}.000,\nseg{number}.ts\n");
        }
        if self.options.recording.is_some() {
            text += "#EXT-X-ENDLIST\n";
        }
        text
    }

    fn answer(&self, asked: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*asked.method(), Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED);
        }
        let head = asked.method() == Method::HEAD;
        let name = asked.uri().path().strip_prefix("/live/").unwrap_or_default();
        if name == "index.m3u8" {
            return with(StatusCode::OK, "application/vnd.apple.mpegurl", self.playlist().into(), head);
        }
        let number = name.strip_prefix("seg").and_then(|name| name.strip_suffix(".ts")?.parse::<u64>().ok());
        // A live origin keeps a few segments that have left its list.
        let window = self.window();
        let there = |number: &u64| (window.start.saturating_sub(6)..window.end).contains(number);
        let Some(number) = number.filter(there) else { return plain(StatusCode::NOT_FOUND) };
        let whole = self.segment(number);
        let length = whole.len() as u64;
        let asked_range =
            asked.headers().get(header::RANGE).and_then(|range| range_of(range.to_str().ok()?, length));
        let bytes =
            asked_range.clone().map_or(whole.clone(), |r| whole.slice(r.start as usize..r.end as usize));
        if !head {
            let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
            served.requests += 1;
            served.bytes += bytes.len() as u64;
            *served.by_segment.entry(number).or_default() += 1;
        }
        let status = if asked_range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let mut answer = with(status, "video/mp2t", bytes, head);
        answer.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Some(range) = asked_range
            && let Ok(value) =
                HeaderValue::from_str(&format!("bytes {}-{}/{length}", range.start, range.end - 1))
        {
            answer.headers_mut().insert(header::CONTENT_RANGE, value);
        }
        answer
    }
}

/// One range of a file of `length` bytes (RFC 9110 §14.1.2); `None` for what is not one.
fn range_of(value: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let end = if last.is_empty() { length } else { last.parse::<u64>().ok()?.saturating_add(1).min(length) };
    (first < end).then_some(first..end)
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

fn with(status: StatusCode, kind: &'static str, bytes: Bytes, head: bool) -> Response<Full<Bytes>> {
    let length = bytes.len();
    let mut answer = Response::new(Full::new(if head { Bytes::new() } else { bytes }));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    answer
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < CONNECTIONS => stream,
                Ok(_) => continue,
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = hyper::service::service_fn(|asked| {
                let answer = shared.answer(&asked);
                async move { Ok::<_, Infallible>(answer) }
            });
            let http = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            let _ = http.await;
        });
    }
    connections.shutdown().await;
}

/// The URL a player is given.
#[must_use]
pub fn through(daemon: SocketAddr, url: &Url) -> String {
    format!("http://{daemon}/{url}")
}
