//! Under a service manager: what it is told, and the sockets it hands over.

mod common;

use std::os::unix::net::UnixDatagram;
use std::process::Command;

use common::{Daemon, PATIENCE, Process, free_port, get, until};

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
fn players_are_served_on_the_sockets_that_are_handed_over() {
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new("systemd-socket-activate");
    command.args(["--listen", &address, env!("CARGO_BIN_EXE_paceline"), "serve"]);
    let manager = Process::spawn("systemd-socket-activate", &mut command);
    // The first connection starts it, and is answered.
    let reply = until("the daemon to be started", || get(address.parse().unwrap(), "/-/health"));
    assert_eq!((reply.status, reply.text().trim()), (200, "ok"), "{}", manager.log());
    until("it to say where", || manager.log().contains(&format!("http://{address}/")).then_some(()));
}

#[test]
fn uploads_are_steered_from_the_command_line() {
    let daemon = Daemon::start(&[], &[]);
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
    assert_eq!(upload(&["--limit", "fast"]).0, Some(2));
    // A configuration that is read again says what holds.
    daemon.process.signal("-HUP");
    until("the configuration to be read again", || (daemon.stats()["upload"] == false).then_some(()));
}
