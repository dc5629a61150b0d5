//! `paceline check` without a stream, where the tracker is only reached over TLS; and where nobody reads what commands say.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use common::{Process, free_port, until};
use serde_json::Value;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

/// A tracker with a certificate for `localhost` that holds in these years.
fn tracker(dir: &Path, years: std::ops::Range<i32>) -> (Process, String) {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(dir.join("tracker.pem"), certificate.pem()).unwrap();
    std::fs::write(dir.join("tracker.key"), key.serialize_pem()).unwrap();
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    command.args(["tracker", "--listen", &format!("127.0.0.1:{port}")]);
    command.env("PACELINE_TRACKER_SERVER_CERTIFICATE", dir.join("tracker.pem"));
    command.env("PACELINE_TRACKER_SERVER_KEY", dir.join("tracker.key"));
    let process = Process::spawn("tracker", &mut command);
    until("the tracker to be ready", || process.log().contains("tracker ready").then_some(()));
    (process, format!("wss://localhost:{port}/"))
}

/// What is found: each severity with what it says.
fn found(dir: &Path, tracker: &str) -> Vec<(String, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    command.args(["check", "--json", "--tracker", tracker]);
    command.env("SSL_CERT_FILE", dir.join("tracker.pem")).env_remove("SSL_CERT_DIR");
    findings(&mut command)
}

fn findings(command: &mut Command) -> Vec<(String, String)> {
    command.env("PACELINE_PROXY_LISTEN", format!("127.0.0.1:{}", free_port()));
    let output = command.output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)));
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = document["findings"].as_array().unwrap();
    findings.iter().map(|finding| (text(finding, "severity"), text(finding, "what"))).collect()
}

#[test]
fn the_clock_is_compared_with_a_tracker_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let (_tracker, url) = tracker(dir.path(), 2020..2100);
    let found = found(dir.path(), &url);
    let agrees = ("ok".to_owned(), "the clock agrees with the tracker's".to_owned());
    assert!(found.contains(&agrees), "{found:#?}");
}

#[test]
fn a_certificate_of_another_time_makes_the_clock_suspect() {
    for years in [2020..2021, 2099..2100] {
        let dir = tempfile::tempdir().unwrap();
        let (_tracker, url) = tracker(dir.path(), years.clone());
        let found = found(dir.path(), &url);
        let [suspect] = found.iter().filter(|(_, what)| what.contains("clock")).collect::<Vec<_>>()[..]
        else {
            panic!("{found:#?}")
        };
        assert!(
            suspect.1.starts_with("by this clock the certificate of localhost"),
            "{years:?}: {suspect:?}"
        );
        assert_eq!(suspect.0, "advice");
    }
}

/// What is advised of it, for a machine that has this in its environment.
fn advised(variables: &[(&str, &str)], about: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    let found = findings(command.args(["check", "--json"]).envs(variables.iter().copied()));
    let [(severity, what)] = &found.iter().filter(|(_, what)| what.contains(about)).collect::<Vec<_>>()[..]
    else {
        panic!("{about}: {found:#?}")
    };
    assert_eq!(severity, "advice", "{what}");
    what.clone()
}

#[test]
fn a_stun_server_that_says_nothing_is_named() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = format!("stun:{}", silent.local_addr().unwrap());
    let said = advised(&[("PACELINE_ICE_STUN", &server)], "STUN server");
    assert_eq!(said, format!("the STUN server {server} does not answer"));
    silent.set_nonblocking(true).unwrap();
    assert!(silent.recv(&mut [0; 64]).is_ok(), "it was asked");
}

#[test]
fn a_port_for_peers_that_is_taken_is_named() {
    let taken = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let variables = [("PACELINE_ICE_UDP_PORT", &*port.to_string()), ("PACELINE_ICE_STUN", "none")];
    assert_eq!(advised(&variables, "UDP port"), format!("UDP port {port} is taken"));
}

/// Whoever asks is told that it is an hour later, or earlier.
#[test]
fn a_clock_that_is_wrong_is_told_by_how_much() {
    const HOUR: Duration = Duration::from_secs(3600);
    for later in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        break;
                    }
                    asked.push(byte[0]);
                }
                let now = SystemTime::now();
                let date = httpdate::fmt_http_date(if later { now + HOUR } else { now - HOUR });
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 3\r\n\r\nok\n");
            }
        });
        let said = advised(&[("PACELINE_TRACKER_URLS", &url), ("PACELINE_ICE_STUN", "none")], "clock");
        let off =
            said.strip_prefix("the clock is ").and_then(|rest| rest.strip_suffix(" s off the tracker's"));
        // A second is what the date leaves out, and a machine under load takes its time.
        let off: u64 = off.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
        assert!((3_540..=3_660).contains(&off), "{said}");
    }
}

/// A tracker that lets nobody in without the token.
fn exclusive() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // The answer of a refusal is the library's.
            #[allow(clippy::result_large_err)]
            let asked = |request: &Request, response: Response| match request.uri().query() {
                Some("key=s3cret&token=s3same") => Ok(response),
                _ => Err(http::Response::builder().status(403).body(None).unwrap()),
            };
            let _ = tokio_tungstenite::tungstenite::accept_hdr(stream, asked);
        }
    });
    format!("ws://{address}/?key=s3cret")
}

#[test]
fn a_tracker_that_wants_a_token_is_shown_it() {
    let url = exclusive();
    let of_token = |token: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        command.args(["check", "--json", "--tracker", &url]);
        command.env("PACELINE_TRACKER_TOKEN", token).env("PACELINE_ICE_STUN", "none");
        let found = findings(&mut command);
        assert!(!format!("{found:?}").contains("s3"), "{found:#?}");
        let of_tracker = found.into_iter().find(|(_, what)| what.contains("the tracker ws://127.0.0.1:"));
        of_tracker.unwrap().0
    };
    assert_eq!(of_token("s3same"), "ok");
    assert_eq!(of_token("s3other"), "blocker");
}

/// On a machine with a service its trackers stand in a file that only the service manager reads.
#[test]
fn who_has_no_tracker_is_told_where_a_service_has_its_own() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    command.arg("check").env("PACELINE_PROXY_LISTEN", format!("127.0.0.1:{}", free_port()));
    let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let line = said.lines().find(|line| line.contains("no tracker is configured")).expect("it is said");
    assert!(line.contains("/etc/paceline/paceline.env"), "{line}");
    let readme = std::fs::read_to_string("README.md").unwrap();
    let (_, section) = readme.split_once("\n### On a set-top box\n").expect("the section that it names");
    let command = "--property EnvironmentFile=/etc/paceline/paceline.env paceline check";
    assert!(section.split("\n### ").next().unwrap().contains(command));
}

/// As in `paceline check | grep -q ok`, which ends at the first such line.
#[test]
fn a_reader_that_has_enough_is_no_failure() {
    for args in [&["serve", "--check"][..], &["completions", "bash"], &["simulate", "--list"], &["check"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        command.env("PACELINE_PROXY_LISTEN", format!("127.0.0.1:{}", free_port()));
        let output = command.args(args).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // The verdict on this machine is its own.
        assert!(
            output.status.success() || args == ["check"] && output.status.code() == Some(1),
            "{args:?}: {said}"
        );
        assert!(!said.contains("panicked") && !said.contains("standard output"), "{args:?}: {said}");
    }
}
