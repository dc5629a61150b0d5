//! What Prometheus is told, as its own tool reads it.

mod common;

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use common::{Daemon, Nginx, Tracker, get, recording, until};

/// `promtool check metrics` finds nothing to complain of.
fn lint(text: &str) {
    let mut tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| {
            panic!("promtool could not be started ({e}); install it: apt-get install prometheus")
        });
    tool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = tool.wait_with_output().unwrap();
    let said_text =
        String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && said_text.trim().is_empty(), "{said_text}\n{text}");
}

/// The value of a sample.
fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find(|line| line.strip_prefix(sample).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("no {sample} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_daemons_metrics_say_what_its_statistics_say() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), 8, &[]);
    let budget = [("PACELINE_P2P_UPLOAD_MONTHLY", "40GB")];
    let (nginx, daemon) = (Nginx::serve(dir.path(), ""), Daemon::start(&[], &budget));
    let played = get_all(&daemon, &nginx);
    let text = until("the bytes to be counted", || {
        let text = get(daemon.address, "/-/metrics")?.text();
        (value(&text, "paceline_served_bytes_total{source=\"player\"}") == played as f64).then_some(text)
    });
    lint(&text);
    assert_eq!(
        value(&text, "paceline_received_bytes_total{source=\"http\"}"),
        daemon.total("http_bytes") as f64
    );
    assert_eq!(value(&text, "paceline_streams{kind=\"vod\"}"), 1.0);
    let by_reason = |text: &str| -> f64 {
        let samples = text.lines().filter(|line| line.starts_with("paceline_segments_total{"));
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    let listed = daemon.stats()["streams"][0]["segments"].as_array().unwrap().len();
    assert_eq!(by_reason(&text), listed as f64, "each segment has one reason");
    assert_eq!(value(&text, "paceline_late_segments_total"), daemon.total("late_segments") as f64);
    assert_eq!(value(&text, "paceline_listed_segments"), listed as f64);
    assert_eq!(value(&text, "paceline_listings_given_up_total"), 0.0);
    assert!(value(&text, "process_resident_memory_bytes") > 0.0);
    for (period, limit) in [("daily", 0.0), ("monthly", 40e9)] {
        let of =
            |what: &str| value(&text, &format!("paceline_upload_budget_{what}_bytes{{period=\"{period}\"}}"));
        assert_eq!((of("limit"), of("used")), (limit, 0.0), "{period}");
    }
    let peer5: serde_json::Value =
        serde_json::from_str(&get(daemon.address, "/-/stats?format=peer5").unwrap().text()).unwrap();
    assert_eq!(peer5["totalHttpDownloaded"], daemon.total("http_bytes"));
    assert_eq!(peer5["numOfPeers"], 0);
    assert_eq!(
        (&peer5["load.end"], &peer5["rebuffer.end"]),
        (&peer5["streams"][0]["load.end"], &peer5["streams"][0]["rebuffer.end"])
    );
    assert!(peer5["load.end"].is_u64(), "{peer5:#}");
    assert_eq!(get(daemon.address, "/-/stats?format=other").unwrap().status, 400);
}

#[test]
fn whether_the_tracker_is_there_can_be_seen() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), 8, &[]);
    let (nginx, mut tracker) = (Nginx::serve(dir.path(), ""), Tracker::start());
    let daemon = Daemon::with_tracker(&tracker.url());
    let seen = || {
        let text = get(daemon.address, "/-/metrics").unwrap().text();
        ["configured", "up"].map(|what| value(&text, &format!("paceline_trackers_{what}")))
    };
    assert_eq!(seen(), [1.0, 0.0], "nobody is looked for before something plays");
    get_all(&daemon, &nginx);
    until("the tracker to be reached", || (seen() == [1.0, 1.0]).then_some(()));
    assert_eq!(daemon.stats()["trackers"], serde_json::json!({"configured": 1, "up": 1}));
    let p2p = |switch: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        command.args(["p2p", switch, "--via", &daemon.address.to_string()]).output().unwrap()
    };
    p2p("off");
    assert_eq!(seen(), [1.0, 0.0], "it is left");
    p2p("on");
    until("the tracker to be reached again", || (seen() == [1.0, 1.0]).then_some(()));
    tracker.process.kill();
    until("the tracker to be missed", || (seen() == [1.0, 0.0]).then_some(()));
}

/// Loads a playlist and all of its segments; how many bytes those have.
fn get_all(daemon: &Daemon, nginx: &Nginx) -> usize {
    let list = daemon.get(&nginx.url("/index.m3u8")).text();
    let segments: Vec<_> = list.lines().filter(|line| line.starts_with('/')).collect();
    assert!(segments.len() >= 2, "{list}");
    segments.iter().map(|path| get(daemon.address, path).unwrap().body.len()).sum()
}

#[test]
fn the_trackers_metrics_say_what_its_statistics_say() {
    let tracker = Tracker::start();
    let address: SocketAddr =
        tracker.url().trim_start_matches("ws://").trim_end_matches('/').parse().unwrap();
    let text = get(address, "/metrics").unwrap().text();
    lint(&text);
    assert_eq!(value(&text, "paceline_tracker_viewers"), 0.0);
    assert_eq!(value(&text, "paceline_tracker_announces_total"), 0.0);
}

#[test]
fn the_dashboard_for_grafana_shows_what_there_is() {
    let daemon = Daemon::start(&[], &[]);
    let tracker = Tracker::start();
    let address: SocketAddr =
        tracker.url().trim_start_matches("ws://").trim_end_matches('/').parse().unwrap();
    let known = get(daemon.address, "/-/metrics").unwrap().text() + &get(address, "/metrics").unwrap().text();
    let dashboard: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string("docs/grafana.json").unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let expressions = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut seen = 0;
    for expression in expressions.map(|target| target["expr"].as_str().unwrap()) {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("paceline_") || word.starts_with("process_")) {
            assert!(
                known.contains(&format!("# TYPE {name} ")),
                "{name} in `{expression}` is no metric of ours"
            );
            seen += 1;
        }
    }
    assert!(seen >= panels.len(), "{seen} metrics in {} panels", panels.len());
}
