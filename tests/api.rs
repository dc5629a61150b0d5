//! What docs/api.md says that programs may ask: every endpoint, method, field and metric there is, and no others.

mod common;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use common::{Daemon, Nginx, Tracker, get, live, player, raw, until};
use serde_json::Value;

/// The methods that an endpoint may be asked with.
const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "DELETE"];

fn document() -> String {
    std::fs::read_to_string("docs/api.md").unwrap()
}

/// The text below a heading, up to the next one.
fn section(heading: &str) -> String {
    let text = document();
    let below = text.split(&format!("\n{heading}\n")).nth(1).unwrap_or_else(|| panic!("no `{heading}`"));
    below.split("\n## ").next().unwrap().split("\n### ").next().unwrap().to_owned()
}

/// The rows of the first tables whose head begins like that: the first cell without its quotes, and the second.
fn rows(heading: &str, head: &str) -> Vec<(String, String)> {
    let section = section(heading);
    let table =
        section.split(&format!("\n| {head} |")).nth(1).unwrap_or_else(|| panic!("{heading}: no {head}"));
    let table = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = table.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    cells.map(|cells| (cells[1].trim_matches('`').to_owned(), cells[2].to_owned())).collect()
}

fn names(heading: &str, head: &str) -> BTreeSet<String> {
    let rows = rows(heading, head);
    let names: BTreeSet<String> = rows.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names.len(), rows.len(), "{heading}: something is there twice");
    names
}

/// Every field with the way to it; what a list of documents has, each of them has.
fn fields(of: &Value, path: &str, into: &mut BTreeSet<String>) {
    match of {
        Value::Object(keys) => {
            for (key, value) in keys {
                let key = match path {
                    "totals.segments" => "REASON",
                    "channels" => "NAME",
                    _ => key,
                };
                fields(value, &if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }, into);
            }
        }
        Value::Array(all) if all.iter().any(Value::is_object) => {
            all.iter().for_each(|value| fields(value, &format!("{path}[]"), into));
        }
        Value::Array(_) => drop(into.insert(format!("{path}[]"))),
        _ => drop(into.insert(path.to_owned())),
    }
}

fn fields_of(address: SocketAddr, path: &str) -> BTreeSet<String> {
    let reply = get(address, path).unwrap();
    let mut there = BTreeSet::new();
    fields(&serde_json::from_slice(&reply.body).unwrap(), "", &mut there);
    there
}

/// The metrics of ours.
fn metrics_of(address: SocketAddr, path: &str) -> BTreeSet<String> {
    let text = get(address, path).unwrap().text();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    types.filter(|name| name.starts_with("paceline_")).map(str::to_owned).collect()
}

/// The names that the code answers to: the quoted words of the patterns that begin like that.
fn routes(file: &str, begins: &str) -> BTreeSet<String> {
    let code = std::fs::read_to_string(file).unwrap();
    let patterns = code.lines().map(str::trim).filter(|line| line.starts_with(begins));
    let patterns = patterns.filter_map(|line| line.split_once("=>").map(|(pattern, _)| pattern.to_owned()));
    let words =
        |pattern: String| pattern.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    patterns.flat_map(words).collect()
}

/// The status of an answer, and the methods that it allows.
fn asked(address: SocketAddr, method: &str, path: &str) -> (u16, Option<String>) {
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{length}Connection: close\r\n\r\n");
    let reply = raw(address, &request).unwrap();
    (reply.status, reply.headers.get("allow").cloned())
}

/// Holds each endpoint to its methods; events go on for ever and are tested with the dashboards.
fn methods(address: SocketAddr, heading: &str) {
    for (path, allowed) in rows(heading, "endpoint").iter().filter(|(path, _)| !path.ends_with("events")) {
        for method in METHODS {
            let (status, allow) = asked(address, method, path);
            let documented = allowed.split(", ").any(|one| one == method);
            assert_ne!(status, 404, "{method} {path}");
            assert_eq!(status != 405, documented, "{method} {path}: {status}");
            if !documented {
                assert_eq!(allow.as_deref(), Some(allowed.as_str()), "{method} {path}");
            }
        }
    }
}

#[test]
fn every_route_and_method_is_documented() {
    let (daemon, tracker) = (Daemon::start(&[], &[]), Tracker::start());
    let there: BTreeSet<String> =
        routes("src/proxy/control/mod.rs", "(\"").iter().map(|name| format!("/-/{name}")).collect();
    let mut documented = names("## Endpoints of the daemon", "endpoint");
    assert!(documented.remove("/-/"), "the dashboard is a file of its own");
    assert_eq!(there, documented);
    let there: BTreeSet<String> =
        routes("src/tracker/answer.rs", "\"").iter().map(|name| format!("/{name}")).collect();
    assert_eq!(there, names("## Endpoints of the tracker", "endpoint"));
    methods(daemon.address, "## Endpoints of the daemon");
    methods(tracker.address, "## Endpoints of the tracker");
    for (address, path) in [(daemon.address, "/-/events"), (tracker.address, "/events")] {
        assert_eq!(asked(address, "HEAD", path), (405, Some("GET".to_owned())), "{path}");
    }
    assert_eq!(asked(tracker.address, "HEAD", "/health").0, 200);
    // Each has a chapter with a command.
    for path in documented {
        let chapter = section(&format!("### `{path}`"));
        assert!(
            chapter.contains("\ncurl ") && chapter.contains(&format!("http://127.0.0.1:7223{path}")),
            "{path}"
        );
    }
}

#[test]
fn every_field_and_metric_is_documented() {
    let dir = tempfile::tempdir().unwrap();
    let _writer = live(dir.path());
    let origin = Nginx::serve(dir.path(), "");
    let (tracker, url) = (Tracker::start(), origin.url("index.m3u8"));
    let channel = [("PACELINE_CHANNELS_NEWS", &*url)];
    let daemons = [(); 2].map(|()| Daemon::start(&["--tracker", &tracker.url()], &channel));
    let _players = daemons.each_ref().map(|daemon| player(&daemon.prefix(&url), 500, &[]));
    until("a neighbour, and something from it", || {
        let stats = daemons[0].stats();
        let stream = &stats["streams"][0];
        let there = |key: &str| stream[key].as_array().is_some_and(|all| !all.is_empty());
        (there("peers") && there("segments") && there("map")).then_some(())
    });
    until("the tracker to be told of it", || {
        let stats = tracker.stats();
        let there = |key: &str| stats[key].as_array().is_some_and(|all| !all.is_empty());
        (stats["accounts"].as_u64() >= Some(2) && there("networks") && there("largest_swarms")).then_some(())
    });
    let address = daemons[0].address;
    until("something from a peer", || (daemons[0].total("p2p_bytes") > 0).then_some(()));
    assert!(agree(address) > 0.0, "it is told of what peers brought");
    for (path, heading) in [
        ("/-/stats", "### `/-/stats`"),
        ("/-/stats?format=peer5", "### `/-/stats?format=peer5`"),
        ("/-/p2p", "### `/-/p2p`"),
    ] {
        assert_eq!(fields_of(address, path), names(heading, "field"), "{path}");
    }
    assert_eq!(metrics_of(address, "/-/metrics"), names("### `/-/metrics`", "metric"));
    assert_eq!(fields_of(tracker.address, "/stats"), names("### `/stats` of the tracker", "field"));
    assert_eq!(metrics_of(tracker.address, "/metrics"), names("### `/metrics` of the tracker", "metric"));
}

/// Statistics, what others are told of them, and statistics again: what counts up lies between the two.
fn agree(address: SocketAddr) -> f64 {
    let json = |path: &str| -> Value { serde_json::from_slice(&get(address, path).unwrap().body).unwrap() };
    let before = json("/-/stats");
    let (metrics, peer5) = (get(address, "/-/metrics").unwrap().text(), json("/-/stats?format=peer5"));
    let after = json("/-/stats");
    let sample = |name: &str| -> f64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
    };
    let at = |of: &Value, pointer: &str| of.pointer(pointer).and_then(Value::as_f64);
    let within = |what: &str, told: f64, pointer: &str| {
        let [least, most] =
            [&before, &after].map(|of| at(of, pointer).unwrap_or_else(|| panic!("no {pointer}")));
        assert!((least..=most).contains(&told), "{what} is {told}, {pointer} {least} and then {most}");
    };
    for (name, pointer) in [
        ("paceline_received_bytes_total{source=\"http\"}", "/totals/http_bytes"),
        ("paceline_received_bytes_total{source=\"p2p\"}", "/totals/p2p_bytes"),
        ("paceline_uploaded_bytes_total{source=\"p2p\"}", "/totals/uploaded_bytes"),
        ("paceline_wasted_bytes_total{source=\"any\"}", "/totals/wasted_bytes"),
        ("paceline_served_bytes_total{source=\"player\"}", "/totals/served_bytes"),
        ("paceline_late_segments_total", "/totals/late_segments"),
        ("paceline_peer_faults_total{kind=\"refused\"}", "/faults/refused"),
        ("paceline_uptime_seconds", "/uptime_s"),
        ("paceline_neighbours{kind=\"live\"}", "/streams/0/neighbours"),
        ("paceline_trackers_up", "/trackers/up"),
    ] {
        within(name, sample(name), pointer);
    }
    for reason in before["totals"]["segments"].as_object().unwrap().keys() {
        let name = format!("paceline_segments_total{{reason=\"{reason}\"}}");
        within(&name, sample(&name), &format!("/totals/segments/{reason}"));
    }
    for (name, pointer) in [
        ("/numOfPeers", "/streams/0/neighbours"),
        ("/totalHttpDownloaded", "/totals/http_bytes"),
        ("/totalP2PDownloaded", "/totals/p2p_bytes"),
        ("/totalP2PUploaded", "/totals/uploaded_bytes"),
        ("/streams/0/numOfPeers", "/streams/0/neighbours"),
        ("/streams/0/totalHttpDownloaded", "/streams/0/http_bytes"),
        ("/streams/0/totalP2PDownloaded", "/streams/0/p2p_bytes"),
        ("/streams/0/totalP2PUploaded", "/streams/0/uploaded_bytes"),
    ] {
        within(name, at(&peer5, name).unwrap_or_else(|| panic!("no {name} in {peer5:#}")), pointer);
    }
    sample("paceline_received_bytes_total{source=\"p2p\"}").min(at(&peer5, "/totalP2PDownloaded").unwrap())
}

#[test]
fn what_is_refused_has_the_status_that_is_documented() {
    let daemon = Daemon::start(&[], &[("PACELINE_CHANNELS_NEWS", "http://127.0.0.1:1/news.m3u8")]);
    let address = daemon.address;
    let status = |path: &str, fields: &str, body: &str| {
        let method = if fields.is_empty() && body.is_empty() { "GET" } else { "POST" };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        raw(address, &request).unwrap().status
    };
    let (json, ours) = ("Content-Type: application/json\r\n", "X-Paceline: 1\r\n");
    let change = format!("{ours}{json}");
    let long = format!("{{\"channel\": \"{}\"}}", "x".repeat(5000));
    let mut seen = BTreeSet::from([421, 405, 503]);
    for (path, fields, body, expected) in [
        ("/-/stats?format=other", "", "", 400),
        ("/-/nothing", "", "", 404),
        ("/-/p2p", json, "{}", 403),
        ("/-/p2p", ours, "{}", 415),
        ("/-/p2p", &*change, &*long, 413),
        ("/-/p2p", &*change, "{\"p2p\": 7}", 400),
        ("/-/p2p", &*change, "{\"pp\": true}", 400),
        ("/-/p2p", &*change, "{\"channel\": \"none\", \"p2p\": true}", 404),
        ("/-/p2p", &*change, "{\"channel\": \"news\", \"upload_limit\": 1}", 400),
        ("/-/p2p", &*change, "{}", 200),
    ] {
        assert_eq!(status(path, fields, body), expected, "{path} {fields} {body}");
        seen.insert(expected);
    }
    // Those of names and pages are tested with the dashboard, 503 with its events.
    let documented: BTreeSet<u16> =
        names("## Endpoints of the daemon", "status").iter().map(|status| status.parse().unwrap()).collect();
    seen.remove(&200);
    assert_eq!(documented, seen);
    let takes = names("### `/-/p2p`", "change");
    let refused =
        format!("POST /-/p2p HTTP/1.1\r\nHost: {address}\r\n{change}Content-Length: 8\r\n\r\n{{\"x\": 1}}");
    let said = raw(address, &refused).unwrap().text();
    for key in takes {
        assert!(said.contains(&format!("`{key}`")), "{key} is no change: {said}");
    }
}
