//! A synthetic channel: an HLS origin in this process, with a picture that any player can show.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::{picture, ts};

/// Segments that are kept made; the oldest go, and are made again when asked for.
const KEPT: usize = 48;
/// Segments whose checksum and number of requests are kept, more than four hours of 4 s segments; the oldest are
/// forgotten, or worked out again.
const REMEMBERED: usize = 4096;
/// Segments that are still served after they left the live window, as real origins do.
const LINGERING: u64 = 6;
/// Connections at the same time.
const CONNECTIONS: usize = 1024;

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const SEGMENT: &str = "video/mp2t";

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
    /// Requests for each segment; the oldest are forgotten.
    pub by_segment: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    began: Instant,
    made: Mutex<BTreeMap<u64, Bytes>>,
    checksums: Mutex<BTreeMap<u64, [u8; 32]>>,
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
            checksums: Mutex::default(),
            served: Mutex::default(),
        });
        // Made before anybody asks, as a real origin has them: start-up is not to measure the making.
        let first = shared.window();
        first.take(shared.options.window as usize).for_each(|number| _ = shared.segment(number));
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
        let known = |of: &Shared| hold(&of.checksums).get(&sequence).copied();
        known(&self.shared).unwrap_or_else(|| {
            let sum = Sha256::digest(self.shared.segment(sequence)).into();
            remember(&mut hold(&self.shared.checksums), REMEMBERED, sequence, sum);
            sum
        })
    }

    /// What it has served so far.
    #[must_use]
    pub fn served(&self) -> Served {
        hold(&self.shared.served).clone()
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
        let mut made = hold(&self.made);
        if let Some(bytes) = made.get(&number) {
            return bytes.clone();
        }
        let rate = self.frames_per_second();
        let frames = self.options.segment_s * u64::from(rate);
        let bytes = Bytes::from(ts::segment(number, frames, rate, self.options.seed));
        remember(&mut made, KEPT, number, bytes.clone());
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
            let mut answer = with(StatusCode::OK, PLAYLIST, self.playlist().into(), head);
            answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            return answer;
        }
        let number = name.strip_prefix("seg").and_then(|name| name.strip_suffix(".ts")?.parse::<u64>().ok());
        let window = self.window();
        let there = |number: &u64| (window.start.saturating_sub(LINGERING)..window.end).contains(number);
        let Some(number) = number.filter(there) else { return plain(StatusCode::NOT_FOUND) };
        let whole = self.segment(number);
        let length = whole.len() as u64;
        // Other methods than GET know no ranges (RFC 9110 §14.2).
        let range = asked.headers().get(header::RANGE).filter(|_| !head);
        let mut answer = match range.map_or(Asked::Whole, |range| asked_range(range, length)) {
            Asked::Whole => with(StatusCode::OK, SEGMENT, whole, head),
            Asked::Part(range) => {
                let part = whole.slice(range.start as usize..range.end as usize);
                let mut answer = with(StatusCode::PARTIAL_CONTENT, SEGMENT, part, false);
                content_range(&mut answer, &format!("{}-{}/{length}", range.start, range.end - 1));
                answer
            }
            Asked::Beyond => {
                let mut answer = plain(StatusCode::RANGE_NOT_SATISFIABLE);
                content_range(&mut answer, &format!("*/{length}"));
                answer
            }
        };
        answer.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if !head {
            self.count(number, answer.body().size_hint().lower());
        }
        answer
    }

    fn count(&self, number: u64, bytes: u64) {
        let mut served = hold(&self.served);
        served.requests += 1;
        served.bytes += bytes;
        let before = served.by_segment.get(&number).copied().unwrap_or(0);
        remember(&mut served.by_segment, REMEMBERED, number, before + 1);
    }
}

/// No data behind these locks is ever half changed.
fn hold<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts a value in, and keeps at most `most`: the others with the highest numbers, and always the new one.
fn remember<T>(map: &mut BTreeMap<u64, T>, most: usize, number: u64, value: T) {
    if map.len() >= most && !map.contains_key(&number) {
        map.pop_first();
    }
    map.insert(number, value);
}

/// What a Range header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(Range<u64>),
    Beyond,
}

/// One range of a file of `length` bytes (RFC 9110 §14.1.2); several, or what is none, get the whole file.
fn asked_range(value: &HeaderValue, length: u64) -> Asked {
    let bounds = value.to_str().ok().and_then(|value| value.strip_prefix("bytes=")?.split_once('-'));
    let range = match bounds {
        Some(("", last)) => last.parse().ok().map(|last: u64| length.saturating_sub(last)..length),
        Some((first, "")) => first.parse().ok().map(|first| first..length),
        Some((first, last)) => match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last => Some(first..last.saturating_add(1).min(length)),
            _ => None,
        },
        None => None,
    };
    match range {
        None => Asked::Whole,
        Some(range) if range.start >= range.end => Asked::Beyond,
        Some(range) => Asked::Part(range),
    }
}

fn content_range(answer: &mut Response<Full<Bytes>>, value: &str) {
    if let Ok(value) = HeaderValue::from_str(&format!("bytes {value}")) {
        answer.headers_mut().insert(header::CONTENT_RANGE, value);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_what_rfc_9110_says() {
        for (header, asked) in [
            ("bytes=0-99", Asked::Part(0..100)),
            ("bytes=90-", Asked::Part(90..100)),
            ("bytes=90-1000", Asked::Part(90..100)),
            ("bytes=-10", Asked::Part(90..100)),
            ("bytes=-1000", Asked::Part(0..100)),
            ("bytes=-0", Asked::Beyond),
            ("bytes=100-", Asked::Beyond),
            ("bytes=5-4", Asked::Whole),
            ("bytes=1-2,5-6", Asked::Whole),
            ("lines=1-2", Asked::Whole),
            ("bytes=x-", Asked::Whole),
        ] {
            assert_eq!(asked_range(&HeaderValue::from_static(header), 100), asked, "{header}");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_newest_stays() {
        let mut map = BTreeMap::new();
        for number in 10..20 {
            remember(&mut map, 3, number, ());
        }
        assert_eq!(map.keys().copied().collect::<Vec<_>>(), [17, 18, 19]);
        remember(&mut map, 3, 2, ());
        assert_eq!(map.keys().copied().collect::<Vec<_>>(), [2, 18, 19], "even when it is an old one");
    }
}
