//! Low-latency HLS (RFC 8216bis): blocking reloads, parts and preload hints go straight through, complete segments are
//! shared.

#[path = "common/browser.rs"]
mod browser;
mod common;
#[path = "lowlatency/page.rs"]
mod page;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Daemon, Tracker, until};

const PART: Duration = Duration::from_millis(250);
const PARTS: u64 = 4;
/// Bytes of a part; the test's own measure, so that each is another.
const LENGTH: u64 = 3000;
/// Segments that are there when the origin starts.
const BEFORE: u64 = 12;
/// Segments in the playlist.
const WINDOW: u64 = 10;
/// What the daemon may add on a loaded machine.
const ADDED: Duration = Duration::from_millis(150);

/// A live origin: what is there follows from the time alone.
struct Origin {
    address: SocketAddr,
    began: Instant,
}

impl Origin {
    fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = Arc::new(Self { address: listener.local_addr().unwrap(), began: Instant::now() });
        let serving = Arc::clone(&origin);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let origin = Arc::clone(&serving);
                // A player that hangs up is none of our business.
                std::thread::spawn(move || origin.answer(stream).ok());
            }
        });
        origin
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Parts that are there.
    fn parts(&self) -> u64 {
        BEFORE * PARTS + (self.began.elapsed().as_micros() / PART.as_micros()) as u64
    }

    /// When part `number` is there.
    fn due(&self, number: u64) -> Instant {
        self.began + PART * u32::try_from((number + 1).saturating_sub(BEFORE * PARTS)).unwrap()
    }

    fn wait_for(&self, part: u64) {
        std::thread::sleep(self.due(part).saturating_duration_since(Instant::now()));
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let target = lines.next().unwrap_or(Ok(String::new()))?;
        let target = target.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut range = None;
        for line in lines {
            let line = line?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            range = line.strip_prefix("range: bytes=").map(str::to_owned).or(range);
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        if path.ends_with(".m3u8") {
            let ask = |name: &str| {
                let field = query.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
                field.and_then(|value| value.parse::<u64>().ok())
            };
            if let Some(segment) = ask("_HLS_msn") {
                self.wait_for(segment * PARTS + ask("_HLS_part").unwrap_or(PARTS - 1));
            }
            let text = self.playlist(path.contains("ranges"), query.contains("_HLS_skip=YES"));
            let kind = "application/vnd.apple.mpegurl";
            return write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
                text.len()
            );
        }
        let name = path.trim_end_matches(".mp4");
        let number: u64 = name.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
        let (first, count) = if path.contains("part") { (number, 1) } else { (number * PARTS, PARTS) };
        let (from, to) = match range.as_deref().and_then(|range| range.split_once('-')) {
            Some((from, to)) => {
                (from.parse().unwrap(), to.parse::<u64>().map_or(count * LENGTH, |last| last + 1))
            }
            None => (0, count * LENGTH),
        };
        let kind = "Content-Type: video/mp4\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n";
        match range {
            Some(_) => write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\n{kind}Content-Range: bytes {from}-{}/*\r\n\r\n",
                to - 1
            )?,
            None => write!(stream, "HTTP/1.1 200 OK\r\n{kind}\r\n")?,
        }
        // A part grows in halves, the second when it is complete.
        let mut at = from;
        while at < to {
            let half = LENGTH / 2;
            let part = first + at / LENGTH;
            let (wait, end) = if at % LENGTH < half { (PART / 2, half) } else { (Duration::ZERO, LENGTH) };
            std::thread::sleep((self.due(part) - wait).saturating_duration_since(Instant::now()));
            let end = (at / LENGTH * LENGTH + end).min(to);
            write!(stream, "{:x}\r\n", end - at)?;
            stream.write_all(&bytes(first * LENGTH + at..first * LENGTH + end))?;
            stream.write_all(b"\r\n")?;
            at = end;
        }
        stream.write_all(b"0\r\n\r\n")
    }

    fn playlist(&self, ranges: bool, skip: bool) -> String {
        let parts = self.parts();
        let newest = parts / PARTS;
        let first = newest - WINDOW;
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:1\n#EXT-X-PART-INF:PART-TARGET=0.25\n\
             #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.75,CAN-SKIP-UNTIL=6.0\n\
             #EXT-X-MEDIA-SEQUENCE:{first}\n"
        );
        if skip {
            text += "#EXT-X-SKIP:SKIPPED-SEGMENTS=4\n";
        }
        let uri = |part: u64| {
            let (segment, index) = (part / PARTS, part % PARTS);
            if ranges {
                (format!("seg{segment}.mp4"), format!(",BYTERANGE=\"{LENGTH}@{}\"", index * LENGTH))
            } else {
                (format!("part{part}.mp4"), String::new())
            }
        };
        for segment in first + if skip { 4 } else { 0 }..=newest {
            for part in segment * PARTS..((segment + 1) * PARTS).min(parts) {
                if segment + 2 >= newest {
                    let (uri, range) = uri(part);
                    text += &format!("#EXT-X-PART:DURATION=0.25,URI=\"{uri}\"{range}\n");
                }
            }
            if segment < newest {
                text += &format!("#EXTINF:1.0,\nseg{segment}.mp4\n");
            }
        }
        let (hint, _) = uri(parts);
        let start =
            if ranges { format!(",BYTERANGE-START={}", parts % PARTS * LENGTH) } else { String::new() };
        text + &format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{hint}\"{start}\n")
    }
}

/// The stream's bytes, all parts one after the other.
fn bytes(span: std::ops::Range<u64>) -> Vec<u8> {
    span.map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// An answer, and when its head, the first byte of its body and its end came.
struct Timed {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    first: Instant,
    ended: Instant,
}

fn ask(address: SocketAddr, target: &str, range: &str) -> Timed {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let range = if range.is_empty() { String::new() } else { format!("Range: bytes={range}\r\n") };
    let head = format!("Host: {address}\r\nUser-Agent: test\r\n{range}Connection: close\r\n\r\n");
    stream.write_all(format!("GET {target} HTTP/1.1\r\n{head}").as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains(" 200 ") || line.contains(" 206 "), "{target}: {line}");
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let (mut body, mut first) = (Vec::new(), None);
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            let length =
                u64::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("{target}: {line:?}"));
            (&mut reader).take(length).read_to_end(&mut body).unwrap();
            first.get_or_insert_with(Instant::now);
            reader.read_line(&mut line).unwrap();
            if length == 0 {
                break;
            }
        }
    } else {
        body.resize(1, 0);
        reader.read_exact(&mut body).unwrap();
        first = Some(Instant::now());
        reader.read_to_end(&mut body).unwrap();
    }
    let ended = Instant::now();
    Timed { headers, body, first: first.unwrap_or(ended), ended }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// What is asked for, directly and through the daemon at the same time.
struct Viewer<'a> {
    origin: &'a Origin,
    daemon: &'a Daemon,
    delays: BTreeMap<&'static str, [Vec<Duration>; 2]>,
}

impl Viewer<'_> {
    /// Asks twice; notes how long after `due` the end came, or the first byte where `due_first` tells its time.
    fn ask(
        &mut self,
        what: &'static str,
        path: &str,
        range: &str,
        due: Option<Instant>,
        due_first: Option<Instant>,
    ) -> [Timed; 2] {
        let began = Instant::now();
        let url = self.origin.url(path);
        let both = std::thread::scope(|scope| {
            let direct = scope.spawn(|| ask(self.origin.address, &format!("/{path}"), range));
            let through = ask(self.daemon.address, &format!("/{url}"), range);
            [direct.join().unwrap(), through]
        });
        for (side, answer) in both.iter().enumerate() {
            let since = |at: Instant, due: Option<Instant>| {
                at.saturating_duration_since(due.unwrap_or(began).max(began))
            };
            self.delays.entry(what).or_default()[side].push(since(answer.ended, due));
            if due_first.is_some() {
                self.delays.entry("first byte of a hint").or_default()[side]
                    .push(since(answer.first, due_first));
            }
        }
        both
    }
}

fn low_latency(ranges: bool) {
    let origin = Origin::start();
    let daemon = Daemon::start(&[], &[]);
    let list = if ranges { "ll/ranges.m3u8" } else { "ll/index.m3u8" };
    let mut viewer = Viewer { origin: &origin, daemon: &daemon, delays: BTreeMap::new() };
    viewer.ask("playlist", list, "", None, None);
    for round in 0..10 {
        // The next part but one, so that both really wait.
        let part = origin.parts() + 1;
        let (segment, index) = (part / PARTS, part % PARTS);
        let skip = if round % 2 == 1 { "&_HLS_skip=YES" } else { "" };
        let path = format!("{list}?_HLS_msn={segment}&_HLS_part={index}{skip}");
        let [_, reload] = viewer.ask("blocking reload", &path, "", Some(origin.due(part)), None);
        assert_eq!(
            reload.headers["x-paceline-source"], "http",
            "a blocking reload is the origin's to answer"
        );
        let text = String::from_utf8(reload.body).unwrap();
        assert_eq!(text.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=4\n"), !skip.is_empty(), "{text}");
        let (file, span, offset) = if ranges {
            let from = index * LENGTH;
            (format!("seg{segment}.mp4"), format!("{from}-{}", from + LENGTH - 1), format!("{from}-"))
        } else {
            (format!("part{part}.mp4"), String::new(), String::new())
        };
        let named = format!("URI=\"/{}\"", origin.url(&format!("ll/{file}")));
        assert!(text.contains(&named), "{named} is not in\n{text}");
        let due = origin.due(part);
        assert!(due <= Instant::now(), "it was answered before the part was there");
        for _ in 0..2 {
            let [_, answer] = viewer.ask("part", &format!("ll/{file}"), &span, None, None);
            assert!(answer.body == bytes(part * LENGTH..(part + 1) * LENGTH), "part {part} is another");
            if !ranges || origin.parts() / PARTS == segment {
                assert_eq!(answer.headers["x-paceline-source"], "http", "parts are not kept");
            }
        }
        if ranges && index + 1 == PARTS {
            // Its segment's last part: a hint would be of the next file.
            continue;
        }
        let hint = origin.parts();
        let (file, range, to) = if ranges {
            let from = hint % PARTS * LENGTH;
            let file = format!("ll/seg{}.mp4", hint / PARTS);
            (file, format!("{from}-"), (hint / PARTS + 1) * PARTS)
        } else {
            (format!("ll/part{hint}.mp4"), offset, hint + 1)
        };
        let (half, whole) = (origin.due(hint) - PART / 2, origin.due(to - 1));
        let [_, answer] = viewer.ask("preload hint", &file, &range, Some(whole), Some(half));
        assert!(answer.body == bytes(hint * LENGTH..to * LENGTH), "hinted part {hint} is another");
    }
    // Complete segments, for viewers further behind, are shared: the second answer is from memory.
    let mut sources = Vec::new();
    let newest = origin.parts() / PARTS;
    viewer.ask("playlist", &format!("{list}?_HLS_skip=YES"), "", None, None);
    for segment in [newest - 2, newest - 2, newest - 3, newest - 3] {
        let [_, answer] = viewer.ask("segment", &format!("ll/seg{segment}.mp4"), "", None, None);
        let span = segment * PARTS * LENGTH..(segment + 1) * PARTS * LENGTH;
        assert!(answer.body == bytes(span), "segment {segment} is another");
        sources.push(answer.headers["x-paceline-source"].clone());
    }
    assert_eq!((&sources[1][..], &sources[3][..]), ("memory", "memory"), "{sources:?}");
    let stats = daemon.stats();
    let streams = stats["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 1, "{stats}");
    for (what, [direct, through]) in viewer.delays {
        let (direct, through) = (median(direct), median(through));
        println!("{what}: {direct:?} directly, {through:?} through the daemon");
        assert!(through < direct + ADDED, "{what}: {direct:?} directly, {through:?} through the daemon");
    }
}

#[test]
fn parts_as_files_are_passed_through_at_once() {
    low_latency(false);
}

#[test]
fn parts_as_byte_ranges_of_their_segment_are_passed_through_at_once() {
    low_latency(true);
}

#[test]
fn complete_segments_come_from_a_viewer_who_is_ahead() {
    let origin = Origin::start();
    let tracker = Tracker::start();
    let [ahead, behind]: [Daemon; 2] = std::array::from_fn(|_| Daemon::with_tracker(&tracker.url()));
    let play = |daemon: &Daemon, query: &str, segment: u64| {
        ask(daemon.address, &format!("/{}{query}", origin.url("ll/index.m3u8")), "");
        let path = origin.url(&format!("ll/seg{segment}.mp4"));
        let answer = ask(daemon.address, &format!("/{path}"), "");
        let span = segment * PARTS * LENGTH..(segment + 1) * PARTS * LENGTH;
        assert!(answer.body == bytes(span), "segment {segment} is another");
    };
    let mut next = origin.parts() / PARTS;
    until("who is behind has five segments from who is ahead", || {
        // One takes each segment as soon as it is whole, the other four segments later.
        play(&ahead, &format!("?_HLS_msn={next}"), next);
        play(&behind, "", next - 4);
        next += 1;
        let (given, taken) = (ahead.total("uploaded_bytes"), behind.total("p2p_bytes"));
        (given.min(taken) >= 5 * PARTS * LENGTH).then_some(())
    });
}
