//! Real parts as processes: daemon, tracker, origin (nginx), players. Each has a free port, ends when dropped, and shows
//! its log when a test fails.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a part may take to do what it was started for, on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process with its output in a file.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    _dir: tempfile::TempDir,
}

impl Process {
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let file = std::fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().unwrap_or_else(|error| missing(&program, &error));
        Self { child, name: name.to_owned(), log, _dir: dir }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the end and answers whether it was a good one.
    pub fn wait(&mut self, patience: Duration) -> bool {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(began.elapsed() < patience, "{} did not end:\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- {} ---", self.name);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

fn missing(program: &str, error: &std::io::Error) -> ! {
    let package = match program.rsplit('/').next().unwrap_or(program) {
        "ffmpeg" | "ffprobe" => "ffmpeg",
        "nginx" => "nginx-light",
        "cvlc" | "setpriv" => "vlc-bin vlc-plugin-base",
        "node" | "npm" => "nodejs npm",
        other => other,
    };
    panic!("{program} could not be started ({error}); install it: apt-get install {package}")
}

/// A port that nothing uses, TCP and UDP.
///
/// One that the system would choose may go to a connection before the program it is meant for has bound it. These are
/// below the range the system chooses from (32768 and up), no two of a run are the same, and runs begin apart.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + (number % 22_000) as u16;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}

/// Waits until `what` answers something.
pub fn until<T>(why: &str, mut what: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {why}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request as it is written and reads until the other side closes or the length is reached.
pub fn raw(address: SocketAddr, request: &str) -> Option<Reply> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 65536];
    loop {
        if let Some(reply) = whole(&bytes, request.starts_with("HEAD")) {
            return Some(reply);
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return parse(&bytes),
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Reply { status, headers, body: bytes[end + 4..].to_vec() })
}

fn whole(bytes: &[u8], head: bool) -> Option<Reply> {
    let reply = parse(bytes)?;
    let length = reply.headers.get("content-length").and_then(|l| l.parse::<usize>().ok());
    (head || length.is_some_and(|length| reply.body.len() >= length)).then_some(reply)
}

pub fn get(address: SocketAddr, path: &str) -> Option<Reply> {
    raw(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: test\r\nConnection: close\r\n\r\n"),
    )
}

/// A `paceline serve`.
pub struct Daemon {
    pub process: Process,
    pub address: SocketAddr,
}

impl Daemon {
    pub fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let port = free_port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        command.arg("serve").args(["--listen", &address.to_string()]).args(args).envs(env.iter().copied());
        let process = Process::spawn(&format!("daemon {port}"), &mut command);
        let daemon = Self { process, address };
        until("the daemon is ready", || get(address, "/-/health").filter(|reply| reply.status == 200));
        daemon
    }

    pub fn with_tracker(tracker: &str) -> Self {
        Self::start(&["--tracker", tracker], &[])
    }

    /// The address of an origin's URL through this daemon.
    pub fn prefix(&self, url: &str) -> String {
        format!("http://{}/{url}", self.address)
    }

    pub fn get(&self, url: &str) -> Reply {
        get(self.address, &format!("/{url}")).expect("the daemon answers")
    }

    pub fn stats(&self) -> Value {
        let reply = get(self.address, "/-/stats").expect("the daemon answers");
        serde_json::from_slice(&reply.body).unwrap()
    }

    pub fn total(&self, key: &str) -> u64 {
        self.stats()["totals"][key].as_u64().unwrap()
    }

    pub fn healthy(&self) -> bool {
        get(self.address, "/-/health").is_some_and(|reply| reply.status == 200)
    }

    /// Waits for so many neighbours of some stream.
    pub fn await_neighbours(&self, count: u64) {
        until("neighbours are there", || {
            let stats = self.stats();
            let most = stats["streams"].as_array()?.iter().filter_map(|s| s["neighbours"].as_u64()).max()?;
            (most >= count).then_some(())
        });
    }
}

/// A `paceline tracker`.
pub struct Tracker {
    pub process: Process,
    pub address: SocketAddr,
}

impl Tracker {
    pub fn start() -> Self {
        Self::at(free_port())
    }

    pub fn at(port: u16) -> Self {
        Self::with(port, &[])
    }

    pub fn with(port: u16, env: &[(&str, &str)]) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        command.args(["tracker", "--listen", &address.to_string()]).envs(env.iter().copied());
        let process = Process::spawn("tracker", &mut command);
        until("the tracker is ready", || get(address, "/health").filter(|reply| reply.status == 200));
        Self { process, address }
    }

    pub fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    pub fn stats(&self) -> Value {
        let reply = get(self.address, "/stats").expect("the tracker answers");
        serde_json::from_slice(&reply.body).unwrap()
    }
}

/// nginx over a folder, with a log of what it sent.
pub struct Nginx {
    _process: Process,
    pub address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Nginx {
    /// Serves `root`; `extra` goes into its `server` block.
    pub fn serve(root: &Path, extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let path = dir.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {path}/{name};\n"))
            .collect();
        // One process, which is gone when it is killed: a worker would outlive its master. It runs as who started it.
        let config = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;\n\
             events {{ worker_connections 512; }}\n\
             http {{ {temporary}\n\
             types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; video/mp4 mp4 m4s; }}\n\
             log_format bytes '$request_method $uri $status $body_bytes_sent';\n\
             access_log {path}/access.log bytes;\n\
             server {{ listen 127.0.0.1:{port}; root {}; {extra} }} }}\n",
            root.display()
        );
        std::fs::write(dir.path().join("nginx.conf"), config).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-c").arg(dir.path().join("nginx.conf")).args(["-e", &format!("{path}/error.log")]);
        let process = Process::spawn("nginx", &mut command);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        until("nginx is ready", || get(address, "/"));
        Self { _process: process, address, dir }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Method, path, status and body bytes of each request so far.
    pub fn log(&self) -> Vec<(String, String, u16, u64)> {
        let text = std::fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default();
        text.lines()
            .filter_map(|line| {
                let mut fields = line.split(' ');
                let (method, path) = (fields.next()?.to_owned(), fields.next()?.to_owned());
                Some((method, path, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
            })
            .collect()
    }

    /// Requests for, and body bytes of, files that end so.
    pub fn sent(&self, ending: &str) -> (u64, u64) {
        self.log()
            .iter()
            .filter(|(method, path, ..)| method == "GET" && path.ends_with(ending))
            .fold((0, 0), |(count, bytes), (.., sent)| (count + 1, bytes + sent))
    }
}

pub fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}

/// Runs ffmpeg to its end.
pub fn ffmpeg(args: &[&str]) -> String {
    let output =
        Command::new("ffmpeg").args(["-nostdin", "-hide_banner"]).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| missing("ffmpeg", &error));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ffmpeg {args:?}:\n{text}");
    text
}

const VIDEO: [&str; 12] = [
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-b:v",
    "700k",
    "-g",
    "100",
    "-keyint_min",
    "100",
    "-sc_threshold",
    "0",
];

fn source(seconds: &str) -> Vec<String> {
    let mut args: Vec<String> = Vec::new();
    for input in ["testsrc2=size=320x180:rate=25", "sine=frequency=440:sample_rate=44100"] {
        args.extend(["-f", "lavfi", "-t", seconds, "-i", input].map(str::to_owned));
    }
    args
}

/// A recording of H.264 and AAC in HLS, `extra` being further options of the muxer.
pub fn recording(dir: &Path, seconds: u32, extra: &[&str]) {
    let muxer = ["-f", "hls", "-hls_time", "4", "-hls_list_size", "0", "-hls_playlist_type", "vod"];
    recorded(&dir.join("index.m3u8"), seconds, &[&muxer, extra].concat());
}

/// The same in DASH, picture and sound apart.
pub fn presentation(dir: &Path, seconds: u32, extra: &[&str]) {
    recorded(&dir.join("stream.mpd"), seconds, &[&["-f", "dash", "-seg_duration", "4"], extra].concat());
}

fn recorded(out: &Path, seconds: u32, muxer: &[&str]) {
    let (inputs, out) = (source(&seconds.to_string()), out.display().to_string());
    let mut args = vec!["-v", "error"];
    args.extend(inputs.iter().map(String::as_str));
    args.extend(VIDEO);
    args.extend(["-c:a", "aac"]);
    args.extend(muxer);
    args.push(&out);
    ffmpeg(&args);
}

/// A live stream that is written into a folder in real time, until dropped.
pub fn live(dir: &Path) -> Process {
    let mut args = vec!["-nostdin".to_owned(), "-v".to_owned(), "error".to_owned(), "-re".to_owned()];
    let inputs = source("600");
    args.extend(inputs[..6].iter().cloned());
    args.push("-re".to_owned());
    args.extend(inputs[6..].iter().cloned());
    args.extend(VIDEO.map(str::to_owned));
    args.extend(["-c:a", "aac", "-f", "hls", "-hls_time", "4", "-hls_list_size", "6"].map(str::to_owned));
    args.extend(["-hls_flags", "delete_segments+temp_file"].map(str::to_owned));
    args.push(dir.join("index.m3u8").display().to_string());
    let process = Process::spawn("live writer", Command::new("ffmpeg").args(args));
    until("the live window has six segments", || {
        let text = std::fs::read_to_string(dir.join("index.m3u8")).ok()?;
        (text.matches("#EXTINF").count() >= 6).then_some(())
    });
    process
}

/// A real-time player: ffmpeg, as ffplay would play, without a screen.
pub fn player(url: &str, seconds: u32, env: &[(&str, &str)]) -> Process {
    let seconds = seconds.to_string();
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "warning", "-re", "-i", url, "-t", &seconds, "-f", "null", "-"]);
    command.envs(env.iter().copied());
    Process::spawn("player", &mut command)
}

/// What a player complained about: an empty list is a good one.
pub fn complaints(log: &str) -> Vec<&str> {
    log.lines().filter(|line| !line.trim().is_empty()).collect()
}
