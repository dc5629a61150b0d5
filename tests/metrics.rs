//! What Prometheus is told, as its own tool reads it.

mod common;

use std::collections::BTreeSet;
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
    daemon.get(&nginx.url("/index.m3u8"));
    let looked_at = get(daemon.address, "/-/metrics").unwrap().text();
    assert_eq!(value(&looked_at, "paceline_streams{kind=\"vod\"}"), 1.0);
    assert!(!looked_at.contains("\npaceline_buffered_seconds{"), "nobody can have run dry: {looked_at}");
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
    let buffered = |text: &str| -> Vec<String> {
        let samples = text.lines().filter(|line| line.starts_with("paceline_buffered_seconds{"));
        samples.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(buffered(&text), ["paceline_buffered_seconds{kind=\"vod\"}"], "nobody plays the other kinds");
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
    for waits in ["load.end", "rebuffer.end", "seek.end"] {
        assert_eq!(peer5[waits], peer5["streams"][0][waits], "{waits}");
    }
    assert_eq!(peer5["load.end"], serde_json::json!([daemon.stats()["totals"]["startup_ms"]]), "{peer5:#}");
    assert_eq!(peer5["seek.end"], serde_json::json!([]));
    assert_eq!(get(daemon.address, "/-/stats?format=other").unwrap().status, 400);
}

#[test]
fn seeks_are_told_as_glue_code_expects_them() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), 40, &[]);
    let (nginx, daemon) = (Nginx::serve(dir.path(), ""), Daemon::start(&[], &[]));
    let list = daemon.get(&nginx.url("/index.m3u8")).text();
    let segments: Vec<_> = list.lines().filter(|line| line.starts_with('/')).collect();
    assert!(segments.len() >= 8, "{list}");
    let seeks = || {
        let text = get(daemon.address, "/-/stats?format=peer5").unwrap().text();
        let peer5: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(peer5["seek.end"], peer5["streams"][0]["seek.end"]);
        peer5["seek.end"].as_array().unwrap().iter().filter(|ms| ms.is_u64()).count()
    };
    let last = segments.len() - 1;
    // On, over one that there was no time to play, far ahead, on, and back to the beginning.
    for (at, expected) in [(0, 0), (1, 0), (3, 1), (last - 1, 2), (last, 2), (0, 3)] {
        get(daemon.address, segments[at]).unwrap();
        until("it to be told", || (seeks() == expected).then_some(()));
    }
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
    let asked = || daemon.stats()["trackers"]["asked"] == true;
    daemon.get(&nginx.url("/index.m3u8"));
    assert_eq!(
        (daemon.stats()["streams"].as_array().unwrap().len(), asked()),
        (1, false),
        "it is looked at only"
    );
    get_all(&daemon, &nginx);
    until("the tracker to be reached", || (seen() == [1.0, 1.0]).then_some(()));
    assert_eq!(daemon.stats()["trackers"], serde_json::json!({"configured": 1, "up": 1, "asked": true}));
    let p2p = |switch: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        command.args(["p2p", switch, "--via", &daemon.address.to_string()]).output().unwrap()
    };
    p2p("off");
    assert_eq!((seen(), asked()), ([1.0, 0.0], false), "it is left");
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

/// What Prometheus is asked, each with the panel or variable it is for.
type Asked = Vec<(String, String)>;

/// The expressions of docs/grafana.json, and the questions of its variables.
fn grafana() -> (Asked, Asked) {
    let text = std::fs::read_to_string("docs/grafana.json").unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let of_panel = |panel: &serde_json::Value| {
        let title = text(&panel["title"]);
        let targets = panel["targets"].as_array().unwrap().iter();
        targets.map(|target| (title.clone(), text(&target["expr"]))).collect::<Vec<_>>()
    };
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let variables = variables.filter(|variable| variable["type"] == "query");
    let variables = variables.map(|of| (text(&of["name"]), text(&of["query"]["query"])));
    (panels.iter().flat_map(of_panel).collect(), variables.collect())
}

/// The metrics that an expression names, each with what stands in braces behind it.
fn named(expression: &str) -> Vec<(&str, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = expression.char_indices().filter(|&(at, _)| {
        let rest = &expression[at..];
        (rest.starts_with("paceline_") || rest.starts_with("process_"))
            && !expression[..at].ends_with(is_name)
    });
    let of = |at: usize| {
        let rest = &expression[at..];
        let (name, rest) = rest.split_at(rest.find(|c| !is_name(c)).unwrap_or(rest.len()));
        (name, rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default())
    };
    starts.map(|(at, _)| of(at)).collect()
}

#[test]
fn the_dashboard_for_grafana_shows_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    recording(dir.path(), 8, &[]);
    let (nginx, daemon, tracker) = (Nginx::serve(dir.path(), ""), Daemon::start(&[], &[]), Tracker::start());
    get_all(&daemon, &nginx);
    let of = |address, path| get(address, path).unwrap().text();
    let known = of(daemon.address, "/-/metrics") + &of(tracker.address, "/metrics");
    let (expressions, variables) = grafana();
    for (place, expression) in expressions.iter().chain(&variables) {
        let metrics = named(expression);
        assert!(!metrics.is_empty(), "{place}: {expression} asks for nothing of ours");
        for (name, labels) in metrics {
            assert!(known.contains(&format!("# TYPE {name} ")), "{place}: {name} is no metric of ours");
            // What Prometheus puts to every sample, and what is in ours.
            let samples: Vec<&str> =
                known.lines().filter(|line| line.starts_with(&format!("{name}{{"))).collect();
            for label in labels.split(", ").filter_map(|part| part.split('=').next()) {
                let has = |line: &&&str| line.contains(&format!("{label}=\""));
                let there = ["", "job", "instance"].contains(&label) || samples.iter().any(|line| has(&line));
                assert!(there, "{place}: {name} has no label {label}");
            }
        }
    }
    let of_buffers =
        expressions.iter().find(|(_, expression)| expression.contains("paceline_buffered_seconds"));
    assert!(!of_buffers.unwrap().1.contains('>'), "who has run dry has to be seen");
    rates_and_filters(&expressions, &variables);
    understood(&expressions);
}

/// Every panel follows the filters that there are, and takes rates over what Grafana knows of scrapes.
fn rates_and_filters(expressions: &[(String, String)], variables: &[(String, String)]) {
    let names: Vec<&str> = variables.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["job", "instance", "kind", "network"]);
    for (place, expression) in expressions {
        for (name, labels) in named(expression) {
            for filter in ["job", "instance"] {
                assert!(
                    labels.contains(&format!("{filter}=~\"${filter}\"")),
                    "{place}: {name} by no {filter}"
                );
            }
        }
        for range in expression.split('[').skip(1) {
            assert!(range.starts_with("$__rate_interval]"), "{place}: {expression}");
        }
    }
    for filter in names {
        let used = format!("{filter}=~\"${filter}\"");
        assert!(
            expressions.iter().any(|(_, expression)| expression.contains(&used)),
            "nothing goes by ${filter}"
        );
    }
}

/// Prometheus understands all of it, as rules.
fn understood(expressions: &[(String, String)]) {
    let dir = tempfile::tempdir().unwrap();
    let rule = |(number, (_, expression)): (usize, &(String, String))| {
        let expression = expression.replace("$__rate_interval", "1m");
        serde_json::json!({ "record": format!("rule_{number}"), "expr": expression })
    };
    let rules: Vec<_> = expressions.iter().enumerate().map(rule).collect();
    let rules = serde_json::json!({ "groups": [{ "name": "grafana", "rules": rules }] });
    let file = dir.path().join("rules.yml");
    std::fs::write(&file, rules.to_string()).unwrap();
    let output = Command::new("promtool").args(["check", "rules"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
}
