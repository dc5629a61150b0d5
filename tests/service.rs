//! Under a service manager: what it is told, what the journal is, how services end.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{
    Daemon, Nginx, PATIENCE, Process, Tracker, free_port, get, live, player, raw, recording, until,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What a service manager hears.
struct Manager {
    socket: UnixDatagram,
    path: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path, _dir: dir }
    }

    fn start(&self, args: &[&str]) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", "WATCHDOG_PID=$$ exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_paceline")]).args(args);
        command.env("NOTIFY_SOCKET", &self.path).env("WATCHDOG_USEC", "400000");
        Process::spawn(args[0], &mut command)
    }

    /// Reads on until it is told this.
    fn hears(&self, what: &str) {
        let mut message = [0; 512];
        loop {
            let length = self.socket.recv(&mut message).unwrap_or_else(|error| panic!("no {what}: {error}"));
            if String::from_utf8_lossy(&message[..length]).lines().any(|line| line == what) {
                return;
            }
        }
    }
}

#[test]
fn the_service_manager_is_told_how_the_daemon_is() {
    let manager = Manager::new();
    let mut daemon = manager.start(&["serve", "--listen", &format!("127.0.0.1:{}", free_port())]);
    for state in ["READY=1", "WATCHDOG=1", "WATCHDOG=1"] {
        manager.hears(state);
    }
    daemon.signal("-HUP");
    for state in ["RELOADING=1", "READY=1", "WATCHDOG=1"] {
        manager.hears(state);
    }
    daemon.signal("-TERM");
    manager.hears("STOPPING=1");
    assert!(daemon.wait(PATIENCE), "{}", daemon.log());
}

#[test]
fn the_service_manager_is_told_how_the_tracker_is() {
    let manager = Manager::new();
    let mut tracker = manager.start(&["tracker", "--listen", &format!("127.0.0.1:{}", free_port())]);
    for state in ["READY=1", "WATCHDOG=1"] {
        manager.hears(state);
    }
    tracker.signal("-TERM");
    manager.hears("STOPPING=1");
    assert!(tracker.wait(PATIENCE), "{}", tracker.log());
}

#[test]
fn a_tracker_without_its_certificate_is_never_ready() {
    let manager = Manager::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    command.args(["tracker", "--listen", &format!("127.0.0.1:{}", free_port())]);
    command.env("NOTIFY_SOCKET", &manager.path);
    command.env("PACELINE_TRACKER_SERVER_CERTIFICATE", "/nowhere.pem");
    command.env("PACELINE_TRACKER_SERVER_KEY", "/nowhere.key");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("/nowhere.pem"), "{said}");
    // What it told is here by now.
    manager.socket.set_nonblocking(true).unwrap();
    let mut message = [0; 512];
    let heard = manager.socket.recv(&mut message).map(|length| message[..length].to_vec());
    assert!(heard.is_err(), "the service manager was told {heard:?}");
}

#[test]
fn a_tracker_reads_its_configuration_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("paceline.toml");
    let write = |text: &str| std::fs::write(&file, format!("[tracker_server]\n{text}\n")).unwrap();
    write("stats_token = \"old\"");
    let address = format!("127.0.0.1:{}", free_port());
    let manager = Manager::new();
    let mut tracker = manager.start(&["tracker", "--listen", &address, "--config", file.to_str().unwrap()]);
    manager.hears("READY=1");
    // Under another name this machine is as foreign as any, and only the token counts.
    let address = address.parse().unwrap();
    let status = |token: &str| {
        let request =
            format!("GET /stats?token={token} HTTP/1.1\r\nHost: t.example\r\nConnection: close\r\n\r\n");
        raw(address, &request).map(|reply| reply.status)
    };
    assert_eq!((status("old"), status("new")), (Some(200), Some(403)));
    let again = || {
        tracker.signal("-HUP");
        manager.hears("RELOADING=1");
        manager.hears("READY=1");
    };
    write("stats_token = \"new\"");
    again();
    assert_eq!((status("old"), status("new")), (Some(403), Some(200)));
    assert!(!tracker.log().contains("waits for a restart"), "{}", tracker.log());
    write("stats_token = \"newer\"\nmax_swarms = 5");
    again();
    assert_eq!((status("new"), status("newer")), (Some(403), Some(200)));
    assert!(tracker.log().contains("waits for a restart"), "{}", tracker.log());
    write("stats_tokens = \"\"");
    again();
    assert_eq!(status("newer"), Some(200), "a broken file changes nothing: {}", tracker.log());
    tracker.signal("-TERM");
    assert!(tracker.wait(PATIENCE), "{}", tracker.log());
}

/// Who comes to a tracker next, and what he asks for.
fn comes(trackers: &TcpListener) -> (TcpStream, String) {
    let (stream, _) = until("it to be tried", || trackers.accept().ok());
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut reader, mut asked) = (BufReader::new(&stream), String::new());
    while !asked.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut asked).unwrap() > 0, "nothing more than {asked}");
    }
    (stream, asked)
}

fn token_of(asked: &str) -> String {
    let token = asked.split_once("token=").and_then(|(_, rest)| rest.split([' ', '&']).next());
    token.unwrap_or_else(|| panic!("no token in {asked}")).to_owned()
}

/// A tracker that tells who comes with which token, and hangs up.
fn token(trackers: &TcpListener) -> String {
    token_of(&comes(trackers).1)
}

/// A tracker that lets nobody in; with which token he came.
fn refuse(trackers: &TcpListener) -> String {
    let (mut stream, asked) = comes(trackers);
    stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    token_of(&asked)
}

/// A tracker that lets somebody in.
fn welcome(trackers: &TcpListener) -> TcpStream {
    let (mut stream, asked) = comes(trackers);
    let key = asked.lines().find_map(|line| {
        line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
    });
    let accept = derive_accept_key(key.unwrap().1.as_bytes());
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    write!(stream, "{head}Sec-WebSocket-Accept: {accept}\r\n\r\n").unwrap();
    stream
}

/// A tracker's place, and how a daemon is told of it.
fn trackers() -> (TcpListener, String) {
    let trackers = TcpListener::bind("127.0.0.1:0").unwrap();
    trackers.set_nonblocking(true).unwrap();
    let url = format!("ws://{}/", trackers.local_addr().unwrap());
    (trackers, url)
}

/// Has the daemon read its configuration again, for the `times`th time.
fn reload(daemon: &Daemon, times: usize) {
    daemon.process.signal("-HUP");
    let read = || daemon.process.log().matches("configuration read again").count() == times;
    until("the configuration to be read again", || read().then_some(()));
}

#[test]
fn a_secret_that_changes_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "location = /key { return 200 $http_x_key; }");
    let secrets = tempfile::tempdir().unwrap();
    let put = |token: &str, header: &str| {
        std::fs::write(secrets.path().join("PACELINE_TRACKER_TOKEN"), token).unwrap();
        std::fs::write(secrets.path().join("PACELINE_ORIGIN_HEADERS"), header).unwrap();
    };
    put("old", "X-Key: old");
    let (trackers, tracker) = trackers();
    let folder = ("CREDENTIALS_DIRECTORY", secrets.path().to_str().unwrap());
    let daemon = Daemon::start(&["--tracker", &tracker], &[folder]);
    let _player = player(&daemon.prefix(&origin.url("index.m3u8")), 500, &[]);
    let key = || String::from_utf8(daemon.get(&origin.url("key")).body).unwrap();
    assert_eq!((token(&trackers), key()), ("old".to_owned(), "old".to_owned()));

    put("new", "X-Key: new");
    reload(&daemon, 1);
    assert_eq!(key(), "new");
    until("the new token", || (token(&trackers) == "new").then_some(()));
    assert!(!daemon.process.log().contains("waits for"), "{}", daemon.process.log());

    // A secret that can't be used changes nothing, the other neither.
    put("newest", "X-Key");
    daemon.process.signal("-HUP");
    let refused = || daemon.process.log().contains("the configuration stays as it is").then_some(());
    until("it to be refused", refused);
    assert_eq!(key(), "new");
    // The first of the two may have been on its way.
    assert_eq!([token(&trackers), token(&trackers)], ["new", "new"]);
}

#[test]
fn a_tracker_that_refuses_later_says_why_and_is_tried_at_once_with_another_token() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "");
    let file = dir.path().join("paceline.toml");
    let write = |token: &str| std::fs::write(&file, format!("[tracker]\ntoken = \"{token}\"\n")).unwrap();
    write("old");
    let (trackers, tracker) = trackers();
    let daemon = Daemon::start(&["--tracker", &tracker, "--config", file.to_str().unwrap()], &[]);
    let _player = player(&daemon.prefix(&origin.url("index.m3u8")), 500, &[]);
    let said = |what: &str, times: usize| {
        until(&format!("{what} {times} times"), || {
            (daemon.process.log().matches(what).count() >= times).then_some(())
        });
    };
    drop(welcome(&trackers));
    said(" is gone; ", 1);
    let why = " can't be reached (HTTP error: 403 Forbidden)";
    // By then the next attempt is seconds away.
    for _ in 0..4 {
        assert_eq!(refuse(&trackers), "old");
    }
    said(why, 1);
    write("new");
    reload(&daemon, 1);
    let began = Instant::now();
    assert_eq!(refuse(&trackers), "new");
    assert!(began.elapsed() < Duration::from_millis(1500), "after {:?}", began.elapsed());
    said(why, 2);
}

/// Whom a TURN server is asked by next, when it has said that it wants to know.
fn user(relay: &UdpSocket) -> String {
    let mut packet = [0; 1500];
    loop {
        let (length, from) = relay.recv_from(&mut packet).unwrap();
        let asked = &packet[..length];
        // An Allocate request (RFC 8656 §18): type, length, cookie and transaction, then attributes.
        if length < 20 || asked[..2] != [0x00, 0x03] {
            continue;
        }
        let mut rest = &asked[20..];
        while let [t0, t1, l0, l1, value @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*l0, *l1]));
            if [*t0, *t1] == [0x00, 0x06] {
                return String::from_utf8(value[..length].to_vec()).unwrap();
            }
            rest = value.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        // 401 with a realm and a nonce.
        let attributes = b"\x00\x09\x00\x04\0\0\x04\x01\x00\x14\x00\x04test\x00\x15\x00\x04once";
        let mut reply = vec![0x01, 0x13, 0, attributes.len() as u8];
        reply.extend_from_slice(&asked[4..20]);
        reply.extend_from_slice(attributes);
        relay.send_to(&reply, from).unwrap();
    }
}

#[test]
fn a_relay_that_is_read_again_is_the_one_that_connections_ask() {
    let dir = tempfile::tempdir().unwrap();
    for stream in ["one", "other"] {
        std::fs::create_dir(dir.path().join(stream)).unwrap();
        recording(&dir.path().join(stream), 60, &[]);
    }
    let origin = Nginx::serve(dir.path(), "");
    let file = dir.path().join("paceline.toml");
    let relay = UdpSocket::bind("127.0.0.1:0").unwrap();
    relay.set_read_timeout(Some(PATIENCE)).unwrap();
    let at = relay.local_addr().unwrap();
    let write = |user: &str| {
        std::fs::write(&file, format!("[ice]\nturn = [\"turn:{user}:hush@{at}\"]\n")).unwrap();
    };
    write("old");
    let tracker = Tracker::start();
    let daemon = Daemon::start(&["--tracker", &tracker.url(), "--config", file.to_str().unwrap()], &[]);
    let _first = player(&daemon.prefix(&origin.url("one/index.m3u8")), 500, &[]);
    assert_eq!(user(&relay), "old");
    write("new");
    reload(&daemon, 1);
    // Another stream is announced at once, with connections of its own.
    let _second = player(&daemon.prefix(&origin.url("other/index.m3u8")), 500, &[]);
    until("the new name", || (user(&relay) == "new").then_some(()));
}

/// A tracker whose standard error is `stderr` and which believes that this is the journal, whose socket is in `journal`.
fn journalled(stderr: &Path, journal: &Path) -> Process {
    let file = File::create(stderr).unwrap();
    let stream = file.metadata().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c"]);
    command.arg(
        "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && mount --bind \"$1\" /run/systemd/journal \
         && exec \"$2\" tracker --listen \"$3\" 2>>\"$4\"",
    );
    command.arg("sh").arg(journal).arg(env!("CARGO_BIN_EXE_paceline"));
    command.arg(format!("127.0.0.1:{}", free_port())).arg(stderr);
    command.env("JOURNAL_STREAM", format!("{}:{}", stream.dev(), stream.ino()));
    Process::spawn("tracker", &mut command)
}

#[test]
fn the_journal_has_levels_and_fields() {
    let dir = tempfile::tempdir().unwrap();
    let journal = UnixDatagram::bind(dir.path().join("socket")).unwrap();
    journal.set_read_timeout(Some(PATIENCE)).unwrap();
    let stderr = dir.path().join("stderr");
    let tracker = journalled(&stderr, dir.path());
    let mut entry = vec![0; 65536];
    let entry = loop {
        let length = journal.recv(&mut entry).unwrap_or_else(|error| panic!("{error}: {}", tracker.log()));
        // The first one is empty: it is sent to see whether somebody listens.
        if length > 0 {
            break String::from_utf8_lossy(&entry[..length]).into_owned();
        }
    };
    // A value follows its length, in eight bytes.
    let priority = "PRIORITY\n\u{1}\0\0\0\0\0\0\x006\n";
    for field in [priority, "SYSLOG_IDENTIFIER\n", "MESSAGE\n", "PACELINE_ADDRESS\n", "tracker ready"] {
        assert!(entry.contains(field), "no {field:?} in {entry}");
    }
    assert_eq!(std::fs::read_to_string(&stderr).unwrap(), "", "it is said once");
}

#[test]
fn without_a_journal_the_sentence_alone_is_on_standard_error() {
    let dir = tempfile::tempdir().unwrap();
    let stderr = dir.path().join("stderr");
    let _tracker = journalled(&stderr, dir.path());
    let line =
        until("it to be ready", || std::fs::read_to_string(&stderr).ok().filter(|text| text.ends_with('\n')));
    assert!(line.contains("tracker ready: start viewers with --tracker ws://127.0.0.1:"), "{line}");
    assert!(!line.contains("address="), "{line}");
}

/// A script that lets the system choose a port learns it from nobody else.
#[test]
fn the_address_is_told_whatever_is_logged() {
    for level in ["warn", "off", "info"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--no-p2p"]).env("PACELINE_LOG_LEVEL", level);
        let daemon = Process::spawn("daemon", &mut command);
        let line = until("the address", || {
            let log = daemon.log();
            log.lines().find(|line| line.contains("point a player at")).map(str::to_owned)
        });
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
        assert_eq!(get(address.parse().unwrap(), "/-/health").unwrap().status, 200, "{level}: {line}");
        assert_eq!(daemon.log().matches("point a player at").count(), 1, "{level}: {}", daemon.log());
        assert!(level == "info" || daemon.log().lines().count() == 1, "{level}: {}", daemon.log());
    }
    // The journal has what its level lets through.
    let dir = tempfile::tempdir().unwrap();
    let (stderr, manager) = (dir.path().join("stderr"), Manager::new());
    let stream = File::create(&stderr).unwrap().metadata().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" serve --listen 127.0.0.1:0 --no-p2p 2>>\"$1\""]);
    command.arg(env!("CARGO_BIN_EXE_paceline")).arg(&stderr).env("NOTIFY_SOCKET", &manager.path);
    command.env("JOURNAL_STREAM", format!("{}:{}", stream.dev(), stream.ino()));
    let _daemon = Process::spawn("daemon", command.env("PACELINE_LOG_LEVEL", "warn"));
    manager.hears("READY=1");
    assert_eq!(std::fs::read_to_string(&stderr).unwrap(), "");
}

#[test]
fn uploads_are_steered_from_the_command_line() {
    let daemon = Daemon::with_tracker("ws://127.0.0.1:1/");
    let via = daemon.address.to_string();
    let upload = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        let said = command.arg("upload").args(args).args(["--via", &via]).output().unwrap();
        (said.status.code(), String::from_utf8(said.stdout).unwrap())
    };
    assert_eq!(upload(&["off"]), (Some(0), "upload off, no limit\n".to_owned()));
    assert_eq!(daemon.stats()["upload"], false);
    assert_eq!(upload(&["on", "--limit", "2M"]), (Some(0), "upload on, at most 2.0 Mbit/s\n".to_owned()));
    assert_eq!(daemon.stats()["upload"], true);
    assert_eq!(upload(&["--limit", "0"]), (Some(0), "upload on, no limit\n".to_owned()));
    let mut peers_off = Command::new(env!("CARGO_BIN_EXE_paceline"));
    assert!(peers_off.args(["p2p", "off", "--via", &via]).status().unwrap().success());
    assert_eq!(upload(&[]).1, "upload on, no limit, but peers are off\n");
    assert_eq!(daemon.stats()["upload"], true, "the switch is as it was");
    assert_eq!(upload(&["--limit", "fast"]).0, Some(2));
    assert_eq!(upload(&["auto", "--channel", "news"]), (Some(2), String::new()), "no mode of a channel");
    // A configuration that is read again says what holds.
    daemon.process.signal("-HUP");
    until("the configuration to be read again", || (daemon.stats()["upload_mode"] == "auto").then_some(()));
}

#[test]
fn the_check_refuses_what_does_not_start_and_tells_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("paceline.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        let output = command.args(["serve", "--check", "--config"]).arg(&file).output().unwrap();
        let [said, complained] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code(), said, complained)
    };
    for (text, key) in [
        ("[origin]\nproxy = \"foo\"", "origin.proxy"),
        ("[origin]\nheaders = [\"bad\"]", "origin.headers"),
        ("[tracker_server]\ncertificate = \"/nowhere.pem\"", "tracker_server.key"),
        ("[tracker_server]\ncertificate = \"/nowhere.pem\"\nkey = \"/nowhere.key\"", "/nowhere.pem"),
        ("[ice]\nturn = [\"bogus\"]", "ice.turn"),
        ("[log]\nlevel = \"warning\"", "did you mean `warn`"),
    ] {
        let (status, said, complained) = check(text);
        assert_eq!((status, said.as_str()), (Some(2), ""), "{text}: {complained}");
        assert!(complained.contains(key), "{text}: {complained}");
    }
    let text = "[tracker]\ntoken = \"hush\"\n[ice]\nturn = [\"turn:ann:hush@turn.example\"]\n\
                [origin]\nheaders = [\"Authorization: hush\"]\n[tracker_server]\nstats_token = \"hush\"\n";
    let (status, said, complained) = check(text);
    assert_eq!(status, Some(0), "{complained}");
    assert!(said.contains("turn:ann:***@turn.example") && !said.contains("hush"), "{said}");
}

/// What a daemon may take to end, whatever its players do.
const END: Duration = Duration::from_secs(10);
/// Bytes of a segment that no socket buffers swallow.
const SEGMENT: usize = 24 << 20;

/// A player that has the head of the answer and a little of the segment.
fn begun(daemon: &Daemon, origin: &Nginx) -> (TcpStream, usize) {
    let (host, url) = (daemon.address, origin.url("index.m3u8"));
    assert_eq!(daemon.get(&url).status, 200);
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let url = origin.url("0.ts");
    write!(stream, "GET /{url} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: test\r\n\r\n").unwrap();
    let mut beginning = [0; 4096];
    let length = stream.read(&mut beginning).unwrap();
    let head = beginning[..length].windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    assert!(beginning.starts_with(b"HTTP/1.1 200 "));
    (stream, length - head)
}

#[test]
fn players_finish_their_segment_at_the_end_and_whoever_does_not_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("0.ts"), vec![0x47; SEGMENT]).unwrap();
    let playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n0.ts\n#EXT-X-ENDLIST\n";
    std::fs::write(dir.path().join("index.m3u8"), playlist).unwrap();
    let origin = Nginx::serve(dir.path(), "");
    // A disk that hangs: whoever opens this waits for somebody who reads it.
    let (state, tracker) = (dir.path().join("state.json").display().to_string(), Tracker::start());
    assert!(Command::new("mkfifo").arg(format!("{state}.new")).status().unwrap().success());
    let neighbour = Daemon::with_tracker(&tracker.url());
    let _watches = begun(&neighbour, &origin);
    for stalled in [false, true] {
        let (args, kept) = (["--tracker", &tracker.url()], [("PACELINE_P2P_STATE", &*state)]);
        let mut daemon = if stalled { Daemon::start(&args, &kept) } else { Daemon::start(&[], &[]) };
        let (mut reads, mut got) = begun(&daemon, &origin);
        // The second one never reads on.
        let stands = stalled.then(|| begun(&daemon, &origin));
        if stalled {
            daemon.await_neighbours(1);
        }
        daemon.process.signal("-TERM");
        let began = Instant::now();
        until("it takes no more players", || TcpStream::connect(daemon.address).is_err().then_some(()));
        assert!(daemon.process.running(), "it waits for its player");
        let mut chunk = vec![0; 1 << 20];
        loop {
            match reads.read(&mut chunk).unwrap() {
                0 => break,
                length => got += length,
            }
        }
        assert_eq!(got, SEGMENT, "the segment under way is finished");
        assert!(daemon.process.wait(PATIENCE), "{}", daemon.process.log());
        let took = began.elapsed();
        assert!(took < END, "it ended after {took:?}");
        drop(stands);
    }
}

/// Debian's kernel gives huge pages to everybody, and a daemon at its limit held 50 MiB more for it.
#[test]
fn memory_is_of_huge_pages_for_simulations_alone() {
    let allowed = |process: &str| {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("THP_enabled:"));
        line.map(|line| line.ends_with('1'))
    };
    // A kernel that has none says nothing of them, and whoever starts us may have forbidden them.
    let ours = allowed("self");
    for (args, theirs) in [
        (&["serve", "--listen", "127.0.0.1:0"][..], ours.map(|_| false)),
        (&["tracker", "--listen", "127.0.0.1:0"], ours.map(|_| false)),
        (&["demo", "--viewers", "1"], ours.map(|_| false)),
        (&["simulate", "--viewers", "1000", "--seconds", "80000"], ours),
    ] {
        let process = Process::spawn(args[0], Command::new(env!("CARGO_BIN_EXE_paceline")).args(args));
        // It knows by then what it is.
        std::thread::sleep(Duration::from_millis(500));
        let pid = process.pid().to_string();
        until(&format!("{args:?}"), || (allowed(&pid) == theirs).then_some(()));
    }
}

#[test]
fn a_tracker_that_is_not_there_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "");
    // Whoever listens there hangs up once he was asked.
    let (other, url) = trackers();
    let daemon = Daemon::with_tracker(&url);
    let _player = player(&daemon.prefix(&origin.url("index.m3u8")), 500, &[]);
    for _ in 0..3 {
        comes(&other);
    }
    let log = daemon.process.log();
    assert_eq!(log.matches(" can't be reached (").count(), 1, "{log}");
}

#[test]
fn peers_are_told_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "");
    let (tracker, url) = (Tracker::start(), origin.url("index.m3u8"));
    let [stays, mut leaves, hangs] = [(); 3].map(|()| Daemon::with_tracker(&tracker.url()));
    let names = || -> Vec<String> {
        let peers = stays.stats()["streams"][0]["peers"].as_array().cloned().unwrap_or_default();
        peers.iter().map(|peer| peer["name"].as_str().unwrap().to_owned()).collect()
    };
    let _player = player(&stays.prefix(&url), 500, &[]);
    let leaving = player(&leaves.prefix(&url), 500, &[]);
    let [name] = until("one neighbour", || names().try_into().ok());
    let _hanging = player(&hangs.prefix(&url), 500, &[]);
    let other = until("the other, too", || names().into_iter().find(|other| *other != name));
    // Who only falls silent is missed much later than who says goodbye.
    hangs.process.signal("-STOP");
    drop(leaving);
    leaves.process.signal("-TERM");
    until("the goodbye is heard", || (!names().contains(&name)).then_some(()));
    assert!(names().contains(&other), "the silent one is still thought to be there");
    assert!(leaves.process.wait(PATIENCE), "{}", leaves.process.log());
}
