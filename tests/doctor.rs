//! `paceline check` without a stream, where the tracker is only reached over TLS; and where nobody reads what commands say.

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

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
