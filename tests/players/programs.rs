//! ffmpeg, mpv and VLC as processes that tell what they have decoded.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::common::{Process, is_root};

/// How long a player may take with what it plays, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Pictures of a second.
pub const PICTURES: u32 = 25;
/// Bytes of a decoded picture.
const PICTURE: usize = 320 * 180 * 3 / 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// What ffplay plays with, without a screen.
    Ffmpeg,
    Mpv,
    Vlc,
}

pub const PROGRAMS: [Program; 3] = [Program::Ffmpeg, Program::Mpv, Program::Vlc];

/// How much is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// To the end, as fast as it comes.
    Whole,
    /// To the end, as somebody watches it.
    Watched,
    /// So many seconds of it, as somebody watches it, however long that takes.
    Seconds(u32),
    /// For so many seconds, as somebody watches it, however little comes in them.
    Clock(u32),
}

/// A program that plays.
pub struct Playing {
    program: Program,
    pace: Pace,
    process: Process,
    /// When it had begun to play, and how long it took from then on to have played all that was asked for.
    began: Option<Instant>,
    took: Option<Duration>,
    dir: tempfile::TempDir,
}

/// What it has played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// The hash of each decoded picture and piece of sound (VLC: of each one as it goes to the decoder).
    pub frames: Vec<String>,
    /// What it complained of, each kind once and without its numbers and addresses.
    pub complaints: BTreeSet<String>,
    /// How often VLC said that it is behind itself: of pictures that come too late to be shown, of a buffer run dry.
    pub behind: usize,
    /// How long VLC took, from its first pictures on, for a stream of which it was to play so much.
    pub took: Option<Duration>,
    /// What it wrote.
    pub log: String,
}

/// The hashes of a list that framemd5 wrote, track after track, the one with most of them first: which track mpv writes
/// first, and how they alternate, is chance.
pub fn hashes(list: &str) -> Vec<String> {
    let mut tracks: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split(',').map(str::trim);
        if let (Some(track), Some(hash)) = (fields.next(), fields.next_back()) {
            tracks.entry(track).or_default().push(hash.to_owned());
        }
    }
    let mut tracks: Vec<_> = tracks.into_values().collect();
    tracks.sort_by_key(|track| std::cmp::Reverse(track.len()));
    tracks.concat()
}

/// Which proxy a program asks, and for which hosts none.
const PROXIES: [&str; 6] = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

impl Program {
    /// Begins to play; `proxy` is the address of a forward proxy. What is watched is compared by its pictures alone.
    pub fn start(self, url: &str, proxy: Option<&str>, pace: Pace) -> Playing {
        self.start_with(url, proxy, pace, &[])
    }

    /// The same with further arguments.
    pub fn start_with(self, url: &str, proxy: Option<&str>, pace: Pace, more: &[&str]) -> Playing {
        let dir = tempfile::tempdir().unwrap();
        // VLC runs as somebody else.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let out = dir.path().join("frames").display().to_string();
        let mut command = match self {
            Self::Ffmpeg => ffmpeg(url, pace, &out),
            Self::Mpv => mpv(url, pace, &out),
            Self::Vlc => vlc(url, pace, &out),
        };
        if matches!(pace, Pace::Whole) {
            command = in_no_hurry(&command);
        }
        command.args(more);
        // What the tests run in may have proxies of its own, and hosts that none is asked for.
        for name in PROXIES {
            command.env_remove(name);
        }
        command.envs(proxy.map(|proxy| ("http_proxy", proxy)));
        Playing {
            program: self,
            pace,
            process: Process::spawn(&format!("{self:?}"), &mut command),
            began: None,
            took: None,
            dir,
        }
    }

    /// Plays to the end as fast as it comes.
    pub fn play(self, url: &str, proxy: Option<&str>) -> Played {
        self.start(url, proxy, Pace::Whole).end()
    }

    /// What this log complains of, each kind once.
    fn complaints(self, log: &str) -> BTreeSet<String> {
        let padded = log.contains("lost synchro");
        let complaint = |line: &&str| match self {
            Self::Ffmpeg | Self::Mpv => !line.trim().is_empty(),
            // That there is no desktop is no fault of the stream's.
            Self::Vlc => {
                let desktop =
                    [" interface error: ", " libvlc error: "].iter().any(|part| line.contains(part));
                let own = desktop || is_behind(line) || (padded && is_first(line));
                !own && (line.contains("discontinuity") || line.contains(" error: "))
            }
        };
        log.lines().filter(complaint).map(kind).collect()
    }
}

/// The same command for whom nothing depends on when it is done: what plays in real time beside it goes first.
fn in_no_hurry(command: &Command) -> Command {
    let mut niced = Command::new("nice");
    niced.args(["-n", "10"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => niced.env(name, value),
            None => niced.env_remove(name),
        };
    }
    niced
}

fn ffmpeg(url: &str, pace: Pace, out: &str) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "warning", "-y"]);
    if pace != Pace::Whole {
        command.arg("-re");
    }
    command.args(["-i", url, "-map", if pace == Pace::Whole { "0" } else { "0:v:0" }]);
    if let Pace::Seconds(seconds) = pace {
        // Not by time: that begins with the sound, which may be taken up a segment before the pictures.
        command.args(["-frames:v", &(PICTURES * seconds).to_string()]);
    }
    command.args(["-f", "framemd5", out]);
    command
}

fn mpv(url: &str, pace: Pace, out: &str) -> Command {
    let mut command = Command::new("mpv");
    // As a warning it only says that picture and sound come faster than they are played.
    command.args(["--no-config", "--msg-level=all=warn,cplayer=error", "--ovc=rawvideo"]);
    command.arg(format!("--o={out}"));
    command.args(match pace {
        Pace::Whole => ["--of=framemd5", "--oac=pcm_s16le"],
        // A list of hashes has to be in order, and a live stream may step back.
        _ => ["--of=rawvideo", "--no-audio"],
    });
    if let Pace::Seconds(seconds) = pace {
        command.arg(format!("--length={seconds}"));
    }
    command.arg(url);
    command
}

fn vlc(url: &str, pace: Pace, out: &str) -> Command {
    // VLC refuses to run as root. setpriv becomes VLC, so that what ends the one ends the other.
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "env", "HOME=/tmp", "cvlc"]);
        command
    } else {
        Command::new("cvlc")
    };
    let list = format!("stats{{output={out},prefix=x}}");
    command.args(["--intf", "dummy", "--vout", "dummy", "--aout", "dummy", "--no-video-title-show", "-v"]);
    command.arg("--sout").arg(match pace {
        Pace::Whole => format!("#{list}"),
        _ => format!("#duplicate{{dst=display,dst={list}}}"),
    });
    if let Pace::Clock(seconds) = pace {
        command.args(["--run-time", &seconds.to_string()]);
    }
    command.args(["--play-and-exit", url, "vlc://quit"]);
    command
}

impl Playing {
    fn list(&self) -> Vec<u8> {
        std::fs::read(self.dir.path().join("frames")).unwrap_or_default()
    }

    /// Whether it has ended. VLC can be told beforehand how long to play by its clock alone, and how long it takes to begin is
    /// not what it plays: it is told when it has played all.
    fn is_over(&mut self) -> bool {
        if !self.process.running() {
            return true;
        }
        if let (Program::Vlc, Pace::Seconds(seconds), None) = (self.program, self.pace, self.took) {
            let pictures = String::from_utf8_lossy(&self.list()).matches("\tVideo\t").count();
            if pictures > 0 {
                let began = *self.began.get_or_insert_with(Instant::now);
                self.took = (pictures >= (PICTURES * seconds) as usize).then(|| began.elapsed());
            }
            if self.took.is_some() {
                self.process.signal("-TERM");
            }
        }
        false
    }

    /// Waits for the end; what ends badly fails the test.
    pub fn end(mut self) -> Played {
        until_over(std::slice::from_mut(&mut self));
        let good = self.process.wait(PATIENCE);
        let log = self.process.log();
        assert!(good, "{:?} failed:\n{log}", self.program);
        let list = self.list();
        let frames = match (self.program, self.pace) {
            (Program::Mpv, Pace::Watched | Pace::Seconds(_)) => list.chunks(PICTURE).map(digest).collect(),
            (Program::Vlc, _) => packets(&String::from_utf8_lossy(&list)),
            _ => hashes(&String::from_utf8_lossy(&list)),
        };
        let complaints = self.program.complaints(&log);
        let behind = log.lines().filter(|line| self.program == Program::Vlc && is_behind(line)).count();
        let early = matches!((self.program, self.pace, self.took), (Program::Vlc, Pace::Seconds(_), None));
        assert!(!early, "VLC ended before it had played all:\n{log}");
        Played { frames, complaints, behind, took: self.took, log }
    }
}

/// Waits until all of them have ended, each in its time.
pub fn until_over<'a>(playing: impl IntoIterator<Item = &'a mut Playing>) {
    let mut playing: Vec<_> = playing.into_iter().collect();
    let began = Instant::now();
    while !playing.is_empty() {
        playing.retain_mut(|playing| !playing.is_over());
        if let Some(playing) = playing.first() {
            let log = || playing.process.log();
            assert!(began.elapsed() < PATIENCE, "{:?} did not end:\n{}", playing.program, log());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether VLC says of itself that it does not keep up.
fn is_behind(line: &str) -> bool {
    let remarks =
        ["buffer deadlock prevented", "is called too late", "seconds of late video -> dropping frame"];
    remarks.iter().any(|part| line.contains(part))
}

/// Whether VLC misses a packet of PID 17, where the name of the service is: ffmpeg begins each segment with one.
///
/// VLC takes the padding off an encrypted segment (RFC 8216 §4.3.2.4) only if it knows that the segment is over when it
/// takes up the last part. Of one with a Content-Length it learns that a moment later, and what takes it up may be faster:
/// on a busy machine in one playing of twenty, straight from an origin as well. Up to 16 bytes then stand before the next
/// segment, and its first packet is lost with them; no frame is.
fn is_first(line: &str) -> bool {
    line.contains("discontinuity") && (line.ends_with("for PID 17") || line.ends_with("(pid=17)"))
}

fn digest(picture: &[u8]) -> String {
    Sha256::digest(picture).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A line of a log without what is another each time.
pub fn kind(line: &str) -> String {
    let words = line.split([' ', '@', '[', ']', '\'']).filter(|word| !word.contains("://"));
    words.filter(|word| !word.chars().any(|c| c.is_ascii_digit())).collect::<Vec<_>>().join(" ")
}

/// Of VLC's list the kind of the track and the hash, track after track: how they alternate is chance.
fn packets(list: &str) -> Vec<String> {
    let mut found: Vec<String> = list
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut fields = line.split('\t').skip(1);
            let (track, kind, hash) = (fields.next()?, fields.next()?, fields.last()?);
            Some(format!("{kind} {track} {hash}"))
        })
        .collect();
    found.sort_by_key(|line| line.rsplit_once(' ').map(|(track, _)| track.to_owned()));
    found
}

#[test]
fn what_vlc_does_to_itself_is_no_complaint() {
    let lost = "[00007f] ts demux warning: lost synchro\n";
    let first = "[00007f] ts demux warning: discontinuity received 0x3 instead of 0x2 (pid=17)\n\
        [00007f] ts demux error: libdvbpsi error (PSI decoder): TS discontinuity (received 3, expected 2) for PID 17\n";
    let picture = "[00007f] ts demux warning: discontinuity received 0x3 instead of 0x2 (pid=256)\n";
    let count = |parts: &[&str]| Program::Vlc.complaints(&parts.concat()).len();
    assert_eq!(count(&[lost, first]), 0);
    assert_eq!(count(&[first]), 2);
    assert_eq!(count(&[lost, first, picture]), 1);
}
