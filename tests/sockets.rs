//! Socket activation: services on sockets that a service manager opened, and keeps while they restart.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use common::{PATIENCE, Process, free_port, get, until};

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
    assert!(!manager.log().contains("is not listened at"), "nobody set another: {}", manager.log());
}

/// Who sets an address in the environment of a service behind a socket would look for it there.
#[test]
fn an_address_that_the_sockets_overrule_is_named() {
    for (service, variable, key, unit) in [
        ("serve", "PACELINE_PROXY_LISTEN", "proxy.listen", "paceline.socket"),
        ("tracker", "PACELINE_TRACKER_SERVER_LISTEN", "tracker_server.listen", "paceline-tracker.socket"),
    ] {
        for overruled in [true, false] {
            let address = format!("127.0.0.1:{}", free_port());
            let set = if overruled { format!("127.0.0.1:{}", free_port()) } else { address.clone() };
            let mut command = Command::new("systemd-socket-activate");
            command.arg(format!("--setenv={variable}={set}"));
            command.args(["--listen", &address, env!("CARGO_BIN_EXE_paceline"), service]);
            let manager = Process::spawn("systemd-socket-activate", &mut command);
            let path = if service == "serve" { "/-/health" } else { "/health" };
            let reply = until("it to be started", || get(address.parse().unwrap(), path));
            assert_eq!(reply.status, 200, "{}", manager.log());
            until("it to be ready", || manager.log().contains("ready: ").then_some(()));
            let log = manager.log();
            let said = format!("{key} = {set} is not listened at: a service manager handed over {address}");
            assert_eq!(
                log.contains(&said) && log.contains(&format!("systemctl edit {unit}")),
                overruled,
                "{log}"
            );
        }
    }
}

/// Starts a service on sockets that stay with whoever started it, as under a unit for sockets.
fn behind(arguments: &str, tcp: &TcpListener, udp: Option<&UdpSocket>) -> Child {
    let mut command = Command::new("sh");
    let (second, count) = if udp.is_some() { ("4<&1", 2) } else { ("", 1) };
    let script = format!(
        "exec 3<&0 {second} 0</dev/null 1>/dev/null; LISTEN_PID=$$ LISTEN_FDS={count} exec \"$0\" {arguments}"
    );
    command.args(["-c", &script]).arg(env!("CARGO_BIN_EXE_paceline"));
    command.stdin(Stdio::from(OwnedFd::from(tcp.try_clone().unwrap())));
    if let Some(udp) = udp {
        command.stdout(Stdio::from(OwnedFd::from(udp.try_clone().unwrap())));
    }
    command.stderr(Stdio::null()).spawn().unwrap()
}

fn stop(service: &mut Child) {
    let ended = Command::new("kill").arg(service.id().to_string()).status().unwrap();
    assert!(ended.success() && service.wait().unwrap().success());
}

#[test]
fn no_player_is_refused_while_the_daemon_restarts_behind_its_socket() {
    let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let address = listener.local_addr().unwrap();
    let over = AtomicBool::new(false);
    let ask = || {
        let mut answered = 0u32;
        while !over.load(Ordering::Relaxed) {
            let reply = get(address, "/-/health").expect("nobody is hung up on");
            assert_eq!(reply.status, 200);
            answered += 1;
        }
        answered
    };
    let start = || behind("serve --no-p2p", &listener, None);
    let mut daemon = start();
    std::thread::scope(|scope| {
        let players = [scope.spawn(ask), scope.spawn(ask)];
        for _ in 0..5 {
            assert_eq!(get(address, "/-/health").map(|reply| reply.status), Some(200));
            stop(&mut daemon);
            daemon = start();
        }
        assert_eq!(get(address, "/-/health").map(|reply| reply.status), Some(200));
        over.store(true, Ordering::Relaxed);
        for player in players {
            assert!(player.join().unwrap() > 5);
        }
    });
    stop(&mut daemon);
}

#[test]
fn viewers_that_come_while_the_tracker_restarts_wait_in_its_socket() {
    let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..3 {
        // There is no tracker yet, or no more.
        let mut viewer = TcpStream::connect(address).expect("nobody is refused");
        viewer.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(viewer, "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut tracker = behind("tracker", &listener, None);
        let mut answer = String::new();
        viewer.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        stop(&mut tracker);
    }
}

/// What a tracker answers to a STUN binding request (RFC 8489), asked once.
fn stun(from: &UdpSocket) -> Option<Vec<u8>> {
    let mut response = [0; 128];
    let length = from.recv(&mut response).ok()?;
    Some(response[..length].to_vec())
}

#[test]
fn stun_is_answered_on_the_socket_that_is_handed_over_and_beside_the_listener_without_one() {
    let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let address = listener.local_addr().unwrap();
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[7; 12]].concat();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let answers = |response: Option<Vec<u8>>| {
        let response = response.expect("an answer");
        assert_eq!((&response[..2], &response[8..20]), (&[1, 1][..], &[7; 12][..]));
    };
    let datagrams = UdpSocket::bind(address).unwrap();
    // Asked before there is a tracker: the question waits in the socket.
    client.send(&request).unwrap();
    let mut service = behind("tracker", &listener, Some(&datagrams));
    answers(stun(&client));
    stop(&mut service);
    drop(datagrams);
    let mut service = behind("tracker", &listener, None);
    assert_eq!(get(address, "/health").map(|reply| reply.status), Some(200));
    client.send(&request).unwrap();
    answers(stun(&client));
    stop(&mut service);
}
