//! Kodi, on a screen that nobody sees: what it plays directly to the end it plays through paceline, by every way in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Daemon, Nginx, Process, free_port, raw, until};
use crate::growing::REAL_TIME;
use crate::media::{self, OPEN, SECONDS, manifest};
use crate::programs::kind;
use crate::{daemon_for, recordings};

/// How long Kodi may take with ten seconds, on a loaded machine that also draws its screen.
const PATIENCE: Duration = Duration::from_secs(90);
/// So much of a stream without an end is watched, in seconds.
const WATCHED: f64 = 12.0;
/// What is played by which add-on: HLS by Kodi's own FFmpeg, DASH by inputstream.adaptive, as people have it. ffmpeg's MPD
/// without a timeline says that there is a picture more than there is, which Kodi waits for, directly as well.
const FORMATS: [&str; 3] = ["ts", "variants", "timeline"];

/// A Kodi with its screen and its sound card, which is a part of playing: without one it never comes to the end.
struct Kodi {
    kodi: Process,
    address: std::net::SocketAddr,
    home: tempfile::TempDir,
    _screen: Process,
    _sound: Process,
}

/// What came of playing something.
struct Seen {
    /// The last place that it was at, in seconds, before it stopped or was stopped.
    last: f64,
    /// Errors in its log, each kind once.
    complaints: BTreeSet<String>,
}

fn program() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let found = folders.map(|folder| folder.path().join("kodi/kodi.bin")).find(|program| program.exists());
    found.expect("Kodi is missing: apt-get install kodi kodi-inputstream-adaptive xvfb pulseaudio")
}

impl Kodi {
    /// `proxy` is the address of a forward proxy: of Kodi's own setting for one its FFmpeg knows nothing.
    fn start(proxy: Option<&str>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name).display().to_string();
        let (port, userdata) = (free_port(), home.path().join(".kodi/userdata"));
        let setting = |(id, value): (&str, &str)| format!("<setting id=\"{id}\">{value}</setting>");
        let settings: String = [
            ("services.webserver", "true"),
            ("services.webserverport", &port.to_string()),
            ("services.webserverauthentication", "false"),
            ("services.esenabled", "false"),
            ("general.addonupdates", "2"),
        ]
        .map(setting)
        .concat();
        std::fs::create_dir_all(&userdata).unwrap();
        std::fs::write(
            userdata.join("guisettings.xml"),
            format!("<settings version=\"2\">{settings}</settings>"),
        )
        .unwrap();

        let socket = at("sound");
        let mut sound = Command::new("pulseaudio");
        sound.args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]);
        sound.arg(format!("--load=module-native-protocol-unix auth-anonymous=1 socket={socket}"));
        sound.arg("--load=module-null-sink");
        sound.env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path());
        let sound = Process::spawn("pulseaudio", &mut sound);
        let mut screen = Command::new("Xvfb");
        screen.args(["-displayfd", "1", "-screen", "0", "640x360x24", "-nolisten", "tcp"]);
        let screen = Process::spawn("Xvfb", &mut screen);
        let number = || screen.log().lines().find_map(|line| line.trim().parse::<u32>().ok());
        let display = until("there is a screen", number);
        until("there is a sound card", || Path::new(&socket).exists().then_some(()));

        let mut kodi = Command::new(program());
        kodi.arg("--standalone").env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path());
        kodi.env("DISPLAY", format!(":{display}")).env("LIBGL_ALWAYS_SOFTWARE", "1");
        kodi.env("PULSE_SERVER", format!("unix:{socket}")).env("AE_SINK", "PULSE");
        kodi.env_remove("http_proxy").envs(proxy.map(|proxy| ("http_proxy", proxy)));
        let kodi = Process::spawn("Kodi", &mut kodi);
        let address = ([127, 0, 0, 1], port).into();
        let kodi = Self { kodi, address, home, _screen: screen, _sound: sound };
        until("Kodi is ready", || (kodi.ask("JSONRPC.Ping", json!({}))? == "pong").then_some(()));
        kodi.ask("Addons.SetAddonEnabled", json!({ "addonid": "inputstream.adaptive", "enabled": true }))
            .unwrap();
        kodi
    }

    fn ask(&self, method: &str, params: Value) -> Option<Value> {
        let asked = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let request = format!(
            "POST /jsonrpc HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{asked}",
            self.address,
            asked.len()
        );
        let reply = raw(self.address, &request).filter(|reply| reply.status == 200)?;
        serde_json::from_slice::<Value>(&reply.body).ok()?.get_mut("result").map(Value::take)
    }

    /// Where it is in what it plays, in seconds; none while nothing is played.
    fn place(&self) -> Option<f64> {
        let players = self.ask("Player.GetActivePlayers", json!({}))?;
        let player = &players[0]["playerid"].as_u64()?;
        let told = self.ask("Player.GetProperties", json!({ "playerid": player, "properties": ["time"] }))?;
        let part = |name: &str| told["time"][name].as_f64();
        Some(
            part("hours")? * 3600.0
                + part("minutes")? * 60.0
                + part("seconds")?
                + part("milliseconds")? / 1e3,
        )
    }

    /// Whether it says that it plays nothing.
    fn idle(&self) -> bool {
        self.ask("Player.GetActivePlayers", json!({})) == Some(json!([]))
    }

    fn log(&self) -> String {
        let log = std::fs::read(self.home.path().join(".kodi/temp/kodi.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Plays to the end or, if it has none, so far.
    fn play(&self, url: &str, so_far: f64) -> Seen {
        let before = self.log().len();
        let address = if url.ends_with(".mpd") { self.adaptive(url) } else { url.to_owned() };
        self.ask("Player.Open", json!({ "item": { "file": address } })).expect("Kodi opens it");
        until(&format!("Kodi plays {url}"), || self.place().filter(|place| *place > 0.0));
        let (began, mut last, mut played) = (Instant::now(), 0.0_f64, Instant::now());
        // Busy, it may leave a question unanswered, and is without a player for a moment when it opens what it plays anew.
        while !self.idle() || played.elapsed() < Duration::from_secs(2) {
            if let Some(place) = self.place() {
                (last, played) = (last.max(place), Instant::now());
            }
            if last >= so_far {
                self.ask("Player.Stop", json!({ "playerid": 1 }));
                break;
            }
            assert!(began.elapsed() < PATIENCE, "Kodi is at {last} s of {url}:\n{}", &self.log()[before..]);
            std::thread::sleep(Duration::from_millis(50));
        }
        until("Kodi has stopped", || self.idle().then_some(()));
        // What it says of its sound card is of this machine, which may have far too much to do.
        let sound = |line: &str| ["Sink", "ActiveAE", "CDVDAudio"].iter().any(|part| line.contains(part));
        let own = |line: &&str| line.contains(" error <") && !sound(line);
        let log = self.log();
        let complaints =
            log[before..].lines().filter(own).filter_map(|line| Some(kind(line.split_once(": ")?.1)));
        Seen { last, complaints: complaints.collect() }
    }

    /// Plays a recording to its end. On a machine with too much to do Kodi ends or complains now and then: then it plays it
    /// once more, and what is of our making comes again.
    fn play_all(&self, url: &str) -> Seen {
        let seen = self.play(url, f64::MAX);
        if seen.last > f64::from(SECONDS) - 1.0 && seen.complaints.is_empty() {
            return seen;
        }
        println!("once more {url}: it was at {} s, {:?}", seen.last, seen.complaints);
        self.play(url, f64::MAX)
    }

    /// A file of the kind that people have for streams that another part of Kodi is to play.
    fn adaptive(&self, url: &str) -> String {
        let file = self.home.path().join("stream.strm");
        let of = |name: &str| format!("#KODIPROP:inputstream{name}\n");
        let text = of("=inputstream.adaptive") + &of(".adaptive.manifest_type=mpd") + url + "\n";
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    }
}

impl Drop for Kodi {
    fn drop(&mut self) {
        self.ask("Application.Quit", json!({}));
        let began = Instant::now();
        while self.kodi.running() && began.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// How often each segment of what is played was fetched from the origin. What was broken off and gone on with (206) counts
/// once: Kodi opens everything twice, and closes the first before all of it is here when the machine is busy.
fn fetched(origin: &Nginx) -> Vec<(String, usize)> {
    times(origin, |status| status != 206)
}

/// How often each segment was answered so.
fn times(origin: &Nginx, answered: fn(u16) -> bool) -> Vec<(String, usize)> {
    let log = origin.log();
    let media = |path: &str| path.contains("index") && path.ends_with(".ts") || path.contains("chunk");
    let mut paths: Vec<String> = log
        .into_iter()
        .filter(|(method, path, status, _)| method == "GET" && media(path) && answered(*status))
        .map(|(_, path, ..)| path)
        .collect();
    paths.sort();
    paths.chunk_by(|a, b| a == b).map(|same| (same[0].clone(), same.len())).collect()
}

/// It was played as directly.
fn check(what: &str, ours: &Seen, directly: &Seen) {
    println!("{what}: to {} s, directly to {} s, {:?}", ours.last, directly.last, ours.complaints);
    for seen in [directly, ours] {
        // Where it is is asked twenty times a second.
        assert!(seen.last > f64::from(SECONDS) - 1.0, "{what}: it was at {} s and stopped", seen.last);
    }
    assert!(ours.complaints.is_subset(&directly.complaints), "{what}: {:#?}", ours.complaints);
}

#[test]
fn a_recording_by_every_way() {
    let _one = REAL_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (alone, origin) = (Nginx::serve(recordings(), OPEN), Nginx::serve(recordings(), OPEN));
    let daemon: Daemon = daemon_for(&origin, &FORMATS, &[]);
    let proxy = format!("http://{}", daemon.address);
    let (kodi, behind) = (Kodi::start(None), Kodi::start(Some(&proxy)));
    let path = |format: &str| format!("{format}/{}", manifest(format));
    let (kodi, behind) = std::thread::scope(|scope| {
        let forward = scope.spawn(|| FORMATS.map(|format| behind.play_all(&origin.url(&path(format)))));
        let ours = FORMATS.map(|format| {
            let directly = kodi.play_all(&alone.url(&path(format)));
            let prefix = kodi.play_all(&daemon.prefix(&origin.url(&path(format))));
            (directly, prefix, kodi.play_all(&format!("{proxy}/{}", path(format))))
        });
        (ours, forward.join().unwrap())
    });
    for ((format, (directly, prefix, channel)), forward) in FORMATS.iter().zip(&kodi).zip(&behind) {
        for (way, ours) in [("prefix", prefix), ("channel", channel), ("forward proxy", forward)] {
            check(&format!("{format}, {way}"), ours, directly);
        }
    }
    // Kodi opens everything twice, and reads the first segments twice: of the daemon. All three ways share its memory.
    let fetched = fetched(&origin);
    assert!(!fetched.is_empty() && fetched.iter().all(|(_, times)| *times == 1), "{:?}", origin.log());
    // By itself it asks for ranges, of which each is a 206.
    assert!(times(&alone, |_| true).iter().any(|(_, times)| *times > 1), "Kodi reads everything once");
}

#[test]
fn a_live_stream() {
    let _one = REAL_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let _writer = media::growing(dir.path(), "live", 90);
    let (alone, origin) = (Nginx::serve(dir.path(), OPEN), Nginx::serve(dir.path(), OPEN));
    let (daemon, kodi) = (Daemon::start(&[], &[]), Kodi::start(None));
    let directly = kodi.play(&alone.url("index.m3u8"), WATCHED);
    let ours = kodi.play(&daemon.prefix(&origin.url("index.m3u8")), WATCHED);
    check("live", &ours, &directly);
    let fetched = fetched(&origin);
    assert!(fetched.len() > 5 && fetched.iter().all(|(_, times)| *times == 1), "{:?}", origin.log());
}
