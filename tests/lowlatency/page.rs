//! hls.js at the edge of a real low-latency stream: through paceline it asks as it does directly, and is no further behind.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::browser::{Page, errors};
use crate::common::{Daemon, ffmpeg};

/// Ten pictures.
const PART: Duration = Duration::from_millis(400);
/// Parts of a segment.
const PARTS: usize = 5;
/// Segments that are there when the origin starts, and those that its playlist keeps.
const BEFORE: usize = 8;
const WINDOW: usize = 6;
/// Seconds of the recording, more than a test may take.
const SECONDS: usize = 150;
/// What a player may be behind the edge, in seconds, by the playlist (PART-HOLD-BACK): five parts, since hls.js catches up
/// only while it has more than a second ahead.
const HOLD_BACK: f64 = 2.0;
/// How far behind hls.js settles: that, the part that is being made, and the picture that is being shown.
const SETTLED: f64 = HOLD_BACK + 0.4 + 0.2;
/// What paceline may add to that: a part, in seconds. What it adds to an answer is a few milliseconds.
const TOLERANCE: f64 = 0.4;
/// So much is watched, in seconds.
const WATCHED: usize = 6;
/// What a page may take for it, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Fragmented MP4: what precedes the media, and its parts.
struct Recording {
    init: Vec<u8>,
    parts: Vec<Vec<u8>>,
}

fn recording() -> &'static Recording {
    static MADE: OnceLock<Recording> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let (file, seconds) = (dir.path().join("all.mp4").display().to_string(), SECONDS.to_string());
        let mut args =
            vec!["-v", "error", "-f", "lavfi", "-t", &seconds, "-i", "testsrc2=size=320x180:rate=25"];
        args.extend(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-b:v", "300k"]);
        args.extend(["-g", "50", "-keyint_min", "50", "-sc_threshold", "0"]);
        args.extend(["-movflags", "+empty_moov+default_base_moof", "-frag_duration", "400000", &file]);
        ffmpeg(&args);
        let mut made = Recording { init: Vec::new(), parts: Vec::new() };
        let bytes = std::fs::read(&file).unwrap();
        let mut at = 0;
        while at < bytes.len() {
            let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            let piece = &bytes[at..at + size];
            match &piece[4..8] {
                b"ftyp" | b"moov" => made.init.extend_from_slice(piece),
                b"moof" => made.parts.push(piece.to_vec()),
                b"mdat" => made.parts.last_mut().unwrap().extend_from_slice(piece),
                _ => {}
            }
            at += size;
        }
        assert_eq!(made.parts.len(), SECONDS * PARTS / 2);
        made
    })
}

/// A request for a playlist or for media.
#[derive(Clone, Debug)]
struct Asked {
    target: String,
    /// Whether what it asks for was not there yet: the answer waited for it.
    waited: bool,
}

/// What is there follows from the time alone.
struct Origin {
    address: SocketAddr,
    began: Instant,
    /// When its first part began, by the clock.
    wall: SystemTime,
    asked: Mutex<Vec<Asked>>,
}

impl Origin {
    fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let before = PART * u32::try_from(BEFORE * PARTS).unwrap();
        let origin = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            began: Instant::now(),
            wall: SystemTime::now() - before,
            asked: Mutex::default(),
        });
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

    fn url(&self) -> String {
        format!("http://{}/live/index.m3u8", self.address)
    }

    /// Parts that are there.
    fn parts(&self) -> usize {
        let made = self.began.elapsed().as_micros() / PART.as_micros();
        (BEFORE * PARTS + made as usize).min(recording().parts.len())
    }

    /// Holds an answer until part `number` is there; whether it had to.
    fn wait_for(&self, number: usize) -> bool {
        let after = u32::try_from((number + 1).saturating_sub(BEFORE * PARTS)).unwrap();
        let wait = (self.began + PART * after).saturating_duration_since(Instant::now());
        std::thread::sleep(wait);
        !wait.is_zero()
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let target = lines.next().unwrap_or(Ok(String::new()))?;
        let target = target.split(' ').nth(1).unwrap_or_default().to_owned();
        for line in lines {
            if line?.is_empty() {
                break;
            }
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let stem = path.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or_default();
        let word = stem.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let number = stem[word.len()..].parse::<usize>().ok();
        let needs = |last: usize| (self.wait_for(last), recording());
        let (waited, kind, body) = match (word, number) {
            ("index", _) => {
                let ask = |key: &str| {
                    let field = query.split('&').find_map(|field| field.strip_prefix(key)?.strip_prefix('='));
                    field.and_then(|value| value.parse::<usize>().ok())
                };
                let last =
                    ask("_HLS_msn").map(|segment| segment * PARTS + ask("_HLS_part").unwrap_or(PARTS - 1));
                let waited = last.is_some_and(|last| self.wait_for(last));
                (waited, "application/vnd.apple.mpegurl", self.playlist().into_bytes())
            }
            ("init", _) => (false, "video/mp4", recording().init.clone()),
            ("part", Some(part)) => {
                let (waited, of) = needs(part);
                (waited, "video/mp4", of.parts[part].clone())
            }
            ("seg", Some(segment)) => {
                let (waited, of) = needs((segment + 1) * PARTS - 1);
                (waited, "video/mp4", of.parts[segment * PARTS..(segment + 1) * PARTS].concat())
            }
            _ => {
                return stream
                    .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        };
        self.asked.lock().unwrap().push(Asked { target: target.clone(), waited });
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nAccess-Control-Allow-Origin: *\r\n\
             Connection: close\r\n\r\n",
            body.len()
        )?;
        stream.write_all(&body)
    }

    fn playlist(&self) -> String {
        let parts = self.parts();
        let (newest, first) = (parts / PARTS, parts / PARTS - WINDOW);
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.4\n\
             #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={HOLD_BACK:.1}\n\
             #EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-MAP:URI=\"init.mp4\"\n"
        );
        for segment in first..=newest {
            text += &format!("#EXT-X-PROGRAM-DATE-TIME:{}\n", self.date(segment));
            for part in segment * PARTS..((segment + 1) * PARTS).min(parts) {
                if segment + 2 >= newest {
                    let key = if part % PARTS == 0 { ",INDEPENDENT=YES" } else { "" };
                    text += &format!("#EXT-X-PART:DURATION=0.4,URI=\"part{part}.m4s\"{key}\n");
                }
            }
            if segment < newest {
                text += &format!("#EXTINF:2.0,\nseg{segment}.m4s\n");
            }
        }
        text + &format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"part{parts}.m4s\"\n")
    }

    /// When a segment began, to the millisecond.
    fn date(&self, segment: usize) -> String {
        let at =
            (self.wall + PART * u32::try_from(segment * PARTS).unwrap()).duration_since(UNIX_EPOCH).unwrap();
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(at.as_secs()));
        // "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 §5.6.7).
        let fields: Vec<&str> = date.split([' ', ',']).filter(|field| !field.is_empty()).collect();
        let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
        let month = months.find(fields[2]).unwrap() / 3 + 1;
        format!("{}-{month:02}-{}T{}.{:03}Z", fields[3], fields[1], fields[4], at.subsec_millis())
    }

    /// Reloads that asked for a part to come, and how many of them waited for it; parts.
    fn heard(&self) -> [usize; 3] {
        let asked = self.asked.lock().unwrap();
        let reloads =
            asked.iter().filter(|one| one.target.contains("_HLS_msn=") && one.target.contains("_HLS_part="));
        let (reloads, waited) = (reloads.clone().count(), reloads.filter(|one| one.waited).count());
        [reloads, waited, asked.iter().filter(|one| one.target.contains("/part")).count()]
    }
}

/// What a page reports that has played, and is no further behind than so many seconds.
fn settled(pages: &[(Page, &str, Option<&str>)], behind: f64) -> Vec<Value> {
    let (watched, behind) = (WATCHED.to_string(), behind.to_string());
    let options = ["--low-latency", "--seconds", &watched, "--latency", &behind];
    let (good, reports) = Page::start_together("hls.js", pages, &options, PATIENCE).reports();
    assert!(good, "{reports:#?}");
    reports
}

#[test]
fn hls_js_is_as_near_to_the_edge_as_directly() {
    // Made before the clock of an origin starts.
    recording();
    let origin = Origin::start();
    let direct = &settled(&[(Page::new(), &origin.url(), None)], SETTLED)[0];
    let behind = direct["latency_s"].as_f64().unwrap();
    let directly = origin.heard();
    println!("directly: {behind} s behind, [reloads, that waited, parts] {directly:?}");
    let origins: [_; 3] = std::array::from_fn(|_| Origin::start());
    let pages: [Page; 3] = std::array::from_fn(|_| Page::new());
    let daemons: [Daemon; 3] = std::array::from_fn(|number| {
        let (page, url) = (pages[number].origin(), origins[number].url());
        Daemon::start(&[], &[("PACELINE_PROXY_ALLOWED_ORIGINS", &page), ("PACELINE_CHANNELS_LL", &url)])
    });
    let prefix = daemons[0].prefix(&origins[0].url());
    let (forward, proxy) = (origins[1].url(), format!("http://{}", daemons[1].address));
    let channel = format!("http://{}/ll/index.m3u8", daemons[2].address);
    let ways: [(&str, &str, Option<&str>, SocketAddr); 3] = [
        ("prefix", &prefix, None, daemons[0].address),
        ("forward proxy", &forward, Some(&proxy), origins[1].address),
        ("channel", &channel, None, daemons[2].address),
    ];
    let together: Vec<_> =
        pages.iter().zip(ways).map(|(page, (_, url, proxy, _))| (*page, url, proxy)).collect();
    let all = settled(&together, behind + TOLERANCE);
    for (((way, _, _, host), ours), origin) in ways.into_iter().zip(&all).zip(&origins) {
        let heard = origin.heard();
        println!("{way}: {} s behind, [reloads, that waited, parts] {heard:?}", ours["latency_s"]);
        assert!(errors(ours).len() <= errors(direct).len(), "{way}: {ours:#}\ndirectly {direct:#}");
        let hosts = ours["hosts"].as_object().unwrap();
        let by_us = hosts.keys().eq([&host.to_string()]) && ours["sources"].get("none").is_none();
        assert!(by_us, "{way}: {ours:#}");
        // One for each part that was watched, but those that it began with.
        let least = WATCHED * PARTS / 4;
        assert!(heard.iter().chain(&directly).all(|&count| count >= least), "{way}: {heard:?}, {directly:?}");
    }
}
