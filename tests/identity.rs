//! What is the same for two viewers, with real daemons: what only looks different is shared, what only looks the same is not.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Daemon, Tracker, get};

const SEGMENT: Duration = Duration::from_secs(2);
const LENGTH: usize = 300_000;
/// Segments that are there when the origin starts, and in the playlist at any time.
const WINDOW: u64 = 6;
const PLAYED: Duration = Duration::from_secs(40);

/// A live origin whose playlist names the segments as `name` says, given what the playlist was asked for with.
struct Origin {
    address: SocketAddr,
}

impl Origin {
    /// `bytes` gives a segment's bytes by its target and number.
    fn serve(
        name: impl Fn(&str, u64) -> String + Send + Sync + 'static,
        bytes: impl Fn(&str, u64) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let parts = Arc::new((name, bytes, Instant::now()));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let parts = Arc::clone(&parts);
                std::thread::spawn(move || attend(stream, &parts.0, &parts.1, parts.2).ok());
            }
        });
        Self { address }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

fn attend(
    mut stream: TcpStream,
    name: &dyn Fn(&str, u64) -> String,
    bytes: &dyn Fn(&str, u64) -> Vec<u8>,
    began: Instant,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    let mut range = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        range = line.strip_prefix("range: bytes=").map(str::to_owned).or(range);
    }
    let target = request.split(' ').nth(1).unwrap_or_default();
    let first = (began.elapsed().as_secs_f64() / SEGMENT.as_secs_f64()) as u64;
    let body = if target.contains("master") {
        b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1200000\nlist.m3u8\n".to_vec()
    } else if target.contains(".m3u8") {
        let head = format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
        let list = (first..first + WINDOW).fold(head, |list, n| {
            let name = name(target, n);
            format!("{list}#EXTINF:2,\n{name}\n")
        });
        list.into_bytes()
    } else {
        let file = target.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let number: String = file.chars().filter(char::is_ascii_digit).collect();
        bytes(target, number.parse().unwrap_or(u64::MAX))
    };
    let whole = body.len();
    let (from, to) =
        range.as_deref().and_then(|range| range.split_once('-')).map_or((0, whole), |(from, to)| {
            (from.parse().unwrap_or(0), to.parse::<usize>().map_or(whole, |last| (last + 1).min(whole)))
        });
    let status = match range {
        Some(_) => format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{whole}", to - 1),
        None => "200 OK".to_owned(),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", to - from)?;
    stream.write_all(&body[from..to])
}

fn bytes(of: u64, number: u64) -> Vec<u8> {
    let seed = (of << 32 | number).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..LENGTH as u64).map(|at| (seed.wrapping_mul(at * at + 1) >> 40) as u8).collect()
}

/// Plays a live stream in real time and holds every byte against what it should be.
fn play(daemon: &Daemon, playlist: &str, expected: impl Fn(u64) -> Vec<u8>) {
    play_any(daemon, playlist, |number, body| body == expected(number));
}

/// The same, where more than one may be right.
fn play_any(daemon: &Daemon, playlist: &str, is_right: impl Fn(u64, &[u8]) -> bool) {
    let began = Instant::now();
    let (mut next, mut broken) = (None, 0);
    let mut list = playlist.to_owned();
    while began.elapsed() < PLAYED {
        let text = get(daemon.address, &list).expect("the daemon answers").text();
        let uris: Vec<&str> = text.lines().filter(|line| line.starts_with('/')).collect();
        if text.contains("#EXT-X-STREAM-INF") {
            list = uris[0].to_owned();
            continue;
        }
        let first = text.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")).unwrap();
        let first: u64 = first.parse().unwrap();
        for (number, uri) in (first..).zip(uris) {
            // Not at the very edge, so that there is something ahead.
            let wanted = *next.get_or_insert(first + 1);
            if number == wanted {
                let reply = get(daemon.address, uri).expect("the daemon answers");
                assert_eq!(reply.status, 200, "segment {number}");
                // An answer that had begun with another one's bytes is broken off: the player asks again, and has what is its own.
                let length = reply.headers.get("content-length").and_then(|length| length.parse().ok());
                if length.is_some_and(|length: usize| reply.body.len() < length) {
                    broken += 1;
                    assert!(broken < 5, "segment {number} is broken off again and again");
                    continue;
                }
                assert!(is_right(number, &reply.body), "segment {number} is another's");
                next = Some(number + 1);
            }
        }
        std::thread::sleep(SEGMENT / 2);
    }
}

#[test]
fn by_sequence_viewers_with_other_urls_meet() {
    let count = AtomicU64::new(0);
    let token =
        move |_: &str, n: u64| format!("{:x}/{n}.ts", count.fetch_add(7919, Ordering::Relaxed) + 1000);
    let origin = Origin::serve(token, |_, number| bytes(0, number));
    let tracker = Tracker::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("paceline.toml");
    let url = origin.url("master.m3u8");
    std::fs::write(&file, format!("[channels.news]\nurl = \"{url}\"\nidentity = \"sequence\"\n")).unwrap();
    let daemons: [Daemon; 2] = std::array::from_fn(|_| {
        Daemon::start(&["--tracker", &tracker.url(), "--config", &file.display().to_string()], &[])
    });
    std::thread::scope(|scope| {
        for daemon in &daemons {
            scope.spawn(|| play(daemon, "/news/index.m3u8", |number| bytes(0, number)));
        }
    });
    let peers: Vec<u64> = daemons.iter().map(|daemon| daemon.total("p2p_bytes")).collect();
    assert!(peers.iter().sum::<u64>() > LENGTH as u64, "{peers:?}: {}", daemons[0].stats());
}

#[test]
fn what_each_viewer_is_given_of_its_own_is_never_mixed_and_told_as_not_shared() {
    let viewer = |target: &str| u64::from(target.ends_with("viewer=2"));
    let name = move |target: &str, n: u64| format!("{n}.ts?viewer={}", viewer(target) + 1);
    let origin = Origin::serve(name, move |target, number| bytes(viewer(target), number));
    let tracker = Tracker::start();
    let daemons: [Daemon; 2] = std::array::from_fn(|_| Daemon::with_tracker(&tracker.url()));
    std::thread::scope(|scope| {
        for (of, daemon) in (0..).zip(&daemons) {
            let list = format!("/{}", origin.url(&format!("list.m3u8?viewer={}", of + 1)));
            scope.spawn(move || play(daemon, &list, |number| bytes(of, number)));
        }
    });
    let stats = daemons.each_ref().map(Daemon::stats);
    let told = stats.iter().any(|stats| stats["streams"].to_string().contains("\"not-shared\""));
    assert!(told, "{} {}", stats[0], stats[1]);
    for stats in stats {
        assert_eq!(stats["totals"]["p2p_bytes"], 0, "{stats}");
    }
}

/// From some segment on each has segments of another length, as with advertisements of one's own: whoever had heard of the other's
/// first could not play its own for minutes, and never is one mixed with the other.
#[test]
fn viewers_whose_segments_come_to_differ_in_length_play_on() {
    const SAME: u64 = 9;
    let viewer = |target: &str| u64::from(target.ends_with("viewer=2"));
    let name = move |target: &str, n: u64| format!("{n}.ts?viewer={}", viewer(target) + 1);
    let own = |of: u64, number: u64| {
        let mut own = bytes(of * u64::from(number >= SAME), number);
        own.truncate(LENGTH - if number >= SAME { of as usize * 70_000 } else { 0 });
        own
    };
    let origin = Origin::serve(name, move |target, number| own(viewer(target), number));
    let tracker = Tracker::start();
    let daemons: [Daemon; 2] = std::array::from_fn(|_| Daemon::with_tracker(&tracker.url()));
    std::thread::scope(|scope| {
        for (of, daemon) in (0..).zip(&daemons) {
            let list = format!("/{}", origin.url(&format!("list.m3u8?viewer={}", of + 1)));
            // Until the difference is seen, what a neighbour that told the truth so far vouches for is taken: whole.
            let either = move |number, body: &[u8]| [of, 1 - of].iter().any(|&of| body == own(of, number));
            scope.spawn(move || play_any(daemon, &list, either));
        }
    });
}

#[test]
fn by_rules_viewers_with_other_hosts_and_other_tokens_meet() {
    // Each viewer has a host of its own and a token of its own in every path; the third one has no rules.
    let origins: [Origin; 3] = std::array::from_fn(|_| {
        let name = |target: &str, n: u64| {
            let token = target.split('/').find(|part| part.starts_with("tok-")).unwrap();
            format!("/{token}/live/seg{n}.ts?sig={n}")
        };
        Origin::serve(name, |_, number| bytes(0, number))
    });
    let tracker = Tracker::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("paceline.toml");
    let hosts: Vec<String> = origins.iter().map(|origin| format!("\"{}\"", origin.address)).collect();
    let rules = format!(
        "[[identity]]\nhosts = [{}]\nalias = \"cdn.example\"\n\n\
         [[identity]]\npattern = \"/tok-[0-9a-f]+/\"\nreplace = \"/\"\n",
        hosts.join(", ")
    );
    std::fs::write(&file, rules).unwrap();
    let config = file.display().to_string();
    let with = ["--tracker", &tracker.url(), "--config", &config].map(str::to_owned);
    let start = |args: &[String]| Daemon::start(&args.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    let daemons = [start(&with), start(&with), start(&with[..2])];
    std::thread::scope(|scope| {
        for ((origin, daemon), token) in origins.iter().zip(&daemons).zip(["a1", "b2", "c3"]) {
            let list = format!("/{}", origin.url(&format!("tok-{token}/live/list.m3u8?user={token}")));
            scope.spawn(move || play(daemon, &list, |number| bytes(0, number)));
        }
    });
    let stats = daemons.each_ref().map(Daemon::stats);
    let swarm = |of: usize| stats[of]["streams"][0]["swarm"].clone();
    assert!(swarm(0).is_string() && swarm(0) == swarm(1) && swarm(0) != swarm(2), "{stats:?}");
    let peers = stats.each_ref().map(|stats| stats["totals"]["p2p_bytes"].as_u64().unwrap());
    assert!(peers[0] + peers[1] > LENGTH as u64 && peers[2] == 0, "{peers:?}");
}
